"""Running sums and products against NumPy's."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from gpugrad.kernels import scan

import gpugrad as gg
import gpugrad.numpy as gnp
from gpugrad.device import CPU, to_device

EXACT = {"float16": 4e-3, "bfloat16": 4e-2, "float32": 1e-5, "float64": 1e-13}


@pytest.mark.parametrize("dtype", EXACT)
@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((5,), 0),
        ((4096,), 0),
        ((3, 5001), 1),
        ((2048 * 3 + 8,), 0),
        ((300, 3), 0),
        ((2, 700, 33), 1),
        ((1, 1), 0),
        ((3, 2, 4), 2),
    ],
)
def test_against_numpy(device, dtype, shape, axis):
    rng = np.random.default_rng(0)
    kind = ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
    x = rng.uniform(-1, 1, shape).astype(kind)
    near_one = (1 + rng.uniform(-1, 1, shape) / 64).astype(kind)
    for op, values, reference in (("Sum", x, np.cumsum), ("Product", near_one, np.cumprod)):
        got = to_device(scan.running(op, to_device(values, device), axis), CPU)
        want = reference(values.astype(float), axis=axis)
        assert str(got.dtype) == dtype
        scale = max(1.0, np.abs(want).max())
        np.testing.assert_allclose(
            got.astype(float), want, rtol=EXACT[dtype], atol=EXACT[dtype] * scale
        )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_on_the_cpu_the_bits_are_numpys(dtype):
    x = np.random.default_rng(3).uniform(0.99, 1.01, (3, 700, 520)).astype(dtype)
    for values in (x, x[:, ::-1], x[..., ::2], np.asfortranarray(x), x[0, :, :1]):
        for axis in range(values.ndim):
            for op, reference in (("Sum", np.cumsum), ("Product", np.cumprod)):
                want = reference(values, axis=axis, dtype=float).astype(dtype)
                np.testing.assert_array_equal(scan.running(op, values, axis), want)


def test_totals_of_totals(cuda, monkeypatch):
    """More chunks of chunks than one: a short chunk length stands for a long array."""
    x = np.random.default_rng(1).standard_normal((2, 64 * 64 * 3 + 7, 2))
    monkeypatch.setattr(scan, "LINES", 1 << 30)
    np.testing.assert_allclose(
        scan.running("Sum", cuda.asarray(x), 1).get(), np.cumsum(x, 1), rtol=1e-10, atol=1e-10
    )


@pytest.mark.parametrize("rows", [1, 2])
def test_chunks_in_groups_in_parts(cuda, counters, rows):
    """More than 32 times 32 chunks, in one pass; sums of small integers are exact."""
    x = np.random.default_rng(2).integers(-1, 2, (rows, 2048 * 1024 // rows * 2 + 12)).astype("f4")
    on = cuda.asarray(x)
    scan.running("Sum", on, 1)  # compiles
    with counters() as r:
        y = scan.running("Sum", on, 1)
    assert (r["launches"], r["h2d"], r["d2h"], r["syncs"]) == (1, 0, 0, 0)
    np.testing.assert_array_equal(y.get(), np.cumsum(x, 1))


def test_the_same_bits_in_two_runs(cuda):
    x = cuda.random.default_rng(0).standard_normal((3, 70_001, 1)).astype("f4")
    for axis, a in ((1, x), (0, x.reshape(-1, 3))):
        first = scan.running("Sum", a, axis)
        assert first.get().tobytes() == scan.running("Sum", a, axis).get().tobytes()


def test_narrow_elements_are_summed_in_float32(cuda):
    # In float16 2048 + 1 is 2048: a sum in it would stay there.
    assert scan.running("Sum", cuda.ones(4096, "f2"), 0)[-1] == 4096


def test_unaligned_and_strided(cuda):
    x = cuda.arange(33.0, dtype="f4")
    assert (scan.running("Sum", x[1:], 0) == cuda.cumsum(x[1:])).all()
    assert (scan.running("Sum", x[::-2], 0) == cuda.cumsum(x[::-2].copy())).all()
    turned = scan.running("Sum", x.reshape(11, 3).T, 1)
    assert turned[2].tolist() == np.arange(2, 33, 3).cumsum().tolist()


def test_nan_and_infinity(cuda):
    x = cuda.ones(5000)
    x[10] = cuda.nan
    y = scan.running("Sum", x, 0)
    assert cuda.isnan(y).argmax() == 10
    assert cuda.isnan(y[10:]).all()
    x[10], x[7] = cuda.inf, 0
    y = scan.running("Product", x, 0)
    assert y[6:8].tolist() == [1, 0]
    assert cuda.isnan(y[10:]).all()


def test_nothing_and_integers(cuda):
    assert scan.running("Sum", cuda.ones((3, 0)), 1).shape == (3, 0)
    y = scan.running("Sum", cuda.ones(3, "i4"), 0)
    assert y.dtype == np.int64
    assert y.tolist() == [1, 2, 3]


def test_gradients_use_it(cuda, counters):
    x = cuda.random.default_rng(0).standard_normal(5000)
    first = gg.grad(lambda x: (gnp.cumsum(x) ** 2).sum())(x)
    with counters() as r:
        again = gg.grad(lambda x: (gnp.cumsum(x) ** 2).sum())(x)
    assert (r["d2h"], r["syncs"]) == (0, 0)
    assert any("rows" in name for name in r.kernels)
    assert (first == again).all()
    want = 2 * np.cumsum(np.cumsum(x.get())[::-1])[::-1]
    np.testing.assert_allclose(first.get(), want, rtol=1e-9, atol=1e-9)
    assert gnp.cumprod(x[:3], 0).tolist() == pytest.approx(np.cumprod(x[:3].get()).tolist())
