"""Fused activations against the same composed of operations in float64, on both devices."""

from __future__ import annotations

import functools
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from gpugrad.kernels import activation as kinds
from gpugrad.kernels import philox, report, source
from gpugrad.kernels.activation import (
    backward,
    forward,
    forward_keeping,
    gated_backward,
    gated_forward,
)

import gpugrad as gg
from gpugrad.device import CPU, to_device
from gpugrad.ops import activation as composed

ACTS = [
    kinds.Identity(),
    kinds.Relu(),
    kinds.LeakyRelu(0.2),
    kinds.Sigmoid(),
    kinds.Tanh(),
    kinds.Elu(0.7),
    kinds.Selu(),
    kinds.Gelu(),
    kinds.GeluTanh(),
    kinds.Silu(),
    kinds.Mish(),
    kinds.HardSwish(),
    kinds.Softplus(2.0, 15.0),
]
STREAM = philox.stream(2**33 + 1, 5)
EPS = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "float64": 2.0**-52}


def each_act(f):
    return pytest.mark.parametrize("act", ACTS, ids=lambda a: type(a).__name__)(f)


def draw(shape, dtype, device, seed=0, spread=3.0):
    x = np.random.default_rng(seed).normal(0, spread, shape)
    dtype = ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
    return to_device(x.astype(dtype), device)


def host(x):
    return np.asarray(to_device(x, CPU))


def wide(x):
    return host(x).astype("f8")


def close(got, want, scale):
    """Within two units in the last place at the scale of what was computed with."""
    unit = EPS[got.dtype.name] * np.maximum(scale, np.finfo("f4").tiny)
    away = abs(host(got).astype(REAL) - want) / unit
    ulps = 4 if got.dtype == np.float64 else 2
    assert np.nanmax(away, initial=0) <= ulps, np.nanmax(away)
    np.testing.assert_array_equal(np.isnan(wide(got)), np.isnan(want))


# ------------------------------------------------------------------------------ the references

REAL = np.longdouble
PI = 4 * np.arctan(REAL(1))


def logistic(z):
    e = np.exp(-abs(z))
    return np.where(z < 0, e, 1) / (1 + e)


def bell(z):
    return np.exp(-z * z / 2) / np.sqrt(2 * PI)


def below(z):
    """The normal distribution's probability: C's at a double nearby, and the slope from there."""
    near = (-z / np.sqrt(REAL(2))).astype("f8")
    tail = np.vectorize(math.erfc, otypes=["f8"])(near).astype(REAL) / 2
    return tail + bell(z) * (z + near * np.sqrt(REAL(2)))


def gelu_tanh(z):
    """Value and slope."""
    rate, cube = 2 * np.sqrt(2 / PI), REAL("0.044715")
    u = rate * (z + cube * z**3)
    s, rest = logistic(u), logistic(-u)
    return z * s, s + z * s * rest * rate * (1 + 3 * cube * z * z)


def mish(z):
    u = np.logaddexp(z, 0)
    return z * np.tanh(u), np.tanh(u) + z * logistic(z) / np.cosh(u) ** 2


def exact(act, z):
    """Value and slope by the textbook's formulas, in a precision that is taken for exact."""
    up = z > 0
    match act:
        case kinds.Identity():
            return z, np.ones_like(z)
        case kinds.Relu():
            return z * up, 1 * up
        case kinds.LeakyRelu(slope):
            return np.where(up, z, z * REAL(slope)), np.where(up, 1, REAL(slope))
        case kinds.Sigmoid():
            return logistic(z), logistic(z) * logistic(-z)
        case kinds.Tanh():
            return np.tanh(z), 1 / np.cosh(z) ** 2
        case kinds.Elu(alpha):
            low = REAL(alpha)
            return np.where(up, z, low * np.expm1(z)), np.where(up, 1, low * np.exp(z))
        case kinds.Selu():
            scale, low = REAL("1.0507009873554805"), REAL("1.7580993408473766")
            return np.where(up, scale * z, low * np.expm1(z)), np.where(up, scale, low * np.exp(z))
        case kinds.Gelu():
            return z * below(z), below(z) + z * bell(z)
        case kinds.GeluTanh():
            return gelu_tanh(z)
        case kinds.Silu():
            return z * logistic(z), logistic(z) * (1 + z * logistic(-z))
        case kinds.Mish():
            return mish(z)
        case kinds.HardSwish():
            line = np.where(z <= -3, 0, np.where(z >= 3, 1, z / 3 + REAL(0.5)))
            return z * np.clip(z + 3, 0, 6) / 6, line
        case kinds.Softplus(beta, threshold):
            far = beta * z > threshold
            u = np.where(far, 0, beta * z)
            return np.where(far, z, np.logaddexp(u, 0) / beta), np.where(far, 1, logistic(u))


