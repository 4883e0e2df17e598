"""Pooling, windows and rows move no more bytes than their docstrings say, as the stand-in counts.

It counts in its checked mode, which is chosen when it starts: hence another process.
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
from gpugrad.kernels import conv, philox, pool, scan, scatter, segment, softmax
from gpugrad.kernels.conv import Geometry
from gpugrad.kernels.pool import Window

def moved(kernel, f):
    with cuda_on_cpu.record() as r:
        f()
    found = [k for name, k in r.kernels.items() if kernel in name]
    assert len(found) == 1, list(r.kernels)
    return found[0]["load_bytes"] + found[0]["store_bytes"]

n = int(sys.argv[1])
side = math.isqrt(n)
found, state = {}, cp.asarray(philox.stream(7, 1))
for dtype in sys.argv[2:]:
    x = cp.ones((1, side, side), dtype)
    # without overlap, as in residual networks, and windows of one size for all pixels
    for kernel, stride, padding in ((2, 2, 0), (3, 2, 1), (3, 1, 1)):
        g = cp.ones((1, side // stride, side // stride), dtype)
        how = Window(g.shape[1:], (kernel,) * 2, (stride,) * 2, (padding,) * 2)
        places = pool.largest(x, how)[1]
        size = (side, side)
        for name, least, f in (
            ("largest", places.nbytes, lambda: pool.largest(x, how)),
            ("put", places.nbytes, lambda: pool.put(g, places, size, how)),
            ("mean", 0, lambda: pool.mean(x, how)),
            ("spread", 0, lambda: pool.spread(g, size, how)),
        ):
            least += x.nbytes + g.nbytes
            found[f"{name} {dtype} {kernel} {stride}"] = moved(name, f) / least
    for name, a in (("line", x.reshape(-1)), ("rows", x)):
        f = lambda: scan.running("Sum", a, a.ndim - 1)
        found[f"scan of {name} {dtype}"] = moved("rows", f) / (2 * x.nbytes)
for name, f in (
    ("bits", lambda: philox.bits(state, (n,))),
    ("uniform", lambda: philox.uniform(state, (n,), "f8")),
    ("normal", lambda: philox.normal(state, (n,))),
):
    found[name] = moved("draw", f) / f().nbytes
size = 4 * n
table, values = cp.ones((1000, 256), "f4"), cp.ones((n // 256, 256), "f4")
rows = cp.arange(n // 256) % 1000
images, w = cp.ones((n // 8 // 1024, 8, 32, 32), "f4"), cp.ones((4, 8, 3, 3), "f4")
same = Geometry(padding=((1, 1), (1, 1)))
digits, labels = cp.ones((n // 10, 10), "f4"), cp.zeros(n // 10, "i8")
least = digits.nbytes + labels.nbytes + 4 * len(labels)
f = lambda: softmax.cross_entropy(digits, labels)
found["cross-entropy"] = moved("cross_entropy", f) / least
words, labels, weight = cp.ones((n // 1024, 1024), "f4"), labels[: n // 1024], cp.ones(1024, "f4")
_, lse, divisor = softmax.cross_entropy(words, labels, weight)
one, least = cp.ones((), "f4"), 2 * words.nbytes + 12 * len(labels)
f = lambda: softmax.cross_entropy_backward(one, words, labels, lse, weight, divisor)
found["cross-entropy backward"] = moved("cross_entropy_backward", f) / least
matrix, g = 9 * 4 * images.size, conv.forward(images, w, None, same)
print(json.dumps(found | {
    "take": moved("take", lambda: segment.take(table, rows)) / (2 * size + 8 * len(rows)),
    "total": moved("segments", lambda: segment.total(values, rows, 1000))
    / (size + 8 * len(rows) + 1000 * (1024 + 16)),
    "largest of segments": moved("segments", lambda: segment.largest(values, rows, 1000))
    / (size + 8 * len(rows) + 1000 * (1024 + 16)),
    "add_rows": moved("add_rows", lambda: scatter.add_rows(table, rows, values))
    / (size + 16 * len(rows) + 2 * table.nbytes),
    "windows": moved("windows", lambda: conv.forward(images, w, None, same))
    / (matrix + 4 * images.size),
    "images": moved("images", lambda: conv.input_gradient(g, w, (32, 32), same))
    / (matrix + 4 * images.size),
}))
"""


@pytest.mark.parametrize(
    ("elements", "dtypes", "kernels"), [(1 << 20, ("f4", "f2"), 39), (1 << 24, ("f4",), 25)]
)
def test_bytes(cuda, counters, elements, dtypes, kernels):
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
    print({kernel: round(ratio, 3) for kernel, ratio in ratios.items()})
    for kernel, ratio in ratios.items():
        assert 0.9 < ratio <= 1.05, (kernel, ratio)


@pytest.mark.parametrize(
    "name",
    ["largest", "put", "mean", "spread", "take", "total", "windows", "images", "rows", "add_rows"],
)
def test_the_minimum_is_derived_in_the_docstring(name):
    from gpugrad.kernels import conv, pool, scan, scatter, segment

    where = {"windows": conv.forward, "images": conv.input_gradient}
    where |= {"rows": scan.running, "add_rows": scatter.add_rows}
    f = where.get(name) or getattr(pool if hasattr(pool, name) else segment, name)
    assert "Bytes it must move" in f.__doc__
