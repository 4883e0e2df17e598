"""Quantiles, averages, covariances, reductions past NaN, histograms, interpolation, diagonals."""

from __future__ import annotations

from typing import Any

import numpy as np
from op_case import Sample, case, over_axes
from op_draw import Draw, Maker, complexes, distinct, integers, real

import gpugrad.numpy as gnp
from gpugrad.ops.quantiles import METHODS


def holed(shape: tuple[int, ...]) -> Maker:
    """Distinct elements, the first of them NaN."""

    def make(rng: np.random.Generator) -> Any:
        x = np.array(distinct(shape)(rng))
        x.flat[0] = np.nan
        return x

    return make


# ------------------------------------------------------------------------------ quantiles

Q = [0.0, 0.13, 0.25, 0.5, 0.8, 1.0]

case("median", over_axes(distinct))
case("median with NaN", lambda d: ([holed((2, 3))], {"axis": d.pick([0, 1])}), smooth=False)
case("median of integers", over_axes(integers))
case("nanmedian", lambda d: ([holed((3, 3))], {"axis": d.pick([None, 0, 1, (0, 1)])}))


def _quantile(d: Draw) -> Sample:
    shape = d.shape(1)
    params = {"axis": d.axes(len(shape)) or None, "keepdims": d.flag()}
    return [distinct(shape)], {"q": d.pick([0.3, [0.1, 0.9], [[0.0], [1.0]]]), **params}


case("quantile", _quantile, low=False)
case(
    "quantile at an operand",
    lambda d: ([distinct((2, 4)), real((2,), 0.35, 0.6)], {"axis": d.pick([0, 1])}),
    low=False,
)
case(
    "percentile",
    lambda d: ([distinct((4,))], {"q": d.pick([30, 77.5, [10, 90]])}),
    low=False,
)
case(
    "percentile of integers",
    lambda d: ([integers((2, 3), 0, 50)], {"q": 40, "axis": d.pick([None, 0])}),
)
case(
    "quantile by every method",
    lambda d: ([distinct((d.integer(1, 5),))], {}),
    lambda x: [gnp.quantile(x, Q, method=m) for m in METHODS],
    lambda x: [np.quantile(x, Q, method=m) for m in METHODS],  # type: ignore[call-overload]
    low=False,
)
case(
    "nanquantile by every method",
    lambda d: ([holed((3, 2))], {}),
    lambda x: [gnp.nanquantile(x, [0.2, 0.6], 0, method=m) for m in METHODS],
    lambda x: [np.nanquantile(x, [0.2, 0.6], 0, method=m) for m in METHODS],  # type: ignore[call-overload]
    low=False,
)
case(
    "quantile with weights",
    lambda d: ([distinct((2, 4)), real((2, 4), 0.5, 1)], {"axis": d.pick([None, 0, 1])}),
    lambda x, w, axis: gnp.quantile(x, [0.3, 0.7], axis, method="inverted_cdf", weights=w),
    lambda x, w, axis: np.quantile(x, [0.3, 0.7], axis, method="inverted_cdf", weights=w),
    low=False,
)
case(
    "nanpercentile",
    lambda d: ([holed((3, 2))], {"q": 40, "axis": d.pick([None, 1]), "keepdims": d.flag()}),
    low=False,
)

# ------------------------------------------------------------------------------ averages

case("ptp", over_axes(distinct))


def _average(d: Draw) -> Sample:
    axis = d.pick([None, 0, 1, (1, 0)])
    return [real((3, 2)), real((3, 2), 0.5, 1)], {"axis": axis}