def expected(act, g, x, b, rate, gated):
    """The value and the cotangent of x, and the size of what both are computed with."""
    sums = np.float32 if x.dtype.itemsize < 8 else np.float64
    z = (host(x).astype(sums) + host(b).astype(sums)).astype(REAL)
    left, z = np.split(z, 2, -1) if gated else (REAL(1), z)
    y, slope = exact(act, z)
    up, kept = host(g).astype(REAL), REAL(1)
    if rate:
        words = philox.few_bits(STREAM, up.size).reshape(up.shape)
        kept = (words >= round(rate * 2**32)) / (1 - REAL(rate))
    dz = up * kept * left * slope
    dx = np.concatenate([up * kept * y, dz], -1) if gated else dz
    most = abs(up * kept * left)
    if gated:
        most = np.concatenate([abs(up * kept) * np.maximum(1, abs(z)), most], -1)
    return left * y * kept, dx, np.maximum(1, abs(z)) * abs(left) * np.maximum(1, kept), most


def check(act, shape, dtype, device, rate=0.0, gated=False):
    x, b = draw(shape, dtype, device), draw(shape[-1:], dtype, device, 1, 1.0)
    state = to_device(STREAM, device)
    drop = {"rate": rate, "state": state} if rate else {}
    n = shape[-1] // 2 if gated else shape[-1]
    g = draw((*shape[:-1], n), dtype, device, 2, 1.0)
    if gated:
        y, kept, back = gated_forward(act, x, b, **drop), x, gated_backward
    else:
        (y, kept), back = forward_keeping(act, x, b, **drop), backward
    dx, db = back(act, g, kept, b, sums=True, **drop)
    dtypes = {a.dtype for a in (x, y, dx, db)}
    assert len(dtypes) == 1
    value, slope, size, most = expected(act, g, x, b, rate, gated)
    close(y, value, size)
    # An activation's slope is a sum of terms of about 1 and itself, times what comes back.
    most = most + abs(slope)
    close(dx, slope, most)
    rows = (-1, shape[-1])
    close(db, slope.reshape(rows).sum(0), most.reshape(rows).sum(0))
    again = back(act, g, kept, b, sums=True, **drop)
    assert host(dx).tobytes() == host(again[0]).tobytes()
    assert host(db).tobytes() == host(again[1]).tobytes()


@each_act
def test_forward_backward_and_bias_gradient(act, device):
    check(act, (70, 130), "float32", device)


@each_act
@pytest.mark.parametrize("gated", [False, True], ids=["plain", "gated"])
@pytest.mark.parametrize("dtype", EPS)
def test_each_activation_in_each_dtype_with_dropout(act, dtype, gated, device):
    for rate in (0.0, 0.25):
        check(act, (33, 20), dtype, device, rate, gated)


@pytest.mark.parametrize("act", [kinds.Tanh(), kinds.Sigmoid()], ids=["tanh", "sigmoid"])
@pytest.mark.parametrize("dtype", EPS)
@pytest.mark.parametrize("size", [40, composed.SMALL], ids=["array code", "kernel"])
def test_where_dropout_meets_saturation_no_slope_turns_round(act, dtype, size, device):
    x = draw((size,), dtype, device) * 0 + 20
    for rate in (0.1, 0.3, 0.45):
        state = to_device(STREAM, device)
        f = functools.partial(composed.activate, act, rate=rate, state=state)
        _, pull = gg.vjp(f, x)
        assert wide(pull(x)[0]).min() >= 0


