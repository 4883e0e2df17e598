"""A small run with every state a run can have; also a program, to be killed and started again."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from itertools import count
from pathlib import Path

import numpy as np

import gpugrad as gg
from gpugrad import nn, optim
from gpugrad.amp import GradScaler
from gpugrad.data import Arrays, Loader
from gpugrad.training import Trainer, rebuildable

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 5)).astype("float32")
Y = RNG.integers(0, 3, 60)


@rebuildable
def network(width=6, *, device=None):
    return nn.Sequential(
        nn.Linear(5, width, device=device),
        nn.BatchNorm1d(width, device=device),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(width, 3, device=device),
    )


def loss(model, x, y):
    return nn.cross_entropy(model(x), y)


class Averaging(Trainer):
    """Averages the weights after each step."""

    def take_step(self, batch):
        value = super().take_step(batch)
        self.extras["ema"].update()
        return value


def trainer(device, folder, **options):
    """A trainer with dropout, batch norm, an EMA, a schedule and clipping."""
    gg.random.seed(4)
    model = network(device=device)
    optimizer = optim.AdamW(model.parameters(), lr=0.02)
    held_out = gg.Array(X[:20], device=device), gg.Array(Y[:20], device=device)
    loader = Loader(Arrays(X[20:], Y[20:], classes=3), 16, device=device)
    given = {
        "epochs": 6,
        "schedule": optim.OneCycleLR(optimizer, 0.02, 200),
        "evaluate": lambda model: {"held_out_loss": loss(model, *held_out)},
        "max_norm": 1.0,
        "checkpoint_every": 1,
        "keep": 2,
        "watch": "held_out_loss",
        "config": {"lr": 0.02},
        "extras": {"ema": optim.EMA(model, 0.9)},
    }
    return Averaging(model, optimizer, loss, loader, folder=folder, **(given | options))


def mixed(device, folder, **options):
    """The same in float16, with a loss scale that grows until it overflows, again and again."""
    run = trainer(device, folder, precision="float16", **options)
    run.scaler = GradScaler(growth_interval=2)
    return run


def bits(state):
    """All of a run's state but the time it took, for comparing."""
    if isinstance(state, dict):
        timed = ("seconds", "samples_per_second")
        return {k: bits(v) for k, v in state.items() if k not in timed}
    if isinstance(state, list | tuple):
        return [bits(v) for v in state]
    if isinstance(state, np.ndarray | np.generic | gg.Array):
        a = np.asarray(state.numpy() if isinstance(state, gg.Array) else state)
        return a.dtype.name, a.shape, a.tobytes()
    return state


def stop_within(number):
    """Write half of a file, the how-manyth, and wait for the end."""
    write, numbers = Path.write_bytes, count(1)

    def half(path, data):
        if next(numbers) != number:
            return write(path, data)
        write(path, data[: len(data) // 2])
        print("writing", flush=True)
        time.sleep(600)

    Path.write_bytes = half


def main() -> None:
    device, folder, epochs, *within = sys.argv[1:]
    if device != "cpu":
        with suppress(ModuleNotFoundError):  # a GPU needs no stand-in
            import cuda_on_cpu

            cuda_on_cpu.install()
    mixed(gg.device(device), None, epochs=1).fit()  # compiles, so that kills meet training
    run = mixed(gg.device(device), Path(folder), epochs=int(epochs))
    if within:
        stop_within(int(*within))
    print("from", run.step if run.resume() else 0, flush=True)
    run.fit()
    print("finished", flush=True)


if __name__ == "__main__":
    main()
