"""Functions with derivative rules of the user's: custom_vjp, custom_jvp, stop_gradient."""

from __future__ import annotations

import numpy as np
import pytest

import gpugrad as gg
import gpugrad.numpy as gnp
from gpugrad.core.trace import state
from gpugrad.device import to_device

X = np.array([0.5, -1.0, 2.0])
XS = np.stack([X, 0.3 * X, 1 - X, X * X])
CPU = gg.device("cpu")


def host(x):
    return np.asarray(to_device(x._value if isinstance(x, gg.Array) else x, CPU))


# A function of a dict and an array with two outputs; its rules are right, up to a factor of 10 in
# the first order that shows that they were used.


def plain(p, x):
    return {"s": np.sin(p["w"] * x), "t": (p["w"] * p["b"], x * x)}


def ten_times(x):
    """``x``, with a derivative of 10."""
    return 10 * x - 9 * gg.stop_gradient(x)


def marked(p, x):
    return plain({k: ten_times(v) for k, v in p.items()}, ten_times(x))


@gg.custom_vjp
def by_vjp(p, x):
    return plain(p, x)


def _forward(p, x):
    return by_vjp(p, x), (p, x)


def _backward(kept, g):
    (p, x) = kept
    slope = np.cos(p["w"] * x) * g["s"]
    by_p = {"w": 10 * (slope * x + g["t"][0] * p["b"]), "b": 10 * g["t"][0] * p["w"]}
    return by_p, 10 * (slope * p["w"] + 2 * x * g["t"][1])


by_vjp.defvjp(_forward, _backward)


@gg.custom_jvp
def by_jvp(p, x):
    return plain(p, x)


@by_jvp.defjvp
def _push(primals, tangents):
    (p, x), (dp, dx) = primals, tangents
    d = np.cos(p["w"] * x) * (dp["w"] * x + p["w"] * dx)
    parts = (10 * (dp["w"] * p["b"] + p["w"] * dp["b"]), 20 * x * dx)
    return by_jvp(p, x), {"s": 10 * d, "t": parts}


FUNCTIONS = {"vjp": by_vjp, "jvp": by_jvp}
P = {"w": np.array([0.3, 0.8, -0.4]), "b": np.array([1.5, 0.2, 0.7])}


def total(f):
    def loss(p, x):
        y = f(p, x)
        return np.sum(y["s"] * y["t"][0]) + np.sum(np.exp(y["t"][1] * 0.1))

    return loss


def second(f):
    """A second derivative: of the gradient along a direction made of the arguments."""

    def along(p, x):
        gp, gx = gg.grad(total(f), (0, 1))(p, x)
        return np.sum(np.sin(gp["w"])) + np.sum(gp["b"] * x) + np.sum(gx * gx)

    return along


UNDER = {
    "grad": lambda f: gg.grad(total(f), (0, 1))(P, X),
    "jvp": lambda f: gg.jvp(total(f), (P, X), (P, 2 * X)),
    "linearize": lambda f: gg.linearize(f, P, X)[1](P, 2 * X),
    "jacrev": lambda f: gg.jacrev(f, (0, 1))(P, X),
    "jacfwd": lambda f: gg.jacfwd(f, (0, 1))(P, X),
    "vmap": lambda f: gg.vmap(f, ({"w": 0, "b": None}, None))(P, X),
    "vmap of grad": lambda f: gg.vmap(gg.grad(total(f), (0, 1)))(P, X),
    "vmap of grad, shared": lambda f: gg.vmap(gg.grad(total(f), (0, 1)), (None, 0))(P, XS),
    "grad of vmap, shared": lambda f: gg.grad(
        lambda p, x: np.sum(gg.vmap(total(f), (None, 0))(p, x)), (0, 1)
    )(P, XS),
    "vmap of jvp": lambda f: gg.vmap(lambda x: gg.jvp(total(f), (P, x), (P, x)))(XS),
    "jvp of vmap": lambda f: gg.jvp(gg.vmap(f, (None, 0)), (P, XS), (P, XS)),
    "checkpoint": lambda f: gg.grad(total(gg.checkpoint(f)), (0, 1))(P, X),
    "one argument": lambda f: gg.grad(total(f), 1)(P, X),
    "keyword": lambda f: gg.grad(total(lambda p, x: f(x=x, p=p)), (0, 1))(P, X),
}


def same(got, want, **options):
    a, tree = gg.transforms.kinds.flatten(got)
    b, other = gg.transforms.kinds.flatten(want)
    assert tree == other
    for u, v in zip(a, b, strict=True):
        assert np.shape(u) == np.shape(v)
        np.testing.assert_allclose(u, v, rtol=1e-11, **options)
    assert state.depth == 0


@pytest.mark.parametrize("under", UNDER)
@pytest.mark.parametrize("kind", FUNCTIONS)
def test_first_order(kind, under):
    same(UNDER[under](FUNCTIONS[kind]), UNDER[under](marked))


