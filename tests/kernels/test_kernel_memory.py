"""Every kernel keeps to its arrays and reads nothing that was never written.

The stand-in looks in its checked modes, which are chosen when it starts: hence another process.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from gpugrad.kernels import report

RUN = """
import sys
import cupy as cp
import numpy as np
import gpugrad as gg
from gpugrad.kernels import (
    activation, adafactor, attention, average, conv, norm, optimizer, philox, pool, scan, scatter,
    segment, softmax,
)

rng = np.random.default_rng(0)
state = cp.asarray(philox.stream(3))
where, dtype = sys.argv[1:3]


def draw(*shape):
    "An array that begins at a multiple of 16 bytes, behind one, or has gaps."
    a = cp.asarray(rng.random(shape).astype(dtype))
    if where == "unaligned":
        place = cp.zeros(a.size + 1, dtype)[1:].reshape(shape)
        place[...] = a
        return place
    if where == "strided":
        place = cp.zeros((*shape, 2), dtype)[..., 1]
        place[...] = a
        return place
    return a


def sums(*shape):
    return cp.zeros(shape, "f8" if dtype == "f8" else "f4")


def rows(n):
    return cp.asarray(np.sort(rng.integers(0, 5, n)))


def of_activation(n, m):
    for drop in ({}, {"rate": 0.5, "state": state}):
        act, x, g, pair = activation.Gelu(), draw(n, m), draw(n, m), draw(n, 2 * m)
        yield activation.forward(act, x, draw(m), **drop)
        yield from activation.backward(act, g, x, draw(m), sums=True, **drop)
        yield activation.gated_forward(act, pair, draw(2 * m), **drop)
        yield from activation.gated_backward(act, g, pair, draw(2 * m), sums=True, **drop)
        for act in (activation.Relu(), activation.LeakyRelu()):
            y, signs = activation.forward_keeping(act, x, draw(m), **drop)
            yield from [y, signs, *activation.backward(act, g, signs, sums=True, **drop)]


def of_softmax(n, m):
    x, g, w = draw(n, m), draw(n, m), draw(m)
    if m == 0:
        return
    labels = cp.arange(n) % m
    for log in (False, True):
        y = softmax.softmax(x, log=log)
        yield y
        yield softmax.softmax_backward(g, y, log=log)
    for weight in (None, w):
        loss = softmax.cross_entropy(x, labels, weight, label_smoothing=0.1)
        yield from loss[:2]
        args = (draw(1).reshape(()), x, labels, loss.lse, weight, loss.divisor)
        yield softmax.cross_entropy_backward(*args, label_smoothing=0.1)


def of_norm(n, m):
    x, g, w, b = draw(n, m), draw(n, m), draw(m), draw(m)
    for center in (True, False):
        found = norm.norm_rows(x, w, b, center=center)
        yield from [a for a in found if a is not None]
        yield from norm.norm_rows_backward(g, x, w, found.mean, found.rstd)
    for x, g in ((x[..., None], g[..., None]), (draw(n, m, 3), draw(n, m, 3))):
        found = norm.batch_norm(x, w, b)
        yield from found
        yield from norm.batch_norm_backward(g, x, w, found.mean, found.rstd)
        found = norm.group_norm(x, 1, w, b)
        yield from found[:3]
        yield from norm.group_norm_backward(g, x, 1, w, found.mean, found.rstd)


def of_average(n, m):
    lists = [[draw(n, m), draw(m), draw(3)] for _ in range(10)]
    for add in (False, True):
        summary, out = sums(2), [draw(n, m), draw(m), draw(3)]
        yield from average.average(lists, out, add=add, unscale=sums(1) + 2, summary=summary)
        average.find_norm(lists[0], summary)
        yield summary
    if n:
        yield from average.average_samples([draw(n, m), draw(n, 3)], limit=1.0)


def of_optimizer(n, m):
    p, g = [draw(n, m), draw(m), draw(3)], [draw(n, m), draw(m), draw(3)]
    s = [[sums(*a.shape) for a in p] for _ in range(3)]
    step = cp.zeros(1, "i8")
    optimizer.sgd(p, g, None, step)
    optimizer.sgd(p, g, s[0], step, momentum=0.9)
    optimizer.adam(p, g, s[0], s[1], step, s[2])
    optimizer.adagrad(p, g, s[0], step)
    optimizer.rmsprop(p, g, s[0], step)
    optimizer.lion(p, g, s[0], step)
    matrix, gradient = [draw(n, m)], [draw(n, m)]
    if n and m:
        adafactor.PART = 100  # several for a tensor
        adafactor.adafactor(matrix, gradient, [sums(n, 1)], [sums(1, m)], [None], step)
    yield from [*p, *s[0], *matrix, step]


