"""Determinants.

``d det(A) = tr(adj(A) dA)`` and ``d log|det(A)| = Re tr(A^-1 dA)``
(Giles 2008, "Collected matrix derivative results for forward and reverse mode algorithmic
differentiation").

On the host the LU factors from the forward pass give the inverse that the backward pass needs.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from gpugrad.core.abstract import ShapeDtype, shape_dtype
from gpugrad.core.primitive import Keeping, Primitive
from gpugrad.device import HOST_TYPES
from gpugrad.ops.broadcast import sum_p
from gpugrad.ops.cast import cast
from gpugrad.ops.complex import imag, is_complex, real
from gpugrad.ops.creation import raw_of
from gpugrad.ops.elementwise import absolute, equal, where
from gpugrad.ops.join import stack
from gpugrad.ops.matrices import LinAlgError, identity, matrices, real_dtype, stacked, trace
from gpugrad.ops.parts import exponent, ldexp
from gpugrad.ops.reductions import max_p
from gpugrad.ops.solve import inv_p, lapack, solve_p


class SlogdetResult(NamedTuple):
    """``sign * exp(logabsdet)`` is the determinant."""

    sign: Any
    logabsdet: Any


def _scalars(x: ShapeDtype) -> ShapeDtype:
    return ShapeDtype(x.shape[:-2], x.dtype)


def _each(scalars: Any) -> Any:
    """One number for each matrix, as broadcasts with it."""
    return scalars[..., None, None]


def _cofactors(x: Any, y: Any) -> Any:
    """``det(A) A^-T``, the transposed adjugate, for singular ``A`` too.

    The cofactors of ``A + t`` are a polynomial of ``t``. Where ``A`` is singular, or so near to it
    that terms of the second derivative cancel, they are those at four points on both sides of 0,
    put together so that all powers of ``t`` up to the third drop out.
    """
    like = shape_dtype(x)
    n = like.shape[-1]
    if n == 0:
        return x
    flat = flat_p(x, y)
    raw = raw_of(flat)
    if type(raw) in HOST_TYPES and not np.any(raw):  # on a device nobody looks
        return _each(y) * inv_p(x).mT
    largest = max_p(absolute(x), axis=(like.ndim - 2, like.ndim - 1), keepdims=True)
    step = ldexp(float(np.finfo(like.dtype).eps) ** 0.2, exponent(largest))  # no gradient flows
    step = where(equal(largest, 0), 1e-20, step)
    step = cast(where(_each(flat), step, 0), like.dtype) * identity(x, n)
    beside = stack([x + t * step for t in (1, -1, 2, -2)])
    found = _each(det_p(beside)) * inv_p(beside).mT
    return (4 * (found[0] + found[1]) - (found[2] + found[3])) / 6


def _flat(xp: Any, x: Any, y: Any) -> Any:
    squares = (x * x.conj()).real if x.dtype.kind == "c" else x * x
    bound = xp.sqrt(squares.sum(-1)).prod(-1)  # Hadamard's
    return abs(y) <= float(np.finfo(x.dtype).eps) ** 0.5 * bound


flat_p = Primitive(
    "nearly_singular",
    _flat,
    "x y",
    shape=lambda x, y: ShapeDtype(y.shape, np.dtype(bool)),
    vjp=(None, None),
    jvp=(None, None),
    batch=stacked,
)
"""Whether the rows are almost dependent: the determinant is small for their lengths."""


det_p: Primitive = Primitive(
    "det",
    lambda xp, x: xp.linalg.det(x),
    shape=_scalars,
    vjp=lambda g, x, y: _each(g) * _cofactors(x, y),
    jvp=lambda t, x, y: sum_p(_cofactors(x, y) * t, axis=(t.ndim - 2, t.ndim - 1), keepdims=False),
    batch=stacked,
)


def det(a: Any) -> Any:
    """The determinant of each square matrix.

    Its derivatives are right for singular matrices too, as those of a polynomial: the gradient is
    the matrix of cofactors.
    """
    return det_p(matrices(a, "det", square=True))


def _slogdet(xp: Any, x: Any) -> tuple[Any, Any]:
    if xp is not np or x.ndim != 2 or not x.size or x.dtype.kind == "c":
        return tuple(xp.linalg.slogdet(x)), None
    number = x.dtype.type
    factors, pivots, singular = lapack("getrf", x.dtype.char)(x)
    if singular:
        return (number(0), number(-np.inf)), (factors, pivots)
    diagonal = factors.diagonal()
    flips = np.count_nonzero(diagonal < 0) + np.count_nonzero(pivots != _positions(len(x)))
    return (number(-1 if flips % 2 else 1), np.add.reduce(np.log(np.abs(diagonal)))), (
        factors,
        pivots,
    )


@functools.lru_cache(maxsize=64)
def _positions(n: int) -> Any:
    return np.arange(n)


def _inverse(x: Any, kept: Any) -> Any:
    """``A^-1``, by the factors from the forward pass unless this pass is itself recorded."""
    if kept is None or type(x) is not np.ndarray:
        return inv_p(x)
    inverse, info = lapack("getri", x.dtype.char)(*kept)
    if info > 0:
        raise LinAlgError("the matrix is singular")
    return inverse


def _slogdet_vjp(g: Any, x: Any, y: Any, kept: Any) -> Any:
    g_sign, g_log = g
    total = 0 if g_log is None else g_log
    if g_sign is not None and is_complex(x):
        total = total - 1j * real(1j * g_sign * y[0])
    elif g_log is None:
        return x * 0  # the sign of a real determinant is constant
    return _each(cast(total, shape_dtype(x).dtype)) * _inverse(x, kept).mT


def _slogdet_jvp(t: Any, x: Any, y: Any) -> Any:
    moved = trace(solve_p(x, t))
    sign = y[0] * (1j * imag(moved)) if is_complex(x) else y[0] * 0
    return sign, real(moved)


slogdet_p: Primitive = Keeping(
    "slogdet",
    _slogdet,
    shape=lambda x: (_scalars(x), ShapeDtype(x.shape[:-2], real_dtype(x.dtype))),
    vjp=_slogdet_vjp,
    jvp=_slogdet_jvp,
    batch=stacked,
    multiple=True,
)


def slogdet(a: Any) -> SlogdetResult:
    """Sign and logarithm of the absolute value of the determinant of each square matrix.

    For a complex matrix the sign is a number on the unit circle, whose derivative is along it.
    At a singular matrix the logarithm is ``-inf``, and its gradient raises as `inv` does.

    Examples
    --------
    >>> import gpugrad as gg, numpy as np
    >>> a = np.array([[2.0, 1.0], [2.0, 2.0]])
    >>> gg.grad(lambda a: gg.numpy.linalg.slogdet(a).logabsdet)(a)
    array([[ 1. , -1. ],
           [-0.5,  1. ]])
    """
    return SlogdetResult(*slogdet_p(matrices(a, "slogdet", square=True)))
