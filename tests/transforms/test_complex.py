"""Complex numbers: every function's gradient in HIPS autograd's and JAX's convention.

For a real function L of z = x + iy the gradient is dL/dx - i dL/dy. Each case is checked against
finite differences along the real and the imaginary direction, as gradient of a real function of
its output (so that the output's real and imaginary parts both count), as tangent, and against JAX.
"""

from __future__ import annotations

import numpy as np
import pytest

import gpugrad as gg
import gpugrad.numpy as gnp
from gpugrad.core.trace import state
from gpugrad.device import to_device

CPU = gg.device("cpu")
RNG = np.random.default_rng(5)


def draw(*shape, low=0.3, high=1.2):
    """Complex numbers in the first quadrant, away from branch cuts and zeros."""
    return RNG.uniform(low, high, shape) + 1j * RNG.uniform(low, high, shape)


Z, W = draw(3), draw(3)
M, N = draw(2, 3), draw(3, 2)
S = draw(3, 3) + 3 * np.eye(3)
R = RNG.uniform(0.5, 1.5, 3)

# name: (function of an array module and arrays, arrays). With ``real`` in the name some are real.
CASES = {
    "abs": (lambda m, z: m.abs(z), [Z]),
    "angle": (lambda m, z: m.angle(z), [Z]),
    "real": (lambda m, z: m.real(z), [Z]),
    "imag": (lambda m, z: m.imag(z), [Z]),
    "conj": (lambda m, z: m.conj(z), [Z]),
    "abs squared": (lambda m, z: z * m.conj(z), [Z]),
    "sign": (lambda m, z: m.sign(z), [Z]),
    "negative": (lambda m, z: -z, [Z]),
    "add": (lambda m, z, w: z + w, [Z, W]),
    "add real": (lambda m, z, r: z + r, [M, R]),
    "subtract real": (lambda m, r, z: r - z, [R, M]),
    "multiply": (lambda m, z, w: z * w, [M, W]),
    "multiply real": (lambda m, z, r: z * r, [Z, R]),
    "divide": (lambda m, z, w: z / w, [Z, W]),
    "divide real": (lambda m, r, z: r / z, [R, Z]),
    "reciprocal": (lambda m, z: m.reciprocal(z), [Z]),
    "square": (lambda m, z: z**2, [Z]),
    "power of a number": (lambda m, z: z**2.5, [Z]),
    "power": (lambda m, z, w: z**w, [Z, W]),
    "power real base": (lambda m, r, z: r**z, [R, Z]),
    "power real exponent": (lambda m, z, r: z**r, [Z, R]),
    "exp": (lambda m, z: m.exp(z), [Z]),
    "exp2": (lambda m, z: m.exp2(z), [Z]),
    "expm1": (lambda m, z: m.expm1(z), [Z]),
    "log": (lambda m, z: m.log(z), [Z]),
    "log2": (lambda m, z: m.log2(z), [Z]),
    "log10": (lambda m, z: m.log10(z), [Z]),
    "log1p": (lambda m, z: m.log1p(z), [Z]),
    "sqrt": (lambda m, z: m.sqrt(z), [Z]),
    "sin": (lambda m, z: m.sin(z), [Z]),
    "cos": (lambda m, z: m.cos(z), [Z]),
    "tan": (lambda m, z: m.tan(z), [Z]),
    "arcsin": (lambda m, z: m.arcsin(z), [Z]),
    "arccos": (lambda m, z: m.arccos(z), [Z]),
    "arctan": (lambda m, z: m.arctan(z), [Z]),
    "sinh": (lambda m, z: m.sinh(z), [Z]),
    "cosh": (lambda m, z: m.cosh(z), [Z]),
    "tanh": (lambda m, z: m.tanh(z), [Z]),
    "arcsinh": (lambda m, z: m.arcsinh(z), [Z]),
    "arccosh": (lambda m, z: m.arccosh(z), [Z]),
    "arctanh": (lambda m, z: m.arctanh(z), [Z]),
    "sinc": (lambda m, z: m.sinc(z), [Z]),
    "sum": (lambda m, z: m.sum(z, axis=0), [M]),
    "mean": (lambda m, z: m.mean(z, axis=1, keepdims=True), [M]),
    "prod": (lambda m, z: m.prod(z, axis=1), [M]),
    "cumsum": (lambda m, z: m.cumsum(z, axis=1), [M]),
    "cumprod": (lambda m, z: m.cumprod(z, axis=1), [M]),
    "var": (lambda m, z: m.var(z, axis=1), [M]),
    "std": (lambda m, z: m.std(z), [M]),
    "matmul": (lambda m, a, b: a @ b, [M, N]),
    "matmul real": (lambda m, a, r: a @ r, [M, R]),
    "dot": (lambda m, z, w: m.dot(z, w), [Z, W]),
    "vdot": (lambda m, z, w: m.vdot(z, w), [Z, W]),
    "outer": (lambda m, z, w: m.outer(z, w), [Z, W]),
    "inner": (lambda m, a, w: m.inner(a, w), [M, W]),
    "tensordot": (lambda m, a, b: m.tensordot(a, b, 2), [M, N.T]),
    "einsum": (lambda m, a, b: m.einsum("ij,jk->ki", a, b), [M, N]),
    "einsum real": (lambda m, a, r: m.einsum("ij,j->i", a, r), [M, R]),
    "kron": (lambda m, a, b: m.kron(a, b), [Z, W]),
    "trace": (lambda m, a: m.trace(a), [S]),
    "where": (lambda m, z, w: m.where(m.real(z) > 0.6, z, w), [Z, W]),
    "where real": (lambda m, z, r: m.where(r > 1, z, r), [Z, R]),
    "concatenate real": (lambda m, z, r: m.concatenate([z, r]), [Z, R]),
    "stack": (lambda m, z, w: m.stack([z, w], axis=1), [Z, W]),
    "transpose": (lambda m, a: m.transpose(a), [M]),
    "reshape": (lambda m, a: m.reshape(a, (3, 2)), [M]),
    "index": (lambda m, a: a[:, [0, 2, 0]], [M]),
    "broadcast_to": (lambda m, z: m.broadcast_to(z, (2, 3)), [Z]),
    "pad": (lambda m, z: m.pad(z, 1), [Z]),
    "roll": (lambda m, z: m.roll(z, 1), [Z]),
    "fft": (lambda m, z: m.fft.fft(z), [Z]),
    "ifft": (lambda m, z: m.fft.ifft(z), [Z]),
    "fft2": (lambda m, z: m.fft.fft2(z), [M]),
    "irfft": (lambda m, z: m.fft.irfft(z), [Z]),
    "irfft odd": (lambda m, z: m.fft.irfft(z, 5), [Z]),
    "rfft of real": (lambda m, r: m.fft.rfft(r), [R]),
    "hfft": (lambda m, z: m.fft.hfft(z), [Z]),
    "ihfft of real": (lambda m, r: m.fft.ihfft(r), [R]),
    "power spectrum of real": (lambda m, r: m.abs(m.fft.rfft(r)) ** 2, [R]),
    "solve": (lambda m, a, z: m.linalg.solve(a, z[:, None]), [S, Z]),
    "inv": (lambda m, a: m.linalg.inv(a), [S]),
    "det": (lambda m, a: m.linalg.det(a), [S]),
    "slogdet": (lambda m, a: m.linalg.slogdet(a)[1], [S]),
    "sign of slogdet": (lambda m, a: m.linalg.slogdet(a)[0], [S]),
    "norm": (lambda m, z: m.linalg.norm(z), [M]),
    "norm ord 3": (lambda m, z: m.linalg.norm(z, 3, axis=1), [M]),
    "cholesky": (lambda m, a, r: m.linalg.cholesky(a @ m.conj(a).T + r * r.T), [S, np.eye(3)]),
    "eigvalsh": (lambda m, a: m.linalg.eigvalsh(a + m.conj(a).T), [S]),
    "projector of eigh": (lambda m, a: _projector(m, m.linalg.eigh(a + m.conj(a).T)[1]), [S]),
    "singular values": (lambda m, a: m.linalg.svd(a, compute_uv=False), [M]),
    "pinv": (lambda m, a: m.linalg.pinv(a), [M]),
    "matrix_power": (lambda m, a: m.linalg.matrix_power(a, 3), [S]),
}


