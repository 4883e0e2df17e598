"""Elementary functions that vectorise: exp, log, tanh and others, for Numba's compiled loops.

Numba's own ``np.exp`` is a call of the C library for each element. These are polynomials after a
reduction of the range, without a branch or a call, so that LLVM turns a loop over an array into
vector instructions. Call them inside functions that Numba compiles; float32 gives float32 and
float64 gives float64. They keep to the special cases of C's functions (NaN, infinities, signed
zeros, denormals, overflow), also inside ``fastmath`` loops, whose licence to reorder is not theirs.

Largest error in units in the last place, as the tests measure it over the whole range:

========================= ======= =======
function                  float32 float64
========================= ======= =======
exp, expm1, log, log1p          2       2
tanh, erf, sigmoid              3       3
sin, cos                        2       3
power                           1       4
normal_cdf                      6       6
========================= ======= =======

That of ``gelu_slope`` is 1, and 2, of the last place of 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

__all__ = [
    "cos",
    "erf",
    "exp",
    "expm1",
    "gelu_slope",
    "log",
    "log1p",
    "normal_cdf",
    "normal_pair",
    "power",
    "select",
    "sigmoid",
    "sin",
    "tanh",
]

# ------------------------------------------------------------------------------ machine operations


@intrinsic
def select(context: Any, condition: Any, a: Any, b: Any) -> Any:
    """``a`` where the condition holds, else ``b``, without a branch; both are of one type."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(*args)

    return (a(types.boolean, a, a), code) if a == b else None


@intrinsic
def fma(context: Any, a: Any, b: Any, c: Any) -> Any:
    """``a * b + c``, rounded once."""
    return _call("llvm.fma", a, 3)


@intrinsic
def near(context: Any, a: Any, b: Any, c: Any) -> Any:
    """``a * b + c``, rounded once where the processor does that as fast."""
    return _call("llvm.fmuladd", a, 3)


@intrinsic
def nearest(context: Any, x: Any) -> Any:
    """The nearest integer, the even one at a tie."""
    return _call("llvm.rint", x, 1)


@intrinsic
def magnitude(context: Any, x: Any) -> Any:
    """``x`` without its sign."""
    return _call("llvm.fabs", x, 1)


@intrinsic
def signed(context: Any, x: Any, sign: Any) -> Any:
    """``x`` with the sign of another number."""
    return _call("llvm.copysign", x, 2)


def _call(name: str, ty: Any, count: int) -> Any:
    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        real = args[0].type
        form = ir.FunctionType(real, [real] * count)
        return builder.call(builder.module.declare_intrinsic(name, [real], form), args)

    return ty(*[ty] * count), code


@intrinsic
def recast(context: Any, x: Any) -> Any:
    """The bits of a real number as an integer of its width, or the other way round."""
    into = {
        types.float32: types.int32,
        types.float64: types.int64,
        types.int32: types.float32,
        types.int64: types.float64,
    }[x]

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], context.get_value_type(into))

    return into(x), code


@intrinsic
def horner(context: Any, x: Any, coefficients: Any) -> Any:
    """The polynomial with these coefficients, the highest power's first."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        x, packed = args
        form = ir.FunctionType(x.type, [x.type] * 3)
        step = builder.module.declare_intrinsic("llvm.fmuladd", [x.type], form)
        total, *rest = cgutils.unpack_tuple(builder, packed)
        for c in rest:
            total = builder.call(step, [total, x, c])
        return total

    return x(x, coefficients), code


@intrinsic
def high_product(context: Any, a: Any, b: Any) -> Any:
    """The upper 64 bits of a product of two uint64."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = args[0].type
        wide = type(word)(128)
        a, b = (builder.zext(v, wide) for v in args)
        return builder.trunc(builder.lshr(builder.mul(a, b), wide(64)), word)

    return types.uint64(types.uint64, types.uint64), code


# ------------------------------------------------------------------------------ two precisions


