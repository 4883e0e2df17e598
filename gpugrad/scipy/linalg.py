"""``scipy.linalg``'s solvers of triangular systems and matrix exponential, differentiable."""

from __future__ import annotations

from gpugrad.ops.factor import cho_factor
from gpugrad.ops.powers import expm
from gpugrad.ops.solve import cho_solve, solve_triangular

__all__ = ["cho_factor", "cho_solve", "expm", "solve_triangular"]
