"""Matrices, stacked over leading axes: what linear algebra asks of its operands, and diagonals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpugrad.core.abstract import shape_dtype
from gpugrad.core.box import Box
from gpugrad.core.primitive import Primitive, Rule, parameter_names
from gpugrad.device import namespace, on
from gpugrad.ops import diagonals
from gpugrad.ops.batching import lead
from gpugrad.ops.broadcast import broadcast_to
from gpugrad.ops.cast import cast, is_inexact
from gpugrad.ops.complex import conj
from gpugrad.ops.creation import device_near
from gpugrad.ops.join import pad_p
from gpugrad.ops.operands import as_array
from gpugrad.ops.shape import expand_dims, matrix_transpose, moveaxis, reshape_p
from gpugrad.ops.triangle import tril_p, triu_p

LinAlgError = np.linalg.LinAlgError


# ------------------------------------------------------------------ operands


def inexact(x: Any, what: str) -> Any:
    """``x`` as an array of floating-point or complex numbers that LAPACK computes with.

    Raises
    ------
    TypeError
        For float16 and other types that it has no routines for, as NumPy.
    """
    if not isinstance(x, np.ndarray | Box):
        x = as_array(x)
    dtype = x.dtype
    if dtype.char in "fdFD":
        return x
    if is_inexact(dtype):
        raise TypeError(
            f"{what}: linear algebra has no routines for {dtype}; convert with astype('float32')"
        )
    return cast(x, float)


def matrices(x: Any, what: str, square: bool = False) -> Any:
    """``x`` as a stack of matrices.

    Raises
    ------
    LinAlgError
        For fewer than two axes, or where ``square`` matrices are needed and these are not.
    """
    x = inexact(x, what)
    shape = x.shape
    if len(shape) < 2:
        raise LinAlgError(f"{what} needs matrices (at least two axes), got shape {shape}")
    if square and shape[-1] != shape[-2]:
        raise LinAlgError(f"{what} needs square matrices, got shape {shape}")
    return x


def alike(a: Any, b: Any) -> tuple[Any, Any]:
    """Both operands with their common dtype."""
    if a.dtype == b.dtype:
        return a, b
    dtype = np.result_type(a.dtype, b.dtype)
    return cast(a, dtype), cast(b, dtype)


def stacked_alike(a: Any, b: Any, what: str) -> tuple[Any, Any]:
    """Matrices ``a`` and ``b`` with a common dtype and the same leading axes."""
    a, b = alike(a, b)
    left, right = a.shape, b.shape
    if left[:-2] == right[:-2]:
        return a, b
    try:
        stack = np.broadcast_shapes(left[:-2], right[:-2])
    except ValueError:
        raise ValueError(
            f"{what}: leading axes of shapes {left} and {right} do not broadcast"
        ) from None
    return broadcast_to(a, (*stack, *left[-2:])), broadcast_to(b, (*stack, *right[-2:]))


def real_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype of the real part."""
    found: np.dtype[Any] = dtype.type(0).real.dtype
    return found


# ------------------------------------------------------------------ small matters of rules


def adjoint(x: Any) -> Any:
    """The conjugate transpose of each matrix."""
    return conj(matrix_transpose(x))


def hermitian(x: Any) -> Any:
    """The Hermitian part of each matrix."""
    return (x + adjoint(x)) / 2


def lower(x: Any) -> Any:
    """The lower triangle of each matrix."""
    return tril_p(x, k=0)


def upper(x: Any) -> Any:
    """The upper triangle of each matrix."""
    return triu_p(x, k=0)


def half_lower(x: Any) -> Any:
    """The lower triangle of each matrix with half of the diagonal."""
    return (tril_p(x, k=0) + tril_p(x, k=-1)) / 2


def half_upper(x: Any) -> Any:
    """The upper triangle of each matrix with half of the diagonal."""
    return (triu_p(x, k=0) + triu_p(x, k=1)) / 2


def identity(like: Any, n: int) -> Any:
    """The unit matrix of order ``n``, of the dtype and on the device of ``like``."""
    where = device_near([like])
    with on(where):
        return namespace(where).eye(n, dtype=shape_dtype(like).dtype)


def adjoint_rule(rule: Rule) -> Rule:
    """A VJP rule for all operands, from one written for gradients that point uphill.

    The papers' formulas for complex matrices map such gradients, which are the conjugates of our
    cotangents (see ``ops.complex``).
    """

    def flipped(x: Any) -> Any:
        if isinstance(x, tuple):
            return tuple([None if part is None else conj(part) for part in x])
        return conj(x)

    def vjp(g: Any, *residuals: Any) -> Any:
        return flipped(rule(flipped(g), *residuals))

    vjp.names = parameter_names(rule)  # type: ignore[attr-defined]
    return vjp


def stacked(
    primitive: Primitive,
    size: int,
    batched: Sequence[bool],
    values: Sequence[Any],
    params: dict[str, Any],
) -> Any:
    """Batching rule: leading axes are all the same to it, so the batch axis is one more."""
    return primitive(
        *[lead(v, size, mine) for v, mine in zip(values, batched, strict=True)], **params
    )


def as_columns(b: Any) -> Any:
    """A stack of matrices of as many rows as one matrix, their columns side by side."""
    rows = b.shape[-2]
    b = moveaxis(b, -2, 0)
    return reshape_p(b, shape=(rows, shape_dtype(b).size // rows if rows else 0))


def from_columns(y: Any, shape: tuple[int, ...]) -> Any:
    """The stack of ``shape`` again that `as_columns` laid out."""
    y = reshape_p(y, shape=(shape[-2], *shape[:-2], shape[-1]))
    return moveaxis(y, 0, -2)


# ------------------------------------------------------------------ diagonals


def diagonal(x: Any, /, *, offset: int = 0) -> Any:
    """The diagonal of each matrix (of the last two axes); ``offset`` counts to the right."""
    return diagonals.diagonal(x, offset, -2, -1)


def trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Any:
    """The sum of the diagonal of each matrix (of the last two axes)."""
    return diagonals.trace(x, offset, -2, -1, dtype)


def diagonal_matrix(x: Any) -> Any:
    """Square matrices with ``x`` on their diagonals."""
    *stack, n = shape_dtype(x).shape
    # Each element followed by n zeros: cut into rows of n they stand on the diagonal.
    width = (*((0, 0),) * (len(stack) + 1), (0, n))
    spaced = reshape_p(pad_p(expand_dims(x, -1), width=width, value=0), shape=(*stack, n * n + n))
    return reshape_p(spaced[..., : n * n], shape=(*stack, n, n))
