"""Softmax, losses, norms, averaging and optimizers move what their docstrings say, and no more.

The stand-in counts in its checked mode, which is chosen when it starts: hence another process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

COUNT = """
import json, math, sys
import cuda_on_cpu
import cupy as cp
import ml_dtypes
import numpy as np
import gpugrad as gg
from gpugrad.device import device, to_device
from gpugrad.kernels import activation, average, norm, optimizer, philox, softmax

found = {}
state = cp.asarray(philox.stream(7, 1))
silu, drop = activation.Silu(), {"rate": 0.25, "state": state}
fused = gg.fuse(lambda a, b: a * np.tanh(b) + 2)

def moved(name, launches, least, f):
    f()
    with cuda_on_cpu.record() as r:
        f()
    assert r["launches"] == launches, (name, r["launches"])
    ks = r.kernels.values()
    found[name] = sum(k["load_bytes"] + k["store_bytes"] for k in ks) / least

side = math.isqrt(int(sys.argv[1]))
for dtype in sys.argv[2:]:
    kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
    s = kind.itemsize
    n = side * side * s
    ones = lambda *shape: to_device(np.ones(shape, kind), device("cuda:0"))
    x, w, labels = ones(side, side), ones(side), cp.zeros(side, "i8")
    one = ones()
    moved(f"softmax {dtype}", 1, 2 * n, lambda: softmax.softmax(x))
    moved(f"softmax backward {dtype}", 1, 3 * n, lambda: softmax.softmax_backward(x, x))
    loss = softmax.cross_entropy(x, labels)
    rest = (one, x, labels, loss.lse, None, loss.divisor)
    moved(f"loss {dtype}", 1, n + side * 24, lambda: softmax.cross_entropy(x, labels))
    moved(f"slope {dtype}", 1, 2 * n + side * 12, lambda: softmax.cross_entropy_backward(*rest))
    logs = softmax.softmax(x, log=True)
    moved(f"log-softmax {dtype}", 1, 2 * n, lambda: softmax.softmax(x, log=True))
    back = lambda: softmax.softmax_backward(x, logs, log=True)
    moved(f"log-softmax backward {dtype}", 1, 3 * n, back)
    for name, weight, options in (
        ("weighted", w, {}),
        ("smooth", None, {"label_smoothing": 0.1}),
        ("both", w, {"label_smoothing": 0.1}),
    ):
        loss = softmax.cross_entropy(x, labels, weight, **options)
        rest = (one, x, labels, loss.lse, weight, loss.divisor)
        again = 2 * n if name == "both" else n  # the weights for each row, from the cache
        forth = lambda: softmax.cross_entropy(x, labels, weight, **options)
        moved(f"{name} loss {dtype}", 1, again + side * 24, forth)
        back = lambda: softmax.cross_entropy_backward(*rest, **options)
        launches = 2 if name == "both" else 1
        moved(f"{name} slope {dtype}", launches, again + n + side * 12, back)
    rows = norm.norm_rows(x, w, w)
    back = (x, x, w, rows.mean, rows.rstd)
    moved(f"rows {dtype}", 1, 2 * n, lambda: norm.norm_rows(x, w, w))
    moved(f"rows backward {dtype}", 2, 3 * n, lambda: norm.norm_rows_backward(*back))
    moved(f"rms {dtype}", 1, 2 * n, lambda: norm.norm_rows(x, w, center=False))
    alone = (x, x, w, None, norm.norm_rows(x, w, center=False).rstd)
    moved(f"rms backward {dtype}", 2, 3 * n, lambda: norm.norm_rows_backward(*alone))
    c = x.reshape(-1, 64, 1024)
    b = norm.batch_norm(c)
    moved(f"batch {dtype}", 2, 3 * n, lambda: norm.batch_norm(c))
    moved(
        f"batch backward {dtype}",
        2,
        5 * n,
        lambda: norm.batch_norm_backward(c, c, None, b.mean, b.rstd),
    )
    g = norm.group_norm(c, 8)
    moved(f"groups {dtype}", 1, 2 * n, lambda: norm.group_norm(c, 8))
    moved(
        f"groups backward {dtype}",
        3,
        5 * n,
        lambda: norm.group_norm_backward(c, c, 8, None, g.mean, g.rstd),
    )
    sizes = (side * side // 2, side * side // 2 - 17, 0, 17)
    lists = [[ones(m) for m in sizes] for _ in range(4)]
    summary, out = cp.zeros(2, "f4"), [ones(m) for m in sizes]
    moved(f"average {dtype}", 1, 5 * n, lambda: average.average(lists, out, summary=summary))
    added = lambda: average.average(lists, out, add=True, unscale=summary[1:] + 4)
    moved(f"average added {dtype}", 2, 6 * n, added)  # the other is the sum here
    moved(f"norm {dtype}", 1, n, lambda: average.find_norm(out, summary))
    samples = [x.reshape(64, -1)]
    moved(f"samples {dtype}", 1, 65 * n // 64, lambda: average.average_samples(samples))
    clipped = lambda: average.average_samples(samples, limit=1.0)
    moved(f"clipped {dtype}", 2, 129 * n // 64, clipped)
    states, step = [[cp.zeros(m, "f4") for m in sizes] for _ in range(3)], cp.zeros(1, "i8")
    moved(
        f"adam {dtype}",
        1,
        side * side * (3 * s + 16),
        lambda: optimizer.adam(out, out, *states[:2], step, summary=summary, limit=1.0),
    )
    for name, kept, f in (
        ("sgd", 0, lambda: optimizer.sgd(out, out, None, step)),
        ("momentum", 1, lambda: optimizer.sgd(out, out, states[0], step, momentum=0.9)),
        ("adagrad", 1, lambda: optimizer.adagrad(out, out, states[0], step)),
        ("rmsprop", 1, lambda: optimizer.rmsprop(out, out, states[0], step)),
        ("lion", 1, lambda: optimizer.lion(out, out, states[0], step)),
        ("amsgrad", 3, lambda: optimizer.adam(out, out, *states[:2], step, states[2])),
    ):
        moved(f"{name} {dtype}", 1, side * side * (3 * s + 8 * kept), f)
    moved(f"dropout {dtype}", 1, 2 * n, lambda: activation.forward(silu, x, w, **drop))
    for name, launches, params in (("back", 1, {}), ("bias", 2, {"sums": True})):
        back = lambda: activation.backward(silu, x, x, w, **params, **drop)
        moved(f"dropout {name} {dtype}", launches, 3 * n, back)
    relu, bits = activation.Relu(), 2 * n + side * side // 8
    kept = activation.forward_keeping(relu, x)[1]
    moved(f"relu {dtype}", 1, bits, lambda: activation.forward_keeping(relu, x, w))
    for name, launches, params in (("back", 1, {}), ("bias", 2, {"sums": True})):
        back = lambda: activation.backward(relu, x, kept, **params)
        moved(f"relu {name} {dtype}", launches, bits, back)
    forth = lambda: activation.gated_forward(silu, x, w)
    moved(f"pairs {dtype}", 1, 3 * n // 2, forth)
    up = x[:, : side // 2].copy()
    for launches, params in ((1, {}), (2, {"sums": True})):
        back = lambda: activation.gated_backward(silu, up, x, w, **params)
        moved(f"pairs back {launches} {dtype}", launches, 5 * n // 2, back)
    if dtype in ("f4", "f2"):  # gg.fuse takes what NumPy's functions take
        moved(f"fused {dtype}", 1, 3 * n, lambda: fused(x, x))
print(json.dumps(found))
"""


@pytest.mark.parametrize(
    ("elements", "dtypes", "kernels"),
    [(1 << 20, ("f4", "f2", "bfloat16"), 125), (1 << 24, ("f4",), 42)],
)
def test_bytes_and_launches(cuda, counters, elements, dtypes, kernels):
    stand_in = Path(sys.modules["cuda_on_cpu"].__file__).parents[1]
    path = os.pathsep.join([str(stand_in), *sys.path])
    run = subprocess.run(
        [sys.executable, "-m", "cuda_on_cpu", "--checked", "-c", COUNT, str(elements), *dtypes],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    ratios = json.loads(run.stdout)
    assert len(ratios) == kernels
    for kernel, ratio in ratios.items():
        assert 0.97 < ratio <= 1.05, (kernel, ratio)
