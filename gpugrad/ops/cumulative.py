"""Running products and sums. The running sum itself is in ``reductions``."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpugrad.core.abstract import ShapeDtype, shape_dtype
from gpugrad.core.primitive import Primitive
from gpugrad.kernels.scan import running
from gpugrad.ops.batching import over_axis
from gpugrad.ops.cast import cast
from gpugrad.ops.elementwise import isnan, where
from gpugrad.ops.indexing import getitem
from gpugrad.ops.join import concatenate_p, pad_p
from gpugrad.ops.operands import as_array
from gpugrad.ops.reductions import cumsum
from gpugrad.ops.shape import flip_p, moveaxis, normal_axis, ravel


def recurrence(a: Any, b: Any) -> Any:
    """``h[i] = a[i] * h[i-1] + b[i]`` along the first axis, by doubling.

    It has no division, so that zeros among ``a`` do no harm, and takes as many steps as the
    length has binary digits, each over the whole array.
    """
    n = shape_dtype(b).shape[0]
    step = 1
    while step < n:
        head, tail, early = slice(0, step), slice(step, n), slice(0, n - step)
        b = concatenate_p(
            getitem(b, head), getitem(b, tail) + getitem(a, tail) * getitem(b, early), axis=0
        )
        a = concatenate_p(getitem(a, head), getitem(a, tail) * getitem(a, early), axis=0)
        step *= 2
    return b


def _before(y: Any) -> Any:
    """``y[i-1]`` along the first axis, 1 at its start."""
    shape = shape_dtype(y).shape
    width = ((1, 0), *((0, 0),) * (len(shape) - 1))
    return pad_p(getitem(y, slice(0, shape[0] - 1)), width=width, value=1)


def _cumprod_jvp(t: Any, x: Any, y: Any, axis: int, y_like: ShapeDtype) -> Any:
    if not y_like.size:
        return t
    t, x, y = (moveaxis(v, axis, 0) for v in (t, x, y))
    return moveaxis(recurrence(x, _before(y) * t), 0, axis)


def _cumprod_vjp(g: Any, x: Any, y: Any, axis: int, y_like: ShapeDtype) -> Any:
    # The recurrence backwards: c[i] = g[i] + x[i+1] * c[i+1]; the gradient is y[i-1] * c[i].
    if not y_like.size:
        return g
    g, x, y = (moveaxis(v, axis, 0) for v in (g, x, y))
    c = recurrence(_before(flip_p(x, axis=(0,))), flip_p(g, axis=(0,)))
    return moveaxis(_before(y) * flip_p(c, axis=(0,)), 0, axis)


cumprod_p = Primitive(
    "cumprod",
    lambda xp, x, *, axis: running("Product", x, axis),
    shape=lambda x, *, axis: ShapeDtype(x.shape, np.empty(0, x.dtype).cumprod().dtype),
    vjp=_cumprod_vjp,
    jvp=_cumprod_jvp,
    batch=over_axis,
)


def cumprod(x: Any, axis: int | None = None, dtype: Any = None) -> Any:
    """Running product along ``axis`` (None: of the flattened array).

    Its derivatives of every order are right where factors are zero.
    """
    x = as_array(x)
    if axis is None:
        x, axis = ravel(x), 0
    axis = normal_axis(axis, shape_dtype(x).ndim)
    if dtype is None:
        return cumprod_p(x, axis=axis)
    return cast(cumprod_p(cast(x, dtype), axis=axis), dtype)


def _cumulative(
    run: Any, start: int, x: Any, axis: int | None, dtype: Any, include_initial: bool
) -> Any:
    x = as_array(x)
    ndim = shape_dtype(x).ndim
    if axis is None:
        if ndim != 1:
            name = "cumulative_prod" if start else "cumulative_sum"
            raise ValueError(f"{name} of an array of shape {shape_dtype(x).shape} needs an axis")
        axis = 0
    at = normal_axis(axis, ndim)
    y = run(x, at, dtype)
    if not include_initial:
        return y
    return pad_p(y, width=tuple((int(a == at), 0) for a in range(ndim)), value=start)


def cumulative_sum(
    x: Any, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False
) -> Any:
    """Running sum along ``axis``, which may be left out for 1-D arrays.

    ``include_initial`` puts a 0 before the first.
    """
    return _cumulative(cumsum, 0, x, axis, dtype, include_initial)


def cumulative_prod(
    x: Any, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False
) -> Any:
    """Running product along ``axis``, which may be left out for 1-D arrays.

    ``include_initial`` puts a 1 before the first.
    """
    return _cumulative(cumprod, 1, x, axis, dtype, include_initial)


def nancumsum(x: Any, axis: int | None = None, dtype: Any = None) -> Any:
    """Running sum with NaN as 0."""
    x = as_array(x)
    return cumsum(where(isnan(x), 0, x), axis, dtype)


def nancumprod(x: Any, axis: int | None = None, dtype: Any = None) -> Any:
    """Running product with NaN as 1."""
    x = as_array(x)
    return cumprod(where(isnan(x), 1, x), axis, dtype)
