"""Primitives with HIPS autograd's rules, and types of one's own."""

from __future__ import annotations

from functools import partial

import numpy
import pytest

import gpugrad.compat.autograd.numpy as np
from gpugrad.compat.autograd import (
    deriv,
    elementwise_grad,
    grad,
    hessian,
    jacobian,
    make_vjp,
)
from gpugrad.compat.autograd.core import primitive_jvps, primitive_vjps
from gpugrad.compat.autograd.extend import (
    Box,
    JVPNode,
    SparseObject,
    VJPNode,
    VSpace,
    def_linear,
    defjvp,
    defjvp_argnum,
    defjvp_argnums,
    defvjp,
    defvjp_argnum,
    defvjp_argnums,
    notrace_primitive,
    primitive,
    register_notrace,
    vspace,
)
from gpugrad.compat.autograd.test_util import check_grads, check_jvp, check_vjp
from gpugrad.device import to_device

X = numpy.array([0.5, -1.0, 2.0])
W = numpy.array([[0.3, 0.8, -0.4], [1.5, 0.2, 0.7]])


def blend(w, x, k=2.0):
    assert not isinstance(w, Box)
    assert not isinstance(x, Box)
    return w @ x + k * x[0] ** 2


def pull_w(ans, w, x, k=2.0):
    return lambda g: np.outer(g, x)


def pull_x(ans, w, x, k=2.0):
    return lambda g: np.dot(g, w) + np.concatenate((2 * k * x[:1], 0 * x[1:])) * np.sum(g)


def push_w(t, ans, w, x, k=2.0):
    return np.dot(t, x)


def push_x(t, ans, w, x, k=2.0):
    return np.dot(w, t) + 2 * k * x[0] * t[0]


def by_argnum(argnum, ans, args, kwargs):
    return (pull_w, pull_x)[argnum](ans, *args, **kwargs)


def by_argnums(argnums, ans, args, kwargs):
    pulls = [by_argnum(n, ans, args, kwargs) for n in argnums]
    return lambda g: (pull(g) for pull in pulls)


def push_argnum(argnum, t, ans, args, kwargs):
    return (push_w, push_x)[argnum](t, ans, *args, **kwargs)


def push_argnums(argnums, ts, ans, args, kwargs):
    return sum(push_argnum(n, t, ans, args, kwargs) for n, t in zip(argnums, ts, strict=True))


RULES = {
    "defvjp": lambda f: defvjp(f, pull_w, pull_x),
    "defvjp argnums=": lambda f: defvjp(f, pull_x, pull_w, argnums=(1, 0)),
    "defvjp_argnum": lambda f: defvjp_argnum(f, by_argnum),
    "defvjp_argnums": lambda f: defvjp_argnums(f, by_argnums),
    "defjvp": lambda f: defjvp(f, push_w, push_x),
    "defjvp_argnum": lambda f: defjvp_argnum(f, push_argnum),
    "defjvp_argnums": lambda f: defjvp_argnums(f, push_argnums),
}


@pytest.mark.parametrize("define", RULES)
def test_rules(define, device):
    """Each way to state a rule serves both modes to second order, and Jacobians and Hessians."""
    f = primitive(blend)
    RULES[define](f)
    w, x = to_device(W, device), to_device(X, device)
    check_grads(f, (0, 1))(w, x)
    check_grads(partial(f, k=3.0), 1)(w, x)
    want = W + 4 * X[0] * numpy.array([[1.0, 0, 0]])
    numpy.testing.assert_allclose(host(jacobian(f, 1)(w, x)), want)
    numpy.testing.assert_allclose(
        host(hessian(lambda x: np.sum(np.sin(f(w, x))))(x)),
        hessian(lambda x: np.sum(np.sin(blend_traced(W, x))))(X),
        rtol=1e-10,
        atol=1e-12,
    )


def blend_traced(w, x):
    return np.dot(w, x) + 2 * x[0] ** 2


def host(x):
    import gpugrad as gg

    return to_device(x, gg.device("cpu"))


def test_a_wrong_rule_is_found():
    @primitive
    def double(x):
        return 2 * x

    defvjp(double, lambda ans, x: lambda g: g * 2.001)
    with pytest.raises(AssertionError, match=r"\(VJP\) check of double failed"):
        check_vjp(double, 1.0)
    defjvp(double, lambda t, ans, x: t * 2.001)
    with pytest.raises(AssertionError, match="Value mismatch"):
        check_jvp(double, 1.0)
    defvjp(double, lambda ans, x: lambda g: wrong(g) * 2)
    wrong = primitive(lambda x: x)
    defvjp(wrong, lambda ans, x: lambda g: g * 1.001)
    with pytest.raises(AssertionError, match=r"\(VJP\) check of vjp_double failed"):
        check_grads(double, modes=["rev"])(1.0)