case(
    "average",
    _average,
    lambda x, w, axis: gnp.average(x, axis, w, returned=True),
    lambda x, w, axis: np.average(x, axis, w, returned=True),
)
case(
    "average by weights of the axes",
    lambda d: ([real((2, 3, 4)), real((4, 2), 0.5, 1)], {}),
    lambda x, w: gnp.average(x, (2, 0), w),
    lambda x, w: np.average(x, (2, 0), w),
)
case("average plain", over_axes(real), gnp.average, np.average)
case(
    "cov",
    lambda d: ([real((2, 4))], {"rowvar": d.flag(), "bias": d.flag()}),
    low=False,
)
case("cov complex", lambda d: ([complexes((2, 4))], {}), low=False)
case("cov of two", lambda d: ([real((4,)), real((4,))], {"ddof": d.pick([0, 1])}), low=False)
case(
    "cov with weights",
    lambda d: ([real((2, 4)), integers((4,), 1, 4), real((4,), 0.5, 1)], {"ddof": d.integer(0, 1)}),
    lambda x, f, a, ddof: gnp.cov(x, fweights=f, aweights=a, ddof=ddof),
    lambda x, f, a, ddof: np.cov(x, fweights=f, aweights=a, ddof=ddof),
    low=False,
)
case("corrcoef", lambda d: ([real((2, 4)), real((1, 4))], {}), low=False)
case("corrcoef complex", lambda d: ([complexes((2, 4))], {}), low=False)

# ------------------------------------------------------------------------------ past NaN


def _holed_axes(d: Draw) -> Sample:
    return [holed((3, 3))], {"axis": d.pick([None, 0, 1, (0, 1)]), "keepdims": d.flag()}


for _name in ("nansum", "nanprod", "nanmean", "nanmax", "nanmin"):
    case(_name, _holed_axes)
for _name in ("nanvar", "nanstd"):
    case(_name, _holed_axes, low=False)
KEPT = np.array([[True, True, True, False], [False, True, True, True]])
OPTIONS: dict[str, dict[str, Any]] = {
    **{name: {"initial": 5.0} for name in ("nansum", "nanprod", "nanmin")},
    "nanmax": {"initial": -5.0},
    "nanmean": {},
    **{name: {"correction": 0.5} for name in ("nanvar", "nanstd")},
}


def _some_of(name: str, numpy: Any) -> Any:
    def f(x: Any, mask: Any, axis: Any) -> Any:
        return getattr(numpy, name)(x, axis=axis, where=mask, **OPTIONS[name])

    return f


for _name in OPTIONS:
    case(
        f"{_name} of some",
        lambda d: ([holed((2, 4)), lambda rng: KEPT], {"axis": d.pick([None, 1])}),
        _some_of(_name, gnp),
        _some_of(_name, np),
        low=_name not in ("nanvar", "nanstd"),
    )
case("nanvar complex", lambda d: ([complexes((3, 2))], {"axis": 0, "ddof": 1}), low=False)


def _about(name: str, numpy: Any) -> Any:
    def f(x: Any, middle: Any, axis: int, ddof: int) -> Any:
        return getattr(numpy, name)(x, axis=axis, ddof=ddof, mean=middle)

    return f


for _name in ("var", "std"):
    case(
        f"{_name} about a mean",
        lambda d: ([real((3, 4)), real((3, 1))], {"axis": 1, "ddof": d.integer(0, 1)}),
        _about(_name, gnp),
        _about(_name, np),
        low=False,
    )
for _name in ("nanvar", "nanstd"):
    case(
        f"{_name} about a mean",
        lambda d: ([holed((3, 4)), real((3, 1))], {"axis": 1, "ddof": d.integer(0, 1)}),
        _about(_name, gnp),
        _about(_name, np),
        low=False,
    )
case("nanmean of integers", over_axes(integers))
for _name in ("nanargmax", "nanargmin"):
    case(_name, lambda d: ([holed((2, 3))], {"axis": d.pick([None, 1]), "keepdims": d.flag()}))

# ------------------------------------------------------------------------------ histograms

