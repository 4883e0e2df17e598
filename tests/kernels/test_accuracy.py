"""float32 kernels lie within two units in the last place of what float64 gives.

Units of the result and of the terms that it is a sum of. Activations, softmax, losses and
normalisation are held to it in their own tests.
"""

from __future__ import annotations

import numpy as np
import pytest
from gpugrad.kernels import attention, average, conv, norm, optimizer, pool, scan, scatter, segment
from gpugrad.kernels.conv import Geometry
from gpugrad.kernels.pool import Window

from gpugrad.device import CPU, to_device


def close(got, want, terms, most=2):
    got = to_device(got, CPU)
    assert got.dtype == np.float32
    away = abs(got.astype("f8") - want) / (2.0**-23 * np.maximum(abs(want), terms) + 1e-37)
    assert away.max() <= most, away.max()


def draw(seed, *shapes):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(s).astype("f4") for s in shapes]


def wide(*arrays):
    return [a.astype("f8") for a in arrays]


def on(device, *arrays):
    return [to_device(a.copy(), device) for a in arrays]


@pytest.mark.parametrize("causal", [False, True])
def test_attention(device, causal):
    g, q, k, v = draw(0, (2, 3, 130, 40), (2, 3, 130, 32), (2, 3, 130, 32), (2, 3, 130, 40))
    gd, qd, kd, vd = on(device, g, q, k, v)
    out, lse = attention.forward(qd, kd, vd, None, causal=causal, scale=32**-0.5)
    grads = attention.backward(gd, qd, kd, vd, None, out, lse, causal=causal, scale=32**-0.5)
    g, q, k, v = wide(g, q, k, v)

    def turned(a):
        return a.swapaxes(2, 3)

    scores, sizes = (a @ turned(b) * 32**-0.5 for a, b in ((q, k), (abs(q), abs(k))))
    if causal:
        scores = np.where(np.tri(130, dtype=bool), scores, -np.inf)
    total = np.log(np.exp(scores).sum(3, keepdims=True))
    p = np.exp(scores - total)
    # A score's error is one of its exponential.
    unsure = p * (1 + sizes + abs(total))
    close(out, p @ v, unsure @ abs(v))
    close(lse, total[..., 0], sizes.max(3) + abs(total[..., 0]))
    dp, along = g @ turned(v), abs(g) @ turned(abs(v))
    ds = p * (dp - (dp * p).sum(3, keepdims=True)) * 32**-0.5
    ds_terms = unsure * (along + (along * unsure).sum(3, keepdims=True)) * 32**-0.5
    close(grads[0], ds @ k, ds_terms @ abs(k))
    close(grads[1], turned(ds) @ q, turned(ds_terms) @ abs(q))
    close(grads[2], turned(p) @ g, turned(unsure) @ abs(g))


def test_convolution(device):
    how = Geometry((2, 1), ((1, 1), (2, 0)))
    x, w, b = draw(1, (5, 12, 17, 19), (8, 12, 3, 3), (8,))
    xd, wd, bd = on(device, x, w, b)
    y = conv.forward(xd, wd, bd, how)
    (g,) = draw(2, y.shape)
    (gd,) = on(device, g)
    dx, dw = conv.input_gradient(gd, wd, (17, 19), how), conv.weight_gradient(gd, xd, (3, 3), how)
    x, w, b, g = wide(x, w, b, g)
    most = 2 if device.kind == "cpu" else 4  # on CUDA the products are the BLAS's
    terms = conv.forward(abs(x), abs(w), abs(b), how)
    close(y, conv.forward(x, w, b, how), terms, most)
    terms = conv.input_gradient(abs(g), abs(w), (17, 19), how)
    close(dx, conv.input_gradient(g, w, (17, 19), how), terms, most)
    terms = conv.weight_gradient(abs(g), abs(x), (3, 3), how)
    close(dw, conv.weight_gradient(g, x, (3, 3), how), terms, most)


