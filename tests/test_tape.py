"""The tape: what it records, what it keeps and for how long, and what a step costs."""

from __future__ import annotations

import gc
import threading
import tracemalloc
from contextlib import contextmanager
from weakref import ref

import numpy as np
import pytest

import gpugrad as gg
from gpugrad import nn
from gpugrad.core.box import Box
from gpugrad.core.primitive import Primitive, registry
from gpugrad.core.tape import Node, backward
from gpugrad.device import to_device
from gpugrad.ops.elementwise import divide

CPU = gg.device("cpu")


def leaf(device, x=(1.0, 2.0, 3.0)):
    return gg.Array(to_device(np.asarray(x), device), requires_grad=True)


def nodes_behind(*arrays):
    """Every recorded operation behind some arrays, each once."""
    found, todo = {}, [a._payload for a in arrays]
    while todo:
        node = todo.pop()
        if node is not None and node.id not in found:
            found[node.id] = node
            todo += node.parents
    return [n for n in found.values() if n.plan is not None]


def name_of(node):
    return node.plan.primitive.name


@contextmanager
def no_collector():
    """Let reference counting alone free what is dropped."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def mlp_step(x, parameters):
    h = x
    for w in parameters:
        h = nn.relu(h @ w)
    loss = (h * h).mean()
    loss.backward()
    with gg.no_grad():
        for w in parameters:
            w -= 0.01 * w.grad
            w.grad = None


def mlp(device, width=32, depth=3, batch=16):
    rng = np.random.default_rng(0)
    x = gg.Array(to_device(rng.standard_normal((batch, width)).astype("f4"), device))
    w = rng.standard_normal((depth, width, width)).astype("f4") * np.float32(width**-0.5)
    return x, [leaf(device, layer) for layer in w]


# ------------------------------------------------------------------ the graph


def test_an_output_that_is_used_often_is_visited_once(device):
    x = leaf(device, 1.5)
    y = np.sin(x)
    z = y * y + y * 3.0 + y
    visited = []
    backward([z._payload], [z.detach()._value * 0 + 1], watch=lambda n, g: visited.append(n))
    assert len(visited) == len({n.id for n in visited})
    assert [name_of(n) for n in visited if n.plan].count("sin") == 1
    x = leaf(device, 1.5)
    y = np.sin(x)
    (y * y + y * 3.0 + y).backward()
    np.testing.assert_allclose(x.grad.item(), np.cos(1.5) * (2 * np.sin(1.5) + 4))


def test_a_diamond_of_many_levels_is_linear(device):
    x = leaf(device, 1.0)
    y = x
    for _ in range(60):  # 2**60 paths
        y = y * 0.5 + y * 0.5
    y.backward()
    assert x.grad.item() == 1.0


def test_reverse_creation_order(device):
    x = leaf(device)
    a = np.sin(x)
    b = np.cos(x)
    c = a * b
    d = np.exp(a)
    loss = (c + d + b).sum()
    order = []
    backward(
        [loss._payload],
        [to_device(np.ones(()), device)],
        watch=lambda n, g: order.append(n.id),
    )
    assert order == sorted(order)  # ids count down: the smallest is the newest
    assert len(order) == 8


def test_only_what_reaches_the_loss_is_differentiated(device):
    x, unused = leaf(device), leaf(device)
    np.exp(unused)
    y = np.split(x * 1.0, 3)
    y[0].sum().backward()
    assert x.grad.tolist() == [1, 0, 0]
    assert unused.grad is None


def test_no_zero_gradient_is_built(device):
    x, w = leaf(device), leaf(device)
    mask = np.where(x > 1.5, x, w)
    z = np.floor(x) * w + mask  # nothing flows through floor
    seen = []
    reached = backward(
        [z.sum()._payload],
        [to_device(np.ones(()), device)],
        watch=lambda n, g: seen.append(n.plan and name_of(n)),
    )
    assert "floor" not in seen
    assert set(reached) == {x._payload, w._payload}


# ------------------------------------------------------------------ residuals


@pytest.mark.parametrize(
    ("call", "kept"),
    [
        (lambda x, c: x + c, []),
        (lambda x, c: -x, []),
        (lambda x, c: x * c, ["c"]),
        (lambda x, c: x * x, ["x"]),
        (lambda x, c: np.tanh(x), ["y"]),
        (lambda x, c: np.exp(x), ["y"]),
        (lambda x, c: np.sin(x), ["x"]),
        (lambda x, c: nn.relu(x), ["y"]),
        (lambda x, c: x @ c, ["c"]),
        (lambda x, c: x.sum(), []),
        (lambda x, c: x.reshape(9, 1), []),
        (lambda x, c: x.T, []),
        (lambda x, c: np.concatenate([x, c]), []),
        (lambda x, c: x[1:], []),
    ],
)
def test_only_the_residuals_that_rules_name(device, call, kept):
    x = leaf(device, np.arange(9.0).reshape(3, 3))
    c = gg.Array(to_device(np.ones((3, 3)), device))
    y = call(x, c)
    (node,) = nodes_behind(y)
    arrays = [id(v) for v in node.saved if hasattr(v, "nbytes")]
    values = {"x": x._value, "c": c._value, "y": y._value}
    assert sorted(set(arrays)) == sorted(id(values[k]) for k in kept)


def held_bytes(*arrays):
    """Bytes that the nodes behind hold, each memory once."""
    held = {}
    for node in nodes_behind(*arrays):
        for v in node.saved:
            if hasattr(v, "nbytes"):
                held[id(v)] = v.nbytes
    return sum(held.values())


def test_live_residuals_of_a_deep_relu_network(device):
    width, batch, depth = 64, 128, 32
    x, parameters = mlp(device, width, depth, batch)
    # The first layer's weights are nobody's residual: x wants no gradient.
    fixed = x.nbytes + sum(w.nbytes for w in parameters[1:])
    with no_collector(), traced_memory():
        before = used(device)
        h = x
        for w in parameters:
            h = nn.relu(h @ w)
        loss = h.sum()
        del h
        live = used(device) - before
        # relu's y is the next matmul's operand: one activation a layer, and nothing else new.
        named = depth * batch * width * 4
        assert held_bytes(loss) - fixed == named
        assert live <= 1.05 * named


def used(device):
    """Bytes of live arrays: of Python's and NumPy's allocators, or of CuPy's pool."""
    if device.kind == "cuda":
        return gg.memory(device).used
    return tracemalloc.get_traced_memory()[0]


