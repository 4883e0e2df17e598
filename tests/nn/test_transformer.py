"""Attention and the layers around it give PyTorch's outputs and every gradient."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import gpugrad as gg
from gpugrad import nn

torch = pytest.importorskip("torch")
RNG = np.random.default_rng(0)
X, MEMORY = RNG.standard_normal((2, 5, 8)), RNG.standard_normal((2, 6, 8))
CAUSAL = np.triu(np.ones((5, 5), bool), 1)
PADDING = np.array([[False] * 5, [False, False, False, True, True]])
ADDED = RNG.standard_normal((5, 5))


def agree(mine, theirs, inputs, options, device, pick=lambda out: out):
    """Compare outputs and gradients by all inputs and parameters."""
    theirs = theirs.double()
    theirs.zero_grad()
    mine.to(device, "float64")
    mine.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    peers = [torch.tensor(x, requires_grad=True) for x in inputs]
    more = {k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    want = pick(theirs(*peers, **more))
    u = RNG.standard_normal(want.shape)
    want.backward(torch.tensor(u))
    ours = {
        k: gg.Array(v, device=device) if isinstance(v, np.ndarray) else v
        for k, v in options.items()
    }
    xs = [gg.Array(x, device=device) for x in inputs]
    y, pull = gg.vjp(lambda m, *xs: pick(m(*xs, **ours)), mine, *xs)
    np.testing.assert_allclose(y.numpy(), want.detach().numpy(), rtol=1e-8, atol=1e-11)
    slopes, *grads = pull(gg.Array(u, device=device))
    for got, p in zip(grads, peers, strict=True):
        slope = np.zeros(p.shape) if p.grad is None else p.grad.numpy()
        np.testing.assert_allclose(got.numpy(), slope, rtol=1e-7, atol=1e-10)
    found = dict(slopes.named_parameters())
    for key, p in theirs.named_parameters():
        slope = np.zeros(p.shape) if p.grad is None else p.grad.numpy()
        np.testing.assert_allclose(found[key].numpy(), slope, rtol=1e-7, atol=1e-10, err_msg=key)


MASKS = {
    "none": {},
    "causal": {"attn_mask": CAUSAL},
    "added": {"attn_mask": ADDED},
    "padding": {"key_padding_mask": PADDING},
    "both": {"attn_mask": CAUSAL, "key_padding_mask": PADDING},
}


@pytest.mark.parametrize("first", [False, True], ids=["(L, N, E)", "(N, L, E)"])
@pytest.mark.parametrize("mask", MASKS)
def test_attention(mask, first, device):
    options = {"batch_first": first}
    x = X if first else X.swapaxes(0, 1).copy()
    mine, theirs = (room.MultiheadAttention(8, 2, **options) for room in (nn, torch.nn))
    agree(mine, theirs, [x, x + 1, x - 1], MASKS[mask], device, lambda out: out[0])
    more = {**MASKS[mask], "need_weights": True}
    agree(mine, theirs, [x, x + 1, x - 1], more, device, lambda out: out[1])


@pytest.mark.parametrize("mask", MASKS)
def test_keys_and_values_of_other_widths(mask, device):
    rng = np.random.default_rng(1)
    inputs = [X, rng.standard_normal((2, 5, 3)), rng.standard_normal((2, 5, 6))]
    options = {"kdim": 3, "vdim": 6, "batch_first": True}
    mine, theirs = (room.MultiheadAttention(8, 2, **options) for room in (nn, torch.nn))
    agree(mine, theirs, inputs, MASKS[mask], device, lambda out: out[0])


@pytest.mark.parametrize("first", [False, True], ids=["(L, N, E)", "(N, L, E)"])
def test_one_example_alone(first, device):
    mine, theirs = (room.MultiheadAttention(8, 2, batch_first=first) for room in (nn, torch.nn))
    options = {"key_padding_mask": PADDING[1], "attn_mask": CAUSAL, "average_attn_weights": False}
    agree(mine, theirs, [X[0], X[1], X[0]], options, device, lambda out: out[0])
    agree(mine, theirs, [X[0], X[1], X[0]], options, device, lambda out: out[1])


def test_padding_of_numbers(device):
    mine, theirs = (room.MultiheadAttention(8, 2, batch_first=True) for room in (nn, torch.nn))
    added = np.where(PADDING, -3.0, 0.5)
    for more in ({}, {"attn_mask": ADDED}):
        options = {"key_padding_mask": added, **more}
        agree(mine, theirs, [X, X, X], options, device, lambda out: out[0])


def test_one_input_for_all_three_is_one_product(device):
    x = gg.Array(X, device=device)
    layer = nn.MultiheadAttention(8, 2, batch_first=True, dtype="float64", device=device)
    together = layer(x, x, x)[0].numpy()
    apart = layer(x, x + 0, x + 0)[0].numpy()
    np.testing.assert_allclose(together, apart, rtol=1e-12)


def test_causal_attention_is_that_of_the_mask():
    layer = nn.MultiheadAttention(8, 2, batch_first=True, dtype="float64")
    want = layer(X, X, X, attn_mask=CAUSAL, need_weights=True)
    got = layer(X, X, X, is_causal=True, need_weights=True)
    np.testing.assert_allclose(got[0].numpy(), want[0].numpy())
    np.testing.assert_allclose(got[1].numpy(), want[1].numpy())
    np.testing.assert_allclose(layer(X, X, X, is_causal=True)[0].numpy(), want[0].numpy())
    both = {"key_padding_mask": PADDING, "is_causal": True}
    want = layer(X, X, X, **both, need_weights=True)[0].numpy()
    np.testing.assert_allclose(layer(X, X, X, **both)[0].numpy(), want)


OPTIONS = {"after": {}, "before": {"norm_first": True, "activation": "gelu", "bias": False}}


@pytest.mark.parametrize("name", OPTIONS)
def test_encoder(name, device):
    args = (8, 2, 16, 0.0)
    options = {**OPTIONS[name], "batch_first": True}
    mine = nn.TransformerEncoder(nn.TransformerEncoderLayer(*args, **options), 2)
    layer = torch.nn.TransformerEncoderLayer(*args, **options)
    theirs = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    # PyTorch makes numbers of the padding where it makes them of the mask.
    agree(mine, theirs, [X], {"mask": CAUSAL, "src_key_padding_mask": PADDING}, device)


@pytest.mark.parametrize("name", OPTIONS)
def test_decoder_stack(name, device):
    args = (8, 2, 16, 0.0)
    stacks = []
    for room in (nn, torch.nn):
        layer = room.TransformerDecoderLayer(*args, **OPTIONS[name])
        stacks.append(room.TransformerDecoder(layer, 2, norm=room.LayerNorm(8)))
    masks = {"tgt_mask": CAUSAL, "tgt_key_padding_mask": PADDING}
    first = [v.swapaxes(0, 1).copy() for v in (X, MEMORY)]
    agree(*stacks, first, masks, device)


@pytest.mark.parametrize("name", OPTIONS)
def test_decoder(name, device):
    args = (8, 2, 16, 0.0)
    options = {**OPTIONS[name], "batch_first": True}
    mine = nn.TransformerDecoderLayer(*args, **options)
    theirs = torch.nn.TransformerDecoderLayer(*args, **options)
    seen = np.triu(np.ones((5, 6), bool), 2)
    agree(mine, theirs, [X, MEMORY], {"tgt_mask": CAUSAL, "memory_mask": seen}, device)


def test_rotary_scores_depend_on_distances():
    q, k = (nn.rotary_embedding(np.ones((6, 4)) * v) for v in (1.0, 0.5))
    scores = q @ k.T
    for shift in range(-5, 6):
        np.testing.assert_allclose(np.diagonal(scores, shift), np.diagonal(scores, shift)[0])
    moved = nn.rotary_embedding(np.ones((4, 4)), offset=2)
    np.testing.assert_allclose(moved, nn.rotary_embedding(np.ones((6, 4)))[2:])
    layer = nn.MultiheadAttention(8, 2, batch_first=True, rotary=True)
    shuffled = X[:, ::-1].copy()
    assert not np.allclose(
        layer(X, X, X)[0].numpy(), layer(shuffled, shuffled, shuffled)[0].numpy()[:, ::-1]
    )


def test_dropout_of_copies_differs():
    layer = nn.TransformerEncoderLayer(8, 2, 16, 0.5, generator=gg.random.Generator(0))
    assert copy.deepcopy(layer).drop.generator is layer.drop.generator
    x = gg.Array(X.astype("f4"))
    assert (layer(x).numpy() != layer(x).numpy()).any()
    layer.eval()
    np.testing.assert_array_equal(layer(x).numpy(), layer(x).numpy())


def test_errors():
    with pytest.raises(ValueError, match="8 is no multiple of 3"):
        nn.MultiheadAttention(8, 3)
    with pytest.raises(ValueError, match="'swish' is neither 'relu' nor 'gelu'"):
        nn.TransformerEncoderLayer(8, 2, activation="swish")
    with pytest.raises(ValueError, match="even, got 3"):
        nn.rotary_embedding(np.ones((2, 3)))