def _projector(m, v):
    return v[:, :1] @ m.conj(v[:, :1]).T


# JAX has none of these as a function of complex numbers, or refuses the derivative.
NOT_IN_JAX = {"hfft", "ihfft of real", "sign", "sign of slogdet"}


def host(x):
    return np.asarray(to_device(x._value if isinstance(x, gg.Array) else x, CPU))


def weights(y):
    """Random numbers that make one real number of an output."""
    like = np.random.default_rng(7)
    return like.normal(size=np.shape(y)) + 1j * like.normal(size=np.shape(y))


def loss_of(f, m, w):
    return lambda *args: m.sum(m.real(w * f(m, *args)))


def directions(x):
    """Each element's real and, where it has one, imaginary direction."""
    for at in np.ndindex(x.shape):
        unit = np.zeros_like(x)
        for part in (1, 1j) if np.iscomplexobj(x) else (1,):
            unit[at] = part
            yield at, part, unit.copy()


def differences(f, args, n, eps=1e-6):
    """dL/dx - i dL/dy by central differences; dL/dx for a real argument."""
    out = np.zeros_like(args[n])
    for at, part, unit in directions(args[n]):
        ends = [f(*args[:n], args[n] + s * eps * unit, *args[n + 1 :]) for s in (1, -1)]
        slope = (ends[0] - ends[1]) / (2 * eps)
        out[at] += slope if part == 1 else -1j * slope
    return out


