"""A checkpointed function has the same derivatives and keeps no residuals."""

from __future__ import annotations

import numpy as np
import pytest

import gpugrad as gg
from gpugrad.core.tape import Leaf
from gpugrad.core.trace import state
from gpugrad.device import to_device

X = np.array([0.5, -1.0, 2.0])
CPU = gg.device("cpu")


def block(x):
    return np.sin(x) * np.exp(np.tanh(x) * 0.3)


def host(x):
    return np.asarray(to_device(x._value if isinstance(x, gg.Array) else x, CPU))


def nested(f):
    return gg.checkpoint(lambda x: f(gg.checkpoint(f)(x)) + gg.checkpoint(np.cos)(x))


def plain(f):
    return lambda x: f(f(x)) + np.cos(x)


def with_inner_grad(f):
    """A function that differentiates inside: that inner tape is not the region's to set aside."""
    return gg.checkpoint(lambda x: gg.grad(lambda y: np.sum(f(y) * x))(x))


def plain_inner_grad(f):
    return lambda x: gg.grad(lambda y: np.sum(f(y) * x))(x)


PAIRS = {
    "once": (gg.checkpoint, lambda f: f),
    "nested": (nested, plain),
    "twice": (lambda f: gg.checkpoint(gg.checkpoint(f)), lambda f: f),
    "grad inside": (with_inner_grad, plain_inner_grad),
}
UNDER = {
    "grad": lambda f: gg.grad(lambda x: np.sum(f(x))),
    "grad of grad": lambda f: gg.grad(lambda x: np.sum(np.sin(gg.grad(lambda y: np.sum(f(y)))(x)))),
    "jvp": lambda f: lambda x: gg.jvp(f, (x,), (x,))[1],
    "jvp of grad": lambda f: lambda x: gg.hvp(lambda y: np.sum(f(y)))(x, x),
    "grad of jvp": lambda f: gg.grad(lambda x: np.sum(gg.jvp(f, (x,), (x,))[1])),
    "jacrev": gg.jacrev,
    "jacfwd": gg.jacfwd,
    "hessian": lambda f: gg.hessian(lambda x: np.sum(f(x))),
    "linearize": lambda f: lambda x: gg.linearize(f, x)[1](x),
    "vmap of grad": lambda f: gg.vmap(gg.grad(lambda s: np.sum(f(s)))),
    "grad of vmap": lambda f: gg.grad(lambda x: np.sum(gg.vmap(f)(x) ** 2)),
}


@pytest.mark.parametrize("under", UNDER)
@pytest.mark.parametrize("kind", PAIRS)
def test_same_derivatives(kind, under):
    checkpointed, ordinary = PAIRS[kind]
    got = UNDER[under](checkpointed(block))(X)
    np.testing.assert_allclose(got, UNDER[under](ordinary(block))(X), rtol=1e-12)
    assert state.depth == 0
    assert state.region is None


def test_on_each_device(device):
    x = to_device(X, device)
    got = gg.grad(lambda x: np.sum(nested(block)(x)))(x)
    want = gg.grad(lambda x: np.sum(plain(block)(x)))(X)
    np.testing.assert_allclose(host(got), want, rtol=1e-12)


def test_structures_and_keywords():
    @gg.checkpoint
    def f(p, *, scale=1.0):
        return {"y": p["a"] * p["b"] * scale, "z": None}

    def loss(p):
        return np.sum(f(p, scale=3.0)["y"])

    g = gg.grad(loss)({"a": X, "b": 2 * X})
    np.testing.assert_allclose(g["a"], 6 * X)
    np.testing.assert_allclose(g["b"], 3 * X)


def test_closed_over_arrays_receive_gradients():
    def loss(w, x):
        return np.sum(gg.checkpoint(lambda x: np.sin(w * x) * w)(x))

    got = gg.grad(loss, (0, 1))(2 * X, X)
    want = gg.grad(lambda w, x: np.sum(np.sin(w * x) * w), (0, 1))(2 * X, X)
    np.testing.assert_allclose(got, want, rtol=1e-12)


def test_pull_again():
    _, pull = gg.vjp(nested(block), X)
    first, second = pull(X)[0], pull(X)[0]
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(gg.vmap(pull)(np.eye(3))[0], gg.jacrev(plain(block))(X), rtol=1e-12)


