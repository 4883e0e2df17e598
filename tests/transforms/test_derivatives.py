"""Each transform alone, against finite differences and against JAX."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gpugrad as gg
import gpugrad.numpy as gnp
from gpugrad.transforms.kinds import flatten

X = np.array([0.4, 0.9, -0.7])
Y = np.array([1.5, -0.2, 0.3])
P = {"w": np.array([[0.3, -0.4], [0.2, 0.5], [0.1, 0.6]]), "b": (np.array([0.1, -0.3]), None)}


def model(m, p, x):
    """From a pytree to a pytree."""
    h = m.tanh(x @ p["w"] + p["b"][0])
    return {"h": h, "more": [m.sum(h * h), m.outer(h, x)]}


def energy(m, p, x):
    out = model(m, p, x)
    return out["more"][0] * m.sum(m.sin(out["h"])) + m.sum(out["more"][1] ** 3)


def differences(f, *args, wrt=0, step=1e-6):
    """The gradient of a scalar function by central differences, in one array argument."""
    x = np.asarray(args[wrt])
    out = np.zeros_like(x)
    for at in np.ndindex(x.shape):
        shift = np.zeros_like(x)
        shift[at] = step
        up, down = [f(*args[:wrt], x + s * shift, *args[wrt + 1 :]) for s in (1, -1)]
        out[at] = (up - down) / (2 * step)
    return out


def same(got, want, tolerance=1e-11):
    a, tree = flatten(got)
    b, other = flatten(want)
    assert tree == other
    for u, v in zip(a, b, strict=True):
        assert np.shape(u) == np.shape(v)
        np.testing.assert_allclose(np.asarray(u), np.asarray(v), rtol=tolerance, atol=tolerance)


def scalar(x, y):
    return np.sum(np.sin(x) * y**2) + np.prod(x) * np.exp(y[0])


@pytest.mark.parametrize("argnums", [0, 1, -1, (0,), (1, 0), (0, -1)])
def test_argnums(argnums):
    want = [differences(scalar, X, Y, wrt=n) for n in (0, 1)]
    value, got = gg.value_and_grad(scalar, argnums)(X, Y)
    assert value == scalar(X, Y)
    chosen = want[argnums] if isinstance(argnums, int) else tuple(want[n] for n in argnums)
    same(got, chosen, 1e-7)
    same(gg.grad(scalar, argnums)(X, Y), chosen, 1e-7)
    for jacobian in (gg.jacrev, gg.jacfwd, gg.jacobian):
        same(jacobian(scalar, argnums)(X, Y), chosen, 1e-7)


def test_keywords_are_passed_on():
    def f(x, *, power, scale=1.0):
        return np.sum(x**power) * scale

    np.testing.assert_allclose(gg.grad(f)(X, power=3, scale=2.0), 6 * X**2)
    np.testing.assert_allclose(gg.jacobian(f)(X, power=3), 3 * X**2)
    np.testing.assert_allclose(gg.jacfwd(f)(X, power=3), 3 * X**2)
    np.testing.assert_allclose(gg.hvp(f)(X, X, power=3), 6 * X * X)
    np.testing.assert_allclose(gg.make_jvp(f)(X, power=3)(X)[1], np.sum(3 * X**3))
    np.testing.assert_allclose(gg.make_vjp(f)(X, power=3)[0](2.0), 6 * X**2)
    np.testing.assert_allclose(gg.elementwise_grad(lambda x, n: x**n)(X, n=3), 3 * X**2)


def test_aux():
    def f(x, y):
        s = np.sin(x)
        return np.sum(s * y), {"s": s, "x": x, "note": "as it is", "n": 3}

    (value, aux), g = gg.value_and_grad(f, has_aux=True)(X, Y)
    assert value == np.sum(np.sin(X) * Y)
    np.testing.assert_array_equal(g, np.cos(X) * Y)
    assert type(aux["s"]) is np.ndarray
    assert (aux["note"], aux["n"]) == ("as it is", 3)
    np.testing.assert_array_equal(aux["x"], X)
    g, aux = gg.grad(f, has_aux=True)(X, Y)
    np.testing.assert_array_equal(aux["s"], np.sin(X))
    value, pull, aux = gg.vjp(f, X, Y, has_aux=True)
    np.testing.assert_array_equal(pull(1.0)[1], np.sin(X))
    assert type(aux["s"]) is np.ndarray
    value, t, aux = gg.jvp(f, (X, Y), (X, Y), has_aux=True)
    np.testing.assert_allclose(t, np.sum(np.cos(X) * X * Y + np.sin(X) * Y))
    assert type(aux["s"]) is np.ndarray
    # An auxiliary output of an inner transform is still differentiable outside.
    outer = gg.grad(lambda x: np.sum(gg.grad(f, has_aux=True)(x, Y)[1]["s"]))
    np.testing.assert_array_equal(outer(X), np.cos(X))


def test_pull_and_push_again():
    value, pull = gg.vjp(lambda p, x: model(np, p, x), P, X)
    one = {"h": np.ones(2), "more": [1.0, np.ones((2, 3))]}
    same(pull(one), pull(one))
    push = gg.linearize(lambda p, x: model(np, p, x), P, X)[1]
    for t in ((P, X), (P, 2 * X), (P, X)):
        same(push(*t), gg.jvp(lambda p, x: model(np, p, x), (P, X), t)[1])
    # <J t, c> == <t, J^T c>
    left = sum(np.vdot(a, b) for a, b in zip(flatten(push(P, X))[0], flatten(one)[0], strict=True))
    right = sum(
        np.vdot(a, b) for a, b in zip(flatten(pull(one))[0], flatten((P, X))[0], strict=True)
    )
    np.testing.assert_allclose(left, right)
    assert sorted(value) == ["h", "more"]


def test_a_pull_to_one_primal_alone():
    _, pull = gg.vjp(lambda p, x: model(np, p, x), P, X)
    one = {"h": np.ones(2), "more": [1.0, np.ones((2, 3))]}
    both = pull(one)
    for argnum in (0, 1, -1, 0):
        same(pull(one, argnum), both[argnum])
    same(pull(one), both)
    with pytest.raises(ValueError, match="argnums=2 for a call with 2 arguments"):
        pull(one, 2)


@pytest.mark.parametrize("size", [2, 5000])
def test_a_pull_to_one_primal_computes_no_other_cotangent(size):
    before = []

    @gg.custom_vjp
    def doubled(x):
        return 2 * x

    doubled.defvjp(lambda x: (2 * x, None), lambda kept, g: (before.append(g) or 2 * g,))
    g, x = np.ones(size), np.ones(size)
    g[-1], x[-1] = 0.0, np.inf
    with np.errstate(invalid="ignore"):
        _, pull = gg.vjp(lambda a, x: doubled(a) * x, np.ones(size), x)
        if size < 4096:  # the first pull of few elements goes to all
            np.testing.assert_array_equal(pull(g, 1), 2 * g)
            before.clear()
        np.testing.assert_array_equal(pull(g, 1), 2 * g)
        assert not before
        with gg.debug(nans=True):  # 0 times infinity is the cotangent of the other factor
            np.testing.assert_array_equal(pull(g, 1), 2 * g)
            with pytest.raises(gg.NonFiniteError, match="multiply"):
                pull(g, 0)
        pull(np.ones(size), 0)
    assert len(before) == 1


def test_a_pull_to_one_primal_that_not_every_output_comes_from():
    _, pull = gg.vjp(lambda a, x: (np.sin(a), np.exp(x)), X, Y)
    for _ in range(2):  # the first pull of few elements goes to all
        np.testing.assert_array_equal(pull((X, Y), 1), Y * np.exp(Y))
        np.testing.assert_array_equal(pull((X, Y), 0), X * np.cos(X))


def test_a_pull_to_one_operand_of_a_rule_for_all():
    _, pull = gg.vjp(lambda a, x: np.concatenate([a, x]), X, 2 * Y)
    for _ in range(2):
        np.testing.assert_array_equal(pull(np.arange(6.0), 1), [3, 4, 5])


def test_outputs_that_depend_on_nothing():
    np.testing.assert_array_equal(gg.grad(lambda x: 3.0)(X), 0 * X)
    np.testing.assert_array_equal(gg.grad(lambda x, y: np.sum(x), 1)(X, Y), 0 * Y)
    np.testing.assert_array_equal(gg.jvp(lambda x: Y, (X,), (X,))[1], 0 * Y)
    np.testing.assert_array_equal(gg.jacrev(lambda x: Y)(X), np.zeros((3, 3)))
    np.testing.assert_array_equal(gg.jacfwd(lambda x: Y)(X), np.zeros((3, 3)))
    np.testing.assert_array_equal(gg.linearize(lambda x: Y, X)[1](X), 0 * Y)
    np.testing.assert_array_equal(gg.hessian(lambda x: np.sum(x))(X), np.zeros((3, 3)))
    np.testing.assert_array_equal(gg.grad(lambda x: np.sum(np.floor(x)))(X), 0 * X)


def test_outputs_of_integers():
    """They come back as they are, and nothing flows through them."""

    def f(x):
        return {"x": x * x, "at": np.argmax(x)}

    out, t = gg.jvp(f, (X,), (X,))
    assert (out["at"], t["at"]) == (1, 0)
    out, push = gg.linearize(f, X)
    assert out["at"] == 1
    for _ in range(2):
        t = push(Y)
        np.testing.assert_allclose(t["x"], 2 * X * Y)
        assert t["at"] == 0
    out, pull = gg.vjp(f, X)
    np.testing.assert_allclose(pull({"x": Y, "at": 0})[0], 2 * X * Y)


def test_complex_jacobians():
    z = X + 1j * Y
    want = np.diag(2 * z)
    np.testing.assert_allclose(gg.jacrev(np.square, holomorphic=True)(z), want)
    np.testing.assert_allclose(gg.jacfwd(np.square, holomorphic=True)(z), want)
    np.testing.assert_allclose(gg.jacfwd(lambda x: x * 1j)(X), 1j * np.eye(3))
    t = gg.linearize(lambda x: x * 1j, X)[1](X)
    np.testing.assert_allclose(t, 1j * X)


def test_elementwise_and_holomorphic():
    np.testing.assert_allclose(gg.elementwise_grad(np.tanh)(X), 1 - np.tanh(X) ** 2)
    z = X + 1j
    np.testing.assert_allclose(
        gg.elementwise_grad(np.tanh, holomorphic=True)(z), 1 - np.tanh(z) ** 2
    )
    each = gg.elementwise_grad(gg.elementwise_grad(np.sin))
    np.testing.assert_allclose(each(X), -np.sin(X))
    z = X + 1j * Y
    np.testing.assert_allclose(
        gg.holomorphic_grad(lambda z: np.sum(z**3 + np.exp(z)))(z), 3 * z**2 + np.exp(z)
    )
    by_each = gg.holomorphic_grad(lambda a, b: np.sum(a * b), (0, 1))(z, 2 * z)
    np.testing.assert_allclose(by_each, (2 * z, z))


def test_hessian_of_pytrees():
    h = gg.hessian(lambda p: np.sum(p["a"] ** 2 * p["b"]))({"a": X, "b": Y})
    np.testing.assert_allclose(h["a"]["a"], np.diag(2 * Y))
    np.testing.assert_allclose(h["a"]["b"], np.diag(2 * X))
    np.testing.assert_allclose(h["b"]["a"], np.diag(2 * X))
    np.testing.assert_allclose(h["b"]["b"], np.zeros((3, 3)))
    cross = gg.hessian(lambda x, y: np.sum(x * x * y), (0, 1))(X, Y)
    np.testing.assert_allclose(cross[0][1], np.diag(2 * X))
    product = gg.hvp(lambda p: np.sum(p["a"] ** 2 * p["b"]))({"a": X, "b": Y}, {"a": X, "b": X})
    np.testing.assert_allclose(product["a"], 2 * Y * X + 2 * X * X)
    full = gg.hessian(lambda x: x**3)(X)  # of an array: one more leading axis
    np.testing.assert_allclose(full[1, 1, 1], 6 * X[1])
    assert full.shape == (3, 3, 3)


def test_shapes_alone():
    like = gg.ShapeDtype((5, 3), np.dtype("f4"))
    p = {"w": gg.ShapeDtype((3, 2), np.dtype("f4")), "b": (gg.ShapeDtype((2,), "f4"), None)}

    def f(p, x):
        return gg.vmap(lambda x: model(gnp, p, x))(x)

    for out in (gg.eval_shape(f, p, like), gg.eval_shape(f, p, np.ones((5, 3), "f4"))):
        assert out["h"].shape == (5, 2)
        assert out["more"][1].shape == (5, 2, 3)
        assert out["h"].dtype == "f4"
    g = gg.eval_shape(gg.grad(lambda x: gnp.sum(gnp.tanh(x))), like)
    assert (g.shape, g.dtype) == ((5, 3), np.dtype("f4"))
    t = gg.eval_shape(lambda x: gg.jvp(gnp.sin, (x,), (x,))[1], like)
    assert t.shape == (5, 3)


# ------------------------------------------------------------------------------------- vmap


def test_per_sample_gradients():
    """The mean of the gradients of the samples is the gradient of the mean loss."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(16, 3)), rng.normal(size=(16, 2))
    p = {"w": P["w"], "b": P["b"][0]}

    def loss(p, x, y):
        return np.mean((np.tanh(x @ p["w"] + p["b"]) - y) ** 2)

    each = gg.per_sample_grad(loss)(p, x, y)
    assert each["w"].shape == (16, 3, 2)
    whole = gg.grad(loss)(p, x, y)
    same({k: v.mean(axis=0) for k, v in each.items()}, whole, 1e-12)
    one = gg.grad(loss)(p, x[3], y[3])
    same({k: v[3] for k, v in each.items()}, one, 1e-12)


