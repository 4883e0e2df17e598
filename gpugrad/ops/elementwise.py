"""Elementwise arithmetic and functions, each with its derivative: a page of a calculus book.

One line a function. ``g`` is the cotangent, ``y`` the output, ``x`` (or ``a`` and ``b``) the
inputs. The VJP of an elementwise function and its JVP are the same product with the derivative;
two-operand VJPs are then summed over the axes that broadcasting made.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from gpugrad.core.abstract import ShapeDtype, shape_dtype
from gpugrad.core.primitive import Primitive, Rule, parameter_names, residual_names
from gpugrad.ops.batching import pointwise
from gpugrad.ops.broadcast import broadcast_to_p, unbroadcast
from gpugrad.ops.cast import cast
from gpugrad.ops.complex import conj, is_complex, real
from gpugrad.ops.on_cuda import corrected


class Elementwise(Primitive):
    """A primitive that acts on each element: shape, VJP, JVP and batching follow from its rules."""

    __slots__ = ()

    def __init__(
        self,
        name: str,
        impl: Any,
        operands: str,
        derivatives: tuple[Rule | None, ...],
        derived: dict[str, Rule] | None = None,
    ) -> None:
        names = operands.split()
        single = len(names) == 1
        super().__init__(
            name,
            impl,
            operands,
            shape=self._shape,
            vjp=derivatives
            if single
            else tuple(summed(r, n) for r, n in zip(derivatives, names, strict=True)),
            jvp=derivatives if single else tuple(widened(r) for r in derivatives),
            batch=pointwise,
            derived=derived,
        )

    def _bind(self, xp: Any) -> Any:
        correction = None if xp is np else corrected.get(self.name)
        return super()._bind(xp) if correction is None else partial(correction, xp)

    def _shape(self, *operands: ShapeDtype, **params: Any) -> ShapeDtype:
        # The promotion rules are NumPy's own, asked with arrays that have no elements.
        probes = [o.dtype.type(1).item() if o.weak else np.empty((0,), o.dtype) for o in operands]
        with np.errstate(all="ignore"):
            dtype = np.asarray(self._host(*probes, **params)).dtype
        return ShapeDtype(np.broadcast_shapes(*[o.shape for o in operands]), dtype)


def summed(rule: Rule | None, operand: str) -> Rule | None:
    """A VJP from a derivative: the product brought to the operand's shape and dtype."""
    if rule is None:
        return None

    # Spelled out for few residuals: this runs once for every recorded operation.
    count = len(residual_names(rule))
    if count == 0:

        def vjp(g: Any, fit: Any) -> Any:
            return rule(g) if fit is None else unbroadcast(rule(g), fit)
    elif count == 1:

        def vjp(g: Any, a: Any, fit: Any) -> Any:  # type: ignore[misc]
            return rule(g, a) if fit is None else unbroadcast(rule(g, a), fit)
    else:

        def vjp(g: Any, *residuals: Any) -> Any:  # type: ignore[misc]
            fit = residuals[-1]
            out = rule(g, *residuals[:-1])
            return out if fit is None else unbroadcast(out, fit)

    vjp.names = (*parameter_names(rule), operand + "_fit")  # type: ignore[attr-defined]
    vjp.even = rule  # type: ignore[attr-defined]
    return vjp


_BLOCK = 8192


def _dot(a: Any, b: Any) -> Any:
    """``a.dot(b)`` on one thread: waiting for a second one can cost more than all the sum.

    OpenBLAS starts threads for more than 10,000 elements.
    """
    n = a.size // _BLOCK * _BLOCK
    if not n:
        return a.dot(b)
    blocks = np.vecdot(a[:n].reshape(-1, _BLOCK), b[:n].reshape(-1, _BLOCK))
    return np.add.reduce(blocks) + a[n:].dot(b[n:])


def _by_dot(vjp: Rule) -> Rule:
    """A product's VJP where one factor is a number: the sum of products without the products.

    In double precision, to which the order of the sum does not matter much.
    """

    def faster(g: Any, other: Any, fit: Any) -> Any:
        if (
            fit is not None
            and not fit.shape
            and type(g) is type(other) is np.ndarray
            and g.dtype == other.dtype == fit.dtype == np.float64
            and g.shape == other.shape
        ):
            return _dot(g.ravel(), other.ravel())
        return vjp(g, other, fit)

    faster.names = vjp.names  # type: ignore[attr-defined]
    faster.even = vjp.even  # type: ignore[attr-defined]
    return faster


