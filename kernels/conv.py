"""Convolution over images and its gradients with respect to the images and the weights.

In the terms of neural networks: a correlation, the kernel is not turned round. All three are one
product of matrices on CUDA, of the weights with the windows of the images as columns, and products
over shifted images on the CPU (``cpu/conv.py``). Sums run in a fixed order: the same bits on every
run.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from gpugrad.kernels.many import wide, widened
from gpugrad.kernels.operands import fit, floats
from gpugrad.kernels.source import C_NAMES, function, grid

MATRIX = 1 << 28
"""Bytes that a matrix of windows may take on CUDA: as many samples as fit are done together."""


class Geometry(NamedTuple):
    """How a kernel moves over an image; each pair is (rows, columns)."""

    stride: tuple[int, int] = (1, 1)
    padding: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))
    """Zeros before and after."""
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    """Into how many parts channels are divided that know nothing of each other."""

    def outputs(self, size: tuple[int, ...], kernel: tuple[int, ...]) -> tuple[int, ...]:
        """How many places the kernel has in an image of ``size``."""
        return tuple(
            [
                (n + sum(p) - d * (k - 1) - 1) // s + 1
                for n, k, s, p, d in zip(size, kernel, *self[:3], strict=True)
            ]
        )


def forward(x: Any, w: Any, bias: Any, how: Geometry) -> Any:
    """The convolution of ``x`` with ``w``, plus ``bias`` for each output channel.

    Parameters
    ----------
    x : (N, C, H, W) array
        NumPy or CuPy array of floats: float16 and bfloat16 are summed in float32.
    w : (O, C / groups, KH, KW) array
        Of the same dtype.
    bias : (O,) array or None
        Of the same dtype.
    how : Geometry
        Stride, padding, dilation and groups.

    Returns
    -------
    (N, O, OH, OW) array

    Notes
    -----
    Bytes it must move, for elements of ``s`` bytes: ``s`` times the sizes of x, w, bias and the
    result. The CPU moves these, and a padded copy of one sample that stays in the cache. On CUDA
    the kernel that makes the windows reads x, the lines between two blocks twice (of 2048 places or
    fewer; all for each tap where the lines of 128 places do not fit in 18432 bytes), and writes
    ``s*C*KH*KW*N*OH*OW`` bytes, with 16-byte stores; the product and the pass that puts the result
    in order come on top.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.kernels.conv import Geometry, forward
    >>> x = np.arange(9.0).reshape(1, 1, 3, 3)
    >>> forward(x, np.ones((1, 1, 2, 2)), None, Geometry())[0, 0]
    array([[ 8., 12.],
           [20., 24.]])
    """
    name = "conv.forward"
    _check(name, how, x=x, w=w)
    channels, bias_shape = (len(w), x.shape[1] // how.groups), (len(w),)
    fit(name, x, w=(w, (*channels, *w.shape[2:]), x.dtype), bias=(bias, bias_shape, x.dtype))
    shape = (len(x), len(w), *_places(name, how, x.shape[2:], w.shape[2:]))
    if not isinstance(x, np.ndarray):
        return _cuda_forward(x, w, bias, shape, how)
    y = np.empty(shape, x.dtype)
    if y.size == 0 or w.size == 0:
        y[...] = 0 if bias is None else bias[:, None, None]
        return y
    from gpugrad.kernels.cpu import conv

    x, w, into = widened(x), widened(w), widened(y)
    bias = np.zeros(len(w), w.dtype) if bias is None else widened(bias)
    conv.forward(x, w, bias, into, *how[:3])
    return into.astype(y.dtype, copy=False)


def input_gradient(g: Any, w: Any, size: tuple[int, int], how: Geometry) -> Any:
    """The gradient of `forward` with respect to ``x``: the transposed convolution of ``g``.

    Parameters
    ----------
    g : (N, O, OH, OW) array
        The gradient of the result.
    w : (O, C / groups, KH, KW) array
        Of the same dtype.
    size : (int, int)
        H and W of the result.
    how : Geometry
        Stride, padding, dilation and groups of `forward`.

    Returns
    -------
    (N, C, H, W) array

    Notes
    -----
    Bytes it must move, for elements of ``s`` bytes: ``s`` times the sizes of g, w and the result.
    On CUDA the product's columns, ``s*C*KH*KW*N*OH*OW`` bytes, are written and read once on top:
    each element of the result is the sum of its taps by one thread, in order.
    """
    name = "conv.input_gradient"
    _check(name, how, g=g, w=w)
    places = _places(name, how, size, w.shape[2:], g.shape[2:])
    fit(name, w, g=(g, (len(g), len(w), *places), w.dtype))
    shape = (len(g), w.shape[1] * how.groups, *size)
    if not isinstance(g, np.ndarray):
        return _cuda_input_gradient(g, w, shape, how)
    out = np.empty(shape, g.dtype)
    if g.size == 0 or out.size == 0 or w.size == 0:
        out[...] = 0
        return out
    from gpugrad.kernels.cpu import conv

    into = widened(out)
    conv.input_gradient(widened(g), widened(w), into, *how[:3])
    return into.astype(out.dtype, copy=False)


def weight_gradient(g: Any, x: Any, kernel: tuple[int, int], how: Geometry) -> Any:
    """The gradient of `forward` with respect to ``w``.

    Parameters
    ----------
    g : (N, O, OH, OW) array
        The gradient of the result.
    x : (N, C, H, W) array
        Of the same dtype.
    kernel : (int, int)
        KH and KW.
    how : Geometry
        Stride, padding, dilation and groups of `forward`.

    Returns
    -------
    (O, C / groups, KH, KW) array

    Notes
    -----
    Bytes it must move, for elements of ``s`` bytes: ``s`` times the sizes of g, x and the result.
    On CUDA the windows, as in `forward`, and a copy of g in the order of the product come on top.
    """
    name = "conv.weight_gradient"
    _check(name, how, g=g, x=x)
    places = _places(name, how, x.shape[2:], kernel, g.shape[2:])
    fit(name, x, g=(g, (len(x), g.shape[1], *places), x.dtype))
    shape = (g.shape[1], x.shape[1] // how.groups, *kernel)
    if not isinstance(g, np.ndarray):
        return _cuda_weight_gradient(g, x, shape, how)
    out = np.empty(shape, g.dtype)
    if g.size == 0 or out.size == 0:
        out[...] = 0
        return out
    from gpugrad.kernels.cpu import conv

    into = widened(out)
    conv.weight_gradient(widened(g), widened(x), into, *how[:3])
    return into.astype(out.dtype, copy=False)


def _check(name: str, how: Geometry, **arrays: Any) -> None:
    """See that operands are images or kernels of images whose channels make whole groups."""
    if min(*how.stride, *how.dilation, how.groups) < 1:
        raise ValueError(f"{name}: stride, dilation and groups are at least 1, got {how}")
    for what, a in arrays.items():
        floats(name, a, 4)
        channels = len(a) if what == "w" else a.shape[1]
        if channels % how.groups:
            raise ValueError(
                f"{name}: {channels} channels of {what} {a.shape} do not make {how.groups} groups"
            )


def _places(
    name: str, how: Geometry, size: Any, kernel: Any, given: tuple[int, ...] | None = None
) -> tuple[int, ...]:
    """How many places the kernel has in an image, or as many of them as are ``given``."""
    found = how.outputs(size, kernel)
    if min(found) < 0:
        raise ValueError(f"{name}: a kernel of {kernel} is larger than the image of {size}: {how}")
    return found if given is None else tuple(map(min, given, found))


# ------------------------------------------------------------------------------ CUDA

_SHAPE = np.dtype(
    [(name, np.int64) for name in ("sample", "height", "width")]
    + [
        (name, np.int32)
        for name in (
            *("kernel_h", "kernel_w", "stride_h", "stride_w"),
            *("top", "left", "dilation_h", "dilation_w"),
        )
    ]
    + [(name, np.int64) for name in ("out_h", "out_w", "columns")]
)
"""The kernels' argument of that name."""


