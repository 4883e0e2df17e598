"""Turning, inserting, blocks, choices, polynomials, parts of numbers, products of vectors."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from op_case import Sample, case, one, two
from op_draw import (
    Draw,
    between_integers,
    booleans,
    complexes,
    integers,
    nonzero,
    real,
)

import gpugrad.numpy as gnp

# ------------------------------------------------------------------------------ arrangement

case(
    "rot90",
    lambda d: ([real((2, 3, 2))], {"k": d.integer(-1, 4), "axes": d.pick([(0, 1), (2, 0)])}),
)
case("fliplr", lambda d: ([real((2, 3))], {}))
case("flipud", lambda d: ([real((2, 3))], {}))
case("rollaxis", lambda d: ([real((2, 3, 4))], {"axis": d.axis(3), "start": d.integer(-2, 3)}))
for _name in ("atleast_1d", "atleast_2d", "atleast_3d"):
    case(_name, one(real))
case("append", lambda d: ([real((2, 3)), real((1, 3))], {"axis": d.pick([None, 0])}))
case("resize", lambda d: ([real((2, 3))], {"new_shape": d.pick([(2, 2), (5, 3), 4, (0,)])}))
case(
    "delete",
    lambda d: (
        [real((4, 3))],
        {"obj": d.pick([1, -1, [0, 2], slice(0, 2)]), "axis": d.pick([None, 0])},
    ),
)


def _insert(d: Draw) -> Sample:
    obj, shape = d.pick([(1, (2, 3)), (-1, (3,)), ([1], (3,)), ([0, 2, 2], (3, 3)), ([1, 3], ())])
    return [real((4, 3)), real(shape)], {"obj": obj}


case(
    "insert",
    _insert,
    lambda x, v, obj: gnp.insert(x, obj, v, 0),
    lambda x, v, obj: np.insert(x, obj, v, 0),
)
case(
    "insert flat",
    lambda d: ([real((2, 2)), real((2,))], {"obj": d.pick([1, [0, 3], slice(1, 3)])}),
    lambda x, v, obj: gnp.insert(x, obj, v),
    lambda x, v, obj: np.insert(x, obj, v),
)


def _split_by(name: str) -> Callable[..., Any]:
    return lambda x, indices_or_sections: getattr(gnp, name)(x, indices_or_sections)


for _name, _shape in {"hsplit": (2, 4), "vsplit": (4, 2), "dsplit": (1, 2, 4)}.items():
    case(
        _name,
        lambda d, s=_shape: ([real(s)], {"indices_or_sections": d.pick([2, [1, 3]])}),  # type: ignore[misc]
        _split_by(_name),
    )


def _block(m: Any) -> Callable[..., Any]:
    return lambda a, b, c: m.block([[a, b], [c, m.block([c, 2 * c])]])


case(
    "block",
    lambda d: ([real((2, 2)), real((2, 4)), real((2,))], {}),
    _block(gnp),
    _block(np),
)
case(
    "block of vectors",
    lambda d: ([real((d.integer(1, 3),))], {}),
    lambda x: gnp.block([x, 1.0]),
    lambda x: np.block([x, 1.0]),
)


def _joined(m: Any) -> Callable[..., Any]:
    return lambda a, b: [m.r_[a, 2.0, 0:3, b, 0:1:3j], m.c_[a, b], m.r_["0,2", a, b]]


case("r_ and c_", lambda d: ([real((3,)), real((3,))], {}), _joined(gnp), _joined(np), low=False)

# ------------------------------------------------------------------------------ choices


def _select(m: Any) -> Callable[..., Any]:
    return lambda c, d, a, b: m.select([c, d], [a, b], 1.5)


case(
    "select",
    lambda d: ([booleans(s := d.shape()), booleans(s), real(s), real(s)], {}),
    _select(gnp),
    _select(np),
)


def _choose(d: Draw) -> Sample:
    return [integers((3,), 0, 2), real((2, 3)), real((1,))], {"mode": d.pick(["wrap", "clip"])}


case(
    "choose",
    _choose,
    lambda i, a, b, mode: gnp.choose(i * 2 - 1, [a, b], mode),
    lambda i, a, b, mode: np.choose(i * 2 - 1, [a, b], mode=mode),
)


def _pieces(m: Any) -> Callable[..., Any]:
    return lambda x: m.piecewise(x, [x < 0, x > 1], [lambda t: t * t, 3.0, lambda t: -m.exp(t)])


case("piecewise", one(between_integers), _pieces(gnp), _pieces(np))
case(
    "compress",
    lambda d: ([real((3, 2))], {"axis": d.pick([None, 0])}),
    lambda x, axis: gnp.compress([True, False, True], x, axis),
    lambda x, axis: np.compress([True, False, True], x, axis),
)
case("isclose", two(between_integers), smooth=False)
case("iscomplex", one(complexes))
case("isreal", one(real))
for _name in ("isposinf", "isneginf"):
    case(_name, one(real))

# ------------------------------------------------------------------------------ polynomials


def _two_polynomials(d: Draw) -> Sample:
    return [real((d.integer(1, 4),), 0.5, 1), real((d.integer(1, 3),), 0.5, 1)], {}


case("polyval", lambda d: ([real((d.integer(1, 4),)), real(d.shape())], {}))
for _name in ("polyadd", "polysub", "polymul"):
    case(_name, _two_polynomials)
case("polymul complex", lambda d: ([complexes((3,)), complexes((2,))], {}))
case(
    "polydiv",
    lambda d: ([real((4,), 0.5, 1), real((2,), 0.5, 1)], {}),
    lambda u, v: gnp.polydiv(u, v),
    lambda u, v: np.polydiv(u, v),
    low=False,
)
case("polyder", lambda d: ([real((4,))], {"m": d.integer(0, 3)}), low=False)
case(
    "polyint",
    lambda d: ([real((3,)), real((2,))], {}),
    lambda p, k: gnp.polyint(p, 2, k),
    lambda p, k: np.polyint(p, 2, k),
    low=False,
)
case("poly of a matrix", lambda d: ([real((3, 3))], {}), low=False)
case("poly", lambda d: ([real((d.integer(1, 4),))], {}), low=False)
case("vander", lambda d: ([real((3,))], {"N": d.integer(1, 4), "increasing": d.flag()}), low=False)

# ------------------------------------------------------------------------------ parts of numbers

BITS = ["big", "little"]

case("modf", one(between_integers))
case(
    "frexp",
    one(lambda s: real(s, 0.6, 0.9)),
    lambda x: gnp.frexp(x * 8)[0] * 3,
    lambda x: np.frexp(x * 8)[0] * 3,
)
case("frexp exponent", one(nonzero), lambda x: gnp.frexp(x)[1], lambda x: np.frexp(x)[1])
case("ldexp", two(real, integers))
case(
    "divmod",
    lambda d: ([real(s := d.shape(), 2.1, 2.8), real(s, 1.02, 1.04)], {}),
    gnp.divmod,
    np.divmod,
)
for _name in ("gcd", "lcm"):
    case(_name, two(lambda s: integers(s, 1, 20)))
case("bitwise_count", one(integers))
case("angle", lambda d: ([complexes(d.shape())], {"deg": d.flag()}))
case("angle of real", one(nonzero), gnp.angle, np.angle, low=False)
case(
    "unravel_index",
    one(integers),
    lambda x: gnp.unravel_index(x, (2, 3)),
    lambda x: np.unravel_index(x, (2, 3)),
)
case(
    "packbits",
    lambda d: ([booleans((3, 9))], {"axis": d.pick([None, 0, 1]), "bitorder": d.pick(BITS)}),
)
case(
    "unpackbits",
    lambda d: (
        [lambda rng: rng.integers(0, 256, (3, 2)).astype(np.uint8)],
        {"axis": d.pick([None, 0, 1]), "bitorder": d.pick(BITS), "count": d.pick([None, 9, 20])},
    ),
)
case(
    "nan_to_num by values",
    lambda d: ([real(d.shape())], {}),
    lambda x: gnp.nan_to_num(x, nan=1.0, posinf=2.0),
    lambda x: np.nan_to_num(x, nan=1.0, posinf=2.0),
)

# ------------------------------------------------------------------------------ products, grids


def _cross(d: Draw) -> Sample:
    if d.flag():
        return [real((2, 3)), real((3,))], {}
    return [real((3, 2)), real((2, 3))], {"axisa": 0, "axisb": -1, "axisc": d.pick([0, 1])}


def _cross_of_a_plane(a: Any, b: Any, **axes: int) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return np.cross(a, b, **axes)


case("cross", _cross)
case(
    "cross of a plane",
    lambda d: d.pick(
        [
            ([real((3, 2)), real((2,))], {}),
            ([real((2, 3)), real((3, 2))], {"axisa": 0}),
            ([real((3,)), real((4, 2))], {}),
            ([real((2, 3)), real((3, 1))], {"axis": 0}),
        ]
    ),
    gnp.cross,
    _cross_of_a_plane,
)
case("kron", lambda d: ([real(d.shape()), real(d.shape(high=2))], {}))
case("matvec", lambda d: ([real((2, 3, 4)), real((4,))], {}))
case("vecmat", lambda d: ([complexes((2, 3)), complexes((3, 4))], {}))
case(
    "einsum in a given order",
    lambda d: ([real((2, 3)), real((3, 4)), real((4, 2))], {}),
    lambda a, b, c: gnp.einsum(
        "ij,jk,kl", a, b, c, optimize=gnp.einsum_path("ij,jk,kl", a, b, c)[0]
    ),
    lambda a, b, c: a @ b @ c,
)


def _ranges(d: Draw) -> Sample:
    s = d.pick([(), (2,)])
    options = {"num": d.integer(1, 4), "endpoint": d.flag(), "axis": d.pick([0, -1])}
    return [real(s, 0.5, 1), real((), 2, 3)], options


for _name in ("linspace", "logspace", "geomspace"):
    case(_name, _ranges, low=False)
case(
    "kaiser",
    lambda d: ([real((), 1, 9)], {}),
    lambda beta: gnp.kaiser(5, beta),
    lambda beta: np.kaiser(5, beta),
    low=False,
)
