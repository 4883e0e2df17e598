"""Order statistics: median, quantile, percentile, with and without NaN.

They gather from the sorted elements and interpolate, so that the one or two elements at the
quantile share the gradient by their weights. Elements that tie are told apart by their place, as
in a stable sort and in JAX.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gpugrad.core.abstract import shape_dtype
from gpugrad.core.box import Box
from gpugrad.device import is_cuda
from gpugrad.ops.broadcast import broadcast_to, reduced, sum_p
from gpugrad.ops.cast import cast, is_inexact
from gpugrad.ops.elementwise import ceil, floor, isnan, maximum, minimum, rint, where
from gpugrad.ops.indexing import getitem, take_along_axis
from gpugrad.ops.operands import as_array, as_arrays
from gpugrad.ops.reductions import cumsum, mean
from gpugrad.ops.shape import expand_dims, moveaxis, normal_axes, reshape
from gpugrad.ops.sorting import argsort_p, sort_p


def _by(alpha: float, beta: float) -> Callable[[Any, Any], tuple[Any, Any]]:
    """Hyndman and Fan's continuous methods: a place between two elements, and how far between."""

    def place(n: Any, q: Any) -> tuple[Any, Any]:
        at = n * q + (alpha + q * (1 - alpha - beta)) - 1
        low = floor(at)
        return low, at - low

    return place


def _linear(n: Any, q: Any) -> tuple[Any, Any]:
    at = (n - 1) * q
    low = floor(at)
    return low, at - low


def _inverted(n: Any, q: Any) -> tuple[Any, Any]:
    return ceil(n * q - 1), 0


def _averaged(n: Any, q: Any) -> tuple[Any, Any]:
    at = n * q - 1
    low = floor(at)
    return low, where(at == low, 0.5, 1.0)


def _closest(n: Any, q: Any) -> tuple[Any, Any]:
    at = n * q - 1.5
    low = floor(at)
    return where((at == low) & (low % 2 == 1), low, low + 1), 0


def _midpoint(n: Any, q: Any) -> tuple[Any, Any]:
    at = (n - 1) * q
    low = floor(at)
    return low, where(at == low, 0.0, 0.5)


METHODS: dict[str, Callable[[Any, Any], tuple[Any, Any]]] = {
    "inverted_cdf": _inverted,
    "averaged_inverted_cdf": _averaged,
    "closest_observation": _closest,
    "interpolated_inverted_cdf": _by(0, 1),
    "hazen": _by(0.5, 0.5),
    "weibull": _by(0, 0),
    "linear": _linear,
    "median_unbiased": _by(1 / 3, 1 / 3),
    "normal_unbiased": _by(3 / 8, 3 / 8),
    "lower": lambda n, q: (floor((n - 1) * q), 0),
    "higher": lambda n, q: (ceil((n - 1) * q), 0),
    "midpoint": _midpoint,
    "nearest": lambda n, q: (rint((n - 1) * q), 0),
}
"""NumPy's methods: from a count and quantiles to a position and a weight of the next element."""


def _rows(x: Any, axis: Any) -> tuple[Any, tuple[int, ...]]:
    """``x`` with the axes to reduce as its last one, and which they are."""
    like = shape_dtype(x)
    axes = normal_axes(axis, like.ndim)
    rest = reduced(like.shape, axes, False)
    n = math.prod([like.shape[a] for a in axes])
    if not n:
        raise ValueError(f"a quantile of no elements: axis {axis} of shape {like.shape}")
    moved = moveaxis(x, axes, tuple(range(len(rest), like.ndim)))
    return reshape(moved, (*rest, n)), axes


def _check(q: Any, what: str) -> None:
    if isinstance(q, Box) or is_cuda(q):  # not known here without waiting for the device
        return
    if not bool(np.all((np.asarray(q) >= 0) & (np.asarray(q) <= 1))):
        raise ValueError(f"{what}: a quantile lies between 0 and 1 (a percentile: 100), got {q}")


