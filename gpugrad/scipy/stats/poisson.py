"""The Poisson distribution: ``mu**k exp(-mu) / k!`` for ``k - loc`` = 0, 1, 2 and on."""

from __future__ import annotations

import math
from typing import Any

from gpugrad.ops.elementwise import exp, floor, log, where
from gpugrad.ops.entropy import xlogy
from gpugrad.ops.gamma import gammainc, gammaincc, gammaln
from gpugrad.ops.special import beside
from gpugrad.scipy.stats.standard import floating, takes_lists


def pmf(k: Any, mu: Any, loc: Any = 0) -> Any:
    """Probability of ``k``."""
    return exp(logpmf(k, mu, loc))


@takes_lists
def logpmf(k: Any, mu: Any, loc: Any = 0) -> Any:
    """Logarithm of `pmf`."""
    n = floating(k - loc)
    mu = beside(mu, n)
    inside = (n >= 0) & (n == floor(n))
    n = where(inside, n, 0)
    return where(inside, xlogy(n, mu) - gammaln(n + 1) - mu, -math.inf)


@takes_lists
def cdf(k: Any, mu: Any, loc: Any = 0) -> Any:
    """Probability of at most ``k``: ``gammaincc(k + 1, mu)``, DLMF 8.4.10."""
    n = floor(floating(k - loc))
    inside = n >= 0
    return where(inside, gammaincc(where(inside, n, 0) + 1, beside(mu, n)), 0)


@takes_lists
def sf(k: Any, mu: Any, loc: Any = 0) -> Any:
    """Probability of more than ``k``."""
    n = floor(floating(k - loc))
    inside = n >= 0
    return where(inside, gammainc(where(inside, n, 0) + 1, beside(mu, n)), 1)


def logcdf(k: Any, mu: Any, loc: Any = 0) -> Any:
    """Logarithm of `cdf`."""
    return log(cdf(k, mu, loc))


def logsf(k: Any, mu: Any, loc: Any = 0) -> Any:
    """Logarithm of `sf`."""
    return log(sf(k, mu, loc))
