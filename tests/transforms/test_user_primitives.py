"""Operations that the user brings: primitive, defvjp, defjvp."""

from __future__ import annotations

import numpy as np
import pytest

import gpugrad as gg
from gpugrad.core.trace import state
from gpugrad.device import to_device

X = np.array([0.5, -1.0, 2.0])
W = np.array([[0.3, 0.8, -0.4], [1.5, 0.2, 0.7]])
CPU = gg.device("cpu")


def host(x):
    return np.asarray(to_device(x._value if isinstance(x, gg.Array) else x, CPU))


def blend_of(*modes):
    """w @ x + scale * x[0], opaque to the transforms, with the rules that ``modes`` names."""

    @gg.primitive
    def blend(w, x, scale=1.0):
        assert not isinstance(w, gg.Array)
        assert not isinstance(x, gg.Array)
        return w @ x + scale * x[0] ** 2

    if "vjp" in modes:
        gg.defvjp(
            blend,
            lambda ans, w, x, scale=1.0: lambda g: np.outer(g, x),
            lambda ans, w, x, scale=1.0: (
                lambda g: g @ w + np.array([1.0, 0, 0]) * (2 * scale * x[0] * np.sum(g))
            ),
        )
    if "jvp" in modes:
        gg.defjvp(
            blend,
            lambda t, ans, w, x, scale=1.0: t @ x,
            lambda t, ans, w, x, scale=1.0: w @ t + 2 * scale * x[0] * t[0],
        )
    if "mixed" in modes:
        gg.defvjp(blend, lambda ans, w, x, scale=1.0: lambda g: np.outer(g, x))
        gg.defjvp(
            blend, lambda t, ans, w, x, scale=1.0: w @ t + 2 * scale * x[0] * t[0], argnums=[1]
        )
    return blend


def plain(w, x, scale=1.0):
    return w @ x + scale * x[0] ** 2


def loss(f):
    return lambda w, x: np.sum(np.sin(f(w, x, scale=3.0)))


XS = np.stack([X, 1 - X])
UNDER = {
    "grad": lambda f: gg.grad(loss(f), (0, 1))(W, X),
    "grad of one": lambda f: [gg.grad(loss(f), 1)(W, X)],
    "jvp": lambda f: [gg.jvp(loss(f), (W, X), (2 * W, X))[1]],
    "jvp of one": lambda f: [gg.jvp(lambda x: loss(f)(W, x), (X,), (X,))[1]],
    "jacrev": lambda f: gg.jacrev(f, (0, 1))(W, X),
    "jacfwd": lambda f: gg.jacfwd(f, (0, 1))(W, X),
    "vmap": lambda f: [gg.vmap(f, (None, 0))(W, XS)],
    "vmap of grad": lambda f: gg.vmap(gg.grad(loss(f), (0, 1)), (None, 0))(W, XS),
    "hessian": lambda f: [gg.hessian(loss(f), 1)(W, X)],
    "hvp": lambda f: [gg.hvp(loss(f), 0)(W, X, W)],
    "grad of jvp": lambda f: gg.grad(
        lambda w, x: gg.jvp(loss(f), (w, x), (w, x))[1], argnums=(0, 1)
    )(W, X),
    "checkpoint": lambda f: gg.grad(loss(gg.checkpoint(f)), (0, 1))(W, X),
    "linearize": lambda f: [gg.linearize(f, W, X)[1](W, X)],
}


@pytest.mark.parametrize("under", UNDER)
@pytest.mark.parametrize("modes", ["vjp", "jvp", "vjp jvp", "mixed"])
def test_rules(modes, under):
    got = UNDER[under](blend_of(*modes.split()))
    want = UNDER[under](plain)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)
    assert state.depth == 0


