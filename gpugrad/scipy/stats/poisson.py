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
    outside = (n < 0) | (floor(n) < n)  # which NaN is not
    n = where(outside, 0, n)
    return where(outside, -math.inf, xlogy(n, mu) - gammaln(n + 1) - mu)


@takes_lists
def cdf(k: Any, mu: Any, loc: Any = 0) -> Any:
    """Probability of at most ``k``: ``gammaincc(k + 1, mu)``, DLMF 8.4.10."""
    n = floor(floating(k - loc))
    outside = n < 0
    return where(outside, 0, gammaincc(where(outside, 0, n) + 1, beside(mu, n)))


@takes_lists
def sf(k: Any, mu: Any, loc: Any = 0) -> Any:
    """Probability of more than ``k``."""
    n = floor(floating(k - loc))
    outside = n < 0
    return where(outside, 1, gammainc(where(outside, 0, n) + 1, beside(mu, n)))


def logcdf(k: Any, mu: Any, loc: Any = 0) -> Any:
    """Logarithm of `cdf`."""
    return log(cdf(k, mu, loc))


def logsf(k: Any, mu: Any, loc: Any = 0) -> Any:
    """Logarithm of `sf`."""
    return log(sf(k, mu, loc))