def of_philox(n, m):
    yield philox.bits(state, (n, m))
    yield philox.uniform(state, (n, m), "f8")
    yield philox.normal(state, (n, m))


def of_pool(n, m):
    if n == 0 or m == 0:
        return
    how = pool.Window((n, m), (3, 3), (1, 1), (1, 1))
    x, g = draw(2, n, m), draw(2, n, m)
    y, places = pool.largest(x, how)
    yield from [y, pool.put(g, places, (n, m), how)]
    yield from [pool.mean(x, how), pool.spread(g, (n, m), how)]


def of_conv(n, m):
    if n == 0 or m == 0:
        return
    how = conv.Geometry(padding=((1, 1), (1, 1)))
    x, w, g = draw(2, 3, n, m), draw(4, 3, 3, 3), draw(2, 4, n, m)
    yield conv.forward(x, w, draw(4), how)
    yield conv.input_gradient(g, w, (n, m), how)
    yield conv.weight_gradient(g, x, (3, 3), how)


def of_attention(n, m):
    if n == 0 or m == 0:
        return
    g, q, k, v = [draw(1, 2, n, m) for _ in range(4)]
    out, lse = attention.forward(q, k, v, None, causal=True, scale=0.2)
    yield from [out, lse]
    yield from attention.backward(g, q, k, v, None, out, lse, causal=True, scale=0.2)


def of_scan(n, m):
    for op in ("Sum", "Product"):
        for axis in (0, 1):
            yield scan.running(op, draw(n, m), axis)
    yield scan.running("Sum", draw(n * m), 0)


def of_segment(n, m):
    yield segment.take(draw(n, m), rows(7))
    yield segment.total(draw(n, m), rows(n), 6, ordered=True)
    yield segment.largest(draw(n, m), rows(n), 6, ordered=True)


def of_fused(n, m):
    y, pull = gg.vjp(gg.fuse(lambda a, b: np.exp(-a * a) * b), draw(n, m), draw(m))
    yield from [y, *pull(draw(n, m))]


def of_sorted(n, m):
    # By CuPy's sort, which the stand-in does on the host: it does not see what is written then, so
    # that only bounds are looked at.
    yield segment.total(draw(n, m), rows(n)[::-1], 6)
    out = cp.zeros((5, m), dtype)
    scatter.add_rows(out, rows(n)[::-1], draw(n, m))
    yield out


for name in sys.argv[3:]:
    for shape in ((0, 5), (5, 0), (1, 1), (7, 13), (130, 36), (2, 5001)):
        if name == "attention" and shape[1] > 256:
            continue
        for y in globals()[f"of_{name}"](*shape):
            assert (y + y == y + y).size == y.size  # reads each element
    print(name)
"""

NAMES = sorted(set(report.KERNELS) - {"scatter"} | {"fused"})


def found(options, *arguments):
    stand_in = Path(sys.modules["cuda_on_cpu"].__file__).parents[1]
    return subprocess.run(
        [sys.executable, "-m", "cuda_on_cpu", *options, "-c", RUN, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(stand_in), *sys.path])},
        capture_output=True,
        text=True,
    )


PACKS_OF_8 = ["activation", "average", "optimizer", "pool", "scan", "segment"]
"""What is run in float16 too; the others would compile for long."""


@pytest.mark.parametrize(
    ("where", "dtype", "names"),
    [
        *[(where, "f4", NAMES) for where in ("aligned", "unaligned", "strided")],
        ("aligned", "f2", PACKS_OF_8),
    ],
)
def test_bounds_and_what_was_never_written(cuda, counters, where, dtype, names):
    run = found(["--checked", "--initcheck"], where, dtype, *names)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == names
    run = found(["--checked"], where, dtype, "sorted")
    assert run.returncode == 0, run.stderr


def test_a_read_of_what_was_never_written_is_found(cuda, counters):
    stand_in = Path(sys.modules["cuda_on_cpu"].__file__).parents[1]
    code = "import cupy; cupy.empty(5, 'f4') + 1"
    run = subprocess.run(
        [sys.executable, "-m", "cuda_on_cpu", "--checked", "--initcheck", "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(stand_in), *sys.path])},
        capture_output=True,
        text=True,
    )
    assert run.returncode
    assert "uninitialised" in run.stderr
