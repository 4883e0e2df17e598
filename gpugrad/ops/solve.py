"""Systems of linear equations, inverses, and what is spelled with them.

With ``x = A^-1 b`` the differential is ``dx = A^-1 (db - dA x)``, so a cotangent ``g`` of ``x``
becomes ``A^-T g`` for ``b`` and ``-(A^-T g) x^T`` for ``A`` (Giles 2008, "Collected matrix
derivative results for forward and reverse mode algorithmic differentiation"). No rule
inverts a matrix where solving serves.

On the host a single matrix's LU factors from the forward pass solve the backward pass's system
too. For stacks of matrices, which NumPy solves in one call, and on CUDA, where cuSOLVER's solver
hands no factors out and waiting for its status would stall the stream, the matrix is factored
again.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpugrad.core.abstract import shape_dtype
from gpugrad.core.loose import beside
from gpugrad.core.primitive import Keeping, Primitive
from gpugrad.device import scipy_for
from gpugrad.ops.complex import conj
from gpugrad.ops.matrices import (
    LinAlgError,
    alike,
    as_columns,
    from_columns,
    inexact,
    matrices,
    stacked,
    stacked_alike,
)
from gpugrad.ops.shape import moveaxis, normal_axes, reshape, reshape_p
from gpugrad.ops.triangle import tril_p, triu_p

_PREFIX = {"f": "s", "d": "d", "F": "c", "D": "z"}


@functools.cache
def lapack(routine: str, char: str) -> Any:
    """LAPACK's routine for a dtype; SciPy is imported when the first one is called."""
    return getattr(scipy_for(np, "linalg.lapack"), _PREFIX[char] + routine)


def _columns_batch(
    primitive: Primitive, size: int, batched: Sequence[bool], values: Any, params: Any
) -> Any:
    """One matrix for many right-hand sides: they are columns. Else each has its own."""
    if not batched[0] and shape_dtype(values[0]).ndim == 2:
        a, b = values
        return from_columns(primitive(a, as_columns(b), **params), shape_dtype(b).shape)
    return stacked(primitive, size, batched, values, params)


def _minus(g: Any, y: Any, transposed: bool) -> Any:
    """The cotangent of the matrix from that of the right-hand side and the solution."""
    return -(y @ g.mT) if transposed else -(g @ y.mT)


def _right_hand_side(ts: Sequence[Any], y: Any, transposed: bool, part: Any = None) -> Any:
    """``db - dA x``, of ``part(dA)``."""
    ta, tb = ts[:2]
    if ta is None:
        return tb
    ta = ta if part is None else part(ta)
    moved = (ta.mT if transposed else ta) @ y
    return -moved if tb is None else tb - moved


# ------------------------------------------------------------------ solve


def _solve(xp: Any, a: Any, b: Any) -> tuple[Any, Any]:
    if xp is np and a.ndim == 2 and b.size:
        lu, pivots, x, info = lapack("gesv", a.dtype.char)(a, b)
        if info > 0:
            raise LinAlgError("the matrix is singular")
        return x, (lu, pivots)
    return xp.linalg.solve(a, b), None


def _solve_vjp(g: Any, a: Any, y: Any, kept: Any, needs: Any) -> Any:
    gb = solve_p(a.mT, g) if kept is None else factored_p(a, g, *kept, transposed=True)
    return _minus(gb, y, False) if needs[0] else None, gb


solve_p: Primitive = Keeping(
    "solve",
    _solve,
    "a b",
    shape=lambda a, b: b,
    joint_vjp=_solve_vjp,
    joint_jvp=lambda ts, a, y: solve_p(a, _right_hand_side(ts, y, False)),
    batch=_columns_batch,
)
"""Matrices ``A^-1 b`` for square ``A``; equal leading axes and dtypes."""


def _factored(xp: Any, a: Any, b: Any, lu: Any, pivots: Any, *, transposed: bool) -> Any:
    return lapack("getrs", lu.dtype.char)(lu, pivots, b, trans=int(transposed))[0]


