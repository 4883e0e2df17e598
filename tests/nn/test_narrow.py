"""Models and losses of float16 and bfloat16, without autocast: what comes out is of that dtype."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import gpugrad as gg
from gpugrad import nn

torch = pytest.importorskip("torch")
STAND_IN = "cuda_on_cpu" in sys.modules
DTYPES = ["float16", "bfloat16"]
X = np.random.default_rng(0).standard_normal((2, 5, 8)).astype("f4")
HIDDEN = np.array([[False] * 5, [False, False, False, True, True]])

LAYERS = {
    "attention and its weights": (
        lambda m: m.MultiheadAttention(8, 2, batch_first=True),
        lambda m, x, a: m(x, x, x)[0],
    ),
    "attention": (
        lambda m: m.MultiheadAttention(8, 2, batch_first=True),
        lambda m, x, a: m(x, x, x, need_weights=False)[0],
    ),
    "attention with a mask": (
        lambda m: m.MultiheadAttention(8, 2, batch_first=True),
        lambda m, x, a: m(x, x, x, key_padding_mask=a(HIDDEN))[0],
    ),
    "encoder": (
        lambda m: m.TransformerEncoderLayer(8, 2, 16, 0.0, "gelu", batch_first=True),
        lambda m, x, a: m(x),
    ),
    "decoder": (
        lambda m: m.TransformerDecoderLayer(8, 2, 16, 0.0, batch_first=True),
        lambda m, x, a: m(x, x),
    ),
    "rnn": (lambda m: m.RNN(8, 4, 2), lambda m, x, a: m(x)[0]),
    "gru": (lambda m: m.GRU(8, 4, bidirectional=True), lambda m, x, a: m(x)[0]),
    "lstm": (lambda m: m.LSTM(8, 4), lambda m, x, a: m(x)[0]),
    "layer norm": (lambda m: m.LayerNorm(8), lambda m, x, a: m(x)),
    "rms norm": (lambda m: m.RMSNorm(8), lambda m, x, a: m(x)),
    "group norm": (lambda m: m.GroupNorm(1, 5), lambda m, x, a: m(x)),
    "batch norm": (lambda m: m.BatchNorm1d(5), lambda m, x, a: m(x)),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", LAYERS)
def test_layers(name, dtype, device):
    make, call = LAYERS[name]
    if device.kind == "cuda" and dtype == "bfloat16" and STAND_IN and "norm" not in name:
        pytest.skip("the stand-in's cublasGemmEx has no bfloat16")
    torch.manual_seed(0)
    theirs = make(torch.nn).to(getattr(torch, dtype))
    mine = make(nn).to(device, dtype)
    mine.load_state_dict(theirs.state_dict())
    given = torch.tensor(X).to(getattr(torch, dtype)).requires_grad_()
    x = gg.Array(given.detach()).to(device)
    x.requires_grad = True
    y = call(mine, x, lambda a: gg.Array(a, device=device))
    y.astype("float32").sum().backward()
    assert {str(a.dtype) for a in (y, x.grad, *[p.grad for p in mine.parameters()])} == {dtype}
    want = call(theirs, given, torch.tensor).detach().float().numpy()
    tol = 0.01 if dtype == "float16" else 0.08
    np.testing.assert_allclose(y.detach().astype("f4").numpy(), want, atol=tol * np.abs(want).max())


ROWS = X.reshape(10, 8)
LABELS = np.arange(10) % 8
LOSSES = {
    "mse_loss": lambda f, x, a, same: f.mse_loss(x, same(ROWS + 1)),
    "l1_loss": lambda f, x, a, same: f.l1_loss(x, same(ROWS + 1), reduction="sum"),
    "huber_loss": lambda f, x, a, same: f.huber_loss(x, same(2 * ROWS), delta=0.7),
    "smooth_l1_loss": lambda f, x, a, same: f.smooth_l1_loss(x, same(2 * ROWS), beta=0.3),
    "bce": lambda f, x, a, same: f.binary_cross_entropy_with_logits(x, same(0 * ROWS + 0.5)),
    "kl_div": lambda f, x, a, same: f.kl_div(x, same(0 * ROWS + 0.5), reduction="batchmean"),
    "cross_entropy": lambda f, x, a, same: f.cross_entropy(x, a(LABELS), label_smoothing=0.1),
    "probabilities": lambda f, x, a, same: f.cross_entropy(x, same(0 * ROWS + 0.125)),
    "nll_loss": lambda f, x, a, same: f.nll_loss(x, a(LABELS)),
    "cosine": lambda f, x, a, same: f.cosine_embedding_loss(
        x, same(ROWS + 1), a(LABELS % 2 * 2 - 1)
    ),
    "triplet": lambda f, x, a, same: f.triplet_margin_loss(x, same(ROWS + 1), same(ROWS - 0.5)),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", LOSSES)
def test_losses(name, dtype, device):
    given = torch.tensor(ROWS).to(getattr(torch, dtype))
    x = gg.Array(given).to(device)
    want = LOSSES[name](
        torch.nn.functional, given, torch.tensor, lambda v: torch.tensor(v).to(given.dtype)
    )
    value, slope = gg.value_and_grad(
        lambda x: LOSSES[name](
            nn, x, lambda v: gg.Array(v, device=device), lambda v: gg.Array(v, dtype, device=device)
        )
    )(x)
    assert (str(value.dtype), str(slope.dtype)) == (dtype, dtype)
    tol = 0.01 if dtype == "float16" else 0.06
    assert float(value) == pytest.approx(float(want), rel=tol)


@pytest.mark.parametrize("dtype", DTYPES)
def test_random_slopes(dtype, device):
    x = gg.Array(X, dtype, device=device)
    assert nn.RReLU()(x).dtype == x.dtype
    assert gg.random.uniform(-1, 3, 4, dtype, device=device).dtype == x.dtype
    assert gg.random.normal(-1, 3, 4, dtype, device=device).dtype == x.dtype
