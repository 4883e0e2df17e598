"""Special functions, each on a part of its domain where it is smooth."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.special
from op_case import Sample, case, one, over_axes, two, within
from op_draw import Draw, complexes, real

import gpugrad.scipy.special as ours
from gpugrad.ops import incomplete
from gpugrad.ops.gamma import (
    betainc_by_a,
    betainc_by_aa,
    betainc_by_ab,
    gammainc_by_a,
    gammainc_by_aa,
)

for _name, _domain in {
    "gamma": (0.5, 3),
    "gammaln": (0.5, 4),
    "loggamma": (0.5, 4),
    "rgamma": (0.5, 3),
    "digamma": (0.5, 4),
    "gammasgn": (0.5, 3),
    "erf": (-2, 2),
    "erfc": (-2, 2),
    "erfcx": (-1, 2),
    "erfinv": (-0.8, 0.8),
    "erfcinv": (0.3, 1.7),
    "ndtr": (-2, 2),
    "ndtri": (0.1, 0.9),
    "log_ndtr": (-4, 2),
    "exp1": (0.5, 3),
    "expi": (0.5, 3),
    "expit": (-3, 3),
    "logit": (0.1, 0.9),
    "log_expit": (-3, 3),
    "entr": (0.3, 2),
    "j0": (-5, 5),
    "j1": (0.3, 5),
    "y0": (0.5, 5),
    "y1": (0.5, 5),
    "i0": (-3, 3),
    "i1": (0.3, 3),
    "i0e": (0.3, 3),
    "i1e": (-3, -0.3),
    "k0": (0.5, 3),
    "k1": (0.5, 3),
    "k0e": (0.5, 3),
    "k1e": (0.5, 3),
}.items():
    case(
        "special." + _name,
        one(real, *_domain),
        getattr(ours, _name),
        getattr(scipy.special, _name),
    )
for _name in ("erfi", "dawsn"):
    case(
        "special." + _name,
        one(real, -1, 1),
        getattr(ours, _name),
        getattr(scipy.special, _name),
        cuda=False,
    )

positive = within(0.5, 2.5)
for _name in ("beta", "betaln", "poch", "xlogy", "xlog1py", "rel_entr", "kl_div"):
    case("special." + _name, two(positive), getattr(ours, _name), getattr(scipy.special, _name))


def by_last(name: str, *choices: Any, low: float = 0.8, high: float = 4, **options: bool) -> None:
    """A function that is differentiated by its last operand; the first ones are numbers."""
    f, ref = getattr(ours, name), getattr(scipy.special, name)

    def sample(d: Draw) -> Sample:
        return [real(d.shape(), low, high)], {"first": d.pick(choices)}

    case(
        f"special.{name}" + ("" if options.get("cuda", True) else " of fractional order"),
        sample,
        lambda x, first: f(*first, x),
        lambda x, first: np.asarray(ref(*first, x), x.dtype),  # SciPy's is float64 beside numbers
        **options,
    )


by_last("polygamma", (0,), (1,), (2,))
by_last("zeta", (2.5,), (3,))
for _name in ("gammainc", "gammaincc"):
    by_last(_name, (1.5,), (2,), high=2.5)
by_last("stdtr", (2.5,), (5,), low=-4)
# Their values are compared with differences of SciPy's functions in tests/scipy/test_special.py.
for _slope, _series, _first, _high in (
    (gammainc_by_a, incomplete.gammainc_slope, (1.5,), 2.5),
    (gammainc_by_aa, incomplete.gammainc_bend, (1.5,), 2.5),
    (betainc_by_a, incomplete.betainc_slope, (1.5, 2.5), 0.9),
    (betainc_by_aa, incomplete.betainc_bend, (1.5, 2.5), 0.9),
    (betainc_by_ab, incomplete.betainc_twist, (1.5, 2.5), 0.9),
):
    case(
        f"special.{_slope.name}",
        one(real, 0.1, _high),
        lambda x, f=_slope, first=_first: f(*first, x),
        lambda x, f=_series, first=_first: np.asarray(
            f(np, *map(np.float64, first), x.astype(float)), x.dtype
        ),
    )
by_last("betainc", (1.5, 2.5), (2, 1), low=0.1, high=0.9)
by_last("expn", (3,), (2,))
for _name in ("jv", "yv", "iv", "ive", "kv", "kve"):
    by_last(_name, (0,), (1,), (2,), (5,), (-3,))
    by_last(_name, (1.5,), (-0.5,), cuda=False)

case(
    "special.multigammaln",
    one(real, 2, 4),
    lambda x: ours.multigammaln(x, 3),
    lambda x: scipy.special.multigammaln(x, 3),
    low=False,  # SciPy makes float64 of float32
)


def _weighted(d: Draw) -> Sample:
    shape = d.shape(1)
    return [real(shape), real(shape, 0.3, 1)], {
        "axis": d.axes(len(shape)),
        "keepdims": d.flag(),
    }


case(
    "special.logsumexp",
    over_axes(real, 1),
    ours.logsumexp,
    lambda x, **k: scipy.special.logsumexp(x, **k),
)
case(
    "special.logsumexp with factors",
    _weighted,
    lambda a, b, **k: ours.logsumexp(a, b=b, **k),
    lambda a, b, **k: scipy.special.logsumexp(a, b=b, **k),
)
case(
    "special.logsumexp and sign",
    lambda d: ([real(s := d.shape(1)), real(s, -1, -0.3)], {}),
    lambda a, b: ours.logsumexp(a, b=b, return_sign=True)[0],
    lambda a, b: scipy.special.logsumexp(a, b=b, return_sign=True)[0],
)
for _name in ("softmax", "log_softmax"):
    case(
        "special." + _name,
        lambda d: ([real(s := d.shape(1))], {"axis": d.pick([None, d.axis(len(s))])}),
        getattr(ours, _name),
        getattr(scipy.special, _name),
    )

for _name in ("erf", "erfc", "erfcx"):
    case(
        f"special.{_name} complex",
        one(complexes),
        getattr(ours, _name),
        getattr(scipy.special, _name),
        cuda=False,
    )
