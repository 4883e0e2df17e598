"""Derivatives of the incomplete gamma and beta functions in their parameters.

SciPy has no function for them. Both are power series whose terms are differentiated one by one
(DLMF 8.7.1 and 8.17.8): a term's derivative is the term times a difference of digamma functions,
which goes on by ``psi(z + 1) = psi(z) + 1 / z``. They are summed in double precision until the
terms no longer count: in NumPy for all elements together, on CUDA in one kernel, which loops for
each element.

A second derivative of a term is the term times the product of two such differences and a
difference of trigamma functions, which goes on by ``psi'(z + 1) = psi'(z) - 1 / z**2``. Third
derivatives in the parameters are not there and say so; in ``x`` they are.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from gpugrad.ops.special import library

_SERIES = """
    double term = w, slope = s, sum = 0, top = 0;
    for (int k = 0; k < 1000000; ++k) {
        double size = term * (fabs(slope) + 1), upper = p + r * k, lower = q + k;
        double factor = x * upper / lower;
        sum += term * slope;
        top = fmax(top, size);
        if (term == 0 || (factor < 1 && size <= 1e-17 * top)) break;
        term *= factor;
        slope += u / upper - v / lower;
    }
    y = sum;
"""


_BEND = """
    double term = w, one = s, two = t, bend = d, sum = 0, top = 0;
    for (int k = 0; k < 1000000; ++k) {
        double factor_of = one * two + bend, size = term * (fabs(factor_of) + 1);
        double upper = p + r * k, lower = q + k, factor = x * upper / lower;
        sum += term * factor_of;
        top = fmax(top, size);
        if (term == 0 || (factor < 1 && size <= 1e-17 * top)) break;
        term *= factor;
        one += u / upper - v / lower;
        two += u / upper - v2 / lower;
        bend += v * v2 / (lower * lower) - u / (upper * upper);
    }
    y = sum;