def _factored_vjp(
    g: Any, a: Any, y: Any, lu: Any, pivots: Any, transposed: bool, needs: Any
) -> Any:
    gb = factored_p(a, g, lu, pivots, transposed=not transposed)
    return _minus(gb, y, transposed) if needs[0] else None, gb, None, None


def _factored_jvp(ts: Any, a: Any, y: Any, lu: Any, pivots: Any, transposed: bool) -> Any:
    return factored_p(a, _right_hand_side(ts, y, transposed), lu, pivots, transposed=transposed)


def _factored_batch(
    primitive: Primitive, size: int, batched: Sequence[bool], values: Any, params: Any
) -> Any:
    # Only right-hand sides are batched: a matrix that is has no factors from the forward pass.
    a, b, lu, pivots = values
    return from_columns(primitive(a, as_columns(b), lu, pivots, **params), b.shape)


factored_p: Primitive = Primitive(
    "factored_solve",
    _factored,
    "a b lu pivots",
    shape=lambda a, b, lu, pivots, *, transposed: b,
    joint_vjp=_factored_vjp,
    joint_jvp=_factored_jvp,
    batch=_factored_batch,
)
"""``A^-1 b`` or ``A^-T b`` by the LU factors of ``A``, through which no gradient goes: through
``A`` itself it does."""


def solve(a: Any, b: Any) -> Any:
    """Solve ``a @ x = b`` for ``x``.

    Parameters
    ----------
    a : array of shape (..., M, M)
        Square matrices.
    b : array of shape (M,) or (..., M, K)
        One vector, or matrices; leading axes broadcast with those of ``a``.

    Returns
    -------
    array of shape (..., M) or (..., M, K)

    Raises
    ------
    LinAlgError
        Where ``a`` is singular (on CUDA cuSOLVER's result is returned, with infinities or NaN;
        ``cupyx.errstate(linalg="raise")`` makes it an error) or not square.

    Examples
    --------
    >>> import gpugrad as gg, numpy as np
    >>> a, b = np.array([[2.0, 0.0], [0.0, 4.0]]), np.array([2.0, 4.0])
    >>> gg.grad(lambda b: gg.numpy.sum(gg.numpy.linalg.solve(a, b)))(b)
    array([0.5 , 0.25])
    """
    a, b = beside(a, b)
    a = matrices(a, "solve", square=True)
    b = inexact(b, "solve")
    vector = shape_dtype(b).ndim == 1
    return _over_columns(solve_p, a, b, vector, "solve")


def _over_columns(
    primitive: Primitive, a: Any, b: Any, vector: bool, what: str, **params: Any
) -> Any:
    """A solver on operands as users give them: ``b`` a vector or matrices, one ``a`` or many."""
    left, right = shape_dtype(a).shape, shape_dtype(b).shape
    if not right or left[-1] != right[-1 if vector else -2]:
        raise ValueError(f"{what}: matrices of shape {left} do not go with b of shape {right}")
    if vector:
        b = reshape_p(b, shape=(*right, 1))
    if len(left) == 2 and len(right) > 2:
        a, b = alike(a, b)
        return from_columns(primitive(a, as_columns(b), **params), b.shape)
    a, b = stacked_alike(a, b, what)
    y = primitive(a, b, **params)
    return reshape_p(y, shape=y.shape[:-1]) if vector else y


# ------------------------------------------------------------------ triangular matrices


_FEW = 32
"""Up to this order NumPy's general solver, a loop in C, is faster for a stack of triangles."""