def test_pooling(device):
    x, g = draw(3, (4, 40, 50), (4, 13, 17))
    how = Window((13, 17), (7, 5), (3, 3), (3, 2))
    xd, gd = on(device, x, g)
    y, dx = pool.mean(xd, how), pool.spread(gd, (40, 50), how)
    places = pool.largest(xd, how)[1]
    back = pool.put(gd, places, (40, 50), how)
    x, g = wide(x, g)
    at = to_device(places, CPU)
    close(y, pool.mean(x, how), pool.mean(abs(x), how))
    close(dx, pool.spread(g, (40, 50), how), pool.spread(abs(g), (40, 50), how))
    close(back, pool.put(g, at, (40, 50), how), pool.put(abs(g), at, (40, 50), how))


def test_averages(device):
    shapes = ((70, 90), (4097,), (1,))
    lists = [draw(4 + k, *shapes) for k in range(8)]
    total = average.average([on(device, *arrays) for arrays in lists])
    samples = draw(13, (40, 30, 50), (40, 7))
    clipped = average.average_samples(on(device, *samples), limit=20.0)
    for got, *parts in zip(total, *lists, strict=True):
        stack = np.stack(wide(*parts))
        close(got, stack.mean(0), abs(stack).mean(0))
    samples = wide(*samples)
    norms = np.sqrt(sum((s.reshape(40, -1) ** 2).sum(1) for s in samples))
    for got, s in zip(clipped, samples, strict=True):
        s = s * np.minimum(1, 20 / norms).reshape(40, *[1] * (s.ndim - 1))
        close(got, s.mean(0), abs(s).mean(0))


@pytest.mark.parametrize("axis", [0, 1])
def test_running_sums(device, axis):
    (x,) = draw(14, (300, 5000))
    y = scan.running("Sum", to_device(x, device), axis)
    (x,) = wide(x)
    close(y, x.cumsum(axis), abs(x).cumsum(axis))


UNIFORM = np.random.default_rng(18).random(1 << 20, dtype="f4")
"""A million positive elements: roundings add up, and none hides behind terms that cancel."""


@pytest.mark.parametrize("shape", [(1 << 20,), (16, 65536), (65536, 16)])
def test_a_million_running(device, shape):
    x = UNIFORM.reshape(shape)
    axis = shape.index(max(shape))
    close(scan.running("Sum", to_device(x, device), axis), x.cumsum(axis, dtype="f8"), 0)
    x = 1 + (x - 0.5) / 64
    want = x.cumprod(axis, dtype="f8")
    close(scan.running("Product", to_device(x, device), axis), want, 1e-30)


@pytest.mark.parametrize("columns", [1, 16])
def test_a_million_in_one_row(device, columns):
    x = UNIFORM.reshape(-1, columns)
    vd, rd = on(device, x, np.zeros(len(x), "i8"))
    want = x.sum(0, dtype="f8", keepdims=True)
    close(segment.total(vd, rd, 1), want, 0)
    (od,) = on(device, np.zeros((1, columns), "f4"))
    scatter.add_rows(od, rd, vd)
    close(od, want, 0)


@pytest.mark.parametrize("limit", [None, 2.0])
def test_the_mean_of_many(device, limit):
    x = UNIFORM.reshape(-1, 16)
    w = x.astype("f8")
    if limit is not None:
        w = w * np.minimum(1, limit / (np.sqrt((w * w).sum(1, keepdims=True)) + 1e-6))
    close(average.average_samples(on(device, x), limit=limit)[0], w.mean(0), 0)
    if limit is None:
        parts = UNIFORM[:600_000].reshape(600, 1000)
        (mean,) = average.average([[a] for a in on(device, *parts)])
        close(mean, parts.mean(0, dtype="f8"), 0)


@pytest.mark.parametrize("offset", [0, 1000])
@pytest.mark.parametrize("shape", [(65536, 16, 1), (16, 2, 32768), (4096, 8, 32)])
def test_moments_of_channels_of_a_million(device, shape, offset):
    x = UNIFORM.reshape(shape) + np.float32(offset)
    y = norm.batch_norm(to_device(x, device))
    w = x.astype("f8")
    close(y.mean, w.mean((0, 2)), 0)
    close(y.variance, w.var((0, 2)), 0)