def _negated(vjp: Rule, plain: Rule) -> Rule:
    """The VJP of a minus sign by the ``plain`` one: fewer elements are left to negate then."""

    def negated(g: Any, fit: Any) -> Any:
        return -plain(g, fit)

    negated.names = vjp.names  # type: ignore[attr-defined]
    negated.even = vjp.even  # type: ignore[attr-defined]
    return negated


def _quotient(vjp: Rule, product: Rule) -> Rule:
    """The VJP of a divisor: where it was broadcast the sum comes first, then the division."""

    def quotient(g: Any, b: Any, y: Any, fit: Any) -> Any:
        if fit is None or fit.shape == g.shape:
            return vjp(g, b, y, fit)
        return -(product(g, y, fit) / b)

    quotient.names = vjp.names  # type: ignore[attr-defined]
    quotient.even = vjp.even  # type: ignore[attr-defined]
    return quotient


def widened(rule: Rule | None) -> Rule | None:
    """A JVP from a derivative: the product brought to the output's shape and dtype."""
    if rule is None:
        return None
    want = (*residual_names(rule), "y_like")

    def jvp(t: Any, *residuals: Any) -> Any:
        out = rule(t, *residuals[:-1])
        like = residuals[-1]
        if shape_dtype(out).shape != like.shape:
            out = broadcast_to_p(out, shape=like.shape)
        return cast(out, like.dtype)

    jvp.names = ("t", *want)  # type: ignore[attr-defined]
    return jvp


def unary(name: str, derivative: Rule | None = None, impl: Any = None) -> Elementwise:
    """A function of one operand ``x``."""
    return Elementwise(name, impl or name, "x", (derivative,))


def binary(name: str, da: Rule | None = None, db: Rule | None = None, impl: Any = None) -> Any:
    """A function of two operands ``a`` and ``b``."""
    return Elementwise(name, impl or name, "a b", (da, db))


_BITS: dict[Any, np.dtype[Any]] = {np.dtype(f"f{n}"): np.dtype(f"i{n}") for n in (2, 4, 8)}


def _gate(xp: Any, g: Any, mask: Any) -> Any:
    """``where(mask, g, 0)``; of many elements on the host by masking bits: without branches."""
    bits = _BITS.get(getattr(g, "dtype", None)) if xp is np else None
    if bits is None or type(mask) is bool or mask.dtype != bool:
        return xp.where(mask, g, 0)
    if mask.ndim and mask.size < 4096:  # too few for that to pay
        return np.where(mask, g, 0)
    keep = mask.view(np.int8).astype(bits)
    keep = np.negative(keep, out=keep) if keep.ndim else -keep
    return np.bitwise_and(keep, g.view(bits)).view(g.dtype)


gate: Primitive = Elementwise("gate", _gate, "g mask", (lambda g, mask: gate(g, mask), None))
"""``g`` where the mask is true, else 0 whatever ``g`` is there: how cotangents pass a choice."""


def _where(xp: Any, condition: Any, a: Any, b: Any) -> Any:
    """Of numbers a number, as ufuncs have it: an array without axes goes beside no CuPy array."""
    y = xp.where(condition, a, b)
    return y if y.ndim else y[()]


where: Primitive = Elementwise(
    "where",
    _where,
    "condition a b",
    (
        None,
        lambda g, condition: gate(g, condition),
        lambda g, condition: gate(g, logical_not(condition)),
    ),
)

# Arithmetic
add = binary("add", lambda g: g, lambda g: g)
subtract = binary("subtract", lambda g: g, lambda g: -g)
subtract.vjp = (subtract.vjp[0], _negated(subtract.vjp[1], subtract.vjp[0]))
multiply = binary("multiply", lambda g, b: g * b, lambda g, a: g * a)
multiply.vjp = tuple(_by_dot(rule) for rule in multiply.vjp)


def _by_divisor(g: Any, b: Any, y: Any) -> Any:
    return -(g / b) * y


_by_divisor.chained = lambda c, y: -c * y  # type: ignore[attr-defined]
divide = binary("divide", lambda g, b: g / b, _by_divisor)
divide.vjp = (divide.vjp[0], _quotient(divide.vjp[1], multiply.vjp[0]))
negative = unary("negative", lambda g: -g)
positive = unary("positive", lambda g: g)
reciprocal = unary("reciprocal", lambda g, y: -g * y * y)
square = unary("square", lambda g, x: g * (2 * x))
_power_rules: tuple[Rule, Rule] = (
    lambda g, a, b: g * (b * a ** _less_one(b)),
    lambda g, a, y: g * (y * _log_base(a)),
)
power = binary("power", *_power_rules)
float_power = binary("float_power", *_power_rules)
mod = binary("mod", lambda g: g, lambda g, a, b: -g * floor(a / b))
remainder = mod
fmod = binary("fmod", lambda g: g, lambda g, a, b: -g * trunc(a / b))


