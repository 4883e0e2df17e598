"""Running sums and products along an axis, in a fixed order.

On CUDA, where the usual scan in one pass adds up in the order in which blocks happen to finish.
NumPy's own functions do it on the CPU.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from gpugrad.kernels.many import FLOATS, NARROW
from gpugrad.kernels.source import C_NAMES, function, grid

Op = Literal["Sum", "Product"]

CHUNK = 2048
"""Elements of a row that a block has."""

LINES = 1 << 16
"""Columns from which on there is a thread for each whole column."""


def running(op: Op, x: Any, axis: int) -> Any:
    """The sums (or products) of all elements up to each one along ``axis``.

    Parameters
    ----------
    op : {"Sum", "Product"}
    x : array
        NumPy or CuPy array; on CUDA one of floats (float16 and bfloat16 are added in float32), of
        others CuPy's own function does it, since their order does not matter.
    axis : int
        Not negative.

    Returns
    -------
    array
        Of the shape and dtype of x (integers: NumPy's).

    Notes
    -----
    Bytes it must move, for elements of ``s`` bytes: ``2*s`` for each. On CUDA it moves these where
    lines are short (at most 2048 elements) or columns many (65536), and ``3*s`` else: then the
    totals of chunks are found first. Rows move by 16 bytes.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.kernels.scan import running
    >>> running("Product", np.array([[1.0, 2.0], [3.0, 4.0]]), 1)
    array([[ 1.,  2.],
           [ 3., 12.]])
    """
    name = "cumsum" if op == "Sum" else "cumprod"
    if isinstance(x, np.ndarray):
        return getattr(np, name)(x, axis=axis)
    import cupy

    if x.dtype.name not in FLOATS:
        return getattr(cupy, name)(x, axis=axis)
    x = cupy.ascontiguousarray(x)
    y = cupy.empty_like(x)
    if x.size:
        outer, inner = math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1 :])
        _scan(op, y, x, outer, x.shape[axis], inner)
    return y


def _scan(op: Op, y: Any, x: Any, outer: int, count: int, inner: int) -> None:
    import cupy

    length = CHUNK
    if inner > 1:  # shorter chunks where there are fewer columns
        length = max(64, -(-count * outer * inner // LINES))
    chunks = -(-count // length)
    kept = np.float32 if x.dtype.name in NARROW else x.dtype
    before = np.uint64(0)
    if chunks > 1:
        before = cupy.empty((outer, chunks, inner), kept)
        _launch(op, np.uint64(0), before, np.uint64(0), x, (outer, count, inner), chunks, length)
        _scan(op, before, before, outer, chunks, inner)
    _launch(op, y, np.uint64(0), before, x, (outer, count, inner), chunks, length)


def _launch(
    op: Op, y: Any, totals: Any, before: Any, x: Any, shape: Any, chunks: int, length: int
) -> None:
    outer, count, inner = (int(n) for n in shape)
    name = x.dtype.name
    if inner == 1:
        width = min(8, 16 // x.itemsize)
        fits = count % width == 0 and (x.data.ptr | (0 if y.ndim == 0 else y.data.ptr)) % 16 == 0
        kernel = function("scan", rows(op, name, width if fits else 1))
        kernel((outer * chunks,), (256,), (y, totals, before, x, np.int64(count), np.int64(chunks)))
        return
    threads = outer * chunks * inner
    numbers = [np.int64(n) for n in (count, inner, chunks, length, threads)]
    function("scan", columns(op, name))(*grid(threads), (y, totals, before, x, *numbers))


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
