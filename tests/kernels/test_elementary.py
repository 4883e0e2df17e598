"""The vectorising functions over the whole range of numbers, special cases included."""

from __future__ import annotations

import math

import numba
import numpy as np
import pytest
from gpugrad.kernels.cpu import elementary

DTYPES = ["float32", "float64"]
ULPS = {
    **dict.fromkeys(("exp", "expm1", "log", "log1p"), (2, 2)),
    **dict.fromkeys(("sin", "cos"), (2, 3)),
    **dict.fromkeys(("tanh", "erf", "sigmoid"), (3, 3)),
    "normal_cdf": (6, 6),
}


def loop(f):
    @numba.njit(error_model="numpy")
    def run(x, out):
        for i in range(x.size):
            out[i] = f(x[i])

    return run


def compiled(name):
    run = loop(getattr(elementary, name))

    def f(x):
        out = np.empty_like(x)
        run(x, out)
        return out

    return f


def cdf(x):
    """By the complementary error function, whose argument's rounding is made up for."""
    t = -x / np.sqrt(np.longdouble(2))
    near = t.astype("f8")
    slope = -2 / np.sqrt(np.pi) * np.exp(-near * near)
    return (
        np.vectorize(math.erfc, otypes=["f8"])(near) + np.where(slope == 0, 0, slope * (t - near))
    ) / 2


REFERENCE = {
    "erf": lambda x: np.vectorize(math.erf, otypes=["f8"])(x.astype("f8")),
    "sigmoid": lambda x: np.where(x < 0, np.exp(x), 1) / (1 + np.exp(-abs(x))),
    "normal_cdf": cdf,
}


def anywhere(dtype, count=40_000):
    """Random bits are numbers of every size, denormals, infinities and NaN; and usual sizes."""
    rng = np.random.default_rng(0)
    wide = rng.integers(0, 256, count * np.dtype(dtype).itemsize, "u1").view(dtype)
    near = [rng.normal(0, s, count // 2) for s in (1e-3, 1, 8, 60, 600)]
    with np.errstate(all="ignore"):
        return np.concatenate([wide, *[v.astype(dtype) for v in near], special(dtype)])


def special(dtype):
    info = np.finfo(dtype)
    sizes = [0, info.smallest_subnormal, info.tiny, 1, 2, 1 + info.eps, 88.8, 709.8, info.max]
    return np.array([s * v for v in [*sizes, np.inf, np.nan] for s in (1, -1)], dtype)


def ulps(got, want):
    """The distance from a more precise result, in units of the last place of ``got``'s dtype."""
    info = np.finfo(got.dtype)
    exponent = np.frexp(np.maximum(abs(want.astype("f8")), float(info.tiny)))[1] - 1
    unit = np.ldexp(1.0, np.maximum(exponent - info.nmant, info.minexp - info.nmant))
    near = (got.astype(np.longdouble) - want) / np.maximum(unit, info.smallest_subnormal)
    over = abs(want) > np.longdouble(info.max)
    near = np.where(over, np.where(got == np.copysign(np.inf, want), 0, np.inf), abs(near))
    # What is rounded to infinity lies within half a unit of it.
    return np.where(np.isinf(got) & (abs(want) > np.longdouble(info.max) * (1 - 1e-7)), 0, near)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ULPS)
def test_whole_range(name, dtype):
    x = anywhere(dtype)
    with np.errstate(all="ignore"):
        want = REFERENCE.get(name) or getattr(np, name)
        want = np.asarray(want(x.astype(np.longdouble)))
        got = compiled(name)(x)
        assert got.dtype == dtype
        np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
        fine = ~np.isnan(want) & ~np.isinf(want)
        np.testing.assert_array_equal(got[np.isinf(want)], want[np.isinf(want)].astype(dtype))
        away = ulps(got[fine], want[fine])
    worst = np.argmax(away)
    bound = ULPS[name][DTYPES.index(dtype)]
    assert away[worst] <= bound, (x[fine][worst], got[fine][worst], want[fine][worst], away[worst])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["sin", "expm1", "log1p", "tanh", "erf"])
def test_zero_keeps_its_sign(name, dtype):
    y = compiled(name)(np.array([0.0, -0.0], dtype))
    assert y.tolist() == [0, 0]
    assert np.signbit(y).tolist() == [False, True]


