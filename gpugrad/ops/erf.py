"""The error function, the normal distribution and exponential integrals.

References are to DLMF, https://dlmf.nist.gov; ``ndtr`` and its kin are the error function at
``x / sqrt(2)``.
"""

from __future__ import annotations

import math

from gpugrad.core.primitive import Primitive
from gpugrad.ops.elementwise import exp
from gpugrad.ops.special import binary, no_derivative, unary

_TWO_OVER_ROOT_PI = 2 / math.sqrt(math.pi)
_ROOT_TWO_PI = math.sqrt(2 * math.pi)

# 7.2.1, 7.2.2, 7.10.2
erf = unary("erf", lambda g, x: g * (_TWO_OVER_ROOT_PI * exp(-x * x)))
erfc = unary("erfc", lambda g, x: -g * (_TWO_OVER_ROOT_PI * exp(-x * x)))
erfcx = unary("erfcx", lambda g, x, y: g * (2 * x * y - _TWO_OVER_ROOT_PI))
erfinv = unary("erfinv", lambda g, y: g * (exp(y * y) / _TWO_OVER_ROOT_PI))
erfcinv = unary("erfcinv", lambda g, y: -g * (exp(y * y) / _TWO_OVER_ROOT_PI))
erfi = unary("erfi", lambda g, x: g * (_TWO_OVER_ROOT_PI * exp(x * x)))
dawsn = unary("dawsn", lambda g, x, y: g * (1 - 2 * x * y))

ndtr = unary("ndtr", lambda g, x: g * (exp(-0.5 * x * x) / _ROOT_TWO_PI))
ndtri = unary("ndtri", lambda g, y: g * (_ROOT_TWO_PI * exp(0.5 * y * y)))
log_ndtr = unary("log_ndtr", lambda g, x, y: g * (exp(-0.5 * x * x - y) / _ROOT_TWO_PI))

# 6.2.1, 6.2.5, 8.19.13
exp1 = unary("exp1", lambda g, x: -g * (exp(-x) / x))
expi = unary("expi", lambda g, x: g * (exp(x) / x))
expn: Primitive = binary(
    "expn", "n x", no_derivative("expn", "n"), lambda g, n, x: -g * expn(n - 1, x)
)