@pytest.mark.parametrize("name", CASES)
def test_gradients_and_tangents(name, device):
    f, args = CASES[name]
    w = weights(f(np, *args))
    on = [to_device(a, device) for a in args]
    loss = loss_of(f, gnp, to_device(w, device) if w.shape else complex(w))
    got = gg.grad(loss, tuple(range(len(args))))(*on)
    for n, (g, a) in enumerate(zip(got, args, strict=True)):
        want = differences(loss_of(f, np, w), args, n)
        assert g.dtype == a.dtype
        np.testing.assert_allclose(host(g), want, rtol=2e-7, atol=2e-7)
    # The tangent along t, by differences; a JVP and a VJP are transposes: L' t = Re <g, t>.
    ts = [RNG.normal(size=a.shape) + (1j if np.iscomplexobj(a) else 0) * a.real for a in args]
    y, t = gg.jvp(lambda *xs: f(gnp, *xs), on, [to_device(t, device) for t in ts])
    ends = [f(np, *[a + s * 1e-6 * t for a, t in zip(args, ts, strict=True)]) for s in (1, -1)]
    np.testing.assert_allclose(host(t), (ends[0] - ends[1]) / 2e-6, rtol=2e-7, atol=2e-7)
    assert host(t).dtype == host(y).dtype
    along = sum(np.sum(host(g) * t).real for g, t in zip(got, ts, strict=True))
    np.testing.assert_allclose(along, np.sum(w * host(t)).real, rtol=1e-9)


