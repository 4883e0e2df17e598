"""Training steps of two models against PyTorch eager: a GPT and a convolutional network.

Both sides start from the same weights and see the same batch; losses must agree. PyTorch's side is
written as its users write it: modules, `scaled_dot_product_attention`, `torch.optim.AdamW`; a
third contender has its AdamW with ``fused=True``. Contenders are timed in turn, in one process.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from interleave import interleave, report
from torch import nn as tnn
from torch.nn import functional as tf

import gpugrad as gg
from gpugrad import nn, optim
from gpugrad.training.gpt import GPT

VOCABULARY, CONTEXT, WIDTH, LAYERS, HEADS = 96, 128, 128, 4, 4
RATE = 1e-3
Step = Callable[[], Any]

# ------------------------------------------------------------------------------ PyTorch's models


class TorchLayer(tnn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = tnn.LayerNorm(WIDTH), tnn.LayerNorm(WIDTH)
        self.qkv, self.out = tnn.Linear(WIDTH, 3 * WIDTH), tnn.Linear(WIDTH, WIDTH)
        self.linear1, self.linear2 = tnn.Linear(WIDTH, 4 * WIDTH), tnn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Any) -> Any:
        n, length, _ = x.shape
        parts = self.qkv(self.norm1(x)).split(WIDTH, 2)
        q, k, v = (p.view(n, length, HEADS, WIDTH // HEADS).transpose(1, 2) for p in parts)
        y = tf.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(n, length, WIDTH))
        return x + self.linear2(tf.gelu(self.linear1(self.norm2(x))))


class TorchGPT(tnn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tokens = tnn.Embedding(VOCABULARY, WIDTH)
        self.positions = tnn.Embedding(CONTEXT, WIDTH)
        self.layers = tnn.ModuleList([TorchLayer() for _ in range(LAYERS)])
        self.norm = tnn.LayerNorm(WIDTH)
        self.head = tnn.Linear(WIDTH, VOCABULARY, bias=False)

    def forward(self, tokens: Any) -> Any:
        x = self.tokens(tokens) + self.positions.weight[: tokens.shape[1]]
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x))


_TORCH_NAMES = {
    "self_attn.in_proj_weight": "qkv.weight",
    "self_attn.in_proj_bias": "qkv.bias",
    "self_attn.out_proj": "out",
}


def torch_name(name: str) -> str:
    for ours, theirs in _TORCH_NAMES.items():
        name = name.replace(ours, theirs)
    return name


def torch_cnn() -> Any:
    return tnn.Sequential(
        tnn.Conv2d(1, 16, 3, padding=1), tnn.ReLU(), tnn.MaxPool2d(2),
        tnn.Conv2d(16, 32, 3, padding=1), tnn.ReLU(), tnn.MaxPool2d(2),
        tnn.Flatten(), tnn.Linear(32 * 7 * 7, 10),
    )  # fmt: skip


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * 7 * 7, 10),
    )  # fmt: skip


# ------------------------------------------------------------------------------ steps


def gpugrad_step(model: nn.Module, x: Any, labels: Any) -> Step:
    optimizer = optim.AdamW(model.parameters(), lr=RATE)
    flat = labels.reshape(-1)

    def step() -> Any:
        optimizer.zero_grad()
        scores = model(x)
        loss = nn.cross_entropy(scores.reshape(-1, scores.shape[-1]), flat)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def torch_step(model: Any, x: Any, labels: Any, *, fused: bool) -> Step:
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, fused=fused)
    x, flat = torch.from_numpy(x), torch.from_numpy(labels).reshape(-1)

    def step() -> Any:
        optimizer.zero_grad()
        scores = model(x)
        loss = tf.cross_entropy(scores.reshape(-1, scores.shape[-1]), flat)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def copied(ours: nn.Module, theirs: Any) -> Any:
    """PyTorch's model with our weights."""
    state = {
        torch_name(n): torch.from_numpy(p.numpy().copy()) for n, p in ours.state_dict().items()
    }
    theirs.load_state_dict(state)
    return theirs


def compare(
    title: str, ours: nn.Module, theirs: Callable[[], Any], x: Any, labels: Any, rounds: int
) -> dict[str, float]:
    contenders = {
        "torch eager": torch_step(copied(ours, theirs()), x, labels, fused=False),
        "torch fused AdamW": torch_step(copied(ours, theirs()), x, labels, fused=True),
        "gpugrad": gpugrad_step(ours, x, labels),
    }
    for _ in range(3):
        losses = {name: float(step()) for name, step in contenders.items()}
        if max(losses.values()) - min(losses.values()) > 1e-4:
            sys.exit(f"{title}: the contenders do not compute the same: {losses}")
    return report(title, interleave(contenders, rounds=rounds, inner=2))


def gpt_figures(rounds: int) -> dict[str, float]:
    gg.random.seed(0)
    tokens = np.random.default_rng(0).integers(0, VOCABULARY, (8, CONTEXT + 1))
    x, labels = (np.ascontiguousarray(t) for t in (tokens[:, :-1], tokens[:, 1:]))
    model = GPT(VOCABULARY, CONTEXT, WIDTH, LAYERS, HEADS)
    title = "GPT, 4 layers of width 128, 4 heads, context 128, batch 8, AdamW, float32"
    return compare(title, model, TorchGPT, x, labels, rounds)


def cnn_figures(rounds: int) -> dict[str, float]:
    gg.random.seed(0)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 1, 28, 28)).astype(np.float32)
    labels = rng.integers(0, 10, 64)
    title = "CNN, 3x3 convolutions of 16 and 32 channels, batch 64, 28x28, AdamW, float32"
    return compare(title, cnn(), torch_cnn, x, labels, 2 * rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    figures = {"GPT": gpt_figures(options.rounds), "CNN": cnn_figures(options.rounds)}
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
