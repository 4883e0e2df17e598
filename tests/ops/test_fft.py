"""Fourier transforms: dispatch, precision, frequencies, errors, and JAX's values and gradients."""

from __future__ import annotations

import numpy as np
import pytest

import gpugrad as gg
import gpugrad.numpy as gnp
from gpugrad.device import CPU, namespace, to_device

FORWARD = ("fft", "ifft", "fftn", "ifftn", "fft2", "ifft2", "rfft", "rfftn", "rfft2", "ihfft")
BACK = ("irfft", "irfftn", "irfft2", "hfft")
X = np.random.default_rng(0).normal(size=(4, 5))
Z = X + 1j * X[::-1]


def host(a):
    return to_device(a._value if isinstance(a, gg.Array) else a, CPU)


@pytest.mark.parametrize("name", gnp.fft.__all__)
def test_numpys_function_reaches_ours(name):
    if name.endswith("freq"):
        d = gg.Array(2.0, requires_grad=True)
        got, want = gnp.sum(getattr(gnp.fft, name)(5, d) ** 2), getattr(np.fft, name)(5, 2.0)
        got.backward()
        assert abs(got.item() - np.sum(want**2)) < 1e-12
        assert abs(d.grad.item() + np.sum(want**2)) < 1e-12
        return
    x = gg.Array(X if name not in BACK else Z, requires_grad=True)
    y = getattr(np.fft, name)(x)
    assert isinstance(y, gg.Array)
    gnp.sum(gnp.abs(y)).backward()
    assert x.grad.shape == x.shape


def test_cupys_function_of_an_array_is_ours(cuda):
    x = gg.Array(cuda.asarray(X), requires_grad=True)
    y = cuda.fft.fft(x, axis=0, norm="ortho")
    np.testing.assert_allclose(y.numpy(), np.fft.fft(X, axis=0, norm="ortho"))
    gnp.sum(gnp.abs(y)).backward()
    assert x.grad.shape == x.shape


@pytest.mark.parametrize("name", [*FORWARD, *BACK])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32", "complex64"])
def test_precision_is_kept(name, dtype, device):
    if dtype == "complex64" and (name.startswith("r") or name == "ihfft"):
        with pytest.raises(TypeError, match="real elements"):
            getattr(gnp.fft, name)(X.astype(dtype))
        return
    x = to_device(np.ones((2, 3), dtype), device)
    got = getattr(gnp.fft, name)(gg.Array(x))
    want = getattr(np.fft, name)(np.ones((2, 3), dtype))
    # NumPy alone goes back to half precision, and in irfft only.
    assert got.dtype == (np.float32 if want.dtype == np.float16 else want.dtype)
    np.testing.assert_allclose(host(got), want, rtol=1e-3, atol=1e-5)


def test_frequencies(device):
    for n in (1, 4, 5):
        for name in ("fftfreq", "rfftfreq"):
            got = getattr(gnp.fft, name)(n, 0.5, device=device)
            assert got.device == device
            np.testing.assert_array_equal(host(got), getattr(np.fft, name)(n, 0.5))
    assert gnp.fft.fftfreq(4, dtype="float32").dtype == np.float32


def test_axes_may_repeat_as_in_numpy():
    np.testing.assert_allclose(
        host(gnp.fft.fftn(gg.Array(X), axes=(0, 0))), np.fft.fftn(X, axes=(0, 0)), rtol=1e-12
    )


def test_errors():
    with pytest.raises(ValueError, match="at least one point"):
        gnp.fft.fft(X, n=0)
    with pytest.raises(ValueError, match="'ortho'"):
        gnp.fft.fft(X, norm="orthogonal")
    with pytest.raises(ValueError, match="2 lengths for 1 axes"):
        gnp.fft.fftn(X, s=(2, 2), axes=(0,))
    with pytest.raises(TypeError, match="real elements"):
        gnp.fft.rfft(Z)
    with pytest.raises(ValueError, match="out of bounds"):
        gnp.fft.fft(X, axis=2)


@pytest.mark.parametrize("norm", [None, "ortho", "forward"])
@pytest.mark.parametrize("name", [*FORWARD, *BACK])
def test_against_jax(name, norm, device):
    jax = pytest.importorskip("jax")
    x = Z if name in BACK or name in FORWARD[:6] else X
    with jax.enable_x64(True):
        want, pull = jax.vjp(lambda v: getattr(jax.numpy.fft, name)(v, norm=norm), x)
        u = np.asarray(np.linspace(1, 2, want.size).reshape(want.shape), want.dtype)
        u = u * (1 - 0.5j) if want.dtype.kind == "c" else u
        (want_g,) = pull(u)
    got, pull = gg.vjp(lambda v: getattr(gnp.fft, name)(v, norm=norm), to_device(x, device))
    (got_g,) = pull(to_device(u, device))
    np.testing.assert_allclose(host(got), want, atol=1e-12)
    np.testing.assert_allclose(host(got_g), want_g, atol=1e-12)


def test_nothing_crosses_to_the_host(cuda, counters):
    x = namespace(gg.device("cuda:0")).ones((4, 6))
    gradient = gg.grad(lambda v: gnp.sum(gnp.abs(gnp.fft.irfftn(gnp.fft.rfftn(v) ** 2))))
    gradient(x)
    with counters() as r:
        gradient(x)
    assert r["d2h"] == r["h2d"] == 0