def test_per_sample_gradients_on_each_device(device, xp):
    from gpugrad.device import to_device

    w, x, y = (to_device(v, device) for v in (X, np.stack([X, Y]), np.array([0.5, -0.5])))

    def loss(w, x, y):
        return np.mean((np.sin(x) @ w - y) ** 2)

    each = gg.per_sample_grad(loss)(w, x, y)
    assert type(each) is xp.ndarray
    difference = each.mean(axis=0) - gg.grad(loss)(w, x, y)
    assert float(abs(difference).max()) < 1e-15


def loops(f, in_axes, out_axes, *args):
    """vmap of a function of arrays with one output, by a loop."""
    n = next(a.shape[ax] for a, ax in zip(args, in_axes, strict=True) if ax is not None)
    rows = [
        f(*[a if ax is None else np.take(a, i, ax) for a, ax in zip(args, in_axes, strict=True)])
        for i in range(n)
    ]
    return np.stack(rows, out_axes)


@given(
    in_axes=st.tuples(st.sampled_from([0, 1, 2, -1, -3, None]), st.sampled_from([0, 1, -1, None])),
    out_axes=st.sampled_from([0, 1, 2, -1, -2]),
)
def test_vmap_axes(in_axes, out_axes):
    a = np.random.default_rng(0).normal(size=(4, 4, 4))
    b = np.random.default_rng(1).normal(size=(4, 4))

    def f(a, b):
        return np.sin(a) * b.sum() + a.mean(axis=-1, keepdims=True) * np.ones((4, 1))

    def g(a, b):
        return f(a if a.ndim == 2 else a[0], b)

    if in_axes == (None, None):
        with pytest.raises(ValueError, match="no argument is mapped"):
            gg.vmap(g, in_axes)(a, b)
    else:
        got = gg.vmap(g, in_axes, out_axes)(a, b)
        np.testing.assert_allclose(got, loops(g, in_axes, out_axes, a, b))


