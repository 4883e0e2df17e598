"""The methods of NumPy's ufuncs: one elementwise function of two operands applied along an axis.

A function that may be bracketed anyhow is applied to halves, and its running values by doubling:
as many steps as the length has binary digits, each over the whole array. The others take the
elements one after another, as NumPy does. All of it is written with the function itself, whose
derivatives of every order these have then. Where elements of ``maximum`` tie, each step shares.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpugrad.core.abstract import shape_dtype
from gpugrad.device import to_device
from gpugrad.ops.cast import cast
from gpugrad.ops.concrete import like_operands
from gpugrad.ops.creation import device_near, zeros_near
from gpugrad.ops.indexing import getitem
from gpugrad.ops.join import concatenate
from gpugrad.ops.masked import kept
from gpugrad.ops.operands import as_array
from gpugrad.ops.segment import segment_sum_p
from gpugrad.ops.shape import expand_dims, moveaxis, normal_axes, normal_axis, reshape

ASSOCIATIVE = {
    *("add", "multiply", "maximum", "minimum", "fmax", "fmin", "hypot", "gcd", "lcm"),
    *("logaddexp", "logaddexp2", "logical_and", "logical_or", "logical_xor"),
    *("bitwise_and", "bitwise_or", "bitwise_xor"),
}
"""Functions that may be bracketed anyhow."""

IN_ORDER = {"subtract", "divide", "floor_divide", "remainder", "fmod", "power", "float_power"}
IN_ORDER |= {"arctan2", "copysign"}
"""Functions that take the elements from the left."""

NAMES = ASSOCIATIVE | IN_ORDER


def _prepared(op: Any, ufunc: Any, x: Any, dtype: Any) -> Any:
    """``x`` in the type of the result."""
    x = as_array(x)
    if dtype is None and ufunc.__name__.startswith("logical"):
        dtype = np.dtype(bool)
    elif dtype is None:
        like = shape_dtype(x)
        dtype = op.shape(like, like).dtype
        if ufunc in (np.add, np.multiply):  # whose integers are at least as wide as NumPy's int
            dtype = ufunc.reduce(np.empty(0, like.dtype)).dtype
    return cast(x, dtype)


def reduce(
    op: Any,
    ufunc: Any,
    x: Any,
    axis: Any = 0,
    dtype: Any = None,
    *,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = None,
) -> Any:
    """``ufunc.reduce``: all elements over ``axis`` joined by the function ``op``."""
    x = _prepared(op, ufunc, x, dtype)
    before = shape_dtype(x).shape
    axes = normal_axes(axis, len(before))
    chained = ufunc.__name__ in ASSOCIATIVE
    if len(axes) > 1 and not chained:
        raise ValueError(f"{ufunc.__name__}.reduce takes one axis: its order matters")
    start = ufunc.identity if initial is None else initial
    if where is not None:
        neutral = start if ufunc.identity is None else ufunc.identity
        if neutral is None or not chained:
            raise ValueError(f"{ufunc.__name__}.reduce: where= needs initial=, and no order")
        x = kept(x, where, neutral)
    count = math.prod(before[a] for a in axes)
    left = tuple(n for a, n in enumerate(before) if a not in axes)
    x = reshape(moveaxis(x, axes, range(len(axes))), (count, *left))
    if not count:
        if start is None:
            raise ValueError(f"{ufunc.__name__}.reduce of no elements needs initial=")
        y = like_operands(zeros_near([x], left, shape_dtype(x).dtype) + start, [x])
    else:
        y = _halved(op, x) if chained else _in_order(op, x, start)
        if chained and start is not None:
            y = op(start, y)
    kept_shape = tuple(1 if a in axes else n for a, n in enumerate(before))
    return reshape(y, kept_shape) if keepdims else y


def _halved(op: Any, x: Any) -> Any:
    while (n := x.shape[0]) > 1:
        y = op(getitem(x, slice(0, n - n % 2, 2)), getitem(x, slice(1, n, 2)))
        x = concatenate([y, getitem(x, slice(n - 1, n))]) if n % 2 else y
    return getitem(x, 0)


def _in_order(op: Any, x: Any, start: Any) -> Any:
    y = getitem(x, 0) if start is None else op(start, getitem(x, 0))
    for i in range(1, x.shape[0]):
        y = op(y, getitem(x, i))
    return y


def accumulate(op: Any, ufunc: Any, x: Any, axis: int = 0, dtype: Any = None) -> Any:
    """``ufunc.accumulate``: the elements up to each one along ``axis`` joined by ``op``."""
    x = _prepared(op, ufunc, x, dtype)
    axis = normal_axis(axis, shape_dtype(x).ndim)
    x = moveaxis(x, axis, 0)
    if ufunc.__name__ in ASSOCIATIVE:
        y = _doubled(op, x)
    else:
        rows = [getitem(x, slice(0, 1))]
        for i in range(1, x.shape[0]):
            rows.append(op(rows[-1], getitem(x, slice(i, i + 1))))
        y = concatenate(rows)
    return moveaxis(y, 0, axis)


def _doubled(op: Any, x: Any) -> Any:
    n, step = x.shape[0], 1
    while step < n:
        later = op(getitem(x, slice(0, n - step)), getitem(x, slice(step, n)))
        x = concatenate([getitem(x, slice(0, step)), later])
        step *= 2
    return x


def reduceat(op: Any, ufunc: Any, x: Any, indices: Any, axis: int = 0, dtype: Any = None) -> Any:
    """``ufunc.reduceat``: from each index on, up to the next one where that is greater."""
    x = _prepared(op, ufunc, x, dtype)
    axis = normal_axis(axis, shape_dtype(x).ndim)
    x = moveaxis(x, axis, 0)
    n = x.shape[0]
    starts = np.asarray(indices)
    if starts.ndim != 1 or starts.dtype.kind not in "iu" or np.any((starts < 0) | (starts >= n)):
        raise IndexError(
            f"{ufunc.__name__}.reduceat: a list of indices from 0 to {n - 1} is needed, got "
            f"{indices!r:.80}"
        )
    if not starts.size:
        return moveaxis(getitem(x, slice(0, 0)), 0, axis)
    stops = np.append(starts[1:], n)
    if ufunc is np.add and np.all(starts < stops):
        rows = np.repeat(np.arange(-1, len(starts)), np.diff(starts, prepend=0, append=n))
        rows = to_device(rows, device_near([x]))
        y = segment_sum_p(x, rows, count=len(starts), ordered=False)
    else:
        y = concatenate(
            [
                expand_dims(reduce(op, ufunc, getitem(x, slice(a, max(b, a + 1)))), 0)
                for a, b in zip(starts.tolist(), stops.tolist(), strict=True)
            ]
        )
    return moveaxis(y, 0, axis)
