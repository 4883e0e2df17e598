"""What ``gpugrad doctor --warm`` runs works on each device, and leaves nothing to compile."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from gpugrad.kernels import report, source

import gpugrad as gg
from gpugrad.warm import FAMILIES, _compile


@pytest.mark.parametrize("name", [n for n in FAMILIES if n != "activations"])
def test_each_family_runs(name, device):
    rng = np.random.default_rng(0)
    FAMILIES[name](lambda *shape: gg.Array(rng.normal(size=shape).astype("f4"), device=device))


def test_all_that_the_report_lists_is_compiled(cuda, monkeypatch):
    some = {name: report.KERNELS[name][:3] for name in ("philox", "scatter")}
    monkeypatch.setattr(report, "KERNELS", some)
    made, make = [], source.function.__wrapped__

    def function(name, expression):
        made.append(expression)
        return make(name, expression)

    monkeypatch.setattr(source, "function", function)
    _compile(gg.device("cuda:0"))
    assert sorted(made) == sorted(e for several in some.values() for e in several)


AFTERWARDS = """
import gc, logging
import numpy as np
from numba.core.dispatcher import Dispatcher

import gpugrad as gg
from gpugrad import nn, optim
from gpugrad.kernels.average import average_samples
from gpugrad.kernels.cpu import threads
from gpugrad.warm import warm

threads.SLOW = -1.0  # all that compiles would be told
said = []
logging.getLogger("gpugrad").addHandler(logging.Handler())
logging.getLogger("gpugrad").handlers[-1].emit = said.append
for _ in warm(gg.device("cpu")):
    pass
assert not said, said[0].getMessage()


def compiled():
    return {
        (d.py_func.__module__, d.__name__, str(s))
        for d in gc.get_objects() if isinstance(d, Dispatcher) for s in d.overloads
    }


known = compiled()
rng = np.random.default_rng(0)
for dtype in ("float32", "float64"):
    for labels in ("int32", "int64"):
        gg.random.seed(0)
        images = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
            nn.GroupNorm(4, 16), nn.Flatten(), nn.Linear(16 * 16 * 16, 512), nn.BatchNorm1d(512),
            nn.GELU(), nn.Dropout(0.1), nn.LayerNorm(512), nn.RMSNorm(512), nn.SiLU(),
            nn.Linear(512, 300),
        ).to(dtype)
        x = rng.normal(size=(256, 3, 32, 32)).astype(dtype)
        at = rng.integers(0, 300, 256).astype(labels)
        words = nn.Embedding(300, 256).to(dtype)
        loss = lambda model: nn.cross_entropy(model(gg.Array(x)), gg.Array(at))
        table = lambda model: (model(gg.Array(np.resize(at, 2048))) ** 2).mean()
        for model, f in ((images, loss), (words, table)):
            for optimizer in (
                optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
                optim.AdamW(model.parameters(), amsgrad=True),
                optim.Adam(model.parameters()),
            ):
                parts = optim.Accumulator()
                for _ in range(2):
                    value, slopes = gg.value_and_grad(f)(model)
                    parts.add(slopes)
                optimizer.step(parts.take(), max_norm=1.0)
    average_samples([rng.normal(size=(300, 400)).astype(dtype)], limit=1.0)
print(*sorted(compiled() - known), sep="\\n")
"""


def test_no_kernel_compiles_in_a_step_afterwards():
    """In a process of its own: what the other tests have called does not count."""
    run = subprocess.run([sys.executable, "-c", AFTERWARDS], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert not run.stdout.strip()
