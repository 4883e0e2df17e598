"""Sums, means and extremes over the rows of each segment, with `jax.ops`' names and arguments.

Taking rows of a table is here too: the transpose of the sum.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import index
from typing import Any

import numpy as np

from gpugrad.core.abstract import ShapeDtype, shape_dtype
from gpugrad.core.primitive import LINEAR, Primitive
from gpugrad.kernels import segment
from gpugrad.ops.batching import lead
from gpugrad.ops.cast import cast
from gpugrad.ops.creation import counting, raw_of
from gpugrad.ops.elementwise import equal, logical_and, maximum, where
from gpugrad.ops.shape import expand_dims, moveaxis, reshape


def _apart(rows: Any, size: int, count: int) -> Any:
    """Numbers (B, N) of examples that have ``count`` each, as one list of B * N."""
    ours = expand_dims(counting([rows], size), 1) * count
    known = logical_and(rows >= 0, rows < count)
    return reshape(where(known, cast(rows, np.int64) + ours, -1), (rows.shape[0] * rows.shape[1],))


def _joined(x: Any) -> Any:
    return reshape(x, (x.shape[0] * x.shape[1], *x.shape[2:]))


def _sum_batch(
    primitive: Primitive, size: int, batched: Sequence[bool], values: Any, params: Any
) -> Any:
    x, rows = values
    if not batched[1]:  # the batch's axis is one of the columns
        return moveaxis(primitive(moveaxis(x, 0, 1), rows, **params), 1, 0)
    count = params["count"]
    params = {"count": size * count, "ordered": False}
    y = primitive(_joined(lead(x, size, batched[0])), _apart(rows, size, count), **params)
    return reshape(y, (size, count, *y.shape[1:]))


def _take_batch(
    primitive: Primitive, size: int, batched: Sequence[bool], values: Any, params: Any
) -> Any:
    table, rows = values
    if not batched[1]:
        return moveaxis(primitive(moveaxis(table, 0, 1), rows), 1, 0)
    if batched[0]:
        y = primitive(_joined(table), _apart(rows, size, table.shape[1]))
    else:
        y = primitive(table, _joined(rows))
    return reshape(y, (size, rows.shape[1], *y.shape[1:]))


def _reduced(x: ShapeDtype, rows: ShapeDtype, *, count: int, ordered: bool) -> ShapeDtype:
    return ShapeDtype((count, *x.shape[1:]), x.dtype)


def _share(t: Any, x: Any, rows: Any, y: Any, count: int, ordered: bool) -> tuple[Any, Any]:
    """Where the largest elements are, in the type of ``t``, and how many tie in each segment."""
    hit = cast(equal(x, take_rows_p(y, rows)), t.dtype)
    many = segment_sum_p(hit, rows, count=count, ordered=ordered)
    return hit, maximum(many, 1)


def _max_vjp(g: Any, x: Any, rows: Any, y: Any, count: int, ordered: bool) -> Any:
    hit, many = _share(g, x, rows, y, count, ordered)
    return hit * take_rows_p(g / many, rows)


def _max_jvp(t: Any, x: Any, rows: Any, y: Any, count: int, ordered: bool) -> Any:
    hit, many = _share(t, x, rows, y, count, ordered)
    return segment_sum_p(hit * t, rows, count=count, ordered=ordered) / many


take_rows_p: Primitive = Primitive(
    "take_rows",
    lambda xp, table, rows: segment.take(table, rows),
    "table rows",
    shape=lambda table, rows: ShapeDtype((*rows.shape, *table.shape[1:]), table.dtype),
    vjp=(
        lambda g, rows, table_like: segment_sum_p(
            g, rows, count=table_like.shape[0], ordered=False
        ),
        None,
    ),
    jvp=(LINEAR, None),
    batch=_take_batch,
)
"""Rows of a table (R, ...) by (N,) numbers; zeros where there is no such row."""


def _embedding(xp: Any, table: Any, rows: Any, moved: Any) -> Any:
    if xp is not np:
        return segment.take(table, rows)
    if rows.size and not 0 <= (bad := rows.min()) <= (high := rows.max()) < len(table):
        bad = bad if bad < 0 else high
        raise IndexError(f"embedding: number {bad} for a weight with {len(table)} rows")
    few = rows.size * math.prod(table.shape[1:]) < segment.SMALL
    return table.take(rows, 0) if few else segment.take(table, rows)


def _embedding_batch(
    primitive: Primitive, size: int, batched: Sequence[bool], values: Any, params: Any
) -> Any:
    table, *numbers = values
    if not any(batched[1:]):
        return moveaxis(primitive(moveaxis(table, 0, 1), *numbers), 1, 0)
    numbers = [lead(n, size, mine) for n, mine in zip(numbers, batched[1:], strict=True)]
    count = numbers[0].shape[1]
    if batched[0]:
        y = primitive(_joined(table), *[_apart(n, size, table.shape[1]) for n in numbers])
    else:
        y = primitive(table, *[_joined(n) for n in numbers])
    return reshape(y, (size, count, *y.shape[1:]))


embedding_p = Primitive(
    "embedding",
    _embedding,
    "table rows moved",
    shape=lambda table, rows, moved: ShapeDtype((*rows.shape, *table.shape[1:]), table.dtype),
    vjp=(
        lambda g, moved, table_like: segment_sum_p(
            g, moved, count=table_like.shape[0], ordered=False
        ),
        None,
        None,
    ),
    jvp=(lambda t, moved: take_rows_p(t, moved), None, None),
    batch=_embedding_batch,
)
"""Rows of a table by number; its derivative by ``moved``, which are the same or -1 for none."""

segment_sum_p: Primitive = Primitive(
    "segment_sum",
    lambda xp, x, rows, *, count, ordered: segment.total(x, rows, count, ordered=ordered),
    "x rows",
    shape=_reduced,
    vjp=(lambda g, rows: take_rows_p(g, rows), None),
    jvp=(LINEAR, None),
    batch=_sum_batch,
)
"""For each segment the sum of its rows (N, ...)."""

segment_max_p: Primitive = Primitive(
    "segment_max",
    lambda xp, x, rows, *, count, ordered: segment.largest(x, rows, count, ordered=ordered),
    "x rows",
    shape=_reduced,
    vjp=(_max_vjp, None),
    jvp=(_max_jvp, None),
    batch=_sum_batch,
)
"""For each segment the largest element of its rows; those that tie share the gradient."""


def segment_sum(
    data: Any, segment_ids: Any, num_segments: int | None = None, indices_are_sorted: bool = False
) -> Any:
    """Sums over the rows of each segment.

    Parameters
    ----------
    data : array
        Shape (N, ...).
    segment_ids : array of int
        Shape (N,): the segment of each row. Rows of no segment from 0 to ``num_segments - 1`` are
        left out.
    num_segments : int, optional
        How many segments; one more than the largest number by default, which reads the numbers
        back from the device.
    indices_are_sorted : bool
        Whether ``segment_ids`` only grow, which saves sorting them.

    Returns
    -------
    array
        Shape (num_segments, ...): zeros for a segment without rows. The same bits on every run.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.ops.segment import segment_sum
    >>> segment_sum(np.array([1.0, 2.0, 4.0]), np.array([0, 2, 0]))
    array([5., 0., 2.])
    """
    data, ids, how = _arguments("segment_sum", data, segment_ids, num_segments, indices_are_sorted)
    return segment_sum_p(data, ids, **how)


def segment_mean(
    data: Any, segment_ids: Any, num_segments: int | None = None, indices_are_sorted: bool = False
) -> Any:
    """Means over the rows of each segment, zeros for one without rows.

    The parameters are those of `segment_sum`.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.ops.segment import segment_mean
    >>> segment_mean(np.array([1.0, 2.0, 4.0]), np.array([0, 2, 0]))
    array([2.5, 0. , 2. ])
    """
    data, ids, how = _arguments("segment_mean", data, segment_ids, num_segments, indices_are_sorted)
    ones = ids * 0 + 1
    many = maximum(segment_sum_p(ones, ids, **how), 1)
    total = segment_sum_p(data, ids, **how)
    like = shape_dtype(total)
    dtype = like.dtype if like.dtype.kind not in "iu" else np.dtype(float)
    return total / cast(reshape(many, (many.shape[0], *(1,) * (like.ndim - 1))), dtype)


def segment_max(
    data: Any, segment_ids: Any, num_segments: int | None = None, indices_are_sorted: bool = False
) -> Any:
    """The largest elements over the rows of each segment; those that tie share the gradient.

    The parameters are those of `segment_sum`. Minus infinity (of integers the least) stands for a
    segment without rows.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.ops.segment import segment_max
    >>> segment_max(np.array([1.0, 2.0, 4.0]), np.array([0, 2, 0]))
    array([  4., -inf,   2.])
    """
    data, ids, how = _arguments("segment_max", data, segment_ids, num_segments, indices_are_sorted)
    if shape_dtype(data).dtype.kind == "c":
        raise TypeError("segment_max: complex numbers have no order")
    return segment_max_p(data, ids, **how)


def segment_min(
    data: Any, segment_ids: Any, num_segments: int | None = None, indices_are_sorted: bool = False
) -> Any:
    """The smallest elements over the rows of each segment; those that tie share the gradient.

    The parameters are those of `segment_sum`. Infinity stands for a segment without rows.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.ops.segment import segment_min
    >>> segment_min(np.array([1.0, 2.0, 4.0]), np.array([0, 2, 0]))
    array([ 1., inf,  2.])
    """
    dtype = shape_dtype(data).dtype
    if dtype.kind in "iub":
        raise TypeError(f"segment_min: data is of floating-point numbers, got {dtype}")
    return -segment_max(-data, segment_ids, num_segments, indices_are_sorted)


def _arguments(
    name: str, data: Any, ids: Any, count: Any, ordered: bool
) -> tuple[Any, Any, dict[str, Any]]:
    like, numbers = shape_dtype(data), shape_dtype(ids)
    if numbers.dtype.kind not in "iu":
        raise TypeError(f"{name}: segment_ids are integers, got {numbers.dtype}")
    if like.dtype.kind == "b":
        raise TypeError(f"{name}: data is of numbers, got {like.dtype}")
    if numbers.ndim != 1 or like.shape[:1] != numbers.shape:
        raise ValueError(
            f"{name}: segment_ids (N,) number the rows of data (N, ...), got shapes "
            f"{numbers.shape} and {like.shape}"
        )
    if count is None:
        found = raw_of(ids)
        if isinstance(found, ShapeDtype):
            raise ValueError(f"{name}: say num_segments, where segment_ids have no values yet")
        count = int(found.max()) + 1 if found.size else 0
    count = index(count)
    if count < 0:
        raise ValueError(f"{name}: num_segments must not be negative, got {count}")
    return data, ids, {"count": count, "ordered": bool(ordered)}