@pytest.mark.parametrize("dtype", DTYPES)
def test_power(dtype):
    @numba.njit(error_model="numpy")
    def run(x, y, out):
        for i in range(x.size):
            out[i] = elementary.power(x[i], y[i])

    rng = np.random.default_rng(1)
    half = 20_000
    bases = [rng.lognormal(0, s, half) for s in (0.01, 1, 30)]
    powers = [rng.normal(0, s, half) for s in (2000, 30, 1)]
    edges = [0.0, -0.0, 0.5, 1, 2, 3, 4, 1e30, np.inf, np.nan]
    edges = np.array([*edges, *[-e for e in edges], -1.5, 3e-310, 2.0**24 + 1, 2.0**53])
    with np.errstate(all="ignore"):
        x = np.concatenate([*bases, -bases[1], np.repeat(edges, edges.size)]).astype(dtype)
    y = np.concatenate([*powers, rng.integers(-9, 9, half), np.tile(edges, edges.size)])
    y = y.astype(dtype)
    out = np.empty_like(x)
    run(x, y, out)
    with np.errstate(all="ignore"):
        want = np.power(x.astype(np.longdouble), y.astype(np.longdouble))
        exact = np.power(x, y)
        np.testing.assert_array_equal(np.isnan(out), np.isnan(exact))
        known = np.isinf(exact) | (exact == 0)
        fine = np.isfinite(want) & ~known
        away = ulps(out[fine], want[fine])
    # Zeros and infinities and their signs are C's.
    sure = known & ((x == 0) | np.isinf(x) | np.isinf(y) | (y == 0))
    np.testing.assert_array_equal(out[sure], exact[sure])
    np.testing.assert_array_equal(np.signbit(out[sure]), np.signbit(exact[sure]))
    worst = np.argmax(away)
    assert away[worst] <= (1 if dtype == "float32" else 4), (x[fine][worst], y[fine][worst])


@pytest.mark.parametrize("dtype", DTYPES)
def test_density_comes_with_the_distribution(dtype):
    @numba.njit(error_model="numpy")
    def run(x, out):
        for i in range(x.size):
            out[i] = elementary.normal_pair(x[i])[1]

    x = np.linspace(-9, 9, 1001).astype(dtype)
    out = np.empty_like(x)
    run(x, out)
    want = np.exp(-(x.astype(np.longdouble) ** 2) / 2) / np.sqrt(2 * np.pi)
    np.testing.assert_allclose(out, want, rtol=8 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", DTYPES)
def test_slope_of_gelu(dtype):
    x = np.concatenate([np.linspace(-20, 20, 20_001).astype(dtype), anywhere(dtype)])
    with np.errstate(invalid="ignore"):
        near = np.clip(x.astype(np.longdouble), -40, 40)
    want = cdf(near) + near * np.exp(-near * near / 2) / np.sqrt(2 * np.longdouble(np.pi))
    got = compiled("gelu_slope")(x)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(x))
    known = ~np.isnan(x)
    away = abs(got[known] - want[known]) / np.finfo(dtype).eps
    assert away.max() <= (1 if dtype == "float32" else 2), x[known][away.argmax()]
    assert compiled("gelu_slope")(np.array([0, -np.inf, np.inf], dtype)).tolist() == [0.5, 0, 1]
    # Below 0 it is small, and its digits are right where it still counts.
    tail = (x > -4) & (x < -1)
    np.testing.assert_allclose(got[tail], want[tail].astype("f8"), rtol=1e-5)


@pytest.mark.parametrize("name", ["exp", "gelu_slope", "log", "tanh", "erf", "sigmoid"])
def test_loops_become_vector_instructions(name):
    run = loop(getattr(elementary, name))
    run(np.ones(4, "f4"), np.ones(4, "f4"))
    (text,) = run.inspect_llvm().values()
    assert " x float>" in text


def test_reordering_licence_of_the_caller_does_no_harm():
    @numba.njit(fastmath=True)
    def run(x, out):
        for i in range(x.size):
            out[i] = elementary.exp(x[i])

    x = np.array([np.nan, np.inf, -np.inf, 1, -100], "f4")
    out = np.empty_like(x)
    run(x, out)
    np.testing.assert_allclose(out, np.exp(x.astype("f8")), rtol=1e-5, atol=1e-45)


def test_called_outside_of_a_kernel():
    with pytest.raises(TypeError, match="exp is for functions that Numba compiles"):
        elementary.exp(1.0)
    with pytest.raises(TypeError, match="power is for"):
        elementary.power(1.0, 2.0)
