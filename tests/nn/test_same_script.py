"""One script, two devices: equal losses over 20 steps, and nothing is copied to the host."""

from __future__ import annotations

import numpy as np
import pytest

import gpugrad as gg
from gpugrad import nn, optim
from gpugrad.training.gpt import GPT

RNG = np.random.default_rng(0)
ROWS = RNG.standard_normal((64, 12)).astype("f4")
IMAGES = RNG.standard_normal((32, 1, 8, 8)).astype("f4")
SEQUENCES = RNG.standard_normal((32, 6, 5)).astype("f4")
TOKENS = RNG.integers(0, 11, (32, 9))


class Reader(nn.Module):
    def __init__(self, **own):
        super().__init__()
        self.rnn = nn.GRU(5, 8, batch_first=True, **own)
        self.last = nn.Linear(8, 3, **own)

    def forward(self, x):
        return self.last(self.rnn(x)[0][:, -1])


def mlp(**own):
    return nn.Sequential(
        nn.Linear(12, 16, **own),
        nn.BatchNorm1d(16, device=own["device"]),
        nn.GELU(),
        nn.Dropout(0.2, generator=own["generator"]),
        nn.Linear(16, 3, **own),
    )


def cnn(**own):
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, **own),
        nn.BatchNorm2d(4, device=own["device"]),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3, **own),
        nn.GroupNorm(2, 6, device=own["device"]),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 3, **own),
    )


def gpt(**own):
    return GPT(11, context=8, width=8, layers=2, heads=2, dropout=0.1, **own)


def labels(x):
    return (np.abs(x.reshape(len(x), -1).sum(1)) % 3).astype(int)


MODELS = {
    "mlp": (mlp, ROWS, labels(ROWS)),
    "cnn": (cnn, IMAGES, labels(IMAGES)),
    "rnn": (Reader, SEQUENCES, labels(SEQUENCES)),
    "gpt": (gpt, TOKENS[:, :-1], TOKENS[:, 1:]),
}


def loss(model, x, y):
    scores = model(x)
    return nn.cross_entropy(scores.reshape(-1, scores.shape[-1]), y.reshape(-1))


def training(name, device, precision=None):
    """The script: a model, and a function that takes one step and returns the loss."""
    make, x, y = MODELS[name]
    draw = gg.random.Generator(0)
    model = make(device=device, generator=draw)
    optimizer = optim.AdamW(model.parameters(), lr=0.02)
    schedule = optim.OneCycleLR(optimizer, 0.02, 100)
    ema = optim.EMA(model, decay=0.9)
    scaler = gg.amp.GradScaler(enabled=precision == "float16")
    x, y = gg.Array(x, device=device), gg.Array(y, device=device)
    order = gg.random.Generator(1)

    def step():
        rows = order.permutation(len(x), device=device)[:16]
        optimizer.zero_grad()
        with gg.autocast(precision or "float16", enabled=precision is not None):
            value = loss(model, x[rows], y[rows])
        scaler.scale(value).backward()
        scaler.step(optimizer, max_norm=1.0)
        scaler.update()
        schedule.step()
        ema.update()
        return value.detach()

    return model, step


@pytest.mark.parametrize("name", MODELS)
def test_losses_are_those_of_the_cpu(name, cuda):
    found = []
    for device in ("cpu", "cuda:0"):
        model, step = training(name, device)
        found.append([float(step()) for _ in range(20)])
        assert {p.device for p in model.parameters()} == {gg.device(device)}
    assert np.mean(found[0][-4:]) < np.mean(found[0][:4])  # it learns
    np.testing.assert_allclose(found[1], found[0], rtol=0, atol=1e-4)


@pytest.mark.parametrize("precision", [None, "float16"])
@pytest.mark.parametrize("name", MODELS)
def test_nothing_is_copied_to_the_host(name, precision, cuda, counters):
    _, step = training(name, "cuda:0", precision)
    step()  # compiles
    with counters() as r:
        losses = [step() for _ in range(20)]
    assert (r["d2h"], r["syncs"]) == (0, 0)
    assert all(np.isfinite(float(value)) for value in losses)  # one copy each, where it is logged
