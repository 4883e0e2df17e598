"""The gamma and beta functions and their kin. References are to DLMF, https://dlmf.nist.gov."""

from __future__ import annotations

import math
from collections.abc import Callable
from operator import index
from typing import Any, NoReturn

import numpy as np

from gpugrad.core.abstract import shape_dtype
from gpugrad.core.primitive import Primitive, Rule
from gpugrad.ops.complex import real
from gpugrad.ops.elementwise import cos, exp, log, log1p, sign, sin, where
from gpugrad.ops.entropy import xlog1py, xlogy
from gpugrad.ops.incomplete import (
    betainc_bend,
    betainc_slope,
    betainc_twist,
    gammainc_bend,
    gammainc_slope,
)
from gpugrad.ops.special import (
    Special,
    beside,
    binary,
    in_precision,
    library,
    no_derivative,
    precision,
    refuse_complex,
    unary,
)

_LOG_ROOT_TWO_PI = 0.5 * math.log(2 * math.pi)

# 5.2.2: psi is the logarithmic derivative of gamma.
gamma: Primitive = unary("gamma", lambda g, x, y: g * (y * digamma(x)))
rgamma = unary("rgamma", lambda g, x, y: g * _rgamma_slope(x, y))
gammaln: Primitive = unary("gammaln", lambda g, x: g * digamma(x))
loggamma = unary("loggamma", lambda g, x: g * digamma(x))
digamma: Primitive = unary("digamma", lambda g, x: g * polygamma(1, x))
gammasgn = unary("gammasgn", None)


def _rgamma_slope(x: Any, y: Any) -> Any:
    """``-y psi(x)``, left of 0 by the reflection 5.5.3: at the poles of gamma it is finite."""
    left = real(x) <= 0
    mirror = where(left, 1 - x, 1)
    turn = math.pi * where(left, x, 0)
    reflected = gamma(mirror) * (cos(turn) - digamma(mirror) * sin(turn) / math.pi)
    return where(left, reflected, -(y * digamma(where(left, 1, x))))


def _polygamma(xp: Any, n: Any, x: Any) -> Any:
    """5.15.1 and 25.11.12, in the precision of ``x``."""
    x = in_precision(x, precision([shape_dtype(x)]))
    if x.dtype.kind == "c":
        raise TypeError(
            "polygamma takes no complex numbers, so that digamma has no derivative and loggamma "
            "no second one there"
        )
    if not isinstance(n, int):
        return in_precision(library(xp, "polygamma")(n, x), x.dtype)
    if n == 0:
        return library(xp, "digamma")(x)
    order = x.dtype.type(n + 1)
    factor = float(math.factorial(n)) if n <= 170 else math.inf
    return library(xp, "zeta")(order, x) * (factor if n % 2 else -factor)


polygamma: Primitive = binary(
    "polygamma",
    "n x",
    no_derivative("polygamma", "n"),
    lambda g, n, x: g * polygamma(n + 1, x),
    _polygamma,
)
"""The ``n``-th derivative of `digamma`."""


def _zeta(xp: Any, x: Any, q: Any) -> Any:
    """SciPy's, which knows complex ``x`` with ``q = 1`` only, and then by not being given it."""
    dtype = precision([shape_dtype(x), shape_dtype(q)])
    found, x = library(xp, "zeta"), in_precision(x, dtype)
    if dtype.kind != "c":
        return found(x, in_precision(q, dtype))
    if xp is not np or not (isinstance(q, int | float) and q == 1):
        refuse_complex("Hurwitz's zeta" if xp is np else "cupyx.scipy.special.zeta", [x])
    return found(x)


zeta: Primitive = binary(  # 25.11.17
    "zeta",
    "x q",
    no_derivative("zeta", "x"),
    lambda g, x, q: g * (-x * zeta(x + 1, q)),
    _zeta,
)
"""Hurwitz's zeta function: the sum of ``(k + q)**-x`` over k from 0."""


def _density(a: Any, x: Any) -> Any:
    """8.8.13: the slope of `gammainc` by ``x``, the density of the gamma distribution."""
    a = beside(a, x)
    return exp(xlogy(a - 1, x) - x - gammaln(a))


def _in_double(slope: Callable[..., Any]) -> Callable[..., Any]:
    def impl(xp: Any, *values: Any) -> Any:
        dtype = precision([shape_dtype(v) for v in values])
        wide = [in_precision(v, np.dtype(float)) for v in values]
        return in_precision(slope(xp, *wide), dtype)

    return impl


def _no_third(name: str, users: str) -> Rule:
    """A rule that says that the parameters have first and second derivatives only."""

    def rule(g: Any) -> NoReturn:
        raise TypeError(
            f"{name}, of which {users} are made, has first and second derivatives with respect to "
            "its parameters, by power series, but no third ones: take differences of the second, "
            "or pass a constant, such as gg.stop_gradient(a)"
        )

    return rule


