"""Norms of vectors and matrices, and condition numbers.

At a vector of zeros the gradient of every norm is 0, a subgradient, as in PyTorch; so is the part
of it for an element that is 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpugrad.core.abstract import ShapeDtype, shape_dtype
from gpugrad.core.primitive import Primitive
from gpugrad.ops.batching import over_axis
from gpugrad.ops.broadcast import reduced, standing, sum_p
from gpugrad.ops.cast import cast
from gpugrad.ops.complex import conj, is_complex, real
from gpugrad.ops.determinant import slogdet
from gpugrad.ops.elementwise import absolute, equal, logical_or, sign, where
from gpugrad.ops.matrices import LinAlgError, identity, inexact, matrices, real_dtype
from gpugrad.ops.reductions import count_nonzero, max_p, min_p
from gpugrad.ops.shape import moveaxis, normal_axes, normal_axis
from gpugrad.ops.solve import inv
from gpugrad.ops.svd import svdvals_p

Axes = tuple[int, ...]


def _norm(xp: Any, x: Any, *, order: float, axis: Axes, keepdims: bool) -> Any:
    if order == 2:
        squares = x.real**2 + x.imag**2 if x.dtype.kind == "c" else x * x
        return xp.sqrt(squares.sum(axis=axis, keepdims=keepdims))
    return xp.sum(xp.abs(x) ** order, axis=axis, keepdims=keepdims) ** (1 / order)


def _norm_slope(g: Any, x: Any, y: Any, order: float) -> Any:
    """``g`` times what the norm changes by with each element of ``x``."""
    nothing = equal(y, 0)
    y = y + nothing
    if order == 2:
        return conj(x) * (g / y)
    size = absolute(x)
    # Of a negative order one element that is 0 makes all the norm 0, whatever the others are.
    zero = logical_or(equal(size, 0), nothing)
    size = where(zero, 1, size)
    direction = conj(x) / size if is_complex(x) else sign(x)
    return direction * (g * where(zero, 0, (size / y) ** (order - 1)))


def _norm_vjp(
    g: Any, x: Any, y: Any, x_like: ShapeDtype, order: float, axis: Axes, keepdims: bool
) -> Any:
    g, y = standing(g, x_like, axis, keepdims), standing(y, x_like, axis, keepdims)
    return _norm_slope(g, x, y, order)


def _norm_jvp(
    t: Any, x: Any, y: Any, x_like: ShapeDtype, order: float, axis: Axes, keepdims: bool
) -> Any:
    slope = _norm_slope(1, x, standing(y, x_like, axis, keepdims), order)
    return sum_p(real(slope * t), axis=axis, keepdims=keepdims)


norm_p = Primitive(
    "norm",
    _norm,
    shape=lambda x, *, order, axis, keepdims: ShapeDtype(
        reduced(x.shape, axis, keepdims), real_dtype(x.dtype)
    ),
    vjp=_norm_vjp,
    jvp=_norm_jvp,
    batch=over_axis,
)
"""``sum(|x| ** order) ** (1 / order)`` over axes."""


def _largest(x: Any, axis: Axes, keepdims: bool) -> Any:
    """The maximum, and 0 of nothing."""
    empty = any(shape_dtype(x).shape[i] == 0 for i in axis)
    return (sum_p if empty else max_p)(x, axis=axis, keepdims=keepdims)


def _vector(x: Any, order: Any, axis: Axes, keepdims: bool) -> Any:
    if order is None:
        order = 2
    if isinstance(order, str):
        raise ValueError(f"norm: order {order!r} is none of a vector, but of a matrix")
    if order == 0:
        count = count_nonzero(x, axis, keepdims=keepdims)
        return cast(count, real_dtype(shape_dtype(x).dtype))
    if abs(order) == np.inf:
        return (_largest if order > 0 else min_p)(absolute(x), axis=axis, keepdims=keepdims)
    if order == 1:
        return sum_p(absolute(x), axis=axis, keepdims=keepdims)
    return norm_p(x, order=float(order), axis=axis, keepdims=keepdims)


def _matrix(x: Any, order: Any, axis: Axes, keepdims: bool) -> Any:
    if order is None or order in ("fro", "f"):
        return norm_p(x, order=2.0, axis=tuple(sorted(axis)), keepdims=keepdims)
    x = moveaxis(x, axis, (-2, -1))
    last = shape_dtype(x).ndim - 1
    if order == "nuc":
        y = sum_p(svdvals_p(x), axis=(last - 1,), keepdims=False)
    elif order in (2, -2):
        y = (_largest if order > 0 else min_p)(svdvals_p(x), axis=(last - 1,), keepdims=False)
    elif order in (1, -1, np.inf, -np.inf):
        summed = last - 1 if abs(order) == 1 else last
        y = sum_p(absolute(x), axis=(summed,), keepdims=False)
        y = (_largest if order > 0 else min_p)(y, axis=(last - 1,), keepdims=False)
    else:
        raise ValueError(
            f"norm: order {order!r} is none of a matrix: 'fro', 'nuc', 1, -1, 2, -2, inf, -inf"
        )
    return _put_back(y, axis) if keepdims else y


def _put_back(y: Any, axis: Axes) -> Any:
    """With axes of length 1 where the matrices' were."""
    from gpugrad.ops.shape import expand_dims

    return expand_dims(y, axis)


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """A norm of vectors or of matrices.

    Parameters
    ----------
    x : array
        Vectors or matrices. Without ``axis`` it is one vector or matrix, and without ``ord``
        too an array of any shape, taken as one vector.
    ord : {None, "fro", "nuc", inf, -inf, number}, optional
        The order. Vectors: ``sum(abs(x)**ord)**(1/ord)``, the largest and smallest absolute
        value for inf and -inf, the number of elements not 0 for 0; 2 by default. Matrices:
        ``"fro"`` (the default), ``"nuc"`` the sum of the singular values, 2 and -2 the largest
        and smallest of them, 1 and -1 the largest and smallest sum of a column, inf and -inf of
        a row.
    axis : int or pair of int, optional
        Along which axis the vectors lie, or rows and columns of the matrices.
    keepdims : bool
        Keep those axes, with length 1.

    Notes
    -----
    At 0 the gradient is 0. Elements, sums and singular values that tie for the largest or
    smallest share the gradient equally.

    Examples
    --------
    >>> import gpugrad as gg, numpy as np
    >>> gg.grad(gg.numpy.linalg.norm)(np.array([3.0, 4.0]))
    array([0.6, 0.8])
    """
    x = inexact(x, "norm")
    like = shape_dtype(x)
    if axis is None:
        axes: Axes = tuple(range(like.ndim))
        if ord is None:
            return norm_p(x, order=2.0, axis=axes, keepdims=keepdims)
    else:
        axes = _axes(axis, like.ndim)
    if len(axes) == 1:
        return _vector(x, ord, axes, keepdims)
    if len(axes) == 2:
        return _matrix(x, ord, axes, keepdims)
    raise ValueError(f"norm: {len(axes)} axes of shape {like.shape}; 1 for vectors, 2 for matrices")


