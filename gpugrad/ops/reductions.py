"""Reductions over axes, and cumulative sums. The sum itself is in ``broadcast``."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpugrad.core.abstract import ShapeDtype, rank, shape_dtype
from gpugrad.core.box import Box
from gpugrad.core.primitive import LINEAR, Keeping, Primitive
from gpugrad.kernels.scan import running
from gpugrad.ops.batching import over_axis
from gpugrad.ops.broadcast import is_narrow, reduced, spread, standing, sum_p
from gpugrad.ops.cast import cast, is_inexact
from gpugrad.ops.complex import conj, real
from gpugrad.ops.elementwise import (
    equal,
    exp,
    isfinite,
    maximum,
    minimum,
    not_equal,
    unary,
    where,
)
from gpugrad.ops.indexing import getitem
from gpugrad.ops.masked import kept, masked_mean, masked_var, started, worst
from gpugrad.ops.shape import (
    ALL_AXES,
    flip_p,
    moveaxis,
    normal_axes,
    normal_axis,
    ravel,
    reshape,
)


def _kept_dtype(x: ShapeDtype, *, axis: Any, keepdims: bool) -> ShapeDtype:
    return ShapeDtype(reduced(x.shape, axis, keepdims), x.dtype)


def _as_bool(x: ShapeDtype, *, axis: Any, keepdims: bool) -> ShapeDtype:
    return ShapeDtype(reduced(x.shape, axis, keepdims), np.dtype(bool))


def _as_float(x: ShapeDtype, *, axis: Any, keepdims: bool) -> ShapeDtype:
    dtype = x.dtype if is_inexact(x.dtype) else np.dtype(float)
    return ShapeDtype(reduced(x.shape, axis, keepdims), dtype)


def _count(shape: tuple[int, ...], axis: tuple[int, ...]) -> int:
    return math.prod([shape[a] for a in axis])


def _mean(xp: Any, x: Any, *, axis: tuple[int, ...], keepdims: bool) -> Any:
    if xp is np and type(x) is np.ndarray and x.dtype.char in "fdFD":
        # What np.mean comes down to, at a third of its price for small arrays.
        total = np.add.reduce(x, axis=axis, keepdims=keepdims)  # type: ignore[call-overload]
        return total / float(_count(x.shape, axis))  # NumPy converts an int at more cost
    if xp is np and is_narrow(shape_dtype(x).dtype):
        return xp.mean(x, axis=axis, keepdims=keepdims, dtype=np.float32).astype(x.dtype)
    return xp.mean(x, axis=axis, keepdims=keepdims)


mean_p = Primitive(
    "mean",
    _mean,
    shape=_as_float,
    vjp=lambda g, x_like, axis, keepdims: spread(
        g / _count(x_like.shape, axis), x_like, axis, keepdims
    ),
    jvp=LINEAR,
    batch=over_axis,
)


def _extreme(name: str, ufunc: np.ufunc) -> Primitive:
    """Max or min: elements that tie share the gradient equally, as in JAX."""

    def shares(x: Any, y: Any, like: Any, axis: Any, keepdims: bool, g_dtype: Any) -> Any:
        hit = cast(equal(x, standing(y, like, axis, keepdims)), g_dtype)
        return hit, sum_p(hit, axis=axis, keepdims=keepdims)

    def vjp(g: Any, x: Any, y: Any, x_like: Any, axis: Any, keepdims: bool) -> Any:
        hit, count = shares(x, y, x_like, axis, keepdims, g.dtype)
        return hit * standing(g / count, x_like, axis, keepdims)

    def jvp(t: Any, x: Any, y: Any, x_like: Any, axis: Any, keepdims: bool) -> Any:
        hit, count = shares(x, y, x_like, axis, keepdims, t.dtype)
        return sum_p(hit * t, axis=axis, keepdims=keepdims) / count

    return Primitive(
        name, name, shape=_kept_dtype, vjp=vjp, jvp=jvp, batch=over_axis, host=ufunc.reduce
    )


# The root of a sum of squares. At 0 its derivative is finite, so that with the squares' own, which
# is 0 there, it comes to 0.
root_p = unary("root", lambda g, y: g / (2 * (y + (y == 0))), lambda xp, x: xp.sqrt(x))

max_p = _extreme("max", np.maximum)
min_p = _extreme("min", np.minimum)
any_p = Primitive("any", "any", shape=_as_bool, batch=over_axis, host=np.logical_or.reduce)
all_p = Primitive("all", "all", shape=_as_bool, batch=over_axis, host=np.logical_and.reduce)


def _index_of(name: str) -> Primitive:
    return Primitive(
        name,
        lambda xp, x, *, axis: getattr(xp, name)(x, axis=axis),
        shape=lambda x, *, axis: ShapeDtype(reduced(x.shape, (axis,), False), np.dtype(np.intp)),
        batch=over_axis,
    )


argmax_p = _index_of("argmax")
argmin_p = _index_of("argmin")

cumsum_p: Primitive = Primitive(
    "cumsum",
    lambda xp, x, *, axis: running("Sum", x, axis),
    shape=lambda x, *, axis: ShapeDtype(x.shape, np.empty(0, x.dtype).cumsum().dtype),
    vjp=lambda g, axis: flip_p(cumsum_p(flip_p(g, axis=(axis,)), axis=axis), axis=(axis,)),
    jvp=LINEAR,
    batch=over_axis,
)


def _logsumexp(xp: Any, x: Any, *, axis: Any, keepdims: bool) -> Any:
    x = xp.asarray(x)
    if not x.size:
        return x.sum(axis=axis, keepdims=keepdims) - math.inf
    top = x.max(axis=axis, keepdims=True)
    top = xp.where(xp.isfinite(top), top, 0)
    with np.errstate(divide="ignore"):
        y = xp.log(xp.exp(x - top).sum(axis=axis, keepdims=True))
    y += top
    return y if keepdims else y.squeeze(axis)[()]


def _softmax_of(x: Any, y: Any, like: Any, axis: Any, keepdims: bool) -> Any:
    return exp(x - standing(where(isfinite(y), y, 0), like, axis, keepdims))


logsumexp_p = Primitive(
    "logsumexp",
    _logsumexp,
    shape=_as_float,
    vjp=lambda g, x, y, x_like, axis, keepdims: (
        standing(g, x_like, axis, keepdims) * _softmax_of(x, y, x_like, axis, keepdims)
    ),
    jvp=lambda t, x, y, x_like, axis, keepdims: sum_p(
        t * _softmax_of(x, y, x_like, axis, keepdims), axis=axis, keepdims=keepdims
    ),
    batch=over_axis,
)


def _reduce(primitive: Primitive, x: Any, axis: Any, keepdims: bool) -> Any:
    short = axis is None and type(x) is np.ndarray  # spelled out: loops ask for a largest one
    axes = ALL_AXES[x.ndim] if short else normal_axes(axis, rank(x))
    return primitive.bind((x,), {"axis": axes, "keepdims": keepdims})


def mean(
    x: Any, axis: Any = None, dtype: Any = None, *, keepdims: bool = False, where: Any = None
) -> Any:
    """Arithmetic mean over ``axis`` (None: over all) of what ``where`` keeps."""
    x = x if dtype is None else cast(x, dtype)
    if where is not None:
        return masked_mean(x, axis, where, keepdims)
    return _reduce(mean_p, x, axis, keepdims)


def max(
    x: Any, axis: Any = None, *, keepdims: bool = False, initial: Any = None, where: Any = None
) -> Any:
    """Largest element over ``axis``; ties share the gradient equally.

    ``where`` says which elements count, ``initial`` is one more that does.
    """
    if where is None and initial is None:
        return _reduce(max_p, x, axis, keepdims)
    x = kept(x, where, None if where is None else worst(x, initial, "max", -1))
    if not _count(shape_dtype(x).shape, normal_axes(axis, shape_dtype(x).ndim)):
        return sum_p(x, axis=normal_axes(axis, shape_dtype(x).ndim), keepdims=keepdims) + initial
    return started(_reduce(max_p, x, axis, keepdims), initial, maximum)


def min(
    x: Any, axis: Any = None, *, keepdims: bool = False, initial: Any = None, where: Any = None
) -> Any:
    """Smallest element over ``axis``; ties share the gradient equally.

    ``where`` says which elements count, ``initial`` is one more that does.
    """
    if where is None and initial is None:
        return _reduce(min_p, x, axis, keepdims)
    x = kept(x, where, None if where is None else worst(x, initial, "min", 1))
    if not _count(shape_dtype(x).shape, normal_axes(axis, shape_dtype(x).ndim)):
        return sum_p(x, axis=normal_axes(axis, shape_dtype(x).ndim), keepdims=keepdims) + initial
    return started(_reduce(min_p, x, axis, keepdims), initial, minimum)


def any(x: Any, axis: Any = None, *, keepdims: bool = False, where: Any = None) -> Any:
    """Whether some element over ``axis`` that ``where`` keeps is true."""
    return _reduce(any_p, kept(x, where, 0), axis, keepdims)


def all(x: Any, axis: Any = None, *, keepdims: bool = False, where: Any = None) -> Any:
    """Whether every element over ``axis`` that ``where`` keeps is true."""
    return _reduce(all_p, kept(x, where, 1), axis, keepdims)


def logsumexp(x: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    """``log(sum(exp(x)))`` over ``axis`` without overflow; its gradient is the softmax."""
    return _reduce(logsumexp_p, x, axis, keepdims)


def _arg(primitive: Primitive, x: Any, axis: Any, keepdims: bool) -> Any:
    like = shape_dtype(x)
    if axis is None:
        out = primitive(ravel(x), axis=0)
        return reshape(out, (1,) * like.ndim) if keepdims else out
    at = normal_axis(axis, like.ndim)
    out = primitive(x, axis=at)
    return reshape(out, reduced(like.shape, (at,), True)) if keepdims else out


def argmax(x: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    """Position of the first largest element along ``axis`` (None: of the flattened array)."""
    return _arg(argmax_p, x, axis, keepdims)


def argmin(x: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    """Position of the first smallest element along ``axis`` (None: of the flattened array)."""
    return _arg(argmin_p, x, axis, keepdims)


def cumsum(x: Any, axis: Any = None, dtype: Any = None) -> Any:
    """Running sum along ``axis`` (None: of the flattened array)."""
    if axis is None:
        x, axis = ravel(x), 0
    axis = normal_axis(axis, shape_dtype(x).ndim)
    if dtype is None:
        return cumsum_p(x, axis=axis)
    return cast(cumsum_p(cast(x, dtype), axis=axis), dtype)


def prod(
    x: Any,
    axis: Any = None,
    dtype: Any = None,
    *,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = None,
) -> Any:
    """Product over ``axis`` (None: over all) of what ``where`` keeps, times ``initial``.

    It is a tree of multiplications, so that its derivatives of every order are right where
    factors are zero: the product of the others, not ``y / x``.
    """
    if where is not None or initial is not None:
        out = prod(kept(x, where, 1), axis, dtype, keepdims=keepdims)
        return out if initial is None else out * initial
    if dtype is not None:
        x = cast(x, dtype)
    like = shape_dtype(x)
    if is_narrow(like.dtype):
        return cast(prod(cast(x, np.float32), axis, keepdims=keepdims), like.dtype)
    axes = normal_axes(axis, like.ndim)
    total = np.empty(0, like.dtype).prod().dtype if dtype is None else like.dtype
    x = cast(x, total) if total != like.dtype else x
    left = reduced(like.shape, axes, False)
    x = reshape(moveaxis(x, axes, tuple(range(len(axes)))), (_count(like.shape, axes), *left))
    if x.shape[0] == 0:
        out = cast(sum_p(x, axis=(0,), keepdims=False), x.dtype) + x.dtype.type(1)
        return reshape(out, reduced(like.shape, axes, True)) if keepdims else out
    while (n := x.shape[0]) > 1:
        half = n // 2
        y = getitem(x, slice(0, half)) * getitem(x, slice(half, 2 * half))
        if n % 2:
            last = getitem(x, slice(n - 1, n))
            y = getitem(y, 0)[None] * last if half == 1 else _times_first(y, last, half)
        x = y
    out = getitem(x, 0)
    return reshape(out, reduced(like.shape, axes, True)) if keepdims else out


def _times_first(y: Any, last: Any, half: int) -> Any:
    from gpugrad.ops.join import concatenate

    return concatenate([getitem(y, slice(0, 1)) * last, getitem(y, slice(1, half))])


_FEW = 4096
"""Distances of up to so many elements from their mean are kept, as NumPy's calls outweigh them."""