def _between(rows: Any, n: Any, q: Any, method: str, nan: bool) -> Any:
    """Quantiles ``q`` (1-D) of sorted rows along the last axis, which they take the place of."""
    if method not in METHODS:
        raise ValueError(f"quantile: method {method!r} is none of {', '.join(METHODS)}")
    low, weight = METHODS[method](n, q)
    last = maximum(n - 1, 0) if nan else n - 1
    full = (*shape_dtype(rows).shape[:-1], shape_dtype(q).shape[-1])
    below = _pick(rows, minimum(maximum(low, 0), last), full)
    if isinstance(weight, int):
        return below
    # On an element itself there is none to go to, which might be infinite.
    above = _pick(rows, minimum(maximum(low + (weight > 0), 0), last), full)
    return below + (above - below) * weight


def _pick(rows: Any, at: Any, full: tuple[int, ...]) -> Any:
    at = cast(at, np.intp)
    if shape_dtype(at).ndim == 1:
        return getitem(rows, (..., at))
    return take_along_axis(rows, at, -1)


def _quantile(
    x: Any, q: Any, axis: Any, method: str, keepdims: bool, weights: Any, nan: bool
) -> Any:
    x = as_array(x)
    like = shape_dtype(x)
    if like.dtype.kind == "c":
        raise TypeError("quantiles of complex numbers have no order; take those of a real part")
    if not is_inexact(like.dtype):
        x = x * 1.0
    dtype = shape_dtype(x).dtype
    number = isinstance(q, int | float)
    x, q = as_arrays(x, q)
    q = cast(q, dtype) if number else q
    of_q = shape_dtype(q).shape
    q = reshape(q, (-1,)) if of_q else reshape(q, (1,))
    rows, axes = _rows(x, axis)
    if weights is None:
        out = _plain(rows, q, method, nan)
    else:
        out = _weighted(rows, q, method, _rows_like(weights, x, axes), nan)
    rest = reduced(like.shape, axes, keepdims)
    out = reshape(moveaxis(out, -1, 0), (*(of_q or (1,)), *rest))
    return out if of_q else getitem(out, 0)


def _plain(rows: Any, q: Any, method: str, nan: bool) -> Any:
    rank = shape_dtype(rows).ndim - 1
    ordered = sort_p(rows, axis=rank)
    if nan:
        n = cast(sum_p(~isnan(rows), axis=(rank,), keepdims=True), shape_dtype(q).dtype)
        return _between(ordered, n, reshape(q, (*(1,) * rank, -1)), method, True)
    out = _between(ordered, shape_dtype(rows).shape[-1], q, method, False)
    top = getitem(ordered, (..., slice(-1, None)))  # where there is a NaN, it is the last
    return where(isnan(top), top, out)


def _rows_like(weights: Any, x: Any, axes: tuple[int, ...]) -> Any:
    """Weights of the shape of ``x``, or of its reduced axes, as rows."""
    x, weights = as_arrays(x, weights)
    shape = shape_dtype(x).shape
    if shape_dtype(weights).shape != shape:
        want = tuple(shape[a] for a in axes)
        if shape_dtype(weights).shape != want:
            raise ValueError(
                f"weights of shape {shape_dtype(weights).shape}: {shape} or {want} is needed"
            )
        stretched = tuple(n if a in axes else 1 for a, n in enumerate(shape))
        weights = broadcast_to(reshape(weights, stretched), shape)
    return _rows(weights, axes)[0]


def _weighted(rows: Any, q: Any, method: str, weights: Any, nan: bool) -> Any:
    """The first element up to which the weights come to the quantile of their sum."""
    if method != "inverted_cdf":
        raise ValueError(f"quantile: weights need method='inverted_cdf', got {method!r}")
    rank = shape_dtype(rows).ndim - 1
    if nan:
        weights = where(isnan(rows), 0, weights)
    order = argsort_p(rows, axis=rank)
    ordered = take_along_axis(rows, order, -1)
    total = cumsum(take_along_axis(weights, order, -1), -1)
    share = total / getitem(total, (..., slice(-1, None)))
    share = where(share == 0, -1, share)  # a quantile of 0 is the first element that counts
    before = expand_dims(share, -1) < q
    at = minimum(sum_p(before, axis=(rank,), keepdims=False), shape_dtype(rows).shape[-1] - 1)
    out = take_along_axis(ordered, at, -1)
    top = getitem(ordered, (..., slice(-1, None)))
    return out if nan else where(isnan(top), top, out)