def _less_one(b: Any) -> Any:
    """The exponent of the derivative; 1 where ``b`` is 0, whose factor makes the product 0."""
    if isinstance(b, int | float):
        return b - 1 if b else 1
    return where(b == 0, 1, b - 1)


def _log_base(a: Any) -> Any:
    """The base's logarithm; 0 where the base is 0, and so is the power."""
    if isinstance(a, int | float):  # stays a Python number, which widens no dtype
        return math.log(a) if a > 0 else 0.0 if a == 0 else math.nan
    return log(where(a == 0, 1, a))


def _scaled(g: Any, factor: float) -> Any:
    """``g * factor`` in the type of ``g``: of bfloat16 and a fraction NumPy makes float32."""
    like = shape_dtype(g)
    return g * factor if like.weak else cast(g * factor, like.dtype)


# Roots, exponentials, logarithms
sqrt = unary("sqrt", lambda g, y: g / (2 * y))
cbrt = unary("cbrt", lambda g, y: g / (3 * y * y))
exp = unary("exp", lambda g, y: g * y)
exp2 = unary("exp2", lambda g, y: _scaled(g * y, math.log(2)))
expm1 = unary("expm1", lambda g, y: g * (y + 1), lambda xp, x: _expm1(x))
log: Primitive = unary("log", lambda g, x: g / x)
log2 = unary("log2", lambda g, x: _scaled(g / x, 1 / math.log(2)))
log10 = unary("log10", lambda g, x: _scaled(g / x, 1 / math.log(10)))
log1p = unary("log1p", lambda g, x: g / (1 + x))
logaddexp = binary("logaddexp", lambda g, a, y: g * _share(a, y), lambda g, b, y: g * _share(b, y))
logaddexp2 = binary(
    "logaddexp2",
    lambda g, a, y: g * exp2(_finite_difference(a, y)),
    lambda g, b, y: g * exp2(_finite_difference(b, y)),
)


def _expm1(x: Any) -> Any:
    """NumPy's; of complex infinities it makes NaN, where the standard has infinities and -1."""
    y = np.expm1(x)
    if y.dtype.kind != "c":
        return y
    x = np.asarray(x)
    out, power = np.array(y), np.exp(x)
    out.real = np.where(np.isfinite(x), y.real + 0.0, power.real - 1)
    out.imag = np.where(np.isfinite(x), y.imag, np.where(x.imag == 0, x.imag, power.imag))
    return out[()]


def _share(a: Any, y: Any) -> Any:
    return exp(_finite_difference(a, y))


def _finite_difference(a: Any, y: Any) -> Any:
    return a - where(isfinite(y), y, 0)


# Trigonometric and hyperbolic functions and their inverses
sin = unary("sin", lambda g, x: g * cos(x))
cos: Primitive = unary("cos", lambda g, x: -g * sin(x))
tan = unary("tan", lambda g, y: g * (1 + y * y))
arcsin = unary("arcsin", lambda g, x: g / sqrt(1 - x * x))
arccos = unary("arccos", lambda g, x: -g / sqrt(1 - x * x))
arctan = unary("arctan", lambda g, x: g / (1 + x * x))
arctan2 = binary(
    "arctan2",
    lambda g, a, b: g * b / (a * a + b * b),
    lambda g, a, b: -g * a / (a * a + b * b),
)
hypot = binary(
    "hypot",
    lambda g, a, y: g * a / where(y == 0, 1, y),
    lambda g, b, y: g * b / where(y == 0, 1, y),
)
sinh = unary("sinh", lambda g, x: g * cosh(x))
cosh: Primitive = unary("cosh", lambda g, x: g * sinh(x))
tanh = unary("tanh", lambda g, y: g - g * (y * y))
arcsinh = unary("arcsinh", lambda g, x: g / sqrt(x * x + 1))
arccosh = unary("arccosh", lambda g, x: g / (sqrt(x - 1) * sqrt(x + 1)))
arctanh = unary("arctanh", lambda g, x: g / (1 - x * x))
deg2rad = unary("deg2rad", lambda g: _scaled(g, math.pi / 180))
rad2deg = unary("rad2deg", lambda g: _scaled(g, 180 / math.pi))
radians, degrees = deg2rad, rad2deg
sinc = unary("sinc", lambda g, x, y: g * _sinc_slope(x, y))


