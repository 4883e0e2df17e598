"""Sums, means, variances and products of float16 and bfloat16 are taken in float32."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

import gpugrad as gg
import gpugrad.numpy as gnp

EPS = {"float16": 2.0**-11, "bfloat16": 2.0**-8}
NEAR_1 = {"prod", "cumprod", "nanprod"}
NAMES = sorted({
    "sum", "mean", "var", "std", "prod", "cumsum", "cumprod", "average", "nansum", "nanmean",
    "nanvar", "nanprod", "median", "max",
})  # fmt: skip


def dtype_of(name):
    return np.dtype(getattr(ml_dtypes, name) if name == "bfloat16" else name)


def draw(name, dtype):
    x = np.random.default_rng(0).random((1000, 7)) + 1
    return (1 + (x - 1.5) / 50 if name in NEAR_1 else x).astype(dtype_of(dtype))


@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize("dtype", EPS)
@pytest.mark.parametrize("name", NAMES)
def test_the_result_is_rounded_once(name, dtype, axis, device):
    x = draw(name, dtype)
    want = np.asarray(getattr(np, name)(x.astype("f8"), axis=axis))
    got = getattr(gnp, name)(gg.Array(x, device=device), axis=axis)
    assert got.dtype == x.dtype
    # A median is the mean of two, and variances have the rounding of a root or a few sums besides.
    np.testing.assert_allclose(got.astype("f8").numpy(), want, rtol=2.5 * EPS[dtype])


@pytest.mark.parametrize("dtype", EPS)
@pytest.mark.parametrize("name", ["sum", "mean", "var", "std", "cumsum"])
def test_as_torch(name, dtype):
    torch = pytest.importorskip("torch")
    x = draw(name, dtype)
    options = {"correction": 0} if name in ("var", "std") else {}
    t = torch.tensor(x.astype("f4")).to(getattr(torch, dtype))
    want = getattr(torch, name)(t, 0, **options).float().numpy()
    got = getattr(gnp, name)(x, axis=0)
    assert got.dtype == x.dtype
    np.testing.assert_allclose(got.astype("f4"), want, rtol=2.5 * EPS[dtype])


@pytest.mark.parametrize("dtype", EPS)
@pytest.mark.parametrize("name", ["sum", "mean", "var", "std", "prod"])
def test_gradients_have_the_dtype_and_are_right(name, dtype, device):
    x = draw(name, dtype)[:200]
    slope = gg.grad(lambda x: getattr(gnp, name)(x, axis=0).astype("float32").sum())
    got = slope(gg.Array(x, device=device))
    assert got.dtype == x.dtype
    want = gg.grad(lambda x: getattr(np, name)(x, axis=0).sum())(x.astype("f8"))
    scale = np.abs(want).max()
    np.testing.assert_allclose(got.astype("f8").numpy(), want, atol=8 * EPS[dtype] * scale)


def test_squares_beyond_the_range_of_float16(device):
    x = gg.Array(np.array([0.0, 0.0, 0.0, 600.0], "f2"), device=device)
    assert float(gnp.std(x)) == pytest.approx(np.std([0, 0, 0, 600]), rel=1e-3)
    few = gg.Array(np.array([0.0] * 99 + [600.0], "f2"), device=device)
    assert float(gnp.var(few)) == pytest.approx(np.var([0] * 99 + [600]), rel=1e-3)


def test_a_choice_between_bfloat16_is_bfloat16(device):
    x = gg.Array(np.arange(4).astype(ml_dtypes.bfloat16), device=device)
    for y in (gnp.where(x > 1, x, 0), gnp.where(x > 1, x, x), np.where(x > 1, 1, x)):
        assert y.dtype == x.dtype
    assert gnp.where(x > 1, x, gg.Array(np.ones(4, "f4"), device=device)).dtype == "float32"
    assert gg.grad(lambda x: gnp.where(x > 1, x, 0).astype("f4").sum())(x).dtype == x.dtype
