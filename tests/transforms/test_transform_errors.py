"""Wrong use of a transform has its own clear error, and the next call works."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import gpugrad as gg
from gpugrad.core.trace import state

X = np.array([0.5, -1.0, 2.0])
I3 = np.array([1, 2, 3])


@pytest.fixture(autouse=True)
def next_call_works():
    yield
    assert state.depth == 0
    assert state.quiet == -1
    assert state.region is None
    np.testing.assert_array_equal(gg.vmap(gg.grad(lambda x: x * x))(X), 2 * X)


def total(x):
    return np.sum(x)


CASES = {
    "integers": (
        lambda: gg.grad(total)(I3),
        TypeError,
        r"grad: argument 0 has dtype int64.*astype\(float\), or write 3.0 for 3",
    ),
    "an int": (lambda: gg.grad(lambda x: x * x)(3), TypeError, "argument 0 has dtype int"),
    "booleans": (lambda: gg.grad(total)(X > 0), TypeError, "argument 0 has dtype bool"),
    "integers in the second argument": (
        lambda: gg.jvp(lambda x, y: x * y, (X, I3), (X, I3)),
        TypeError,
        "jvp: argument 1 has dtype int",
    ),
    "integers in vjp": (lambda: gg.vjp(total, I3), TypeError, "vjp: argument 0 has dtype int"),
    "integers in jacfwd": (lambda: gg.jacfwd(total)(I3), TypeError, "argument 0 has dtype int"),
    "a string": (lambda: gg.grad(total)({"a": "b"}), TypeError, "argument 0 holds a str"),
    "no scalar": (
        lambda: gg.grad(lambda x: x)(X),
        TypeError,
        r"must return one number, it returned shape \(3,\). Reduce it with np.mean",
    ),
    "no scalar that does not depend on x": (
        lambda: gg.grad(lambda x: X)(X),
        TypeError,
        r"must return one number, it returned shape \(3,\)",
    ),
    "None": (
        lambda: gg.grad(lambda x: None)(X),
        TypeError,
        r"grad: the function must return one array, it returned None \(is a return missing\?\)",
    ),
    "None in vjp": (lambda: gg.vjp(lambda x: None, X), TypeError, "vjp: .* it returned None"),
    "None in jacrev": (lambda: gg.jacrev(lambda x: None)(X), TypeError, "it returned None"),
    "None in jvp": (lambda: gg.jvp(lambda x: None, (X,), (X,)), TypeError, "jvp: .*None"),
    "None in elementwise_grad": (
        lambda: gg.elementwise_grad(lambda x: None)(X),
        TypeError,
        "elementwise_grad: .*None",
    ),
    "a tuple": (lambda: gg.grad(lambda x: (total(x), x))(X), TypeError, "it returned a tuple"),
    "a string out": (lambda: gg.vjp(lambda x: "a", X), TypeError, "it returned a str"),
    "complex": (
        lambda: gg.grad(lambda x: total(x) * 1j)(X),
        TypeError,
        "must return a real number, it returned complex128.*holomorphic_grad",
    ),
    "complex in elementwise_grad": (
        lambda: gg.elementwise_grad(lambda x: x * 1j)(X),
        TypeError,
        "elementwise_grad: the function must return a real number, it returned complex128",
    ),
    "no pair": (
        lambda: gg.grad(total, has_aux=True)(X),
        TypeError,
        r"has_aux=True the function must return \(value, aux\)",
    ),
    "no pair in jvp": (
        lambda: gg.jvp(total, (X,), (X,), has_aux=True),
        TypeError,
        r"jvp: with has_aux=True the function must return \(value, aux\)",
    ),
    "argnums": (
        lambda: gg.grad(total, 1)(X),
        ValueError,
        "grad: argnums=1 for a call with 1 argument",
    ),
    "argnums of several": (lambda: gg.grad(total, (0, -2))(X), ValueError, r"argnums=\(0, -2\)"),
    "argnums of jacobian": (lambda: gg.jacobian(total, 2)(X), ValueError, "jacrev: argnums=2"),
    "argnum of hvp": (lambda: gg.hvp(total, 1)(X, X), ValueError, "hvp: argnums=1"),
    "jacrev of complex outputs": (
        lambda: gg.jacrev(lambda x: x * 1j)(X),
        TypeError,
        "jacrev: with real inputs and complex outputs .* use jacfwd",
    ),
    "jacfwd of complex inputs": (
        lambda: gg.jacfwd(lambda x: np.abs(x))(X * 1j),
        TypeError,
        "jacfwd: with real outputs and complex inputs .* use jacrev",
    ),
    "cotangent's shape": (
        lambda: gg.vjp(np.sin, X)[1](X[:2]),
        ValueError,
        r"vjp: a cotangent of shape \(2,\) for an output of shape \(3,\)",
    ),
    "cotangent's structure": (
        lambda: gg.vjp(np.sin, X)[1]((X, X)),
        ValueError,
        "vjp: a cotangent of structure",
    ),
    "tangent's shape": (
        lambda: gg.jvp(np.sin, (X,), (X[:2],)),
        ValueError,
        r"jvp: a tangent of shape \(2,\) for a primal of shape \(3,\)",
    ),
    "tangent's structure": (
        lambda: gg.jvp(np.sin, (X,), (X, X)),
        ValueError,
        "jvp: tangents of structure",
    ),
    "tangents without a tuple": (
        lambda: gg.jvp(np.sin, X, X),
        TypeError,
        "jvp: primals and tangents are tuples or lists",
    ),
    "linearize's structure": (
        lambda: gg.linearize(np.sin, X)[1](X, X),
        ValueError,
        "linearize: tangents of structure",
    ),
    "vector of hvp": (
        lambda: gg.hvp(total)(X, X[:2]),
        ValueError,
        r"tangent of shape \(2,\)",
    ),
    "sizes": (
        lambda: gg.vmap(np.add)(X, np.ones(4)),
        ValueError,
        r"vmap: the mapped axes have different lengths, \[3, 4\]",
    ),
    "nothing mapped": (
        lambda: gg.vmap(np.sin, None)(X),
        ValueError,
        "no argument is mapped: give one of in_axes an axis",
    ),
    "in_axes too long": (
        lambda: gg.vmap(np.sin, (0, 0))(X),
        ValueError,
        r"in_axes=\(0, 0\) has 2 entries for 1 argument",
    ),
    "in_axes of another structure": (
        lambda: gg.vmap(lambda d: d["a"], ({"b": 0},))({"a": X}),
        ValueError,
        "vmap: in_axes=.* does not fit the structure",
    ),
    "out_axes of another structure": (
        lambda: gg.vmap(lambda x: (x, x), 0, (0, 0, 0))(X),
        ValueError,
        "vmap: out_axes=.* does not fit the structure",
    ),
    "a number to map": (
        lambda: gg.vmap(np.sin)(3.0),
        ValueError,
        "a number has no axis to map over: give it in_axes=None",
    ),
    "an axis out of range": (lambda: gg.vmap(np.sin, 1)(X), ValueError, "axis 1"),
    "an output axis out of range": (lambda: gg.vmap(np.sin, 0, 4)(X), ValueError, "axis 4"),
    "out_axes=None": (
        lambda: gg.vmap(np.sin, 0, None)(X),
        ValueError,
        "out_axes=None for an output that depends on a mapped argument",
    ),
    "a condition under vmap": (
        lambda: gg.vmap(lambda x: x if x > 0 else -x)(X),
        TypeError,
        r"bool: .* under vmap or eval_shape is not one array; use where\(\)",
    ),
    "float under vmap": (lambda: gg.vmap(lambda x: float(x > 0))(X), TypeError, "under vmap"),
    "item under vmap": (lambda: gg.vmap(lambda x: x.item())(X), TypeError, "under vmap"),
    "float under grad": (
        lambda: gg.grad(lambda x: float(x) ** 2)(2.0),
        TypeError,
        "would lose its gradient",
    ),
    "asarray under grad": (
        lambda: gg.grad(lambda x: np.sum(np.asarray(x)))(X),
        TypeError,
        "its gradient would be lost",
    ),
    "a function without a rule": (
        lambda: gg.grad(lambda x: np.sum(np.spacing(x)))(X),
        TypeError,
        "spacing has no rule in gpugrad",
    ),
    "an error of the user's": (
        lambda: gg.vmap(gg.grad(lambda x: [][1]))(X),
        IndexError,
        "list index out of range",
    ),
    "an error in a checkpoint": (
        lambda: gg.grad(gg.checkpoint(lambda x: [][1]))(X),
        IndexError,
        "list index out of range",
    ),
    "an error of an operation": (
        lambda: gg.grad(lambda x: np.sum(x @ np.ones((2, 2))))(X),
        ValueError,
        "matmul",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_errors(case):
    run, kind, message = CASES[case]
    with pytest.raises(kind, match=message):
        run()


LEAKS = {
    "grad": lambda f: gg.grad(f)(2.0),
    "vjp": lambda f: gg.vjp(f, 2.0),
    "jvp": lambda f: gg.jvp(f, (2.0,), (1.0,)),
    "vmap": lambda f: gg.vmap(f)(X),
    "grad in vmap": lambda f: gg.vmap(gg.grad(f))(X),
}


@pytest.mark.parametrize("name", LEAKS)
def test_leaked_arrays(name):
    kept = []

    def f(x):
        kept.append(x * x)
        return x * x

    LEAKS[name](f)
    (leaked,) = kept
    later = {
        "alone": lambda: leaked * 2,
        "with a constant": lambda: np.add(X, leaked),
        "under grad": lambda: gg.grad(lambda y: y * leaked)(3.0),
        "under vmap": lambda: gg.vmap(lambda y: y * leaked)(X),
        "under jvp": lambda: gg.jvp(lambda y: y * leaked, (3.0,), (1.0,)),
        "as a method": lambda: leaked.sum(),
    }
    for use in later.values():
        with pytest.raises(gg.LeakedBoxError, match="an array of a transform that has ended"):
            use()
        assert state.depth == 0


def test_no_grad():
    w = gg.Array(X, requires_grad=True)
    with gg.no_grad():
        np.testing.assert_array_equal(gg.grad(lambda x: np.sum(x * x))(X), 2 * X)
        np.testing.assert_array_equal(gg.jvp(np.square, (X,), (X,))[1], 2 * X * X)
        g = gg.grad(lambda x: np.sum(x * x * w))(X)
        assert type(g) is np.ndarray  # nothing is recorded for the w outside
        np.testing.assert_allclose(g, 2 * X * X)
    with pytest.raises(gg.TapeError), gg.no_grad():
        (w * 2).backward(X)

    def f(x):
        with gg.no_grad():
            y = x * x
        return np.sum(x * y)

    np.testing.assert_array_equal(gg.grad(f)(X), X * X)


def test_threads_are_apart():
    """Each thread has its own nesting of transforms."""
    barrier = threading.Barrier(2)
    found = {}

    def work(n):
        def f(x):
            barrier.wait(10)
            y = gg.grad(lambda z: z * z * x)(float(n))
            barrier.wait(10)
            return y * x

        found[n] = gg.grad(f)(3.0)

    threads = [threading.Thread(target=work, args=(n,)) for n in (1, 2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert found == {1: 12.0, 2: 24.0}