def test_backward_of_arrays():
    def gradient(wrap, **options):
        w = gg.Array(X, requires_grad=True)
        v = gg.Array(2 * X, requires_grad=True)
        loss = np.sum(wrap(lambda x: np.sin(x * v))(w) * w)  # v is closed over
        loss.backward(**options)
        return w, v, loss

    want_w, want_v, _ = gradient(lambda f: f)
    w, v, loss = gradient(gg.checkpoint, retain_graph=True)
    np.testing.assert_allclose(w.grad.numpy(), want_w.grad.numpy())
    np.testing.assert_allclose(v.grad.numpy(), want_v.grad.numpy())
    loss.backward()
    np.testing.assert_allclose(w.grad.numpy(), 2 * want_w.grad.numpy())
    with pytest.raises(gg.TapeError, match="retain_graph"):
        loss.backward()


def test_backward_of_arrays_twice():
    def second(wrap):
        w = gg.Array(X, requires_grad=True)
        np.sum(wrap(lambda x: np.sin(x) * x * w)(w)).backward(create_graph=True)
        g, w.grad = w.grad, None
        np.sum(g * g).backward()
        return w.grad.numpy()

    np.testing.assert_allclose(second(gg.checkpoint), second(lambda f: f), rtol=1e-12)
    np.testing.assert_allclose(
        second(lambda f: gg.checkpoint(lambda x: gg.checkpoint(f)(x))),
        second(lambda f: f),
        rtol=1e-12,
    )


def held_bytes(loss):
    """Bytes of the residual arrays that the graph behind ``loss`` keeps, each buffer once."""
    found, seen, stack = {}, set(), [loss._payload]
    while stack:
        thing = stack.pop()
        if id(thing) in seen or thing is None:
            continue
        seen.add(id(thing))
        if isinstance(thing, np.ndarray):
            found[id(thing)] = thing.nbytes
        elif isinstance(thing, gg.Array):
            stack += [thing._value, thing._payload]
        elif isinstance(thing, tuple | list):
            stack += thing
        elif isinstance(thing, dict):
            stack += thing.values()
        elif hasattr(thing, "region"):
            stack.append(thing.region)
        elif hasattr(thing, "_function"):
            stack += [thing._args, thing._made, thing._outer]
        elif hasattr(thing, "parents"):
            stack += thing.parents
            if not isinstance(thing, Leaf):
                stack.append(thing.saved)
    return sum(found.values())


def test_residuals_are_not_kept():
    def chain(h):
        return np.tanh(np.sin(np.exp(np.tanh(h))))

    def four(f, h):
        for _ in range(4):
            h = f(h)
        return np.sum(h)

    def run(f):
        w = gg.Array(np.full(1000, 0.3), requires_grad=True)
        loss = f(w)
        held = held_bytes(loss)
        loss.backward()
        return held // w.nbytes, w.grad.numpy()

    kept, want = run(lambda w: four(chain, w))
    assert kept == 4 * 3  # tanh's output, exp's (which is sin's input too) and tanh's
    kept, got = run(lambda w: four(gg.checkpoint(chain), w))
    assert kept == 4  # the input of each region
    np.testing.assert_allclose(got, want, rtol=1e-12)
    kept, got = run(gg.checkpoint(lambda w: four(gg.checkpoint(chain), w)))
    assert kept == 1  # the inner regions' inputs are made again too
    np.testing.assert_allclose(got, want, rtol=1e-12)


def test_runs_the_function_once_more():
    calls = []

    def f(x):
        calls.append(1)
        return np.sin(np.sin(np.sin(x)))

    gg.grad(lambda x: np.sum(gg.checkpoint(f)(x)))(X)
    assert len(calls) == 2
    calls.clear()
    gg.checkpoint(f)(X)
    assert len(calls) == 1


def test_another_function_the_second_time():
    calls = []

    def f(x):
        calls.append(1)
        return np.sin(np.sin(x)) if len(calls) == 1 else 2.0 + x

    with pytest.raises(gg.TapeError, match="must do the same each time"):
        gg.grad(lambda x: np.sum(gg.checkpoint(f)(x)))(X)
    assert state.depth == 0
    assert state.region is None


def test_under_no_grad():
    w = gg.Array(X, requires_grad=True)
    with gg.no_grad():
        assert not gg.checkpoint(block)(w)._trace
        got = gg.grad(lambda x: np.sum(gg.checkpoint(block)(x)))(X)
    np.testing.assert_allclose(got, gg.grad(lambda x: np.sum(block(x)))(X))
    # The second run records as the first did, though it happens where nothing records.
    loss = np.sum(gg.checkpoint(block)(w))
    with gg.no_grad():
        loss.backward()
    np.testing.assert_allclose(w.grad.numpy(), got)
