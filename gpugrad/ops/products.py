"""Products of vectors and arrays beside the matrix product."""

from __future__ import annotations

from typing import Any

from gpugrad.core.abstract import shape_dtype
from gpugrad.ops.complex import conj
from gpugrad.ops.indexing import getitem
from gpugrad.ops.join import stack
from gpugrad.ops.matmul import matmul_p
from gpugrad.ops.operands import as_arrays
from gpugrad.ops.shape import expand_dims, moveaxis, normal_axis, reshape, squeeze


def cross(
    a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None
) -> Any:
    """The cross product of vectors along an axis; the other axes broadcast.

    Vectors have 3 elements, or 2, whose third is 0. Of two vectors in the plane the result is the
    third element alone, without an axis for it.

    ``axis`` stands for ``axisa``, ``axisb`` and ``axisc``, where the vectors are in the operands
    and in the result.
    """
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = as_arrays(a, b)
    a = moveaxis(a, normal_axis(axisa, shape_dtype(a).ndim), -1)
    b = moveaxis(b, normal_axis(axisb, shape_dtype(b).ndim), -1)
    m, n = shape_dtype(a).shape[-1], shape_dtype(b).shape[-1]
    if not {m, n} <= {2, 3}:
        raise ValueError(f"cross: vectors of {m} and {n} elements; 2 or 3 are needed")
    a0, a1, *a_up = (getitem(a, (..., i)) for i in range(m))
    b0, b1, *b_up = (getitem(b, (..., i)) for i in range(n))
    up = a0 * b1 - a1 * b0
    if m == n == 2:
        return up
    (a2,), (b2,) = a_up or [0 * a0], b_up or [0 * b0]
    out = stack([a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, up], -1)
    return moveaxis(out, -1, normal_axis(axisc, shape_dtype(out).ndim))


def kron(a: Any, b: Any) -> Any:
    """The Kronecker product: ``b`` times each element of ``a``, as blocks."""
    a, b = as_arrays(a, b)
    left, right = shape_dtype(a).shape, shape_dtype(b).shape
    rank = max(len(left), len(right))
    left = (1,) * (rank - len(left)) + left
    right = (1,) * (rank - len(right)) + right
    a = reshape(a, tuple(n for size in left for n in (size, 1)))
    b = reshape(b, tuple(n for size in right for n in (1, size)))
    return reshape(a * b, tuple(m * n for m, n in zip(left, right, strict=True)))


def matvec(a: Any, x: Any) -> Any:
    """Matrices times vectors, both stacked over the leading axes, which broadcast."""
    a, x = as_arrays(a, x)
    return squeeze(matmul_p(a, expand_dims(x, -1)), -1)


def vecmat(x: Any, a: Any) -> Any:
    """Conjugated vectors times matrices, both stacked over the leading axes, which broadcast."""
    x, a = as_arrays(x, a)
    return squeeze(matmul_p(expand_dims(conj(x), -2), a), -2)
