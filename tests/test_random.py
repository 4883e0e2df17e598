"""Random numbers are the same on every device, fit their distributions and can be continued."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import gpugrad as gg
from gpugrad import random

DRAWS = {
    "uniform": lambda g, **k: g.uniform(-1, 3, (40, 50), "float64", **k),
    "normal": lambda g, **k: g.normal(2.0, 0.5, (40, 50), "float64", **k),
    "truncated": lambda g, **k: g.truncated_normal(-1, 2, (40, 50), "float64", **k),
    "integers": lambda g, **k: g.integers(-3, 7, (40, 50), **k),
    "permutation": lambda g, **k: g.permutation(50, **k),
}
CDF = {
    "uniform": stats.uniform(-1, 4).cdf,
    "normal": stats.norm(2, 0.5).cdf,
    "truncated": stats.truncnorm(-1, 2).cdf,
}


@pytest.mark.parametrize("name", DRAWS)
def test_one_seed_gives_the_same_on_every_device(name, device):
    here = DRAWS[name](random.Generator(7), device=device)
    assert here.device == device
    host = DRAWS[name](random.Generator(7), device="cpu")
    if name in ("integers", "permutation", "uniform"):
        np.testing.assert_array_equal(here.numpy(), host.numpy())
    else:  # logarithms and cosines round as the device's library does
        np.testing.assert_allclose(here.numpy(), host.numpy(), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("name", CDF)
def test_numbers_fit_their_distribution(name):
    drawn = DRAWS[name](random.Generator(0)).numpy().ravel()
    assert stats.kstest(drawn, CDF[name]).pvalue > 0.01


def test_integers_are_all_and_even():
    counts = np.bincount(random.Generator(0).integers(0, 10, 100_000, device="cpu").numpy())
    assert stats.chisquare(counts).pvalue > 0.01
    assert set(DRAWS["integers"](random.Generator(0)).numpy().ravel()) == set(range(-3, 7))


def test_permutations():
    g = random.Generator(0)
    x = gg.Array(np.arange(12).reshape(6, 2))
    y = g.permutation(x).numpy()
    assert sorted(y[:, 0]) == list(range(0, 12, 2))
    assert (y[:, 1] == y[:, 0] + 1).all()
    assert not (y == x.numpy()).all()
    assert sorted(g.permutation(np.arange(5)).numpy()) == list(range(5))


def test_a_state_is_continued():
    g = random.Generator(3)
    g.normal(size=5)
    state = g.state_dict()
    want = g.normal(size=5)
    other = random.Generator(4)
    other.load_state_dict(state)
    np.testing.assert_array_equal(other.normal(size=5).numpy(), want.numpy())


def test_draws_differ_and_so_do_spawned_streams():
    g = random.Generator(0)
    drawn = [
        g.uniform(size=4),
        g.uniform(size=4),
        g.spawn().uniform(size=4),
        g.spawn().uniform(size=4),
    ]
    assert len({tuple(d.numpy()) for d in drawn}) == 4


def test_the_default_generator():
    random.seed(5)
    want = random.normal(size=3)
    random.seed(5)
    np.testing.assert_array_equal(random.normal(size=3).numpy(), want.numpy())
    np.testing.assert_array_equal(random.Generator(5).normal(size=3).numpy(), want.numpy())


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_dtypes(dtype):
    g = random.Generator(0)
    assert g.uniform(size=3, dtype=dtype).dtype == g.normal(size=3, dtype=dtype).dtype == dtype
    assert g.normal().shape == ()


def test_errors():
    with pytest.raises(ValueError, match="low=3 is not below high=3"):
        random.integers(3, 3)
    with pytest.raises(ValueError, match="2\\*\\*64"):
        random.Generator(-1)
    g = random.Generator(0)
    with pytest.raises(ValueError, match="2\\*\\*64"):
        g.load_state_dict({"key": 1, "counter": -1})
    assert g.state_dict() == {"key": 0, "counter": 0}
