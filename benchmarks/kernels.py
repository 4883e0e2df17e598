"""The hand-written kernels against the same work composed of NumPy or CuPy calls, and PyTorch.

    python benchmarks/kernels.py [SECTION ...] [--device cuda] [--json FILE] [--png FILE]

Contenders of one piece of work run in one process, interleaved; medians count, and ratios more than
seconds. On a GPU each call is timed by events on its stream, the arrays have 16 million elements,
and a copy that moves as many bytes as the work must is one of the contenders. A family of kernels
adds a section: a function of the array module and the number of elements that yields `Work`.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

# PyTorch's threads would spin on for a while after each call, on the cores of the others.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
from gpugrad.kernels import activation, average, norm, optimizer, philox, scan, softmax
from interleave import elapsed, interleave, report

import gpugrad as gg
from gpugrad import nn

try:
    import torch
except ImportError:
    torch = None


class Work(NamedTuple):
    """One piece of work: the contenders by name, and the bytes that it must move at least."""

    title: str
    contenders: dict[str, Callable[[], object]]
    bytes: int


Section = Callable[[Any, int], Iterator[Work]]
SECTIONS: dict[str, Section] = {}
"""A section for each family of kernels, of ``numpy`` or ``cupy`` and the elements of an array."""


def section(name: str) -> Callable[[Section], Section]:
    """Add a section."""
    return lambda f: SECTIONS.setdefault(name, f)


def normal(xp: Any, *shape: int, dtype: str = "f4", seed: int = 0) -> Any:
    return xp.asarray(np.random.default_rng(seed).normal(size=shape).astype(dtype))


def on_cpu_with_torch(xp: Any) -> bool:
    return xp is np and torch is not None


# ------------------------------------------------------------------------------ activations


@section("activation")
def activations(xp: Any, n: int) -> Iterator[Work]:
    """Rows of 1024 float32: backward passes with the bias gradient, and forward."""
    x, g = (normal(xp, n // 1024, 1024, seed=k) for k in range(2))
    b = normal(xp, 1024, seed=2)
    state = xp.asarray(philox.stream(1))
    size = x.nbytes

    def composed_gelu() -> Any:
        z = x + b
        t = xp.tanh(0.7978845608 * (z + 0.044715 * (z * z * z)))
        slope = 0.5 * (1 + t) + 0.5 * z * (1 - t * t) * (0.7978845608 * (1 + 0.134145 * (z * z)))
        dx = g * slope
        return dx, dx.sum(0)

    def composed_silu() -> Any:
        z = x + b
        s = 1 / (1 + xp.exp(-z))
        dx = g * (s * (1 + z * (1 - s)))
        return dx, dx.sum(0)

    def composed_relu() -> Any:
        dx = g * (x > 0)
        return dx, dx.sum(0)

    def composed_dropout() -> Any:
        return x * (xp.random.random(x.shape) >= 0.1) / 0.9

    library = xp.__name__
    for name, act, composed in (
        ("gelu (tanh)", activation.GeluTanh(), composed_gelu),
        ("silu", activation.Silu(), composed_silu),
        ("relu", activation.Relu(), composed_relu),
    ):
        kept = activation.forward_keeping(act, x, b)[1]
        yield Work(
            f"{name} backward with bias gradient",
            {
                "gpugrad": lambda act=act, kept=kept: activation.backward(
                    act, g, kept, b, sums=True
                ),
                library: composed,
            },
            2 * size + kept.nbytes,
        )
    for approximate, act in (("tanh", activation.GeluTanh()), ("none", activation.Gelu())):
        peers = {"gpugrad": lambda act=act: activation.backward(act, g, x)}
        if on_cpu_with_torch(xp):
            pull = torch.ops.aten.gelu_backward
            given = (torch.tensor(g), torch.tensor(x))
            peers["torch"] = functools.partial(pull, *given, approximate=approximate)
        yield Work(f"gelu ({approximate}) backward", peers, 3 * size)
    peers = {
        "gpugrad": lambda: nn.gelu(x, bias=b),
        library: lambda: 0.5 * (x + b) * (1 + xp.tanh(0.7978845608 * (x + b))),
    }
    yield Work("gelu forward with bias", peers, 2 * size)
    half, sides = x.shape[1] // 2, (x[:, : x.shape[1] // 2], x[:, x.shape[1] // 2 :])
    gate, up = activation.Silu(), g[:, :half].copy()

    def composed_pairs() -> Any:
        s = 1 / (1 + xp.exp(-sides[0]))
        return sides[0] * s * sides[1]

    def composed_pairs_backward() -> Any:
        s = 1 / (1 + xp.exp(-sides[0]))
        slope = s * (1 + sides[0] * (1 - s))
        return xp.concatenate([up * sides[1] * slope, up * sides[0] * s], 1)

    peers = {"gpugrad": lambda: activation.gated_forward(gate, x), library: composed_pairs}
    yield Work("gated pairs forward", peers, 3 * size // 2)
    peers = {
        "gpugrad": lambda: activation.gated_backward(gate, up, x),
        library: composed_pairs_backward,
    }
    yield Work("gated pairs backward", peers, 5 * size // 2)
    peers = {
        "gpugrad": lambda: activation.forward(activation.Identity(), x, rate=0.1, state=state),
        library: composed_dropout,
    }
    if on_cpu_with_torch(xp):
        tx = torch.tensor(x)
        peers["torch"] = lambda: torch.nn.functional.dropout(tx, 0.1)
    yield Work("dropout", peers, 2 * size)


# ------------------------------------------------------------------------------ fuse


@section("fuse")
def fused(xp: Any, n: int) -> Iterator[Work]:
    """A density of float32, its value and its gradient for three arguments."""

    def density(x: Any, mean: Any, width: Any) -> Any:
        z = (x - mean) / width
        return np.exp(-0.5 * z * z) / width

    one = gg.fuse(density)
    xs = [normal(xp, n, seed=k) for k in range(2)]
    xs.append(abs(normal(xp, n, seed=2)) + 1)
    g = normal(xp, n, seed=3)
    size = g.nbytes
    peers = {"gpugrad": lambda: one(*xs), xp.__name__: lambda: density(*xs)}
    yield Work("density, forward", peers, 4 * size)
    pulls = {"gpugrad": gg.vjp(one, *xs)[1], "operation by operation": gg.vjp(density, *xs)[1]}
    yield Work(
        "density, backward", {k: lambda pull=pull: pull(g) for k, pull in pulls.items()}, 7 * size
    )


# ------------------------------------------------------------------------------ products


def gradients(f: Callable[..., Any], g: Any, *arrays: Any) -> Callable[[], Any]:
    """PyTorch's backward pass of ``f`` alone."""
    leaves = [torch.tensor(a, requires_grad=True) for a in arrays]
    y = f(*leaves)
    return lambda: torch.autograd.grad(y, leaves, torch.tensor(g), retain_graph=True)


