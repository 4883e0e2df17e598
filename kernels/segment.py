"""Rows of a table by their numbers, and sums over the rows of each number: embedding, segments.

Each of `take` and `total` is the other's gradient. Sums run in a fixed order without atomics: the
same bits on every run.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from gpugrad.kernels.many import FLOATS, contiguous, summed, wide
from gpugrad.kernels.source import C_NAMES, function, grid

KINDS = (*FLOATS, "int32", "int64")
"""Dtypes that are added as they are; other integers are widened, complex numbers are pairs."""

SMALL = 1 << 16
"""Elements below which the CPU's rows and sums are NumPy's."""


def take(table: Any, rows: Any) -> Any:
    """``table[rows[i]]`` for each i; zeros for a row that is not there.

    Parameters
    ----------
    table : (R, ...) array
        NumPy or CuPy array.
    rows : (N,) array of integers
        Negative numbers do not count from the end: there are no such rows.

    Returns
    -------
    (N, ...) array

    Notes
    -----
    Bytes it must move, for rows of ``b`` bytes: ``N*b`` read and ``N*b`` written, and 8 for each
    number. It moves these; on CUDA with 16-byte loads and stores where rows can be cut so.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.kernels.segment import take
    >>> take(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([1, 0, 5]))
    array([[3., 4.],
           [1., 2.],
           [0., 0.]])
    """
    shape = (len(rows), *table.shape[1:])
    if isinstance(table, np.ndarray) and math.prod(shape) >= SMALL:
        from gpugrad.kernels.cpu import segment

        out = np.empty(shape, table.dtype)
        flat, source = (_bits(_flat(a)) for a in (out, np.ascontiguousarray(table)))
        segment.take(flat, source, np.ascontiguousarray(rows, np.int64))
        return out
    if isinstance(table, np.ndarray):
        there = (rows >= 0) & (rows < len(table))
        if there.all():
            return table.take(rows, 0)
        out = np.zeros(shape, table.dtype)
        out[there] = table[rows[there]]
        return out
    import cupy

    out = cupy.empty(shape, table.dtype)
    if out.size:
        flat, source = (_bits(_flat(a)) for a in (out, cupy.ascontiguousarray(table)))
        rows = cupy.ascontiguousarray(rows, np.int64)
        width = _width(flat, source)
        packs = flat.shape[1] // width
        kernel = function("segment", taking(flat.dtype.name, width))
        across = _power(packs)
        blocks, _ = grid(len(rows) * across)
        kernel(blocks, (across, 256 // across), (flat, source, rows, len(rows), packs, len(table)))
    return out


def _bits(a: Any) -> Any:
    """The same bytes as unsigned integers of at most 8: what only moves needs no other type."""
    return a.view(f"u{min(a.itemsize, 8)}")


def total(values: Any, rows: Any, count: int, *, ordered: bool = False) -> Any:
    """For each of ``count`` segments the sum of the rows of ``values`` with its number.

    Parameters
    ----------
    values : (N, ...) array
        NumPy or CuPy array: float32 is summed in float64, float16 and bfloat16 in float32.
    rows : (N,) array of integers
        The segment of each row; rows of no segment from 0 to ``count - 1`` are left out.
    count : int
        How many segments.
    ordered : bool
        Whether the numbers only grow: then nothing is sorted.

    Returns
    -------
    (count, ...) array
        Zeros where a segment has no rows.

    Notes
    -----
    Bytes it must move, for rows of ``b`` bytes: ``N*b`` of values, ``8*N`` of numbers and
    ``count*b`` of the result. On CUDA it moves these, for unordered numbers a radix sort of them
    on top, ``8*N`` for the order (again for each 512 bytes of a row; from the cache, for each 16
    bytes of rows of less) and ``16*count`` for where segments begin, by each warp.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.kernels.segment import total
    >>> total(np.array([1.0, 2.0, 4.0, 8.0]), np.array([0, 2, 0, -1]), 3)
    array([5., 0., 2.])
    """
    return _reduce("Sum", values, rows, count, ordered)


def largest(values: Any, rows: Any, count: int, *, ordered: bool = False) -> Any:
    """For each segment the largest element of its rows, NaN before all others.

    The parameters, and the bytes, are those of `total`, without complex numbers.

    Returns
    -------
    (count, ...) array
        Minus infinity, or the least integer, where a segment has no rows.
    """
    return _reduce("Largest", values, rows, count, ordered)


def _reduce(op: str, values: Any, rows: Any, count: int, ordered: bool) -> Any:
    if values.dtype.kind == "c" and op == "Sum":
        parts = values.real.dtype
        pairs = contiguous(values).reshape(*values.shape, 1).view(parts)
        out = _reduce(op, pairs, rows, count, ordered)
        return out.view(values.dtype).reshape(count, *values.shape[1:])
    name = values.dtype.name
    if isinstance(values, np.ndarray):
        small = values.size < SMALL  # too little to import a compiler for
        kept = summed(values.dtype) if small and op == "Sum" else wide(values.dtype)
        out = np.full((count, *values.shape[1:]), 0 if op == "Sum" else _least(kept), kept)
        if small:  # the same order of addition
            there = (rows >= 0) & (rows < count)
            ufunc = np.add if op == "Sum" else np.maximum
            ufunc.at(out, rows[there], values[there].astype(kept, copy=False))
        else:
            from gpugrad.kernels.cpu import scatter, segment

            to, source = _flat(out), _flat(np.ascontiguousarray(values, kept))
            if op == "Sum":
                scatter.add_rows(to, rows, source, summed(values.dtype))
            else:
                segment.largest(to, source, rows.astype(np.int64))
        with np.errstate(over="ignore"):
            return out.astype(values.dtype, copy=False)
    import cupy

    if name not in KINDS:
        out = _reduce(op, values.astype(np.int64), rows, count, ordered)
        if op == "Largest":
            out = cupy.maximum(out, _least(values.dtype))
        return out.astype(values.dtype)
    out = cupy.empty((count, *values.shape[1:]), values.dtype)
    if not out.size:
        return out
    if not values.size:
        out[...] = 0 if op == "Sum" else _least(values.dtype)
        return out
    rows = cupy.ascontiguousarray(rows, np.int64)
    order = np.uint64(0)
    if not ordered:
        order = cupy.argsort(rows, kind="stable")
        rows = rows[order]
    starts = cupy.searchsorted(rows, cupy.arange(count + 1)).astype(np.int64, copy=False)
    flat, source = _flat(out), _flat(cupy.ascontiguousarray(values))
    width = _width(flat, source)
    packs = flat.shape[1] // width
    across = _power(packs)
    down = min(256 // across, 64, 1 << (len(rows) // count).bit_length())
    together = 256 // (across * down)
    blocks = -(-count // together) * -(-packs // across)
    kernel = function("segment", reducing(op, name, width))
    arguments = (flat, source, order, starts, np.int64(count), np.int64(packs))
    kernel((blocks,), (across, together, down), arguments)
    return out


def _power(packs: int) -> int:
    """The next power of two, of at most 256: threads beside each other for a row."""
    return min(256, 1 << (packs - 1).bit_length())


def _least(dtype: Any) -> Any:
    if dtype.name in FLOATS:
        return -math.inf
    return np.iinfo(dtype).min


def _flat(a: Any) -> Any:
    """(N, ...) as (N, C), a view of a contiguous array."""
    return a.reshape(len(a), math.prod(a.shape[1:]))


def _width(*arrays: Any) -> int:
    """How many elements fill 16 bytes, if rows can be cut so and all arrays are aligned."""
    width = 16 // int(arrays[0].itemsize)
    if width == 0:
        return 1
    fits = all(a.shape[1] % width == 0 and a.data.ptr % 16 == 0 for a in arrays)
    return width if fits else 1


def taking(dtype: str, width: int) -> str:
    """The name of the kernel that takes rows, for a dtype and elements in a load."""
    return f"take<{C_NAMES[dtype]}, {width}>"


def reducing(op: str, dtype: str, width: int) -> str:
    """The name of the kernel that reduces segments."""
    return f"segments<{C_NAMES[dtype]}, {op}, {width}>"


_PACKS = {"float16": 8, "bfloat16": 8, "float32": 4, "float64": 2, "int32": 4, "int64": 2}

VARIANTS = [
    *[taking(f"uint{8 * n}", 16 // n) for n in (1, 2, 4, 8)],
    *[reducing(op, dtype, w) for op in ("Sum", "Largest") for dtype, w in _PACKS.items()],
]
"""The kernels that the report compiles."""