def _sinc_slope(x: Any, y: Any) -> Any:
    """(cos(pi x) - sinc(x)) / x; near 0, where that cancels, its series."""
    near = abs(x) < 1e-3
    safe = where(near, 1, x)
    t = x * x
    series = x * (-(math.pi**2) / 3 + t * (math.pi**4 / 30 - t * (math.pi**6 / 840)))
    return where(near, series, (cos(math.pi * safe) - y) / safe)


# Kinks. At a tie, maximum and minimum share the gradient equally, as JAX and PyTorch do; abs has
# gradient 0 at 0; relu has gradient 0 at 0, as PyTorch and JAX have it.
maximum = binary(
    "maximum", lambda g, a, b: _tie(g, a > b, a == b), lambda g, a, b: _tie(g, b > a, a == b)
)
minimum = binary(
    "minimum", lambda g, a, b: _tie(g, a < b, a == b), lambda g, a, b: _tie(g, b < a, a == b)
)
fmax = binary(
    "fmax",
    lambda g, a, b: _tie(g, _number(a) & ~(a <= b), a == b),
    lambda g, a, b: _tie(g, _number(b) & ~(b <= a), a == b),
)
fmin = binary(
    "fmin",
    lambda g, a, b: _tie(g, _number(a) & ~(a >= b), a == b),
    lambda g, a, b: _tie(g, _number(b) & ~(b >= a), a == b),
)
relu = unary("relu", lambda g, y: gate(g, y > 0), lambda xp, x: xp.maximum(x, 0))


def _number(a: Any) -> Any:
    """Whether it is no NaN, which fmax and fmin pass over."""
    return a == a


def _tie(g: Any, wins: Any, ties: Any) -> Any:
    return gate(g, wins) + gate(g / 2, ties)


absolute = Primitive(
    "absolute",
    "absolute",
    shape=lambda x: ShapeDtype(x.shape, x.dtype.type(0).real.dtype),
    vjp=lambda g, x, y: _abs_slope(g, x, y),
    jvp=lambda t, x, y: real(_abs_slope(t, x, y)),
    batch=pointwise,
)
fabs = unary("fabs", lambda g, x: g * sign(x))


def _abs_slope(g: Any, x: Any, y: Any) -> Any:
    """For a complex x: g conj(x) / abs(x), 0 at 0."""
    return g * conj(x) / where(y == 0, 1, y) if is_complex(x) else g * sign(x)


copysign = binary("copysign", lambda g, a, y: g * (sign(a) * sign(y)))
nan_to_num = Elementwise("nan_to_num", "nan_to_num", "x", (lambda g, x: gate(g, isfinite(x)),))


def _phase_slope(g: Any, x: Any, y: Any) -> Any:
    """For a tangent g of x: its part across x, over abs(x); 0 at 0."""
    size = absolute(x)
    return (g - y * real(conj(y) * g)) / where(size == 0, 1, size) * (size != 0)


phase: Primitive = Primitive(
    "phase",
    lambda xp, x: np.sign(x) if xp is np else corrected["sign"](xp, x),
    shape=lambda x: x,
    # The transpose: conj carries a cotangent to the vector that it stands for, and back.
    vjp=lambda g, x, y: conj(_phase_slope(conj(g), x, y)),
    jvp=lambda t, x, y: _phase_slope(t, x, y),
    batch=pointwise,
)
"""x / abs(x) of complex numbers, 0 at 0."""


def sign(x: Any) -> Any:
    """-1, 0 or 1; for complex numbers x / abs(x)."""
    return phase(x) if is_complex(x) else sign_p(x)


# Piecewise constant: no gradient flows.
sign_p: Primitive = unary("sign")
floor: Primitive = unary("floor")
ceil = unary("ceil")
trunc: Primitive = unary("trunc")
rint = unary("rint")
signbit = unary("signbit")
isfinite: Primitive = unary("isfinite")
isinf = unary("isinf")
isnan = unary("isnan")
logical_not: Primitive = unary("logical_not")
invert = unary("invert")
floor_divide = binary("floor_divide")
equal = binary("equal")
not_equal = binary("not_equal")
less = binary("less")
less_equal = binary("less_equal")
greater = binary("greater")
greater_equal = binary("greater_equal")
logical_and = binary("logical_and")
logical_or = binary("logical_or")
logical_xor = binary("logical_xor")
bitwise_and = binary("bitwise_and")
bitwise_or = binary("bitwise_or")
bitwise_xor = binary("bitwise_xor")
left_shift = binary("left_shift")
right_shift = binary("right_shift")
nextafter = binary("nextafter")
heaviside = binary("heaviside")
