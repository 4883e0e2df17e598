"""The error function, the normal distribution and exponential integrals.

References are to DLMF, https://dlmf.nist.gov; ``ndtr`` and its kin are the error function at
``x / sqrt(2)``.
"""

from __future__ import annotations

import math
from typing import Any

from gpugrad.core.primitive import Primitive
from gpugrad.ops.elementwise import absolute, exp, square, where
from gpugrad.ops.special import binary, no_derivative, unary

_TWO_OVER_ROOT_PI = 2 / math.sqrt(math.pi)
_ROOT_TWO_PI = math.sqrt(2 * math.pi)
_ROOT_TWO_OVER_PI = math.sqrt(2 / math.pi)
_FAR = 30


def _far_series(h: Any) -> Any:
    """``h + 3 h**2 + 15 h**3 + 105 h**4 + ...``: what is left of 7.12.1 where its terms cancel."""
    return h * (1 + 3 * h * (1 + 5 * h * (1 + 7 * h * (1 + 9 * h * (1 + 11 * h * (1 + 13 * h))))))


def _erfcx_slope(x: Any, y: Any) -> Any:
    far = x > _FAR
    h = -0.5 / square(where(far, x, _FAR))
    return where(far, _TWO_OVER_ROOT_PI * _far_series(h), 2 * x * y - _TWO_OVER_ROOT_PI)


def _log_ndtr_slope(x: Any, y: Any) -> Any:
    """The density over `ndtr`; on the left both are small, and their ratio is one of erfcx."""
    left = x <= 0
    ratio = _ROOT_TWO_OVER_PI / erfcx(math.sqrt(0.5) * -where(left, x, 0))
    density = exp(-0.5 * square(where(left, 0, x)) - where(left, 0, y)) / _ROOT_TWO_PI
    return where(left, ratio, density)


def _dawsn_slope(x: Any, y: Any) -> Any:
    far = absolute(x) > _FAR
    h = 0.5 / square(where(far, x, _FAR))
    return where(far, -_far_series(h), 1 - 2 * x * y)


# 7.2.1, 7.2.2, 7.10.2
erf = unary("erf", lambda g, x: g * (_TWO_OVER_ROOT_PI * exp(-x * x)))
erfc = unary("erfc", lambda g, x: -g * (_TWO_OVER_ROOT_PI * exp(-x * x)))
erfcx = unary("erfcx", lambda g, x, y: g * _erfcx_slope(x, y))
erfinv = unary("erfinv", lambda g, y: g * (exp(y * y) / _TWO_OVER_ROOT_PI))
erfcinv = unary("erfcinv", lambda g, y: -g * (exp(y * y) / _TWO_OVER_ROOT_PI))
erfi = unary("erfi", lambda g, x: g * (_TWO_OVER_ROOT_PI * exp(x * x)))
dawsn = unary("dawsn", lambda g, x, y: g * _dawsn_slope(x, y))

ndtr = unary("ndtr", lambda g, x: g * (exp(-0.5 * x * x) / _ROOT_TWO_PI))
ndtri = unary("ndtri", lambda g, y: g * (_ROOT_TWO_PI * exp(0.5 * y * y)))
log_ndtr = unary("log_ndtr", lambda g, x, y: g * _log_ndtr_slope(x, y))

# 6.2.1, 6.2.5, 8.19.13
exp1 = unary("exp1", lambda g, x: -g * (exp(-x) / x))
expi = unary("expi", lambda g, x: g * (exp(x) / x))
expn: Primitive = binary(
    "expn", "n x", no_derivative("expn", "n"), lambda g, n, x: -g * expn(n - 1, x)
)
