"""The rooms beside the transforms: namespaces, checks, flattening, optimizers, traces."""

from __future__ import annotations

import importlib
import inspect
import warnings

import autograd.misc.tracers as hips_tracers
import autograd.numpy as hips_numpy
import numpy
import pytest

import gpugrad as gg
import gpugrad.compat.autograd.numpy as np
import gpugrad.compat.autograd.numpy.random as npr
from gpugrad.compat.autograd import elementwise_grad, grad, jacobian
from gpugrad.compat.autograd.misc import const_graph, flatten
from gpugrad.compat.autograd.misc.fixed_points import fixed_point
from gpugrad.compat.autograd.misc.flatten import flatten_func
from gpugrad.compat.autograd.misc.optimizers import adam, rmsprop, sgd
from gpugrad.compat.autograd.misc.tracers import full_graph
from gpugrad.compat.autograd.numpy.numpy_boxes import ArrayBox
from gpugrad.compat.autograd.numpy.numpy_vjps import unbroadcast, unbroadcast_f
from gpugrad.compat.autograd.test_util import (
    check_equivalent,
    check_grads,
    check_jvp,
    check_vjp,
    combo_check,
    scalar_close,
)
from gpugrad.compat.autograd.tracer import Box, Node, getval, isbox, trace
from gpugrad.compat.autograd.util import func, quick_grad_check, subval, subvals
from gpugrad.compat.autograd.wrap_util import unary_to_nary
from gpugrad.device import namespace, to_device

X = numpy.array([0.5, -1.0, 2.0])
CPU = gg.device("cpu")


def host(x):
    return numpy.asarray(to_device(x, CPU))


ROOMS = {
    "": None,
    "extend": None,
    "test_util": ["check_grads", "check_vjp", "check_jvp", "check_equivalent", "combo_check"],
    "builtins": ["isinstance", "type", "tuple", "list", "dict"],
    "misc": None,
    "misc.flatten": ["flatten", "flatten_func"],
    "misc.fixed_points": ["fixed_point"],
    "misc.tracers": ["const_graph", "full_graph", "FullGraphNode"],
    "misc.optimizers": ["sgd", "rmsprop", "adam", "unflatten_optimizer"],
    "util": ["func", "subval", "subvals"],
    "wrap_util": ["unary_to_nary", "wraps", "get_name", "get_doc"],
    "tracer": ["Box", "Node", "trace", "primitive", "isbox", "getval", "new_box"],
    "core": ["make_vjp", "make_jvp", "vspace", "VSpace", "primitive_vjps", "primitive_jvps"],
}


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_is_here(room):
    """By the installed library itself, where there is one; positional parameters in its order."""
    autograd = pytest.importorskip("autograd")
    dot = f".{room}" if room else ""
    theirs = importlib.import_module(f"{autograd.__name__}{dot}")
    ours = importlib.import_module(f"gpugrad.compat.autograd{dot}")
    names = ROOMS[room] or [
        n for n, v in vars(theirs).items() if n[0] != "_" and not inspect.ismodule(v)
    ]
    assert len(names) > 1 or room == "misc.fixed_points"
    for name in names:
        a, b = getattr(theirs, name), getattr(ours, name)
        assert callable(a) == callable(b)
        if inspect.isfunction(a) and inspect.isfunction(b):
            count = [
                len([p for p in inspect.signature(f).parameters.values() if p.kind in (0, 1)])
                for f in (a, b)
            ]
            assert count[0] <= count[1] or "args" in inspect.signature(b).parameters, name


def test_functions_are_numpys_on_plain_arrays():
    assert type(np.sin(X)) is type(np.zeros(3)) is numpy.ndarray
    assert type(np.sum(X)) is numpy.float64
    assert np.float64 is numpy.float64
    assert np.pi == numpy.pi
    assert np.newaxis is None
    out = numpy.empty(3)
    assert np.sin(X, out=out) is out
    numpy.testing.assert_array_equal(np.sin([0.0, 1.0]), numpy.sin([0.0, 1.0]))
    numpy.testing.assert_array_equal(np.r_[X, 1.0, 2:4], numpy.r_[X, 1.0, 2:4])
    assert np.where(True, 1, 2) == 1
    assert type(np.where(True, 1, 2)) is int
    numpy.testing.assert_array_equal(np.where(X > 0, x=X, y=0.0), numpy.maximum(X, 0))
    assert set(dir(np)) > {"sin", "linalg", "fft", "random"}
    with pytest.raises(AttributeError):
        np.no_such_function
    with pytest.raises(AttributeError):
        np.linalg.no_such_function


