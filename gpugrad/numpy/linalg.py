"""``numpy.linalg`` and the array API's ``linalg``, differentiable, on the CPU and by cuSOLVER.

Matrices are the last two axes; the others are a stack of them. Results that have parts are named
tuples, as in the standard. A second operand of `solve` is a vector only where it has one axis.

On CUDA nothing waits for a factorization's status: where NumPy raises ``LinAlgError`` for a
singular or indefinite matrix, the result has infinities or NaN, unless
``cupyx.errstate(linalg="raise")`` asks CuPy to look.

Examples
--------
>>> import gpugrad as gg, gpugrad.numpy as gnp, numpy as np
>>> def log_likelihood(cov, x):  # of a Gaussian, but for constants
...     half = gnp.linalg.cholesky(cov)
...     distance = gnp.linalg.norm(gnp.linalg.solve(half, x))
...     return -(distance**2) / 2 - gnp.sum(gnp.log(gnp.linalg.diagonal(half)))
>>> gg.grad(log_likelihood)(np.array([[4.0, 0.0], [0.0, 1.0]]), np.array([2.0, 0.0]))
array([[ 0. ,  0. ],
       [ 0. , -0.5]])
"""

from __future__ import annotations

from typing import Any

import numpy as _np
from numpy.linalg import LinAlgError

from gpugrad import dispatch as _dispatch
from gpugrad.ops.complex import real as _real
from gpugrad.ops.concrete import concrete as _concrete
from gpugrad.ops.determinant import det, slogdet
from gpugrad.ops.eigen import EigResult as _EigResult
from gpugrad.ops.eigen import eig, eigh, eigvals, eigvalsh
from gpugrad.ops.factor import cholesky, qr
from gpugrad.ops.least_squares import lstsq, pinv
from gpugrad.ops.matmul import matmul
from gpugrad.ops.matmul import tensordot as _tensordot
from gpugrad.ops.matmul import vecdot as _vecdot
from gpugrad.ops.matrices import diagonal, trace
from gpugrad.ops.norm import cond, matrix_norm, norm, vector_norm
from gpugrad.ops.powers import cross, matrix_power, multi_dot, outer
from gpugrad.ops.shape import matrix_transpose
from gpugrad.ops.solve import inv, solve, tensorinv, tensorsolve
from gpugrad.ops.svd import matrix_rank, svd, svdvals


def tensordot(x1: Any, x2: Any, /, *, axes: Any = 2) -> Any:
    """Sum of products over pairs of axes: the last and first ``axes``, or two lists of axes."""
    return _tensordot(x1, x2, axes)


def vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    """Dot products along ``axis``, the first operand conjugated; the other axes broadcast."""
    return _vecdot(x1, x2, axis)


__all__ = [
    "LinAlgError",
    "cholesky",
    "cond",
    "cross",
    "det",
    "diagonal",
    "eig",
    "eigh",
    "eigvals",
    "eigvalsh",
    "inv",
    "lstsq",
    "matmul",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "matrix_transpose",
    "multi_dot",
    "norm",
    "outer",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "svd",
    "svdvals",
    "tensordot",
    "tensorinv",
    "tensorsolve",
    "trace",
    "vecdot",
    "vector_norm",
]


# ------------------------------------------------------------------ where NumPy's own differ


def _all_real(w: Any) -> bool:
    """Whether NumPy would answer with real eigenvalues; under vmap nobody can tell."""
    try:
        return not _np.any(_concrete(w, "eig").imag)
    except TypeError:
        return False


def _numpy_eig(a: Any) -> Any:
    w, v = eig(a)
    return _EigResult(_real(w), _real(v)) if _is_real(a) and _all_real(w) else _EigResult(w, v)


def _numpy_eigvals(a: Any) -> Any:
    w = eigvals(a)
    return _real(w) if _is_real(a) and _all_real(w) else w


def _is_real(a: Any) -> bool:
    return bool(a.dtype.kind != "c")


_DEFAULT = object()


def _numpy_pinv(a: Any, rcond: Any = None, hermitian: bool = False, *, rtol: Any = _DEFAULT) -> Any:
    """NumPy's cutoff is 1e-15 unless ``rtol`` is given, be it as None."""
    if rtol is _DEFAULT:
        return pinv(a, 1e-15 if rcond is None else rcond, hermitian)
    return pinv(a, rcond, hermitian, rtol=rtol)


_dispatch.functions.update({getattr(_np.linalg, _n): globals()[_n] for _n in __all__[1:]})
_dispatch.functions.update(
    {
        _np.linalg.eig: _numpy_eig,
        _np.linalg.eigvals: _numpy_eigvals,
        _np.linalg.pinv: _numpy_pinv,
    }
)
