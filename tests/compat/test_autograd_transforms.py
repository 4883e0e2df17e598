"""HIPS autograd's transforms, each against NumPy's own numbers and finite differences."""

from __future__ import annotations

import warnings

import autograd as hips
import autograd.numpy as hips_numpy
import numpy
import pytest

import gpugrad as gg
import gpugrad.compat.autograd as autograd
import gpugrad.compat.autograd.numpy as np
from gpugrad.compat.autograd.test_util import check_grads
from gpugrad.core.trace import state
from gpugrad.device import to_device

A = numpy.array([[0.3, -0.8, 0.4], [1.5, 0.2, 0.7]])
X = numpy.array([0.5, -1.0, 2.0])
V = numpy.array([1.0, 2.0, -0.5])


CPU = gg.device("cpu")


def host(value):
    return numpy.asarray(to_device(value, CPU))


def close(got, want):
    if isinstance(want, tuple):
        assert type(got) is tuple
        for a, b in zip(got, want, strict=True):
            close(a, b)
    else:
        numpy.testing.assert_allclose(host(got), want, rtol=1e-9, atol=1e-12)


@pytest.fixture
def on_device(device):
    def place(*arrays):
        placed = [to_device(a, device) for a in arrays]
        return placed[0] if len(placed) == 1 else placed

    return place


def jac(x):
    """The Jacobian of tanh(A @ x)."""
    return (1 - numpy.tanh(A @ x) ** 2)[:, None] * A


def test_grad_keeps_the_kind(on_device):
    x, a = on_device(X, A)
    g = autograd.grad(lambda x: np.sum(np.tanh(np.dot(a, x))))(x)
    assert type(g) is type(x)
    close(g, jac(X).sum(0))
    assert type(autograd.grad(lambda x: x**2)(3.0)) is float


def test_argnums(on_device):
    x, v = on_device(X, V)

    def f(x, v, scale=1.0):
        return scale * np.sum(x * v**2)

    close(autograd.grad(f, 1)(x, v, scale=2.0), 4 * X * V)
    close(autograd.grad(f, -1)(x, v), 2 * X * V)
    close(autograd.grad(f, argnum=(1, 0))(x, v), (2 * X * V, V**2))
    close(autograd.grad(f, [0])(x, v), (V**2,))
    close(autograd.grad_named(f, "v")(x, v), 2 * X * V)
    close(autograd.value_and_grad(f)(x, v), (numpy.sum(X * V**2), V**2))
    with pytest.raises(TypeError, match="argnum is a position"):
        autograd.grad(f, "v")


def test_containers(on_device):
    x, v = on_device(X, V)

    def f(p):
        return np.sum(p["a"][0] * p["a"][1]) * p["b"]

    g = autograd.grad(f)({"a": (x, [v][0]), "b": 2.0})
    close(g["a"], (2 * V, 2 * X))
    assert g["b"] == pytest.approx(X @ V)
    grads = autograd.multigrad_dict(lambda x, *rest, k=2.0, **more: k * x * rest[0] * more["m"])
    got = grads(3.0, 5.0, m=7.0)
    assert got == {"x": 70.0, "rest": (42.0,), "k": 105.0, "more": {"m": 30.0}}
    assert autograd.tuple is tuple
    assert autograd.dict(a=1) == {"a": 1}
    assert autograd.list((1,)) == [1]


def test_isinstance_and_type_see_the_value():
    def f(x):
        assert autograd.isinstance(x, float)
        assert not autograd.isinstance(x, list)
        assert autograd.type(x) is float
        return x

    assert autograd.grad(f)(1.0) == 1.0
    assert autograd.grad(lambda x: np.sum(x) * autograd.isinstance(x, numpy.ndarray))(X).sum() == 3


def test_forward_and_reverse_products(on_device):
    x, v, a = on_device(X, V, A)

    def f(x):
        return np.tanh(np.dot(a, x))

    u = on_device(numpy.array([0.7, -0.2]))
    pull, y = autograd.make_vjp(f)(x)
    close(y, numpy.tanh(A @ X))
    close(pull(u), host(u) @ jac(X))
    close(autograd.make_jvp(f)(x)(v), (numpy.tanh(A @ X), jac(X) @ V))
    close(autograd.make_jvp_reversemode(f)(x)(v), jac(X) @ V)
    close(autograd.jacobian(f)(x), jac(X))
    close(autograd.tensor_jacobian_product(f)(x, u), host(u) @ jac(X))
    assert autograd.vector_jacobian_product is autograd.tensor_jacobian_product
    square = autograd.tensor_jacobian_product(lambda x: np.outer(x, x))
    want = numpy.einsum("i,ijk->jk", V, numpy.einsum("ik,j->ijk", numpy.eye(3), X))
    want += numpy.einsum("i,ijk->jk", V, numpy.einsum("i,jk->ijk", X, numpy.eye(3)))
    close(square(x, v), want)


def test_second_order(on_device):
    x, v = on_device(X, V)

    def f(x):
        return np.sum(x**3) + x[0] * x[1]

    h = numpy.diag(6 * X)
    h[0, 1] = h[1, 0] = 1
    close(autograd.hessian(f)(x), h)
    close(autograd.hessian_vector_product(f)(x, v), h @ V)
    assert autograd.hessian_tensor_product is autograd.hessian_vector_product
    product, gradient = autograd.make_hvp(f)(x)
    close(product(v), h @ V)
    close(gradient, 3 * X**2 + [X[1], X[0], 0])
    matrix = on_device(numpy.arange(6.0).reshape(2, 3) / 5)
    cube = autograd.hessian_tensor_product(lambda m: np.sum(m**3))
    close(cube(matrix, matrix), 6 * host(matrix) ** 2)


