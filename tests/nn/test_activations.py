"""Activations against PyTorch's, at their kinks and where exp would overflow too."""

from __future__ import annotations

import numpy as np
import pytest

import gpugrad as gg
from gpugrad import nn
from gpugrad.ops import activation

torch = pytest.importorskip("torch")

X = np.array([-1000.0, -20.0, -1.5, -0.0, 0.0, 0.3, 2.0, 20.0, 1000.0])
F = torch.nn.functional

CASES = {
    **{
        n: ({}, getattr(F, n)) for n in ("relu", "elu", "selu", "gelu", "silu", "mish", "hardswish")
    },
    **{n: ({}, getattr(F, n)) for n in ("leaky_relu", "softplus")},
    **{n: ({}, getattr(F, n)) for n in ("celu", "hardtanh", "relu6", "hardsigmoid", "logsigmoid")},
    **{n: ({}, getattr(F, n)) for n in ("softsign", "hardshrink", "softshrink", "tanhshrink")},
    "threshold": ({"threshold": 0.3, "value": 7.0}, F.threshold),
    "prelu": ({"weight": np.array([0.3])}, lambda x, weight: F.prelu(x, torch.tensor(weight))),
    "hardtanh at the edges": ({"min_val": -1.5, "max_val": 2.0}, F.hardtanh),
    "hardshrink at the edges": ({"lambd": 0.3}, F.hardshrink),
    "softshrink at the edges": ({"lambd": 0.3}, F.softshrink),
    "sigmoid": ({}, torch.sigmoid),
    "tanh": ({}, torch.tanh),
    "leaky_relu steep": ({"negative_slope": 0.3}, F.leaky_relu),
    "leaky_relu down": ({"negative_slope": -0.3}, F.leaky_relu),
    "elu alpha": ({"alpha": 0.4}, F.elu),
    "gelu tanh": ({"approximate": "tanh"}, F.gelu),
    "softplus sharp": ({"beta": 3.0, "threshold": 2.0}, F.softplus),
}
each = pytest.mark.parametrize("name", CASES)


@pytest.fixture(params=["few", "many"])
def size(request, monkeypatch):
    """By NumPy's calls, or by the kernels that more elements are worth."""
    if request.param == "many":
        monkeypatch.setattr(activation, "SMALL", 0)
        monkeypatch.setattr("gpugrad.nn.activations.SMALL", 0)


def of(name):
    options, theirs = CASES[name]
    ours = getattr(nn, name.split()[0])

    def mine(x, **more):
        here = {k: gg.Array(v, device=x.device) if k == "weight" else v for k, v in options.items()}
        return ours(x, **here, **more)

    return mine, lambda x: theirs(x, **options)


@each
def test_values_and_gradients(name, device, size):
    ours, theirs = of(name)
    x = gg.Array(X, device=device)
    y, g = gg.value_and_grad(lambda x: np.sum(ours(x)))(x)
    tx = torch.tensor(X, requires_grad=True)
    ty = theirs(tx).sum()
    ty.backward()
    np.testing.assert_allclose(y.item(), ty.item(), rtol=1e-12)
    rtol = 1e-7 if name == "hardsigmoid" else 1e-9  # PyTorch's 1/6 has single precision
    np.testing.assert_allclose(g.numpy(), tx.grad.numpy(), rtol=rtol, atol=1e-15)
    assert g.device == device


@pytest.mark.parametrize("name", ["relu", "gelu", "tanh", "leaky_relu down"])
def test_bias_and_dropout_in_the_same_pass(name, device, size):
    ours, theirs = of(name)
    rng = np.random.default_rng(0)
    x, b = rng.normal(size=(5, 6)), rng.normal(size=6)
    mask = np.asarray(nn.dropout(np.ones((5, 6)), 0.4, key=7))

    def loss(x, b):
        return np.sum(ours(x, bias=b, p=0.4, key=7) ** 2)

    got = gg.grad(loss, (0, 1))(gg.Array(x, device=device), gg.Array(b, device=device))
    tx, tb = (torch.tensor(v, requires_grad=True) for v in (x, b))
    (theirs(tx + tb) * torch.tensor(mask)).square().sum().backward()
    for g, t in zip(got, (tx, tb), strict=True):
        np.testing.assert_allclose(g.numpy(), t.grad.numpy(), rtol=1e-9, atol=1e-12)


SLOPES = {"relu": 0.0, "leaky_relu": 0.01}


