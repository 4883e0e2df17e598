"""Convolution and its two gradients as products over shifted images.

Padded and cut into its phases (every stride-th row and column), an image needs no copy of its
windows: for one tap of the kernel, the inputs of all outputs lie one after another, shifted by
that tap's offset. A few columns between rows come along and are left out when results are stored.
Each sample is padded into a scratch image that stays in the cache.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numba
import numpy as np
from gpugrad.kernels.cpu import shared, threads, tiles

_jit = numba.njit(cache=True, nogil=True)
_loop = shared.loop(cache=True)


class _Windows(NamedTuple):
    """Where things lie in the padded phases of one channel, and the offsets of the taps."""

    phases: Any
    """(P, 2): the first row and column of the padded image that a phase has."""
    pitch: int
    """From a row to the next in a phase."""
    rows: int
    columns: int
    """Rows and columns of a phase that some tap reads."""
    image: int
    """Elements of a phase, with room to read whole vectors."""
    outputs: int
    """Elements of an output image at the same pitch, rounded up to whole vectors."""
    taps: Any
    """Offsets of (channel, row, column) in the scratch of one group of one sample."""


def _up(n: int, step: int) -> int:
    return -(-n // step) * step


@cache
def _windows(
    channels: int, size: Any, kernel: Any, out: Any, stride: Any, padding: Any, dilation: Any,
    lanes: int,
) -> _Windows:  # fmt: skip
    reach = [(k - 1) * d for k, d in zip(kernel, dilation)]
    used = [sorted({i * d % s for i in range(k)}) for k, d, s in zip(kernel, dilation, stride)]
    phases = [(a, b) for a in used[0] for b in used[1]]
    number = {phase: n for n, phase in enumerate(phases)}
    deepest = [r // s for r, s in zip(reach, stride)]
    rows, columns = (m + q for m, q in zip(out, deepest))
    pitch = columns
    if stride[1] == 1:  # the zeros that end a row begin the next
        pitch = max(size[1] + max(padding[1]), columns - padding[1][0])
    outputs = _up((out[0] - 1) * pitch + out[1], lanes)
    image = deepest[0] * pitch + deepest[1] + outputs
    within = [
        number[i * dilation[0] % stride[0], j * dilation[1] % stride[1]] * image
        + i * dilation[0] // stride[0] * pitch
        + j * dilation[1] // stride[1]
        for i in range(kernel[0])
        for j in range(kernel[1])
    ]
    taps = np.arange(channels)[:, None] * (len(phases) * image) + np.array(within, np.int64)
    return _Windows(np.array(phases), pitch, rows, columns, image, outputs, taps.ravel())


@_jit  # type: ignore[misc, unused-ignore]
def _fill(
    scratch: Any, base: int, x: Any, start: int, channels: int, size: Any, phases: Any,
    pitch: int, rows: int, columns: int, image: int, stride: Any, before: Any,
) -> None:  # fmt: skip
    """Put channels of flat ``x`` into their phases from ``base`` on; padding is zero already."""
    for c in range(channels):
        for p in range(phases.shape[0]):
            right = phases[p, 1] - before[1]
            first = 0 if right >= 0 else (-right + stride[1] - 1) // stride[1]
            last = min(columns, (size[1] - right + stride[1] - 1) // stride[1])
            for q in range(rows):
                y = q * stride[0] + phases[p, 0] - before[0]
                if y < 0 or y >= size[0]:
                    continue
                at = base + (c * phases.shape[0] + p) * image + q * pitch
                row = start + (c * size[0] + y) * size[1] + right
                if stride[1] == 1:
                    tiles.copy(scratch, at + first, x, row + first, max(0, last - first))
                else:
                    for r in range(first, last):
                        scratch[at + r] = x[row + r * stride[1]]


@_loop
def _forward(
    start: int, stop: int, x: Any, w: Any, bias: Any, y: Any, groups: int, channels: int,
    wide: int, size: Any, out: Any, phases: Any, pitch: int, rows: int, columns: int, image: int,
    outputs: int, taps: Any, stride: Any, before: Any,
) -> None:  # fmt: skip
    count = taps.shape[0]
    scratch = np.zeros(channels * phases.shape[0] * image, x.dtype)
    sums = np.empty(wide * outputs, x.dtype)
    firsts, factors = np.arange(wide) * count, np.arange(count)
    for i in range(start * groups, stop * groups):
        g = i % groups
        _fill(
            scratch, 0, x, i * channels * size[0] * size[1], channels, size, phases, pitch, rows,
            columns, image, stride, before,
        )  # fmt: skip
        for m in range(wide):
            sums[m * outputs : (m + 1) * outputs] = bias[g * wide + m]
        tiles.product(
            sums, 0, outputs, w, g * wide * count, firsts, factors, scratch, 0, taps, wide,
            outputs, count, False,
        )  # fmt: skip
        _take(y, i * wide * out[0] * out[1], out, sums, wide, outputs, pitch)


@_jit  # type: ignore[misc, unused-ignore]
def _take(y: Any, start: int, out: Any, sums: Any, count: int, image: int, pitch: int) -> None:
    """Put ``count`` images at a pitch together without what lies between rows."""
    for m in range(count):
        for v in range(out[0]):
            tiles.copy(y, start + (m * out[0] + v) * out[1], sums, m * image + v * pitch, out[1])


@_jit  # type: ignore[misc, unused-ignore]
def _spread_out(
    scratch: Any, base: int, g: Any, start: int, size: Any, count: int, image: int, pitch: int
) -> None:
    """Put ``count`` images from flat ``g`` on a pitch; what lies between rows is zero already."""
    for m in range(count):
        for v in range(size[0]):
            at = base + m * image + v * pitch
            tiles.copy(scratch, at, g, start + (m * size[0] + v) * size[1], size[1])


def forward(x: Any, w: Any, bias: Any, y: Any, stride: Any, padding: Any, dilation: Any) -> None:
    """Write the convolution of contiguous ``x`` with ``w``, plus ``bias`` (O,), to ``y``."""
    groups = x.shape[1] // w.shape[1]
    plan = _windows(
        w.shape[1], x.shape[2:], w.shape[2:], y.shape[2:], stride, padding, dilation,
        tiles.lanes(x.dtype),
    )  # fmt: skip
    work = _work(y.size, w) + x.size / 4
    before = (padding[0][0], padding[1][0])
    threads.run(
        _forward, len(x), work, x.reshape(-1), w.reshape(-1), bias, y.reshape(-1), groups,
        w.shape[1], len(w) // groups, x.shape[2:], y.shape[2:], *plan, stride, before,
    )  # fmt: skip


def _work(outputs: int, w: Any) -> float:
    """Nanoseconds of a convolution, at some hundred elements of a product each."""
    per = 12 if w.itemsize == 8 else 6
    return float(outputs * (1 + w[0].size * per / 600))


@_loop
def _weights(
    start: int, stop: int, g: Any, x: Any, parts: Any, total: int, samples: int, block: int,
    lanes: int, channels: int, wide: int, across: Any, down: Any, phases: Any, pitch: int,
    rows: int, columns: int, image: int, outputs: int, taps: Any, stride: Any, before: Any,
) -> None:  # fmt: skip
    groups = parts.shape[1]
    count = taps.shape[0]
    size = channels * phases.shape[0] * image
    scratch = np.zeros(samples * size, x.dtype)
    pulled = np.zeros(samples * wide * outputs, x.dtype)
    firsts = np.arange(wide) * outputs
    vectors = outputs // lanes
    here, there = np.empty(samples * vectors, np.int64), np.empty(samples * vectors, np.int64)
    for s in range(samples):
        for v in range(vectors):
            here[s * vectors + v] = s * wide * outputs + v * lanes
            there[s * vectors + v] = s * size + v * lanes
    for part in range(start, stop):
        first = total * part // parts.shape[0]
        last = total * (part + 1) // parts.shape[0]
        for i in range(groups):
            out = parts[part, i]
            out[:] = 0
            for n in range(first, last, samples):
                some = min(samples, last - n)
                for s in range(some):
                    k = (n + s) * groups + i
                    _fill(
                        scratch, s * size, x, k * channels * across[0] * across[1], channels,
                        across, phases, pitch, rows, columns, image, stride, before,
                    )  # fmt: skip
                    _spread_out(
                        pulled, s * wide * outputs, g, k * wide * down[0] * down[1], down, wide,
                        outputs, pitch,
                    )  # fmt: skip
                for t in range(0, some * vectors, block):
                    tiles.dots(
                        out, count, pulled, firsts, here[t:], scratch, taps, there[t:],
                        wide, count, min(block, some * vectors - t),
                    )  # fmt: skip


def weight_gradient(
    g: Any, x: Any, out: Any, stride: Any, padding: Any, dilation: Any
) -> None:  # fmt: skip
    """Write the gradient of the convolution's weights, for contiguous arrays, to ``out``."""
    groups = x.shape[1] // out.shape[1]
    wide = len(out) // groups
    lanes = tiles.lanes(x.dtype)
    plan = _windows(
        out.shape[1], x.shape[2:], out.shape[2:], g.shape[2:], stride, padding, dilation, lanes
    )
    # As many vectors of all channels as half a core's cache holds; whole samples where they fit.
    block = max(16, (1 << 19) // ((wide + out.shape[1]) * tiles.BYTES))
    samples = max(1, min(len(x), block * lanes // plan.outputs))
    # Partial sums by a fixed number of parts, so that threads do not change the result.
    pieces = max(1, min(len(x) // samples, 16, (1 << 24) // out.nbytes))
    parts = np.empty((pieces, groups, out.size // groups), x.dtype)
    before = (padding[0][0], padding[1][0])
    threads.run(
        _weights, pieces, _work(g.size, out) + x.size / 4, g.reshape(-1), x.reshape(-1), parts,
        len(x), samples, block, lanes, out.shape[1], wide, x.shape[2:], g.shape[2:], *plan,
        stride, before,
    )  # fmt: skip
    np.add.reduce(parts, axis=0, out=out.reshape(groups, -1))


class _Spread(NamedTuple):
    """How the input's gradient, by phases, is a sum of the shifted output's gradient."""

    pitch: int
    above: int
    left: int
    """Rows and columns of zeros before the gradient."""
    image: int
    """Elements of one channel of it, with room to read whole vectors."""
    outputs: int
    """Elements of one phase of the result, rounded up to whole vectors."""
    first: Any
    """The first row and column of the phases that are wanted."""
    begins: Any
    """(S + 1,): the taps of each of the stride's phases in the two lists below."""
    factors: Any
    """Offsets in the weights, of one input channel."""
    taps: Any
    """Offsets in the scratch of one group of one sample."""


@cache
def _spread(
    shape: Any, wide: int, size: Any, out: Any, stride: Any, padding: Any, dilation: Any,
    lanes: int,
) -> _Spread:  # fmt: skip
    channels, *kernel = shape
    first = [p[0] // s for p, s in zip(padding, stride)]
    many = [(n - 1 + p[0]) // s - f + 1 for n, p, s, f in zip(size, padding, stride, first)]
    deepest = [(k - 1) * d // s for k, d, s in zip(kernel, dilation, stride)]
    zeros = [max(0, q - f) for q, f in zip(deepest, first)]
    pitch = out[1] + max(zeros[1], many[1] + first[1] - out[1])
    rows = zeros[0] + max(out[0], many[0] + first[0])
    outputs = _up((many[0] - 1) * pitch + many[1], lanes)
    image = rows * pitch + zeros[1] + first[1] + lanes
    begins, factors, taps = [0], [], []
    each = channels * kernel[0] * kernel[1]
    for a in range(stride[0]):
        for b in range(stride[1]):
            for o in range(wide):
                for i in range(kernel[0]):
                    for j in range(kernel[1]):
                        (qi, ai), (qj, bj) = (
                            divmod(i * dilation[0], stride[0]),
                            divmod(j * dilation[1], stride[1]),
                        )
                        if (ai, bj) == (a, b):
                            factors.append(o * each + i * kernel[1] + j)
                            row, column = first[0] - qi + zeros[0], first[1] - qj + zeros[1]
                            taps.append(o * image + row * pitch + column)
            begins.append(len(taps))
    lists = (np.array(v, np.int64) for v in (first, begins, factors, taps))
    return _Spread(pitch, zeros[0], zeros[1], image, outputs, *lists)


@_loop
def _inputs(
    start: int, stop: int, g: Any, w: Any, out: Any, groups: int, channels: int, wide: int,
    area: int, size: Any, down: Any, pitch: int, above: int, left: int, image: int, outputs: int,
    first: Any, begins: Any, factors: Any, taps: Any, stride: Any, before: Any,
) -> None:  # fmt: skip
    scratch = np.zeros(wide * image + outputs, g.dtype)
    sums = np.empty(channels * outputs, g.dtype)
    firsts = np.arange(channels) * area
    for n in range(start * groups, stop * groups):
        _spread_out(
            scratch, above * pitch + left, g, n * wide * down[0] * down[1], down, wide, image, pitch
        )
        for p in range(begins.shape[0] - 1):
            low, high = begins[p], begins[p + 1]
            tiles.product(
                sums, 0, outputs, w, n % groups * wide * channels * area, firsts,
                factors[low:high], scratch, 0, taps[low:high], channels, outputs, high - low, True,
            )  # fmt: skip
            begin = n * channels * size[0] * size[1]
            if begins.shape[0] == 2:
                _take(out, begin, size, sums, channels, outputs, pitch)
                continue
            a, b = p // stride[1], p % stride[1]
            top, side = (a - before[0]) % stride[0], (b - before[1]) % stride[1]
            shift = (side + before[1]) // stride[1] - first[1]
            for c in range(channels):
                for y in range(top, size[0], stride[0]):
                    q = (y + before[0]) // stride[0] - first[0]
                    at = c * outputs + q * pitch + shift
                    row = begin + (c * size[0] + y) * size[1]
                    for u in range(side, size[1], stride[1]):
                        out[row + u] = sums[at]
                        at += 1


def input_gradient(
    g: Any, w: Any, out: Any, stride: Any, padding: Any, dilation: Any
) -> None:  # fmt: skip
    """Write the gradient of the convolution's input, for contiguous arrays, to ``out``."""
    groups = out.shape[1] // w.shape[1]
    plan = _spread(
        w.shape[1:], len(w) // groups, out.shape[2:], g.shape[2:], stride, padding, dilation,
        tiles.lanes(g.dtype),
    )  # fmt: skip
    work = _work(g.size, w) + out.size / 2
    before = (padding[0][0], padding[1][0])
    area = w.shape[2] * w.shape[3]
    threads.run(
        _inputs, len(g), work, g.reshape(-1), w.reshape(-1), out.reshape(-1), groups, w.shape[1],
        len(w) // groups, area, out.shape[2:], g.shape[2:], *plan, stride, before,
    )  # fmt: skip
