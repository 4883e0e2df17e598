"""The same bits in two runs: every kernel, on each device."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from gpugrad.kernels import (
    activation,
    adafactor,
    attention,
    average,
    conv,
    norm,
    optimizer,
    philox,
    pool,
    report,
    scan,
    scatter,
    segment,
    softmax,
)

import gpugrad as gg
from gpugrad.device import CPU, to_device

WINDOW = pool.Window((60, 70), (3, 3), (1, 1), (1, 1))
HOW = conv.Geometry(padding=((1, 1), (1, 1)))


def draw(device, seed, *shapes):
    rng = np.random.default_rng(seed)
    return [to_device(rng.standard_normal(s).astype("f4"), device) for s in shapes]


def of_activation(device):
    g, x, wide = draw(device, 0, (300, 500), (300, 500), (300, 1000))
    state = to_device(philox.stream(3), device)
    act, drop = activation.Gelu(), {"rate": 0.5, "state": state}
    relu = activation.forward_keeping(activation.Relu(), x, x[0], **drop)
    return [
        *relu,
        *activation.backward(activation.Relu(), g, relu[1], sums=True, **drop),
        activation.forward(act, x, x[0], **drop),
        *activation.backward(act, g, x, x[0], sums=True, **drop),
        activation.gated_forward(act, wide, wide[0]),
        *activation.gated_backward(act, g, wide, wide[0], sums=True),
    ]


def of_softmax(device):
    g, x, w = draw(device, 1, (200, 3000), (200, 3000), (3000,))
    labels = to_device(np.arange(200) * 7, device)
    y, loss = softmax.softmax(x), softmax.cross_entropy(x, labels, abs(w))
    args = (g[0, 0], x, labels, loss.lse, abs(w), loss.divisor)
    return [y, softmax.softmax_backward(g, y), *loss[:2], softmax.cross_entropy_backward(*args)]


def of_norm(device):
    g, x, w = draw(device, 2, (32, 64, 200), (32, 64, 200), (64,))
    rows, batch, group = norm.norm_rows(x[0]), norm.batch_norm(x, w), norm.group_norm(x, 8, w)
    return [
        *[rows.y, batch.y, group.y],
        *norm.norm_rows_backward(g[0], x[0], None, rows.mean, rows.rstd),
        *norm.batch_norm_backward(g, x, w, batch.mean, batch.rstd),
        *norm.group_norm_backward(g, x, 8, w, group.mean, group.rstd),
    ]


def of_average(device):
    lists = [draw(device, 3 + k, (300, 40), (7,), (9001,)) for k in range(3)]
    (samples,) = draw(device, 6, (50, 4000))
    (summary,) = draw(device, 7, (2,))
    means = average.average(lists, summary=summary)
    return [*means, summary, *average.average_samples([samples], limit=1.0)]


def of_optimizer(device):
    p, g, *states = draw(device, 8, *[(90, 110)] * 5)
    step, states = to_device(np.zeros(1, "i8"), device), [abs(s) for s in states]
    optimizer.adam([p], [g], [states[0]], [states[1]], step, [states[2]])
    row, column = abs(states[0][:, :1]) + 0, abs(states[1][:1]) + 0
    adafactor.adafactor([p], [g], [row], [column], [None], step)
    long, up, variance = draw(device, 10, *[(40_000,)] * 3)
    adafactor.adafactor([long], [up], [None], [None], [abs(variance)], step)  # in parts
    return [p, *states, row, column, long]


def of_philox(device):
    state = to_device(philox.stream(5), device)
    return [
        philox.bits(state, (30_001,)),
        philox.uniform(state, (30_001,), "float64"),
        philox.normal(state, (30_001,)),
    ]


def of_pool(device):
    x, g = draw(device, 9, (5, 60, 70), (5, 60, 70))
    y, places = pool.largest(x, WINDOW)
    back = pool.put(g, places, (60, 70), WINDOW)
    return [y, places, back, pool.mean(x, WINDOW), pool.spread(g, (60, 70), WINDOW)]


def of_conv(device):
    x, w, g = draw(device, 10, (9, 8, 20, 20), (6, 8, 3, 3), (9, 6, 20, 20))
    return [
        conv.forward(x, w, None, HOW),
        conv.input_gradient(g, w, (20, 20), HOW),
        conv.weight_gradient(g, x, (3, 3), HOW),
    ]


def of_attention(device):
    g, q, k, v = draw(device, 11, *[(2, 2, 150, 32)] * 4)
    out, lse = attention.forward(q, k, v, None, causal=True, scale=0.2)
    back = attention.backward(g, q, k, v, None, out, lse, causal=True, scale=0.2)
    return [out, lse, *back]


def of_scan(device):
    (x,) = draw(device, 12, (3, 7000))
    return [scan.running("Sum", x, axis) for axis in (0, 1)]


def of_rows(device):
    values, out = draw(device, 13, (5000, 16), (30, 16))
    rows = to_device(np.random.default_rng(0).integers(0, 30, 5000), device)
    scatter.add_rows(out, rows, values)
    found = [segment.total(values, rows, 30), segment.largest(values, rows, 30)]
    return [out, segment.take(values, rows), *found]


def of_fuse(device):
    a, b = draw(device, 14, (300, 400), (400,))
    y, pull = gg.vjp(gg.fuse(lambda a, b: np.exp(-a * a) * b), a, b)
    return [y, *pull(a)]


EACH = {
    "activation": of_activation,
    "softmax": of_softmax,
    "norm": of_norm,
    "average": of_average,
    "optimizer": of_optimizer,
    "philox": of_philox,
    "pool": of_pool,
    "conv": of_conv,
    "attention": of_attention,
    "scan": of_scan,
    "segment": of_rows,
    "scatter": of_rows,
    "fused": of_fuse,
}


@pytest.mark.parametrize("name", EACH)
def test_the_same_bits_in_two_runs(device, name):
    def bits():
        return [np.asarray(to_device(a, CPU)).tobytes() for a in EACH[name](device)]

    assert bits() == bits()


def test_every_source_is_run():
    assert set(report.KERNELS) | {"fused"} == set(EACH)


ORDER = """
import hashlib, sys
sys.path.insert(0, sys.argv[1])
from test_determinism import EACH
from gpugrad.device import CPU, device, to_device
for name, f in EACH.items():
    bits = b"".join(to_device(a, CPU).tobytes() for a in f(device("cuda:0")))
    print(name, hashlib.sha256(bits).hexdigest())
"""


def test_the_same_bits_in_any_order_of_threads(cuda, counters):
    """As the stand-in runs them: one after another, backwards, and shuffled."""
    stand_in = Path(sys.modules["cuda_on_cpu"].__file__).parents[1]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(stand_in), *sys.path])}
    start = [sys.executable, "-m", "cuda_on_cpu"]
    script = ["-c", ORDER, str(Path(__file__).parent)]
    found = []
    for option in ([], ["--order=descending"], ["--order=shuffled"]):
        run = subprocess.run([*start, *option, *script], env=env, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        found.append(run.stdout)
    assert found[0].count("\n") == len(EACH)
    assert found[0] == found[1] == found[2]