def _triangular(xp: Any, a: Any, b: Any, *, lower: bool, transposed: bool, unit: bool) -> Any:
    if not b.size:
        return xp.zeros(b.shape, b.dtype)
    if xp is not np:
        solver = scipy_for(xp, "linalg").solve_triangular
        return solver(a, b, trans=int(transposed), lower=lower, unit_diagonal=unit)
    if a.ndim > 2 and a.shape[-1] <= _FEW:
        t = (np.tril if lower else np.triu)(a, 0 if not unit else -1 if lower else 1)
        if unit:
            t += np.eye(a.shape[-1], dtype=a.dtype)
        return np.linalg.solve(t.swapaxes(-2, -1) if transposed else t, b)
    if a.ndim > 2:
        x = np.empty(b.shape, b.dtype)
        for at in np.ndindex(a.shape[:-2]):
            x[at] = _triangular(xp, a[at], b[at], lower=lower, transposed=transposed, unit=unit)
        return x
    if a.flags.c_contiguous:  # LAPACK would copy it to columns: its transpose is in columns
        a, lower, transposed = a.T, not lower, not transposed
    x, info = lapack("trtrs", a.dtype.char)(a, b, lower=lower, trans=int(transposed), unitdiag=unit)
    if info > 0:
        raise LinAlgError(f"the triangular matrix is singular: element {info - 1} of its diagonal")
    return x


def _triangle(lower: bool, unit: bool) -> Any:
    """What projects on the elements that are read."""
    if lower:
        return lambda x: tril_p(x, k=-int(unit))
    return lambda x: triu_p(x, k=int(unit))


def _triangular_vjp(
    g: Any, a: Any, y: Any, lower: bool, transposed: bool, unit: bool, needs: Any
) -> Any:
    gb = triangular_p(a, g, lower=lower, transposed=not transposed, unit=unit)
    return _triangle(lower, unit)(_minus(gb, y, transposed)) if needs[0] else None, gb


def _triangular_jvp(
    ts: Sequence[Any], a: Any, y: Any, lower: bool, transposed: bool, unit: bool
) -> Any:
    side = _right_hand_side(ts, y, transposed, _triangle(lower, unit))
    return triangular_p(a, side, lower=lower, transposed=transposed, unit=unit)


triangular_p: Primitive = Primitive(
    "solve_triangular",
    _triangular,
    "a b",
    shape=lambda a, b, **params: b,
    joint_vjp=_triangular_vjp,
    joint_jvp=_triangular_jvp,
    batch=_columns_batch,
)
"""``T^-1 b`` or ``T^-T b`` for the lower or upper triangle ``T`` of ``A``."""


def left_divide(t: Any, b: Any, *, lower: bool, adjoint: bool = False) -> Any:
    """``T^-1 b``, or ``T^-H b``, for triangular ``T``: what rules are written with."""
    return triangular_p(conj(t) if adjoint else t, b, lower=lower, transposed=adjoint, unit=False)


_TRANS = {0: 0, 1: 1, 2: 2, "N": 0, "T": 1, "C": 2}


def solve_triangular(
    a: Any,
    b: Any,
    trans: int | str = 0,
    lower: bool = False,
    unit_diagonal: bool = False,
    overwrite_b: bool = False,
    check_finite: bool = True,
) -> Any:
    """Solve ``a @ x = b`` for triangular ``a``, of which only that triangle is read.

    Parameters
    ----------
    a : array of shape (..., M, M)
        The matrices.
    b : array of shape (M,) or (..., M, K)
        One vector, or matrices; leading axes broadcast with those of ``a``.
    trans : {0, 1, 2, "N", "T", "C"}
        The system to solve: with ``a``, its transpose, or its conjugate transpose.
    lower : bool
        Whether the lower triangle is meant.
    unit_diagonal : bool
        Take the diagonal as ones, without reading it.
    overwrite_b, check_finite : bool
        As in SciPy; nothing is overwritten or checked here.

    Raises
    ------
    LinAlgError
        Where ``a`` has a 0 on its diagonal (on CUDA the result has infinities or NaN instead).
    """
    if trans not in _TRANS:
        raise ValueError(f"solve_triangular: trans {trans!r} is none of 0, 1, 2, 'N', 'T', 'C'")
    kind = _TRANS[trans]
    a, b = beside(a, b)
    a = matrices(a, "solve_triangular", square=True)
    b = inexact(b, "solve_triangular")
    return _over_columns(
        triangular_p,
        conj(a) if kind == 2 else a,
        b,
        shape_dtype(b).ndim == 1,
        "solve_triangular",
        lower=lower,
        transposed=kind > 0,
        unit=unit_diagonal,
    )


