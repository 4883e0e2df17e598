"""Convolution of whole signals, ``y[k] = sum_j a[j] b[k - j]`` along each axis, and windows.

`convolve_p` is SciPy's and CuPy's own, direct or by FFT as they choose. It is linear in each
operand, and its transposes are convolutions with the other one reversed. Where some axes are only
multiplied or summed, windows of one operand are multiplied with the other as matrices.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import index
from typing import Any

import numpy as np

from gpugrad.core.abstract import ShapeDtype, shape_dtype
from gpugrad.core.primitive import LINEAR, Primitive
from gpugrad.device import scipy_for
from gpugrad.ops.broadcast import unbroadcast
from gpugrad.ops.cast import is_inexact
from gpugrad.ops.complex import conj
from gpugrad.ops.indexing import getitem
from gpugrad.ops.join import pad_p
from gpugrad.ops.matmul import matmul_p, tensordot
from gpugrad.ops.operands import as_array, as_arrays
from gpugrad.ops.shape import (
    expand_dims,
    flip,
    flip_p,
    moveaxis,
    normal_axes,
    normal_axis,
    permute,
    reshape,
)

MODES = ("full", "valid", "same")


def _convolve(xp: Any, a: Any, b: Any, *, mode: str, method: str) -> Any:
    dtype = a.dtype if a.dtype == b.dtype else np.result_type(a.dtype, b.dtype)
    if dtype.char not in "fdFD" and is_inexact(dtype):  # the libraries lack the narrow types
        a, b = a.astype(np.float32), b.astype(np.float32)
    short = min(a.size, b.size)
    if mode == "valid":
        short = min(short, abs(a.size - b.size))
    if xp is np and a.ndim == 1 and method != "fft" and short <= _SHORT:
        y = np.convolve(a, b, mode)  # type: ignore[call-overload]
    elif xp is np:
        y = scipy_for(xp, "signal").convolve(a, b, mode=mode, method=method)
    elif method != "fft" and a.size * b.size <= _FEW:
        y = _product(xp, a, b, mode)
    else:
        method = "direct" if method == "direct" or not is_inexact(dtype) else "fft"
        y = scipy_for(xp, "signal").convolve(a, b, mode=mode, method=method)
    return y.astype(dtype, copy=False)


_SHORT = 64
"""A signal or a result so short is convolved directly, without SciPy's time to choose a method."""

_FEW = 1 << 24
"""On CUDA up to so many products are done as a matrix product with windows, above by FFT.

CuPy's own direct convolution is compiled anew for each shape of the shorter operand.
"""


def _product(xp: Any, a: Any, b: Any, mode: str) -> Any:
    if mode == "full":
        a, b = (a, b) if a.size >= b.size else (b, a)
        a = xp.pad(a, [(m - 1, m - 1) for m in b.shape])
    w = xp.lib.stride_tricks.sliding_window_view(a, b.shape)
    return xp.tensordot(w, xp.flip(b), b.ndim)


def _shape(a: ShapeDtype, b: ShapeDtype, *, mode: str, method: str) -> ShapeDtype:
    sign = 1 if mode == "full" else -1
    shape = tuple(n + sign * (m - 1) for n, m in zip(a.shape, b.shape, strict=True))
    return ShapeDtype(shape, np.result_type(a.dtype, b.dtype))


def _reversed(x: Any) -> Any:
    return flip_p(x, axis=tuple(range(shape_dtype(x).ndim)))


def _to_first(g: Any, b: Any, a_like: ShapeDtype, mode: str, method: str) -> Any:
    back = "valid" if mode == "full" else "full"
    return unbroadcast(convolve_p(g, _reversed(b), mode=back, method=method), a_like)


def _to_second(g: Any, a: Any, b_like: ShapeDtype, mode: str, method: str) -> Any:
    pair = (g, _reversed(a)) if mode == "full" else (_reversed(a), g)
    return unbroadcast(convolve_p(*pair, mode="valid", method=method), b_like)


def _batch(
    primitive: Primitive, size: int, batched: Sequence[bool], values: Any, params: Any
) -> Any:
    a, b = values
    if all(batched):
        return _pairs(a, b, params["mode"])
    if batched[1] and params["mode"] == "valid":
        axes = tuple(range(a.ndim))
        return _by_windows(a, b, (axes, tuple(i + 1 for i in axes)), ((), ()), "valid")
    # An axis of length 1 on the other operand leaves the batch axis as it is.
    pair = [v if mine else expand_dims(v, 0) for v, mine in zip(values, batched)]
    return primitive(*pair, **params)


def _pairs(a: Any, b: Any, mode: str) -> Any:
    """Each example of ``a`` with that of ``b``: the windows of ``a`` times ``b``, a product."""
    size = b.shape[1:]
    if mode == "full":
        a = pad_p(a, width=((0, 0), *((m - 1, m - 1) for m in size)), value=0)
    w = windows_p(a, size=size)
    out = w.shape[1 : 1 + len(size)]
    rows = reshape(w, (a.shape[0], math.prod(out), math.prod(size)))
    column = reshape(flip(b, tuple(range(1, b.ndim))), (a.shape[0], math.prod(size), 1))
    return reshape(matmul_p(rows, column), (a.shape[0], *out))