@pytest.mark.parametrize("name", sorted(set(CASES) - NOT_IN_JAX))
def test_against_jax(name):
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    f, args = CASES[name]
    w = weights(f(np, *args))
    which = tuple(range(len(args)))
    want = jax.grad(loss_of(f, jax.numpy, w), which)(*args)
    got = gg.grad(loss_of(f, gnp, w), which)(*args)
    for g, j in zip(got, want, strict=True):
        np.testing.assert_allclose(g, j, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", CASES)
def test_second_order(name):
    """Hessian-vector products against differences of the gradient."""
    f, args = CASES[name]
    w = weights(f(np, *args))
    slope = gg.grad(loss_of(f, gnp, w))
    v = RNG.normal(size=args[0].shape) + (1j if np.iscomplexobj(args[0]) else 0) * args[0].real
    got = gg.hvp(loss_of(f, gnp, w))(*args, v)
    ends = [slope(args[0] + s * 1e-6 * v, *args[1:]) for s in (1, -1)]
    np.testing.assert_allclose(got, (ends[0] - ends[1]) / 2e-6, rtol=5e-6, atol=5e-6)


HOLOMORPHIC = ["exp", "log", "sqrt", "sin", "tanh", "square", "power of a number", "reciprocal"]


@pytest.mark.parametrize("name", HOLOMORPHIC)
def test_holomorphic_derivatives(name, device):
    f, (z,) = CASES[name]
    x = to_device(z, device)
    got = gg.holomorphic_grad(lambda z: gnp.sum(f(gnp, z)))(x)
    want = (f(np, z + 1e-6) - f(np, z - 1e-6)) / 2e-6
    np.testing.assert_allclose(host(got), want, rtol=1e-8)
    for mode in (gg.jacrev, gg.jacfwd):
        jac = mode(lambda z: f(gnp, z), holomorphic=True)(x)
        np.testing.assert_allclose(host(jac), np.diag(want), rtol=1e-8, atol=1e-12)
    second = gg.hessian(lambda z: gnp.sum(f(gnp, z)), holomorphic=True)(x)
    twice = (f(np, z + 1e-4) - 2 * f(np, z) + f(np, z - 1e-4)) / 1e-8
    np.testing.assert_allclose(host(second), np.diag(twice), rtol=1e-6, atol=1e-6)


def test_jacobians_between_real_and_complex(device):
    x, z = to_device(R, device), to_device(Z, device)
    wave = gg.jacfwd(lambda x: gnp.exp(1j * x))(x)
    np.testing.assert_allclose(host(wave), np.diag(1j * np.exp(1j * R)), atol=1e-15)
    power = gg.jacrev(lambda z: gnp.abs(z) ** 2)(z)
    np.testing.assert_allclose(host(power), np.diag(2 * Z.conj()), atol=1e-15)
    halves = gg.jacobian(lambda z: gnp.stack([gnp.real(z), gnp.imag(z)]))(z)
    np.testing.assert_array_equal(host(halves), np.stack([np.eye(3), -1j * np.eye(3)]))


def _abs2(z):
    return gnp.sum(gnp.abs(z) ** 2)


REFUSED = {
    "jacrev": (lambda: gg.jacrev(gnp.conj)(Z), "jacrev: from complex inputs to complex outputs"),
    "jacfwd": (lambda: gg.jacfwd(gnp.conj)(Z), "jacfwd: from complex inputs .* holomorphic=True"),
    "jacobian": (lambda: gg.jacobian(gnp.exp)(Z), "only a holomorphic function"),
    "hessian of a real function": (lambda: gg.hessian(_abs2)(Z), "stops its Hessian.* or use hvp"),
    "hessian": (lambda: gg.hessian(lambda z: gnp.sum(z**2))(Z), "holomorphic=True"),
    "holomorphic of a real argument": (
        lambda: gg.jacrev(gnp.exp, holomorphic=True)(R),
        "holomorphic=True is for complex inputs and complex outputs",
    ),
    "holomorphic with real values": (
        lambda: gg.jacfwd(gnp.abs, holomorphic=True)(Z),
        "holomorphic=True is for complex inputs and complex outputs",
    ),
    "grad of a complex value": (lambda: gg.grad(gnp.sum)(Z), "must return a real number"),
    "jacrev of complex values": (lambda: gg.jacrev(lambda x: x * 1j)(R), "use jacfwd"),
    "jacfwd by complex numbers": (lambda: gg.jacfwd(gnp.abs)(Z), "use jacrev"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    call, message = REFUSED[name]
    with pytest.raises(TypeError, match=message):
        call()
    assert state.depth == 0


def test_a_real_number_has_a_real_gradient():
    """Also where it meets complex ones, for Python's numbers and NumPy's."""
    for x in (3.0, np.float64(3.0), np.array(3.0)):
        for f in (lambda x: x * (1 + 2j), lambda x: x - 2j, lambda x: (1 + 2j) ** x):
            g = gg.grad(lambda x, f=f: np.real(f(x)))(x)
            assert not np.iscomplexobj(g)
            want = (f(3.0 + 1e-6) - f(3.0 - 1e-6)).real / 2e-6
            np.testing.assert_allclose(g, want, rtol=1e-8)


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_dtypes(dtype, device):
    z = to_device(Z.astype(dtype), device)
    g = gg.grad(lambda z: gnp.sum(gnp.abs(gnp.exp(z)) ** 2))(z)
    assert g.dtype == dtype
    want = 2 * np.exp(2 * Z.real)
    np.testing.assert_allclose(host(g), want, rtol=1e-5, atol=1e-5)


def test_abs_at_zero():
    np.testing.assert_array_equal(gg.grad(lambda z: gnp.sum(gnp.abs(z)))(np.zeros(2) * 1j), 0)
