"""The beta distribution: ``z**(a - 1) (1 - z)**(b - 1) / (beta(a, b) scale)`` on (0, 1).

``z = (x - loc) / scale``. The distribution function has first and second derivatives in ``a``
and ``b``, by power series, and no third ones.
"""

from __future__ import annotations

import math
from typing import Any

from gpugrad.ops.elementwise import exp, log, where
from gpugrad.ops.entropy import xlog1py, xlogy
from gpugrad.ops.gamma import betainc, betaln, digamma
from gpugrad.ops.special import beside
from gpugrad.scipy.stats.standard import standard, takes_lists


def pdf(x: Any, a: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """Probability density."""
    return exp(logpdf(x, a, b, loc, scale))


@takes_lists
def logpdf(x: Any, a: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """Logarithm of the density."""
    z, scale = standard(x, loc, scale)
    a, b = beside(a, z), beside(b, z)
    outside = (z < 0) | (z > 1)  # which NaN is not
    z = where(outside, 0.5, z)
    value = xlogy(a - 1, z) + xlog1py(b - 1, -z) - betaln(a, b) - log(scale)
    return where(outside, -math.inf, value)


def _clipped(x: Any, loc: Any, scale: Any) -> Any:
    z, _ = standard(x, loc, scale)
    return where(z < 0, 0, where(z > 1, 1, z))


@takes_lists
def cdf(x: Any, a: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """Probability of at most ``x``."""
    return betainc(a, b, _clipped(x, loc, scale))


@takes_lists
def sf(x: Any, a: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """Probability of more than ``x``."""
    return betainc(b, a, 1 - _clipped(x, loc, scale))


def logcdf(x: Any, a: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """Logarithm of `cdf`."""
    return log(cdf(x, a, b, loc, scale))


def logsf(x: Any, a: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """Logarithm of `sf`."""
    return log(sf(x, a, b, loc, scale))


@takes_lists
def entropy(a: Any, b: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """Differential entropy."""
    a, b = beside(a, b), beside(b, a)
    inner = (a - 1) * digamma(a) + (b - 1) * digamma(b) - (a + b - 2) * digamma(a + b)
    return betaln(a, b) - inner + log(beside(scale, a))
