"""Eigenvalues and eigenvectors.

With ``A V = V diag(w)`` and ``P = V^-1 dA V``: ``dw_i = P_ii`` and ``dV = V (F * P)``, where
``F_ij = 1 / (w_j - w_i)`` off the diagonal and 0 on it (Giles 2008, "Collected matrix derivative
results for forward and reverse mode algorithmic differentiation"; for general matrices, whose
eigenvectors are kept at length 1, Boeddeker et al. 2017, "On the computation of complex-valued
gradients with application to statistically optimum beamforming").

An eigenvector is determined but for a factor of modulus 1. Derivatives are right for what does
not depend on that factor. Where eigenvalues are equal, single eigenvectors have no derivative,
and those that the formula gives are infinite or NaN, as in JAX and PyTorch; the derivative of the
eigenvalues is that along the eigenvectors that were found.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gpugrad.core.abstract import ShapeDtype
from gpugrad.core.primitive import Primitive
from gpugrad.ops.broadcast import unbroadcast
from gpugrad.ops.complex import conj, real
from gpugrad.ops.matrices import (
    adjoint,
    adjoint_rule,
    diagonal,
    diagonal_matrix,
    hermitian,
    identity,
    matrices,
    real_dtype,
    stacked,
)
from gpugrad.ops.solve import solve_p


class EighResult(NamedTuple):
    """Real eigenvalues in ascending order, and the eigenvectors as columns."""

    eigenvalues: Any
    eigenvectors: Any


class EigResult(NamedTuple):
    """Complex eigenvalues, and the eigenvectors, of length 1, as columns."""

    eigenvalues: Any
    eigenvectors: Any


def over_gaps(x: Any, w: Any) -> Any:
    """``x_ij / (w_j - w_i)`` off the diagonal and 0 on it."""
    one = identity(w, w.shape[-1])
    return x * (1 / (w[..., None, :] - w[..., :, None] + one) - one)


# ------------------------------------------------------------------ Hermitian matrices


def _eigh_shape(x: ShapeDtype, *, uplo: str) -> tuple[ShapeDtype, ShapeDtype]:
    return ShapeDtype(x.shape[:-1], real_dtype(x.dtype)), x


def _eigh_vjp(g: Any, y: Any) -> Any:
    (gw, gv), (w, v) = g, y
    if gv is None:
        return (v * gw[..., None, :]) @ adjoint(v)
    inner = over_gaps(adjoint(v) @ gv, w)
    if gw is not None:
        inner = inner + diagonal_matrix(gw)
    return hermitian(v @ inner @ adjoint(v))


def _eigh_jvp(t: Any, y: Any) -> Any:
    w, v = y
    p = adjoint(v) @ hermitian(t) @ v
    return real(diagonal(p)), v @ over_gaps(p, w)


eigh_p = Primitive(
    "eigh",
    lambda xp, x, *, uplo: tuple(xp.linalg.eigh(x, uplo)),
    shape=_eigh_shape,
    vjp=adjoint_rule(_eigh_vjp),
    jvp=_eigh_jvp,
    batch=stacked,
    multiple=True,
)
"""One triangle is read; derivatives are those for Hermitian matrices."""

eigvalsh_p = Primitive(
    "eigvalsh",
    lambda xp, x, *, uplo: xp.linalg.eigvalsh(x, uplo),
    shape=lambda x, *, uplo: _eigh_shape(x, uplo=uplo)[0],
    vjp=adjoint_rule(lambda g, x, uplo: _eigh_vjp((g, None), eigh_p(x, uplo=uplo))),
    jvp=lambda t, x, uplo: _eigvalsh_jvp(t, eigh_p(x, uplo=uplo)[1]),
    batch=stacked,
)
"""Without the eigenvectors, which only a derivative computes."""


def _eigvalsh_jvp(t: Any, v: Any) -> Any:
    return real(diagonal(adjoint(v) @ hermitian(t) @ v))


def _triangle(UPLO: str) -> str:
    side = UPLO.upper()
    if side not in ("L", "U"):
        raise ValueError(f"UPLO {UPLO!r} is neither 'L' nor 'U'")
    return side


def eigh(a: Any, UPLO: str = "L") -> EighResult:
    """Eigenvalues and eigenvectors of Hermitian (real symmetric) matrices.

    Parameters
    ----------
    a : array of shape (..., M, M)
        The matrices, of which one triangle is read. The derivative is that along Hermitian
        changes of ``a``: the gradient is Hermitian.
    UPLO : {"L", "U"}
        Which triangle.

    Notes
    -----
    Functions of eigenvectors that depend on their sign or phase have no derivative, and where
    eigenvalues are equal the gradient through the eigenvectors is infinite or NaN.
    """
    return EighResult(*eigh_p(matrices(a, "eigh", square=True), uplo=_triangle(UPLO)))


def eigvalsh(a: Any, UPLO: str = "L") -> Any:
    """Eigenvalues, ascending, of Hermitian (real symmetric) matrices: see `eigh`."""
    return eigvalsh_p(matrices(a, "eigvalsh", square=True), uplo=_triangle(UPLO))


# ------------------------------------------------------------------ general matrices


def _complex_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.result_type(dtype, np.complex64)


def _eig(xp: Any, x: Any) -> tuple[Any, Any]:
    w, v = xp.linalg.eig(x)
    dtype = _complex_dtype(x.dtype)  # NumPy answers with real ones where all happen to be
    return w.astype(dtype, copy=False), v.astype(dtype, copy=False)


def _eigvals(xp: Any, x: Any) -> Any:
    return xp.linalg.eigvals(x).astype(_complex_dtype(x.dtype), copy=False)


def _eig_shape(x: ShapeDtype) -> tuple[ShapeDtype, ShapeDtype]:
    dtype = _complex_dtype(x.dtype)
    return ShapeDtype(x.shape[:-1], dtype), ShapeDtype(x.shape, dtype)


def _eig_vjp(g: Any, y: Any, x_like: ShapeDtype) -> Any:
    (gw, gv), (w, v) = g, y
    inner = None if gw is None else diagonal_matrix(gw)
    if gv is not None:
        turned = adjoint(v) @ gv
        kept = real(diagonal(turned))  # of this the length of 1 takes back
        turned = turned - adjoint(v) @ (v * kept[..., None, :])
        turned = over_gaps(turned, conj(w))
        inner = turned if inner is None else inner + turned
    return unbroadcast(solve_p(adjoint(v), inner @ adjoint(v)), x_like)


def _eig_jvp(t: Any, y: Any) -> Any:
    w, v = y
    p = solve_p(v, t @ v)
    turned = over_gaps(p, w)
    stretch = real(diagonal(adjoint(v) @ v @ turned))
    return diagonal(p), v @ turned - v * stretch[..., None, :]


eig_p = Primitive(
    "eig",
    _eig,
    shape=_eig_shape,
    vjp=adjoint_rule(_eig_vjp),
    jvp=_eig_jvp,
    batch=stacked,
    multiple=True,
)

eigvals_p = Primitive(
    "eigvals",
    _eigvals,
    shape=lambda x: _eig_shape(x)[0],
    vjp=adjoint_rule(lambda g, x, x_like: _eig_vjp((g, None), eig_p(x), x_like)),
    jvp=lambda t, x: _eigvals_jvp(t, eig_p(x)[1]),
    batch=stacked,
)
"""Without the eigenvectors, which only a derivative computes."""


def _eigvals_jvp(t: Any, v: Any) -> Any:
    return diagonal(solve_p(v, t @ v))


def eig(a: Any) -> EigResult:
    """Eigenvalues and eigenvectors of square matrices, complex whatever the matrices are.

    Notes
    -----
    The eigenvectors have length 1; functions of them that depend on their phase have no
    derivative. Where eigenvalues are equal the gradient through the eigenvectors, or through the
    eigenvalues of a matrix with too few of them, is infinite or NaN.

    On CUDA this is cuSOLVER's ``Xgeev``, which came with CUDA 12.6; CuPy's error says so where
    there is none. It may find the eigenvalues in another order than LAPACK.
    """
    return EigResult(*eig_p(matrices(a, "eig", square=True)))


def eigvals(a: Any) -> Any:
    """Eigenvalues of square matrices, complex whatever the matrices are: see `eig`."""
    return eigvals_p(matrices(a, "eigvals", square=True))