def cho_solve(
    c_and_lower: Any, b: Any, overwrite_b: bool = False, check_finite: bool = True
) -> Any:
    """Solve ``a @ x = b`` by the Cholesky factor of ``a``.

    Parameters
    ----------
    c_and_lower : tuple of an array of shape (..., M, M) and bool
        What `cho_factor` returns: the factor, and whether it is the lower one.
    b : array of shape (M,) or (..., M, K)
        The right-hand side.
    overwrite_b, check_finite : bool
        As in SciPy; nothing is overwritten or checked here.
    """
    c, is_lower = c_and_lower
    first, second = (0, 2) if is_lower else (2, 0)
    y = solve_triangular(c, b, first, is_lower)
    return solve_triangular(c, y, second, is_lower)


# ------------------------------------------------------------------ inverses


_MANY = 32
"""From this order on LAPACK's inverse by LU factors is faster than NumPy's, which solves for it."""


def _inv(xp: Any, x: Any) -> Any:
    if xp is not np or x.ndim != 2 or len(x) < _MANY:
        return xp.linalg.inv(x)
    char = x.dtype.char
    lu, pivots, info = lapack("getrf", char)(x.T)  # the transpose is in columns, as LAPACK's are
    if info > 0:
        raise LinAlgError("Singular matrix")
    y: Any = lapack("getri", char)(lu, pivots, lwork=64 * len(x), overwrite_lu=True)[0]
    return y.T


inv_p: Primitive = Primitive(
    "inv",
    _inv,
    shape=lambda x: x,
    vjp=lambda g, y: -(y.mT @ g @ y.mT),
    jvp=lambda t, y: -(y @ t @ y),
    batch=stacked,
)


def inv(a: Any) -> Any:
    """The inverse of each square matrix.

    Raises
    ------
    LinAlgError
        Where ``a`` is singular (on CUDA the result has infinities or NaN instead) or not square.
    """
    return inv_p(matrices(a, "inv", square=True))


def tensorinv(a: Any, ind: int = 2) -> Any:
    """The inverse for ``tensordot(..., ind)``: of ``a`` as a matrix of its first ``ind`` axes."""
    a = inexact(a, "tensorinv")
    shape = shape_dtype(a).shape
    if ind <= 0:
        raise ValueError(f"tensorinv: ind {ind} is not positive")
    rows, columns = math.prod(shape[:ind]), math.prod(shape[ind:])
    if rows != columns:
        raise LinAlgError(
            f"tensorinv: shape {shape} is no square matrix when cut after {ind} axes: "
            f"{rows} by {columns}"
        )
    return reshape(inv(reshape(a, (rows, columns))), (*shape[ind:], *shape[:ind]))


def tensorsolve(a: Any, b: Any, axes: Any = None) -> Any:
    """Solve ``tensordot(a, x, x.ndim) = b``; ``axes`` of ``a`` are moved to its end first."""
    a, b = beside(a, b)
    a, b = inexact(a, "tensorsolve"), inexact(b, "tensorsolve")
    like = shape_dtype(a)
    if axes is not None:
        moved = normal_axes(tuple(axes), like.ndim)
        a = moveaxis(a, moved, tuple(range(like.ndim - len(moved), like.ndim)))
    shape = shape_dtype(a).shape
    right = shape_dtype(b)
    out = shape[right.ndim :]
    n = math.prod(out)
    if math.prod(shape[: right.ndim]) != n or right.size != n:
        raise LinAlgError(f"tensorsolve: shapes {shape} and {right.shape} make no square system")
    return reshape(solve(reshape(a, (n, n)), reshape(b, (n,))), out)