"""


@cache
def _kernel(xp: Any, code: str, names: str) -> Any:
    operands = ", ".join(f"float64 {name}" for name in names.split())
    return xp.ElementwiseKernel(operands, "float64 y", code, "gpugrad_series")


def _sum(xp: Any, *operands: Any) -> Any:
    """The sum over k of ``w_k s_k``.

    ``w`` goes on by the factor ``x (p + r k) / (q + k)``, ``s`` by ``u / (p + r k) - v / (q + k)``.
    """
    if xp is not np:
        return _kernel(xp, _SERIES, "w s x p r q u v")(*operands)
    w, s, x, p, r, q, u, v = np.broadcast_arrays(*operands)
    total, top = np.zeros(w.shape), np.zeros(w.shape)
    for k in range(1_000_000):
        size = w * (np.abs(s) + 1)
        factor = x * (p + r * k) / (q + k)
        total = total + w * s
        top = np.maximum(top, size)
        # What is NaN stays so.
        if not np.any((w != 0) & ~((factor < 1) & (size <= 1e-17 * top)) & np.isfinite(size)):
            break
        w = w * factor
        s = s + u / (p + r * k) - v / (q + k)
    return total[()]


def _bend(xp: Any, *operands: Any) -> Any:
    """The sum over k of ``w_k (s_k t_k + d_k)``.

    ``w`` goes on as in `_sum`, ``s`` by ``u / (p + r k) - v / (q + k)``, ``t`` by that with ``v2``,
    and ``d`` by ``v v2 / (q + k)**2 - u / (p + r k)**2``.
    """
    if xp is not np:
        return _kernel(xp, _BEND, "w s t d x p r q u v v2")(*operands)
    w, s, t, d, x, p, r, q, u, v, v2 = np.broadcast_arrays(*operands)
    total, top = np.zeros(w.shape), np.zeros(w.shape)
    for k in range(1_000_000):
        part = s * t + d
        size = w * (np.abs(part) + 1)
        upper, lower = p + r * k, q + k
        factor = x * upper / lower
        total = total + w * part
        top = np.maximum(top, size)
        if not np.any((w != 0) & ~((factor < 1) & (size <= 1e-17 * top)) & np.isfinite(size)):
            break
        w = w * factor
        s, t = s + u / upper - v / lower, t + u / upper - v2 / lower
        d = d + v * v2 / (lower * lower) - u / (upper * upper)
    return total[()]


def _trigamma(xp: Any, x: Any) -> Any:
    return library(xp, "zeta")(2.0, x)


def gammainc_bend(xp: Any, a: Any, x: Any) -> Any:
    """The second derivative of ``gammainc(a, x)`` in ``a``."""
    inside = (x > 0) & (x < np.inf)
    x = xp.where(inside, x, 1.0)
    w = xp.exp(a * xp.log(x) - x - library(xp, "gammaln")(a + 1))
    s = xp.log(x) - library(xp, "digamma")(a + 1)
    y = _bend(xp, w, s, s, -_trigamma(xp, a + 1), x, 1.0, 0.0, a + 1, 0.0, 1.0, 1.0)
    return xp.where(inside, y, 0.0)


def gammainc_slope(xp: Any, a: Any, x: Any) -> Any:
    """The derivative of ``gammainc(a, x)`` in ``a``."""
    inside = (x > 0) & (x < np.inf)
    x = xp.where(inside, x, 1.0)
    w = xp.exp(a * xp.log(x) - x - library(xp, "gammaln")(a + 1))
    s = xp.log(x) - library(xp, "digamma")(a + 1)
    return xp.where(inside, _sum(xp, w, s, x, 1.0, 0.0, a + 1, 0.0, 1.0), 0.0)


def betainc_slope(xp: Any, a: Any, b: Any, x: Any) -> Any:
    """The derivative of ``betainc(a, b, x)`` in ``a``."""
    inside, swap, w, z, first = _beta_series(xp, a, b, x)
    y = _sum(xp, w, _by_a(xp, a, b, x, swap), z, a + b, 1.0, first + 1, 1.0, _own(xp, ~swap))
    return xp.where(inside, xp.where(swap, -y, y), 0.0)


def betainc_bend(xp: Any, a: Any, b: Any, x: Any) -> Any:
    """The second derivative of ``betainc(a, b, x)`` in ``a``."""
    inside, swap, w, z, first = _beta_series(xp, a, b, x)
    s, own = _by_a(xp, a, b, x, swap), _own(xp, ~swap)
    d = _trigamma(xp, a + b) - _trigamma(xp, xp.where(swap, a, a + 1))
    y = _bend(xp, w, s, s, d, z, a + b, 1.0, first + 1, 1.0, own, own)
    return xp.where(inside, xp.where(swap, -y, y), 0.0)


def betainc_twist(xp: Any, a: Any, b: Any, x: Any) -> Any:
    """The derivative of ``betainc(a, b, x)`` in ``a`` and in ``b``."""
    inside, swap, w, z, first = _beta_series(xp, a, b, x)
    s, t = _by_a(xp, a, b, x, swap), _by_a(xp, b, a, 1 - x, ~swap)
    d = _trigamma(xp, a + b)
    y = _bend(xp, w, s, t, d, z, a + b, 1.0, first + 1, 1.0, _own(xp, ~swap), _own(xp, swap))
    return xp.where(inside, xp.where(swap, -y, y), 0.0)


def _own(xp: Any, is_first: Any) -> Any:
    """1 for the parameter that the series counts up from, else 0."""
    return xp.where(is_first, 1.0, 0.0)


def _by_a(xp: Any, a: Any, b: Any, x: Any, swap: Any) -> Any:
    """The derivative of the first term's logarithm in ``a``."""
    digamma, x = library(xp, "digamma"), xp.where((x > 0) & (x < 1), x, 0.5)
    return digamma(a + b) + xp.log(x) - digamma(xp.where(swap, a, a + 1))


def _beta_series(xp: Any, a: Any, b: Any, x: Any) -> tuple[Any, Any, Any, Any, Any]:
    """Where there is a series, whether it is the other one, its first term, argument, parameter.

    Right of the mean the series is that of ``betainc(b, a, 1 - x)``, which is 1 minus it.
    """
    inside = (x > 0) & (x < 1)
    x = xp.where(inside, x, 0.5)
    swap = x > (a + 1) / (a + b + 2)
    first, second = xp.where(swap, b, a), xp.where(swap, a, b)
    log_x, log_rest = xp.log(x), xp.log1p(-x)
    log_z, log_other = xp.where(swap, log_rest, log_x), xp.where(swap, log_x, log_rest)
    log_beta = library(xp, "betaln")(first, second)
    w = xp.exp(first * log_z + second * log_other - log_beta) / first
    return inside, swap, w, xp.where(swap, 1 - x, x), first