def test_vmap_of_pytrees():
    tree = {"a": np.arange(6.0).reshape(2, 3), "b": (np.arange(3.0), None)}
    f = gg.vmap(
        lambda t, k: {"s": t["a"].sum() * k, "n": None, "t": t["b"][0]}, ({"a": 1, "b": 0}, None), 0
    )
    out = f(tree, 2.0)
    np.testing.assert_array_equal(out["s"], 2 * tree["a"].sum(axis=0))
    np.testing.assert_array_equal(out["t"], np.arange(3.0))
    assert out["n"] is None
    both = gg.vmap(lambda x: (x, x.sum(), 1.0), out_axes=(1, 0, None))(tree["a"])
    np.testing.assert_array_equal(both[0], tree["a"].T)
    assert both[2] == 1.0
    constant = gg.vmap(lambda x: 7.0)(X)
    np.testing.assert_array_equal(constant, [7.0, 7.0, 7.0])
    np.testing.assert_array_equal(gg.vmap(lambda x, scale: x * scale)(X, scale=2.0), 2 * X)


def test_nested_vmaps():
    a, b = np.random.default_rng(0).normal(size=(2, 4, 3))
    pairs = gg.vmap(lambda u: gg.vmap(lambda v: np.sum(u * v))(b))(a)
    np.testing.assert_allclose(pairs, a @ b.T)
    outer = gg.vmap(gg.vmap(np.multiply, (None, 0)), (0, None))(X, Y)
    np.testing.assert_allclose(outer, np.outer(X, Y))
    deep = gg.vmap(lambda x: gg.vmap(lambda y: gg.vmap(lambda z: x * y + z)(X))(Y))(X)
    np.testing.assert_allclose(deep, (X[:, None] * Y)[:, :, None] + X)
    inside_out = gg.vmap(gg.vmap(lambda m: m.sum(), 1, 0), 0, 0)(np.ones((2, 3, 4)))
    np.testing.assert_array_equal(inside_out, np.full((2, 4), 3.0))


