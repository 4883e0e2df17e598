"""Compile the kernels before they are needed: ``gpugrad doctor --warm``.

Numba and NVRTC compile a kernel when it is first called, which takes from a tenth of a second to
some seconds, and keep the machine code on disk. Here each family runs once in each dtype, forward
and backward, as a training step would run it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from gpugrad import nn, optim
from gpugrad.array import Array
from gpugrad.device import Device
from gpugrad.kernels import philox, source
from gpugrad.kernels.average import average_samples
from gpugrad.ops.reductions import cumsum
from gpugrad.ops.segment import segment_max, segment_sum
from gpugrad.transforms.reverse import vjp

Draw = Callable[..., Array]
"""Makes an array of a shape on the device that is warmed up."""

DTYPES = ("float32", "float64")
"""What the kernels on the CPU compute in: narrower elements are widened first."""


def _step(f: Callable[..., Any], *arrays: Array) -> None:
    """The value of ``f`` and its gradients."""
    y, pull = vjp(f, *arrays)
    pull(y)


def _activations(draw: Draw) -> None:
    x, b, gates = draw(256, 512), draw(512), draw(256, 1024)
    for f in (
        *(nn.relu, nn.leaky_relu, nn.sigmoid, nn.tanh, nn.elu, nn.selu, nn.gelu, nn.silu),
        *(nn.mish, nn.hardswish, nn.softplus),
    ):
        _step(lambda x, b, f=f: f(x, bias=b), x, b)
    _step(lambda x, b: nn.gelu(x, "tanh", bias=b), x, b)
    for f in (nn.glu, nn.geglu, nn.swiglu):
        _step(f, gates)
    _step(lambda x: nn.dropout(x, key=1), x)


def _random(draw: Draw) -> None:
    state = Array(philox.stream(0), device=draw(1).device)._value
    philox.bits(state, (1 << 16,))
    for dtype in ("float32", "float64"):
        philox.uniform(state, (1 << 16,), dtype)
        philox.normal(state, (1 << 16,), dtype)


def _softmax(draw: Draw) -> None:
    x = draw(256, 512)
    for f in (nn.softmax, nn.log_softmax):
        _step(f, x)
    for dtype in ("int32", "int64"):
        labels = Array(np.arange(256, dtype=dtype), device=x.device)
        _step(lambda x, labels=labels: nn.cross_entropy(x, labels), x)


def _norms(draw: Draw) -> None:
    x, w = draw(256, 512), draw(512)
    images, scale = draw(8, 16, 32, 32), draw(16)
    _step(lambda x, w, b: nn.layer_norm(x, 512, w, b), x, w, w)
    _step(lambda x, w: nn.rms_norm(x, 512, w), x, w)
    _step(lambda x, w, b: nn.group_norm(x, 4, w, b), images, scale, scale)
    for batch, factors in ((images, scale), (x, w)):
        _step(lambda x, w, b: nn.batch_norm(x, None, None, w, b, True), batch, factors, factors)


def _images(draw: Draw) -> None:
    images = draw(8, 16, 32, 32)
    _step(lambda x, w, b: nn.conv2d(x, w, b, padding=1), images, draw(32, 16, 3, 3), draw(32))
    _step(lambda x: nn.max_pool2d(x, 2), images)
    _step(lambda x: nn.avg_pool2d(x, 2), images)


def _sequences(draw: Draw) -> None:
    q, k, v = draw(2, 4, 128, 32), draw(2, 4, 128, 32), draw(2, 4, 128, 32)
    _step(lambda q, k, v: nn.scaled_dot_product_attention(q, k, v, is_causal=True), q, k, v)
    tokens = Array(np.arange(2048) % 128, device=q.device)
    _step(lambda w: nn.embedding(tokens, w), draw(128, 64))
    _step(lambda x: segment_sum(x, tokens, 128), draw(2048, 64))
    _step(lambda x: segment_max(x, tokens, 128), draw(2048, 64))


def _running(draw: Draw) -> None:
    for axis in (0, 1):
        _step(lambda x, axis=axis: cumsum(x, axis), draw(128, 64))


def _optimizers(draw: Draw) -> None:
    for make, options in (
        *((optim.SGD, {}), (optim.SGD, {"momentum": 0.9}), (optim.Adagrad, {})),
        *((optim.Adam, {}), (optim.Adam, {"amsgrad": True}), (optim.RMSprop, {}), (optim.Lion, {})),
    ):
        w = Array(draw(256, 512), requires_grad=True)
        optimizer = make([w], **options)
        (w * w).sum().backward()
        optimizer.step(max_norm=1.0)


def _averages(draw: Draw) -> None:
    parts = optim.Accumulator()
    for _ in range(2):
        parts.add([draw(256, 512)])
    parts.take()
    average_samples([draw(8, 512)._value], limit=1.0)


FAMILIES: dict[str, Callable[[Draw], None]] = {
    "activations": _activations,
    "random numbers": _random,
    "softmax": _softmax,
    "normalisation": _norms,
    "convolution and pooling": _images,
    "attention and embedding": _sequences,
    "running sums": _running,
    "optimizers": _optimizers,
    "averages": _averages,
}
"""What is run on each device, by the name of the family."""


def warm(device: Device) -> Iterator[tuple[str, float]]:
    """Compile the kernels for a device; gives each family's name and how many seconds it took."""
    from gpugrad.kernels.cpu import threads

    threads.hush()  # what takes long here is asked for
    rng = np.random.default_rng(0)
    for name, run in FAMILIES.items():
        started = time.perf_counter()
        for dtype in DTYPES:
            run(lambda *shape, dtype=dtype: Array(rng.normal(size=shape), dtype, device=device))
        yield name, time.perf_counter() - started
    if device.kind == "cuda":
        started = time.perf_counter()
        _compile(device)
        yield "the other kernels", time.perf_counter() - started


def _compile(device: Device) -> None:
    """All that the report lists, for the architecture of the device, on all cores."""
    from gpugrad.device import on
    from gpugrad.kernels.report import KERNELS

    def build(job: tuple[str, str]) -> None:
        with on(device):
            source.function(*job).compile()

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = [(name, expression) for name, several in KERNELS.items() for expression in several]
        list(pool.map(build, jobs))