@contextmanager
def traced_memory():
    """Count what NumPy allocates."""
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()


def test_residuals_are_freed_as_they_are_used(device):
    x = leaf(device, np.ones(4))
    y, alive = x, []
    for _ in range(10):
        y = np.exp(y * 0.1)
        alive.append(ref(y._value))
    loss = y.sum()
    del y
    assert all(r() is not None for r in alive)
    left = []

    def watch(node, g):
        if node.plan is not None and name_of(node) == "exp":
            left.append(sum(r() is not None for r in alive))

    backward([loss._payload], [to_device(np.ones(()), device)], watch=watch)
    assert left == list(range(10, 0, -1))
    assert not any(r() is not None for r in alive)


def test_the_graph_goes_with_the_loss(device):
    with no_collector():
        x = leaf(device)
        y = np.exp(x)
        value, loss = ref(y._value), (y * y).sum()
        del y
        assert value() is not None
        del loss
        assert value() is None


def test_an_exception_while_recording_leaves_nothing(device):
    with no_collector():
        x = leaf(device)
        y = np.exp(x)
        value = ref(y._value)
        with pytest.raises(ValueError, match="matmul"):
            y @ gg.Array(to_device(np.ones((5, 5)), device))
        del y
        assert value() is None


@pytest.mark.parametrize("style", ["tape", "grad", "jvp", "hessian", "vmap"])
def test_memory_returns_to_its_level_without_the_collector(device, style):
    x, parameters = mlp(device, width=256)

    def loss(w, x):
        return (nn.relu(x @ w) ** 2).mean()

    w = parameters[0].detach()
    steps = {
        "tape": lambda: mlp_step(x, parameters),
        "grad": lambda: gg.value_and_grad(loss)(w, x),
        "jvp": lambda: gg.jvp(lambda w: loss(w, x), (w,), (w,)),
        "hessian": lambda: gg.hessian(lambda v: loss(w * v, x))(w[0, 0]),
        "vmap": lambda: gg.vmap(gg.grad(loss), in_axes=(None, 0))(w, x),
    }
    step = steps[style]
    with traced_memory():
        for _ in range(3):
            step()
        with no_collector():
            step()
            levels = []
            for _ in range(4):
                step()
                levels.append(used(device))
    # On the CPU Python's own free lists count too; the smallest array here is of 16 KiB.
    spread = max(levels) - min(levels)
    assert spread <= (0 if device.kind == "cuda" else 12_000), levels