gammainc_by_aa = binary(
    "gammainc_by_aa",
    "a x",
    _no_third("gammainc", "gamma.cdf, chi2.cdf and poisson.cdf"),
    lambda g, a, x: g * (_density(a, x) * (_density_by_a(a, x) ** 2 - polygamma(1, beside(a, x)))),
    _in_double(gammainc_bend),
)
"""The second derivative of `gammainc` in ``a``."""


def _density_by_a(a: Any, x: Any) -> Any:
    """The slope of the logarithm of `_density`."""
    return log(x) - digamma(beside(a, x))


gammainc_by_a = binary(
    "gammainc_by_a",
    "a x",
    lambda g, a, x: g * gammainc_by_aa(a, x),
    lambda g, a, x: g * (_density(a, x) * _density_by_a(a, x)),
    _in_double(gammainc_slope),
)
"""The derivative of `gammainc` in ``a``."""

gammainc = binary(
    "gammainc",
    "a x",
    lambda g, a, x: g * gammainc_by_a(a, x),
    lambda g, a, x: g * _density(a, x),
)
gammaincc = binary(
    "gammaincc",
    "a x",
    lambda g, a, x: -g * gammainc_by_a(a, x),
    lambda g, a, x: -g * _density(a, x),
)

# 5.12.1
beta = binary(
    "beta",
    "a b",
    lambda g, a, b, y: g * (y * (digamma(a) - digamma(a + b))),
    lambda g, a, b, y: g * (y * (digamma(b) - digamma(a + b))),
)
betaln = binary(
    "betaln",
    "a b",
    lambda g, a, b: g * (digamma(a) - digamma(a + b)),
    lambda g, a, b: g * (digamma(b) - digamma(a + b)),
)


def _beta_density(a: Any, b: Any, x: Any) -> Any:
    """8.17.1: the slope of `betainc` by ``x``, the density of the beta distribution."""
    a, b = beside(a, x), beside(b, x)
    return exp(xlogy(a - 1, x) + xlog1py(b - 1, -x) - betaln(a, b))


def _beta_density_by_a(a: Any, b: Any, x: Any) -> Any:
    """The slope of the logarithm of `_beta_density` by ``a``."""
    a, b = beside(a, x), beside(b, x)
    return log(x) - digamma(a) + digamma(a + b)


def _beta_density_by_aa(a: Any, b: Any, x: Any) -> Any:
    """Its second derivative over it."""
    a, b = beside(a, x), beside(b, x)
    return _beta_density_by_a(a, b, x) ** 2 + polygamma(1, a + b) - polygamma(1, a)


def _beta_density_by_ab(a: Any, b: Any, x: Any) -> Any:
    """Its derivative by both over it."""
    a, b = beside(a, x), beside(b, x)
    by_b = log1p(-x) - digamma(b) + digamma(a + b)
    return _beta_density_by_a(a, b, x) * by_b + polygamma(1, a + b)


_no_third_of_beta = _no_third("betainc", "beta.cdf and t.cdf")
betainc_by_aa = Special(
    "betainc_by_aa",
    "a b x",
    (
        _no_third_of_beta,
        _no_third_of_beta,
        lambda g, a, b, x: g * (_beta_density(a, b, x) * _beta_density_by_aa(a, b, x)),
    ),
    _in_double(betainc_bend),
)
"""The second derivative of `betainc` in ``a``."""

betainc_by_ab = Special(
    "betainc_by_ab",
    "a b x",
    (
        _no_third_of_beta,
        _no_third_of_beta,
        lambda g, a, b, x: g * (_beta_density(a, b, x) * _beta_density_by_ab(a, b, x)),
    ),
    _in_double(betainc_twist),
)
"""The derivative of `betainc` in ``a`` and ``b``."""

betainc_by_a = Special(
    "betainc_by_a",
    "a b x",
    (
        lambda g, a, b, x: g * betainc_by_aa(a, b, x),
        lambda g, a, b, x: g * betainc_by_ab(a, b, x),
        lambda g, a, b, x: g * (_beta_density(a, b, x) * _beta_density_by_a(a, b, x)),
    ),
    _in_double(betainc_slope),
)
"""The derivative of `betainc` in ``a``; that in ``b`` follows by 8.17.4."""

betainc = Special(
    "betainc",
    "a b x",
    (
        lambda g, a, b, x: g * betainc_by_a(a, b, x),
        lambda g, a, b, x: -g * betainc_by_a(b, a, 1 - x),
        lambda g, a, b, x: g * _beta_density(a, b, x),
    ),
)


