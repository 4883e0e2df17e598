"""The pseudoinverse, and least squares by it.

Where nothing but zeros is cut off, ``dA+ = -A+ dA A+ + A+ A+^H dA^H (I - A A+) + (I - A+ A) dA^H
A+^H A+`` (Golub & Pereyra 1973, "The differentiation of pseudo-inverses and nonlinear least squares
problems whose variables separate"). A cutoff that cuts more changes ``dA`` first: `ops.truncation`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpugrad.core.abstract import ShapeDtype, shape_dtype
from gpugrad.core.loose import beside
from gpugrad.core.primitive import Primitive
from gpugrad.ops.broadcast import sum_p
from gpugrad.ops.complex import conj, real
from gpugrad.ops.concrete import concrete
from gpugrad.ops.matrices import (
    LinAlgError,
    adjoint,
    adjoint_rule,
    as_columns,
    from_columns,
    inexact,
    matrices,
    stacked,
    stacked_alike,
)
from gpugrad.ops.shape import expand_dims, squeeze
from gpugrad.ops.svd import from_lower, precision, rank_above, svdvals_p
from gpugrad.ops.truncation import batch_cutoff, inverse_jvp, inverse_vjp, turned

pinv_p = Primitive(
    "pinv",
    lambda xp, x, rcond: xp.linalg.pinv(x, rcond),
    "x rcond",
    shape=lambda x, rcond: ShapeDtype((*x.shape[:-2], x.shape[-1], x.shape[-2]), x.dtype),
    vjp=(
        adjoint_rule(lambda g, x, rcond, y: turned(inverse_vjp(g, x, y), x, rcond)),
        None,
    ),
    jvp=(lambda t, x, rcond, y: inverse_jvp(turned(t, x, rcond), x, y), None),
    batch=batch_cutoff,
)


def pinv(a: Any, rcond: Any = None, hermitian: bool = False, *, rtol: Any = None) -> Any:
    """The pseudoinverse (Moore-Penrose) of each matrix.

    Parameters
    ----------
    a : array of shape (..., M, N)
        The matrices. The derivative takes the number of singular values that are kept as constant.
    rcond, rtol : float or array, optional
        Singular values up to this times the largest count as 0; by default the larger side of
        the matrices times the type's precision, as in the array API standard. ``rcond`` is
        NumPy's older name.
    hermitian : bool
        Read the lower triangles of Hermitian matrices only.
    """
    if rcond is not None and rtol is not None:
        raise ValueError("pinv: give rcond or rtol, not both")
    a = matrices(a, "pinv", square=hermitian)
    cutoff = rtol if rcond is None else rcond
    if cutoff is None:
        cutoff = precision(shape_dtype(a))
    return pinv_p(from_lower(a) if hermitian else a, cutoff)


# ------------------------------------------------------------------ least squares


def _lstsq(xp: Any, a: Any, b: Any, *, rcond: float) -> Any:
    if xp is np and a.ndim == 2:
        return np.linalg.lstsq(a, b, rcond)[0]
    # Neither library has stacks of systems.
    u, s, vh = xp.linalg.svd(a, full_matrices=False)
    kept = s > rcond * s[..., :1]
    inverse = xp.where(kept, 1 / xp.where(kept, s, 1), 0)
    return vh.swapaxes(-2, -1).conj() @ (inverse[..., None] * (u.swapaxes(-2, -1).conj() @ b))


def _lstsq_shape(a: ShapeDtype, b: ShapeDtype, *, rcond: float) -> ShapeDtype:
    return ShapeDtype((*a.shape[:-2], a.shape[-1], b.shape[-1]), a.dtype)


def _lstsq_vjp(g: Any, a: Any, b: Any, y: Any, rcond: float, needs: Any) -> Any:
    p = pinv_p(a, rcond)
    gb = adjoint(p) @ g
    if not needs[0]:
        return None, gb
    outside = g - adjoint(a) @ gb  # of the row space
    ga = (b - a @ y) @ adjoint(p @ gb) + (adjoint(p) @ y) @ adjoint(outside) - gb @ adjoint(y)
    return turned(ga, a, rcond), gb


def _lstsq_jvp(ts: Sequence[Any], a: Any, b: Any, y: Any, rcond: float) -> Any:
    ta, tb = ts
    p = pinv_p(a, rcond)
    if ta is None:
        return p @ tb
    ta = turned(ta, a, rcond)
    back = adjoint(ta)
    inside = (-(ta @ y) if tb is None else tb - ta @ y) + adjoint(p) @ (back @ (b - a @ y))
    outside = back @ (adjoint(p) @ y)
    return p @ inside + outside - p @ (a @ outside)


def _lstsq_batch(
    primitive: Primitive, size: int, batched: Sequence[bool], values: Any, params: Any
) -> Any:
    a, b = values
    if not batched[0] and shape_dtype(a).ndim == 2:
        shape = shape_dtype(b).shape
        y = primitive(a, as_columns(b), **params)
        return from_columns(y, (*shape[:-2], shape_dtype(a).shape[-1], shape[-1]))
    return stacked(primitive, size, batched, values, params)


lstsq_p = Primitive(
    "lstsq",
    _lstsq,
    "a b",
    shape=_lstsq_shape,
    joint_vjp=adjoint_rule(_lstsq_vjp),
    joint_jvp=_lstsq_jvp,
    batch=_lstsq_batch,
)
"""The shortest ``x`` that minimises ``|b - A x|``, column by column."""


def lstsq(a: Any, b: Any, rcond: float | None = None) -> tuple[Any, Any, Any, Any]:
    """Least-squares solutions of ``a @ x = b``; the shortest where there are many.

    Parameters
    ----------
    a : array of shape (..., M, N)
        The matrices; unlike NumPy's, there may be a stack of them. The derivative takes the
        number of singular values that are kept as constant.
    b : array of shape (M,) or (..., M, K)
        One vector, or matrices.
    rcond : float, optional
        Singular values up to this times the largest count as 0; by default the larger side times
        the type's precision, and precision alone for -1.

    Returns
    -------
    x, residuals, rank, singular values
        ``residuals``, the squared length of each column of ``b - a @ x``, is empty as in NumPy
        where there are no more rows than columns or the rank is less than that; for a stack,
        whose ranks are not looked at, only the former. On CUDA looking at the rank of one matrix
        waits for it, as CuPy's own function does.
    """
    a, b = beside(a, b)
    a, b = matrices(a, "lstsq"), inexact(b, "lstsq")
    like, right = shape_dtype(a), shape_dtype(b).shape
    vector = len(right) == 1
    if not right or like.shape[-2] != right[-1 if vector else -2]:
        raise LinAlgError(f"lstsq: matrices of shape {like.shape} do not go with b of {right}")
    if vector:
        b = expand_dims(b, -1)
    a, b = stacked_alike(a, b, "lstsq")
    like = shape_dtype(a)
    eps = float(np.finfo(like.dtype).eps)
    cutoff = precision(like) if rcond is None else eps if rcond < 0 else float(rcond)
    x = lstsq_p(a, b, rcond=cutoff)
    s = svdvals_p(a)
    rank = rank_above(s, cutoff)
    off = b - a @ x
    residuals = sum_p(real(off * conj(off)), axis=(off.ndim - 2,), keepdims=False)
    m, n = like.shape[-2:]
    if m <= n or (like.ndim == 2 and _deficient(rank, n)):
        residuals = residuals[..., :0]
    return squeeze(x, -1) if vector else x, residuals, rank, s


def _deficient(rank: Any, n: int) -> bool:
    """Whether the rank is less; not looked at where it is not one number."""
    try:
        return int(concrete(rank, "lstsq")) < n
    except TypeError:
        return False
