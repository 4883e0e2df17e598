"""Adafactor's step against torch.optim over several steps, and written out in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from gpugrad.kernels import adafactor as kernel
from gpugrad.kernels.adafactor import adafactor
from gpugrad.kernels.average import average

import gpugrad as gg
from gpugrad.device import CPU, to_device

SHAPES = [(5,), (), (0,), (300,), (3, 4), (67, 130), (2, 3, 5), (1, 1)]


def host(a):
    return np.asarray(to_device(a, CPU))


def states(shapes, dtype, device):
    rows = [None if len(s) < 2 else (*s[:-1], 1) for s in shapes]
    cols = [None if len(s) < 2 else (*s[:-2], 1, s[-1]) for s in shapes]
    own = [s if len(s) < 2 else None for s in shapes]
    return [
        [None if s is None else to_device(np.zeros(s, dtype), device) for s in each]
        for each in (rows, cols, own)
    ]


def rule(p, g, r, c, t, lr=1e-2, eps=(2.0**-52, 1e-3), d=1.0, weight_decay=0.0, power=-0.8):
    fresh, square = t**power, g * g
    alpha = max(eps[1], np.sqrt(np.mean(p * p))) * min(lr, t**-0.5)
    if p.ndim < 2:
        r += fresh * (square - r)
        v = r
    else:
        r += fresh * (square.mean(-1, keepdims=True) - r)
        c += fresh * (square.mean(-2, keepdims=True) - c)
        v = r * c / np.maximum(r.mean(-2, keepdims=True), eps[0])
    u = g / np.sqrt(np.maximum(v, eps[0] ** 2))
    p *= 1 - lr * weight_decay
    p -= alpha / max(1, np.sqrt(np.mean(u * u)) / d) * u


@pytest.mark.parametrize("part", [16384, 100, 3])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_as_the_rule_written_out(device, monkeypatch, dtype, part):
    monkeypatch.setattr(kernel, "PART", part)
    rng = np.random.default_rng(0)
    start = [np.asarray(rng.standard_normal(s)).astype(dtype) for s in SHAPES]
    params = [to_device(p.copy(), device) for p in start]
    wide = "float64" if dtype == "float64" else "float32"
    rows, cols, own = states(SHAPES, wide, device)
    step = to_device(np.zeros(1, np.int64), device)
    want = [p.astype("f8") for p in start]
    r, c, v = states(SHAPES, "f8", CPU)
    options = {"lr": 0.05, "weight_decay": 0.1, "d": 0.7, "eps": (1e-4, 1e-3)}
    for t in range(3):
        grads = [np.asarray(rng.standard_normal(s)).astype(dtype) for s in SHAPES]
        on = [to_device(g, device) for g in grads]
        adafactor(params, on, rows, cols, own, step, **options)
        for i, p in enumerate(want):
            if p.size:
                a, b = (v[i], v[i]) if p.ndim < 2 else (r[i], c[i])
                rule(p, grads[i].astype("f8"), a, b, t + 1, **options)
    assert host(step).tolist() == [3]
    tol = {"float16": 4e-3, "float32": 2e-6, "float64": 1e-13}[dtype]
    for got, p in zip(params, want):
        assert got.dtype == dtype
        np.testing.assert_allclose(host(got), p, rtol=tol, atol=tol)


@pytest.mark.parametrize("options", [{}, {"lr": 0.3, "weight_decay": 0.1, "maximize": True}])
def test_as_torch(options):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    shapes = [s for s in SHAPES if s != (0,)]
    start = [np.asarray(rng.standard_normal(s)) for s in shapes]
    leaves = [torch.tensor(p, requires_grad=True) for p in start]
    optim = torch.optim.Adafactor(leaves, **options)
    params, step = [p.copy() for p in start], np.zeros(1, np.int64)
    kept = states(shapes, "f8", CPU)
    for _ in range(4):
        grads = [np.asarray(rng.standard_normal(s)) for s in shapes]
        adafactor(params, grads, *kept, step, **options)
        for leaf, g in zip(leaves, grads):
            leaf.grad = torch.tensor(g)
        optim.step()
    for p, leaf in zip(params, leaves):
        np.testing.assert_allclose(p, leaf.detach().numpy(), rtol=1e-11, atol=1e-12)


def test_clipped_skipped_and_strided(device, xp):
    square = xp.ones((6, 6), "f4")
    params, grads = [square.T[::2]], [xp.full((3, 6), 2, "f4")]
    kept, step = states([(3, 6)], "f4", device), xp.zeros(1, "i8")
    summary = xp.zeros(2, "f4")
    average([grads], grads, summary=summary)
    adafactor(params, grads, *kept, step, summary=summary, limit=1.0, unscale=4)
    assert host(square)[:, 1::2].min() == 1
    assert host(square)[:, ::2].max() < 1
    before = host(kept[0][0]).copy()
    np.testing.assert_allclose(before, 1 / 18, rtol=1e-5)
    adafactor(params, grads, *kept, step, skip=xp.ones(1, "f4"))
    assert host(step).tolist() == [1]
    np.testing.assert_array_equal(host(kept[0][0]), before)


def test_one_launch(counters, cuda, device):
    if device.kind == "cpu":
        return
    params = [cuda.ones(s, "f4") for s in SHAPES]
    kept, step = states(SHAPES, "f4", device), cuda.zeros(1, "i8")
    adafactor(params, params, *kept, step)
    with counters() as r:
        adafactor(params, params, *kept, step)
    assert (r["launches"], r["h2d"], r["d2h"]) == (1, 0, 0)


def test_parts_of_large_tensors_change_no_bit_of_the_variances(cuda, monkeypatch):
    rng = np.random.default_rng(3)
    p, g = (cuda.asarray(rng.standard_normal((3, 70, 300)).astype("f4")) for _ in range(2))
    found = []
    for part in (16384, 500):
        monkeypatch.setattr(kernel, "PART", part)
        kept, step, x = states([p.shape], "f4", gg.device("cuda")), cuda.zeros(1, "i8"), p.copy()
        for _ in range(2):
            adafactor([x], [g], *kept, step)
        found.append([host(a) for a in (kept[0][0], kept[1][0], x)])
    assert kernel._parts(p) == 126
    for a, b in zip(*(f[:2] for f in found)):
        assert a.tobytes() == b.tobytes()
    np.testing.assert_allclose(found[0][2], found[1][2], rtol=1e-6, atol=1e-7)


def test_only_empty_tensors_count_the_step(device, xp):
    step = xp.zeros(1, "i8")
    adafactor([xp.ones(0)], [xp.ones(0)], [None], [None], [xp.ones(0)], step)
    assert host(step).tolist() == [1]


def test_places_are_counted_in_32_bits(cuda):
    with pytest.raises(ValueError, match=r"less than 2\*\*31 - 1024 elements"):
        kernel._dims(((3,), (1 << 15, 1 << 16)), 0)


def test_what_does_not_fit_is_refused(device, xp):
    p, step = [xp.ones((3, 4), "f4")], xp.zeros(1, "i8")
    with pytest.raises(ValueError, match="row variance 0 must be"):
        adafactor(p, p, [None], [None], [None], step)
    with pytest.raises(ValueError, match="three variances"):
        adafactor(p, p, [], [], [], step)
    kept = states([(3, 4)], "f4", device)
    with pytest.raises(ValueError, match="int64 array of one element"):
        adafactor(p, p, *kept, xp.zeros(1))
    with pytest.raises(ValueError, match="needs the summary"):
        adafactor(p, p, *kept, step, limit=1.0)
    adafactor([], [], [], [], [], step)
    assert host(step).tolist() == [0]