case(
    "bincount",
    lambda d: ([integers((6,), 0, 4)], {}),
    lambda x: gnp.bincount(x, length=5),
    lambda x: np.bincount(x, minlength=5),
)
case(
    "bincount with weights",
    lambda d: ([integers((6,), 0, 5), real((6,))], {}),
    lambda x, w: gnp.bincount(x, w, length=4),
    lambda x, w: np.bincount(x, w, minlength=5)[:4],
    low=False,
)
case(
    "histogram",
    lambda d: ([integers((7,), 0, 20), real((7,))], {"density": d.flag()}),
    lambda x, w, density: gnp.histogram(x, 3, density=density, weights=w),
    lambda x, w, density: np.histogram(x, 3, density=density, weights=w),
    low=False,
)
case(
    "histogram in given bins",
    lambda d: ([real((7,)), lambda rng: np.array([-1.0, 0, 0.5, 2])], {"density": d.flag()}),
    low=False,
    smooth=False,
)
case(
    "histogram over a range",
    lambda d: ([real((2, 4))], {"range": (-1, 1), "bins": 4}),
    low=False,
    smooth=False,
)
case(
    "histogram2d",
    lambda d: ([integers(s := (5,)), integers(s), real(s)], {"density": d.flag()}),
    lambda x, y, w, density: gnp.histogram2d(x, y, [2, 3], density=density, weights=w),
    lambda x, y, w, density: np.histogram2d(x, y, [2, 3], density=density, weights=w),
    low=False,
)
case(
    "histogramdd",
    lambda d: ([integers((5, 3)), real((5,))], {}),
    lambda x, w: gnp.histogramdd(x, 2, [(0, 5), (-1, 3), (0, 1)], weights=w)[0],
    lambda x, w: np.histogramdd(x, 2, [(0, 5), (-1, 3), (0, 1)], weights=w)[0],
    low=False,
)

# ------------------------------------------------------------------------------ interpolation


def _points(rng: np.random.Generator) -> Any:
    return np.array([-1.0, -0.2, 0.5, 1.0]) + rng.uniform(-0.05, 0.05, 4)


def _off_points(shape: tuple[int, ...]) -> Maker:
    return lambda rng: (
        rng.choice([-1.5, -0.6, 0.1, 0.8, 1.3], shape) + rng.uniform(-0.1, 0.1, shape)
    )


case("interp", lambda d: ([_off_points(d.shape()), _points, real((4,))], {}), low=False)
case(
    "interp with ends",
    lambda d: ([_off_points((3,)), _points, real((4,)), real(()), real(())], {}),
    low=False,
)
case(
    "interp of one point",
    lambda d: ([_off_points((3,)), real((1,), 0.4, 0.5), real((1,))], {}),
    low=False,
)
case(
    "interp periodic",
    lambda d: ([real((3,), 0.05, 0.15), lambda rng: np.array([2.2, 0.3, 4.5]), real((3,))], {}),
    lambda x, xp, fp: gnp.interp(x, xp, fp, period=2.5),
    lambda x, xp, fp: np.interp(x, xp, fp, period=2.5),
    low=False,
)
case("interp complex", lambda d: ([_off_points((3,)), _points, complexes((4,))], {}), low=False)

# ------------------------------------------------------------------------------ diagonals


def _turned(d: Draw) -> Sample:
    axes = d.pick([(0, 1), (1, 0), (-1, 0), (1, 2)])
    return [real((3, 2, 4))], {"offset": d.integer(-4, 4), "axis1": axes[0], "axis2": axes[1]}


case("diagonal", _turned)
case("trace", _turned)
case("diag", lambda d: ([real(d.pick([(3,), (3, 2)]))], {"k": d.integer(-2, 2)}))
case("diagflat", lambda d: ([real((2, 2))], {"k": d.integer(-2, 2)}))

# ------------------------------------------------------------------------------ where=, initial=

MASK = np.array([[True, False, True], [True, True, False]])


def _kept(d: Draw) -> Sample:
    return [distinct((2, 3))], {"axis": d.pick([None, 0, 1]), "keepdims": d.flag()}


def _masked(name: str, m: Any, **more: Any) -> Any:
    def f(x: Any, axis: Any, keepdims: bool) -> Any:
        mask = MASK if m is np else gnp.asarray(MASK, device=gnp.asarray(x).device)
        return getattr(m, name)(x, axis=axis, keepdims=keepdims, where=mask, **more)

    return f


for _name, _more in {
    "sum": {"initial": 2.0},
    "prod": {"initial": 2.0},
    "max": {"initial": 0.25},
    "min": {"initial": 0.25},
    "mean": {},
    "var": {"ddof": 0.5},
    "std": {},
    "any": {},
    "all": {},
}.items():
    case(
        f"{_name} of what a mask keeps",
        _kept,
        _masked(_name, gnp, **_more),
        _masked(_name, np, **_more),
        low=False,
    )
