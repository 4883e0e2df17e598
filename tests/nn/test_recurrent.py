"""Recurrent layers with PyTorch's weights give its outputs, states and every gradient."""

from __future__ import annotations

import numpy as np
import pytest

import gpugrad as gg
from gpugrad import nn

torch = pytest.importorskip("torch")

LAYERS = {
    "RNN": {},
    "RNN relu": {"nonlinearity": "relu", "bias": False},
    "GRU": {"num_layers": 2},
    "GRU both ways": {"bidirectional": True, "batch_first": True},
    "LSTM": {},
    "LSTM both ways": {"num_layers": 2, "bidirectional": True},
}


def pair(state):
    return state if isinstance(state, tuple) else (state,)


@pytest.mark.parametrize("given", [False, True], ids=["from zeros", "from a state"])
@pytest.mark.parametrize("case", LAYERS)
def test_they_agree_with_pytorch(case, given, device):
    name = case.split()[0]
    theirs = getattr(torch.nn, name)(3, 4, **LAYERS[case]).double()
    mine = getattr(nn, name)(3, 4, **LAYERS[case]).to(device, "float64")
    mine.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 5, 3))
    batch = 2 if LAYERS[case].get("batch_first") else 5
    count = theirs.num_layers * (1 + theirs.bidirectional)
    states = [rng.standard_normal((count, batch, 4)) for _ in range(1 + (name == "LSTM"))]
    peers = [torch.tensor(v, requires_grad=True) for v in (x, *(states if given else []))]
    hx = None if not given else peers[1] if len(states) == 1 else tuple(peers[1:])
    y, last = theirs(peers[0], hx)
    wants = [y, *pair(last)]
    us = [rng.standard_normal(w.shape) for w in wants]
    torch.autograd.backward(wants, [torch.tensor(u) for u in us])

    def f(model, x, *states):
        hx = None if not states else states[0] if len(states) == 1 else states
        y, last = model(x, hx)
        return (y, *pair(last))

    xs = [gg.Array(p.detach().numpy(), device=device) for p in peers]
    outs, pull = gg.vjp(f, mine, *xs)
    for got, want in zip(outs, wants, strict=True):
        np.testing.assert_allclose(got.numpy(), want.detach().numpy(), rtol=1e-9, atol=1e-12)
    slopes, *inputs = pull(tuple(gg.Array(u, device=device) for u in us))
    for got, p in zip(inputs, peers, strict=True):
        np.testing.assert_allclose(got.numpy(), p.grad.numpy(), rtol=1e-9, atol=1e-12)
    found = dict(slopes.named_parameters())
    for key, p in theirs.named_parameters():
        np.testing.assert_allclose(found[key].numpy(), p.grad.numpy(), rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("given", [False, True], ids=["from zeros", "from a state"])
@pytest.mark.parametrize("case", ["RNNCell", "RNNCell relu", "GRUCell", "LSTMCell"])
def test_cells_agree_with_pytorch(case, given, device):
    name, *act = case.split()
    options = {"nonlinearity": act[0], "bias": False} if act else {}
    theirs = getattr(torch.nn, name)(3, 4, **options).double()
    mine = getattr(nn, name)(3, 4, **options).to(device, "float64")
    mine.load_state_dict(theirs.state_dict())
    rng = np.random.default_rng(0)
    x, *states = (rng.standard_normal(s) for s in [(5, 3), (5, 4), (5, 4)])
    states = states[: 1 + (name == "LSTMCell")] if given else []

    def of(cell, x, states):
        out = pair(cell(x, (tuple(states) if len(states) > 1 else states[0]) if states else None))
        return sum([(y * y * (n + 1)).sum() for n, y in enumerate(out)])

    peers = [torch.tensor(v, requires_grad=True) for v in (x, *states)]
    want = of(theirs, peers[0], peers[1:])
    want.backward()
    xs = [gg.Array(v, device=device) for v in (x, *states)]
    got, (slopes, *inputs) = gg.value_and_grad(
        lambda m, x, *states: of(m, x, states), tuple(range(1 + len(xs)))
    )(mine, *xs)
    np.testing.assert_allclose(got.item(), want.item(), rtol=1e-12)
    for g, p in zip(inputs, peers, strict=True):
        np.testing.assert_allclose(g.numpy(), p.grad.numpy(), rtol=1e-9, atol=1e-12)
    found = dict(slopes.named_parameters())
    for key, p in theirs.named_parameters():
        np.testing.assert_allclose(found[key].numpy(), p.grad.numpy(), rtol=1e-8, atol=1e-11)


def test_a_cell_takes_one_sample_alone():
    cell = nn.LSTMCell(3, 4, dtype="float64")
    x = np.ones(3)
    h, c = cell(x, cell(x))
    many, _ = cell(x[None], cell(x[None]))
    np.testing.assert_array_equal(h.numpy(), many.numpy()[0])
    assert c.shape == (4,)
    with pytest.raises(
        ValueError, match=r"LSTMCell: input is \(N, 3\) or \(3,\), got shape \(4,\)"
    ):
        cell(np.ones(4))
    with pytest.raises(ValueError, match=r"LSTMCell: a state has shape \(4,\)"):
        cell(x, (np.ones(3), np.ones(4)))


def test_one_sequence_alone():
    layer = nn.GRU(3, 4, dtype="float64")
    x = np.random.default_rng(0).standard_normal((5, 3))
    y, h = layer(x)
    many, last = layer(x[:, None])
    np.testing.assert_array_equal(y.numpy(), many.numpy()[:, 0])
    np.testing.assert_array_equal(h.numpy(), last.numpy()[:, 0])


def test_dropout_between_layers():
    layer = nn.LSTM(3, 4, num_layers=2, dropout=0.5)
    x = gg.Array(np.ones((6, 2, 3), "f4"))
    assert (layer(x)[0].numpy() != layer(x)[0].numpy()).any()
    layer.eval()
    np.testing.assert_array_equal(layer(x)[0].numpy(), layer(x)[0].numpy())


def test_errors():
    with pytest.raises(ValueError, match=r"\(L, N, 3\).*\(6, 2, 4\)"):
        nn.RNN(3, 4)(np.ones((6, 2, 4)))
    with pytest.raises(ValueError, match=r"\(1, 2, 4\), got \(2, 4\)"):
        nn.RNN(3, 4)(np.ones((6, 2, 3)), np.ones((2, 4)))
    with pytest.raises(ValueError, match="'sin'"):
        nn.RNN(3, 4, nonlinearity="sin")