def test_containers_in_and_out():
    @primitive
    def both(pair, named):
        a, b = pair
        return {"sum": a + b * named["k"], "product": a * b}, a - b

    def rule(ans, pair, named):
        a, b = pair

        def pull(g):
            outs, d = g
            ga = outs["sum"] + outs["product"] * b + d
            gb = outs["sum"] * named["k"] + outs["product"] * a - d
            return ga, gb

        return pull

    defvjp(both, rule, lambda ans, pair, named: lambda g: {"k": np.sum(g[0]["sum"] * pair[1])})

    def loss(pair, named):
        first, second = both(pair, named)
        return np.sum(first["sum"] * second) + np.sum(first["product"])

    check_grads(loss, (0, 1))((X, 2 * X + 1), {"k": 3.0})
    check_grads(lambda pair: both(pair, {"k": 1.5})[1])((X, X))
    raw = both((1.0, 2.0), {"k": 3.0})
    assert raw == ({"sum": 7.0, "product": 2.0}, -1.0)


def test_none_same_and_linear():
    f = primitive(lambda x, y: x * y)
    defvjp(f, lambda ans, x, y: lambda g: g * y, None)
    defjvp(f, "same", None)
    assert grad(f, (0, 1))(2.0, 3.0) == (3.0, 0.0)
    assert deriv(f, 0)(2.0, 3.0) == 3.0
    assert deriv(f, 1)(2.0, 3.0) == 0.0
    p = primitive(lambda x, y: x * y)
    def_linear(p)
    check_grads(p, (0, 1), modes=["fwd"])(2.0, 3.0)


def test_missing_rules():
    f = primitive(lambda x, y: x * y)
    f.__name__ = "f"
    for transform in (grad, deriv):
        with pytest.raises(NotImplementedError, match=r"is not defined"):
            transform(f)(1.0, 2.0)
    defvjp(f, lambda ans, x, y: lambda g: g * y)
    with pytest.raises(NotImplementedError, match="VJP of f for argument 1 is not defined"):
        grad(f, 1)(1.0, 2.0)
    with pytest.raises(TypeError, match="Bad VJP 'same'"):
        defvjp(f, "same")
    for define in (defvjp, defjvp, defvjp_argnum, defjvp_argnums):
        with pytest.raises(TypeError, match="made with primitive"):
            define(np.sin, None)
    assert f in primitive_vjps
    assert f not in primitive_jvps


def test_sparse_cotangents():
    @primitive
    def first(x):
        return x[0]

    def rule(ans, x):
        def pull(g):
            def add(out):
                out[0] += g
                return out

            return SparseObject(vspace(x), add)

        return pull

    defvjp(first, rule)
    numpy.testing.assert_array_equal(grad(lambda x: first(x) * first(x))(X), [2 * X[0], 0, 0])


def test_methods_are_primitives():
    class Scale:
        def __init__(self, k):
            self.k = k

        @primitive
        def __call__(self, x):
            return self.k * x

    defvjp(Scale.__call__, lambda ans, self, x: lambda g: g * self.k, argnums=(1,))
    assert grad(Scale(3.0))(2.0) == 3.0


def test_user_code_sees_arrays_in_jacobians():
    """A rule that leaves NumPy's world works in a Jacobian too, where a batch would not."""

    @primitive
    def cube(x):
        return x**3

    def rule(ans, x):
        def pull(g):
            assert type(g) is numpy.ndarray
            return numpy.array([float(v) for v in g]) * 3 * x**2

        return pull

    defvjp(cube, rule)
    numpy.testing.assert_allclose(jacobian(cube)(X), numpy.diag(3 * X**2))


def test_looking_through():
    @notrace_primitive
    def count(x):
        assert not isinstance(x, Box)
        return float(len(x))

    numpy.testing.assert_array_equal(grad(lambda x: np.sum(x) * count(x))(X), [3.0] * 3)

    @primitive
    def size(x):
        return x * 0 + 5.0

    register_notrace(VJPNode, size)
    register_notrace(JVPNode, size)
    defvjp(size, lambda ans, x: lambda g: g * 1000)
    assert grad(lambda x: x * size(x))(2.0) == 5.0
    defjvp(size, lambda t, ans, x: t * 1000)
    assert deriv(lambda x: x * size(x))(2.0) == 5.0


class Poly:
    """A polynomial, a type of one's own."""

    def __init__(self, terms):
        self.terms = terms

    @primitive
    def __call__(self, x):
        return sum(c * x**n for n, c in self.terms.items())

    def __add__(self, other):
        return vspace(self).add(self, other)

    def __mul__(self, a):
        return vspace(self).scalar_mul(self, a)


class PolyBox(Box, Poly):
    terms = property(lambda self: self._value.terms)


PolyBox.register(Poly)


class PolySpace(VSpace):
    def zeros(self):
        return Poly({})

    def randn(self):
        return Poly(dict(enumerate(numpy.random.randn(3))))

    def _add(self, p, q):
        return Poly({n: p.terms.get(n, 0) + q.terms.get(n, 0) for n in {*p.terms, *q.terms}})

    def _scalar_mul(self, p, a):
        return Poly({n: c * a for n, c in p.terms.items()})

    def _inner_prod(self, p, q):
        return sum(c * q.terms.get(n, 0.0) for n, c in p.terms.items())