@section("conv")
def convolutions(xp: Any, n: int) -> Iterator[Work]:
    """Images of 16 channels, 28 x 28, to 32 channels by 3 x 3, with a bias."""
    for padding in (0, 1):
        yield from convolution(xp, max(1, n >> 14), padding)


def convolution(xp: Any, count: int, padding: int) -> Iterator[Work]:
    x, w, b = (
        normal(xp, count, 16, 28, 28),
        normal(xp, 32, 16, 3, 3, seed=1),
        normal(xp, 32, seed=2),
    )
    how = {"padding": padding}

    def windows(x: Any) -> Any:
        sides = ((0, 0), (0, 0), *((how["padding"],) * 2,) * 2)
        cut = xp.lib.stride_tricks.sliding_window_view(xp.pad(x, sides), (3, 3), (2, 3))
        return cut.transpose(0, 2, 3, 1, 4, 5).reshape(-1, 16 * 9)

    y, pull = gg.vjp(lambda x, w, b: nn.conv2d(x, w, b, **how), x, w, b)
    g, size = normal(xp, *y.shape, seed=3), x.nbytes + y.nbytes
    rows = g.transpose(0, 2, 3, 1).reshape(-1, 32)
    peers = {
        "gpugrad": lambda: nn.conv2d(x, w, b, **how),
        xp.__name__: lambda: windows(x) @ w.reshape(32, -1).T + b,
    }
    if on_cpu_with_torch(xp):
        tx, tw, tb = (torch.tensor(a) for a in (x, w, b))
        peers["torch"] = lambda: torch.nn.functional.conv2d(tx, tw, tb, **how)
    yield Work(f"conv2d forward, padding {padding}", peers, size)
    peers = {
        "gpugrad": lambda: pull(g),
        f"{xp.__name__} (weights only)": lambda: rows.T @ windows(x),
    }
    if on_cpu_with_torch(xp):
        f = functools.partial(torch.nn.functional.conv2d, **how)
        peers["torch"] = gradients(f, g, x, w, b)
    yield Work(f"conv2d backward, padding {padding}", peers, 2 * size)