@pytest.mark.parametrize("offset", [0, 1000])
def test_moments_of_rows_of_a_million(device, offset):
    x = UNIFORM + np.float32(offset)
    for shape in ((1, -1), (16, -1)):
        rows = x.reshape(shape)
        y, w = norm.norm_rows(to_device(rows, device)), rows.astype("f8")
        close(y.mean, w.mean(1), 0)
        close(y.rstd, 1 / np.sqrt(w.var(1) + 1e-5), 0)
    groups = x.reshape(2, 4, -1)
    y, w = norm.group_norm(to_device(groups, device), 2), groups.reshape(4, -1).astype("f8")
    close(y.mean, w.mean(1), 0)
    close(y.rstd, 1 / np.sqrt(w.var(1) + 1e-5), 0)


def test_sums_over_channels_of_a_million(device):
    x = UNIFORM.reshape(65536, 16, 1)
    g = 1 - x
    mean, rstd = np.zeros(16, "f4"), np.ones(16, "f4")
    gd, xd, md, rd = on(device, g, x, mean, rstd)
    _, dw, db = norm.batch_norm_backward(gd, xd, None, md, rd)
    g, x = wide(g, x)
    close(dw, (g * x).sum((0, 2)), 0)
    close(db, g.sum((0, 2)), 0)


def test_rows(device):
    values, out = draw(15, (3000, 24), (50, 24))
    rows = np.random.default_rng(16).integers(0, 50, 3000)
    vd, od, rd = on(device, values, out, rows)
    total = segment.total(vd, rd, 50)
    scatter.add_rows(od, rd, vd)
    values, out = wide(values, out)
    sums, sizes = np.zeros((2, 50, 24))
    np.add.at(sums, rows, values)
    np.add.at(sizes, rows, abs(values))
    close(total, sums, sizes)
    close(od, out + sums, abs(out) + sizes)


def sgd(p, g, v):
    v = 0.9 * v + g
    return p - 0.1 * v, v


def adam(p, g, m, v):
    g = g + 0.1 * p
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
    return p - 0.1 * m / (1 - 0.9**4) / (np.sqrt(v / (1 - 0.999**4)) + 1e-8), m, v


def adagrad(p, g, s):
    s = s + g * g
    return p - 0.1 * g / (np.sqrt(s) + 1e-10), s


def rmsprop(p, g, s):
    s = 0.99 * s + 0.01 * g * g
    return p - 0.1 * g / (np.sqrt(s) + 1e-8), s


def lion(p, g, m):
    return p - 0.1 * np.sign(0.9 * m + 0.1 * g), 0.99 * m + 0.01 * g


RULES = {
    sgd: (1, {"lr": 0.1, "momentum": 0.9}),
    adam: (2, {"lr": 0.1, "weight_decay": 0.1}),
    adagrad: (1, {"lr": 0.1}),
    rmsprop: (1, {"lr": 0.1}),
    lion: (1, {"lr": 0.1}),
}


@pytest.mark.parametrize("rule", RULES)
def test_a_step(device, rule):
    """The fourth, against the rule written out in float64."""
    count, options = RULES[rule]
    p, g, *states = draw(17, *[5000] * (2 + count))
    states = [abs(s) for s in states]
    pd, gd, *kept = on(device, p, g, *states)
    (steps,) = on(device, np.full(1, 3))
    getattr(optimizer, rule.__name__)([pd], [gd], *[[s] for s in kept], steps, **options)
    assert int(steps[0]) == 4
    p, g, *states = wide(p, g, *states)
    want = rule(p, g, *states)
    terms = rule(0 * p, abs(g), *states)  # the change, and the states
    close(pd, want[0], abs(p) + abs(terms[0]))
    for a, b, size in zip(kept, want[1:], terms[1:], strict=True):
        close(a, b, size)