def test_empty_batch():
    out = gg.vmap(lambda x: np.sin(x).sum())(np.zeros((0, 3)))
    assert out.shape == (0,)
    assert gg.vmap(gg.grad(lambda x: np.sum(x * x)))(np.zeros((0, 3))).shape == (0, 3)


# ------------------------------------------------------------------- confusion of perturbations


def test_no_confusion_of_perturbations():
    d = gg.grad
    assert d(lambda x: x * d(lambda y: x + y)(2.0))(1.0) == 1.0
    assert d(lambda x: x * d(lambda y: x * y)(2.0))(3.0) == 6.0
    assert d(lambda x: d(lambda y: d(lambda z: x * y * z)(1.0) * y)(2.0) * x)(3.0) == 2 * 2 * 2 * 3

    def tangent(f, x):
        return gg.jvp(f, (x,), (1.0,))[1]

    def check(outer, inner):
        assert outer(lambda x: x * inner(lambda y: x + y, 1.0), 1.0) == 1.0
        assert outer(lambda x: x * inner(lambda y: x * y * y, 2.0), 3.0) == 24.0

    modes = (lambda f, x: d(f)(x), tangent)
    for outer, inner in itertools.product(modes, modes):
        check(outer, inner)


def test_closures_at_every_level():
    def f(x, y, z):
        return np.sin(x * y) * z + x * z**2 * y**3

    def levels(z):  # vmap over z, grad by x inside, jvp by y inside that, each closing over more
        def by_x(x):
            return gg.jvp(lambda y: f(x, y, z), (0.7,), (1.0,))[1]

        return gg.grad(by_x)(0.4)

    got = gg.vmap(levels)(X)
    x, y = 0.4, 0.7
    want = (np.cos(x * y) - x * y * np.sin(x * y)) * X + 3 * X**2 * y**2
    np.testing.assert_allclose(got, want, rtol=1e-12)
    mixed = gg.jacfwd(lambda z: gg.vmap(levels)(z))(X)
    np.testing.assert_allclose(mixed, np.diag(want / X + 3 * X * y**2), rtol=1e-12)