def _cuda_forward(x: Any, w: Any, bias: Any, shape: tuple[int, ...], how: Geometry) -> Any:
    import cupy

    y = cupy.empty(shape, x.dtype)
    weights = _matrix(w, how)
    for part, samples in _parts(x, w.shape, shape[2:], how):
        rows = _product(weights, _windows(samples, w.shape[2:], shape[2:], how))
        rows = rows.reshape(len(w), len(samples), *shape[2:]).transpose(1, 0, 2, 3)
        if bias is None:
            y[part] = rows
        else:
            y[part] = rows + bias[:, None, None]
    return y


def _cuda_input_gradient(g: Any, w: Any, shape: tuple[int, ...], how: Geometry) -> Any:
    import cupy

    out = cupy.empty(shape, g.dtype)
    weights = _matrix(w, how).swapaxes(-1, -2)
    for part, samples in _parts(out, w.shape, g.shape[2:], how):
        columns = _product(weights, _rows(g[part], how))
        if samples.size:
            kernel = function("conv", images(g.dtype.name, columns.dtype.name))
            like = _shape(samples, w.shape[2:], g.shape[2:], how)
            count = (np.int64(shape[1]), np.int64(len(samples)))
            kernel(*grid(samples.size), (samples, columns, like, *count))
    return out