def _log_t_norm(df: Any) -> Any:
    """``betaln(df / 2, 1 / 2) + log(df) / 2``; where they would cancel, as 5.11.8 has it.

    With infinitely many degrees of freedom it is that of the normal distribution.
    """
    many = df > 60
    r = 1 / where(many, df, 60)
    q = r * r
    series = r * (1 / 4 - q * (1 / 24 - q * (1 / 20 - q * (17 / 112))))
    few = where(many, 60, df)
    half = few / 2
    exact = betaln(half, beside(0.5, half)) + 0.5 * log(few)
    return where(many, series + _LOG_ROOT_TWO_PI, exact)


def log_t_density(df: Any, t: Any) -> Any:
    """Logarithm of the density of Student's t distribution; of the normal one for infinite df."""
    df = beside(df, t)
    normal = df == math.inf
    df = where(normal, 1, df)
    tail = where(normal, 0.5 * (t * t), (df / 2 + 0.5) * log1p(t * t / df))
    return -tail - _log_t_norm(where(normal, math.inf, df))


def _stdtr(xp: Any, df: Any, t: Any) -> Any:
    """CuPy has none: 26.7.1 of Abramowitz and Stegun, by the side that keeps its digits."""
    dtype = precision([shape_dtype(df), shape_dtype(t)])
    df, t = in_precision(df, dtype), in_precision(t, dtype)
    if xp is np:
        return library(xp, "stdtr")(df, t)
    betainc, half, square = library(xp, "betainc"), dtype.type(0.5), t * t
    tail = half * betainc(half * df, half, df / (df + square))
    middle = half * betainc(half, half * df, square / (df + square))
    few = xp.where(square < df, half + xp.sign(t) * middle, xp.where(t > 0, 1 - tail, tail))
    few = xp.where(df > 0, few, math.nan)
    return xp.where(df > 3000, _nearly_normal(xp, df, t), few)


def _nearly_normal(xp: Any, df: Any, t: Any) -> Any:
    """Hill 1970, "Algorithm 395: Student's t-distribution", for many degrees of freedom."""
    a = xp.maximum(df, 3000) - 0.5
    spread = xp.where(df == math.inf, t * t, a * xp.log1p(t * t / (a + 0.5)))
    z = xp.minimum(xp.sqrt(spread), 40)  # beyond that nothing is left
    b = 48 * a * a
    cube, square = z**3, z * z
    last = cube * (4 * square * square + 33 * square + 240) + 855 * z
    z = z + (cube + 3 * z) / b - last / (10 * b * (b + 0.8 * square * square + 100))
    return library(xp, "ndtr")(xp.copysign(z, t))


def _t_by_df(df: Any, t: Any) -> Any:
    """Of ``betainc(df / 2, 1 / 2, z) / 2``, ``z = df / (df + t**2)``, by both of its operands."""
    many = df > 3000
    few = beside(where(many, 3000, df), t)
    half, square = few / 2, few + t * t
    z = few / square
    by_z = t * exp((half - 1) * log(z) - 1.5 * log(square) - betaln(half, beside(0.5, z)))
    exact = -0.25 * sign(t) * betainc_by_a(half, 0.5, z) - 0.5 * by_z
    return where(many, _t_by_many(beside(where(many, df, 3000), t), t), exact)


def _t_by_many(df: Any, t: Any) -> Any:
    """By the distribution's expansion about the normal one in powers of 1 / df (Fisher 1925)."""
    t = where(t * t < 1500, t, 0)
    s, r = t * t, 1 / df
    first = (s + 1) / 4
    second = (((3 * s - 7) * s - 5) * s - 3) / 96
    third = (((((s - 11) * s + 14) * s + 6) * s - 3) * s - 15) / 384
    fourth = ((((((15 * s - 375) * s + 2225) * s - 2141) * s - 939) * s - 213) * s + 915) * s + 945
    terms = first + r * (2 * second + r * (3 * third + r * (fourth / 23040)))
    return r * r * t * terms * exp(-0.5 * s - _LOG_ROOT_TWO_PI)


stdtr = binary(
    "stdtr",
    "df t",
    lambda g, df, t: g * _t_by_df(df, t),
    lambda g, df, t: g * exp(log_t_density(df, t)),
    _stdtr,
)
"""Student's t distribution with ``df`` degrees of freedom, up to ``t``."""

poch = binary(  # 5.2.5
    "poch",
    "z m",
    lambda g, z, m, y: g * (y * (digamma(z + m) - digamma(z))),
    lambda g, z, m, y: g * (y * digamma(z + m)),
)

psi = digamma


def multigammaln(a: Any, d: int) -> Any:
    """Logarithm of the gamma function of ``d`` dimensions (35.3.4)."""
    count = index(d)
    if count < 1:
        raise ValueError(f"multigammaln: d is a number of dimensions, at least 1, got {d}")
    total = gammaln(a)
    for j in range(1, count):
        total = total + gammaln(a - 0.5 * j)
    return total + 0.25 * count * (count - 1) * math.log(math.pi)
