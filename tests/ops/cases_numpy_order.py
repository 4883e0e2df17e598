"""Sorting, searching, running products and differences, as NumPy has them."""

from __future__ import annotations

from typing import Any

import numpy as np
from op_case import Sample, case, over_axis
from op_draw import Draw, complexes, distinct, integers, nonzero, real, some_zeros

import gpugrad.numpy as gnp

case("sort", over_axis(distinct, keep=False))
case("sort of integers", over_axis(integers, keep=False))
case(
    "sort descending",
    lambda d: ([distinct((2, 3))], {"axis": d.pick([0, 1])}),
    lambda x, axis: gnp.sort(x, axis, descending=True),
    lambda x, axis: np.flip(np.sort(x, axis), axis),
)
case("argsort", over_axis(distinct, keep=False))
case(
    "argsort descending, ties in order",
    lambda d: ([integers((4,), 0, 2)], {}),
    lambda x: gnp.argsort(x, descending=True),
    lambda x: np.argsort(-x, kind="stable"),
)
case("sort_complex", lambda d: ([complexes((3,))], {}), low=False)


def _kth(d: Draw) -> Sample:
    return [distinct((2, 3))], {"kth": d.pick([0, 1, -1]), "axis": d.pick([0, 1])}


case(
    "partition",
    _kth,
    lambda x, kth, axis: gnp.take(gnp.partition(x, kth, axis), kth, axis),
    lambda x, kth, axis: np.take(np.sort(x, axis), kth, axis),
)
case(
    "argpartition",
    _kth,
    lambda x, kth, axis: gnp.take(gnp.argpartition(x, kth, axis), kth, axis),
    lambda x, kth, axis: np.take(np.argsort(x, axis), kth, axis),
)
case(
    "lexsort",
    lambda d: ([integers((4,), 0, 2), integers((4,), 0, 2), real((4,))], {}),
    lambda a, b, c: gnp.lexsort((c, b, a)),
    lambda a, b, c: np.lexsort((c, b, a)),
)


def _ascending(n: int) -> Any:
    return lambda rng: np.sort(rng.uniform(-2, 2, n))


case(
    "searchsorted",
    lambda d: ([_ascending(4), real(d.shape())], {"side": d.pick(["left", "right"])}),
    low=False,
)
case(
    "searchsorted with a sorter",
    lambda d: ([distinct((3,)), real((2,))], {}),
    lambda a, v: gnp.searchsorted(a, v, sorter=gnp.argsort(a)),
    lambda a, v: np.searchsorted(a, v, sorter=np.argsort(a)),
    low=False,
)
case(
    "digitize",
    lambda d: ([real(d.shape()), _ascending(3)], {"right": d.flag()}),
    low=False,
)
case(
    "digitize in falling bins",
    lambda d: ([integers((4,)), lambda rng: np.array([4, 2, 1])], {"right": d.flag()}),
)

case("cumprod", over_axis(nonzero, keep=False))
case("cumprod with zeros", over_axis(some_zeros, keep=False))
case("cumprod complex", lambda d: ([complexes((5,))], {"axis": 0}))
case("cumulative_prod", lambda d: ([nonzero((3,))], {"include_initial": d.flag()}))
case(
    "cumulative_sum",
    lambda d: ([real((2, 3))], {"axis": d.pick([0, -1]), "include_initial": d.flag()}),
)


def _holed(shape: tuple[int, ...]) -> Any:
    def make(rng: np.random.Generator) -> Any:
        x = rng.uniform(0.5, 1.5, shape)
        x.flat[0] = np.nan
        return x

    return make


case("nancumsum", lambda d: ([_holed((2, 3))], {"axis": d.pick([None, 0, 1])}))
case("nancumprod", lambda d: ([_holed((2, 3))], {"axis": d.pick([None, 0, 1])}))

case("diff", lambda d: ([real((3, 4))], {"n": d.integer(0, 2), "axis": d.pick([0, -1])}))
case(
    "diff with ends",
    lambda d: ([real((3,)), real(()), real((2,))], {}),
    lambda x, a, b: gnp.diff(x, prepend=a, append=b),
    lambda x, a, b: np.diff(x, prepend=a, append=b),
)
case(
    "ediff1d",
    lambda d: ([real((2, 2)), real((2,)), real(())], {}),
    lambda x, a, b: gnp.ediff1d(x, to_end=a, to_begin=b),
    lambda x, a, b: np.ediff1d(x, to_end=a, to_begin=b),
)
case(
    "gradient",
    lambda d: ([real((3, 4))], {"axis": d.pick([None, 0, 1]), "edge_order": d.integer(1, 2)}),
    low=False,
)


def _spaced(rng: np.random.Generator) -> Any:
    return np.cumsum(rng.uniform(0.5, 1, 4))


case(
    "gradient at coordinates",
    lambda d: (
        [real((3, 4)), lambda rng: np.cumsum(rng.uniform(0.5, 1, 4))],
        {"o": d.pick([1, 2])},
    ),
    lambda f, x, o: gnp.gradient(f, 2.0, x, edge_order=o),
    lambda f, x, o: np.gradient(f, 2.0, x, edge_order=o),
    low=False,
)
case(
    "trapezoid",
    lambda d: ([real((3, 4)), real(d.pick([(4,), (3, 4)]))], {}),
    lambda y, x: gnp.trapezoid(y, x),
    lambda y, x: np.trapezoid(y, x),
    low=False,
)
case(
    "trapezoid by steps", lambda d: ([real((3, 4))], {"dx": 0.5, "axis": d.pick([0, 1])}), low=False
)
case("unwrap", lambda d: ([real((2, 4), -9, 9)], {"axis": d.pick([0, -1])}), low=False)
case("unwrap by degrees", lambda d: ([real((4,), -300, 300)], {"period": 360}), low=False)
