"""The chi-squared distribution: the gamma distribution with ``a = df / 2`` and twice the scale."""

from __future__ import annotations

from typing import Any

from gpugrad.scipy.stats import gamma
from gpugrad.scipy.stats.standard import takes_lists


@takes_lists
def pdf(x: Any, df: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """Probability density."""
    return gamma.pdf(x, df / 2, loc, scale * 2)


@takes_lists
def logpdf(x: Any, df: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """Logarithm of the density."""
    return gamma.logpdf(x, df / 2, loc, scale * 2)


@takes_lists
def cdf(x: Any, df: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """Probability of at most ``x``."""
    return gamma.cdf(x, df / 2, loc, scale * 2)


@takes_lists
def sf(x: Any, df: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """Probability of more than ``x``."""
    return gamma.sf(x, df / 2, loc, scale * 2)


@takes_lists
def logcdf(x: Any, df: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """Logarithm of `cdf`."""
    return gamma.logcdf(x, df / 2, loc, scale * 2)


@takes_lists
def logsf(x: Any, df: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """Logarithm of `sf`."""
    return gamma.logsf(x, df / 2, loc, scale * 2)


@takes_lists
def entropy(df: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """Differential entropy."""
    return gamma.entropy(df / 2, loc, scale * 2)
