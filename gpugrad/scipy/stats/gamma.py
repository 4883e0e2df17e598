"""The gamma distribution: ``z**(a - 1) exp(-z) / (gamma(a) scale)``, ``z = (x - loc) / scale``.

The distribution function has first and second derivatives in ``a``, by power series, and no third
ones.
"""

from __future__ import annotations

import math
from typing import Any

from gpugrad.ops.elementwise import exp, log, where
from gpugrad.ops.entropy import xlogy
from gpugrad.ops.gamma import digamma, gammainc, gammaincc, gammaln
from gpugrad.ops.special import beside
from gpugrad.scipy.stats.standard import standard, takes_lists


def pdf(x: Any, a: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """Probability density."""
    return exp(logpdf(x, a, loc, scale))


@takes_lists
def logpdf(x: Any, a: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """Logarithm of the density."""
    z, scale = standard(x, loc, scale)
    a = beside(a, z)
    outside = z < 0  # which NaN is not
    z = where(outside, 1, z)
    value = xlogy(a - 1, z) - z - gammaln(a) - log(scale)
    return where(outside, -math.inf, value)


@takes_lists
def cdf(x: Any, a: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """Probability of at most ``x``."""
    z, _ = standard(x, loc, scale)
    return gammainc(a, where(z <= 0, 0, z))


@takes_lists
def sf(x: Any, a: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """Probability of more than ``x``."""
    z, _ = standard(x, loc, scale)
    return gammaincc(a, where(z <= 0, 0, z))


def logcdf(x: Any, a: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """Logarithm of `cdf`."""
    return log(cdf(x, a, loc, scale))


def logsf(x: Any, a: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """Logarithm of `sf`."""
    return log(sf(x, a, loc, scale))


@takes_lists
def entropy(a: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """Differential entropy."""
    scale = beside(scale, a)
    return a + gammaln(a) + (1 - a) * digamma(a) + log(scale)