def test_no_reference_cycles(device):
    x, parameters = mlp(device)
    for _ in range(2):
        mlp_step(x, parameters)
    with no_collector():
        mlp_step(x, parameters)
        gg.value_and_grad(lambda w: (nn.relu(x @ w) ** 2).sum())(parameters[0].detach())
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            gc.collect()
            ours = [o for o in gc.garbage if isinstance(o, Node | Box)]
            arrays = [o for o in gc.garbage if hasattr(o, "__array_priority__")]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
    assert ours == []
    assert arrays == []


# ------------------------------------------------------------------ long chains


def test_a_chain_of_a_hundred_thousand_operations():
    x = leaf(CPU, 1.0)
    y = x
    for _ in range(100_000):
        y = y + 0.5
    y.backward()
    assert x.grad.item() == 1.0
    y = x
    for _ in range(100_000):
        y = np.sin(y)
    del y  # dropped without a backward pass


def test_a_chain_inside_grad():
    def f(x):
        for _ in range(20_000):
            x = x * 1.0
        return x

    assert gg.grad(f)(3.0) == 1.0


# ------------------------------------------------------------------ accumulation


def test_cotangents_are_added_in_place_where_the_buffer_is_owned(cuda):
    class Count(cuda.cuda.memory_hook.MemoryHook):
        name = "count"
        large = 0

        def malloc_preprocess(self, device_id, size, mem_size):
            self.large += size >= 4096

    def allocations(uses):
        x = gg.Array(cuda.ones(1024, "f4"), requires_grad=True)
        loss = x.sum()
        for _ in range(uses):
            loss = loss + (x * 2.0).sum()
        with Count() as count:
            loss.backward()
        assert x.grad[0].item() == 1 + 2 * uses
        return count.large

    # Each use makes one array, its own cotangent; the first sum makes the buffer for the others.
    assert allocations(40) - allocations(4) == 36


def test_a_cotangent_that_is_shared_is_not_added_to(device):
    seed = to_device(np.ones(3), device)
    a, b = leaf(device), leaf(device)
    (a + b + a + a).backward(seed)
    assert seed.tolist() == [1, 1, 1]
    assert a.grad.tolist() == [3, 3, 3]
    assert b.grad.tolist() == [1, 1, 1]


# ------------------------------------------------------------------ again, and higher


def test_retain_graph(device):
    x = leaf(device)
    loss = (x * x * x).sum()
    loss.backward(retain_graph=True)
    loss.backward(retain_graph=True)
    assert x.grad.tolist() == [6, 24, 54]
    loss.backward()
    with pytest.raises(gg.TapeError, match=r"freed by an earlier backward.*retain_graph=True"):
        loss.backward()
    assert x.grad.tolist() == [9, 36, 81]


def test_a_freed_part_shared_by_two_losses(device):
    x = leaf(device)
    y = np.exp(x)
    a, b = y.sum(), (y * 2.0).sum()
    a.backward()
    with pytest.raises(gg.TapeError, match="retain_graph=True"):
        b.backward()
    (x * x).sum().backward()


def test_create_graph_to_the_third_derivative(device):
    x = leaf(device, [0.5, 1.0, 2.0])
    (x**4).sum().backward(create_graph=True)
    first = x.grad
    np.testing.assert_allclose(first.detach().numpy(), 4 * np.array([0.5, 1, 2]) ** 3)
    x.grad = None
    first.sum().backward(create_graph=True)
    second = x.grad
    np.testing.assert_allclose(second.detach().numpy(), 12 * np.array([0.5, 1, 2]) ** 2)
    x.grad = None
    second.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 24 * np.array([0.5, 1, 2]))


def test_a_penalty_on_the_gradient(device):
    w, x = leaf(device), leaf(device, [0.3, 0.2, 0.1])
    np.tanh(w * x).sum().backward(create_graph=True)
    penalty = (x.grad**2).sum()
    w.grad = None
    penalty.backward()

    def f(w):
        g = gg.grad(lambda x: np.tanh(w * x).sum())(x.detach())
        return (g**2).sum()

    np.testing.assert_allclose(w.grad.numpy(), gg.grad(f)(w.detach()).numpy())


# ------------------------------------------------------------------ no_grad and threads


def test_no_grad_records_nothing(device):
    x = leaf(device)
    with gg.no_grad():
        y = (x * x).sum()
        inner = gg.grad(lambda v: (v**2).sum())(x.detach())
    assert y._trace is None
    assert inner.tolist() == [2, 4, 6]
    with pytest.raises(gg.TapeError, match="requires a gradient"):
        y.backward()
    assert nodes_behind(x * x)