@pytest.mark.parametrize("shape", [(1, 1), (5, 1), (37, 10), (5, 3, 130), (1, 3001), (2000, 3)])
@pytest.mark.parametrize("dtype", EPS)
def test_shapes_and_dtypes(shape, dtype, device):
    check(kinds.Silu(), shape, dtype, device)


@pytest.mark.parametrize("act", [kinds.Tanh(), kinds.Silu()], ids=["output", "input"])
@pytest.mark.parametrize("dtype", EPS)
def test_dropout_in_both_directions(act, dtype, device):
    check(act, (33, 21), dtype, device, 0.25)


@pytest.mark.parametrize("rate", [0.0, 0.25])
@pytest.mark.parametrize(("shape", "dtype"), [((65, 10), "float32"), ((9, 5, 64), "float16")])
def test_gated_pairs(shape, dtype, rate, device):
    for act in (kinds.Sigmoid(), kinds.Silu()):
        check(act, shape, dtype, device, rate, gated=True)


def test_the_mask_is_the_words_of_the_stream(device, xp):
    x = xp.ones((11, 13), "f4")
    y = forward(kinds.Identity(), x, rate=0.3, state=to_device(STREAM, device))
    keep = philox.few_bits(STREAM, x.size) >= round(0.3 * 2**32)
    np.testing.assert_array_equal(host(y), np.where(keep, np.float32(1 / 0.7), 0).reshape(11, 13))


@each_act
def test_nan_and_infinity_as_in_array_code(act, device):
    x = np.array([np.nan, np.inf, -np.inf, 1e4, -1e4, 1e30, -1e30, -0.0, 0.0])
    with np.errstate(all="ignore"):
        y = composed.VALUE[type(act)](act, x)
        r = y if isinstance(act, kinds.KEEPS_OUTPUT) else x
        dx = composed.PULL[type(act)](act, np.ones_like(x), r)
    got, kept = forward_keeping(act, to_device(x, device))
    same = [got, backward(act, to_device(np.ones_like(x), device), kept)[0]]
    for a, b in zip(same, (y, dx), strict=True):
        np.testing.assert_allclose(host(a), b, rtol=1e-14, atol=1e-300)


BY_SIGNS = pytest.mark.parametrize(
    "act", [kinds.Relu(), kinds.LeakyRelu(0.2)], ids=["relu", "leaky"]
)


@BY_SIGNS
@pytest.mark.parametrize("dtype", EPS)
@pytest.mark.parametrize("shape", [(1, 1), (9, 8), (33, 21), (5, 3, 130), (3, 3001), (40, 1024)])
def test_what_is_kept_are_the_bits_of_the_outputs_signs(act, dtype, shape, device):
    x, b = draw(shape, dtype, device), draw(shape[-1:], dtype, device, 1)
    least = np.finfo("f2").smallest_subnormal if dtype == "float16" else 2.0**-133
    x.reshape(-1)[::7] = to_device(np.array(0.5 * least, "f8").astype(x.dtype), device)
    drop = {"rate": 0.25, "state": to_device(STREAM, device)}
    for bias, options in ((None, {}), (b, {}), (b, drop)):
        y, kept = forward_keeping(act, x, bias, **options)
        np.testing.assert_array_equal(host(y), host(forward(act, x, bias, **options)))
        np.testing.assert_array_equal(host(kept), np.packbits(host(y) > 0, bitorder="little"))


@BY_SIGNS
@pytest.mark.parametrize("dtype", EPS)
@pytest.mark.parametrize("shape", [(33, 21), (300, 130), (70, 3001)])
def test_gradients_by_signs_to_the_last_bit(act, dtype, shape, device):
    x, g = draw(shape, dtype, device), draw(shape, dtype, device, 1)
    y, kept = forward_keeping(act, x)
    dx, db = backward(act, g, kept, sums=True)
    slope = 0.0 if act == kinds.Relu() else act.negative_slope
    sums = np.promote_types(x.dtype, "f4") if dtype != "bfloat16" else np.dtype("f4")
    wide_g = host(g).astype(sums)
    want = np.where(host(y) > 0, wide_g, sums.type(slope) * wide_g).astype(x.dtype)
    np.testing.assert_array_equal(host(dx), want)
    np.testing.assert_array_equal(host(backward(act, g, kept)[0]), want)
    if sums == x.dtype:  # else what is summed was not yet rounded
        order = backward(kinds.Identity(), dx, dx, sums=True)[1]
        np.testing.assert_array_equal(host(db), host(order))


