"""einops on our arrays: values, gradients, batches, on each device."""

from __future__ import annotations

import numpy as np
import pytest

import gpugrad as gg
import gpugrad.numpy as gnp

einops = pytest.importorskip("einops", reason="einops is not installed")
import gpugrad.interop.einops  # noqa: E402 - makes einops know Array

X = np.random.default_rng(0).normal(size=(4, 6, 3))

CASES = {
    "rearrange": lambda e, x: e.rearrange(x, "a (b c) d -> b (a d) c", c=2),
    "split": lambda e, x: e.rearrange(x, "(a two) b c -> two a b c", two=2)[1],
    "mean": lambda e, x: e.reduce(x, "a (b two) c -> c b", "mean", two=2),
    "max": lambda e, x: e.reduce(x, "a b c -> a ()  c", "max"),
    "sum": lambda e, x: e.reduce(x, "a ... -> ...", "sum"),
    "repeat": lambda e, x: e.repeat(x, "a b c -> a (b 2) new c", new=3),
    "einsum": lambda e, x: e.einsum(x, x, "a b c, a d c -> b d"),
    "stack": lambda e, x: e.rearrange([x, x * 2], "k a b c -> a (k b) c"),
    "pack": lambda e, x: e.pack([x, x[:, 0]], "a * c")[0],
    "unpack": lambda e, x: e.unpack(x, [[2], [4]], "a * c")[1],
}


@pytest.mark.parametrize("name", CASES)
def test_on_arrays(name, xp):
    want = CASES[name](einops, X)
    x = gg.Array(xp.asarray(X))
    got = CASES[name](einops, x)
    assert isinstance(got, gg.Array)
    assert got.device == x.device
    np.testing.assert_allclose(got.numpy(), want)


@pytest.mark.parametrize("name", CASES)
def test_gradients_flow(name):
    def loss(x):
        return gnp.sum(gnp.sin(CASES[name](einops, x)))

    got = gg.grad(loss)(X)
    step = np.random.default_rng(1).normal(size=X.shape) * 1e-6
    change = loss(gg.Array(X + step)) - loss(gg.Array(X - step))
    assert np.sum(got * step) * 2 == pytest.approx(change.item(), rel=1e-5)


def test_under_vmap():
    got = gg.vmap(lambda x: einops.rearrange(x, "a b -> (b a)"))(X)
    np.testing.assert_array_equal(got, einops.rearrange(X, "n a b -> n (b a)"))


def test_without_the_module_by_the_array_api():
    from einops import array_api

    x = gg.Array(X)
    y = array_api.reduce(array_api.rearrange(x, "a b c -> b (c a)"), "b c -> c", "mean")
    np.testing.assert_allclose(y.numpy(), einops.rearrange(X, "a b c -> b (c a)").mean(0))