@section("attention")
def attentions(xp: Any, n: int) -> Iterator[Work]:
    """Causal attention of 4 heads in each of some samples, 128 queries and keys of 32 elements."""
    q, k, v, g = (normal(xp, max(1, n >> 17), 4, 128, 32, seed=i) for i in range(4))
    hidden = xp.asarray(np.triu(np.full((128, 128), -np.inf, "f4"), 1))

    def weights() -> Any:
        s = q @ k.swapaxes(2, 3) * np.float32(32**-0.5) + hidden
        e = xp.exp(s - s.max(3, keepdims=True))
        return e / e.sum(3, keepdims=True)

    def composed() -> Any:
        p = weights()
        dp = g @ v.swapaxes(2, 3)
        ds = p * (dp - (dp * p).sum(3, keepdims=True)) * np.float32(32**-0.5)
        return ds @ k, ds.swapaxes(2, 3) @ q, p.swapaxes(2, 3) @ g

    pull = gg.vjp(lambda *a: nn.scaled_dot_product_attention(*a, is_causal=True), q, k, v)[1]
    library = xp.__name__
    peers = {
        "gpugrad": lambda: nn.scaled_dot_product_attention(q, k, v, is_causal=True),
        library: lambda: weights() @ v,
    }
    if on_cpu_with_torch(xp):
        theirs = torch.nn.functional.scaled_dot_product_attention
        given = [torch.tensor(a) for a in (q, k, v)]
        peers["torch"] = lambda: theirs(*given, is_causal=True)
    yield Work("causal attention forward", peers, 4 * q.nbytes)
    peers = {"gpugrad": lambda: pull(g), library: composed}
    if on_cpu_with_torch(xp):
        peers["torch"] = gradients(functools.partial(theirs, is_causal=True), g, q, k, v)
    yield Work("causal attention backward", peers, 8 * q.nbytes)


# ------------------------------------------------------------------------------ rows and windows


@section("pool")
def pools(xp: Any, n: int) -> Iterator[Work]:
    """Images of float32, 32 x 32, by windows of 2 x 2."""
    for name in ("max_pool2d", "avg_pool2d"):
        yield from pooling(xp, max(1, n >> 16), name)


def pooling(xp: Any, count: int, name: str) -> Iterator[Work]:
    x, f = normal(xp, count, 64, 32, 32), getattr(nn, name)
    y, pull = gg.vjp(lambda x: f(x, 2), x)
    g = xp.ones_like(y)
    parts = x.reshape(count, 64, 16, 2, 16, 2)
    composed = parts.max if name == "max_pool2d" else parts.mean
    peers = {"gpugrad": lambda: f(x, 2), xp.__name__: lambda: composed((3, 5))}
    back = {"gpugrad": lambda: pull(g)}
    if on_cpu_with_torch(xp):
        theirs, tx = getattr(torch.nn.functional, name), torch.tensor(x)
        peers["torch"] = lambda: theirs(tx, 2)
        back["torch"] = gradients(lambda x: theirs(x, 2), g, x)
    yield Work(f"{name} forward", peers, x.nbytes + y.nbytes)
    yield Work(f"{name} backward", back, x.nbytes + y.nbytes)