def test_forward_inside_reverse_inside_batch():
    def f(x):
        return gg.grad(lambda y: gg.jvp(lambda z: np.sin(x * z) * y, (y,), (x,))[1])(x)

    e = 1e-6

    def inner(x, y):  # d/dz of sin(x z) y at z = y, along x
        return np.cos(x * y) * x * y * x

    want = (inner(X, X + e) - inner(X, X - e)) / (2 * e)
    np.testing.assert_allclose(gg.vmap(f)(X), want, rtol=1e-8)


# --------------------------------------------------------------------------------- against JAX

CASES = {
    "grad": lambda m, f, e: m.grad(e, (0, 1))(P, X),
    "value_and_grad": lambda m, f, e: m.value_and_grad(e)(P, X),
    "vjp": lambda m, f, e: m.vjp(f, P, X)[1](f(P, X)),
    "jvp": lambda m, f, e: m.jvp(f, (P, X), (P, X)),
    "linearize": lambda m, f, e: m.linearize(f, P, X)[1](P, X),
    "jacrev": lambda m, f, e: m.jacrev(f, (0, 1))(P, X),
    "jacrev of one": lambda m, f, e: m.jacrev(f)(P, X),
    "jacfwd": lambda m, f, e: m.jacfwd(f, (1, 0))(P, X),
    "hessian": lambda m, f, e: m.hessian(e, (0, 1))(P, X),
    "hessian of a tree": lambda m, f, e: m.hessian(f, 1)(P, X),
    "vmap": lambda m, f, e: m.vmap(f, (None, 0), {"h": 1, "more": [0, 2]})(P, np.stack([X, Y])),
    "vmap of a tree": lambda m, f, e: m.vmap(f, ({"w": 0, "b": None}, None))(
        {"w": np.stack([P["w"]] * 2), "b": P["b"]}, X
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_against_jax(case):
    jax = pytest.importorskip("jax", reason="JAX is the reference: pip install jax")
    jax.config.update("jax_enable_x64", True)
    run = CASES[case]
    got = run(gg, lambda p, x: model(np, p, x), lambda p, x: energy(np, p, x))
    jnp = jax.numpy
    want = run(jax, lambda p, x: model(jnp, p, x), lambda p, x: energy(jnp, p, x))
    same(got, want)