def test_gauss_newton(on_device):
    x, v, a = on_device(X, V, A)

    def f(x):
        return np.tanh(np.dot(a, x))

    close(autograd.make_ggnvp(f)(x)(v), jac(X).T @ jac(X) @ V)
    y = numpy.tanh(A @ X)
    outer = autograd.make_ggnvp(lambda k, x: k * f(x), lambda y: np.sum(y**4), f_argnum=1)
    close(outer(1.0, x)(v), jac(X).T @ (12 * y**2 * (jac(X) @ V)))


def test_elementwise(on_device):
    x = on_device(X)
    close(autograd.elementwise_grad(np.sin)(x), numpy.cos(X))
    close(autograd.deriv(np.sin)(x), numpy.cos(X))
    close(autograd.elementwise_grad(autograd.elementwise_grad(np.sin))(x), -numpy.sin(X))
    with pytest.raises(TypeError, match="real values"):
        autograd.elementwise_grad(lambda x: x * 1j)(x)


def test_aux(on_device):
    x = on_device(X)
    g, aux = autograd.grad_and_aux(lambda x: (np.sum(x**2), {"last": x * 2}))(x)
    close(g, 2 * X)
    close(aux["last"], 2 * X)


def test_holomorphic(on_device):
    z = on_device(X + 1j * V)
    close(autograd.holomorphic_grad(lambda z: np.sum(np.exp(z)))(z), numpy.exp(X + 1j * V))
    with pytest.warns(UserWarning, match="not complex"):
        autograd.holomorphic_grad(np.sin)(0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        autograd.holomorphic_grad(np.sin)(0.5j)


def test_checkpoint(on_device):
    x = on_device(X)
    f = autograd.checkpoint(lambda x: np.sin(np.exp(x)))
    close(autograd.elementwise_grad(f)(x), numpy.cos(numpy.exp(X)) * numpy.exp(X))


def test_names_say_what_they_are():
    def loss(x):
        return x

    assert autograd.grad.__name__ == "grad"
    assert autograd.jacobian(loss, 2).__name__ == "jacobian_of_loss_wrt_argnum_2"
    assert "grad of function loss" in autograd.grad(loss).__doc__


@pytest.mark.parametrize("f", [lambda x: x, lambda x: np.sum(x) * 1j, lambda x: np.all(x > 0)])
def test_grad_wants_one_real_number(f):
    for transform in (autograd.grad, autograd.value_and_grad):
        with pytest.raises(TypeError):
            transform(f)(X)
    assert state.depth == 0


def test_orders(on_device):
    x = on_device(X)
    check_grads(lambda x: np.sum(np.sin(autograd.jacobian(lambda x: np.outer(x, x))(x))))(x)
    d = np.tanh
    want = [
        lambda t: 1 - t**2,
        lambda t: -2 * t * (1 - t**2),
        lambda t: (6 * t**2 - 2) * (1 - t**2),
    ]
    for w in want:
        d = autograd.elementwise_grad(d)
        close(d(x), w(numpy.tanh(X)))


# ------------------------------------------------------------------ operators in place


def _squares_of_rows(np, x):
    y, total = np.outer(x, x), 0.0
    for row in y:
        row += 1.0
        total = total + np.sum(row**2)
    return total + np.sum(y)


def _rebound(np, x):
    y = x * 2
    z = y
    y += x
    return np.sum(y * z)


def _rebound_in_a_function(np, x):
    def plus_one(v):
        v += 1.0
        return v

    a = x * 2
    return np.sum(a * plus_one(a))


def _rebound_argument(np, x):
    y = x
    y += 1.0
    return np.sum(y * x)


def _rebound_view(np, x):
    y = x[1:]
    y += x[:-1]
    return np.sum(y * x[1:])


def _rebound_transpose(np, x):
    y = np.outer(x, x[1:]).T
    y -= 1.0
    return np.sum(y**2)


def _squared_in_place(np, x):
    y = np.sin(x)
    y *= y
    y **= 2
    return np.sum(y)


def _multiplied_in_place(np, x):
    y = np.outer(x, x)
    z = y
    y @= y
    return np.sum(y * z)


def _normalised_in_place(np, x):
    y = np.exp(x)
    s = np.sum(y)
    y /= s
    return np.sum(y * x)


IN_PLACE = [
    *(_squares_of_rows, _rebound, _rebound_in_a_function, _rebound_argument, _rebound_view),
    *(_rebound_transpose, _squared_in_place, _multiplied_in_place, _normalised_in_place),
]


@pytest.mark.parametrize("body", IN_PLACE)
def test_operators_in_place_are_hips_autograds(on_device, body):
    x = on_device(X)
    close(autograd.grad(lambda x: body(np, x))(x), hips.grad(lambda x: body(hips_numpy, x))(X))
    close(
        autograd.hessian(lambda x: body(np, x))(x), hips.hessian(lambda x: body(hips_numpy, x))(X)
    )