# For the second order, rules without the mark: the whole must equal plain code.


def _clean(kind):
    if kind == "vjp":
        f = gg.custom_vjp(plain)
        f.defvjp(
            lambda p, x: (f(p, x), (p, x)),
            lambda kept, g: gg.vjp(plain, *kept)[1](g),
        )
        return f
    if kind == "vjp, residuals made of the inputs":
        f = gg.custom_vjp(lambda p, x: np.sin(p["w"] * x) * p["b"])

        def forward(p, x):
            u = p["w"] * x
            return np.sin(u) * p["b"], {"s": np.sin(u), "c": np.cos(u), "p": p, "x": x}

        def backward(k, g):
            h = g * k["c"] * k["p"]["b"]
            return {"w": h * k["x"], "b": g * k["s"]}, h * k["p"]["w"]

        f.defvjp(forward, backward)
        return lambda p, x: {"s": f(p, x) / p["b"], "t": (p["w"] * p["b"], x * x)}
    f = gg.custom_jvp(plain)
    f.defjvp(lambda primals, tangents: gg.jvp(plain, primals, tangents))
    return f


CLEAN = ("vjp", "vjp, residuals made of the inputs", "jvp")


@pytest.mark.parametrize("kind", CLEAN)
def test_second_order(kind):
    f = _clean(kind)
    same(gg.grad(second(f), (0, 1))(P, X), gg.grad(second(plain), (0, 1))(P, X), atol=1e-12)
    same(gg.hessian(total(f), (0, 1))(P, X), gg.hessian(total(plain), (0, 1))(P, X), atol=1e-12)
    same(gg.jvp(second(f), (P, X), (P, X)), gg.jvp(second(plain), (P, X), (P, X)), atol=1e-12)
    same(
        gg.vmap(gg.grad(second(f)), (None, 0))(P, XS),
        gg.vmap(gg.grad(second(plain)), (None, 0))(P, XS),
        atol=1e-12,
    )


@pytest.mark.parametrize("kind", CLEAN)
def test_second_order_on_the_base_tape(kind):
    def run(f):
        w, b, x = (gg.Array(v, requires_grad=True) for v in (P["w"], P["b"], X))
        total(f)({"w": w, "b": b}, x).backward(create_graph=True)
        first = [v.grad for v in (w, b, x)]
        for v in (w, b, x):
            v.grad = None
        (np.sum(np.sin(first[0])) + np.sum(first[1] * x) + np.sum(first[2] ** 2)).backward()
        return [g.numpy() for g in first], [v.grad.numpy() for v in (w, b, x)]

    got, want = run(_clean(kind)), run(plain)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11)
    by = gg.grad(second(plain), (0, 1))(P, X)
    np.testing.assert_allclose(got[1], [by[0]["w"], by[0]["b"], by[1]], rtol=1e-11)


def test_on_each_device(device):
    p = {k: to_device(v, device) for k, v in P.items()}
    x = to_device(X, device)
    for f in FUNCTIONS.values():
        g = gg.grad(total(f), (0, 1))(p, x)
        assert type(g[1]) is type(x)
        want = gg.grad(total(marked), (0, 1))(P, X)
        np.testing.assert_allclose(host(g[0]["w"]), want[0]["w"], rtol=1e-11)
        np.testing.assert_allclose(host(g[1]), want[1], rtol=1e-11)


def test_rules_receive_raw_arrays():
    """Where nothing else is traced, a rule may call a kernel."""
    seen = []

    @gg.custom_vjp
    def f(x):
        seen.append(type(x))
        return x * 2

    def forward(x):
        seen.append(type(x))
        return x * 2, x

    def backward(x, g):
        seen.append(type(x))
        seen.append(type(g))
        return (g * 2,)

    f.defvjp(forward, backward)
    gg.grad(lambda x: np.sum(f(x)))(X)
    f(gg.Array(X))
    assert set(seen) == {np.ndarray}


def test_arguments_without_gradient():
    @gg.custom_vjp
    def take(x, at, scale):
        return gnp.take(x, at) * scale["k"]

    take.defvjp(
        lambda x, at, scale: (take(x, at, scale), (at, scale["k"])),
        lambda kept, g: (np.concatenate([g * kept[1], np.zeros(1)]), None, {"k": None}),
    )
    at = np.array([0, 1])
    g, gs = gg.grad(lambda x, s: np.sum(take(x, at, s)), (0, 1))(X, {"k": 3.0})
    np.testing.assert_array_equal(g, [3, 3, 0])
    assert gs == {"k": 0.0}
    each = gg.vmap(gg.grad(lambda x, s: np.sum(take(x, at, s)), (0, 1)), (0, None))(
        np.stack([X, X]), {"k": 3.0}
    )
    np.testing.assert_array_equal(each[0], [[3, 3, 0]] * 2)

    @gg.custom_jvp
    def pick(x, at):
        return gnp.take(x, at)

    pick.defjvp(lambda primals, tangents: (pick(*primals), gnp.take(tangents[0], primals[1])))
    np.testing.assert_array_equal(gg.grad(lambda x: np.sum(pick(x, at)))(X), [1, 1, 0])
    np.testing.assert_array_equal(gg.jvp(lambda x: pick(x, at), (X,), (X,))[1], X[:2])
    np.testing.assert_array_equal(
        gg.vmap(gg.grad(lambda x: np.sum(pick(x, at))))(np.stack([X, X])), [[1, 1, 0]] * 2
    )


