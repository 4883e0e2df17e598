"""Eager speed: one recorded operation, training steps, a long chain.

    python benchmarks/eager.py [--json FILE]

gpugrad, PyTorch eager, HIPS autograd and hand-written NumPy run side by side in one process,
interleaved; peers that are not installed are left out. Ratios count, not seconds.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from interleave import interleave, report

import gpugrad as gg
import gpugrad.numpy as gnp
from gpugrad import nn

try:
    import torch
except ImportError:
    torch = None
try:
    import autograd
    import autograd.numpy as anp
except ImportError:
    autograd = None


def one_operation(n: int = 1000) -> dict[str, float]:
    """Forward and backward cost of a recorded tanh of 10 float32, over NumPy's own calls."""
    x = np.linspace(0, 1, 10).astype(np.float32)
    leaf = gg.Array(x, requires_grad=True)
    one = np.ones(10, np.float32)

    def numpy_forward() -> None:
        y = x
        for _ in range(n):
            y = np.tanh(y)

    def numpy_backward() -> None:
        g = one
        for _ in range(n):
            g = g * (1 - x * x)

    def record() -> Any:
        y = leaf
        for _ in range(n):
            y = gnp.tanh(y)
        return y

    both = {
        "numpy": numpy_forward,
        "numpy backward": numpy_backward,
        "gpugrad": record,
        "gpugrad both": lambda: record().backward(one),
    }
    spent = {name: t / n * 1e6 for name, t in interleave(both, rounds=50).items()}
    backward = spent["gpugrad both"] - spent["gpugrad"]
    out = {
        "forward_us_over_numpy": spent["gpugrad"] - spent["numpy"],
        "backward_us_over_numpy_tanh": backward - spent["numpy"],
        "backward_us_over_numpy_formula": backward - spent["numpy backward"],
    }
    print("one recorded tanh of 10 float32, microseconds")
    for name, value in out.items():
        print(f"  {name:<34}{value:8.3f}")
    return out