convolve_p: Primitive = Primitive(
    "convolve",
    _convolve,
    "a b",
    shape=_shape,
    vjp=(_to_first, _to_second),
    jvp=(LINEAR, LINEAR),
    batch=_batch,
)
"""Along all axes: all of the sum, or with mode "valid" what needs no zeros around ``a``, which is
then at least as long as ``b`` along every axis."""


def _windows(xp: Any, x: Any, *, size: tuple[int, ...]) -> Any:
    axes = tuple(range(x.ndim - len(size), x.ndim))
    return xp.lib.stride_tricks.sliding_window_view(x, size, axis=axes)


def _windows_shape(x: ShapeDtype, *, size: tuple[int, ...]) -> ShapeDtype:
    lead, long = x.shape[: x.ndim - len(size)], x.shape[x.ndim - len(size) :]
    return ShapeDtype((*lead, *(n - m + 1 for n, m in zip(long, size)), *size), x.dtype)


def _same_size(
    primitive: Primitive, size: int, batched: Sequence[bool], values: Any, params: Any
) -> Any:
    return primitive(*values, **params)


windows_p: Primitive = Primitive(
    "windows",
    _windows,
    shape=_windows_shape,
    vjp=lambda g, size: overlap_p(g, size=size),
    jvp=LINEAR,
    batch=_same_size,
)
"""Every window of ``size`` over the last axes, on new last axes."""


def _overlap(xp: Any, x: Any, *, size: tuple[int, ...]) -> Any:
    lead = x.ndim - 2 * len(size)
    for i, m in enumerate(size):
        x = xp.moveaxis(x, (lead + i, lead + len(size)), (-2, -1))
        n = x.shape[-2]
        y = xp.zeros((*x.shape[:-2], n + m - 1), x.dtype)
        for k in range(min(n, m)):
            y[..., k : k + max(n, m)] += x[..., k] if m <= n else x[..., k, :]
        x = xp.moveaxis(y, -1, lead + i)
    return x


overlap_p: Primitive = Primitive(
    "overlap",
    _overlap,
    shape=lambda x, *, size: ShapeDtype(
        (
            *x.shape[: x.ndim - 2 * len(size)],
            *(n + m - 1 for n, m in zip(x.shape[x.ndim - 2 * len(size) :], size)),
        ),
        x.dtype,
    ),
    vjp=lambda g, size: windows_p(g, size=size),
    jvp=LINEAR,
    batch=_same_size,
)
"""The transpose of `windows_p`: windows added up where they were cut from."""


def sliding_window_view(
    x: Any,
    window_shape: Any,
    axis: Any = None,
    *,
    subok: bool = False,
    writeable: bool = False,
) -> Any:
    """Every window of a shape that lies in ``x``, without a copy.

    Parameters
    ----------
    x
        The array.
    window_shape
        How long a window is along each axis of ``axis``: one number, or a tuple.
    axis
        The axes along which windows slide, as many as ``window_shape`` has; all by default. The
        result has a window's own axes after those of ``x``.
    subok, writeable
        False, as by default in NumPy.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.numpy.lib.stride_tricks import sliding_window_view
    >>> sliding_window_view(np.array([1.0, 2.0, 4.0, 8.0]), 2)
    array([[1., 2.],
           [2., 4.],
           [4., 8.]])
    """
    if subok or writeable:
        raise ValueError(
            "sliding_window_view: subok= and writeable= are False, for a result that "
            "may carry a gradient; take a copy of it to write to"
        )
    x = as_array(x)
    ndim = shape_dtype(x).ndim
    size = tuple(map(index, window_shape if np.iterable(window_shape) else (window_shape,)))
    axes = tuple(range(ndim) if axis is None else axis if np.iterable(axis) else (axis,))
    if len(size) != len(axes):
        raise ValueError(
            f"sliding_window_view: a window of shape {size} along {len(axes)} axes; as many "
            "lengths as axes are needed"
        )
    for n, m in zip(axes, size, strict=True):
        at = normal_axis(n, ndim)
        have = shape_dtype(x).shape[at]
        if not 0 <= m <= have:
            raise ValueError(f"sliding_window_view: windows of {m} along an axis of length {have}")
        x = moveaxis(windows_p(moveaxis(x, at, -1), size=(m,)), -2, at)
    return x


