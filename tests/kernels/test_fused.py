"""Fused functions against the same function run operation by operation, under every transform."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from gpugrad.kernels import fused

import gpugrad as gg
import gpugrad.numpy as gnp
from gpugrad import nn
from gpugrad.device import CPU, to_device
from gpugrad.transforms import fuse as module


@pytest.fixture(autouse=True)
def _no_array_is_small(monkeypatch):
    monkeypatch.setattr(module, "SMALL", 0)


def host(y):
    if isinstance(y, tuple | list):
        return [host(v) for v in y]
    return np.asarray(to_device(y, CPU))


def close(got, want, rtol=1e-12):
    got, want = host(got), host(want)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)


def swish(x, beta):
    return x / (1 + np.exp(-beta * x))


def gaussian(x, mean, width):
    """Several operations used twice, a power, numbers of both sorts."""
    z = (x - mean) / width
    return 0.5 * z**2 + np.log(width) + np.where(z > 1, np.tanh(z), z * (z < 0))


def spiral(r, t):
    return r * np.cos(t), r * np.sin(t)


def operands(count, device, shapes=((3, 4), (4,), (3, 1))):
    rng = np.random.default_rng(0)
    return [to_device(rng.uniform(0.5, 2, s), device) for s in shapes[:count]]


CASES = [(swish, 2), (gaussian, 3), (spiral, 2)]
each = pytest.mark.parametrize(("f", "count"), CASES, ids=lambda c: getattr(c, "__name__", ""))


@each
def test_values_and_first_derivatives(f, count, device):
    xs = operands(count, device)
    fast = gg.fuse(f)
    y, pull = gg.vjp(fast, *xs)
    want, pull_want = gg.vjp(f, *xs)
    several = isinstance(want, tuple)
    close(y if several else [y], want if several else [want])
    g = to_device(np.random.default_rng(1).normal(size=(3, 4)), device)
    given = (g, 2 * g) if several else g
    close(pull(given), pull_want(given))
    ts = [x * 0 + k + 1 for k, x in enumerate(xs)]
    got, want = gg.jvp(fast, xs, ts)[1], gg.jvp(f, xs, ts)[1]
    close(got if several else [got], want if several else [want])


def total(f):
    def sums(*xs):
        y = f(*xs)
        return np.sum(y[0] * y[1] if isinstance(y, tuple) else y * y)

    return sums


@each
def test_second_derivatives_in_all_modes_and_batches(f, count, device, monkeypatch):
    if f is not swish:  # enough compiled: the programs are the same
        monkeypatch.setattr(module, "SMALL", 100)
    xs = operands(count, device, ((3,),) * 3)
    fast, plain = total(gg.fuse(f)), total(f)
    every = tuple(range(count))

    def wanted(transform):
        close(transform(fast), transform(plain), 1e-10)

    def flat(tree):
        return [v for row in tree for v in (row if isinstance(row, tuple | list) else [row])]

    wanted(lambda f: flat(gg.hessian(f, every)(*xs)))  # forward over reverse
    wanted(lambda f: flat(gg.jacrev(gg.grad(f, every), every)(*xs)))
    wanted(
        lambda f: [
            gg.jvp(lambda x: gg.jvp(lambda x: f(x, *xs[1:]), (x,), (x,))[1], (xs[0],), (xs[0],))[1]
        ]
    )
    wanted(
        lambda f: [gg.vmap(gg.grad(f), (0, *[None] * (count - 1)))(xs[0], *[x[0] for x in xs[1:]])]
    )
    wanted(lambda f: [gg.grad(lambda *a: np.sum(gg.vmap(f)(*a)))(*[x.reshape(3, 1) for x in xs])])


def test_one_kernel_forward_and_one_backward(counters, cuda):
    x, w = cuda.ones((64, 32)), cuda.ones((64, 32))
    f = gg.fuse(lambda x, w: gaussian(x, w, 2.0))
    g = cuda.ones((64, 32))
    gg.vjp(f, x, w)[1](g)  # compiles
    with counters() as r:
        _, pull = gg.vjp(f, x, w)
    assert r["launches"] == 1
    with counters() as r:
        pull(g)
    assert r["launches"] == 1
    assert (r["d2h"], r["h2d"], r["syncs"]) == (0, 0, 0)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "int32"])
def test_dtypes(dtype, device):
    x = np.array([[0, 1, 2], [3, 4, 5]]).astype(
        ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
    )
    y = gg.fuse(swish)(to_device(x, device), 0.5)
    assert y.dtype == (np.float64 if dtype == "int32" else x.dtype)
    eps = {"float16": 1e-3, "bfloat16": 8e-3}.get(dtype, 1e-6)
    np.testing.assert_allclose(host(y).astype("f8"), swish(x.astype("f8"), 0.5), rtol=eps)


def test_every_operation_has_one_meaning_on_both(device):
    rng = np.random.default_rng(2)
    a, b = rng.uniform(-0.9, 0.9, (2, 50))
    a[:4], b[:4] = [0.0, -0.0, np.nan, 0.5], [0.5, 0.5, 0.1, np.nan]
    skip = {"number", "stop_gradient", "conj", "real", "ndtr", "erf"}
    skip |= {"logical_xor", "bitwise_and", "bitwise_or", "logical_and", "logical_or"}
    skip |= {"where", "gate", "logical_not", "relu"}
    names = [n for n in fused.CPU if n not in skip]
    assert set(fused.CPU) == set(fused.CUDA)
    number = len(names)
    nodes = [fused.Node("input"), fused.Node("input")]
    outputs = []
    for name in names:
        place = len(nodes)
        binary = "{1}" in fused.CPU[name]
        nodes.append(fused.Node(name, (0, 1) if binary else (0,)))
        if name in fused.LOGICAL:
            one, none = place + 1, place + 2
            nodes += [fused.Node("number", (), 1.0), fused.Node("number", (), 0.0)]
            nodes.append(fused.Node("where", (place, one, none)))
        outputs.append(len(nodes) - 1)
    assert len(outputs) == number
    program = fused.Program(2, tuple(nodes), tuple(outputs))
    ys = fused.run(program, [to_device(a, device), to_device(b, device)])
    with np.errstate(all="ignore"):
        for name, y in zip(names, ys, strict=True):
            binary = "{1}" in fused.CPU[name]
            f = getattr(np, name)
            want = f(a, b) if binary else f(a)
            np.testing.assert_allclose(
                host(y), want.astype("f8"), rtol=1e-13, atol=1e-300, err_msg=name
            )


def test_functions_of_the_library_inside(device):
    x = to_device(np.linspace(-3, 3, 7), device)

    def f(x):
        return nn.sigmoid(x) * gnp.maximum(x, 0.25) + nn.relu(x) ** 3 - abs(x) / 2.0

    close([gg.fuse(f)(x)], [f(x)])
    close([gg.elementwise_grad(gg.fuse(f))(x)], [gg.elementwise_grad(f)(x)])
    inner = gg.fuse(f)
    outer = gg.fuse(lambda x: inner(x) * 2 + inner(x))
    close([outer(x)], [3 * f(x)])


def test_masks_as_numbers(device):
    x = to_device(np.array([-1.0, 0.0, 2.0]), device)
    f = gg.fuse(lambda x: (x > 0) * 2.0 + np.where((x > 0) | ~(x > -1), x, 7.0))
    assert host(f(x)).tolist() == [-1, 7, 4]


def test_arrays_stay_arrays_and_leaves_get_gradients(device):
    x = gg.Array(np.array([1.0, 2.0]), requires_grad=True, device=device)
    y = gg.fuse(swish)(x, 1.0)
    assert isinstance(y, gg.Array)
    y.sum().backward()
    np.testing.assert_allclose(
        x.grad.numpy(), gg.elementwise_grad(swish)(np.array([1.0, 2.0]), 1.0)
    )


def test_constants_by_keyword():
    f = gg.fuse(lambda x, *, power: x**power)
    assert f(np.array([3.0]), power=2).tolist() == [9]
    assert f(np.array([4.0]), power=0.5).tolist() == [2]


def test_small_arrays_need_no_compiler(monkeypatch):
    monkeypatch.setattr(module, "SMALL", 100)
    monkeypatch.setattr(fused, "run", None)
    f = gg.fuse(gaussian)
    xs = operands(3, CPU)
    close([f(*xs)], [gaussian(*xs)])
    close(gg.vjp(f, *xs)[1](xs[0]), gg.vjp(gaussian, *xs)[1](xs[0]))


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda x: np.heaviside(x, 0.5), "heaviside"),
        (lambda x: x if x > 0 else -x, "where"),
        (lambda x: x + np.ones(3), r"shape \(3,\)"),
        (lambda x: x > 0, "true or false"),
        (lambda x: np.exp(x) / np.sum(np.exp(x)), "sum is no elementwise"),
        (lambda x: x - x.sum(), "sum is no elementwise"),
        (lambda x: x.reshape(-1), "reshape is no elementwise"),
        (lambda x: np.broadcast_to(x, (2,)), "broadcast_to is no elementwise"),
        (lambda x: np.mean(x), "mean is no elementwise"),
    ],
)
def test_what_cannot_be_fused_says_why(f, message):
    with pytest.raises(TypeError, match=message):
        gg.fuse(f)(np.ones(2))


def test_a_keyword_argument_that_is_no_constant_says_so():
    f = gg.fuse(lambda x, *, weights: x * weights[0])
    assert f(np.ones(2), weights=(3.0,)).tolist() == [3, 3]
    for weights in ([3.0], np.array([3.0])):
        with pytest.raises(TypeError, match=r"weights is a (list|ndarray).*by position"):
            f(np.ones(2), weights=weights)


def test_minus_zero_is_not_zero(device):
    x = to_device(np.ones(2), device)
    f = gg.fuse(lambda x: (np.copysign(x, 0.0), np.copysign(x, -0.0)))
    assert [host(y).tolist() for y in f(x)] == [[1, 1], [-1, -1]]


def test_truths_become_numbers_by_a_cast(device):
    x = to_device(np.array([-1.0, 2.0]), device)
    assert host(gg.fuse(lambda x: (x > 0).astype(float) * 3)(x)).tolist() == [0, 3]


PAIRS = ("mod", "fmod", "floor_divide", "copysign", "logaddexp", "fmax", "fmin")


@pytest.mark.parametrize("name", PAIRS)
def test_functions_of_two_numbers_also_at_the_edges(name, device):
    edges = np.array([0.0, -0.0, 1.5, -1.5, 4.0, -4.0, np.inf, -np.inf, np.nan])
    a, b = (v.ravel() for v in np.meshgrid(edges, edges))
    f = getattr(gnp, name)
    with np.errstate(all="ignore"):
        got = gg.fuse(lambda a, b: f(a, b))(to_device(a, device), to_device(b, device))
        np.testing.assert_allclose(host(got), getattr(np, name)(a, b), rtol=1e-13)


def test_complex_numbers_are_refused():
    with pytest.raises(TypeError, match="real numbers"):
        gg.fuse(swish)(np.ones(2) + 1j, 1.0)