def parameters(sizes: list[int], seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(seed)
    return [
        (
            (rng.standard_normal((m, n)) / np.sqrt(m)).astype(np.float32),
            np.zeros(n, np.float32),
        )
        for m, n in pairwise(sizes)
    ]


def batch(sizes: list[int], count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((count, sizes[0])).astype(np.float32)
    return x, rng.integers(0, sizes[-1], count)


def gpugrad_step(
    sizes: list[int], count: int, act: str, lr: float = 0.01, *, layers: bool = True
) -> Callable[[], Any]:
    """With ``layers``, by nn.linear, as PyTorch's side has nn.Linear; else ``x @ w + b``."""
    params, (x, labels) = parameters(sizes), batch(sizes, count)
    activation = {"tanh": gnp.tanh, "relu": nn.relu}[act]
    if layers:
        params = [(np.ascontiguousarray(w.T), b) for w, b in params]

    def affine(x: Any, w: Any, b: Any) -> Any:
        return nn.linear(x, w, b) if layers else x @ w + b

    def loss(params: Any, x: Any, labels: Any) -> Any:
        *hidden, (w, b) = params
        for v, c in hidden:
            x = activation(affine(x, v, c))
        return nn.cross_entropy(affine(x, w, b), labels)

    step_grad = gg.value_and_grad(loss)

    def step() -> Any:
        value, grads = step_grad(params, x, labels)
        for pair, slopes in zip(params, grads, strict=True):
            for p, g in zip(pair, slopes, strict=True):
                p -= lr * g
        return value

    return step


def hips_step(sizes: list[int], count: int, act: str, lr: float = 0.01) -> Callable[[], Any]:
    params, (x, labels) = parameters(sizes), batch(sizes, count)
    activation = {"tanh": anp.tanh, "relu": lambda z: anp.maximum(z, 0)}[act]
    rows = np.arange(count)

    def loss(params: Any) -> Any:
        *hidden, (w, b) = params
        h = x
        for v, c in hidden:
            h = activation(anp.dot(h, v) + c)
        z = anp.dot(h, w) + b
        top = anp.max(z, axis=1, keepdims=True)
        logs = anp.log(anp.sum(anp.exp(z - top), axis=1)) + top[:, 0]
        return anp.mean(logs - z[rows, labels])

    step_grad = autograd.value_and_grad(loss)

    def step() -> Any:
        value, grads = step_grad(params)
        for pair, slopes in zip(params, grads, strict=True):
            for p, g in zip(pair, slopes, strict=True):
                p -= lr * g
        return value

    return step


def torch_step(sizes: list[int], count: int, act: str, lr: float = 0.01) -> Callable[[], Any]:
    layers: list[Any] = []
    for w, b in parameters(sizes):
        linear = torch.nn.Linear(*w.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(w.T.copy()))
            linear.bias.copy_(torch.from_numpy(b))
        layers += [linear, {"tanh": torch.nn.Tanh, "relu": torch.nn.ReLU}[act]()]
    model = torch.nn.Sequential(*layers[:-1])
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    x, labels = (torch.from_numpy(a) for a in batch(sizes, count))
    criterion = torch.nn.CrossEntropyLoss()

    def step() -> Any:
        optimizer.zero_grad()
        value = criterion(model(x), labels)
        value.backward()
        optimizer.step()
        return value.detach()

    return step


def numpy_step(sizes: list[int], count: int, act: str, lr: float = 0.01) -> Callable[[], Any]:
    """The same step differentiated by hand."""
    params, (x, labels) = parameters(sizes), batch(sizes, count)
    rows = np.arange(count)

    def step() -> Any:
        kept = [x]
        for w, b in params[:-1]:
            z = kept[-1] @ w + b
            kept.append(np.tanh(z) if act == "tanh" else np.maximum(z, 0))
        w, b = params[-1]
        z = kept[-1] @ w + b
        z -= z.max(axis=1, keepdims=True)
        e = np.exp(z)
        total = e.sum(axis=1, keepdims=True)
        value = np.mean(np.log(total[:, 0]) - z[rows, labels])
        g = e / total
        g[rows, labels] -= 1
        g /= count
        for i in range(len(params) - 1, -1, -1):
            w, b = params[i]
            dw, db = kept[i].T @ g, g.sum(axis=0)
            if i:
                y = kept[i]
                g = g @ w.T
                g *= (1 - y * y) if act == "tanh" else (y > 0)
            w -= lr * dw
            b -= lr * db
        return value

    return step


def training_step(
    title: str, sizes: list[int], count: int, act: str, rounds: int, inner: int
) -> dict[str, float]:
    """Steps of all contenders; they start from the same parameters and must agree."""
    contenders = {"gpugrad": gpugrad_step(sizes, count, act)}
    contenders["gpugrad, x @ w + b"] = gpugrad_step(sizes, count, act, layers=False)
    contenders["numpy by hand"] = numpy_step(sizes, count, act)
    if torch is not None:
        contenders["torch eager"] = torch_step(sizes, count, act)
    if autograd is not None:
        contenders["HIPS autograd"] = hips_step(sizes, count, act)
    first = {name: float(step()) for name, step in contenders.items()}
    second = {name: float(step()) for name, step in contenders.items()}
    for losses in (first, second):
        if max(losses.values()) - min(losses.values()) > 1e-4:
            sys.exit(f"the contenders do not compute the same: {losses}")
    return report(title, interleave(contenders, rounds=rounds, inner=inner))


def chain() -> dict[str, float]:
    """Backward through chains of 1,000, 10,000 and 100,000 operations: microseconds each."""
    out = {}
    print("chain of tanh: backward, microseconds per operation")
    for n in (1_000, 10_000, 100_000):
        leaf = y = gg.Array(np.ones(10, np.float32), requires_grad=True)
        for _ in range(n):
            y = gnp.tanh(y)
        start = time.perf_counter()
        y.backward(np.ones(10, np.float32))
        out[str(n)] = (time.perf_counter() - start) / n * 1e6
        assert leaf.grad is not None
        print(f"  {n:<16}{out[str(n)]:10.3f}")
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    figures = {
        "one operation": one_operation(),
        "tiny MLP": training_step(
            "MLP 2-16-16-2, tanh, batch 32, SGD, float32", [2, 16, 16, 2], 32, "tanh", 100, 20
        ),
        "MLP": training_step(
            "MLP 784-512-256-10, relu, batch 128, SGD, float32",
            [784, 512, 256, 10],
            128,
            "relu",
            60,
            3,
        ),
        "chain": chain(),
    }
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