def test_of_relu_the_bits_say_what_dropout_kept(device):
    x, g = draw((40, 70), "float32", device), draw((40, 70), "float32", device, 1)
    state = to_device(STREAM, device)
    y, kept = forward_keeping(kinds.Relu(), x, rate=0.25, state=state)
    dx = backward(kinds.Relu(), g, kept, rate=0.25, state=state + np.uint32(1))[0]
    scale = np.float32(1 / 0.75)
    np.testing.assert_array_equal(host(dx), np.where(host(y) > 0, host(g) * scale, 0))


def test_unaligned_strided_and_empty(device, xp):
    buffer = xp.arange(65, dtype="f4") - 30
    x = buffer[1:].reshape(8, 8)
    act = kinds.Relu()
    np.testing.assert_array_equal(host(forward(act, x)), np.maximum(host(x), 0))
    g = xp.ones((8, 8), "f4")
    dx, db = backward(act, g[::-1], forward_keeping(act, x)[1], sums=True)
    np.testing.assert_array_equal(host(dx), host(x) > 0)
    dx, db = backward(act, g.T, forward_keeping(act, x.T)[1], sums=True)
    np.testing.assert_array_equal(host(dx), host(x.T) > 0)
    np.testing.assert_array_equal(host(db), (host(x.T) > 0).sum(0))
    y, kept = forward_keeping(act, x[:0])
    assert (y.shape, kept.shape) == ((0, 8), (0,))
    dx, db = backward(act, g[:0], kept, sums=True)
    assert (dx.shape, db.tolist()) == ((0, 8), [0] * 8)
    assert forward(act, g[:, :0]).shape == (8, 0)
    assert forward(act, xp.asarray(-2.0)).shape == ()


def test_what_does_not_fit_is_refused(device, xp):
    x, act = xp.ones((3, 4), "f4"), kinds.Relu()
    with pytest.raises(TypeError, match="not int32"):
        forward(act, x.astype("i4"))
    with pytest.raises(ValueError, match="does not fit float32"):
        forward(act, x, xp.ones(3, "f4"))
    with pytest.raises(ValueError, match="does not fit float32"):
        backward(kinds.Tanh(), x, xp.ones((4, 4), "f4"))
    with pytest.raises(ValueError, match=r"residual float32\(3, 4\) .* expected uint8\(2,\)"):
        backward(act, x, x)
    with pytest.raises(ValueError, match="rate of dropout"):
        forward(act, x, rate=1.0, state=to_device(STREAM, device))
    with pytest.raises(ValueError, match="four uint32"):
        forward(act, x, rate=0.5)
    with pytest.raises(ValueError, match="3 elements are odd"):
        gated_forward(act, x[:, :3])


# ------------------------------------------------------------------------------ on the CPU


def test_same_bits_on_any_number_of_threads(monkeypatch):
    from gpugrad.kernels.cpu import threads

    g, x = draw((300, 1500), "float32", CPU, 3), draw((300, 1500), "float32", CPU, 4)
    found = []
    for count in (1, 2, 5):
        monkeypatch.setattr(threads, "THREADS", count)
        monkeypatch.setattr(threads, "GRAIN", 1000)
        found.append(b"".join(a.tobytes() for a in backward(kinds.Silu(), g, x, sums=True)))
    assert len(set(found)) == 1