def quantile(
    x: Any,
    q: Any,
    axis: Any = None,
    *,
    method: str = "linear",
    keepdims: bool = False,
    weights: Any = None,
    overwrite_input: bool = False,
) -> Any:
    """The value below which a share ``q`` of the elements lies, over ``axis`` (None: over all).

    Parameters
    ----------
    x
        Real numbers; a NaN among them gives NaN.
    q
        Between 0 and 1: one, or several, whose axes come first in the result. The gradient with
        respect to ``q`` is the slope between the two elements around it.
    axis
        One or several axes.
    method
        How to interpolate: any of NumPy's.
    keepdims
        Keep the reduced axes with length 1.
    weights
        What each element counts for, with ``method="inverted_cdf"``.
    overwrite_input
        Has no effect.

    Examples
    --------
    >>> import numpy as np, gpugrad as gg, gpugrad.numpy as gnp
    >>> gg.grad(lambda x: gnp.quantile(x, 0.75))(np.array([4.0, 1.0, 3.0]))
    array([0.5, 0. , 0.5])
    """
    _check(q, "quantile")
    return _quantile(x, q, axis, method, keepdims, weights, False)


def percentile(
    x: Any,
    q: Any,
    axis: Any = None,
    *,
    method: str = "linear",
    keepdims: bool = False,
    weights: Any = None,
    overwrite_input: bool = False,
) -> Any:
    """`quantile` with ``q`` between 0 and 100."""
    q = _hundredth(q)
    _check(q, "percentile")
    return _quantile(x, q, axis, method, keepdims, weights, False)


def nanquantile(
    x: Any,
    q: Any,
    axis: Any = None,
    *,
    method: str = "linear",
    keepdims: bool = False,
    weights: Any = None,
    overwrite_input: bool = False,
) -> Any:
    """`quantile` of the elements that are no NaN; NaN where there is none."""
    _check(q, "nanquantile")
    return _quantile(x, q, axis, method, keepdims, weights, True)


def nanpercentile(
    x: Any,
    q: Any,
    axis: Any = None,
    *,
    method: str = "linear",
    keepdims: bool = False,
    weights: Any = None,
    overwrite_input: bool = False,
) -> Any:
    """`percentile` of the elements that are no NaN; NaN where there is none."""
    q = _hundredth(q)
    _check(q, "nanpercentile")
    return _quantile(x, q, axis, method, keepdims, weights, True)


def _hundredth(q: Any) -> Any:
    return (np.asarray(q) / 100).tolist() if isinstance(q, list | tuple) else q / 100


def median(
    x: Any, axis: Any = None, *, keepdims: bool = False, overwrite_input: bool = False
) -> Any:
    """The middle element over ``axis``, or the mean of the middle two, which share the gradient."""
    x = as_array(x)
    like = shape_dtype(x)
    if not is_inexact(like.dtype):
        x = x * 1.0
    if not like.size:
        return _of_nothing(x, axis, keepdims)
    rows, axes = _rows(x, axis)
    rank, n = shape_dtype(rows).ndim - 1, shape_dtype(rows).shape[-1]
    ordered = sort_p(rows, axis=rank)
    middle = getitem(ordered, (..., n // 2))
    if n % 2 == 0:
        middle = (getitem(ordered, (..., n // 2 - 1)) + middle) / 2
    top = getitem(ordered, (..., -1))
    out = where(isnan(top), top, middle)
    return reshape(out, reduced(like.shape, axes, keepdims))


def _of_nothing(x: Any, axis: Any, keepdims: bool) -> Any:
    """The mean of no elements: NaN of the shape that is left."""
    with np.errstate(invalid="ignore"):
        return mean(x, axis, keepdims=keepdims)


def nanmedian(
    x: Any, axis: Any = None, *, keepdims: bool = False, overwrite_input: bool = False
) -> Any:
    """`median` of the elements that are no NaN; NaN where there is none."""
    x = as_array(x)
    if not shape_dtype(x).size:
        return _of_nothing(x, axis, keepdims)
    return _quantile(x, 0.5, axis, "linear", keepdims, None, True)