def test_new_arrays_are_made_on_the_default_device(device):
    xp = namespace(device)
    with device:
        for made in (
            np.zeros((2, 3)),
            np.ones(3),
            np.arange(3),
            np.eye(2),
            np.array([[1.0, 2.0], [3.0, 4.0]]),
            np.linspace(0, 1, 5),
            npr.RandomState(0).randn(2) if device.kind == "cpu" else npr.rand(2),
            npr.normal(size=(2,)),
        ):
            assert type(made) is xp.ndarray
        x = np.ones(3)
        g = grad(lambda x: np.sum(np.zeros(3) + np.array([x[0], 2.0, x[1]]) * np.arange(3.0)))(x)
        numpy.testing.assert_array_equal(host(g), [0.0, 2.0, 0.0])


def test_functions_of_several_arrays_take_numbers_beside_lists():
    for mine, theirs in (
        (np.broadcast_arrays(3.0, [1, 2]), numpy.broadcast_arrays(3.0, [1, 2])),
        (np.meshgrid(2.0, [1, 2]), numpy.meshgrid(2.0, [1, 2])),
        (np.stack([[1, 2], [3, 4]], 1), numpy.stack([[1, 2], [3, 4]], 1)),
    ):
        numpy.testing.assert_array_equal(mine, theirs)


LISTS = {
    "dot": lambda x: np.dot(x, [1.0, 2.0, 3.0]),
    "multiply": lambda x: np.multiply([1.0, 2.0, 3.0], x),
    "sum of a list": lambda x: np.sum([x[0], x[1] * x[2]]),
    "array": lambda x: np.array([[x[0], 1.0], [2.0, x[1]]]) ** 2,
    "stack": lambda x: np.stack([x, x * 2, [1.0, 2.0, 3.0]]),
    "concatenate": lambda x: np.concatenate([x, [1.0], 2 * x]),
    "where": lambda x: np.where([True, False, True], x, [1.0, 2.0, 3.0]),
    "einsum": lambda x: np.einsum("i,j->ij", x, [1.0, 2.0]),
    "r_": lambda x: np.r_[x, 2.0, x, 1:3],
    "c_": lambda x: np.c_[x, x**2, [1.0, 2.0, 3.0]],
    "make_diagonal": lambda x: np.make_diagonal(x, axis1=-1, axis2=-2),
    "keyword": lambda x: np.sum(a=x),
    "mean of numbers": lambda x: np.mean([x[0], 3.0, x[1]]),
    "hstack": lambda x: np.hstack((x, [1.0, 2.0])),
}


@pytest.mark.parametrize("name", LISTS)
def test_lists(name, device):
    f = LISTS[name]
    x = to_device(X, device)
    check_grads(f)(x)
    numpy.testing.assert_allclose(host(f(x)), f(X))


def test_checks_pass_and_fail():
    check_grads(np.sin, order=3)(0.5)
    check_grads(np.multiply, argnum=(0, 1), modes=["fwd"])(X, X)
    combo_check(np.sum, (0,))([X, numpy.ones((2, 3))], axis=[0, -1], keepdims=[True, False])
    assert scalar_close(1.0, 1.0 + 1e-7)
    assert not scalar_close(1.0, 1.001)
    with pytest.raises(ValueError, match="modes are 'fwd' and 'rev'"):
        check_grads(np.sin, modes=["reverse"])(0.5)
    kink = numpy.array([0.0])
    with pytest.raises(AssertionError, match="analytic"):
        check_vjp(lambda x: gg.stop_gradient(x) * x, kink + 1)
    with pytest.raises(AssertionError, match="Value mismatch"):
        check_jvp(lambda x: gg.stop_gradient(x) * x, kink + 1)
    with pytest.raises(AssertionError, match="VSpace mismatch"):
        check_equivalent(X, X.astype("f4"))
    with pytest.warns(DeprecationWarning, match="check_grads"):
        quick_grad_check(lambda x, y: x**2 + y, 1.0, (2.0,))


