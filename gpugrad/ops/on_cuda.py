"""CUDA versions of functions whose CuPy version departs from NumPy's and from the standard.

CuPy spells some functions by others, which is wrong at infinities, NaN and signed zeros: ``mod``
by a division, the complex ``log2`` by a complex division. Here each is one kernel that agrees
with NumPy everywhere the array API standard says what the result is.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

_MOD = """
    y = fmod(a, b);
    if (y == 0) y = copysign(T(0), b);
    else if ((y < 0) != (b < 0)) y += b;
"""

_FLOOR_DIVIDE = """
    if (b == 0) y = a / b;
    else {
        T rest = fmod(a, b), whole = (a - rest) / b;
        if (rest != 0 && (rest < 0) != (b < 0)) whole -= 1;
        y = floor(whole);
        if (whole - y > T(0.5)) y += 1;
        if (y == 0) y = copysign(T(0), a / b);
    }
"""

# By the numbers' order as integers: in arithmetic CuPy's compiler takes a subnormal for 0.
_NEXTAFTER = """
    const int low = 0x80000000;
    int bits = __float_as_int(a), to = __float_as_int(b);
    int at = bits < 0 ? low - bits : bits;
    to = to < 0 ? low - to : to;
    if (isnan(a) || isnan(b)) y = a + b;
    else if (at == to) y = b;
    else {
        at += at < to ? 1 : -1;
        y = __int_as_float(at == 0 ? bits & low : at < 0 ? low - at : at);
    }
"""

_LN2, _LN10, _HALF_PI = (f"R({c!r})" for c in (math.log(2), math.log(10), math.pi / 2))

# Complex functions of x = a + bi; R is the type of a and b.
_INFINITE = "(isinf(a) || isinf(b))"
_LOG = f"T z = log(x); R re = {_INFINITE} ? hypot(a, b) : z.real(), im = atan2(b, a);"

_COMPLEX = {
    "log": _LOG + "y = T(re, im);",
    "log2": _LOG + f"y = T(re / {_LN2}, im / {_LN2});",
    "log10": _LOG + f"y = T(re / {_LN10}, im / {_LN10});",
    "log1p": f"""
        T z = log1p(x);
        y = T({_INFINITE} ? hypot(a, b) : z.real(), atan2(b, 1 + a));
    """,
    "exp2": f"y = exp(T(a * {_LN2}, b * {_LN2}));",
    "expm1": """
        T z = exp(x);
        if (isfinite(a) && isfinite(b)) {
            R half = sin(b / 2);
            y = T(expm1(a) * cos(b) - 2 * half * half + R(0), b == 0 ? b : z.imag());
        }
        else y = T(z.real() - 1, b == 0 ? b : z.imag());
    """,
    "tanh": "y = a == 0 && !isfinite(b) ? T(a, b - b) : tanh(x);",
    "tan": "y = b == 0 && !isfinite(a) ? T(a - a, b) : tan(x);",
    "arccosh": f"y = a == 0 && isnan(b) ? T(b, {_HALF_PI}) : acosh(x);",
    "reciprocal": """
        if (fabs(a) >= fabs(b)) {
            R ratio = b / a, size = a + b * ratio;
            y = T(1 / size, -ratio / size);
        } else {
            R ratio = a / b, size = a * ratio + b;
            y = T(ratio / size, -1 / size);
        }
    """,
    "sign": """
        R size = hypot(a, b);
        if (isinf(a) != isinf(b))
            y = isinf(a) ? T(copysign(R(1), a), 0) : T(0, copysign(R(1), b));
        else y = size == 0 ? T(0) : T(a / size, b / size);
    """,
}


@functools.cache
def _complex_kernel(xp: Any, name: str) -> Any:
    parts = "typedef typename T::value_type R; const R a = x.real(), b = x.imag();"
    return xp.ElementwiseKernel("T x", "T y", parts + _COMPLEX[name], f"gpugrad_{name}")


def _corrected(name: str) -> Callable[..., Any]:
    """The kernel for complex elements, CuPy's function for all others."""

    def run(xp: Any, x: Any) -> Any:
        return (_complex_kernel(xp, name) if x.dtype.kind == "c" else getattr(xp, name))(x)

    return run


@functools.cache
def _real_kernel(xp: Any, name: str, code: str) -> Any:
    return xp.ElementwiseKernel("T a, T b", "T y", code, f"gpugrad_{name}")


def _of_reals(name: str, code: str) -> Callable[..., Any]:
    """The kernel for floating-point operands, CuPy's function for others."""

    def run(xp: Any, a: Any, b: Any) -> Any:
        kinds = {v.dtype.kind for v in (a, b) if hasattr(v, "dtype")}
        dtype = xp.result_type(a, b)
        if dtype.kind != "f" or "V" in kinds:  # bfloat16 is of kind V
            return getattr(xp, name)(a, b)
        wide = dtype if dtype.itemsize > 2 else np.dtype(np.float32)  # fmod knows no half
        operands = [v.astype(wide) if hasattr(v, "astype") else wide.type(v) for v in (a, b)]
        return _real_kernel(xp, name, code)(*operands).astype(dtype, copy=False)

    return run


def _nextafter(xp: Any, a: Any, b: Any) -> Any:
    if xp.result_type(a, b) != np.float32:
        return xp.nextafter(a, b)
    operands = [v.astype("f4") if hasattr(v, "astype") else np.float32(v) for v in (a, b)]
    return _real_kernel(xp, "nextafter", _NEXTAFTER)(*operands)


def _sinc(xp: Any, x: Any) -> Any:
    if x.dtype.kind in "iub":
        x = x.astype(np.float64)
    turn = np.pi * xp.where(x == 0, 1e-20, x)
    return (xp.sin(turn) / turn).astype(x.dtype, copy=False)


def _where(xp: Any, condition: Any, a: Any, b: Any) -> Any:
    """CuPy's, which makes float32 of bfloat16 and knows no conditions of Python's."""
    y = xp.where(condition if hasattr(condition, "dtype") else np.bool_(condition), a, b)
    kinds = [v.dtype if hasattr(v, "dtype") else v for v in (a, b)]
    if any(getattr(k, "kind", "") == "V" for k in kinds):
        return y.astype(np.result_type(*kinds), copy=False)
    return y


def _truth(name: str) -> Callable[..., Any]:
    """Logic on complex numbers, which CuPy has not: what is not 0 is true."""

    def run(xp: Any, *values: Any) -> Any:
        return getattr(xp, name)(*[v != 0 if np.iscomplexobj(v) else v for v in values])

    return run


corrected: dict[str, Callable[..., Any]] = {
    "where": _where,
    "gate": lambda xp, g, mask: _where(xp, mask, g, 0),
    **{name: _corrected(name) for name in _COMPLEX},
    **{name: _truth(name) for name in ("logical_not", "logical_and", "logical_or", "logical_xor")},
    "mod": _of_reals("mod", _MOD),
    "floor_divide": _of_reals("floor_divide", _FLOOR_DIVIDE),
    "nextafter": _nextafter,
    "sinc": _sinc,
}
"""By the primitive's name, ``f(xp, *values)``."""
