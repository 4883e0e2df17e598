"""Softmax, losses and normalisation at sizes where the kernels run, against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import gpugrad as gg
import gpugrad.numpy as gnp
from gpugrad import nn
from gpugrad.device import CPU, to_device
from gpugrad.ops.softmax import SMALL


def host(a):
    return np.asarray(to_device(a, CPU))


def arrays(*shapes):
    rng = np.random.default_rng(0)
    return [rng.standard_normal(s) for s in shapes]


CASES = {
    "softmax": ([(90, 70)], lambda n, x: n.softmax(x, -1)),
    "softmax along the first axis": ([(90, 70)], lambda n, x: n.softmax(x, 0)),
    "log_softmax": ([(3, 40, 50)], lambda n, x: n.log_softmax(x, 1)),
    "layer_norm": (
        [(9, 10, 64), (64,), (64,)],
        lambda n, x, w, b: n.layer_norm(x, (64,), w, b),
    ),
    "layer_norm of two axes": (
        [(9, 10, 64), (10, 64)],
        lambda n, x, w: n.layer_norm(x, (10, 64), w),
    ),
    "rms_norm": ([(90, 64), (64,)], lambda n, x, w: n.rms_norm(x, (64,), w)),
    "group_norm": (
        [(6, 8, 10, 10), (8,), (8,)],
        lambda n, x, w, b: n.group_norm(x, 4, w, b, 1e-3),
    ),
    "batch_norm": (
        [(6, 8, 10, 10), (8,), (8,)],
        lambda n, x, w, b: n.batch_norm(x, None, None, w, b, True),
    ),
    "batch_norm of columns": (
        [(600, 8), (8,), (8,)],
        lambda n, x, w, b: n.batch_norm(x, None, None, w, b, True, 0.1, 1e-3),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_as_torch(device, name):
    torch = pytest.importorskip("torch")
    shapes, f = CASES[name]
    xs = arrays(*shapes)
    assert xs[0].size >= SMALL
    leaves = [torch.tensor(x, requires_grad=True) for x in xs]
    want = f(torch.nn.functional, *leaves)
    g = np.random.default_rng(1).standard_normal(want.shape)
    want.backward(torch.tensor(g))
    on = [to_device(x, device) for x in xs]
    y, pull = gg.vjp(lambda *xs: f(nn, *xs), *on)
    np.testing.assert_allclose(host(y), want.detach().numpy(), rtol=1e-10, atol=1e-10)
    for got, leaf in zip(pull(to_device(g, device)), leaves):
        np.testing.assert_allclose(host(got), leaf.grad.numpy(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_second_derivatives_through_the_kernels(device, name):
    """The derivative of a gradient along a direction is that of finite differences of it."""
    shapes, f = CASES[name]
    rng = np.random.default_rng(2)
    xs = [to_device(x, device) for x in arrays(*shapes)]
    vs = [to_device(rng.standard_normal(s), device) for s in shapes]
    g = to_device(rng.standard_normal(shapes[0]), device)

    def gradient(*xs):
        return gg.vjp(lambda *xs: f(nn, *xs), *xs)[1](g)

    def moved(step):
        return gradient(*[x + step * v for x, v in zip(xs, vs)])

    _, got = gg.jvp(gradient, xs, vs)
    step = 1e-4
    for a, low, high in zip(got, moved(-step), moved(step)):
        want = (host(high) - host(low)) / (2 * step)
        np.testing.assert_allclose(host(a), want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("shape", [(90, 60), (4, 30, 9, 5)], ids=str)
def test_cross_entropy_with_every_option(device, shape, reduction):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(3)
    x, w = arrays(shape)[0], rng.uniform(0.5, 2, shape[1])
    labels = rng.integers(0, shape[1], (shape[0], *shape[2:]))
    labels[0] = -100
    options = {"ignore_index": -100, "reduction": reduction, "label_smoothing": 0.1}
    leaf = torch.tensor(x, requires_grad=True)
    want = torch.nn.functional.cross_entropy(leaf, torch.tensor(labels), torch.tensor(w), **options)
    want.sum().backward()
    on, at, weight = (to_device(a, device) for a in (x, labels, w))
    y, pull = gg.vjp(lambda x: nn.cross_entropy(x, at, weight, **options), on)
    np.testing.assert_allclose(host(y), want.detach().numpy(), rtol=1e-11)
    (dx,) = pull(y * 0 + 1)
    np.testing.assert_allclose(host(dx), leaf.grad.numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("rows", [3, 300])
def test_what_counts_for_nothing_by_default(device, xp, rows):
    x = xp.zeros((rows, 200))
    labels = xp.zeros(rows, "i8")
    labels[1] = -100
    y, pull = gg.vjp(lambda x: nn.cross_entropy(x, labels), x)
    np.testing.assert_allclose(host(y), np.log(200), rtol=1e-6)
    assert not host(pull(y * 0 + 1)[0])[1].any()


def test_the_gradient_by_class_weights(device):
    (x,) = arrays((90, 60))
    w, labels = np.random.default_rng(4).uniform(1, 2, 60), np.arange(90) % 60
    on, at, weight = (to_device(a, device) for a in (x, labels, w))
    g = host(gg.grad(lambda w: nn.cross_entropy(on, at, w))(weight))
    step = np.zeros(60)
    step[7] = 1e-5
    high, low = (nn.cross_entropy(x, labels, w + s) for s in (step, -step))
    np.testing.assert_allclose(g[7], (high - low) / 2e-5, rtol=1e-5)


@pytest.mark.parametrize("count", [5, 700])
def test_running_moments(device, xp, count):
    torch = pytest.importorskip("torch")
    (x,) = arrays((count, 8))
    mean, var = xp.zeros(8), xp.ones(8)
    want = [torch.zeros(8, dtype=torch.float64), torch.ones(8, dtype=torch.float64)]
    on = to_device(x, device)
    for _ in range(2):
        gg.grad(lambda x: nn.batch_norm(x, mean, var, training=True, momentum=0.3).sum())(on)
        torch.nn.functional.batch_norm(torch.tensor(x), *want, training=True, momentum=0.3)
    np.testing.assert_allclose(host(mean), want[0].numpy(), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(host(var), want[1].numpy(), rtol=1e-12)
    y = nn.batch_norm(on, mean, var)
    np.testing.assert_allclose(
        host(y), torch.nn.functional.batch_norm(torch.tensor(x), *want).numpy(), rtol=1e-10
    )


def test_narrow_types_stay(device, xp):
    for dtype in ("f2", "f4"):
        x = xp.asarray(np.arange(6, dtype=dtype).reshape(2, 3))
        w = xp.ones(3, dtype)
        for y in (
            nn.softmax(x),
            nn.log_softmax(x, 0),
            nn.layer_norm(x, 3, w, w),
            nn.rms_norm(x, 3),
            nn.group_norm(x, 1, w),
            nn.batch_norm(x, None, None, training=True),
            nn.cross_entropy(x, xp.array([0, 1]), w),
        ):
            assert y.dtype == dtype
    assert nn.softmax(xp.arange(3)).dtype == "f8"
    assert nn.softmax(xp.arange(3), dtype="f4").dtype == "f4"


def test_what_does_not_fit_is_refused(device, xp):
    x = xp.zeros((2, 4))
    for f, error, match in (
        (lambda: nn.softmax(xp.zeros(())), ValueError, "needs an axis"),
        (lambda: nn.softmax(x + 0j), TypeError, "real numbers, not complex128"),
        (lambda: nn.layer_norm(x, 3), ValueError, r"does not end in \(3,\)"),
        (lambda: nn.layer_norm(x, 4, xp.ones(3)), ValueError, "weight must have the shape"),
        (lambda: nn.rms_norm(x, ()), ValueError, r"does not end in \(\)"),
        (lambda: nn.group_norm(x, 3), ValueError, "4 channels cannot be divided into 3"),
        (lambda: nn.group_norm(xp.zeros(3), 1), ValueError, r"input is \(N, C, ...\)"),
        (lambda: nn.batch_norm(x, None, None), ValueError, "needs running_mean"),
        (lambda: nn.batch_norm(x[:1], None, None, training=True), ValueError, "more than one"),
        (
            lambda: nn.batch_norm(x, xp.ones(3), xp.ones(3), training=True),
            ValueError,
            "running moments of shape",
        ),
        (
            lambda: nn.cross_entropy(x, xp.array([0, 1]), label_smoothing=2),
            ValueError,
            "from 0 to 1",
        ),
        (lambda: nn.cross_entropy(x, xp.array([0, 1]), xp.ones(3)), ValueError, "4 classes"),
    ):
        with pytest.raises(error, match=match):
            f()


def test_vmapped_layers_at_any_size(device):
    x, w = arrays((5, 20, 64), (5, 64))
    on, each = to_device(x, device), to_device(w, device)
    got = gg.vmap(lambda x, w: nn.layer_norm(x, 64, w))(on, each)
    want = np.stack([nn.layer_norm(x[i], 64, w[i]) for i in range(5)])
    np.testing.assert_allclose(host(got), want, rtol=1e-10, atol=1e-12)
    got = gg.vmap(lambda x: nn.batch_norm(x, None, None, training=True))(on)
    want = np.stack([nn.batch_norm(x[i], None, None, training=True) for i in range(5)])
    np.testing.assert_allclose(host(got), want, rtol=1e-10, atol=1e-12)
    assert gnp.asarray(got).shape == (5, 20, 64)
