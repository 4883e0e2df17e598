"""The mini-batch loop: PyTorch's SGD step for step, and what crosses between host and device."""

from __future__ import annotations

import numpy as np
import pytest

import gpugrad as gg
from gpugrad.nn import cross_entropy, init_linear, linear, relu
from gpugrad.training.loop import train

torch = pytest.importorskip("torch")

RNG = np.random.default_rng(1)
X, Y = RNG.normal(size=(22, 5)), RNG.integers(0, 3, 22)


def network(device):
    generator = np.random.default_rng(2)
    return [init_linear(generator, a, b, "float64", device=device) for a, b in ((5, 7), (7, 3))]


def loss(parameters, x, y):
    hidden, out = parameters
    return cross_entropy(linear(relu(linear(x, **hidden)), **out), y)


def start(device, **options):
    options = {"epochs": 3, "batch_size": 8, "lr": 0.2, "momentum": 0.9} | options
    data = gg.Array(X, device=device), gg.Array(Y, device=device)
    generator = np.random.default_rng(3)
    return train(loss, network(device), *data, generator=generator, **options)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_steps_as_pytorch(momentum, device):
    # 22 samples in batches of 8: the last has 6, and its own mean.
    x, y = torch.tensor(X), torch.tensor(Y)
    theirs = [torch.tensor(a.numpy()) for layer in network("cpu") for a in layer.values()]
    w1, b1, w2, b2 = (t.requires_grad_() for t in theirs)
    sgd = torch.optim.SGD(theirs, lr=0.2, momentum=momentum)
    orders = np.random.default_rng(3)
    for epoch in start(device, momentum=momentum):
        order, total = torch.tensor(orders.permutation(22)), 0.0
        for batch in order.split(8):
            sgd.zero_grad()
            hidden = torch.relu(x[batch] @ w1.T + b1)
            value = torch.nn.functional.cross_entropy(hidden @ w2.T + b2, y[batch])
            value.backward()
            sgd.step()
            total += value.item() * len(batch)
        assert epoch.loss.item() == pytest.approx(total / 22, rel=1e-10)
    ours = [a for layer in epoch.parameters for a in layer.values()]
    assert epoch.number == 3
    for a, t in zip(ours, theirs, strict=True):
        assert a.device == device
        np.testing.assert_allclose(a.numpy(), t.detach().numpy(), rtol=1e-9, atol=1e-12)


def test_the_given_parameters_are_not_changed(device):
    parameters = network(device)
    before = [a.numpy().copy() for layer in parameters for a in layer.values()]
    data = gg.Array(X, device=device), gg.Array(Y, device=device)
    options = {"epochs": 1, "batch_size": 8, "lr": 0.2, "generator": np.random.default_rng(0)}
    list(train(loss, parameters, *data, **options))
    after = [a.numpy() for layer in parameters for a in layer.values()]
    for b, a in zip(before, after, strict=True):
        np.testing.assert_array_equal(b, a)


def test_a_batch_larger_than_the_data_is_all_of_it(device):
    # The order of the sum differs, nothing else.
    whole, larger = (list(start(device, batch_size=n))[-1].loss.item() for n in (22, 1000))
    assert whole == larger


def test_an_epoch_reads_nothing_from_the_device_and_sends_the_order_only(counters, cuda):
    run = start("cuda:0")
    next(run)  # the first epoch compiles and makes what is made once
    with counters() as r:
        epoch = next(run)
    assert r["d2h"] == 0
    assert r["h2d_bytes"] == 22 * 8  # the order, once
    assert np.isfinite(epoch.loss.item())