class _Single:
    """What the functions need to know of float32."""

    real, whole = np.float32, np.int32
    bits, bias = 23, 127
    magic = np.float32(1.5 * 2**23)
    low, high = np.float32(-104), np.float32(89)  # exp is 0 below, infinite above
    ln2 = np.float32(0.693359375), np.float32(-2.12194440e-4)
    tiny = np.float32(2.0**-126)
    exp = (0.00139269268, 0.00836377405, 0.0416665487, 0.166665733, 0.5)
    log = (0.147951722, 0.199942753, 0.333333433)
    tanh = (0.00229274482, -0.00834394526, 0.0217689183, -0.0539592579, 0.133333042, -0.333333343)
    erf = (
        *(7.87587487e-05, -0.00080168643, 0.00518908724, -0.0268542115),
        *(0.112835944, -0.37612626, 0.128379166),
    )
    sin = (2.72468696e-06, -0.000198400638, 0.00833333191, -0.166666672)
    cos = (2.45454194e-05, -0.00138882909, 0.0416666642)
    gelu = (
        *(2.7975547e-08, -8.91632233e-07, 1.27578327e-05, -0.000109449051, 0.000637748453),
        *(-0.00273217796, 0.0091795912, -0.0256109089, 0.0619931780, -0.132827193, 0.249976665),
        *(-0.797883332, 0.5),
    )
    erfcx = (
        -0.000273596001,
        -0.000788120728,
        0.00200177124,
        0.00257685641,
        -0.0237946641,
        0.0682930276,
        -0.119271919,
        0.129646719,
        -0.0475623198,
        -0.135621145,
        1.25300801,
    )


class _Double:
    """What the functions need to know of float64."""

    real, whole = np.float64, np.int64
    bits, bias = 52, 1023
    magic = np.float64(1.5 * 2**52)
    low, high = np.float64(-746), np.float64(710)
    ln2 = np.float64(6.93147180369123816490e-01), np.float64(1.90821492927058770002e-10)
    tiny = np.float64(2.0**-1022)
    exp = (
        *(2.0915442297780116e-09, 2.5106274733573296e-08, 2.75572718102198e-07),
        *(2.7557252833516911e-06, 2.4801587327007187e-05, 0.00019841269876864356),
        *(0.0013888888888883327, 0.0083333333333255443, 0.041666666666666671),
        *(0.16666666666666671, 0.5),
    )
    log = (
        *(0.07315032668904338, 0.076653072653291049, 0.090914612989341212, 0.11111105336534592),
        *(0.14285714314409115, 0.19999999999946602, 0.33333333333333348),
    )
    tanh = (
        *(-4.8778156356600591e-08, 2.8231398894130791e-07, -9.4173423443287239e-07),
        *(2.5475971031475262e-06, -6.4237324116408143e-06, 1.5910244015968488e-05),
        *(-3.9276308371688029e-05, 9.6915026775597747e-05, -0.00023912906806660339),
        *(0.00059002743648675215, -0.0014558343867408193, 0.0035921280365574224),
        *(-0.0088632355299017151, 0.021869488536155193, -0.053968253968253971),
        *(0.13333333333333333, -0.33333333333333331),
    )
    erf = (
        *(5.9571761477489113e-11, -1.1372848856791674e-09, 1.4659775274047436e-08),
        *(-1.6350312701054695e-07, 1.6461000484121368e-06, -1.4925595266831182e-05),
        *(0.0001205533111164271, -0.000854832698083379, 0.0052239776248180145),
        *(-0.026866170645076792, 0.11283791670954879, -0.37612638903183748, 0.12837916709551259),
    )
    sin = (
        *(-7.5860947896726206e-13, 1.6058521349954986e-10, -2.5052106167335705e-08),
        *(2.7557319219150783e-06, -0.00019841269841264821, 0.0083333333333333315),
        -0.16666666666666666,
    )
    cos = (
        *(-1.1381754653662937e-11, 2.0876134024090145e-09, -2.7557317212686589e-07),
        *(2.4801587298651292e-05, -0.0013888888888887322, 0.041666666666666664),
    )
    erfcx = (
        -1.0672595214976916e-09,
        -6.4678444557829872e-09,
        -5.7565039961475078e-09,
        4.1134756392158016e-08,
        8.9774806116085037e-08,
        -1.4410354379681688e-07,
        -6.0565863893376591e-07,
        3.6066863475424126e-07,
        3.4661596712796173e-06,
        -7.3416316546683903e-07,
        -2.0098253837625926e-05,
        4.9505523496346669e-06,
        0.0001250987929274765,
        -0.00010516006241299548,
        -0.000779832185525928,
        0.0018886903981696801,
        0.002529391807900063,
        -0.023770514921937647,
        0.068308027344406039,
        -0.11927366341516857,
        0.12964515870275026,
        -0.047562294353453063,
        -0.13562110612458109,
        1.2530080582697296,
    )