def _axes(axis: Any, ndim: int) -> Axes:
    if isinstance(axis, tuple | list):
        return normal_axes(tuple(axis), ndim)
    return (normal_axis(axis, ndim),)


def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    """The norm of the vectors along ``axis``: one axis, several as one, or by default all.

    Orders and conventions are those of `norm`.
    """
    x = inexact(x, "vector_norm")
    like = shape_dtype(x)
    axes = normal_axes(axis, like.ndim)
    return _vector(x, ord, axes, keepdims)


def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    """The norm of each matrix (of the last two axes); orders and conventions as for `norm`."""
    x = matrices(x, "matrix_norm")
    ndim = shape_dtype(x).ndim
    return _matrix(x, ord, (ndim - 2, ndim - 1), keepdims)


def cond(x: Any, p: Any = None) -> Any:
    """The condition number of each matrix: infinite for a singular one.

    Parameters
    ----------
    x : array of shape (..., M, N)
        The matrices; square but for the orders None, 2 and -2.
    p : {None, 2, -2, "fro", "nuc", 1, -1, inf, -inf}
        The order of the norm; for None and 2 it is the ratio of the largest singular value to
        the smallest, for -2 the inverse ratio.
    """
    spectral = p is None or p in (2, -2)
    x = matrices(x, "cond", square=not spectral)
    like = shape_dtype(x)
    if 0 in like.shape[-2:]:
        raise LinAlgError(f"cond of empty matrices, of shape {like.shape}")
    if spectral:
        s = svdvals_p(x)
        top, low = (s[..., -1], s[..., 0]) if p == -2 else (s[..., 0], s[..., -1])
        singular = equal(low, 0)
        ratio = top / where(singular, 1, low)
    else:
        singular = equal(slogdet(x).sign, 0)
        safe = where(singular[..., None, None], identity(x, like.shape[-1]), x)
        ratio = matrix_norm(safe, ord=p) * matrix_norm(inv(safe), ord=p)
    return where(singular, float("inf"), ratio)