def test_flatten(device):
    tree = {"w": to_device(numpy.ones((2, 2)), device), "b": [3.0, (), (to_device(X, device),)]}
    vector, unflatten = flatten(tree)
    numpy.testing.assert_array_equal(host(vector), [3.0, *X, 1, 1, 1, 1])
    back = unflatten(vector * 2)
    assert back["b"][0] == 6.0
    assert back["b"][1] == ()
    numpy.testing.assert_array_equal(host(back["b"][2][0]), 2 * X)
    check_grads(lambda tree: flatten(tree)[0])(tree)
    check_grads(lambda v: unflatten(v)["b"][2][0] * unflatten(v)["w"][0, 0])(vector)
    assert flatten({})[0].shape == (0,)
    mixed, restore = flatten([numpy.ones(2, "f4"), 1j])
    assert [restore(mixed)[0].dtype, restore(mixed)[1].dtype] == ["f4", "c16"]
    f, _, start = flatten_func(lambda p: {"y": p["x"] * 2}, {"x": X})
    numpy.testing.assert_array_equal(f(start), 2 * X)


def test_fixed_point(device):
    a = to_device(numpy.array([2.0, 3.0]), device)

    def root(a):
        def newton(p):
            return lambda x: (x + p["a"] / x) / 2

        def distance(x, y):
            return np.max(np.abs(x - y))

        return fixed_point(newton, {"a": a}, a * 0 + 1, distance, 1e-12)

    numpy.testing.assert_allclose(host(root(a)), numpy.sqrt([2.0, 3.0]))
    numpy.testing.assert_allclose(
        host(elementwise_grad(root)(a)), numpy.array([2.0, 3.0]) ** -0.5 / 2
    )
    numpy.testing.assert_allclose(
        host(elementwise_grad(elementwise_grad(root))(a)), -(numpy.array([2.0, 3.0]) ** -1.5) / 4
    )


def test_fixed_point_of_many_steps_by_a_matrix_to_the_second_order(device):
    w, b = numpy.array([[0.3, -0.2], [0.1, 0.25]]), numpy.array([1.0, -2.0])
    along = to_device(numpy.array([[0.5, 2.0], [-1.0, 0.7]]), device)

    def step(a):
        return lambda x: np.dot(a[0], x) + a[1]

    def distance(x, y):
        return np.max(np.abs(x - y))

    def iterated(w, b):
        return np.sum(fixed_point(step, (w, b), b, distance, 1e-14) ** 3)

    def solved(w, b):
        return np.sum(np.linalg.solve(np.eye(2) - w, b) ** 3)

    both = to_device(w, device), to_device(b, device)
    for argnum in (0, 1):
        numpy.testing.assert_allclose(
            host(grad(iterated, argnum)(*both)), grad(solved, argnum)(w, b), rtol=1e-10
        )
    second = grad(lambda w, b: np.sum(grad(iterated)(w, b) * along), (0, 1))(*both)
    expected = grad(lambda w, b: np.sum(grad(solved)(w, b) * host(along)), (0, 1))(w, b)
    for found, right in zip(second, expected, strict=True):
        numpy.testing.assert_allclose(host(found), right, rtol=1e-9)


def test_fixed_point_traces_the_step_once_for_a_derivative():
    traced = []

    def step(a):
        def f(x):
            traced.append(isbox(x) or isbox(a))
            return (x + a / x) / 2

        return f

    grad(lambda a: fixed_point(step, a, 1.0, lambda x, y: abs(x - y), 1e-12))(2.0)
    assert sum(traced) == 1