def _of(ty: Any) -> Any:
    """The constants for Numba's type of the argument, or None: an integer is no argument."""
    return {types.float32: _Single, types.float64: _Double}.get(ty)


def _tuple(of: Any, coefficients: tuple[float, ...]) -> tuple[Any, ...]:
    return tuple([of.real(c) for c in coefficients])


def _elementary(make: Callable[[Any], Callable[..., Any]]) -> Callable[..., Any]:
    """The function of one argument that ``make`` spells for either precision."""

    def stub(x: Any) -> Any:
        raise TypeError(f"{make.__name__} is for functions that Numba compiles")

    stub.__name__ = stub.__qualname__ = make.__name__
    stub.__doc__ = make.__doc__

    def typed(x: Any) -> Any:
        of = _of(x)
        return None if of is None else make(of)

    overload(stub, jit_options=_OPTIONS)(typed)
    return stub


# A product and a sum may become one fused operation; nothing else may change.
_OPTIONS = {"fastmath": {"contract"}, "error_model": "numpy"}

# ------------------------------------------------------------------------------ exponentials


@_elementary
def _exponent(of: Any) -> Any:
    """``n`` plus a number whose last bits are then those of ``n``, and 2**n times e**r is e**x."""
    log2e, magic = of.real(1.4426950408889634), of.magic

    def impl(x: Any) -> Any:
        return near(x, log2e, magic)

    return impl


def _power_of_two(k: Any) -> Any:
    raise TypeError("for functions that Numba compiles")


@overload(_power_of_two, jit_options=_OPTIONS)
def _(k: Any) -> Any:
    of: Any = {types.int32: _Single, types.int64: _Double}[k]
    whole, bias, bits = of.whole, of.whole(of.bias), of.whole(of.bits)

    def impl(k: Any) -> Any:
        return recast(whole((k + bias) << bits))

    return impl


@_elementary
def exp(of: Any) -> Any:
    """``e**x``."""
    low, high, magic, (ln2, rest) = of.low, of.high, of.magic, of.ln2
    whole, zero, one = of.whole, of.magic.view(of.whole), of.real(1)
    p = _tuple(of, of.exp)

    def impl(x: Any) -> Any:
        x = select(x < low, low, select(x > high, high, x))
        t = _exponent(x)
        n = t - magic
        r = near(n, -rest, near(n, -ln2, x))
        y = near(r * r, horner(r, p), r) + one
        k = whole(recast(t) - zero)
        half = whole(k >> 1)  # in two steps: the whole power may overflow or be a denormal
        return y * _power_of_two(half) * _power_of_two(whole(k - half))

    return impl


@_elementary
def expm1(of: Any) -> Any:
    """``e**x - 1``, exact to the last bits near 0 too."""
    low, high, magic, (ln2, rest) = of.real(-50), of.high, of.magic, of.ln2
    whole, zero, two, half = of.whole, of.magic.view(of.whole), of.real(2), of.real(0.5)
    p = _tuple(of, of.exp)

    def impl(x: Any) -> Any:
        v = select(x < low, low, select(x > high, high, x))
        t = _exponent(v)
        n = t - magic
        r = near(n, -rest, near(n, -ln2, v))
        y = near(r * r, horner(r, p), r)
        s = _power_of_two(whole(recast(t) - zero - 1))  # half of it, which does not overflow
        return select(x == 0, x, two * near(s, y, s - half))

    return impl


@_elementary
def sigmoid(of: Any) -> Any:
    """``1 / (1 + e**-x)``."""
    one = of.real(1)

    def impl(x: Any) -> Any:
        e = exp(-magnitude(x))
        return select(x < 0, e, one) / (one + e)

    return impl


# ------------------------------------------------------------------------------ logarithms


def _log_parts(x: Any) -> Any:
    raise TypeError("for functions that Numba compiles")


@overload(_log_parts, jit_options=_OPTIONS)
def _(x: Any) -> Any:
    of = _of(x)
    whole, one = of.whole, of.real(1)
    lift, lifted = of.real(2.0**of.bits), of.real(of.bits)
    root = of.real(np.sqrt(0.5)).view(of.whole)
    shift = whole(one.view(whole) - root)
    mask, bits, bias = whole((1 << of.bits) - 1), of.whole(of.bits), of.whole(of.bias)
    tiny = of.tiny
    unmagic = whole(of.magic.view(whole))
    magic = of.magic

    def impl(x: Any) -> Any:
        small = x < tiny
        i = whole(recast(select(small, x * lift, x)) + shift)
        k = whole(whole(i >> bits) - bias)
        m = recast(whole(whole(i & mask) + root))
        n = recast(whole(k + unmagic)) - magic  # k as a real number
        return select(small, n - lifted, n), m - one

    return impl


