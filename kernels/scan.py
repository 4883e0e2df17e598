"""Running sums and products along an axis, in a fixed order.

On CUDA the usual scan in one pass adds up in the order in which blocks happen to finish: here
blocks wait for certain others (cuda/scan.cu).
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from gpugrad.kernels.many import FLOATS, name_of, summed, widened
from gpugrad.kernels.source import C_NAMES, function, grid

Op = Literal["Sum", "Product"]

NAMES = {"Sum": "cumsum", "Product": "cumprod"}
"""NumPy's and CuPy's functions."""

CHUNK = 2048
"""Elements of a row that a block has."""

LINES = 1 << 16
"""Columns from which on there is a thread for each whole column."""

SMALL = 1 << 12
"""Elements below which NumPy's own calls are as fast as a kernel on the CPU."""


def running(op: Op, x: Any, axis: int) -> Any:
    """The sums (or products) of all elements up to each one along ``axis``.

    Parameters
    ----------
    op : {"Sum", "Product"}
    x : array
        NumPy or CuPy array. Floats of 32 bits are added in float64, narrower ones in float32; on
        CUDA those within some thousand places of each other in their own dtype first, where that
        does not show. Of other dtypes NumPy's or CuPy's own function does it, since their order
        does not matter.
    axis : int
        Not negative.

    Returns
    -------
    array
        Of the shape and dtype of x (integers: NumPy's).

    Notes
    -----
    Bytes it must move, for elements of ``s`` bytes: ``2*s`` for each. On CUDA it moves these along
    the last axis, by 16 bytes where a row's length allows, and some 400 bytes for each 2048
    elements of longer rows, 250 of narrow ones. Along other axes too where lines are short (at
    most 64 elements) or columns many (65536), and ``3*s`` else: then the totals of chunks are
    found first.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.kernels.scan import running
    >>> running("Product", np.array([[1.0, 2.0], [3.0, 4.0]]), 1)
    array([[ 1.,  2.],
           [ 3., 12.]])
    """
    name = NAMES[op]
    if isinstance(x, np.ndarray):
        if name_of(x.dtype) not in FLOATS:
            return getattr(np, name)(x, axis=axis)
        with np.errstate(over="ignore"):
            return _host(op, x, axis).astype(x.dtype, copy=False)
    import cupy

    if x.dtype.name not in FLOATS:
        return getattr(cupy, name)(x, axis=axis)
    x = cupy.ascontiguousarray(x)
    y = cupy.empty_like(x)
    if x.size:
        outer, inner = math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1 :])
        if inner == 1:
            _rows(op, y, x, outer, x.shape[axis])
        else:
            _columns(op, y, x, outer, x.shape[axis], inner)
    return y


def _host(op: Op, x: Any, axis: int) -> Any:
    if x.size < SMALL:
        return getattr(np, NAMES[op])(x, axis=axis, dtype=summed(x.dtype))
    from gpugrad.kernels.cpu import scan

    wide = widened(x)
    y = np.empty_like(wide)
    folded = (math.prod(x.shape[:axis]), x.shape[axis], math.prod(x.shape[axis + 1 :]))
    scan.running(y.reshape(folded), wide.reshape(folded), op == "Product", summed(x.dtype))
    return y


def _rows(op: Op, y: Any, x: Any, outer: int, count: int) -> None:
    import cupy

    chunks = -(-count // CHUNK)
    width = min(8, 16 // x.itemsize)
    fits = count % width == 0 and (x.data.ptr | y.data.ptr) % 16 == 0
    kernel = function("scan", rows(op, x.dtype.name, width if fits else 1))
    values = told = ticket = np.uint64(0)
    if chunks > 1:  # what blocks tell each other, and a counter
        groups = -(-chunks // 32)
        size = outer * (chunks + groups + -(-groups // 32))
        values, told = cupy.empty(size, summed(x.dtype)), cupy.zeros(size + 1, np.int32)
        ticket = told[size:]
    arguments = (y, x, values, told, ticket, np.int64(count), np.int64(chunks))
    kernel((outer * chunks,), (256,), arguments)


def _columns(op: Op, y: Any, x: Any, outer: int, count: int, inner: int) -> None:
    import cupy

    # Shorter chunks where there are fewer columns.
    length = max(64, -(-count * outer * inner // LINES))
    chunks = -(-count // length)
    before = none = np.uint64(0)
    threads = outer * chunks * inner
    numbers = [np.int64(n) for n in (count, inner, chunks, length, threads)]
    kernel = function("scan", columns(op, x.dtype.name))
    if chunks > 1:
        before = cupy.empty((outer, chunks, inner), summed(x.dtype))
        kernel(*grid(threads), (none, before, none, x, *numbers))
        _columns(op, before, before, outer, chunks, inner)
    kernel(*grid(threads), (y, none, before, x, *numbers))


def rows(op: str, dtype: str, width: int) -> str:
    """The name of the kernel for rows, for a dtype and elements in a load."""
    return f"rows<{C_NAMES[dtype]}, {op}, {width}>"


def columns(op: str, dtype: str) -> str:
    """The name of the kernel for columns."""
    return f"columns<{C_NAMES[dtype]}, {op}>"


VARIANTS = [
    name
    for op in ("Sum", "Product")
    for dtype, width in (("float16", 8), ("bfloat16", 8), ("float32", 4), ("float64", 2))
    for name in (rows(op, dtype, width), columns(op, dtype))
]
"""The kernels that the report compiles."""