def test_threads_do_not_see_each_other(device):
    errors = []
    start = threading.Barrier(6)

    def work(k):
        try:
            start.wait()
            for i in range(30):
                x = leaf(device, np.arange(1.0, 5.0) * k)
                if (i + k) % 3 == 0:
                    with gg.no_grad():
                        assert (x * x)._trace is None
                loss = (np.sin(x) * x).sum()
                g = gg.grad(lambda v: (np.sin(v) * v).sum())(x.detach())
                loss.backward()
                v = x.detach().numpy()
                want = np.cos(v) * v + np.sin(v)
                np.testing.assert_allclose(x.grad.numpy(), want)
                np.testing.assert_allclose(g.numpy(), want)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(1, 7)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert errors == []


def test_backward_in_another_thread(device):
    x = leaf(device)
    loss = (x * x).sum()
    thread = threading.Thread(target=loss.backward)
    thread.start()
    thread.join()
    assert x.grad.tolist() == [2, 4, 6]


# ------------------------------------------------------------------ on CUDA


def test_a_training_step_neither_copies_nor_waits(counters, cuda):
    x, parameters = mlp(gg.device("cuda:0"))
    mlp_step(x, parameters)  # compiles
    with counters() as r:
        mlp_step(x, parameters)
    assert (r["d2h"], r["h2d"], r["syncs"]) == (0, 0, 0)


def test_a_step_of_transforms_neither_copies_nor_waits(counters, cuda):
    x, parameters = mlp(gg.device("cuda:0"))
    weights = [w.detach()._value for w in parameters]

    def loss(weights, x):
        for w in weights:
            x = nn.relu(x @ w)
        return (x * x).mean()

    step = gg.value_and_grad(loss)
    step(weights, x._value)
    with counters() as r:
        step(weights, x._value)
    assert (r["d2h"], r["h2d"], r["syncs"]) == (0, 0, 0)


def test_the_users_stream_is_used(counters, cuda):
    with cuda.cuda.Stream(non_blocking=True) as stream:
        x = gg.Array(cuda.ones(5), requires_grad=True)
        np.exp(x).sum().backward()
        stream.synchronize()
        assert x.grad.shape == (5,)
        assert cuda.cuda.get_current_stream() == stream


@pytest.fixture
def one_of_several():
    """A product that comes as a tuple of one output, with a rule for each factor."""

    def shape(a, b):
        return (a,)

    yield Primitive(
        "product in a tuple",
        lambda xp, a, b: (a * b,),
        "a b",
        shape=shape,
        vjp=(lambda g, b: g[0] * b, lambda g, a: g[0] * a),
        multiple=True,
    )
    del registry["product in a tuple"]


@pytest.mark.parametrize("size", [3, 5000])
def test_the_one_output_of_a_tuple_has_the_node_of_its_operation(one_of_several, device, size):
    a, b = (to_device(np.linspace(low, 2.0, size), device) for low in (0.5, 1.0))

    def f(a, b):
        (y,) = one_of_several(a, b)
        return y * y  # two cotangents that are added

    y, pull = gg.vjp(f, a, b)
    g = to_device(np.linspace(1.0, 3.0, size), device)
    both = pull(g)
    for _ in range(2):  # the second goes only where it must
        np.testing.assert_allclose(to_device(pull(g, 0), CPU), to_device(both[0], CPU))
        np.testing.assert_allclose(to_device(pull(g, 1), CPU), to_device(both[1], CPU))
    np.testing.assert_allclose(to_device(both[0], CPU), to_device(g * 2 * y / a, CPU))
    twice = gg.grad(lambda a: gg.numpy.sum(gg.grad(lambda a: gg.numpy.sum(f(a, b)))(a) * g))(a)
    np.testing.assert_allclose(to_device(twice, CPU), to_device(2 * b * b * g, CPU))
    (out,) = one_of_several(leaf(device), leaf(device))
    assert [name_of(n) for n in nodes_behind(out)] == ["product in a tuple"]


def test_the_divisors_cotangent_goes_on_from_the_dividends():
    """a / b: g / b is worked out once for both operands of one shape."""
    calls = []

    class Counted(np.ndarray):
        def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
            calls.append(ufunc.__name__)
            raw = [np.asarray(x) for x in inputs]
            return getattr(ufunc, method)(*raw, **kwargs).view(Counted)

    a, b = np.array([1.0, 2.0]), np.array([4.0, 8.0])
    _, pull = gg.vjp(np.divide, a, b)
    pulled = divide.plan(3, 2).even.pull(np.ones(2).view(Counted), (b, a / b))
    assert calls == ["divide", "negative", "multiply"]
    for (_, got), want in zip(pulled, pull(np.ones(2)), strict=True):
        assert np.array_equal(got, want)
    assert np.array_equal(pull(np.ones(2))[1], -(1 / b) * (a / b))
