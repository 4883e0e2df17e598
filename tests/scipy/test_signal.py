"""Convolution: who reaches it, its modes over pairs of axes, its errors, and JAX's gradients."""

from __future__ import annotations

import autograd.scipy.signal
import numpy as np
import pytest
import scipy.signal

import gpugrad as gg
import gpugrad.numpy as gnp
from gpugrad.device import CPU, to_device
from gpugrad.scipy import signal

RNG = np.random.default_rng(0)
LONG, SHORT = RNG.normal(size=9), RNG.normal(size=4)
IMAGE, KERNEL = RNG.normal(size=(6, 5)), RNG.normal(size=(3, 2))


def host(a):
    return to_device(a._value if isinstance(a, gg.Array) else a, CPU)


@pytest.mark.parametrize("f", [np.convolve, np.correlate])
def test_numpys_functions_reach_ours(f):
    x = gg.Array(LONG, requires_grad=True)
    for mode in ("full", "same", "valid"):
        y = f(x, SHORT, mode)
        np.testing.assert_allclose(host(y), f(LONG, SHORT, mode), rtol=1e-12)
        np.testing.assert_allclose(host(f(SHORT, x, mode)), f(SHORT, LONG, mode), rtol=1e-12)
        assert y.requires_grad is False
        assert gg.grad(lambda v, mode=mode: gnp.sum(f(v, SHORT, mode)))(LONG).shape == (9,)


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("name", ["convolve", "correlate", "fftconvolve"])
def test_against_jax(name, mode, device):
    jax = pytest.importorskip("jax")
    ours, theirs = getattr(signal, name), getattr(jax.scipy.signal, name)
    with jax.enable_x64(True):
        want, pull = jax.vjp(lambda a, b: theirs(a, b, mode), IMAGE, KERNEL)
        u = np.linspace(0.5, 2, want.size).reshape(want.shape)
        want_g = pull(u)
    a, b = to_device(IMAGE, device), to_device(KERNEL, device)
    got, pull = gg.vjp(lambda a, b: ours(a, b, mode=mode), a, b)
    np.testing.assert_allclose(host(got), want, rtol=1e-10, atol=1e-12)
    for g, w in zip(pull(to_device(u, device)), want_g, strict=True):
        np.testing.assert_allclose(host(g), w, rtol=1e-10, atol=1e-12)


def test_scipys_third_argument_is_the_mode():
    got = signal.convolve(LONG, SHORT, "same")
    np.testing.assert_allclose(got, scipy.signal.convolve(LONG, SHORT, "same"), rtol=1e-12)


def test_images_and_channels_as_hips_autograd_has_them(device):
    """Batches and channels, which HIPS autograd's convolutional network convolves so."""
    images, weights = RNG.normal(size=(2, 3, 6, 5)), RNG.normal(size=(3, 4, 3, 2))
    put = to_device(images, device), to_device(weights, device)
    for mode in ("full", "valid", "same"):
        how = {"axes": ([2, 3], [2, 3]), "dot_axes": ([1], [0]), "mode": mode}
        want = autograd.scipy.signal.convolve(images, weights, **how)
        np.testing.assert_allclose(host(signal.convolve(*put, **how)), want, rtol=1e-10)
        for i in (0, 1):
            g = gg.grad(lambda *a, how=how: gnp.sum(signal.convolve(*a, **how) ** 2), i)(*put)
            theirs = autograd.grad(
                lambda *a, how=how: autograd.numpy.sum(
                    autograd.scipy.signal.convolve(*a, **how) ** 2
                ),
                i,
            )(images, weights)
            np.testing.assert_allclose(host(g), theirs, rtol=1e-10)


def test_the_result_has_the_axes_of_the_first_operand_first(device):
    """Whichever of the operands is the longer one."""
    a, b = RNG.normal(size=(2, 4)), RNG.normal(size=(3, 7))
    how = {"axes": ([1], [1]), "mode": "full"}
    want = np.stack([[np.convolve(x, y) for y in b] for x in a])
    for first, second, order in ((a, b, (0, 1, 2)), (b, a, (1, 0, 2))):
        put = to_device(first, device), to_device(second, device)
        got = host(signal.convolve(*put, **how))
        np.testing.assert_allclose(got, want.transpose(order), rtol=1e-10)


def test_no_axes_to_convolve():
    """Then it is an outer product, or a sum of products, as in HIPS autograd."""
    np.testing.assert_allclose(
        signal.convolve(IMAGE, KERNEL, ([], [])), np.tensordot(IMAGE, KERNEL, 0)
    )
    np.testing.assert_allclose(
        signal.convolve(IMAGE, IMAGE, ([], []), ([0], [0])), IMAGE.T @ IMAGE, rtol=1e-12
    )


def test_long_signals_go_by_fft(device):
    x, k = RNG.normal(size=6000), RNG.normal(size=3000)
    got = signal.convolve(to_device(x, device), to_device(k, device))
    np.testing.assert_allclose(host(got), np.convolve(x, k), atol=1e-10)


def test_errors():
    with pytest.raises(ValueError, match="'full', 'valid', 'same'"):
        signal.convolve(LONG, SHORT, mode="some")
    with pytest.raises(ValueError, match="axes="):
        signal.convolve(IMAGE, SHORT)
    with pytest.raises(ValueError, match="longer one along every axis"):
        signal.convolve(IMAGE, IMAGE.T, mode="valid")
    with pytest.raises(ValueError, match="differ in length"):
        signal.convolve(IMAGE, KERNEL, ([0], [0]), ([1], [1]))
    with pytest.raises(ValueError, match="no pairs of axes"):
        signal.convolve(LONG, SHORT[:0])
    with pytest.raises(ValueError, match="one axis"):
        gnp.convolve(IMAGE, SHORT)
