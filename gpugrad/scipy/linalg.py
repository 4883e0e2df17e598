"""``scipy.linalg``'s solvers and functions of matrices, differentiable."""

from __future__ import annotations

from gpugrad.ops.factor import cho_factor
from gpugrad.ops.matrix_equations import solve_banded, solve_sylvester, sqrtm
from gpugrad.ops.powers import expm
from gpugrad.ops.solve import cho_solve, solve_triangular

__all__ = [
    "cho_factor",
    "cho_solve",
    "expm",
    "solve_banded",
    "solve_sylvester",
    "solve_triangular",
    "sqrtm",
]
