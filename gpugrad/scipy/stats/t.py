"""Student's t distribution: ``(1 + z**2 / df)**(-(df + 1) / 2) / (sqrt(df) beta(df / 2, 1 / 2))``.

``z = (x - loc) / scale``. The distribution function has first and second derivatives in ``df``, by
power series, and no third ones.
"""

from __future__ import annotations

from typing import Any

from gpugrad.ops.elementwise import exp, log
from gpugrad.ops.gamma import betaln, digamma, log_t_density, stdtr
from gpugrad.ops.special import beside
from gpugrad.scipy.stats.standard import standard, takes_lists


def pdf(x: Any, df: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """Probability density."""
    return exp(logpdf(x, df, loc, scale))


@takes_lists
def logpdf(x: Any, df: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """Logarithm of the density."""
    z, scale = standard(x, loc, scale)
    return log_t_density(df, z) - log(scale)


@takes_lists
def cdf(x: Any, df: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """Probability of at most ``x``."""
    return stdtr(df, standard(x, loc, scale)[0])


@takes_lists
def sf(x: Any, df: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """Probability of more than ``x``."""
    return stdtr(df, -standard(x, loc, scale)[0])


def logcdf(x: Any, df: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """Logarithm of `cdf`."""
    return log(cdf(x, df, loc, scale))


def logsf(x: Any, df: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """Logarithm of `sf`."""
    return log(sf(x, df, loc, scale))


@takes_lists
def entropy(df: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """Differential entropy."""
    half, rest = (df + 1) / 2, df / 2
    spread = half * (digamma(half) - digamma(rest))
    return spread + 0.5 * log(df) + betaln(rest, beside(0.5, rest)) + log(beside(scale, df))
