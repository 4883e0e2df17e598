"""Diagonals and triangles: as slices of the flattened matrix, whose transpose is a plain copy."""

from __future__ import annotations

from typing import Any

from gpugrad.core.abstract import shape_dtype
from gpugrad.ops.broadcast import sum
from gpugrad.ops.indexing import getitem
from gpugrad.ops.join import pad_p
from gpugrad.ops.operands import as_array
from gpugrad.ops.shape import expand_dims, moveaxis, normal_axes, ravel, reshape_p


def diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The elements whose index along ``axis2`` is ``offset`` more than along ``axis1``.

    They come last: an array of shape (2, 3, 3) has 2 rows of 3 of them for axes 1 and 2.
    """
    x = as_array(x)
    ndim = shape_dtype(x).ndim
    if ndim < 2:
        raise ValueError(f"diagonal: shape {shape_dtype(x).shape}; at least 2 axes are needed")
    x = moveaxis(x, normal_axes((axis1, axis2), ndim), (ndim - 2, ndim - 1))
    *rest, m, n = shape_dtype(x).shape
    start = offset if offset >= 0 else -offset * n
    count = max(min(m, n - offset) if offset >= 0 else min(m + offset, n), 0)
    flat = reshape_p(x, shape=(*rest, m * n))
    stop = start + (count - 1) * (n + 1) + 1 if count else start
    return getitem(flat, (..., slice(start, stop, n + 1)))


def diagflat(v: Any, k: int = 0) -> Any:
    """The square matrix whose ``k``-th diagonal is the flattened ``v``."""
    v = ravel(as_array(v))
    n = shape_dtype(v).shape[0]
    # Each element followed by n zeros: cut into rows of n they stand on the diagonal.
    rows = pad_p(expand_dims(v, 1), width=((0, 0), (0, n)), value=0)
    matrix = reshape_p(getitem(ravel(rows), slice(0, n * n)), shape=(n, n))
    if k:
        width = ((0, k), (k, 0)) if k > 0 else ((-k, 0), (0, -k))
        matrix = pad_p(matrix, width=width, value=0)
    return matrix


def diag(v: Any, k: int = 0) -> Any:
    """The ``k``-th diagonal of a matrix, or the matrix with ``v`` on it."""
    v = as_array(v)
    ndim = shape_dtype(v).ndim
    if ndim not in (1, 2):
        raise ValueError(f"diag: 1 or 2 axes are needed, got shape {shape_dtype(v).shape}")
    return diagflat(v, k) if ndim == 1 else diagonal(v, k)


def trace(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None) -> Any:
    """The sum of a diagonal."""
    return sum(diagonal(x, offset, axis1, axis2), -1, dtype)
