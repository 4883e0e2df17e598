"""Bessel functions. References are to DLMF, https://dlmf.nist.gov.

The functions of orders 0 and 1 are CuPy's on CUDA. Of any order there are SciPy's on the CPU; on
CUDA there are those of integer orders, given as Python numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from gpugrad.core.abstract import shape_dtype
from gpugrad.core.primitive import Primitive
from gpugrad.ops.complex import is_complex
from gpugrad.ops.elementwise import absolute, exp, sign, where
from gpugrad.ops.special import (
    Special,
    binary,
    in_precision,
    library,
    no_derivative,
    precision,
    refuse_complex,
    unary,
)


def _over(y: Any, x: Any, h: Any, scale: Any = 1) -> Any:
    """``y / x`` of a function of order 1; near 0 its power series in ``h`` (10.2.2, 10.25.2).

    Of the quotient two derivatives would cancel there.
    """
    near = absolute(x) < 0.1
    h = where(near, h, 0)
    series = 0.5 + h * (1 / 4 + h * (1 / 24 + h * (1 / 288 + h / 5760)))
    return where(near, scale * series, y / where(near, 1, x))


@cache
def _kernel(xp: Any, operands: str, name: str, code: str) -> Any:
    return xp.ElementwiseKernel(operands, "T y", code, "gpugrad_" + name)


_SCALED = """
    // Far out I overflows and K is 0: their expansions, 10.40.1 and 10.40.2, without exp.
    double a = %(size)s, value = %(near)s;
    if (a > 30) {
        double term = sqrt(%(first)s / a);
        value = term;
        for (int k = 1; k < 18; ++k) {
            term *= %(sign)s((2 * k - 1) * (2 * k - 1) - %(square)d) / (8 * k * a);
            value += term;
        }
    }
    y = %(last)s;
"""


def _scaled(name: str) -> Callable[..., Any]:
    """I times exp(-abs(x)) or K times exp(x), which CuPy multiplies when it is too late."""
    rising, order = name[0] == "i", int(name[1])
    code = _SCALED % {
        "size": "fabs((double)x)" if rising else "x",
        "near": f"exp(-a) * cyl_bessel_{name}(a)" if rising else "scaled",
        "first": 1 / (2 * math.pi) if rising else math.pi / 2,
        "sign": "" if rising else "-",
        "square": 4 * order,
        "last": "x < 0 ? -value : value" if name == "i1" else "value",
    }

    def run(xp: Any, x: Any) -> Any:
        x = in_precision(x, precision([shape_dtype(x)]))
        scaled = library(xp, name + "e")
        if xp is np:
            return scaled(x)
        refuse_complex(f"{name}e on CUDA", [x])
        if rising:
            return _kernel(xp, "T x", name + "e", code)(x)
        return _kernel(xp, "T x, T scaled", name + "e", code)(x, scaled(x))

    return run


def _i1e_slope(x: Any, y: Any) -> Any:
    size = absolute(x)
    return i0e(x) - _over(y, x, 0.25 * x * x, exp(-size)) - sign(x) * y


# 10.6.2
j0: Primitive = unary("j0", lambda g, x: -g * j1(x))
j1: Primitive = unary("j1", lambda g, x, y: g * (j0(x) - _over(y, x, -0.25 * x * x)))
y0: Primitive = unary("y0", lambda g, x: -g * y1(x))
y1: Primitive = unary("y1", lambda g, x, y: g * (y0(x) - y / x))

# 10.29.2; those that end in e are scaled by exp(-abs(x)), or exp(x) for k.
i0: Primitive = unary("i0", lambda g, x: g * i1(x))
i1: Primitive = unary("i1", lambda g, x, y: g * (i0(x) - _over(y, x, 0.25 * x * x)))
i0e: Primitive = unary("i0e", lambda g, x, y: g * (i1e(x) - sign(x) * y), _scaled("i0"))
i1e: Primitive = unary("i1e", lambda g, x, y: g * _i1e_slope(x, y), _scaled("i1"))
k0: Primitive = unary("k0", lambda g, x: -g * k1(x))
k1: Primitive = unary("k1", lambda g, x, y: -g * (k0(x) + y / x))
k0e: Primitive = unary("k0e", lambda g, x, y: g * (y - k1e(x)), _scaled("k0"))
k1e: Primitive = unary("k1e", lambda g, x, y: g * (y - k0e(x) - y / x), _scaled("k1"))


_ORDERED = "int32 n, T x"

_MILLER = """
    // Downward recurrence from an order so high that I is small beside I_n, DLMF 3.6(ii), 10.29.1.
    double a = fabs((double)x);
    double above = 0, here = 1e-30, wanted = 0;
    for (int k = a < 1e-200 ? 0 : n + 10 + (int)(7 * sqrt(n + a)); k > 0; --k) {
        double below = above + 2 * k / a * here;
        above = here;
        here = below;
        if (k - 1 == n) wanted = here;
        if (here > 1e30) { here *= 1e-30; above *= 1e-30; wanted *= 1e-30; }
    }
    double share = a < 1e-200 ? (n == 0 ? 1 : n == 1 ? a / 2 : 0) : wanted / here;
    y = x < 0 && n % 2 ? -share : share;
