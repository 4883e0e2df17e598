"""Addition of rows at indices: the gradient of indexing and of an embedding."""

from __future__ import annotations

from typing import Any

import numpy as np
from gpugrad.kernels.many import contiguous, summed, wide
from gpugrad.kernels.source import C_NAMES, function

SMALL = 1 << 16
"""Elements below which the CPU's sums are NumPy's: too little to import a compiler for."""


def add_rows(out: Any, rows: Any, values: Any) -> None:
    """Add ``values[i]`` to ``out[rows[i]]`` in place, in the order of ``i``, for any repeats.

    The same bits on every run and on both devices: each element of ``out`` is one chain of
    additions, in float64 for float32, in float32 for float16 and bfloat16. Nothing waits for the
    device.

    Parameters
    ----------
    out : (R, C) array
        NumPy or CuPy array, C-contiguous, written in place.
    rows : (N,) array of integers
        From 0 to R - 1. On the CPU others are an `IndexError`; on CUDA, where looking would wait
        for the device, they are left out.
    values : (N, C) array
        Of the dtype of ``out``.

    Notes
    -----
    Bytes it must move, for elements of ``s`` bytes, indices of ``k`` and D distinct rows:
    ``N*C*s`` of values, ``N*k`` of rows, and ``2*D*C*s`` to read and write ``out``. On CUDA it
    moves these, plus ``8*N`` for the order and the radix sort of N keys that makes it. A block has
    some 32 KB of values: ``8 + k`` bytes for each and for some of the next, again for each 4096
    bytes of the values of a row whose run goes on.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.kernels.scatter import add_rows
    >>> out = np.zeros((3, 2))
    >>> add_rows(out, np.array([2, 0, 2]), np.array([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]))
    >>> out
    array([[2., 2.],
           [0., 0.],
           [4., 4.]])
    """
    if values.dtype != out.dtype or values.shape != (*rows.shape, *out.shape[1:]) or out.ndim != 2:
        raise ValueError(
            f"add_rows: values {values.dtype}{values.shape} and rows {rows.shape} do not fit out "
            f"{out.dtype}{out.shape}: values is (len(rows), {out.shape[-1:]}) of out's dtype"
        )
    if not out.flags.c_contiguous:
        raise ValueError("add_rows: out must be C-contiguous")
    if values.size == 0:
        return
    if out.dtype.kind == "c":
        parts = out.real.dtype
        add_rows(out.view(parts), rows, contiguous(values).view(parts))
        return
    if isinstance(out, np.ndarray):
        _host(out, rows, values)
    else:
        _cuda(out, rows, values)


def _host(out: Any, rows: Any, values: Any) -> None:
    low, high = rows.min(), rows.max()
    if low < 0 or high >= len(out):
        bad = low if low < 0 else high
        raise IndexError(f"add_rows: row {bad} of an array with {len(out)} rows")
    kept = summed(out.dtype)
    if kept == out.dtype and out.shape[1] == 1:  # NumPy's own loop is as good
        np.add.at(out[:, 0], rows, values[:, 0])
    elif kept == out.dtype and values.size < SMALL:
        np.add.at(out, rows, values)
    elif values.size < SMALL:  # the same order of addition
        there: Any = slice(None)
        if out.size > values.size:
            there, rows = np.unique(rows, return_inverse=True)
        sums = out[there].astype(kept)
        np.add.at(sums, rows, values.astype(kept, copy=False))
        out[there] = sums
    else:
        from gpugrad.kernels.cpu import scatter

        a = wide(out.dtype)
        sums = out.astype(a, copy=False)
        scatter.add_rows(sums, rows, values.astype(a, copy=False), kept)
        if sums is not out:
            out[...] = sums


def _cuda(out: Any, rows: Any, values: Any) -> None:
    import cupy

    rows = cupy.ascontiguousarray(rows)
    values = cupy.ascontiguousarray(values)
    order = cupy.argsort(rows, kind="stable")
    width = pack_width(out, values)
    kernel = function("scatter", expression(out.dtype.name, rows.dtype.name, width))
    packs = out.shape[1] // width
    each = max(1, min(1024, 2048 // packs))  # places of the order for a block
    sizes = (np.int64(len(rows)), np.int64(packs), np.int64(len(out)), np.int32(each))
    kernel((-(-len(rows) // each),), (256,), (out, rows, order, values, *sizes))


def pack_width(out: Any, values: Any) -> int:
    """How many elements fill 16 bytes, if rows can be cut so and both arrays are aligned."""
    width = 16 // int(out.itemsize)
    fits = out.shape[1] % width == 0 and (out.data.ptr | values.data.ptr) % 16 == 0
    return width if fits else 1


def expression(dtype: str, index: str, width: int) -> str:
    """The kernel's name for a dtype, an index dtype and a number of elements in a load."""
    return f"add_rows<{C_NAMES[dtype]}, {C_NAMES[index]}, {width}>"


VARIANTS = [
    expression(dtype, "int64", width)
    for dtype, width in (
        ("float16", 8),
        ("bfloat16", 8),
        ("float32", 4),
        ("float64", 2),
    )
]
"""The kernels that the report compiles."""
