"""What goes in comes out: NumPy for NumPy, CuPy for CuPy, floats for floats, Array for Array."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

import gpugrad as gg
from gpugrad.device import device_of, to_device

X = np.array([0.5, -1.0, 2.0])


class Layer(NamedTuple):
    w: object
    b: object


def on(device, *values):
    out = [to_device(np.array(v), device) for v in values]
    return out if len(out) > 1 else out[0]


def host(value):
    return np.asarray(to_device(value._value if isinstance(value, gg.Array) else value, CPU))


CPU = gg.device("cpu")

OUTPUTS = {
    "grad": lambda f, x: gg.grad(f)(x),
    "value_and_grad": lambda f, x: gg.value_and_grad(f)(x)[1],
    "vjp": lambda f, x: gg.vjp(f, x)[1](gg.vjp(f, x)[0] * 0 + 1)[0],
    "make_vjp": lambda f, x: gg.make_vjp(f)(x)[0](1.0),
    "elementwise_grad": lambda f, x: gg.elementwise_grad(f)(x),
    "jacobian": lambda f, x: gg.jacobian(f)(x),
    "jacfwd": lambda f, x: gg.jacfwd(f)(x),
    "hvp": lambda f, x: gg.hvp(f)(x, x),
    "hessian": lambda f, x: gg.hessian(f)(x),
    "jvp": lambda f, x: gg.jvp(gg.grad(f), (x,), (x,))[1],
    "linearize": lambda f, x: gg.linearize(gg.grad(f), x)[1](x),
    "vmap": lambda f, x: gg.vmap(gg.grad(lambda s: f(s * x)))(x),
}


def loss(x):
    return np.sum(np.tanh(x) * x)


@pytest.mark.parametrize("name", OUTPUTS)
def test_raw_in_raw_out(device, xp, name):
    x = on(device, X)
    got = OUTPUTS[name](loss, x)
    assert type(got) is xp.ndarray
    assert device_of(got) == device
    np.testing.assert_allclose(host(got), OUTPUTS[name](loss, X), rtol=1e-12)


@pytest.mark.parametrize("name", OUTPUTS)
def test_array_in_array_out(device, name):
    got = OUTPUTS[name](loss, gg.Array(on(device, X)))
    assert isinstance(got, gg.Array)
    assert got.device == device
    assert not got.requires_grad
    np.testing.assert_allclose(host(got), OUTPUTS[name](loss, X), rtol=1e-12)


def test_values_follow_their_arguments(device, xp):
    x = on(device, X)
    value, pull = gg.vjp(np.tanh, x)
    assert type(value) is xp.ndarray
    assert isinstance(gg.vjp(np.tanh, gg.Array(x))[0], gg.Array)
    assert type(pull(gg.Array(x))[0]) is xp.ndarray  # a gradient is of its input's kind
    assert not isinstance(gg.value_and_grad(loss)(x)[0], gg.Array)
    value, (gx, gy) = gg.value_and_grad(lambda x, y: np.sum(x * y), (0, 1))(x, gg.Array(x))
    assert type(gx) is xp.ndarray
    assert isinstance(gy, gg.Array)


@pytest.mark.parametrize("number", [2.0, 1.0 + 2.0j])
def test_numbers(number):
    got = gg.grad(lambda x: abs(x) ** 2)(number)
    assert type(got) is type(number)
    assert got == 2 * number.conjugate()  # JAX's and HIPS autograd's convention
    value, got = gg.value_and_grad(lambda x: abs(x * x * x))(2.0)
    assert isinstance(value, float)
    assert (value, got) == (8.0, 12.0)
    assert float(gg.jvp(lambda x: x * x * x, (2.0,), (1.0,))[1]) == 12.0
    assert float(gg.linearize(lambda x: x * x, 3.0)[1](2.0)) == 12.0


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "c8", "c16"])
def test_dtypes_are_kept(device, dtype):
    x = on(device, X.astype(dtype))
    g = gg.grad(lambda x: np.sum(np.abs(x * X.mean()) ** 2))(x)
    assert g.dtype == x.dtype
    y, t = gg.jvp(np.sin, (x,), (on(device, X),))
    assert (y.dtype, t.dtype) == (x.dtype, x.dtype)
    scalar = x[0] if device.kind == "cuda" else X.astype(dtype)[0]
    assert gg.grad(lambda s: np.abs(s) ** 2)(scalar).dtype == x.dtype


@pytest.mark.parametrize("wrap", [lambda a: a, gg.Array], ids=["raw", "array"])
def test_pytrees(device, wrap):
    w, b, c = (wrap(v) for v in on(device, X, 2 * X, 3 * X))
    params = {"layers": [Layer(w, b), (c, None)], "scale": 1.5}

    def f(p):
        (first, second), s = p["layers"], p["scale"]
        assert isinstance(first, Layer)
        return np.sum(first.w * first.b + np.sin(second[0])) * s

    g = gg.grad(f)(params)
    assert isinstance(g["layers"][0], Layer)
    assert g["layers"][1][1] is None
    assert type(g["layers"][0].w) is type(w)
    assert type(g["scale"]) is float
    np.testing.assert_allclose(host(g["layers"][0].w), 3 * X)
    np.testing.assert_allclose(host(g["layers"][0].b), 1.5 * X)
    np.testing.assert_allclose(host(g["layers"][1][0]), 1.5 * np.cos(3 * X))
    np.testing.assert_allclose(g["scale"], np.sum(2 * X * X + np.sin(3 * X)))
    _, t = gg.jvp(f, (params,), (g,))
    parts = [*g["layers"][0], g["layers"][1][0], g["scale"]]
    np.testing.assert_allclose(float(host(t)), sum(np.sum(host(v) ** 2) for v in parts))


def test_plain_numpy_code():
    """Functions, methods, operators, indexing and constants of plain NumPy."""

    def f(x):
        y = np.concatenate([x, np.ones(2)]).reshape(-1, 1)
        z = np.where(y > 0, y, -2.0 * y).T
        total = 0.0
        for row in np.stack([z[0], z[0, ::-1]]):
            total += row.mean() + np.dot(row, row) / len(row)
        return total + np.einsum("ij,kj->", z, z) + np.linspace(0, 1, 3) @ x

    got = gg.grad(f)(X)
    e = 1e-6
    want = [(f(X + e * u) - f(X - e * u)) / (2 * e) for u in np.eye(3)]
    np.testing.assert_allclose(got, want, rtol=1e-7)


def test_plain_cupy_code(cuda):
    def f(cp, x):
        y = cp.tanh(x) * cp.ones(3) + cp.maximum(x, 0) ** 2
        return cp.sum(y) + cp.exp(y).mean() + y.max() + cp.sqrt(cp.abs(y)).sum()

    got = gg.grad(lambda x: f(cuda, x))(cuda.asarray(X))
    assert isinstance(got, cuda.ndarray)
    np.testing.assert_allclose(got.get(), gg.grad(lambda x: f(np, x))(X), rtol=1e-12)


ALIASES = {
    "identity": lambda x, y: (x, y),
    "swap": lambda x, y: (y, x),
    "sum": lambda x, y: (x + y, x + y),
    "views": lambda x, y: (x[::-1], y.reshape(3, 1)),
    "broadcast": lambda x, y: (np.broadcast_to(x, (2, 3)), y.sum()),
    "unused": lambda x, y: (x, x),
}


@pytest.mark.parametrize("name", ALIASES)
def test_gradients_belong_to_the_caller(device, name):
    """Writing to a gradient changes no other gradient, cotangent or input."""
    x, y = on(device, X, 2 * X)
    out, pull = gg.vjp(ALIASES[name], x, y)
    cotangent = tuple(v * 0 + 1 for v in out)
    tangent = on(device, X, X)
    found = {
        "vjp": (pull(cotangent), cotangent),
        "jvp": (gg.jvp(ALIASES[name], (x, y), tuple(tangent))[1], tuple(tangent)),
        "grad": (gg.grad(lambda x, y: np.sum(x) + np.sum(y), (0, 1))(x, y), ()),
        "jacrev": (gg.jacrev(lambda x, y: ALIASES[name](x, y)[0], (0, 1))(x, y), ()),
        "jacfwd": (gg.jacfwd(lambda x, y: ALIASES[name](x, y)[0], (0, 1))(x, y), ()),
    }
    for given, others in found.values():
        for i, g in enumerate(given):
            if not g.shape:
                continue  # a NumPy scalar is nobody's memory
            rest = [*given[:i], *given[i + 1 :], *others, x, y]
            before = [host(v).copy() for v in rest]
            g[...] = 77.0
            for v, kept in zip(rest, before, strict=True):
                np.testing.assert_array_equal(host(v), kept)


def test_cotangents_and_tangents_from_another_device(cuda):
    x = cuda.asarray(X)
    with pytest.raises(gg.DeviceError, match=r"vjp: the output and its cotangent.*cuda:0.*cpu"):
        gg.vjp(np.sin, x)[1](X)
    with pytest.raises(gg.DeviceError, match=r"jvp: the primal and its tangent.*cuda:0.*cpu"):
        gg.jvp(np.sin, (x,), (X,))
    _, t = gg.jvp(np.sin, (x[0],), (1.0,))  # a number goes with any device
    assert isinstance(t, cuda.ndarray)


def test_outputs_of_vmap_are_writable(device):
    x = on(device, X)
    constant = gg.vmap(lambda s: x)(x)
    constant[0] = 5.0
    np.testing.assert_array_equal(host(constant[1]), X)
    np.testing.assert_array_equal(host(x), X)


def test_base_tape_arrays_inside_transforms(device):
    """A requires_grad array that a function closes over: results stay on its tape."""
    x = on(device, X)
    w = gg.Array(on(device, 2 * X), requires_grad=True)
    g = gg.grad(lambda a: np.sum(a * a * w))(x)
    np.testing.assert_allclose(host(g.detach()), 4 * X * X)
    np.sum(g).backward()
    np.testing.assert_allclose(host(w.grad), 2 * X)
    w.grad = None
    _, t = gg.jvp(lambda a: np.sin(a) * w, (x,), (x,))
    np.sum(t).backward()
    np.testing.assert_allclose(host(w.grad), np.cos(X) * X)
    w.grad = None
    gg.vmap(lambda a: a * w)(x).sum().backward()
    np.testing.assert_allclose(host(w.grad), np.full(3, X.sum()))
    # As an argument it is a value like another, and the result can still be traced to it.
    w.grad = None
    np.sum(gg.grad(lambda w: np.sum(w**3))(w)).backward()
    np.testing.assert_allclose(host(w.grad), 6 * 2 * X)
