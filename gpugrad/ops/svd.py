"""Singular values and vectors, and what they are for: pseudoinverse, least squares, rank.

With ``A = U S V^H``, ``P = U^H dA V`` and ``E_ij = s_j^2 - s_i^2``: ``dS = Re diag(P)``,
``dU = U ((P S + S P^H) / E)`` and ``dV = V ((S P + P^H S) / E)`` off the diagonal, besides the
components outside the span of ``U`` and ``V`` (Townsend 2016, "Differentiating the singular value
decomposition"). For complex matrices the diagonal has an imaginary part, ``Im diag(P) / S``, that
is shared out between ``U`` and ``V``: the choice is free, as the phase of each pair of vectors is
(Wan & Zhang 2019, "Automatic differentiation for complex valued SVD").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from gpugrad.core.abstract import ShapeDtype, shape_dtype
from gpugrad.core.primitive import Primitive
from gpugrad.ops.broadcast import sum_p
from gpugrad.ops.cast import cast
from gpugrad.ops.complex import imag, is_complex, real
from gpugrad.ops.join import concatenate_p
from gpugrad.ops.matrices import (
    adjoint,
    adjoint_rule,
    diagonal,
    diagonal_matrix,
    identity,
    inexact,
    matrices,
    real_dtype,
    stacked,
)
from gpugrad.ops.shape import reshape_p
from gpugrad.ops.triangle import tril_p


class SVDResult(NamedTuple):
    """``U @ diag(S) @ Vh`` is the matrix; the columns of ``U`` and of ``Vh^H`` are orthonormal."""

    U: Any
    S: Any
    Vh: Any


def _svd_shape(x: ShapeDtype, *, full: bool) -> tuple[ShapeDtype, ...]:
    *stack, m, n = x.shape
    k = min(m, n)
    return (
        ShapeDtype((*stack, m, m if full else k), x.dtype),
        ShapeDtype((*stack, k), real_dtype(x.dtype)),
        ShapeDtype((*stack, n if full else k, n), x.dtype),
    )


def _split(u: Any, k: int) -> tuple[Any, Any]:
    """The ``k`` vectors that have singular values, and the others or None."""
    return (u, None) if u.shape[-1] == k else (u[..., :k], u[..., k:])


def _within(u: Any, rest: Any, g: Any, k: int) -> Any:
    """The cotangent of the first ``k`` vectors; what turns them out turns the others in."""
    if g is None or rest is None:
        return g
    return g[..., :k] - rest @ (adjoint(g[..., k:]) @ u)


def _gap_factors(s: Any) -> Any:
    """``1 / (s_j^2 - s_i^2)`` off the diagonal and 0 on it."""
    row, column, one = s[..., None, :], s[..., :, None], identity(s, s.shape[-1])
    return 1 / ((row - column) * (row + column) + one) - one


def _svd_vjp(g: Any, y: Any) -> Any:
    (gu, gs, gvh), (u, s, vh) = g, y
    k = s.shape[-1]
    (u, u_rest), (v, v_rest) = _split(u, k), _split(adjoint(vh), k)
    gu = _within(u, u_rest, gu, k)
    gv = _within(v, v_rest, None if gvh is None else adjoint(gvh), k)
    row, column = s[..., None, :], s[..., :, None]
    terms = [] if gs is None else [diagonal_matrix(gs)]
    outside = []
    phase = 0
    factors = None if gu is None and gv is None else _gap_factors(s)
    if gu is not None:
        inner = adjoint(u) @ gu
        terms.append((inner - adjoint(inner)) * factors * row)
        phase = phase + diagonal(inner)
        if u.shape[-2] > k:
            outside.append(((gu - u @ inner) / row) @ adjoint(v))
    if gv is not None:
        inner = adjoint(v) @ gv
        terms.append(column * ((inner - adjoint(inner)) * factors))
        phase = phase - diagonal(inner)
        if v.shape[-2] > k:
            outside.append(u @ adjoint((gv - v @ inner) / row))
    if is_complex(u) and not isinstance(phase, int):
        terms.append(diagonal_matrix(1j * imag(phase) / (2 * s)))
    return _total([u @ _total(terms) @ adjoint(v), *outside])


def _total(terms: Sequence[Any]) -> Any:
    first, *rest = terms
    for t in rest:
        first = first + t
    return first


def _svd_jvp(t: Any, y: Any) -> Any:
    u, s, vh = y
    k = s.shape[-1]
    (u, u_rest), (v, v_rest) = _split(u, k), _split(adjoint(vh), k)
    row, column = s[..., None, :], s[..., :, None]
    tv = t @ v
    p = adjoint(u) @ tv
    right, left = p * row, column * p
    factors = _gap_factors(s)
    turn_u = (right + adjoint(right)) * factors
    turn_v = (left + adjoint(left)) * factors
    if is_complex(u):
        phase = diagonal_matrix(1j * imag(diagonal(p)) / (2 * s))
        turn_u, turn_v = turn_u + phase, turn_v - phase
    du, dv = u @ turn_u, v @ turn_v
    if u.shape[-2] > k:
        du = du + (tv - u @ p) / row
    if v.shape[-2] > k:
        dv = dv + (adjoint(t) @ u - v @ adjoint(p)) / row
    return _whole(u, u_rest, du), real(diagonal(p)), adjoint(_whole(v, v_rest, dv))


def _whole(u: Any, rest: Any, du: Any) -> Any:
    if rest is None:
        return du
    return concatenate_p(du, -(u @ (adjoint(du) @ rest)), axis=du.ndim - 1)


svd_p = Primitive(
    "svd",
    lambda xp, x, *, full: tuple(xp.linalg.svd(x, full_matrices=full)),
    shape=_svd_shape,
    vjp=adjoint_rule(_svd_vjp),
    jvp=_svd_jvp,
    batch=stacked,
    multiple=True,
)

svdvals_p = Primitive(
    "svdvals",
    lambda xp, x: xp.linalg.svd(x, compute_uv=False),
    shape=lambda x: _svd_shape(x, full=False)[1],
    vjp=adjoint_rule(lambda g, x: _svd_vjp((None, g, None), svd_p(x, full=False))),
    jvp=lambda t, x: _svdvals_jvp(t, svd_p(x, full=False)),
    batch=stacked,
)
"""Without the vectors, which only a derivative computes."""


def _svdvals_jvp(t: Any, y: Any) -> Any:
    u, _, vh = y
    return real(diagonal(adjoint(u) @ t @ adjoint(vh)))


def from_lower(a: Any) -> Any:
    """The Hermitian matrices whose lower triangles are given."""
    below = tril_p(a, k=-1)
    return below + adjoint(below) + diagonal_matrix(real(diagonal(a)))


def svd(
    a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False
) -> Any:
    """The singular value decomposition ``U @ diag(S) @ Vh`` of each matrix.

    Parameters
    ----------
    a : array of shape (..., M, N)
        The matrices.
    full_matrices : bool
        Whether ``U`` and ``Vh`` are square. The vectors without a singular value are then an
        arbitrary basis: the derivative is right for what does not depend on which, such as the
        projection on them.
    compute_uv : bool
        False: the singular values alone, as `svdvals`.
    hermitian : bool
        Read the lower triangles of Hermitian matrices only.

    Returns
    -------
    SVDResult or array

    Notes
    -----
    Functions of the vectors that depend on the phase (sign) of a pair of them have no derivative.
    Where singular values are equal or 0, the gradient through the vectors is infinite or NaN, as
    in JAX and PyTorch; that through the values is not.
    """
    a = matrices(a, "svd", square=hermitian)
    if hermitian:
        a = from_lower(a)
    return SVDResult(*svd_p(a, full=full_matrices)) if compute_uv else svdvals_p(a)


def svdvals(x: Any, /) -> Any:
    """The singular values of each matrix, in descending order."""
    return svdvals_p(matrices(x, "svdvals"))


def precision(like: ShapeDtype) -> float:
    """The relative size of singular values that rounding can make of 0."""
    return max(like.shape[-2:]) * float(np.finfo(like.dtype).eps)


def rank_above(s: Any, rtol: Any) -> Any:
    """How many singular values are above ``rtol`` times the largest."""
    rtol = rtol[..., None] if getattr(rtol, "ndim", 0) else rtol
    return _count(s > s[..., :1] * rtol)


def _count(mask: Any) -> Any:
    return sum_p(mask, axis=(mask.ndim - 1,), keepdims=False)


def matrix_rank(A: Any, tol: Any = None, hermitian: bool = False, *, rtol: Any = None) -> Any:
    """The number of singular values above ``tol``, or above ``rtol`` times the largest.

    ``rtol`` is by default the larger side of the matrices times the type's precision. A vector
    has rank 1 unless it is 0.
    """
    if tol is not None and rtol is not None:
        raise ValueError("matrix_rank: give tol or rtol, not both")
    A = inexact(A, "matrix_rank")
    like = shape_dtype(A)
    if like.ndim < 2:
        return cast(_count(reshape_p(A, shape=(like.size,)) != 0) > 0, int)
    s = svd(A, compute_uv=False, hermitian=hermitian)
    if tol is None:
        return rank_above(s, precision(like) if rtol is None else rtol)
    return _count(s > (tol[..., None] if getattr(tol, "ndim", 0) else tol))
