"""Modules whose residuals are computed again, the table of a model, and gradients of parts."""

from __future__ import annotations

import numpy as np
import pytest

import gpugrad as gg
from gpugrad import nn, optim


def make(device, wrap):
    rng = gg.random.Generator(0)
    body = nn.Sequential(
        nn.Linear(4, 6, device=device, generator=rng),
        nn.BatchNorm1d(6, device=device),
        nn.relu,
        nn.Dropout(0.5, generator=gg.random.Generator(5)),
        nn.Dropout(0.2),
    )
    return nn.Sequential(wrap(body), nn.Linear(6, 2, device=device, generator=rng))


def test_the_same_gradients_masks_and_moments(device):
    x = gg.Array(np.random.default_rng(0).standard_normal((8, 4)).astype("f4"), device=device)
    models = [make(device, wrap) for wrap in (lambda body: body, nn.Checkpoint)]
    assert list(models[0].state_dict()) == list(models[1].state_dict())
    found = []
    for model in models:
        gg.random.seed(7)
        for _ in range(2):
            model.zero_grad()
            (model(x) ** 2).sum().backward()
        grads = [p.grad.numpy() for p in model.parameters()]
        pulled = gg.grad(lambda m, x: (m(x) ** 2).sum())(model, x)
        grads += [g.numpy() for g in pulled.parameters()]
        state = [a.numpy() for a in model.state_dict().values()]
        found.append([*grads, *state, gg.random.default_generator.counter])
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_it_keeps_less():
    runs = []

    class Noting(nn.Module):
        def forward(self, x):
            runs.append(1)
            return np.sin(x)

    x = gg.Array(np.ones(3), requires_grad=True)
    loss = nn.Checkpoint(Noting())(x).sum()
    assert len(runs) == 1
    loss.backward()
    assert len(runs) == 2


def test_summary(device):
    shared = nn.Linear(4, 4, device=device)
    model = nn.Sequential(
        shared, nn.Residual(shared), nn.Dropout(0.5), nn.LSTM(4, 3, device=device)
    )
    model.layers[2].eval()
    table = nn.summary(model, gg.Array(np.ones((2, 5, 4), "f4"), device=device))
    kinds = [(r.kind, r.depth, r.output, r.parameters) for r in table.rows]
    assert kinds[:2] == [
        ("Sequential", 0, kinds[0][2], 0),
        ("Linear", 1, "(2, 5, 4)", 20),
    ]
    assert ("Residual", 1, "(2, 5, 4)", 0) in kinds
    assert table.parameters == sum(p.size for p in model.parameters())
    assert table.size == 4 * table.parameters
    assert "(2, 5, 3), (1, 5, 3), (1, 5, 3)" in str(table)
    modes = [m.training for m in model.modules()]
    assert modes.count(False) == 1, "the modes are as before"
    assert not any("forward" in vars(m) for m in model.modules())


def test_summary_of_a_model_that_fails_leaves_it_alone():
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(3, 2))
    with pytest.raises(ValueError, match="linear"):
        nn.summary(model, np.ones((1, 3), "f4"))
    assert not any("forward" in vars(m) for m in model.modules())


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_gradients_of_parts_have_the_mean_of_the_whole(dtype, device):
    rng = np.random.default_rng(0)
    parts = [
        {"a": gg.Array(rng.standard_normal((3, 4)).astype(dtype), device=device), "b": [
            gg.Array(np.asarray(rng.standard_normal(), dtype), device=device)]}
        for _ in range(4)
    ]  # fmt: skip
    before = parts[0]["a"].numpy().copy()
    gathered = optim.Accumulator()
    for _ in range(2):
        for part in parts:
            gathered.add(part)
        mean = gathered.take()
        expected = np.mean([p["a"].numpy().astype("f8") for p in parts], axis=0)
        tol = {"float16": 2e-3, "float32": 1e-6, "float64": 1e-14}[dtype]
        assert mean["a"].dtype == dtype
        np.testing.assert_allclose(mean["a"].numpy(), expected, rtol=tol, atol=tol)
        want = np.mean([p["b"][0].numpy().astype("f8") for p in parts])
        np.testing.assert_allclose(mean["b"][0].numpy(), want, rtol=tol, atol=tol)
    np.testing.assert_array_equal(parts[0]["a"].numpy(), before)


def test_large_narrow_gradients_are_accumulated_in_float32(device):
    gathered = optim.Accumulator()
    for _ in range(2):
        gathered.add([gg.Array(np.full(3, 60000.0, "f2"), device=device)])
    (mean,) = gathered.take()
    assert mean.dtype == "float16"
    np.testing.assert_array_equal(mean.numpy(), np.float16(60000))
    gathered.add([np.ones(2)])
    with pytest.raises(ValueError, match="gradients of float32, but before of float64"):
        gathered.add([np.ones(2, "f4")])


def test_a_summary_is_of_arrays():
    with pytest.raises(TypeError, match=r"run on arrays, got the shape \(5, 3\): give an array"):
        nn.summary(nn.Linear(3, 2), (5, 3))


def test_accumulated_micro_batches_train_as_one_batch(device):
    x = gg.Array(np.random.default_rng(0).standard_normal((12, 4)), device=device)

    def loss(model, x):
        return (model(x) ** 2).mean()

    models = [
        nn.Linear(4, 2, device=device, dtype="f8", generator=gg.random.Generator(1)) for _ in "ab"
    ]
    gathered = optim.Accumulator()
    for i in range(3):
        gathered.add(gg.grad(loss)(models[0], x[4 * i : 4 * i + 4]))
    optim.SGD(models[0].parameters(), 0.1).step(gathered.take())
    optim.SGD(models[1].parameters(), 0.1).step(gg.grad(loss)(models[1], x))
    for p, q in zip(models[0].parameters(), models[1].parameters(), strict=True):
        np.testing.assert_allclose(p.numpy(), q.numpy(), rtol=1e-12)


def test_accumulating_costs_one_launch(counters, cuda):
    gathered = optim.Accumulator()
    grads = [gg.Array(cuda.ones((5, 3), "f4")), gg.Array(cuda.ones(7, "f4"))]
    for _ in range(2):
        gathered.add(grads)
    with counters() as r:
        gathered.add(grads)
    assert (r["launches"], r["d2h"], r["h2d"], r["syncs"]) == (1, 0, 0, 0)


def test_accumulator_refuses():
    gathered = optim.Accumulator()
    with pytest.raises(RuntimeError, match="nothing"):
        gathered.take()
    gathered.add([np.ones(3)])
    with pytest.raises(ValueError, match="before"):
        gathered.add([np.ones(3), np.ones(3)])
    with pytest.raises(ValueError, match=r"\(4,\)"):
        gathered.add([np.ones(4)])
