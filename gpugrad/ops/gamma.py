"""The gamma and beta functions and their kin. References are to DLMF, https://dlmf.nist.gov."""

from __future__ import annotations

import math
from collections.abc import Callable
from operator import index
from typing import Any

import numpy as np

from gpugrad.core.abstract import shape_dtype
from gpugrad.core.primitive import Primitive
from gpugrad.ops.elementwise import exp, log, log1p, sign
from gpugrad.ops.entropy import xlog1py, xlogy
from gpugrad.ops.incomplete import betainc_slope, gammainc_slope
from gpugrad.ops.special import (
    Special,
    beside,
    binary,
    in_precision,
    library,
    no_derivative,
    precision,
    unary,
)

# 5.2.2: psi is the logarithmic derivative of gamma.
gamma = unary("gamma", lambda g, x, y: g * (y * digamma(x)))
rgamma = unary("rgamma", lambda g, x, y: -g * (y * digamma(x)))
gammaln: Primitive = unary("gammaln", lambda g, x: g * digamma(x))
loggamma = unary("loggamma", lambda g, x: g * digamma(x))
digamma: Primitive = unary("digamma", lambda g, x: g * polygamma(1, x))
gammasgn = unary("gammasgn", None)


def _polygamma(xp: Any, n: Any, x: Any) -> Any:
    """5.15.1 and 25.11.12, in the precision of ``x``."""
    x = in_precision(x, precision([shape_dtype(x)]))
    if not isinstance(n, int):
        return in_precision(library(xp, "polygamma")(n, x), x.dtype)
    if n == 0:
        return library(xp, "digamma")(x)
    order = x.dtype.type(n + 1)
    return library(xp, "zeta")(order, x) * float(math.factorial(n) * (-1) ** (n + 1))


polygamma: Primitive = binary(
    "polygamma",
    "n x",
    no_derivative("polygamma", "n"),
    lambda g, n, x: g * polygamma(n + 1, x),
    _polygamma,
)
"""The ``n``-th derivative of `digamma`."""

zeta: Primitive = binary(  # 25.11.17
    "zeta",
    "x q",
    no_derivative("zeta", "x"),
    lambda g, x, q: g * (-x * zeta(x + 1, q)),
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


gammainc_by_a = binary(
    "gammainc_by_a",
    "a x",
    no_derivative("gammainc_by_a", "a"),
    lambda g, a, x: g * (_density(a, x) * (log(x) - digamma(beside(a, x)))),
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
    a, b = beside(a, x), beside(b, x)
    return _beta_density(a, b, x) * (log(x) - digamma(a) + digamma(a + b))


betainc_by_a = Special(
    "betainc_by_a",
    "a b x",
    (
        no_derivative("betainc_by_a", "a"),
        no_derivative("betainc_by_a", "b"),
        lambda g, a, b, x: g * _beta_density_by_a(a, b, x),
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


def log_t_density(df: Any, t: Any) -> Any:
    """Logarithm of the density of Student's t distribution."""
    df = beside(df, t)
    half = df / 2
    norm = betaln(half, beside(0.5, half)) + 0.5 * log(df)
    return -(half + 0.5) * log1p(t * t / df) - norm


def _stdtr(xp: Any, df: Any, t: Any) -> Any:
    """CuPy has none: 26.7.1 of Abramowitz and Stegun, by the side that keeps its digits."""
    dtype = precision([shape_dtype(df), shape_dtype(t)])
    df, t = in_precision(df, dtype), in_precision(t, dtype)
    if xp is np:
        return library(xp, "stdtr")(df, t)
    betainc, half, square = library(xp, "betainc"), dtype.type(0.5), t * t
    tail = half * betainc(half * df, half, df / (df + square))
    middle = half * betainc(half, half * df, square / (df + square))
    return xp.where(square < df, half + xp.sign(t) * middle, xp.where(t > 0, 1 - tail, tail))


def _t_by_df(df: Any, t: Any) -> Any:
    """Of ``betainc(df / 2, 1 / 2, z) / 2``, ``z = df / (df + t**2)``, by both of its operands."""
    half, square = beside(df, t) / 2, df + t * t
    z = df / square
    by_z = t * exp((half - 1) * log(z) - 1.5 * log(square) - betaln(half, beside(0.5, z)))
    return -0.25 * sign(t) * betainc_by_a(half, 0.5, z) - 0.5 * by_z


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