def _log_sum(n: Any, f: Any, c: Any) -> Any:
    raise TypeError("for functions that Numba compiles")


@overload(_log_sum, jit_options=_OPTIONS)
def _(n: Any, f: Any, c: Any) -> Any:
    """``n log(2) + log(1 + f) + c``."""
    of = _of(f)
    (ln2, rest), two, half = of.ln2, of.real(2), of.real(0.5)
    p = _tuple(of, of.log)

    def impl(n: Any, f: Any, c: Any) -> Any:
        s = f / (two + f)
        z = s * s
        h = half * f * f
        r = two * z * horner(z, p)
        return near(n, ln2, f - (h - near(s, h + r, near(n, rest, c))))

    return impl


@_elementary
def log(of: Any) -> Any:
    """The natural logarithm."""
    zero, infinity, nan = of.real(0), of.real(np.inf), of.real(np.nan)

    def impl(x: Any) -> Any:
        n, f = _log_parts(x)
        y = select(x < infinity, _log_sum(n, f, zero), x)
        return select(x > 0, y, select(x == 0, -infinity, nan))

    return impl


@_elementary
def log1p(of: Any) -> Any:
    """``log(1 + x)``, exact to the last bits near 0 too."""
    one, infinity, nan = of.real(1), of.real(np.inf), of.real(np.nan)

    def impl(x: Any) -> Any:
        u = one + x
        n, f = _log_parts(u)
        lost = select(n > 0, one - (u - x), x - (u - one))  # what rounding took from 1 + x
        y = select(x < infinity, _log_sum(n, f, lost / u), x)
        y = select(x > -one, y, select(x == -one, -infinity, nan))
        return select(x == 0, x, y)

    return impl


# ------------------------------------------------------------------------------ sigmoids


@_elementary
def tanh(of: Any) -> Any:
    """The hyperbolic tangent."""
    one, two, limit = of.real(1), of.real(2), of.real(0.625)
    p = _tuple(of, of.tanh)

    def impl(x: Any) -> Any:
        a = magnitude(x)
        z = a * a
        inner = near(a * z, horner(z, p), a)
        outer = one - two / (exp(a + a) + one)
        return signed(select(a < limit, inner, outer), x)

    return impl


@_elementary
def _tail(of: Any) -> Any:
    """``e**(t*t) erfc(t)`` for t (here ``x``) from 0 to where erfc is below all numbers."""
    one, two, k = of.real(1), of.real(2), of.real(3)
    p = _tuple(of, of.erfcx)

    def impl(x: Any) -> Any:
        return horner((x - k) / (x + k), p) / near(two, x, one)

    return impl


@_elementary
def erf(of: Any) -> Any:
    """The error function."""
    one, most = of.real(1), of.real(6)
    p = _tuple(of, of.erf)

    def impl(x: Any) -> Any:
        a = magnitude(x)
        inner = near(a, horner(select(a < one, a * a, one), p), a)
        t = select(a > most, most, a)
        outer = one - exp(-(t * t)) * _tail(t)
        return signed(select(a < one, inner, outer), x)

    return impl


@_elementary
def normal_pair(of: Any) -> Any:
    """The normal distribution's ``(P(X < x), density at x)``, one exponential for both."""
    one, half, root = of.real(1), of.real(0.5), of.real(np.sqrt(0.5))
    most = of.real(14.5 if of is _Single else 38.6)
    height = of.real(1 / np.sqrt(2 * np.pi))

    def impl(x: Any) -> Any:
        a = magnitude(x)
        a = select(a > most, most, a)
        h = a * a
        e = exp(-half * h)
        e = near(e, -half * fma(a, a, -h), e)  # the square's lost bits: they count where e is small
        below = half * e * _tail(a * root)
        return select(x > 0, one - below, below), height * e

    return impl


@_elementary
def normal_cdf(of: Any) -> Any:
    """The normal distribution's ``P(X < x)``, to the last bits in the lower tail too."""

    def impl(x: Any) -> Any:
        return normal_pair(x)[0]

    return impl