def _cuda_weight_gradient(g: Any, x: Any, shape: tuple[int, ...], how: Geometry) -> Any:
    import cupy

    total = cupy.zeros((how.groups, shape[0] // how.groups, math.prod(shape[1:])), wide(g.dtype))
    if how.groups == 1:
        total = total[0]
    for part, samples in _parts(x, shape, g.shape[2:], how):
        columns = _windows(samples, shape[2:], g.shape[2:], how)
        total += _product(_rows(g[part], how), columns.swapaxes(-1, -2))
    return total.reshape(shape).astype(g.dtype)


def _parts(x: Any, w: Any, out: Any, how: Geometry) -> Iterator[tuple[slice, Any]]:
    """The samples whose windows are made together."""
    each = x.shape[1] * math.prod(w[2:]) * math.prod(out) * x.itemsize
    many = max(1, MATRIX // max(1, each))
    for start in range(0, len(x), many):
        part = slice(start, start + many)
        yield part, x[part]


def _blas(a: Any) -> Any:
    """In a dtype that the BLAS has; its sums over float16 are in float32."""
    return a.astype(np.float32) if a.dtype.name == "bfloat16" else a


def _matrix(w: Any, how: Geometry) -> Any:
    """(groups, O / groups, taps): without the first where it is 1, which copies less."""
    shape = (len(w) // how.groups, math.prod(w.shape[1:]))
    return _blas(w).reshape(shape if how.groups == 1 else (how.groups, *shape))


def _rows(g: Any, how: Geometry) -> Any:
    """(groups, O / groups, columns)."""
    n, o, *out = g.shape
    shape = (o // how.groups, n * math.prod(out))
    g = _blas(g).transpose(1, 0, 2, 3)
    return g.reshape(shape if how.groups == 1 else (how.groups, *shape))


def _product(a: Any, b: Any) -> Any:
    import cupy

    if a.size == 0 or b.size == 0:
        return cupy.zeros((*a.shape[:-1], b.shape[-1]), a.dtype)
    return cupy.matmul(a, b)


def _windows(x: Any, kernel: Any, out: Any, how: Geometry) -> Any:
    """(groups, taps of a group, columns)."""
    import cupy

    taps, columns = x.shape[1] * math.prod(kernel), len(x) * math.prod(out)
    dtype = np.dtype(np.float32) if x.dtype.name == "bfloat16" else x.dtype
    matrix = cupy.empty((taps, columns), dtype)
    if matrix.size:
        x = cupy.ascontiguousarray(x)
        width = 16 // dtype.itemsize
        width = width if columns % width == 0 else 1
        each, keep = tile(x.shape[2:], kernel, out, how, KEPT // x.itemsize)
        launch = function("conv", windows(x.dtype.name, dtype.name, width, keep))
        tiles = -(-columns // each)
        arguments = (np.int32(each), np.int64(tiles))
        launch((x.shape[1] * tiles,), (256,), (matrix, x, _shape(x, kernel, out, how), *arguments))
    return matrix if how.groups == 1 else matrix.reshape(how.groups, -1, columns)


def _shape(x: Any, kernel: Any, out: Any, how: Geometry) -> Any:
    fields = (math.prod(x.shape[1:]), *x.shape[2:], *kernel, *how.stride, how.padding[0][0])
    fields = (*fields, how.padding[1][0], *how.dilation, *out, len(x) * math.prod(out))
    return np.array(fields, _SHAPE)


KEPT = 18432
"""Bytes of images that a block of ``windows`` keeps: as in cuda/conv.cu."""


@lru_cache(maxsize=256)
def tile(size: Any, kernel: Any, out: Any, how: Geometry, room: int) -> tuple[int, bool]:
    """How many columns a block of ``windows`` has, and whether it keeps the lines that they see.

    It does where an element is in several windows and ``room`` elements are enough.
    """
    (height, width), (stride, _) = size, how.stride
    reach = (kernel[0] - 1) * how.dilation[0] + 1
    for each in range(2048, 0, -128):
        further = (each + out[1] - 2) // out[1]  # places below each other, behind the first
        lines = further * stride + reach + sum(max(0, p - reach + 1) for p in how.padding[0])
        lines += max(0, height - out[0] * stride) * (further // out[0] + 1)  # seen by none
        if kernel != (1, 1) and lines * width <= room:
            return each, True
    return 2048, False


def windows(dtype: str, matrix: str, width: int, keep: bool) -> str:
    """The name of the kernel that makes a matrix of windows, ``width`` elements in a store."""
    return f"windows<{C_NAMES[dtype]}, {C_NAMES[matrix]}, {width}, {str(keep).lower()}>"


def images(dtype: str, matrix: str) -> str:
    """The name of the kernel that adds a matrix of windows up to images."""
    return f"images<{C_NAMES[dtype]}, {C_NAMES[matrix]}>"


VARIANTS = [
    name
    for dtype, matrix, width in (
        ("float16", "float16", 8),
        ("bfloat16", "float32", 4),
        ("float32", "float32", 4),
        ("float64", "float64", 2),
    )
    for name in (
        *[windows(dtype, matrix, w, keep) for w in (width, 1) for keep in (True, False)],
        images(dtype, matrix),
    )
]
"""The kernels that the report compiles."""