@section("segment")
def segments(xp: Any, n: int) -> Iterator[Work]:
    """Rows of 256 float32 of a table of 10000."""
    w, g = normal(xp, 10000, 256), normal(xp, n // 256, 256, seed=1)
    rows = xp.asarray(np.random.default_rng(2).integers(0, 10000, n // 256))
    pull = gg.vjp(lambda w: nn.embedding(rows, w), w)[1]

    def composed() -> Any:
        out = xp.zeros_like(w)
        xp.add.at(out, rows, g)
        return out

    peers = {"gpugrad": lambda: nn.embedding(rows, w), xp.__name__: lambda: w[rows]}
    back = {"gpugrad": lambda: pull(g), xp.__name__: composed}
    if on_cpu_with_torch(xp):
        theirs = torch.nn.functional.embedding
        tw, tr = torch.tensor(w), torch.tensor(rows)
        peers["torch"] = lambda: theirs(tr, tw)
        back["torch"] = gradients(lambda w: theirs(tr, w), g, w)
    yield Work("embedding forward", peers, 2 * g.nbytes)
    yield Work("embedding backward", back, g.nbytes + w.nbytes)


# ------------------------------------------------------------------------------ softmax


@section("softmax")
def softmaxes(xp: Any, n: int) -> Iterator[Work]:
    """Rows of 1000 float32: softmax, its logarithm and cross-entropy, both ways."""
    height = n // 1000
    x, g = normal(xp, height, 1000), normal(xp, height, 1000, seed=1)
    labels = xp.asarray(np.random.default_rng(2).integers(0, 1000, height))
    one = xp.ones((), "f4")
    size, library = x.nbytes, xp.__name__
    rows = xp.arange(height)

    def composed_softmax() -> Any:
        e = xp.exp(x - x.max(1, keepdims=True))
        return e / e.sum(1, keepdims=True)

    def composed_loss() -> Any:
        shifted = x - x.max(1, keepdims=True)
        logp = shifted - xp.log(xp.exp(shifted).sum(1, keepdims=True))
        return -logp[rows, labels].mean()

    def composed_slope() -> Any:
        p = composed_softmax()
        p[rows, labels] -= 1
        return p / len(p)

    def composed_log() -> Any:
        shifted = x - x.max(1, keepdims=True)
        return shifted - xp.log(xp.exp(shifted).sum(1, keepdims=True))

    y, logs = softmax.softmax(x), softmax.softmax(x, log=True)
    found = softmax.cross_entropy(x, labels)
    rest = (one, x, labels, found.lse, None, found.divisor)
    forward = {"gpugrad": lambda: softmax.softmax(x), library: composed_softmax}
    backward = {
        "gpugrad": lambda: softmax.softmax_backward(g, y),
        library: lambda: y * (g - (g * y).sum(1, keepdims=True)),
    }
    log = {"gpugrad": lambda: softmax.softmax(x, log=True), library: composed_log}
    log_backward = {
        "gpugrad": lambda: softmax.softmax_backward(g, logs, log=True),
        library: lambda: g - xp.exp(logs) * g.sum(1, keepdims=True),
    }
    loss = {"gpugrad": lambda: softmax.cross_entropy(x, labels), library: composed_loss}
    slope = {"gpugrad": lambda: softmax.cross_entropy_backward(*rest), library: composed_slope}
    both = {
        "gpugrad": lambda: (
            softmax.cross_entropy(x, labels),
            softmax.cross_entropy_backward(*rest),
        ),
        library: lambda: (composed_loss(), composed_slope()),
    }
    if on_cpu_with_torch(xp):
        aten = torch.ops.aten
        tx, tg, ty, tl = (torch.tensor(a) for a in (x, g, y, labels))
        logp = torch.log_softmax(tx, 1)
        _, weight = aten.nll_loss_forward(logp, tl, None, 1, -100)
        ones = torch.ones(())

        def torch_slope() -> Any:
            up = aten.nll_loss_backward(ones, logp, tl, None, 1, -100, weight)
            return aten._log_softmax_backward_data(up, logp, 1, torch.float32)

        forward["torch"] = lambda: torch.softmax(tx, 1)
        backward["torch"] = lambda: aten._softmax_backward_data(tg, ty, 1, torch.float32)
        log["torch"] = lambda: torch.log_softmax(tx, 1)
        log_backward["torch"] = lambda: aten._log_softmax_backward_data(tg, logp, 1, torch.float32)
        loss["torch"] = lambda: torch.nn.functional.cross_entropy(tx, tl)
        slope["torch"] = torch_slope
        both["torch"] = lambda: (loss["torch"](), torch_slope())
    yield Work("softmax", forward, 2 * size)
    yield Work("softmax backward", backward, 3 * size)
    yield Work("log-softmax", log, 2 * size)
    yield Work("log-softmax backward", log_backward, 3 * size)
    yield Work("cross-entropy", loss, size)
    yield Work("cross-entropy backward", slope, 2 * size)
    yield Work("cross-entropy, both ways", both, 3 * size)


# ------------------------------------------------------------------------------ norm


@section("norm")
def norms(xp: Any, n: int) -> Iterator[Work]:
    """Rows of 1024 float32, or images of 64 channels."""
    x, g = (normal(xp, n // 1024, 1024, seed=k) for k in range(2))
    w, b = normal(xp, 1024, seed=2), normal(xp, 1024, seed=3)
    size, library = x.nbytes, xp.__name__
    found = norm.norm_rows(x, w, b)
    mean, rstd = found.mean[:, None], found.rstd[:, None]

    def composed() -> Any:
        d = x - x.mean(1, keepdims=True)
        return d / xp.sqrt((d * d).mean(1, keepdims=True) + 1e-5) * w + b

    def composed_backward() -> Any:
        hat = (x - mean) * rstd
        h = g * w
        dx = rstd * (h - h.mean(1, keepdims=True) - hat * (h * hat).mean(1, keepdims=True))
        return dx, (g * hat).sum(0), g.sum(0)

    scaled = norm.norm_rows(x, w, center=False)

    def composed_rms() -> Any:
        return x / xp.sqrt((x * x).mean(1, keepdims=True) + 1e-5) * w

    count = len(x) // 64
    images = x.reshape(count, 64, 1024)
    each, few_bias = w[:64], b[:64]
    moments = norm.batch_norm(images, each, few_bias)
    grouped = norm.group_norm(images, 8, each, few_bias)
    peers = {
        "layer norm": {"gpugrad": lambda: norm.norm_rows(x, w, b), library: composed},
        "layer norm backward": {
            "gpugrad": lambda: norm.norm_rows_backward(g, x, w, found.mean, found.rstd),
            library: composed_backward,
        },
        "rms norm": {
            "gpugrad": lambda: norm.norm_rows(x, w, center=False),
            library: composed_rms,
        },
        "rms norm backward": {
            "gpugrad": lambda: norm.norm_rows_backward(g, x, w, None, scaled.rstd),
        },
        "batch norm": {"gpugrad": lambda: norm.batch_norm(images, each, few_bias)},
        "batch norm backward": {
            "gpugrad": lambda: norm.batch_norm_backward(
                g.reshape(images.shape), images, each, moments.mean, moments.rstd
            )
        },
        "group norm": {"gpugrad": lambda: norm.group_norm(images, 8, each, few_bias)},
        "group norm backward": {
            "gpugrad": lambda: norm.group_norm_backward(
                g.reshape(images.shape), images, 8, each, grouped.mean, grouped.rstd
            )
        },
    }
    if on_cpu_with_torch(xp):
        aten, functional = torch.ops.aten, torch.nn.functional
        tx, tg, tw, tb, ti = (torch.tensor(a) for a in (x, g, w, b, images))
        _, tm, tr = aten.native_layer_norm(tx, [1024], tw, tb, 1e-5)
        ew, eb, gi = tw[:64].clone(), tb[:64].clone(), tg.reshape(ti.shape)
        _, bm, br = aten.native_batch_norm(ti, ew, eb, None, None, True, 0.1, 1e-5)
        _, gm, gr = aten.native_group_norm(ti, ew, eb, count, 64, 1024, 8, 1e-5)
        every = [True] * 3
        peers["layer norm"]["torch"] = lambda: functional.layer_norm(tx, (1024,), tw, tb)
        peers["layer norm backward"]["torch"] = lambda: aten.native_layer_norm_backward(
            tg, tx, [1024], tm, tr, tw, tb, every
        )
        peers["batch norm"]["torch"] = lambda: functional.batch_norm(
            ti, None, None, ew, eb, training=True
        )
        peers["batch norm backward"]["torch"] = lambda: aten.native_batch_norm_backward(
            gi, ti, ew, None, None, bm, br, True, 1e-5, every
        )
        peers["group norm"]["torch"] = lambda: functional.group_norm(ti, 8, ew, eb)
        peers["group norm backward"]["torch"] = lambda: aten.native_group_norm_backward(
            gi, ti, gm, gr, ew, count, 64, 1024, 8, every
        )
    passes = {"layer": (2, 3), "rms": (2, 3), "batch": (3, 5), "group": (2, 5)}
    for title, contenders in peers.items():
        yield Work(title, contenders, passes[title.split()[0]]["backward" in title] * size)


# ------------------------------------------------------------------------------ running sums


@section("scan")
def scans(xp: Any, n: int) -> Iterator[Work]:
    """Running sums of one line, of rows of 1024 and of columns."""
    x = normal(xp, n // 1024, 1024)
    for title, a, axis in (("a line", x.reshape(-1), 0), ("rows", x, 1), ("columns", x, 0)):
        peers = {
            "gpugrad": lambda a=a, axis=axis: scan.running("Sum", a, axis),
            xp.__name__: lambda a=a, axis=axis: xp.cumsum(a, axis),
        }
        yield Work(f"running sums of {title}", peers, 2 * x.nbytes)


# ------------------------------------------------------------------------------ training


@section("training")
def training(xp: Any, n: int) -> Iterator[Work]:
    """Steps over 100 tensors and over one; the mean of 8 replicas, and of clipped samples."""
    side = math.isqrt(n) // 8
    shapes: list[tuple[int, ...]] = [*[(side, side)] * 50, *[(side,)] * 50]
    yield adam(xp, "Adam, 100 tensors", shapes)
    yield adam(xp, "Adam, one tensor", [(n,)])
    yield from steps(xp, shapes)
    yield replicas(xp, shapes)
    yield samples(xp, n)


def steps(xp: Any, shapes: list[tuple[int, ...]]) -> Iterator[Work]:
    """Other optimizers, by how many states they have."""
    p, g, a, b = ([normal(xp, *s, seed=k) for s in shapes] for k in range(4))
    b, step, size = [abs(s) for s in b], xp.zeros(1, "i8"), sum(x.nbytes for x in p)

    def composed() -> None:
        for x, d in zip(p, g):
            x -= 1e-3 * d

    peers = {"gpugrad": lambda: optimizer.sgd(p, g, None, step, lr=1e-3), xp.__name__: composed}
    yield Work("SGD, 100 tensors", peers, 3 * size)
    for title, moved, call in (
        ("SGD with momentum", 5, lambda: optimizer.sgd(p, g, a, step, lr=1e-3, momentum=0.9)),
        ("Lion", 5, lambda: optimizer.lion(p, g, a, step, lr=1e-4)),
        ("AdamW", 7, lambda: optimizer.adamw(p, g, a, b, step, lr=1e-3)),
    ):
        yield Work(f"{title}, 100 tensors", {"gpugrad": call}, moved * size)


def samples(xp: Any, n: int) -> Work:
    """The mean of 64 samples' gradients, each clipped."""
    x = normal(xp, 64, n // 64)

    def composed() -> Any:
        norms = xp.sqrt((x * x).sum(1, keepdims=True))
        return (x * xp.minimum(1 / (norms + 1e-6), 1)).mean(0)

    peers = {"gpugrad": lambda: average.average_samples([x], limit=1.0), xp.__name__: composed}
    return Work("mean of 64 clipped samples", peers, 2 * x.nbytes + x.nbytes // 64)


def adam(xp: Any, title: str, shapes: list[tuple[int, ...]]) -> Work:
    """A step. Each contender has arrays of its own: what one leaves in the cache helps no other."""

    def arrays() -> list[list[Any]]:
        drawn = [[normal(xp, *s, seed=k) for s in shapes] for k in range(2)]
        return [*drawn, *[[xp.zeros(s, "f4") for s in shapes] for _ in range(2)]]

    ours, theirs, step = arrays(), arrays(), xp.zeros(1, "i8")

    def composed() -> None:
        for p, g, a, b in zip(*theirs):
            a *= 0.9
            a += 0.1 * g
            b *= 0.999
            b += 0.001 * (g * g)
            p -= 1e-3 * a / (xp.sqrt(b) + 1e-8)

    peers = {"gpugrad": lambda: optimizer.adam(*ours, step), xp.__name__: composed}
    if on_cpu_with_torch(xp):
        for form in ("fused", "foreach"):
            leaves = [torch.tensor(p, requires_grad=True) for p in ours[0]]
            for p, g in zip(leaves, ours[1]):
                p.grad = torch.tensor(g)
            peers[f"torch {form}"] = torch.optim.Adam(leaves, **{form: True}).step
    return Work(title, peers, 7 * sum(p.nbytes for p in ours[0]))


def replicas(xp: Any, shapes: list[tuple[int, ...]]) -> Work:
    """The mean of 8 lists of gradients."""
    lists = [[normal(xp, *s, seed=k) for s in shapes] for k in range(8)]
    means = [xp.empty(s, "f4") for s in shapes]

    def composed() -> None:
        for out, *each in zip(means, *lists):
            xp.add(each[0], each[1], out=out)
            for g in each[2:]:
                out += g
            out /= 8

    peers = {"gpugrad": lambda: average.average(lists, means), xp.__name__: composed}
    if on_cpu_with_torch(xp):
        others = [[torch.tensor(g) for g in arrays] for arrays in lists]

        def theirs() -> None:
            total = torch._foreach_add(others[0], others[1])
            for arrays in others[2:]:
                torch._foreach_add_(total, arrays)
            torch._foreach_div_(total, 8.0)

        peers["torch foreach"] = theirs
    return Work("mean of 8 replicas", peers, 9 * sum(m.nbytes for m in means))


# ------------------------------------------------------------------------------ the program


def by_events(xp: Any) -> Callable[[Callable[[], object]], float]:
    """Seconds that a call's work takes on the device's current stream."""
    begin, end = xp.cuda.Event(), xp.cuda.Event()

    def seconds(call: Callable[[], object]) -> float:
        begin.record()
        call()
        end.record()
        end.synchronize()
        return xp.cuda.get_elapsed_time(begin, end) / 1e3

    return seconds


def measure(xp: Any, names: list[str], elements: int, rounds: int) -> dict[str, dict[str, float]]:
    seconds = elapsed if xp is np else by_events(xp)
    found: dict[str, dict[str, float]] = {}
    for name in names:
        for work in SECTIONS[name](xp, elements):
            title, contenders = f"{name}: {work.title}", dict(work.contenders)
            if xp is not np:
                here = xp.empty(work.bytes // 2, "u1")
                there = xp.zeros_like(here)
                contenders[COPY] = lambda here=here, there=there: xp.copyto(here, there)
            medians = interleave(contenders, rounds=rounds, seconds=seconds)
            rates = {n: work.bytes / spent for n, spent in medians.items()}
            row = report(title, medians)
            row |= {"seconds": medians["gpugrad"], "bytes": work.bytes}
            row["bytes per second"] = rates["gpugrad"]
            if COPY in rates:
                row["copy's bytes per second"] = rates[COPY]
                row[SHARE] = rates["gpugrad"] / rates[COPY]
                print(f"  {row[SHARE]:.0%} of a copy's {rates[COPY] / 1e9:.0f} GB/s")
            found[title] = row
    return found


COPY, SHARE = "a copy of as many bytes", "share of a copy's bandwidth"


def draw(found: dict[str, dict[str, float]], path: Path) -> None:
    """How many times as long as gpugrad each contender takes; on a GPU the share of a copy too."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    own = {
        "gpugrad",
        "seconds",
        "bytes",
        "bytes per second",
        "copy's bytes per second",
        SHARE,
        COPY,
    }
    shared = any(SHARE in row for row in found.values())
    beside_ours = {title: sorted(row.keys() - own) for title, row in found.items()}
    rows = [title for title, names in beside_ours.items() if names or shared]
    figure, panels = plt.subplots(
        1,
        1 + shared,
        figsize=(9 + 4 * shared, 1.5 + 0.35 * len(rows)),
        layout="constrained",
        sharey=True,
        squeeze=False,
    )
    axes = panels[0, 0]
    for peer in sorted({name for names in beside_ours.values() for name in names}):
        at = [i for i, title in enumerate(rows) if peer in beside_ours[title]]
        heights = [0.8 / len(beside_ours[rows[i]]) for i in at]
        first = [i - 0.4 + h * beside_ours[rows[i]].index(peer) for i, h in zip(at, heights)]
        ratios = [found[rows[i]][peer] for i in at]
        bars = axes.barh(first, ratios, heights, align="edge", label=peer)
        axes.bar_label(bars, fmt="%.1f", padding=2, fontsize=7)
    axes.set_yticks(range(len(rows)), rows, fontsize=7)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlabel("times as long as gpugrad")
    axes.legend()
    if shared:
        beside = panels[0, 1]
        bars = beside.barh(range(len(rows)), [100 * found[title][SHARE] for title in rows], 0.6)
        beside.bar_label(bars, fmt="%.0f %%", padding=2, fontsize=7)
        beside.axvline(100, color="black", linewidth=0.8)
        beside.set_xlabel("bytes that must move, in % of a copy's bandwidth")
    figure.savefig(path, dpi=120)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument(
        "--elements", type=int, metavar="N", help="of an array; 1 million, on a GPU 16 million"
    )
    parser.add_argument(
        "--rounds", type=int, default=30, metavar="N", help="of which medians count"
    )
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--png", type=Path, metavar="FILE")
    args = parser.parse_args()
    unknown = set(args.sections) - set(SECTIONS)
    if unknown:
        parser.error(f"no section {', '.join(sorted(unknown))}: there are {', '.join(SECTIONS)}")
    elements = args.elements or 1 << (20 if args.device == "cpu" else 24)
    if elements < 1 << 16:
        parser.error(f"--elements is 65536 or more, so that no array is empty; got {elements}")
    xp: Any = np
    if args.device == "cuda":
        import cupy

        xp = cupy
    found = measure(xp, args.sections or list(SECTIONS), elements, args.rounds)
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n")
    if args.png:
        draw(found, args.png)
    return 0


if __name__ == "__main__":
    sys.exit(main())
