"""Cross-entropy against PyTorch's: values, gradients, shapes, reductions, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

import gpugrad as gg
from gpugrad.nn import cross_entropy

torch = pytest.importorskip("torch")

RNG = np.random.default_rng(3)
CASES = {
    "rows": (RNG.normal(size=(6, 4)), RNG.integers(0, 4, 6)),
    "one sample": (RNG.normal(size=5), np.asarray(2)),
    "pixels": (RNG.normal(size=(2, 3, 4, 2)), RNG.integers(0, 3, (2, 4, 2))),
    "repeated class": (RNG.normal(size=(5, 3)), np.ones(5, np.int64)),
    "far apart": (np.array([[1000.0, -1000.0, 3.0], [-1e4, 0.0, 1e4]]), np.array([1, 2])),
}


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("case", CASES)
def test_as_pytorch(case, reduction, device):
    logits, labels = CASES[case]
    weights = np.arange(1.0, labels.size + 1).reshape(labels.shape)
    tx = torch.tensor(logits, requires_grad=True)
    ty = torch.nn.functional.cross_entropy(tx, torch.tensor(labels), reduction=reduction)
    (ty * torch.tensor(weights) if reduction == "none" else ty).sum().backward()

    x, at = gg.Array(logits, device=device), gg.Array(labels, device=device)
    w = gg.Array(weights, device=device)
    y, pull = gg.vjp(lambda x: cross_entropy(x, at, reduction=reduction), x)
    (g,) = pull(w if reduction == "none" else gg.numpy.ones_like(y))
    assert y.shape == tuple(ty.shape)
    np.testing.assert_allclose(y.numpy(), ty.detach().numpy(), rtol=1e-12)
    np.testing.assert_allclose(g.numpy(), tx.grad.numpy(), rtol=1e-9, atol=1e-12)


SOFT = {
    "rows": {},
    "one sample": {},
    "pixels": {"label_smoothing": 0.2},
    "far apart": {"weight": np.array([0.5, 2.0, 1.5])},
}


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("case", SOFT)
def test_probabilities_as_pytorch(case, reduction, device):
    logits, _ = CASES[case]
    target = RNG.random(logits.shape)
    target /= target.sum(min(1, logits.ndim - 1), keepdims=True)
    options = SOFT[case]
    peers = [torch.tensor(v, requires_grad=True) for v in (logits, target)]
    more = {k: torch.tensor(v) if k == "weight" else v for k, v in options.items()}
    want = torch.nn.functional.cross_entropy(*peers, **more, reduction=reduction)
    want.sum().backward()
    mine = {k: gg.Array(v, device=device) if k == "weight" else v for k, v in options.items()}
    given = [gg.Array(v, device=device) for v in (logits, target)]
    y, pull = gg.vjp(lambda x, p: cross_entropy(x, p, **mine, reduction=reduction), *given)
    np.testing.assert_allclose(y.numpy(), want.detach().numpy(), rtol=1e-12)
    for g, p in zip(pull(gg.numpy.ones_like(y)), peers, strict=True):
        np.testing.assert_allclose(g.numpy(), p.grad.numpy(), rtol=1e-9, atol=1e-12)


def test_mean_is_the_default(device):
    logits, labels = (gg.Array(v, device=device) for v in CASES["rows"])
    assert (
        cross_entropy(logits, labels).item()
        == cross_entropy(logits, labels, reduction="mean").item()
    )


def test_per_sample_gradients_average_to_the_gradient(device):
    logits, labels = (gg.Array(v, device=device) for v in CASES["rows"])
    w = gg.Array(np.random.default_rng(0).normal(size=(4, 4)), device=device)
    each = gg.per_sample_grad(lambda w, x, y: cross_entropy(x @ w, y))(w, logits, labels)
    whole = gg.grad(lambda w: cross_entropy(logits @ w, labels))(w)
    np.testing.assert_allclose(each.numpy().mean(axis=0), whole.numpy(), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("mapped", [(0, 0), (None, 0), (0, None)])
def test_means_of_a_batch(mapped, device):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(3, 2, 4)), np.array([[3, 2], [1, 2], [1, 0]])
    given = [a[0] if axis is None else a for a, axis in zip((logits, labels), mapped, strict=True)]
    found = gg.vmap(cross_entropy, mapped)(*[gg.Array(a, device=device) for a in given])
    pairs = [[a if axis is None else a[n] for a, axis in zip(given, mapped)] for n in range(3)]
    want = [cross_entropy(*pair) for pair in pairs]
    np.testing.assert_allclose(found.numpy(), want, rtol=1e-12)


def test_raw_arrays_in_and_out():
    logits, labels = CASES["rows"]
    assert isinstance(cross_entropy(logits, labels, reduction="none"), np.ndarray)
    assert isinstance(gg.grad(cross_entropy)(logits, labels), np.ndarray)


@pytest.mark.parametrize(
    ("logits", "labels", "reduction", "error", "message"),
    [
        (
            np.ones((2, 3)),
            np.ones(2),
            "mean",
            TypeError,
            r"probabilities.*got float64 of shape \(2,\)",
        ),
        (np.ones((2, 3)), np.ones(3, int), "mean", ValueError, r"target of shape \(2,\), got \(3,"),
        (np.ones((2, 3)), np.ones((2, 3), int), "mean", ValueError, r"got \(2, 3\)"),
        (np.array(1.0), 0, "mean", ValueError, "an axis of classes"),
        (np.ones((2, 3)), np.ones(2, int), "max", ValueError, "none of 'mean', 'sum' and 'none'"),
    ],
)
def test_refusals(logits, labels, reduction, error, message):
    with pytest.raises(error, match=message):
        cross_entropy(logits, labels, reduction=reduction)
