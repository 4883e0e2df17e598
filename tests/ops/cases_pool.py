"""Pooling against the elements of each window, one after another."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from gpugrad.kernels.pool import Window
from op_case import Sample, case
from op_draw import Draw, distinct, real

from gpugrad import nn
from gpugrad.ops.pool import pick_p


def windows(
    x: Any, out: Any, kernel: Any, stride: Any, padding: Any, dilation: Any = (1, 1)
) -> Iterator[tuple[tuple[int, int], Any]]:
    """Each window's number and its elements inside the image, along the last axis."""
    for place in itertools.product(*map(range, out)):
        at = [
            [a for k in range(n) if 0 <= (a := i * s - p + k * d) < size]
            for i, n, s, p, d, size in zip(place, kernel, stride, padding, dilation, x.shape[-2:])
        ]
        part = x[..., at[0], :][..., at[1]]
        yield place, part.reshape(*x.shape[:-2], -1)


def outputs(size: Any, kernel: Any, stride: Any, padding: Any, dilation: Any) -> list[int]:
    return [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(size, kernel, stride, padding, dilation)
    ]


def largest(x: Any, kernel: Any, stride: Any, padding: Any, dilation: Any) -> Any:
    out = outputs(x.shape[-2:], kernel, stride, padding, dilation)
    y = np.empty((*x.shape[:-2], *out), x.dtype)
    for (i, j), part in windows(x, out, kernel, stride, padding, dilation):
        y[..., i, j] = part.max(-1)
    return y


def mean(x: Any, kernel: Any, stride: Any, padding: Any, count_include_pad: bool) -> Any:
    out = outputs(x.shape[-2:], kernel, stride, padding, (1, 1))
    y = np.empty((*x.shape[:-2], *out), x.dtype)
    for (i, j), part in windows(x, out, kernel, stride, padding):
        total = kernel[0] * kernel[1] if count_include_pad else part.shape[-1]
        y[..., i, j] = part.sum(-1) / total
    return y


def _max(d: Draw) -> Sample:
    kernel = d.integer(1, 3), d.integer(1, 3)
    params = {
        "kernel": kernel,
        "stride": (d.integer(1, 3), d.integer(1, 2)),
        "padding": (d.integer(0, kernel[0] // 2), d.integer(0, kernel[1] // 2)),
        "dilation": (1, d.integer(1, 2) if kernel[1] < 3 else 1),
    }
    return [distinct((*d.shape(1, 2), d.integer(3, 4), d.integer(3, 5)))], params


case(
    "max_pool2d",
    _max,
    lambda x, kernel, stride, padding, dilation: nn.max_pool2d(
        x, kernel, stride, padding, dilation
    ),
    largest,
)
case(
    "max_pool1d",
    lambda d: ([distinct((2, d.integer(4, 7)))], {}),
    lambda x: nn.max_pool1d(x, 3, 2, padding=1),
    lambda x: largest(x[:, None], (1, 3), (1, 2), (0, 1), (1, 1))[:, 0],
)


def _avg(d: Draw) -> Sample:
    (x,), params = _max(d)
    del params["dilation"]
    shape = x(np.random.default_rng(0)).shape
    return [real(shape)], {**params, "count_include_pad": d.flag()}


case(
    "avg_pool2d",
    _avg,
    lambda x, kernel, stride, padding, count_include_pad: nn.avg_pool2d(
        x, kernel, stride, padding, count_include_pad=count_include_pad
    ),
    mean,
)
case(
    "avg_pool1d",
    lambda d: ([real((2, d.integer(4, 7)))], {}),
    lambda x: nn.avg_pool1d(x, 3, 1, 1, count_include_pad=False),
    lambda x: mean(x[:, None], (1, 3), (1, 1), (0, 1), False)[:, 0],
)


def _adaptive(x: Any, out: Any) -> Any:
    y = np.empty((*x.shape[:-2], *out), x.dtype)
    for i, j in itertools.product(*map(range, out)):
        rows, columns = (
            slice(k * n // m, -(-(k + 1) * n // m)) for k, m, n in zip((i, j), out, x.shape[-2:])
        )
        y[..., i, j] = x[..., rows, columns].mean((-1, -2))
    return y


case(
    "adaptive_avg_pool2d",
    lambda d: (
        [real((2, d.integer(1, 5), d.integer(1, 5)))],
        {"out": (d.integer(1, 4), d.integer(1, 3))},
    ),
    lambda x, out: nn.adaptive_avg_pool2d(x, out),
    _adaptive,
)
case(
    "adaptive_avg_pool1d",
    lambda d: ([real((2, d.integer(1, 5)))], {}),
    lambda x: nn.adaptive_avg_pool1d(x, 2),
    lambda x: _adaptive(x[:, None], (1, 2))[:, 0],
)


HALVES = Window((1, 2), (3, 2), (1, 2))
"""An image of 3 x 4 in two windows."""


def _places(rng: np.random.Generator) -> Any:
    """A place in each half of each of two images."""
    rows, columns = rng.integers(0, 3, (2, 1, 2)), rng.integers(0, 2, (2, 1, 2))
    return rows * 4 + columns + np.array([0, 2])


case(
    "elements at the places of a pool",
    lambda d: ([real((2, 3, 4)), _places], {}),
    lambda x, places: pick_p(x, places, how=HALVES),
    lambda x, places: np.take_along_axis(x.reshape(2, 12), places[:, 0], 1)[:, None],
)