@pytest.mark.parametrize("optimize", [sgd, rmsprop, adam])
def test_optimizers(optimize, device):
    goal = {"a": to_device(X, device), "b": [to_device(numpy.array(2.0), device)]}

    def loss(p, i):
        return np.sum((p["a"] - goal["a"]) ** 2) + (p["b"][0] - goal["b"][0]) ** 2

    start = {"a": goal["a"] * 0, "b": [goal["b"][0] * 0]}
    seen = []
    found = optimize(
        grad(loss),
        start,
        callback=lambda p, i, g: seen.append((i, sorted(p), sorted(g))),
        num_iters=300,
        step_size=0.05,
    )
    assert seen[299] == (299, ["a", "b"], ["a", "b"])
    assert len(seen) == 300
    numpy.testing.assert_allclose(host(found["a"]), X, atol=0.05)
    numpy.testing.assert_allclose(host(found["b"][0]), 2.0, atol=0.05)


def test_one_step_of_each_optimizer():
    def slope(x, i):
        return numpy.array([3.0])

    start = numpy.array([1.0])
    assert sgd(slope, start, num_iters=1, step_size=0.5, mass=0.8) == pytest.approx(0.7)
    want = 1 - 0.5 * 3 / (numpy.sqrt(0.9 + 0.1 * 9) + 1e-8)
    assert rmsprop(slope, start, num_iters=1, step_size=0.5) == pytest.approx(want)
    assert adam(slope, start, num_iters=1, step_size=0.5) == pytest.approx(0.5)


def test_const_graph():
    calls = []

    def f(scale, x, y):
        calls.append(1)
        return {"out": grad(lambda z: np.sin(z) * scale)(x * y), "same": 7}

    g = const_graph(f, 2.0)
    for x, y in ((0.5, 0.2), (1.0, -0.3)):
        got = g(x, y)
        assert got["out"] == pytest.approx(2 * numpy.cos(x * y))
        assert got["same"] == 7
    assert len(calls) == 1


class Printed(Node):
    def __init__(self, value, fun, args, kwargs, parent_argnums, parents):
        self.log = parents[0].log
        self.name = f"v{len(self.log)}"
        shown = list(args)
        for n, parent in zip(parent_argnums, parents, strict=True):
            shown[n] = parent.name
        self.log.append((self.name, fun.__name__, shown, float(value)))
        assert fun(*args, **kwargs) == value

    def initialize_root(self, log):
        self.log = log
        self.name = "x"


def test_traces_with_nodes_of_ones_own():
    log = []
    value, node = trace(Printed.new_root(log), lambda x: np.sin(x * 2.0) + x, 0.5)
    assert log == [
        ("v0", "multiply", ["x", 2.0], 1.0),
        ("v1", "sin", ["v0"], numpy.sin(1.0)),
        ("v2", "add", ["v1", "x"], numpy.sin(1.0) + 0.5),
    ]
    assert node.name == "v2"
    assert value == numpy.sin(1.0) + 0.5
    log.clear()
    trace(Printed.new_root(log), grad(lambda x: x * x * x), 2.0)
    assert "multiply" in [name for _, name, _, _ in log]
    with pytest.warns(UserWarning, match="independent of input"):
        assert trace(Printed.new_root(log), lambda x: 3.0, 0.5) == (3.0, None)


def test_the_full_graph_of_a_function(device):
    x, y = (to_device(v, device) for v in (X, X[:1]))
    node = full_graph(lambda x, y, power: np.sum(np.sin(x) * y) ** power, x, y, power=2)
    theirs = hips_tracers.full_graph(
        lambda x, y, power: hips_numpy.sum(hips_numpy.sin(x) * y) ** power, X, X[:1], power=2
    )
    numpy.testing.assert_allclose(host(node.value), theirs.value)
    names, todo, roots = [], [node], set()
    while todo:
        node = todo.pop()
        fun, _, _, parents = node.recipe
        names.append(fun.__name__)
        todo += [parent for _, parent in parents]
        roots |= set() if parents else {id(node)}
    assert names[:4] == ["square", "sum", "multiply", "getitem"]
    assert names[4:] == ["<lambda>", "sin", "getitem", "<lambda>"]
    assert len(roots) == 1
    with pytest.warns(UserWarning, match="independent"):
        assert full_graph(lambda x: 1.0, x) is None