"""
"""I_n(x) / I_0(x)."""


def _order(name: str, v: Any) -> int:
    if isinstance(v, int | float) and v == int(v):
        return int(v)
    raise NotImplementedError(
        f"{name}: CuPy has no Bessel functions of fractional orders and of arrays of orders, so on "
        f"CUDA the order is a Python integer; got {v!r}. Move x to the CPU with x.to('cpu')"
    )


def _cuda_jv(xp: Any, n: int, x: Any) -> Any:
    y = _kernel(xp, _ORDERED, "jn", "y = x == 0 ? (T)(n == 0) : jn(n, x)")(abs(n), x)
    return -y if n < 0 and n % 2 else y


def _cuda_yv(xp: Any, n: int, x: Any) -> Any:
    y = _kernel(xp, _ORDERED, "yn", "y = yn(n, x)")(abs(n), x)
    return -y if n < 0 and n % 2 else y


def _cuda_iv(first: Callable[..., Any]) -> Callable[..., Any]:
    def of(xp: Any, n: int, x: Any) -> Any:
        return _kernel(xp, _ORDERED, "iv", _MILLER)(abs(n), x) * first(xp, x)

    return of


def _cuda_kv(first: Callable[..., Any], second: Callable[..., Any]) -> Callable[..., Any]:
    def of(xp: Any, n: int, x: Any) -> Any:
        low, high = first(xp, x), second(xp, x)
        for k in range(1, abs(n)):  # 10.29.1, stable upward
            low, high = high, low + 2 * k / x * high
        return high if n else low

    return of


def _side(x: Any) -> Any:
    if is_complex(x):
        raise TypeError(
            "ive of complex x is scaled by exp(-abs(real(x))), which has no complex derivative: "
            "differentiate iv(v, x) and scale it yourself"
        )
    return sign(x)


def _plain(name: str) -> Callable[..., Any]:
    return lambda xp, x: library(xp, name)(x)


def _ordered(name: str, cuda: Callable[..., Any], derivative: Any) -> Special:
    """A function of order ``v``, differentiable in ``x``."""

    def impl(xp: Any, v: Any, x: Any) -> Any:
        dtype = precision([shape_dtype(v), shape_dtype(x)])
        x = in_precision(x, dtype)
        if xp is np:
            return library(xp, name)(in_precision(v, dtype), x)
        refuse_complex(f"{name} on CUDA", [x])
        return cuda(xp, _order(name, v), x)

    return binary(name, "v x", no_derivative(name, "v"), derivative, impl)


# 10.6.1 and 10.29.1
jv: Primitive = _ordered("jv", _cuda_jv, lambda g, v, x: g * (0.5 * (jv(v - 1, x) - jv(v + 1, x))))
yv: Primitive = _ordered("yv", _cuda_yv, lambda g, v, x: g * (0.5 * (yv(v - 1, x) - yv(v + 1, x))))
iv: Primitive = _ordered(
    "iv",
    _cuda_iv(_plain("i0")),
    lambda g, v, x: g * (0.5 * (iv(v - 1, x) + iv(v + 1, x))),
)
ive: Primitive = _ordered(
    "ive",
    _cuda_iv(_scaled("i0")),
    lambda g, v, x, y: g * (0.5 * (ive(v - 1, x) + ive(v + 1, x)) - _side(x) * y),
)
kv: Primitive = _ordered(
    "kv",
    _cuda_kv(_plain("k0"), _plain("k1")),
    lambda g, v, x: -g * (0.5 * (kv(v - 1, x) + kv(v + 1, x))),
)
kve: Primitive = _ordered(
    "kve",
    _cuda_kv(_scaled("k0"), _scaled("k1")),
    lambda g, v, x, y: g * (y - 0.5 * (kve(v - 1, x) + kve(v + 1, x))),
)
jn, yn, kn = jv, yv, kv