def test_shapes_alone():
    like = gg.ShapeDtype((4,), np.dtype("f4"))
    for f in FUNCTIONS.values():
        out = gg.eval_shape(f, {"w": like, "b": like}, like)
        assert out["s"] == like
        assert out["t"] == (like, like)


STOPPED = {
    "grad": lambda f: gg.grad(lambda x: np.sum(f(x)))(X),
    "jvp": lambda f: gg.jvp(f, (X,), (np.ones(3),))[1],
    "vmap": lambda f: gg.vmap(gg.grad(f))(X),
    "second": lambda f: gg.grad(lambda x: np.sum(gg.grad(lambda y: np.sum(f(y)))(x)))(X) + X,
    "linearize": lambda f: gg.linearize(f, X)[1](np.ones(3)),
}


@pytest.mark.parametrize("mode", STOPPED)
def test_stop_gradient(mode):
    # d/dx of x * stop(x) is x, and of that again 0.
    got = STOPPED[mode](lambda x: x * gg.stop_gradient(x))
    np.testing.assert_allclose(got, X)


def test_stop_gradient_of_trees_and_constants():
    out = gg.stop_gradient({"a": X, "b": (1.5, None)})
    assert out["a"] is X
    assert out["b"] == (1.5, None)
    w = gg.Array(X, requires_grad=True)
    assert not gg.stop_gradient(w).requires_grad
    np.sum(w * gg.stop_gradient(w)).backward()
    np.testing.assert_allclose(w.grad.numpy(), X)


def _vjp_of(forward, backward):
    f = gg.custom_vjp(lambda x, y: x * y)
    f.__name__ = "mine"
    f.defvjp(forward, backward)
    return lambda x: np.sum(f(x, X))


BAD = {
    "no tuple": (lambda k, g: g, TypeError, r"mine: bwd must return a tuple .* 2 arguments"),
    "too few": (lambda k, g: (g,), TypeError, "mine: bwd must return a tuple"),
    "shape": (lambda k, g: (g[:2], g), ValueError, r"cotangent of shape \(2,\) .* shape \(3,\)"),
    "structure": (lambda k, g: ({"a": g}, g), (ValueError, TypeError), "mine: "),
}


@pytest.mark.parametrize("case", BAD)
def test_wrong_backward_rules(case):
    backward, kind, message = BAD[case]
    f = _vjp_of(lambda x, y: (x * y, None), backward)
    for run in (lambda: gg.grad(f)(X), lambda: gg.jvp(f, (X,), (X,))):
        with pytest.raises(kind, match=message):
            run()
        assert state.depth == 0
    np.testing.assert_allclose(gg.grad(lambda x: np.sum(x * x))(X), 2 * X)


def test_wrong_forward_rules():
    f = _vjp_of(lambda x, y: x * y, lambda k, g: (g, g))
    with pytest.raises(TypeError, match=r"mine: fwd must return \(out, residuals\)"):
        gg.grad(f)(X)
    assert state.depth == 0


@pytest.mark.parametrize(
    ("rule", "kind", "message"),
    [
        (lambda p, t: t[0], TypeError, r"must return \(out, tangent_out\)"),
        (lambda p, t: (p[0], t[0][:2]), ValueError, r"tangent of shape \(2,\) .* shape \(3,\)"),
        (lambda p, t: (p[0], (t[0],)), ValueError, "tangent of structure"),
    ],
)
def test_wrong_jvp_rules(rule, kind, message):
    f = gg.custom_jvp(np.sin)
    f.defjvp(rule)
    for run in (lambda: gg.grad(lambda x: np.sum(f(x)))(X), lambda: gg.jvp(f, (X,), (X,))):
        with pytest.raises(kind, match=message):
            run()
        assert state.depth == 0


def test_missing_rules_and_keyword_only():
    with pytest.raises(TypeError, match=r"sin has no rule yet: call sin.defvjp\(fwd, bwd\)"):
        gg.custom_vjp(np.sin)(X)
    with pytest.raises(TypeError, match=r"sin has no rule yet: call sin.defjvp\(rule\)"):
        gg.custom_jvp(np.sin)(X)

    @gg.custom_jvp
    def f(x, *, k):
        return x * k

    f.defjvp(lambda primals, tangents: (primals[0], tangents[0]))
    with pytest.raises(TypeError, match=r"keyword-only .*\(k\)"):
        f(X, k=2)
