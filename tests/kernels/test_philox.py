"""The generator against the vectors of its authors' Random123 library, and the two devices."""

from __future__ import annotations

import numpy as np
import pytest
from gpugrad.kernels import philox

from gpugrad.device import CPU, to_device

KNOWN = [  # counter, key, output: kat_vectors of Random123, philox4x32 10
    ("00000000 " * 4, "00000000 " * 2, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff " * 4, "ffffffff " * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    (
        "243f6a88 85a308d3 13198a2e 03707344",
        "a4093822 299f31d0",
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]

CALL = r"""
extern "C" __global__ void call(const unsigned* in, unsigned* out) {
    const Words w = philox(in[0], in[1], in[2], in[3], in[4], in[5]);
    for (int i = 0; i < 4; i++) out[i] = w.at[i];
}"""


def words(text):
    return np.array([int(w, 16) for w in text.split()], "u4")


@pytest.mark.parametrize(("counter", "key", "want"), KNOWN, ids=["zeros", "ones", "pi"])
def test_known_answers(counter, key, want, device, xp):
    counter, key, want = words(counter), words(key), words(want)
    if device.kind == "cpu":
        from gpugrad.kernels.cpu import philox as host

        state = np.concatenate([key, counter[2:]])
        got = np.empty(4, "u4")
        host.fill(counter[:2].view("u8")[0], got, state)
    else:
        from importlib.resources import files

        header = (files("gpugrad.kernels") / "cuda" / "philox.cuh").read_text()
        got = xp.empty(4, "u4")
        xp.RawKernel(header + CALL, "call")((1,), (1,), (xp.asarray([*counter, *key], "u4"), got))
    np.testing.assert_array_equal(to_device(got, CPU), want)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 4099])
@pytest.mark.parametrize("what", ["bits", "uniform", "normal"])
def test_same_on_both_devices(cuda, what, size):
    state = philox.stream(2**40 + 5, 2**35 + 1)
    for dtype in [()] if what == "bits" else [("float32",), ("float64",)]:
        draw = getattr(philox, what)
        a, b = draw(state, (size,), *dtype), draw(cuda.asarray(state), (size,), *dtype).get()
        assert a.dtype == b.dtype
        if what == "normal":
            np.testing.assert_allclose(a, b, rtol=1e-4 if a.itemsize == 4 else 1e-12, atol=1e-6)
        else:
            np.testing.assert_array_equal(a, b)


def test_moments():
    for dtype in ("float32", "float64"):
        u, z = (f(philox.stream(1), (400_000,), dtype) for f in (philox.uniform, philox.normal))
        assert u.min() >= 0
        assert u.max() < 1
        np.testing.assert_allclose([u.mean(), u.var()], [1 / 2, 1 / 12], atol=2e-3)
        np.testing.assert_allclose([z.mean(), z.var(), (z**4).mean()], [0, 1, 3], atol=0.04)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("draw", [philox.uniform, philox.normal])
def test_numbers_depend_on_their_place_alone(draw, dtype, device):
    state = to_device(philox.stream(3, 1), device)
    short, long = draw(state, (7,), dtype), draw(state, (40_000,), dtype)
    np.testing.assert_array_equal(to_device(short, CPU), to_device(long, CPU)[:7])


def test_words_depend_on_their_place_alone(device):
    state = to_device(philox.stream(9, 4), device)
    long = to_device(philox.bits(state, (70_000,)), CPU)
    short = to_device(philox.bits(state, (3, 7)), CPU)
    np.testing.assert_array_equal(short.ravel(), long[:21])
    assert np.unique(long).size > 69_990
    other = to_device(philox.bits(to_device(philox.stream(9, 5), device), (70_000,)), CPU)
    assert (other != long).mean() > 0.99


def test_what_is_refused(xp):
    with pytest.raises(ValueError, match="from 0 to 2"):
        philox.stream(-1)
    with pytest.raises(ValueError, match="four uint32"):
        philox.bits(xp.zeros(3, "u4"), (2,))
    with pytest.raises(ValueError, match="float32 or float64, not float16"):
        philox.uniform(xp.zeros(4, "u4"), (2,), "float16")