def _var(xp: Any, x: Any, *, axis: tuple[int, ...], free: float, keepdims: bool) -> tuple[Any, Any]:
    if not hasattr(x, "dtype"):  # a number
        x = np.asarray(x)
    if is_narrow(x.dtype):  # its squares overflow, and lose what the mean has left of them
        y, off = _var(xp, x.astype(np.float32), axis=axis, free=free, keepdims=keepdims)
        with np.errstate(over="ignore"):
            return y.astype(x.dtype), None if off is None else off.astype(x.dtype)
    off = x - _mean(xp, x, axis=axis, keepdims=True)
    squares = (off * off.conj()).real if off.dtype.kind == "c" else off * off
    total = sum_p(squares, axis=axis, keepdims=keepdims)
    count = _count(off.shape, axis) - free
    kept = off if xp is np and off.size <= _FEW else None
    if count > 0:
        return total / float(count), kept
    with np.errstate(divide="ignore", invalid="ignore"):
        return total / total.dtype.type(0), kept


def _off(g: Any, x: Any, axis: tuple[int, ...], free: float, kept: Any = None) -> Any:
    """``g`` times twice the distance from the mean over ``n - free``, to be conjugated."""
    count = _count(shape_dtype(x).shape, axis) - free
    known = kept is not None and not isinstance(x, Box)  # else its derivative is wanted too
    off = kept if known else x - mean_p(x, axis=axis, keepdims=True)
    return cast(g * (2 / count if count > 0 else np.inf) * off, shape_dtype(off).dtype)


