"""Cholesky and QR factors.

Differentiating ``A = L L^H`` gives ``dL = L phi(L^-1 dA L^-H)``, where ``phi`` keeps the lower
triangle and half of the diagonal (Murray 2016, "Differentiation of the Cholesky
decomposition").

Differentiating ``A = Q R`` gives, with ``C = Q^H dA R^-1`` and ``W`` the upper triangle of
``C + C^H`` with half of the diagonal, ``dR = W R`` and ``dQ = dA R^-1 - Q W`` (Walter & Lehmann
2012, "Algorithmic differentiation of linear algebra functions with application in optimum
experimental design"). The rules keep outputs only, and solve triangular systems.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from gpugrad.core.abstract import ShapeDtype, shape_dtype
from gpugrad.core.primitive import Primitive
from gpugrad.ops.join import concatenate_p
from gpugrad.ops.matrices import (
    adjoint,
    adjoint_rule,
    half_lower,
    half_upper,
    hermitian,
    matrices,
    stacked,
    upper,
)
from gpugrad.ops.solve import left_divide, triangular_p


class QRResult(NamedTuple):
    """``Q @ R`` is the matrix."""

    Q: Any
    R: Any


# ------------------------------------------------------------------ Cholesky


def _right_divide(x: Any, t: Any) -> Any:
    """``X T^-1`` for lower triangular ``T``."""
    return adjoint(left_divide(t, adjoint(x), lower=True, adjoint=True))


def _cholesky_vjp(g: Any, y: Any) -> Any:
    inner = half_lower(adjoint(y) @ g)
    return hermitian(_right_divide(left_divide(y, inner, lower=True, adjoint=True), y))


def _cholesky_jvp(t: Any, y: Any) -> Any:
    inner = left_divide(y, hermitian(t), lower=True)
    inner = adjoint(left_divide(y, adjoint(inner), lower=True))
    return y @ half_lower(inner)


cholesky_p = Primitive(
    "cholesky",
    lambda xp, x: xp.linalg.cholesky(x),
    shape=lambda x: x,
    vjp=adjoint_rule(_cholesky_vjp),
    jvp=_cholesky_jvp,
    batch=stacked,
)
"""The lower factor. The lower triangle is read; derivatives are those for Hermitian matrices."""


def cholesky(a: Any, /, *, upper: bool = False) -> Any:
    """The triangular ``L`` with ``L @ L^H = a``, or ``U`` with ``U^H @ U = a``.

    Only the triangle of ``a`` that is asked for is read. The derivative is that along Hermitian
    changes of ``a``: the gradient is Hermitian.

    Raises
    ------
    LinAlgError
        Where ``a`` is not positive definite (on CUDA the result has NaN instead) or not square.
    """
    a = matrices(a, "cholesky", square=True)
    return adjoint(cholesky_p(adjoint(a))) if upper else cholesky_p(a)


# ------------------------------------------------------------------ QR


def _qr_shape(x: ShapeDtype, *, complete: bool) -> tuple[ShapeDtype, ShapeDtype]:
    *stack, rows, columns = x.shape
    k = rows if complete else min(rows, columns)
    return ShapeDtype((*stack, rows, k), x.dtype), ShapeDtype((*stack, k, columns), x.dtype)


def _qr_vjp(g: Any, y: Any) -> Any:
    gq, gr = g
    (q, rest), r = _parts(y)
    n = shape_dtype(r).shape[-1]
    if gq is not None and rest is not None:
        # What turns the columns of Q out of their span turns the others into it.
        gq = gq[..., :n] - rest @ (adjoint(gq[..., n:]) @ q)
    if gr is None:
        inner = -(adjoint(q) @ gq)
    else:
        inner = upper(gr[..., :n, :]) @ adjoint(r)
        inner = inner if gq is None else inner - adjoint(q) @ gq
    half = half_upper(inner)
    left = q @ (half + adjoint(half))
    left = left if gq is None else left + gq
    return adjoint(left_divide(r, adjoint(left), lower=False))


def _parts(y: Any) -> Any:
    """``(Q, its columns beyond those of A or None), R`` without rows of zeros."""
    q, r = y
    n = shape_dtype(r).shape[-1]
    if shape_dtype(q).shape[-1] == n:
        return (q, None), r
    return (q[..., :n], q[..., n:]), r[..., :n, :]


def _qr_jvp(t: Any, y: Any) -> Any:
    (q, rest), r = _parts(y)
    solved = triangular_p(r, t.mT, lower=False, transposed=True, unit=False).mT
    c = adjoint(q) @ solved
    half = half_upper(c + adjoint(c))
    dq, dr = solved - q @ half, half @ r
    if rest is not None:
        dq = concatenate_p(dq, -(q @ (adjoint(dq) @ rest)), axis=dq.ndim - 1)
        dr = concatenate_p(dr, y[1][..., r.shape[-1] :, :] * 0, axis=dr.ndim - 2)
    return dq, dr


qr_p = Primitive(
    "qr",
    lambda xp, x, *, complete: tuple(xp.linalg.qr(x, "complete" if complete else "reduced")),
    shape=_qr_shape,
    vjp=adjoint_rule(_qr_vjp),
    jvp=_qr_jvp,
    batch=stacked,
    multiple=True,
)
"""Of matrices with no more columns than rows."""


def qr(a: Any, mode: str = "reduced") -> Any:
    """The factors ``Q``, of orthonormal columns, and upper triangular ``R`` with ``Q @ R = a``.

    Parameters
    ----------
    a : array of shape (..., M, N)
        The matrices. For derivatives their first ``min(M, N)`` columns must be independent.
    mode : {"reduced", "complete", "r"}
        ``Q`` with ``min(M, N)`` or with ``M`` columns, or ``R`` alone. Of a complete ``Q`` with
        ``M > N`` the last columns are an arbitrary basis: the derivative is right for what does
        not depend on which, such as the projection on them.

    Returns
    -------
    QRResult or array
    """
    if mode not in ("reduced", "complete", "r"):
        raise ValueError(f"qr: mode {mode!r} is none of 'reduced', 'complete', 'r'")
    a = matrices(a, "qr")
    rows, columns = shape_dtype(a).shape[-2:]
    if columns <= rows:
        q, r = qr_p(a, complete=mode == "complete" and rows > columns)
    else:  # the first columns have the whole Q, and the others are only turned by it
        q, r = qr_p(a[..., :rows], complete=False)
        r = concatenate_p(r, adjoint(q) @ a[..., rows:], axis=shape_dtype(a).ndim - 1)
    return r if mode == "r" else QRResult(q, r)


def cho_factor(
    a: Any, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True
) -> tuple[Any, bool]:
    """The Cholesky factor for `cho_solve`, with whether it is the lower one.

    The other triangle is of zeros here (SciPy leaves there what it finds).
    """
    return cholesky(a, upper=not lower), lower
