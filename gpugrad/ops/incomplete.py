"""Derivatives of the incomplete gamma and beta functions in their parameters.

SciPy has no function for them. Both are power series whose terms are differentiated one by one
(DLMF 8.7.1 and 8.17.8): a term's derivative is the term times a difference of digamma functions,
which goes on by ``psi(z + 1) = psi(z) + 1 / z``. They are summed in double precision until the
terms no longer count: in NumPy for all elements together, on CUDA in one kernel, which loops for
each element.

Second derivatives in the parameters are not there and say so; in ``x`` they are.
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


@cache
def _kernel(xp: Any) -> Any:
    names = ("w", "s", "x", "p", "r", "q", "u", "v")
    operands = ", ".join(f"float64 {name}" for name in names)
    return xp.ElementwiseKernel(operands, "float64 y", _SERIES, "gpugrad_series_slope")


def _sum(xp: Any, *operands: Any) -> Any:
    """The sum over k of ``w_k s_k``.

    ``w`` goes on by the factor ``x (p + r k) / (q + k)``, ``s`` by ``u / (p + r k) - v / (q + k)``.
    """
    if xp is not np:
        return _kernel(xp)(*operands)
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


def gammainc_slope(xp: Any, a: Any, x: Any) -> Any:
    """The derivative of ``gammainc(a, x)`` in ``a``."""
    inside = (x > 0) & (x < np.inf)
    x = xp.where(inside, x, 1.0)
    w = xp.exp(a * xp.log(x) - x - library(xp, "gammaln")(a + 1))
    s = xp.log(x) - library(xp, "digamma")(a + 1)
    return xp.where(inside, _sum(xp, w, s, x, 1.0, 0.0, a + 1, 0.0, 1.0), 0.0)


def betainc_slope(xp: Any, a: Any, b: Any, x: Any) -> Any:
    """The derivative of ``betainc(a, b, x)`` in ``a``.

    Right of the mean the series is that of ``betainc(b, a, 1 - x)``, which is 1 minus it.
    """
    inside = (x > 0) & (x < 1)
    x = xp.where(inside, x, 0.5)
    swap = x > (a + 1) / (a + b + 2)
    first, second = xp.where(swap, b, a), xp.where(swap, a, b)
    log_x, log_rest = xp.log(x), xp.log1p(-x)
    z = xp.where(swap, 1 - x, x)
    log_z, log_other = xp.where(swap, log_rest, log_x), xp.where(swap, log_x, log_rest)
    digamma, total = library(xp, "digamma"), a + b
    log_beta = library(xp, "betaln")(first, second)
    w = xp.exp(first * log_z + second * log_other - log_beta) / first
    s = digamma(total) + log_x - xp.where(swap, digamma(a), digamma(a + 1))
    y = _sum(xp, w, s, z, total, 1.0, first + 1, 1.0, xp.where(swap, 0.0, 1.0))
    return xp.where(inside, xp.where(swap, -y, y), 0.0)