@pytest.mark.parametrize("name", SLOPES)
@pytest.mark.parametrize("rate", [0.0, 0.4])
def test_every_transform_of_what_keeps_signs(name, rate, device, size):
    """The kernels' bits serve the first derivative; every other is array code beside them."""
    rng = np.random.default_rng(2)
    x, t, b = (gg.Array(rng.normal(size=s), device=device) for s in ((5, 7), (5, 7), (7,)))
    mask = np.asarray(nn.dropout(np.ones((5, 7)), rate, key=7)) if rate else np.ones((5, 7))
    more = {"p": rate, "key": 7} if rate else {}
    slope = np.where(x.numpy() + b.numpy() > 0, 1.0, SLOPES[name]) * mask

    def f(x, b):
        return getattr(nn, name)(x, bias=b, **more)

    def check(got, want):
        np.testing.assert_allclose(got.numpy(), want, rtol=1e-12, atol=1e-12)

    y, dy = gg.jvp(lambda x: f(x, b), (x,), (t,))
    check(y, slope * (x.numpy() + b.numpy()))
    check(dy, slope * t.numpy())
    _, pull = gg.vjp(f, x, b)
    check(
        gg.vmap(lambda g: pull(g)[0])(np.stack([t, 2 * t])),
        np.stack([slope * t.numpy()] * 2) * [[[1]], [[2]]],
    )
    check(pull(t)[1], (slope * t.numpy()).sum(0))
    second = gg.grad(lambda x: np.sum(gg.grad(lambda x: np.sum(f(x, b) ** 2))(x) * t))(x)
    check(second, 2 * slope**2 * t.numpy())
    each = gg.vmap(gg.grad(lambda x: np.sum(f(x, b) ** 2)))
    if not rate:
        check(each(x), 2 * slope**2 * (x.numpy() + b.numpy()))
    leaf = gg.Array(x, requires_grad=True)
    g = gg.Array(t, requires_grad=True)
    (f(leaf, b) * g).sum().backward(create_graph=True)
    (leaf.grad * t).sum().backward()
    check(g.grad - f(x, b), slope * t.numpy())


@pytest.mark.parametrize("name", SLOPES)
def test_a_bit_an_element_is_kept_where_a_tape_records(name, device, monkeypatch):
    n = 2 * activation.SMALL
    x = gg.Array(np.linspace(-1, 1, n, dtype="f4").reshape(-1, 64), device=device)
    leaf, b = gg.Array(x, requires_grad=True), x[0] * 1
    y = getattr(nn, name)(leaf, bias=b)
    kept = [v for v in y._payload.saved if hasattr(v, "nbytes")]
    assert [v.nbytes for v in kept] == [n // 8]
    monkeypatch.setattr(activation.kernels, "forward_keeping", None)
    with gg.no_grad():
        again = getattr(nn, name)(leaf, bias=b)
    for z in (again, getattr(nn, name)(x, bias=b)):
        np.testing.assert_array_equal(z.numpy(), y.numpy())


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_gated_pairs(dim, device, size):
    x = np.random.default_rng(1).normal(size=(4, 6))
    given, tx = gg.Array(x, device=device), torch.tensor(x, requires_grad=True)
    a, b = tx.chunk(2, dim)
    for name, want in (
        ("glu", F.glu(tx, dim)),
        ("geglu", a * F.gelu(b)),
        ("swiglu", a * F.silu(b)),
    ):
        y, pull = gg.vjp(lambda x, name=name: getattr(nn, name)(x, dim), given)
        np.testing.assert_allclose(y.numpy(), want.detach().numpy(), rtol=1e-12)
        tx.grad = None
        want.sum().backward(retain_graph=True)
        (g,) = pull(y * 0 + 1)
        np.testing.assert_allclose(g.numpy(), tx.grad.numpy(), rtol=1e-9, atol=1e-12)


def test_dropout():
    x = np.ones((100, 100))
    y = nn.dropout(x, 0.3, key=5)
    assert set(np.unique(y).round(6)) == {0, round(1 / 0.7, 6)}
    assert abs((y == 0).mean() - 0.3) < 0.02
    assert (nn.dropout(x, 0.3, key=5) == y).all()
    assert (nn.dropout(x, 0.3, key=6) != y).any()
    assert nn.dropout(x, 0.3, training=False) is x
    assert nn.dropout(x, 0.0) is x
    assert not nn.dropout(x, 1.0, key=0).any()
    assert not nn.gelu(x, p=1.0).any()


def test_other_dtypes(device, xp):
    ints = xp.asarray([-2, 0, 3])
    assert nn.relu(ints).tolist() == [0, 0, 3]
    assert nn.relu(ints).dtype == ints.dtype
    np.testing.assert_allclose(nn.silu(ints).tolist(), nn.silu(ints.astype("f8")).tolist())
    half = nn.gelu(xp.ones(4, "f2"), bias=xp.ones(4, "f4"))
    assert half.dtype == "f4"
    np.testing.assert_allclose(nn.mish(2.0), nn.mish(np.array([2.0]))[0])


def test_wrong_use():
    with pytest.raises(ValueError, match="neither 'none' nor 'tanh'"):
        nn.gelu(X, "erf")
    with pytest.raises(ValueError, match="even length along axis -1"):
        nn.glu(X)
    with pytest.raises(ValueError, match="probability, got 2"):
        nn.dropout(X, 2)
    with pytest.raises(TypeError, match="give a key="):
        nn.dropout(X)
    with pytest.raises(TypeError, match="real numbers, got complex128"):
        nn.gelu(X + 0j)
