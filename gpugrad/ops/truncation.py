"""The part of a matrix above a cutoff of its singular values, and how that part moves.

Let ``A = K + C`` with the singular values that are kept in ``K`` and those that are cut in ``C``.
What depends on ``K`` alone moves with ``A`` as if ``C`` were 0, and besides as the kept singular
vectors turn into the cut ones: by ``(s_j^2 M_ij + s_i s_j conj(M_ji)) / (s_i^2 - s_j^2)`` for kept
``i`` and cut ``j``, where ``M = U^H dA V``. This is written by equations of Sylvester's kind, in
which single vectors do not occur, so that equal singular values do no harm at any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpugrad.core.abstract import ShapeDtype, shape_dtype
from gpugrad.core.primitive import Primitive
from gpugrad.ops.batching import lead
from gpugrad.ops.complex import conj
from gpugrad.ops.matrices import adjoint, adjoint_rule, identity, real_dtype, stacked, trace
from gpugrad.ops.shape import expand_dims
from gpugrad.ops.svd import precision


def is_rounding(rcond: Any, like: ShapeDtype) -> bool:
    """Whether such a cutoff cuts nothing but what rounding has made of 0."""
    return isinstance(rcond, int | float) and rcond <= 16 * precision(like)


def batch_cutoff(
    primitive: Primitive, size: int, batched: Sequence[bool], values: Any, params: Any
) -> Any:
    """Batching rule for operands ``x``, matrices, and ``rcond``."""
    x = lead(values[0], size, batched[0])
    rcond = values[1]
    if batched[1]:  # it broadcasts with the leading axes of x
        missing = x.ndim - 2 - rcond.ndim
        rcond = expand_dims(rcond, tuple(range(1, 1 + missing)))
    return primitive(x, rcond)


# ------------------------------------------------------------------ the equation


def _solved(g: Any, left: Any, right: Any, v: Any, factors: Any) -> Any:
    return equation_p(g, left.mT, right.mT, conj(v), factors)


def _equation_jvp(
    ts: Sequence[Any], w: Any, left: Any, right: Any, v: Any, factors: Any, y: Any
) -> Any:
    tw, t_left, t_right = ts[:3]
    moved = (
        tw,
        None if t_left is None else -(t_left @ y),
        None if t_right is None else y @ t_right,
    )
    first, *rest = [p for p in moved if p is not None]
    for part in rest:
        first = first + part
    return equation_p(first, left, right, v, factors)


equation_p: Primitive = Primitive(
    "equation_of_gaps",
    lambda xp, w, left, right, v, factors: (
        v @ ((v.swapaxes(-2, -1).conj() @ w @ v) * factors) @ v.swapaxes(-2, -1).conj()
    ),
    "w left right v factors",
    shape=lambda w, left, right, v, factors: w,
    vjp=(
        _solved,
        lambda g, left, right, v, factors, y: -(_solved(g, left, right, v, factors) @ y.mT),
        lambda g, left, right, v, factors, y: y.mT @ _solved(g, left, right, v, factors),
        None,
        None,
    ),
    joint_jvp=_equation_jvp,
    batch=stacked,
)
"""The ``x`` of ``left @ x - x @ right = w``, Hermitian matrices of which the eigenvectors ``v`` and
1 / (difference of eigenvalues) are given: they follow from the matrices, and have no derivative."""


def _kept(xp: Any, s: Any, rcond: Any) -> Any:
    return s > xp.asarray(rcond)[..., None] * s[..., :1]


def _gaps(xp: Any, x: Any, rcond: Any) -> tuple[Any, Any]:
    _, s, vh = xp.linalg.svd(x, full_matrices=False)
    kept = _kept(xp, s, rcond)
    high, low = xp.where(kept, s, 0), xp.where(kept, 0, s)
    # What is cut on the left has the sum of all that is kept, which is far from each on the right.
    high = xp.where(kept, high, xp.sqrt((high * high).sum(-1, keepdims=True)))
    row, column = low[..., None, :], high[..., :, None]
    gap = (column - row) * (column + row)
    return vh.swapaxes(-2, -1).conj(), xp.where(gap == 0, 0, 1 / xp.where(gap == 0, 1, gap))


def _gaps_shape(x: ShapeDtype, rcond: Any) -> tuple[ShapeDtype, ShapeDtype]:
    square = (*x.shape[:-2], x.shape[-1], x.shape[-1])
    return ShapeDtype(square, x.dtype), ShapeDtype(square, real_dtype(x.dtype))


gaps_p = Primitive(
    "gaps",
    _gaps,
    "x rcond",
    shape=_gaps_shape,
    vjp=(None, None),
    jvp=(None, None),
    batch=batch_cutoff,
    multiple=True,
)


# ------------------------------------------------------------------ the parts


def _split(xp: Any, x: Any, rcond: Any) -> tuple[Any, Any, Any]:
    u, s, vh = xp.linalg.svd(x, full_matrices=False)
    kept = _kept(xp, s, rcond)
    inverse = xp.where(kept, 1 / xp.where(kept, s, 1), 0)
    return (
        (u * xp.where(kept, s, 0)[..., None, :]) @ vh,
        (u * xp.where(kept, 0, s)[..., None, :]) @ vh,
        vh.swapaxes(-2, -1).conj() @ (inverse[..., :, None] * u.swapaxes(-2, -1).conj()),
    )


def _split_shape(x: ShapeDtype, rcond: Any) -> tuple[ShapeDtype, ShapeDtype, ShapeDtype]:
    return x, x, ShapeDtype((*x.shape[:-2], x.shape[-1], x.shape[-2]), x.dtype)


def inverse_vjp(g: Any, x: Any, y: Any) -> Any:
    """That of the pseudoinverse ``y``, by the part of ``x`` that has it."""
    h, back = adjoint(y), adjoint(g)
    hg = h @ g
    out = -(hg @ h)
    # Each of these is 0 where the matrix has that many independent rows, or columns.
    right = back @ y @ h
    left = h @ y @ back
    return out + right - x @ (y @ right) + left - (left @ y) @ x


def inverse_jvp(t: Any, x: Any, y: Any) -> Any:
    """That of the pseudoinverse ``y``, by the part of ``x`` that has it."""
    back, h = adjoint(t), adjoint(y)
    right = y @ h @ back
    left = back @ h @ y
    return right - (right @ x) @ y + left - y @ (x @ left) - y @ t @ y


def _touching(t: Any, kept: Any, inverse: Any) -> Any:
    """``t`` but for what lies in neither the range of ``kept`` nor that of its adjoint."""
    right = (t @ inverse) @ kept
    return right + kept @ (inverse @ (t - right))


def _split_vjp(g: Any, x: Any, rcond: Any, y: Any) -> Any:
    g_kept, g_cut, g_inverse = g
    kept, _, inverse = y
    terms = []
    if g_inverse is not None:
        terms.append(inverse_vjp(g_inverse, kept, inverse))
    if g_cut is not None:
        g_kept = -g_cut if g_kept is None else g_kept - g_cut
    if g_kept is not None:
        terms.append(_touching(g_kept, kept, inverse))
    out = _turned(terms[0] if len(terms) == 1 else terms[0] + terms[1], x, rcond, y)
    return out if g_cut is None else out + g_cut


def _split_jvp(t: Any, x: Any, rcond: Any, y: Any) -> Any:
    kept, _, inverse = y
    turned = _turned(t, x, rcond, y)
    moved = _touching(turned, kept, inverse)
    return moved, t - moved, inverse_jvp(turned, kept, inverse)


split_p: Primitive = Primitive(
    "split_at_cutoff",
    _split,
    "x rcond",
    shape=_split_shape,
    vjp=(adjoint_rule(_split_vjp), None),
    jvp=(_split_jvp, None),
    batch=batch_cutoff,
    multiple=True,
)
"""The kept part of ``x``, the part that is cut, and the pseudoinverse of the former."""


def _turned(t: Any, x: Any, rcond: Any, parts: Any) -> Any:
    """`turned`, of matrices that are not wide and have these parts."""
    kept, cut, inverse = parts
    v, factors = gaps_p(x, rcond)
    onto = inverse @ kept
    high, right = adjoint(kept) @ kept, adjoint(cut) @ cut
    rest = identity(x, shape_dtype(x).shape[-1]) - onto
    left = high + trace(high)[..., None, None] * rest
    cross = onto @ (adjoint(t) @ cut)
    first = equation_p((inverse @ t) @ right + cross, left, right, v, factors)
    second = equation_p(cross + adjoint(kept) @ t, left, right, v, factors)
    return t + kept @ first + cut @ adjoint(second)


def turned(t: Any, x: Any, rcond: Any) -> Any:
    """The change of ``x`` that moves its kept part as ``t`` does, but leaves the cut one at rest.

    With nothing cut but zeros it is ``t``. Its own adjoint, so that it serves both modes.
    """
    like = shape_dtype(x)
    if is_rounding(rcond, like):
        return t
    if like.shape[-2] < like.shape[-1]:
        return adjoint(turned(adjoint(t), adjoint(x), rcond))
    return _turned(t, x, rcond, split_p(x, rcond))
