"""Pooling over windows of images, one image after another."""

from __future__ import annotations

from typing import Any

import numba
from gpugrad.kernels.cpu import shared, threads

_jit = numba.njit(cache=True, nogil=True)
_loop = shared.loop(cache=True)


@_jit  # type: ignore[misc, unused-ignore]
def _span(i: int, size: int, kernel: int, stride: int, pad: int, out: int, adaptive: bool) -> Any:
    """Where window i begins, where it ends, and where it ends in the padded image."""
    if adaptive:
        start, stop = i * size // out, ((i + 1) * size + out - 1) // out
        return start, stop, stop
    start = i * stride - pad
    return start, min(start + kernel, size), min(start + kernel, size + pad)


@_loop
def _largest(
    start: int, stop: int, x: Any, y: Any, places: Any, kernel: Any, stride: Any, pad: Any,
    dilation: Any,
) -> None:  # fmt: skip
    _, height, width = x.shape
    for p in range(start, stop):
        for i in range(y.shape[1]):
            top = i * stride[0] - pad[0]
            for j in range(y.shape[2]):
                left = j * stride[1] - pad[1]
                at, best = -1, x.dtype.type(0)
                for k in range(kernel[0]):
                    a = top + k * dilation[0]
                    if a < 0 or a >= height:
                        continue
                    for m in range(kernel[1]):
                        b = left + m * dilation[1]
                        if 0 <= b < width:
                            v = x[p, a, b]
                            if at < 0 or v > best or v != v:
                                at, best = a * width + b, v
                y[p, i, j], places[p, i, j] = best, at


@_loop
def _put(start: int, stop: int, g: Any, places: Any, out: Any) -> None:
    for p in range(start, stop):
        out[p, :] = 0
        for i in range(g.shape[1]):
            if 0 <= places[p, i] < out.shape[1]:
                out[p, places[p, i]] += g[p, i]


@_jit  # type: ignore[misc, unused-ignore]
def _share(rows: Any, columns: Any, padded: bool, divisor: int, one: Any) -> Any:
    """What a pixel counts for in the mean over a window of these spans."""
    if divisor:
        return one / divisor
    if padded:
        return one / ((rows[2] - rows[0]) * (columns[2] - columns[0]))
    return one / ((rows[1] - max(rows[0], 0)) * (columns[1] - max(columns[0], 0)))


@_loop
def _mean(
    start: int, stop: int, x: Any, y: Any, kernel: Any, stride: Any, pad: Any, adaptive: bool,
    padded: bool, divisor: int,
) -> None:  # fmt: skip
    _, height, width = x.shape
    _, many, wide = y.shape
    one = x.dtype.type(1)
    for p in range(start, stop):
        for i in range(many):
            rows = _span(i, height, kernel[0], stride[0], pad[0], many, adaptive)
            for j in range(wide):
                columns = _span(j, width, kernel[1], stride[1], pad[1], wide, adaptive)
                total = one - one
                for a in range(max(rows[0], 0), rows[1]):
                    for b in range(max(columns[0], 0), columns[1]):
                        total += x[p, a, b]
                y[p, i, j] = total * _share(rows, columns, padded, divisor, one)


@_loop
def _spread(
    start: int, stop: int, g: Any, out: Any, kernel: Any, stride: Any, pad: Any, adaptive: bool,
    padded: bool, divisor: int,
) -> None:  # fmt: skip
    _, many, wide = g.shape
    _, height, width = out.shape
    one = g.dtype.type(1)
    for p in range(start, stop):
        out[p] = 0
        for i in range(many):
            rows = _span(i, height, kernel[0], stride[0], pad[0], many, adaptive)
            for j in range(wide):
                columns = _span(j, width, kernel[1], stride[1], pad[1], wide, adaptive)
                share = g[p, i, j] * _share(rows, columns, padded, divisor, one)
                for a in range(max(rows[0], 0), rows[1]):
                    for b in range(max(columns[0], 0), columns[1]):
                        out[p, a, b] += share


def largest(x: Any, y: Any, places: Any, how: Any) -> None:
    """Write the largest element of each window of (P, H, W) to ``y`` and where it is."""
    work = y.size * (1 + how.kernel[0] * how.kernel[1])
    threads.run(
        _largest, len(x), work, x, y, places, how.kernel, how.stride, how.padding, how.dilation
    )


def put(g: Any, places: Any, out: Any) -> None:
    """Add each of ``g`` (P, N) to the element of ``out`` (P, M) at its place; the rest is 0."""
    threads.run(_put, len(g), g.size * 2 + out.size / 4, g, places, out)


def mean(x: Any, y: Any, how: Any) -> None:
    """Write the mean of each window of (P, H, W) to ``y``."""
    threads.run(_mean, len(x), x.size * 2 + y.size * 4, x, y, *_means(how))


def spread(g: Any, out: Any, how: Any) -> None:
    """The transpose of `mean`."""
    threads.run(_spread, len(g), out.size * 2 + g.size * 4, g, out, *_means(how))


def _means(how: Any) -> tuple[Any, ...]:
    return how.kernel, how.stride, how.padding, how.adaptive, how.padded, how.divisor