PolySpace.register(Poly)
defvjp(
    Poly.__call__,
    lambda ans, p, x: lambda g: Poly({n: x**n for n in range(3)}) * g,
    lambda ans, p, x: lambda g: g * Poly({n - 1: n * c for n, c in p.terms.items() if n})(x),
)


def test_own_type():
    p = Poly({0: 1.0, 2: 3.0})
    g = grad(lambda p: p(2.0) + 10 * p(1.0))(p)
    assert type(g) is Poly
    assert g.terms == {0: 11.0, 1: 12.0, 2: 14.0}
    assert grad(p)(2.0) == 12.0
    assert grad(grad(p))(2.0) == 6.0
    scaled, pull = make_vjp(lambda p: (p * 2.0)(2.0) + (p + p)(1.0))(p)[::-1]
    assert scaled == 34.0
    assert pull(1.0).terms == {0: 4.0, 1: 6.0, 2: 10.0}
    mixed = grad(lambda args: args["p"](args["x"]))({"p": p, "x": 2.0})
    assert mixed["x"] == 12.0
    assert mixed["p"].terms == {0: 1.0, 1: 2.0, 2: 4.0}
    assert grad(lambda p: 1.0 + 0 * p(1.0), 0)(p).terms[2] == 0
    check_vjp(lambda p: p(2.0) ** 2, p)


def test_gradient_descent_in_a_space_of_ones_own():
    goal = {-1.0: 2.0, 0.0: 1.0, 1.0: 4.0}

    def loss(p):
        return sum((p(x) - y) ** 2 for x, y in goal.items())

    p = Poly({})
    for _ in range(400):
        p = p + grad(loss)(p) * -0.1
    for x, y in goal.items():
        assert p(x) == pytest.approx(y, abs=1e-4)


SPACES = {
    "float": 0.5,
    "array": numpy.zeros((2, 3)),
    "complex": 1j * numpy.zeros(2),
    "tree": {"a": [1.0, (numpy.zeros(2),)], "b": 1j},
}


@pytest.mark.parametrize("name", SPACES)
def test_vector_spaces(name):
    vs = vspace(SPACES[name])
    basis = list(vs.standard_basis())
    assert len(basis) == vs.size
    for i, e in enumerate(basis):
        for j, f in enumerate(basis):
            assert vs.inner_prod(e, f) == (i == j)
    x, y = vs.randn(), vs.randn()
    total = vs.zeros()
    for e in basis:
        total = vs.mut_add(total, vs.scalar_mul(e, float(vs.inner_prod(e, x))))
    assert vs.inner_prod(y, total) == pytest.approx(vs.inner_prod(y, x))
    assert vspace(vs.add(x, y)) == vs
    assert vspace(vs.ones()) == vs == vspace(vs.covector(x))
    assert float(vs.inner_prod(vs.ones(), vs.ones())) == vs.size
    check_grads(vs.add, (0, 1))(x, y)
    check_grads(vs.inner_prod, (0, 1))(x, y)
    check_grads(vs.scalar_mul, (0, 1))(x, 0.7)


def test_no_vector_space():
    for value in (3, "x", numpy.arange(3), True, object()):
        with pytest.raises(TypeError, match="no vector space"):
            vspace(value)
    assert vspace(numpy.zeros(2)) != vspace(numpy.zeros(3))
    assert vspace(numpy.zeros(2)) != vspace(numpy.zeros(2) * 1j)
    with pytest.raises(NotImplementedError, match="VSpace does not define zeros"):
        VSpace(0).zeros()


def test_deprecated_methods():
    f = primitive(lambda x, y: x * y)
    with pytest.warns(DeprecationWarning, match="deprecated: use"):
        f.defgrad(lambda ans, x, y: lambda g: y * g)
    with pytest.warns(DeprecationWarning, match="deprecated: use"):
        f.defvjp(lambda g, ans, vs, gvs, x, y: x * g, argnum=1)
    assert grad(f, (0, 1))(2.0, 3.0) == (3.0, 2.0)
    with pytest.warns(DeprecationWarning, match="deprecated: use"):
        f.defvjp_is_zero([0])
    assert grad(f)(2.0, 3.0) == 0.0


def test_a_real_argument_has_a_real_gradient():
    f = primitive(lambda x: x * (1 + 2j))
    defvjp(f, lambda ans, x: lambda g: g * (1 + 2j))
    g = grad(lambda x: np.sum(np.real(f(x) * 1j)))(X)
    assert g.dtype == float
    numpy.testing.assert_array_equal(g, [-2.0] * 3)


def test_elementwise_of_a_primitive(device):
    f = primitive(lambda x: x**3)
    defvjp(f, lambda ans, x: lambda g: 3 * x**2 * g)
    x = to_device(X, device)
    numpy.testing.assert_allclose(host(elementwise_grad(elementwise_grad(f))(x)), 6 * X)
