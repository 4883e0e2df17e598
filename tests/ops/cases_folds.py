"""Methods of NumPy's ufuncs, called on an `Array`."""

from __future__ import annotations

from typing import Any

import numpy as np
from op_case import Sample, case
from op_draw import Draw, booleans, complexes, distinct, integers, real


def positive(shape: tuple[int, ...]) -> Any:
    return real(shape, 0.4, 2)


MAKERS: dict[str, Any] = {
    **dict.fromkeys(("maximum", "minimum", "fmax", "fmin"), distinct),
    **dict.fromkeys(("add", "logaddexp", "logaddexp2", "subtract"), real),
    **dict.fromkeys(("multiply", "hypot", "divide", "copysign"), positive),
    **dict.fromkeys(("bitwise_or", "gcd"), integers),
    "logical_xor": booleans,
}
NARROW = {"logaddexp2"}
"""What CuPy has not for float16."""


def _along(make: Any) -> Any:
    def sample(d: Draw) -> Sample:
        shape = d.shape(1)
        return [make(shape)], {"axis": d.axis(len(shape))}

    return sample


def _method(name: str, ufunc: Any, *more: Any, **fixed: Any) -> Any:
    return lambda x, **params: getattr(ufunc, name)(x, *more, **params, **fixed)


for ufunc_name, maker in MAKERS.items():
    ufunc = getattr(np, ufunc_name)
    constant = {} if maker in (distinct, real, positive) else {"low": False}
    for name in ("reduce", "accumulate"):
        f = _method(name, ufunc)
        case(f"{ufunc_name}.{name}", _along(maker), f, f, **constant)

for ufunc_name, maker in {"maximum": distinct, "logaddexp": real, "hypot": positive}.items():
    ufunc = getattr(np, ufunc_name)

    def start(d: Draw, make: Any = maker) -> Sample:
        shape = d.shape(1)
        return [make(shape)], {"axis": d.axes(len(shape)), "keepdims": d.flag()}

    f = _method("reduce", ufunc, initial=0.5)
    case(f"{ufunc_name}.reduce from a start, over axes", start, f, f)

    g = _method("reduce", ufunc, axis=1, initial=-1.0, where=np.array([True, False, True]))
    case(f"{ufunc_name}.reduce of some", lambda d, m=maker: ([m((2, 3))], {}), g, g, cuda=False)

for ufunc_name, maker in {"add": real, "multiply": real, "maximum": distinct}.items():
    ufunc = getattr(np, ufunc_name)
    for what, indices in {"": [0, 1, 3], " back and forth": [2, 0, 3, 1, 1]}.items():
        f = _method("reduceat", ufunc, indices)

        def rows(d: Draw, make: Any = maker) -> Sample:
            axis = d.pick([0, 1])
            return [make((4, 2) if axis == 0 else (2, 4))], {"axis": axis}

        case(f"{ufunc_name}.reduceat{what}", rows, f, f)

for ufunc_name in ("add", "subtract", "multiply", "maximum"):
    ufunc = getattr(np, ufunc_name)

    def pair(d: Draw) -> Sample:
        return [real(d.shape(high=2), -1, 0), real(d.shape(high=2), 0, 1)], {}

    case(f"{ufunc_name}.outer", pair, ufunc.outer, ufunc.outer)

case(
    "add.reduce complex, from a start",
    lambda d: ([complexes((2, 3))], {}),
    lambda x: np.add.reduce(x, axis=1, initial=2.0),
    lambda x: np.add.reduce(x, axis=1, initial=2.0),
)