# ------------------------------------------------------------------------------ on CUDA


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_launches(counters, cuda, dtype):
    x = cuda.ones((100, 64), dtype)
    b, act, relu = x[0].copy(), kinds.Silu(), kinds.Relu()
    kept = forward_keeping(relu, x)[1]
    for run, launches in (
        (lambda: forward_keeping(relu, x, b), 1),
        (lambda: backward(relu, x, kept), 1),
        (lambda: backward(relu, x, kept, sums=True), 2),
        (lambda: forward(act, x, b), 1),
        (lambda: backward(act, x, x, b), 1),
        (lambda: backward(act, x, x, b, sums=True), 2),
        (lambda: gated_forward(act, x, b), 1),
    ):
        run()  # compiles
        with counters() as r:
            run()
        assert r["launches"] == launches
        assert (r["d2h"], r["h2d"], r["syncs"]) == (0, 0, 0)


COUNT = """
import cupy, cuda_on_cpu
from gpugrad.kernels.activation import (
    Relu, Silu, backward, forward, forward_keeping, gated_backward, gated_forward,
)
act, relu = Silu(), Relu()
for dtype in ("float16", "float32"):
    x = cupy.ones((1024, 1024), dtype)
    b, half = x[0].copy(), x[:, ::2].copy()
    kept = forward_keeping(relu, x)[1]
    bits = kept.nbytes / x.nbytes
    for run, least in (
        (lambda: forward_keeping(relu, x, b), 2 + bits),
        (lambda: backward(relu, x, kept), 2 + bits),
        (lambda: backward(relu, x, kept, sums=True), 2 + bits),
        (lambda: forward(act, x, b), 2),
        (lambda: forward(act, x), 2),
        (lambda: backward(act, x, x, b), 3),
        (lambda: backward(act, x, x, b, sums=True), 3),
        (lambda: gated_forward(act, x, b), 1.5),
        (lambda: gated_backward(act, half, x, b, sums=True), 2.5),
    ):
        run()
        with cuda_on_cpu.record() as r:
            run()
        moved = sum(k["load_bytes"] + k["store_bytes"] for k in r.kernels.values())
        print(moved / (least * x.nbytes))
"""


def test_bytes_moved_at_a_million_elements(counters):
    """In a process of its own: the stand-in counts bytes only where it checks each access."""
    import cuda_on_cpu

    folder = str(Path(cuda_on_cpu.__file__).parents[1])
    found = subprocess.run(
        [sys.executable, "-m", "cuda_on_cpu", "--checked", "-c", COUNT],
        env={**os.environ, "PYTHONPATH": folder},
        capture_output=True,
        text=True,
        check=True,
    )
    ratios = [float(line) for line in found.stdout.split()]
    assert len(ratios) == 18
    assert min(ratios) >= 1
    assert max(ratios) <= 1.05, ratios


def test_more_rows_than_blocks(cuda, monkeypatch):
    """Slabs of many rows: the grid is no larger than asked for."""
    monkeypatch.setattr(kinds, "resident", lambda block: 1)
    kinds.plan.cache_clear()
    check(kinds.Silu(), (1000, 96), "float32", gg.device("cuda"))
    assert kinds.plan(96_000, 96, 4, 4).blocks <= 8
    kinds.plan.cache_clear()


def test_places_beyond_two_billion_elements():
    """What counts elements is 64 bits wide on both sides."""
    p = kinds.plan(2**40, 1000, 4, 4096)
    assert int(p.shape["size"]) == 2**40
    assert p.shape.dtype["rows"] == np.int64
    assert p.blocks * int(p.shape["rows"]) * 128 >= 2**40 // 8
    text = source.text("activation")
    assert "int64 size, width, columns, tiles, rows" in text
    assert not re.search(r"\bint (row|r|at|column|left)\b", text)


WIDTHS = {"float16": 8, "bfloat16": 8, "float32": 4, "float64": 2}


@pytest.mark.parametrize("act", kinds.Activation.__args__)
def test_every_dtype_is_reported(act):
    for kernel in ("forward", "backward", "gated_forward", "gated_backward"):
        for dtype, width in WIDTHS.items():
            name = f"{kernel}<{source.C_NAMES[dtype]}, {width}, {act.__name__}, false>"
            assert name in report.KERNELS["activation"]
