"""Averages, ranges and covariances; reductions that pass over NaN."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from gpugrad.core.abstract import shape_dtype
from gpugrad.ops.broadcast import broadcast_to, is_narrow, sum, sum_p
from gpugrad.ops.cast import cast, is_inexact
from gpugrad.ops.complex import conj, real
from gpugrad.ops.concrete import like_operands
from gpugrad.ops.creation import zeros_near
from gpugrad.ops.diagonals import diagonal
from gpugrad.ops.elementwise import fmax, fmin, isnan, logical_and, logical_not, sqrt
from gpugrad.ops.elementwise import where as choose
from gpugrad.ops.join import concatenate
from gpugrad.ops.masked import kept, started
from gpugrad.ops.matmul import matmul
from gpugrad.ops.operands import as_array, as_arrays
from gpugrad.ops.reductions import argmax, argmin, max, max_p, mean, min, min_p, prod, std, var
from gpugrad.ops.shape import expand_dims, normal_axes, reshape, squeeze, transpose


def ptp(x: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    """The range over ``axis``: the largest element less the smallest."""
    x = as_array(x)
    return max(x, axis, keepdims=keepdims) - min(x, axis, keepdims=keepdims)


def average(
    x: Any,
    axis: Any = None,
    weights: Any = None,
    returned: bool = False,
    *,
    keepdims: bool = False,
) -> Any:
    """The mean over ``axis`` with ``weights``; with ``returned`` also the sum of the weights.

    Weights have the shape of ``x``, or that of the axes that are averaged over.
    """
    x = as_array(x)
    like = shape_dtype(x)
    axes = normal_axes(axis, like.ndim)
    if weights is None:
        out = mean(x, axes, keepdims=keepdims)
        n = math.prod([like.shape[a] for a in axes])
        return (out, _of_count(n, out)) if returned else out
    x, w = as_arrays(x, weights)
    if shape_dtype(w).shape != like.shape:
        want = tuple(like.shape[a] for a in axes)
        if axis is None or shape_dtype(w).shape != want:
            raise ValueError(
                f"average: weights of shape {shape_dtype(w).shape} for an array of shape "
                f"{like.shape} and axis {axis}; {like.shape} or {want} is needed"
            )
        w = transpose(w, tuple(int(i) for i in np.argsort(axes)))
        w = reshape(w, tuple(n if a in axes else 1 for a, n in enumerate(like.shape)))
        w = broadcast_to(w, like.shape)
    x, w = (v if is_inexact(shape_dtype(v).dtype) else v * 1.0 for v in (x, w))
    total = sum_p(w, axis=axes, keepdims=keepdims)
    out = sum_p(x * w, axis=axes, keepdims=keepdims) / total
    return (out, total) if returned else out


def _of_count(n: int, out: Any) -> Any:
    like = shape_dtype(out)
    return like_operands(zeros_near([out], like.shape, like.dtype) + n, [out])


def _two_axes(x: Any) -> Any:
    return x if shape_dtype(x).ndim >= 2 else reshape(x, (1, -1))


def cov(
    m: Any,
    y: Any = None,
    rowvar: bool = True,
    bias: bool = False,
    ddof: int | None = None,
    fweights: Any = None,
    aweights: Any = None,
    *,
    dtype: Any = None,
) -> Any:
    """The covariance matrix of variables: the rows of ``m`` (columns, if not ``rowvar``).

    It has the type of the data, where NumPy goes on in float64.

    Parameters
    ----------
    m
        Observations; 1-D for a single variable.
    y
        More variables.
    rowvar
        Whether a row is a variable.
    bias
        Divide by the number of observations, not by one less.
    ddof
        Divide by the number less this.
    fweights, aweights
        How often each observation occurs; what it counts for.
    dtype
        The element type of the result.
    """
    (m,) = as_arrays(m)
    if dtype is not None:
        m = cast(m, dtype)
    elif not is_inexact(shape_dtype(m).dtype):
        m = m * 1.0
    x = transpose(m) if not rowvar and shape_dtype(m).ndim > 1 else _two_axes(m)
    if y is not None:
        x, y = as_arrays(x, y)
        y = _two_axes(y)
        y = transpose(y) if not rowvar and shape_dtype(y).shape[0] != 1 else y
        x = concatenate([x, y], 0)
    n = shape_dtype(x).shape[1]
    ddof = (0 if bias else 1) if ddof is None else ddof
    given = [w for w in (fweights, aweights) if w is not None]
    (x, *given) = as_arrays(x, *given)
    for w in given:
        if shape_dtype(w).shape != (n,):
            raise ValueError(f"cov: weights of shape {shape_dtype(w).shape} for {n} observations")
    if not given:
        weighed = x = x - mean(x, 1, keepdims=True)
        fact = n - ddof if n > ddof else 0
    else:
        w = given[0] * given[1] if len(given) == 2 else given[0]
        total = sum(w)
        x = x - expand_dims(sum(x * w, 1) / total, 1)
        weighed = x * w
        spent = sum(w * given[-1]) / total if aweights is not None else 1
        fact = total - ddof * spent
    with np.errstate(divide="ignore", invalid="ignore"):
        out = matmul(weighed, conj(transpose(x)))
        return squeeze(out / (fact if given or fact else shape_dtype(out).dtype.type(0)))


def corrcoef(x: Any, y: Any = None, rowvar: bool = True, *, dtype: Any = None) -> Any:
    """The matrix of correlation coefficients of variables, as `cov` takes them."""
    c = cov(x, y, rowvar, dtype=dtype)
    if not shape_dtype(c).ndim:
        return c / c
    scale = sqrt(real(diagonal(c)))
    return c / expand_dims(scale, 1) / expand_dims(scale, 0)


def _filled(x: Any, value: float) -> tuple[Any, Any]:
    """``x`` with ``value`` in place of NaN, and where there was none."""
    x = as_array(x)
    if not is_inexact(shape_dtype(x).dtype):
        return x, None
    good = logical_not(isnan(x))
    return choose(good, x, value), good


def _unless(x: Any, mask: Any) -> Any:
    """``x`` with NaN for what the mask leaves out."""
    if mask is None:
        return x
    x = as_array(x)
    return kept(x if is_inexact(shape_dtype(x).dtype) else x * 1.0, mask, np.nan)


def nansum(
    x: Any,
    axis: Any = None,
    dtype: Any = None,
    *,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = None,
) -> Any:
    """Sum with NaN as 0, of what ``where`` keeps and ``initial``; no gradient flows to a NaN."""
    filled = _filled(x, 0)[0]
    return sum(filled, axis, dtype, keepdims=keepdims, initial=initial, where=where)


def nanprod(
    x: Any,
    axis: Any = None,
    dtype: Any = None,
    *,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = None,
) -> Any:
    """Product with NaN as 1, of what ``where`` keeps and ``initial``; NaN gets no gradient."""
    filled = _filled(x, 1)[0]
    return prod(filled, axis, dtype, keepdims=keepdims, initial=initial, where=where)


def _rounded_once(f: Callable[..., Any]) -> Callable[..., Any]:
    """``f`` of the given dtype; what is float16 or bfloat16 it computes in float32."""

    @wraps(f)
    def run(x: Any, axis: Any = None, dtype: Any = None, **options: Any) -> Any:
        x = as_array(x) if dtype is None else cast(as_array(x), dtype)
        like = shape_dtype(x)
        if not is_narrow(like.dtype):
            return f(x, axis, **options)
        return cast(f(cast(x, np.float32), axis, **options), like.dtype)

    return run


@_rounded_once
def nanmean(
    x: Any, axis: Any = None, dtype: Any = None, *, keepdims: bool = False, where: Any = None
) -> Any:
    """Mean of the elements that are no NaN, and that ``where`` keeps; NaN where there is none."""
    return mean(x, axis, keepdims=keepdims, where=_good(x, where))


def _good(x: Any, where: Any) -> Any:
    """Which elements are no NaN, and are kept by ``where``; None for all of them."""
    if not is_inexact(shape_dtype(x).dtype):
        return where
    good = logical_not(isnan(x))
    return good if where is None else logical_and(good, where)


@_rounded_once
def nanvar(
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
    """Variance of the elements that are no NaN, and that ``where`` keeps; NaN for too few.

    ``mean`` is theirs, with ``axis`` kept, if it is known.
    """
    options = {"ddof": ddof, "correction": correction, "keepdims": keepdims, "mean": mean}
    return var(x, axis, where=_good(x, where), **options)


@_rounded_once
def nanstd(
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
    """The root of `nanvar`; of equal elements its gradient is 0."""
    options = {"ddof": ddof, "correction": correction, "keepdims": keepdims, "mean": mean}
    return std(x, axis, where=_good(x, where), **options)


def _nan_extreme(x: Any, axis: Any, keepdims: bool, primitive: Any, worst: float) -> Any:
    x, good = _filled(x, worst)
    axes = normal_axes(axis, shape_dtype(x).ndim)
    out = primitive(x, axis=axes, keepdims=keepdims)
    if good is None:
        return out
    some = sum_p(good, axis=axes, keepdims=keepdims) > 0
    return choose(some, out, np.nan)


def nanmax(
    x: Any, axis: Any = None, *, keepdims: bool = False, initial: Any = None, where: Any = None
) -> Any:
    """Largest of the elements that are no NaN; NaN where there is none.

    ``where`` says which elements count, ``initial`` is one more that does.
    """
    out = _nan_extreme(_unless(x, where), axis, keepdims, max_p, -np.inf)
    return started(out, initial, fmax)


def nanmin(
    x: Any, axis: Any = None, *, keepdims: bool = False, initial: Any = None, where: Any = None
) -> Any:
    """Smallest of the elements that are no NaN; NaN where there is none.

    ``where`` says which elements count, ``initial`` is one more that does.
    """
    out = _nan_extreme(_unless(x, where), axis, keepdims, min_p, np.inf)
    return started(out, initial, fmin)


def nanargmax(x: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    """Position of the largest element that is no NaN; 0 where there is none."""
    return argmax(_filled(x, -np.inf)[0], axis, keepdims=keepdims)


def nanargmin(x: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    """Position of the smallest element that is no NaN; 0 where there is none."""
    return argmin(_filled(x, np.inf)[0], axis, keepdims=keepdims)