def test_names_where_numpy_is_wrapped():
    from gpugrad.compat.autograd.numpy import numpy_wrapper
    from gpugrad.compat.autograd.numpy.numpy_wrapper import sin

    assert numpy_wrapper.numpy_version == np.numpy_version == numpy.__version__
    assert sin is np.sin
    assert "tanh" in dir(numpy_wrapper)


def test_small_things():
    def f(x):
        assert isbox(x)
        assert isinstance(x, Box)
        assert isinstance(x, ArrayBox)
        assert getval(x) is not x
        return x

    grad(f)(1.0)
    assert not isbox(1.0)
    assert not isinstance(1.0, Box)
    assert func(f) is f
    assert subval((1, 2), 0, 5) == (5, 2)
    assert subvals([1, 2, 3], [(0, 5), (2, 6)]) == (5, 2, 6)

    @unary_to_nary
    def twice(fun, x, extra=0):
        return fun(fun(x)) + extra

    assert twice(lambda x, y: x * y, 1)(2.0, 3.0) == 12.0
    assert twice(lambda x, y: x * y, 1, extra=1)(2.0, 3.0) == 13.0


def test_cotangents_in_the_shape_of_an_operand():
    g = numpy.ones((4, 2, 3)) * (1 + 2j)
    assert unbroadcast(g, numpy.ones((2, 1))).tolist() == [[12.0], [12.0]]
    assert unbroadcast(g, numpy.ones((2, 1)) * 1j)[0, 0] == 12 + 24j
    assert unbroadcast_f(X, lambda g: g * X)(numpy.ones((2, 3))).tolist() == (2 * X).tolist()
    assert unbroadcast(numpy.ones(3), 1.0) == 3.0


def test_programs_that_warn_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jacobian(lambda x: np.array([np.sum(x), np.prod(x)]))(X)


def _corners(n, low, up):
    """Where the diagonals' rows lie outside of the matrix."""
    return numpy.array([[0 <= j + d < n for j in range(n)] for d in range(-up, low + 1)])


def test_scipy_linalg(device):
    import gpugrad.compat.autograd.scipy.linalg as spla

    rng = numpy.random.default_rng(3)
    a, b, q = rng.random((3, 3)), rng.random((2, 2)), rng.random((3, 2))
    put = lambda *xs: [to_device(x, device) for x in xs]  # noqa: E731
    if device.kind == "cpu":  # elsewhere nothing waits to see that its root is complex
        check_grads(spla.sqrtm)(numpy.array([[1.0, 2.0], [3.0, -1.0]]))
    check_grads(spla.sqrtm, order=2)(*put(a @ a.T + 2 * numpy.eye(3)))
    check_grads(spla.solve_sylvester, (0, 1, 2))(*put(a + numpy.eye(3), b + numpy.eye(2), q))
    for low, up in ((1, 2), (2, 0)):
        diagonals = rng.random((low + up + 1, 5)) + 3 * (numpy.arange(low + up + 1) == up)[:, None]
        for rhs in (rng.random(5), rng.random((5, 2))):
            solve = lambda ab, r, bands=(low, up): spla.solve_banded(bands, ab, r)  # noqa: E731
            check_grads(solve, (0, 1))(*put(diagonals, rhs))
        ab, rhs = put(diagonals, rhs)
        g = grad(lambda ab: np.sum(spla.solve_banded((low, up), ab, rhs)))(ab)  # noqa: B023
        assert (host(g)[~_corners(5, low, up)] == 0).all()
    assert spla.norm is importlib.import_module("scipy.linalg").norm
    check_grads(spla.expm)(*put(a))


def test_scipy_names():
    special = importlib.import_module("gpugrad.compat.autograd.scipy.special")
    norm = importlib.import_module("gpugrad.compat.autograd.scipy.stats.norm")
    check_grads(lambda x: special.gammaln(x) + norm.logpdf(x, 1.0, 2.0))(X + 3)
    assert norm.rvs(random_state=0) == importlib.import_module("scipy.stats").norm.rvs(
        random_state=0
    )
    assert special.ellipk(0.0) == pytest.approx(numpy.pi / 2)
    with pytest.raises(AttributeError):
        norm.no_such_function