@_elementary
def gelu_slope(of: Any) -> Any:
    """The derivative of ``x P(X < x)`` for the normal distribution.

    In float32 within 1 of 2**-23, as a cotangent is multiplied by it. Below 0 it is the density
    times a function that a polynomial comes near to where the density counts; above, 1 less that.
    """
    one, half, magic, (ln2, rest) = of.real(1), of.real(0.5), of.magic, of.ln2
    whole, zero = of.whole, of.magic.view(of.whole)
    most = of.real(13.25 if of is _Single else 40)  # from there on it is 0 or 1

    def exact(x: Any) -> Any:
        x = select(x > most, most, select(x < -most, -most, x))
        below, density = normal_pair(x)
        return below + x * density

    if of is _Double:
        return exact
    p, q = _tuple(of, of.exp), _tuple(of, of.gelu)

    def impl(x: Any) -> Any:
        a = magnitude(x)
        a = select(a > most, most, a)
        u = -half * a * a
        t = _exponent(u)
        n = t - magic
        r = near(n, -rest, near(n, -ln2, u))
        e = near(r * r, horner(r, p), r) + one
        e = e * _power_of_two(whole(recast(t) - zero))  # which is 0 for the largest
        low = e * horner(a, q)
        return select(x < 0, low, one - low)

    return impl


# ------------------------------------------------------------------------------ circular functions


def _two_over_pi(bits: int) -> int:
    """``2 / pi`` times ``2**bits``, by Machin's formula in whole numbers."""
    one = 1 << (bits + 64)

    def arctan(n: int) -> int:
        term = total = one // n
        k, square = 3, n * n
        while term:
            term //= -square
            total += term // k
            k += 2
        return total

    pi = 4 * (4 * arctan(5) - arctan(239))
    return (2 * one << bits) // pi