def _var_shape(x: ShapeDtype, *, axis: Any, free: float, keepdims: bool) -> ShapeDtype:
    shape, dtype, _ = _as_float(x, axis=axis, keepdims=keepdims)
    return ShapeDtype(shape, dtype.type(0).real.dtype if dtype.kind == "c" else dtype)


var_p: Primitive = Keeping(
    "var",
    _var,
    shape=_var_shape,
    vjp=lambda g, x, x_like, kept, axis, free, keepdims: conj(
        _off(standing(g, x_like, axis, keepdims), x, axis, free, kept)
    ),
    jvp=lambda t, x, axis, free, keepdims: sum_p(
        real(conj(_off(1.0, x, axis, free)) * t), axis=axis, keepdims=keepdims
    ),
    batch=over_axis,
)
"""Mean squared distance from the mean; that the mean moves too does not count, for the distances
from it sum to 0."""


def var(
    x: Any,
    axis: Any = None,
    dtype: Any = None,
    *,
    ddof: float = 0,
    correction: float | None = None,
    keepdims: bool = False,
    where: Any = None,
    mean: Any = None,
) -> Any:
    """Variance over ``axis``: the mean squared distance from the mean, over ``n - ddof``.

    ``where`` says which elements count; ``mean`` is theirs, with ``axis`` kept, if it is known.
    """
    if dtype is not None:
        x = cast(x, dtype)
    free = ddof if correction is None else correction
    if where is not None or mean is not None:
        return masked_var(x, axis, where, free, keepdims, mean)
    axes = normal_axes(axis, rank(x))
    return var_p(x, axis=axes, free=free, keepdims=keepdims)


def std(
    x: Any,
    axis: Any = None,
    dtype: Any = None,
    *,
    ddof: float = 0,
    correction: float | None = None,
    keepdims: bool = False,
    where: Any = None,
    mean: Any = None,
) -> Any:
    """Standard deviation over ``axis``: the root of the variance.

    Where all elements are equal its gradient is 0, a subgradient, as in PyTorch. ``where`` says
    which elements count; ``mean`` is theirs, with ``axis`` kept, if it is known.
    """
    x = x if dtype is None else cast(x, dtype)
    like = shape_dtype(x)
    if is_narrow(like.dtype):  # the variance may overflow where its root does not
        x = cast(x, np.float32)
    free = ddof if correction is None else correction
    if where is not None or mean is not None:
        y = masked_var(x, axis, where, free, keepdims, mean, root_p)
    else:
        y = root_p(var(x, axis, ddof=free, keepdims=keepdims))
    return cast(y, like.dtype) if is_narrow(like.dtype) else y


def count_nonzero(x: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    """How many elements over ``axis`` are not zero."""
    like = shape_dtype(x)
    hit = x if like.dtype.kind == "b" else not_equal(x, 0)
    return sum_p(hit, axis=normal_axes(axis, like.ndim), keepdims=keepdims)
