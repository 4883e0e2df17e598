"""Softmax, losses, norms, averaging and optimizers move what their docstrings say, and no more.

The stand-in counts in its checked mode, which is chosen when it starts: hence another process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

COUNT = """
import json, math, sys
import cuda_on_cpu
import cupy as cp
from gpugrad.kernels import average, norm, optimizer, softmax

found = {}

def moved(name, launches, least, f):
    f()
    with cuda_on_cpu.record() as r:
        f()
    assert r["launches"] == launches, (name, r["launches"])
    ks = r.kernels.values()
    found[name] = sum(k["load_bytes"] + k["store_bytes"] for k in ks) / least

side = math.isqrt(int(sys.argv[1]))
for dtype, s in (("f4", 4), ("f2", 2)):
    n = side * side * s
    x, w, labels = cp.ones((side, side), dtype), cp.ones(side, dtype), cp.zeros(side, "i8")
    one = cp.ones((), dtype)
    moved(f"softmax {dtype}", 1, 2 * n, lambda: softmax.softmax(x))
    moved(f"softmax backward {dtype}", 1, 3 * n, lambda: softmax.softmax_backward(x, x))
    loss = softmax.cross_entropy(x, labels)
    rest = (one, x, labels, loss.lse, None, loss.divisor)
    moved(f"loss {dtype}", 1, n + side * 24, lambda: softmax.cross_entropy(x, labels))
    moved(f"slope {dtype}", 1, 2 * n + side * 12, lambda: softmax.cross_entropy_backward(*rest))
    rows = norm.norm_rows(x, w, w)
    back = (x, x, w, rows.mean, rows.rstd)
    moved(f"rows {dtype}", 1, 2 * n, lambda: norm.norm_rows(x, w, w))
    moved(f"rows backward {dtype}", 2, 3 * n, lambda: norm.norm_rows_backward(*back))
    c = x.reshape(16, 64, -1)
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
    lists = [[cp.ones(m, dtype) for m in sizes] for _ in range(4)]
    summary, out = cp.zeros(2, "f4"), [cp.ones(m, dtype) for m in sizes]
    moved(f"average {dtype}", 1, 5 * n, lambda: average.average(lists, out, summary=summary))
    samples = [x[:64].reshape(64, -1)]
    moved(
        f"clipped {dtype}",
        2,
        129 * side * s,
        lambda: average.average_samples(samples, out=[w], limit=1.0),
    )
    states, step = [[cp.zeros(m, "f4") for m in sizes] for _ in range(2)], cp.zeros(1, "i8")
    moved(
        f"adam {dtype}",
        1,
        side * side * (3 * s + 16),
        lambda: optimizer.adam(out, out, *states, step, summary=summary, limit=1.0),
    )
print(json.dumps(found))
"""


def count(elements):
    stand_in = Path(sys.modules["cuda_on_cpu"].__file__).parents[1]
    path = os.pathsep.join([str(stand_in), *sys.path])
    run = subprocess.run(
        [sys.executable, "-m", "cuda_on_cpu", "--checked", "-c", COUNT, str(elements)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_bytes_and_launches_at_a_million_elements(cuda, counters):
    ratios = count(1 << 20)
    assert len(ratios) == 26
    for kernel, ratio in ratios.items():
        # A tensor of 64 samples of 1024 elements is too small for a chunk's overhead to vanish.
        assert 0.97 < ratio <= (1.2 if "clipped" in kernel else 1.05), (kernel, ratio)