def _phases(of: Any, words: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """For each power 2**s from that of the last bit of pi/4: 2**s * 2 / pi mod 4 in binary.

    The first word has the two bits before the point; each further one follows on.
    """
    first, count = -of.bits - 1, of.bias + 2
    width = sum(words)
    digits = count + width + 8
    value = _two_over_pi(digits)
    rows = []
    for s in range(first, first + count):
        shift = s + width - 2 - digits
        bits = (value << shift if shift >= 0 else value >> -shift) % (1 << width)
        row = []
        for w in reversed(words):
            row.append(bits % (1 << w))
            bits >>= w
        rows.append(row[::-1])
    return np.array(rows, np.uint64)


def _quadrant(x: Any) -> Any:
    raise TypeError("for functions that Numba compiles")


@overload(_quadrant, jit_options=_OPTIONS)
def _(x: Any) -> Any:
    """The nearest multiple of pi/2 (mod 4) and the rest, for any finite ``x`` to the last bit."""
    of = _of(x)
    single = of is _Single
    whole, bits, mask = of.whole, of.whole(of.bits), of.whole((1 << of.bits) - 1)
    hidden, first = of.whole(1 << of.bits), of.whole(of.bias - 1)
    limit, last = of.real(np.pi / 4), of.whole(of.bias + 1)
    table = _phases(of, (64, 32) if single else (64, 64, 64))
    real, eighth, top, scale = of.real, np.uint64(1 << 61), np.uint64(62), np.pi / 2**63
    wide, word = np.float64(2.0**64), np.uint64(32)

    def reduce(m: Any, row: Any) -> Any:
        low = m * table[row, 1]
        more = low + high_product(m, table[row, 2])
        high = m * table[row, 0] + high_product(m, table[row, 1]) + np.uint64(more < low)
        q = (high + eighth) >> top
        rest = np.int64(high - (q << top))
        return q, near(np.float64(rest), wide, np.float64(more)) * (scale / wide)

    def reduce_single(m: Any, row: Any) -> Any:
        high = m * table[row, 0] + ((m * table[row, 1]) >> word)
        q = (high + eighth) >> top
        return q, np.float64(np.int64(high - (q << top))) * scale

    import numba

    part = numba.njit(**_OPTIONS)(reduce_single if single else reduce)

    def impl(x: Any) -> Any:
        a = magnitude(x)
        i = recast(a)
        row = whole(whole(i >> bits) - first)
        row = select(row < 0, whole(0), select(row > last, last, row))
        q, r = part(np.uint64(whole(whole(i & mask) | hidden)), row)
        inside = a <= limit
        q = whole(q)
        r = real(r)
        minus = x < 0
        r = select(minus, -r, r)
        q = select(minus, whole(-q), q)
        r = select(inside, x, select(a - a == 0, r, a - a))  # NaN for what is not finite
        return select(inside, whole(0), q), r

    return impl


def _circular(shift: int) -> Any:
    def make(of: Any) -> Any:
        s, c = _tuple(of, of.sin), _tuple(of, of.cos)
        whole, one, half = of.whole, of.real(1), of.real(0.5)

        def impl(x: Any) -> Any:
            q, r = _quadrant(x)
            q = whole(q + shift)
            z = r * r
            odd = near(r * z, horner(z, s), r)
            odd = select(r == 0, r, odd)
            even = near(z * z, horner(z, c), near(-half, z, one))
            y = select(whole(q & 1) == 1, even, odd)
            return select(whole(q & 2) == 2, -y, y)

        return impl

    return make


def _named(name: str, doc: str, make: Any) -> Any:
    make.__name__, make.__doc__ = name, doc
    return _elementary(make)


sin = _named("sin", "The sine of an angle in radians.", _circular(0))
cos = _named("cos", "The cosine of an angle in radians.", _circular(1))

# ------------------------------------------------------------------------------ power


def power(x: Any, y: Any) -> Any:
    """``x**y`` with C's special cases; both of one type."""
    raise TypeError("power is for functions that Numba compiles")


def _log_double(x: Any) -> Any:
    raise TypeError("for functions that Numba compiles")


@overload(_log_double, jit_options=_OPTIONS)
def _(x: Any) -> Any:
    """The logarithm of a positive float64 as an unevaluated sum of two."""
    (ln2, rest), p = _Double.ln2, _tuple(_Double, _Double.log[:-1])
    third, third_low = np.float64(1 / 3), np.float64(1.850371707708594e-17)

    def impl(x: Any) -> Any:
        n, f = _log_parts(x)
        d = 2.0 + f
        s = f / d
        # The quotient's rest: the sum's rounding is known since f is below 2.
        s_low = (fma(-s, d, f) - s * (f - (d - 2.0))) / d
        z = s * s
        z_low = fma(s, s, -z) + 2.0 * s * s_low
        # log(1 + f) = 2s (1 + z/3 + z**2 q(z))
        t = z * third
        t_low = fma(z, third, -t) + z_low * third + z * third_low + z * z * horner(z, p)
        u = t + t_low
        u_low = (t - u) + t_low
        w = s * u
        w_low = fma(s, u, -w) + s * u_low + s_low * u
        a = s + w
        a_low = (s - a) + w + (w_low + s_low)
        a, a_low = 2.0 * a, 2.0 * a_low
        k = n * ln2
        y = k + a
        v = y - k
        y_low = (k - (y - v)) + (a - v) + near(n, rest, a_low)
        out = y + y_low
        return out, (y - out) + y_low

    return impl


@overload(power, jit_options=_OPTIONS)
def _(x: Any, y: Any) -> Any:
    of = _of(x)
    if of is None or x != y:
        return None
    one, half, two = of.real(1), of.real(0.5), of.real(2)
    infinity, nan = of.real(np.inf), of.real(np.nan)
    single, wide = np.float32, np.float64
    big = wide(1e300)

    def narrow_size(a: Any, y: Any) -> Any:
        return single(exp(wide(y) * log(wide(a))))

    def wide_size(a: Any, y: Any) -> Any:
        high, low = _log_double(a)
        high = select(a == 0, -infinity, select(a < infinity, high, a))
        low = select(magnitude(high) < infinity, low, wide(0))
        e = y * high
        rest = near(y, low, fma(y, high, -e))
        p = exp(e)
        return select((magnitude(e) < big) & (p < infinity), near(p, rest, p), p)

    import numba

    size = numba.njit(**_OPTIONS)(narrow_size if of is _Single else wide_size)

    def impl(x: Any, y: Any) -> Any:
        a = magnitude(x)
        p = size(a, y)
        whole = nearest(y) == y
        odd = whole & (nearest(half * y) * two != y)
        p = select((x < 0) & ~whole & (a < infinity), nan, p)
        p = select((a == one) & (magnitude(y) == infinity), one, p)
        p = select(odd, signed(p, x), p)
        p = select((x != x) | (y != y), nan, p)
        return select((y == 0) | (x == one), one, p)

    return impl