@pytest.mark.parametrize("modes", ["vjp", "jvp", "mixed"])
def test_base_tape(modes):
    def second(f):
        w, x = gg.Array(W, requires_grad=True), gg.Array(X, requires_grad=True)
        loss(f)(w, x).backward(create_graph=True)
        gw, gx = w.grad, x.grad
        w.grad = x.grad = None
        (np.sum(gw * gw) + np.sum(np.sin(gx))).backward()
        return w.grad.numpy(), x.grad.numpy()

    for a, b in zip(second(blend_of(modes)), second(plain), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_on_each_device(device):
    w, x = to_device(W, device), to_device(X, device)
    g = gg.grad(loss(blend_of("jvp")), (0, 1))(w, x)
    want = gg.grad(loss(plain), (0, 1))(W, X)
    for a, b, like in zip(g, want, (w, x), strict=True):
        assert type(a) is type(like)
        np.testing.assert_allclose(host(a), b, rtol=1e-12)


def test_none_is_a_zero_derivative():
    f = gg.primitive(lambda x, y: x * y)
    gg.defvjp(f, lambda ans, x, y: lambda g: g * y, None)
    gx, gy = gg.grad(lambda x, y: np.sum(f(x, y)), (0, 1))(X, 2 * X)
    np.testing.assert_array_equal(gx, 2 * X)
    np.testing.assert_array_equal(gy, 0 * X)
    np.testing.assert_array_equal(gg.jvp(lambda y: f(X, y), (X,), (X,))[1], 0 * X)
    np.testing.assert_array_equal(gg.jvp(f, (X, X), (X, X))[1], X * X)
    h = gg.primitive(lambda x, y: x * y)
    gg.defjvp(h, None, "same")
    np.testing.assert_array_equal(gg.jvp(h, (X, X), (X, 2 * X))[1], 2 * X * X)
    np.testing.assert_array_equal(gg.grad(lambda x: np.sum(h(x, X)))(X), 0 * X)
    with pytest.raises(TypeError, match=r'only the JVP "same".*give it a VJP'):
        gg.grad(lambda y: np.sum(h(X, y)))(X)
    gg.defvjp(h, lambda ans, x, y: lambda g: g * x, argnums=[1])
    np.testing.assert_array_equal(gg.grad(lambda y: np.sum(h(X, y)))(X), X)


def test_arguments_that_are_no_arrays():
    @gg.primitive
    def f(mode, x, *, twice=False):
        return (np.sin if mode == "sin" else np.cos)(x) * (2 if twice else 1)

    gg.defvjp(
        f,
        lambda ans, mode, x, twice=False: lambda g: g * np.cos(x) * (2 if twice else 1),
        argnums=[1],
    )
    got = gg.grad(lambda x: np.sum(f("sin", x, twice=True)))(X)
    np.testing.assert_allclose(got, 2 * np.cos(X))
    np.testing.assert_allclose(gg.vmap(lambda x: f("sin", x))(X), np.sin(X))


def test_rules_may_be_set_again():
    f = gg.primitive(lambda x: x * x)
    gg.defvjp(f, lambda ans, x: lambda g: g * 100)
    assert gg.grad(f)(3.0) == 100.0
    gg.defvjp(f, lambda ans, x: lambda g: g * 2 * x)
    assert gg.grad(f)(3.0) == 6.0


def test_names_do_not_shadow_the_library():
    @gg.primitive
    def tanh(x):
        return x * 7

    gg.defvjp(tanh, lambda ans, x: lambda g: g * 7)
    assert gg.grad(tanh)(1.0) == 7.0
    np.testing.assert_allclose(gg.grad(lambda x: np.sum(np.tanh(x)))(X), 1 - np.tanh(X) ** 2)


ERRORS = {
    "no rule": (lambda f: None, TypeError, r"mine has no derivative for argument 0.*defvjp"),
    "no rule for it": (
        lambda f: gg.defvjp(f, lambda ans, x, y: lambda g: g, argnums=[1]),
        TypeError,
        "mine has no derivative for argument 0",
    ),
    "vjp of a wrong shape": (
        lambda f: gg.defvjp(f, lambda ans, x, y: lambda g: np.sum(g)),
        ValueError,
        r"the VJP for argument 0 returned shape \(\) for an argument of shape \(3,\)",
    ),
    "jvp of a wrong shape": (
        lambda f: gg.defjvp(f, lambda t, ans, x, y: np.sum(t)),
        ValueError,
        r"the JVP for argument 0 returned shape \(\) for an output of shape \(3,\)",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors(case):
    define, kind, message = ERRORS[case]

    def mine(x, y):
        return x * y

    f = gg.primitive(mine)
    define(f)
    runs = (
        lambda: gg.grad(lambda x: np.sum(f(x, X)))(X),
        lambda: gg.jvp(lambda x: f(x, X), (X,), (X,)),
        lambda: gg.vmap(gg.grad(lambda x: np.sum(f(x, X))))(np.stack([X, X])),
        lambda: np.sum(f(gg.Array(X, requires_grad=True), X)).backward(),
    )
    for run in runs:
        with pytest.raises(kind, match=message):
            run()
        assert state.depth == 0
    np.testing.assert_array_equal(f(X, X), X * X)


def test_defvjp_of_something_else():
    with pytest.raises(TypeError, match=r"defvjp: the first argument is .* gg.primitive"):
        gg.defvjp(np.sin, None)
    with pytest.raises(TypeError, match=r"defjvp: the first argument is .* gg.primitive"):
        gg.defjvp(np.sin, None)


def test_vmap_over_nothing():
    f = gg.primitive(lambda x: x * 2)
    with pytest.raises(ValueError, match="length 0 needs a batching rule"):
        gg.vmap(f)(np.zeros((0, 3)))
    assert state.depth == 0
