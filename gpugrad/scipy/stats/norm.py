"""The normal distribution: ``exp(-z**2 / 2) / (sqrt(2 pi) scale)``, ``z = (x - loc) / scale``."""

from __future__ import annotations

import math
from typing import Any

from gpugrad.ops.elementwise import exp, log, square
from gpugrad.ops.erf import log_ndtr, ndtr, ndtri
from gpugrad.scipy.stats.standard import standard, takes_lists

_LOG_ROOT_TWO_PI = 0.5 * math.log(2 * math.pi)


def pdf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """Probability density."""
    return exp(logpdf(x, loc, scale))


@takes_lists
def logpdf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """Logarithm of the density."""
    z, scale = standard(x, loc, scale)
    return -0.5 * square(z) - (log(scale) + _LOG_ROOT_TWO_PI)


@takes_lists
def cdf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """Probability of at most ``x``."""
    return ndtr(standard(x, loc, scale)[0])


@takes_lists
def logcdf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """Logarithm of `cdf`, exact far out to the left."""
    return log_ndtr(standard(x, loc, scale)[0])


@takes_lists
def sf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """Probability of more than ``x``."""
    return ndtr(-standard(x, loc, scale)[0])


@takes_lists
def logsf(x: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """Logarithm of `sf`, exact far out to the right."""
    return log_ndtr(-standard(x, loc, scale)[0])


@takes_lists
def ppf(q: Any, loc: Any = 0, scale: Any = 1) -> Any:
    """The point whose `cdf` is ``q``."""
    return ndtri(q) * scale + loc


@takes_lists
def entropy(loc: Any = 0, scale: Any = 1) -> Any:
    """Differential entropy."""
    return log(standard(loc, loc, scale)[1]) + (_LOG_ROOT_TWO_PI + 0.5)
