"""Polynomials as arrays of coefficients, that of the highest power first, as in NumPy.

Nothing is trimmed: a leading coefficient that is 0 stays, since its value is not known while a
gradient is traced.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpugrad.core.abstract import shape_dtype
from gpugrad.ops.broadcast import broadcast_to, sum, sum_p
from gpugrad.ops.cast import cast, is_inexact
from gpugrad.ops.complex import real
from gpugrad.ops.concrete import like_operands
from gpugrad.ops.creation import zeros_near
from gpugrad.ops.elementwise import sqrt
from gpugrad.ops.indexing import getitem
from gpugrad.ops.join import concatenate, pad_p, stack
from gpugrad.ops.operands import as_array, as_arrays
from gpugrad.ops.shape import expand_dims, ravel, reshape


def _coefficients(*ps: Any) -> tuple[Any, ...]:
    out = tuple(p if shape_dtype(p).ndim else expand_dims(p, 0) for p in as_arrays(*ps))
    for p in out:
        if shape_dtype(p).ndim != 1:
            raise ValueError(f"a polynomial has 1-D coefficients, got shape {shape_dtype(p).shape}")
    return out


def polyval(p: Any, x: Any) -> Any:
    """The polynomial's value at each ``x``, by Horner's rule."""
    p, x = as_arrays(p, x)
    y = x * 0
    for i in range(shape_dtype(p).shape[0]):
        y = y * x + getitem(p, i)
    return y


def _aligned(a: Any, b: Any) -> tuple[Any, Any]:
    a, b = _coefficients(a, b)
    n, m = shape_dtype(a).shape[0], shape_dtype(b).shape[0]
    longest = max(n, m)
    return _lengthen(a, longest - n), _lengthen(b, longest - m)


def _lengthen(p: Any, count: int) -> Any:
    return pad_p(p, width=((count, 0),), value=0) if count else p


def polyadd(a: Any, b: Any) -> Any:
    """The sum of two polynomials."""
    a, b = _aligned(a, b)
    return a + b


def polysub(a: Any, b: Any) -> Any:
    """The difference of two polynomials."""
    a, b = _aligned(a, b)
    return a - b


def polymul(a: Any, b: Any) -> Any:
    """The product of two polynomials."""
    a, b = _coefficients(a, b)
    m, n = shape_dtype(a).shape[0], shape_dtype(b).shape[0]
    # Rows of all products, each one place further to the right than the one before.
    rows = pad_p(expand_dims(a, 1) * expand_dims(b, 0), width=((0, 0), (0, m)), value=0)
    shifted = getitem(ravel(rows), slice(0, m * (m + n - 1)))
    return sum_p(reshape(shifted, (m, m + n - 1)), axis=(0,), keepdims=False)


def polydiv(u: Any, v: Any) -> tuple[Any, Any]:
    """Quotient and remainder of ``u`` by ``v``, whose leading coefficient is not 0."""
    u, v = _coefficients(u, v)
    m, n = shape_dtype(u).shape[0], shape_dtype(v).shape[0]
    u, v = (p if is_inexact(shape_dtype(p).dtype) else p * 1.0 for p in (u, v))
    if m < n:
        return getitem(u, slice(0, 1)) * 0, u
    quotient = []
    for _ in range(m - n + 1):
        q = getitem(u, 0) / getitem(v, 0)
        quotient.append(q)
        rest = pad_p(getitem(v, slice(1, None)), width=((0, shape_dtype(u).shape[0] - n),), value=0)
        u = getitem(u, slice(1, None)) - q * rest
    return stack(quotient), u if n > 1 else getitem(v, slice(0, 1)) * 0


def polyder(p: Any, m: int = 1) -> Any:
    """The ``m``-th derivative of a polynomial."""
    if m < 0:
        raise ValueError(f"polyder: order {m}; use polyint for antiderivatives")
    (p,) = _coefficients(p)
    for _ in range(m):
        n = shape_dtype(p).shape[0]
        _, powers = as_arrays(p, list(range(n - 1, 0, -1)) or np.zeros(0, int).tolist())
        p = getitem(p, slice(0, n - 1)) * cast(powers, int)
    return p


def polyint(p: Any, m: int = 1, k: Any = None) -> Any:
    """The ``m``-th antiderivative of a polynomial, with integration constants ``k`` or 0."""
    if m < 0:
        raise ValueError(f"polyint: order {m}; use polyder for derivatives")
    (p,) = _coefficients(p)
    (p, k) = as_arrays(p, 0 if k is None else k)
    k = broadcast_to(k, (m,)) if shape_dtype(k).size == 1 else k
    if shape_dtype(k).shape != (m,):
        raise ValueError(f"polyint: {m} constants are needed, got shape {shape_dtype(k).shape}")
    for i in range(m):
        n = shape_dtype(p).shape[0]
        _, powers = as_arrays(p, list(range(n, 0, -1)))
        p = concatenate([p / powers, getitem(k, slice(i, i + 1)) * 1.0])
    return p


def poly(seq_of_zeros: Any) -> Any:
    """The polynomial with these roots, or a matrix's eigenvalues, and 1 as leading coefficient.

    Of a matrix it is the characteristic polynomial; its derivative exists where the eigenvalues
    differ.
    """
    from gpugrad.ops.eigen import eigvals

    roots = as_array(seq_of_zeros)
    like = shape_dtype(roots)
    if like.ndim == 2:
        p = poly(eigvals(roots))
        return p if like.dtype.kind == "c" else real(p)
    if like.ndim != 1:
        raise ValueError(f"poly: roots or a square matrix are needed, got shape {like.shape}")
    roots = roots if is_inexact(shape_dtype(roots).dtype) else roots * 1.0
    one = zeros_near([roots], (1,), shape_dtype(roots).dtype) + 1
    p = one if shape_dtype(roots).size else getitem(one, 0)
    for i in range(shape_dtype(roots).shape[0]):
        p = polymul(p, concatenate([one, -getitem(roots, slice(i, i + 1))]))
    return p


def vander(x: Any, N: int | None = None, increasing: bool = False) -> Any:
    """The powers of each ``x`` as a row, the highest one first unless ``increasing``."""
    x = as_array(x)
    if shape_dtype(x).ndim != 1:
        raise ValueError(f"vander: 1-D numbers are needed, got shape {shape_dtype(x).shape}")
    if not is_inexact(shape_dtype(x).dtype):  # powers of narrow integers would overflow
        x = cast(x, np.result_type(shape_dtype(x).dtype, int))
    count = shape_dtype(x).shape[0] if N is None else N
    ones = zeros_near([x], shape_dtype(x).shape, shape_dtype(x).dtype) + 1
    powers = [like_operands(ones, [x])]
    for _ in range(count - 1):
        powers.append(powers[-1] * x)
    powers = powers[:count] if increasing else powers[:count][::-1]
    return stack(powers, 1) if count else getitem(expand_dims(x, 1), (slice(None), slice(0, 0)))


def roots(p: Any) -> Any:
    """The roots of a polynomial, whose first and last coefficients are not 0.

    They are the eigenvalues of its companion matrix, and so is their derivative: it exists where
    the roots differ.
    """
    from gpugrad.ops.eigen import eigvals

    (p,) = _coefficients(p)
    p = p if is_inexact(shape_dtype(p).dtype) else p * 1.0
    n = shape_dtype(p).shape[0] - 1
    if n < 1:
        return getitem(p, slice(0, 0))
    top = expand_dims(-getitem(p, slice(1, None)) / getitem(p, 0), 0)
    _, below = as_arrays(p, np.eye(n - 1, n).tolist())
    return eigvals(concatenate([top, cast(below, shape_dtype(top).dtype)], 0) if n > 1 else top)


def polyfit(
    x: Any,
    y: Any,
    deg: int,
    rcond: Any = None,
    full: bool = False,
    w: Any = None,
    cov: Any = False,
) -> Any:
    """The polynomial of degree ``deg`` that fits the points ``(x, y)`` best in least squares.

    Parameters
    ----------
    x, y
        The points; ``y`` may be 2-D with a column for each fit.
    deg
        The degree.
    rcond
        The least singular value that counts, as a share of the largest.
    full
        Return residuals, rank, singular values and ``rcond`` too.
    w
        What the distance at each point is multiplied by.
    cov
        Return the covariance of the coefficients too; ``"unscaled"``: without the residuals'.
    """
    from gpugrad.ops.least_squares import lstsq
    from gpugrad.ops.solve import inv

    x, y = as_arrays(x, y)
    x, y = (v if is_inexact(shape_dtype(v).dtype) else v * 1.0 for v in (x, y))
    n = shape_dtype(x).shape[0]
    columns = vander(x, deg + 1)
    if w is not None:
        _, w = as_arrays(x, w)
        columns = columns * expand_dims(w, 1)
        y = y * (w if shape_dtype(y).ndim == 1 else expand_dims(w, 1))
    rcond = n * np.finfo(shape_dtype(x).dtype).eps if rcond is None else rcond
    scale = sqrt(sum(columns * columns, 0))
    columns = columns / scale
    c, resids, rank, s = lstsq(columns, y, rcond)
    c = c / (scale if shape_dtype(c).ndim == 1 else expand_dims(scale, 1))
    if full:
        return c, resids, rank, s, rcond
    if not cov:
        return c
    base = inv(columns.mT @ columns) / (expand_dims(scale, 1) * expand_dims(scale, 0))
    if cov != "unscaled":
        base = _times(base, resids / (n - (deg + 1)), shape_dtype(y).ndim)
    return c, base


def _times(base: Any, factor: Any, ndim: int) -> Any:
    return base * factor if ndim == 1 else expand_dims(base, 2) * factor