def _by_windows(a: Any, b: Any, axes: Any, dot_axes: Any, mode: str) -> Any:
    shapes = shape_dtype(a).shape, shape_dtype(b).shape
    free = [
        tuple(i for i in range(len(s)) if i not in (*axes[k], *dot_axes[k]))
        for k, s in enumerate(shapes)
    ]
    a, b = (permute(v, (*free[k], *dot_axes[k], *axes[k])) for k, v in enumerate((a, b)))
    count = len(axes[0])
    first, second = ([s[i] for i in at] for s, at in zip(shapes, axes))
    long, short, flipped = a, b, False
    if math.prod(second) > math.prod(first):
        long, short, flipped = b, a, True
    size = shape_dtype(short).shape[len(shape_dtype(short).shape) - count :]
    ndim = shape_dtype(long).ndim
    if mode == "full":
        width = (*((0, 0),) * (ndim - count), *((m - 1, m - 1) for m in size))
        long = pad_p(long, width=width, value=0)
    short = flip(short, tuple(range(-count, 0)))
    w = windows_p(long, size=tuple(size))  # free, dot, out, size
    dots = len(dot_axes[0])
    mine, theirs = (len(f) for f in (reversed(free) if flipped else free))
    summed = [*range(mine, mine + dots), *range(ndim, ndim + count)]
    y = tensordot(w, short, (summed, list(range(theirs, theirs + dots + count))))
    longs, outs = list(range(mine)), list(range(mine, mine + count))
    shorts = list(range(mine + count, mine + count + theirs))
    return permute(y, (*shorts, *longs, *outs) if flipped else (*longs, *shorts, *outs))


def convolve_axes(a: Any, b: Any, axes: Any, dot_axes: Any, mode: str, method: str = "auto") -> Any:
    """Convolve along pairs of ``axes``, sum over pairs of ``dot_axes``; the rest is an outer
    product. The result has the rest of ``a``, the rest of ``b``, and the convolved axes.
    """  # noqa: D205
    if mode not in MODES:
        raise ValueError(f"convolve: mode {mode!r} is none of 'full', 'valid', 'same'")
    left, right = shape_dtype(a).shape, shape_dtype(b).shape
    every = tuple(range(len(left)))
    if axes == (every, every) and len(left) == len(right) and dot_axes == ((), ()) and every:
        _check_lengths(left, right, axes, mode)
        return _over_all(a, b, left, right, mode, method)
    axes = (normal_axes(tuple(axes[0]), len(left)), normal_axes(tuple(axes[1]), len(right)))
    dots = (
        normal_axes(tuple(dot_axes[0]), len(left)),
        normal_axes(tuple(dot_axes[1]), len(right)),
    )
    n, m = [left[i] for i in axes[0]], [right[i] for i in axes[1]]
    _check_lengths(n, m, axes, mode)
    if [left[i] for i in dots[0]] != [right[i] for i in dots[1]]:
        raise ValueError(f"convolve: dot_axes {dots} of shapes {left} and {right} differ in length")
    if not n:
        return tensordot(a, b, dots)
    if len(n) == len(left) == len(right):
        return _over_all(permute(a, axes[0]), permute(b, axes[1]), n, m, mode, method)
    y = _by_windows(a, b, axes, dots, "full" if mode == "same" else mode)
    return _middle(y, n, m) if mode == "same" else y


def _check_lengths(n: Sequence[int], m: Sequence[int], axes: Any, mode: str) -> None:
    if len(n) != len(m) or 0 in n or 0 in m:
        raise ValueError(
            f"convolve: axes {axes} of lengths {n} and {m} are no pairs of axes with elements"
        )
    if mode == "valid" and not (
        all(i >= j for i, j in zip(n, m)) or all(i <= j for i, j in zip(n, m))
    ):
        raise ValueError(
            f"convolve: for mode 'valid' one operand is the longer one along every axis, got "
            f"lengths {n} and {m}"
        )


def _over_all(a: Any, b: Any, n: Sequence[int], m: Sequence[int], mode: str, method: str) -> Any:
    """Along all axes of both operands, of lengths ``n`` and ``m``."""
    if mode == "same":
        return _middle(convolve_p(a, b, mode="full", method=method), n, m)
    if mode == "valid" and math.prod(m) > math.prod(n):
        a, b = b, a
    return convolve_p(a, b, mode=mode, method=method)


def _middle(y: Any, n: Sequence[int], m: Sequence[int]) -> Any:
    """Of the full result along the last axes, the middle, as long as the first operand."""
    cuts = tuple(slice((j - 1) // 2, (j - 1) // 2 + i) for i, j in zip(n, m))
    return getitem(y, (..., *cuts))


def _signals(a: Any, v: Any, what: str) -> tuple[Any, Any]:
    out = []
    for x in as_arrays(a, v):
        x = reshape(x, (1,)) if x.ndim == 0 else x
        if x.ndim != 1 or not x.shape[0]:
            raise ValueError(f"{what}: signals of one axis are needed, got shape {x.shape}")
        out.append(x)
    return out[0], out[1]


def convolve(a: Any, v: Any, mode: str = "full") -> Any:
    """Convolution of two signals; "same" gives as many elements as the longer one has."""
    a, v = _signals(a, v, "convolve")
    if v.shape[0] > a.shape[0]:
        a, v = v, a
    return convolve_axes(a, v, ((0,), (0,)), ((), ()), mode)


def correlate(a: Any, v: Any, mode: str = "valid") -> Any:
    """Cross-correlation of two signals: ``c[k] = sum_n a[n + k] conj(v[n])``."""
    a, v = _signals(a, v, "correlate")
    if v.shape[0] > a.shape[0]:
        return flip(conj(correlate(v, a, mode)))
    return convolve(a, conj(flip(v)), mode)
