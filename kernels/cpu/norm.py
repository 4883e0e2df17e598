"""Normalisation of rows, groups and channels; float32 or float64, in C order."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from gpugrad.kernels.cpu import shared

_OPTIONS: Any = {"error_model": "numpy", "fastmath": {"contract", "reassoc"}}
_jit = numba.njit(**_OPTIONS)
_loop = shared.loop(cache=True, **_OPTIONS)


@numba.njit(error_model="numpy", fastmath={"contract"})  # type: ignore[misc, unused-ignore]
def _pulled(h: Any, d: Any, scale: Any, shift: Any, slope: Any) -> Any:
    """Without "reassoc", which would divide each element by what ``slope`` was divided by."""
    return scale * ((h - shift) - d * slope)


PIECE = 512
"""Elements that are added up apart, before they join the sum of any length, in float64."""


@_jit
def _moments(x: Any, center: bool, eps: float) -> Any:
    """The mean of a row (0 without ``center``) and one over its deviation from that."""
    total, square = 0.0, 0.0
    if center:
        for first in range(0, x.size, PIECE):
            a = x[first : first + PIECE]
            part = x.dtype.type(0)
            for i in range(a.size):
                part += a[i]
            total += part
    mean = x.dtype.type(total / x.size)
    for first in range(0, x.size, PIECE):
        a = x[first : first + PIECE]
        part = x.dtype.type(0)
        for i in range(a.size):
            d = a[i] - mean
            part += d * d
        square += part
    variance = x.dtype.type(square / x.size)
    return mean, x.dtype.type(1) / np.sqrt(variance + x.dtype.type(eps))


@_loop
def rows(
    begin: int,
    end: int,
    x: Any,
    weight: Any,
    bias: Any,
    y: Any,
    means: Any,
    rstds: Any,
    center: bool,
    eps: float,
) -> None:
    """``(x - mean) * rstd * weight + bias`` for rows ``begin`` to ``end - 1``."""
    for r in range(begin, end):
        a, b = x[r], y[r]
        mean, rstd = _moments(a, center, eps)
        for i in range(a.size):
            b[i] = (a[i] - mean) * rstd * weight[i] + bias[i]
        means[r], rstds[r] = mean, rstd


@_loop
def rows_backward(
    begin: int,
    end: int,
    g: Any,
    x: Any,
    weight: Any,
    means: Any,
    rstds: Any,
    dx: Any,
    partials: Any,
    center: bool,
    height: int,
) -> None:
    """The cotangent of x, and for each ``height`` rows the sums that the parameters' need."""
    size = x.dtype.type(x.shape[1])
    for p in range(begin, end):
        dw, db = partials[p, 0], partials[p, 1]
        dw[:] = x.dtype.type(0)
        db[:] = x.dtype.type(0)
        for r in range(p * height, min((p + 1) * height, x.shape[0])):
            a, u, d = x[r], g[r], dx[r]
            mean, rstd = means[r], rstds[r]
            shift, slope = x.dtype.type(0), x.dtype.type(0)
            # Few enough arrays in each loop for the compiler to prove them apart and vectorise.
            for i in range(a.size):
                hat = (a[i] - mean) * rstd
                h = u[i] * weight[i]
                shift += h
                slope += h * hat
                dw[i] += u[i] * hat
                db[i] += u[i]
            shift = shift / size if center else x.dtype.type(0)
            slope = slope / size * rstd
            for i in range(a.size):
                d[i] = _pulled(u[i] * weight[i], a[i] - mean, rstd, shift, slope)


@_loop
def groups(
    begin: int,
    end: int,
    x: Any,
    weight: Any,
    bias: Any,
    y: Any,
    means: Any,
    rstds: Any,
    eps: float,
) -> None:
    """Group normalisation of x (groups of all samples; channels of a group; elements)."""
    channels, kinds = x.shape[1], weight.size // x.shape[1]
    for r in range(begin, end):
        mean, rstd = _moments(x[r].reshape(-1), True, eps)
        first = r % kinds * channels
        for c in range(channels):
            a, b = x[r, c], y[r, c]
            w, v = weight[first + c], bias[first + c]
            for i in range(a.size):
                b[i] = (a[i] - mean) * rstd * w + v
        means[r], rstds[r] = mean, rstd


@_loop
def groups_backward(
    begin: int,
    end: int,
    g: Any,
    x: Any,
    weight: Any,
    means: Any,
    rstds: Any,
    dx: Any,
    partials: Any,
) -> None:
    """The cotangent of x, and of each channel the sums of g xhat and of g."""
    channels, kinds = x.shape[1], weight.size // x.shape[1]
    zero, size = x.dtype.type(0), x.dtype.type(x.shape[1] * x.shape[2])
    for r in range(begin, end):
        mean, rstd = means[r], rstds[r]
        first = r % kinds * channels
        shift, slope = zero, zero
        for c in range(channels):
            a, u = x[r, c], g[r, c]
            up, along = zero, zero
            for i in range(a.size):
                up += u[i]
                along += u[i] * ((a[i] - mean) * rstd)
            partials[r, 0, c], partials[r, 1, c] = along, up
            shift += up * weight[first + c]
            slope += along * weight[first + c]
        shift /= size
        slope = slope / size * rstd
        for c in range(channels):
            a, u, d = x[r, c], g[r, c], dx[r, c]
            w = weight[first + c]
            for i in range(a.size):
                d[i] = _pulled(u[i] * w, a[i] - mean, rstd, shift, slope)


SPAN = 8
"""Samples for which the same holds where each has one element of a channel."""

TILE = 64
"""Channels that are worked on together where each has one element a sample."""


@_jit
def _sum(x: Any, c: int) -> Any:
    """The sum of a channel of x (samples, channels, elements)."""
    total = 0.0
    for n in range(x.shape[0]):
        for first in range(0, x.shape[2], PIECE):
            a = x[n, c, first : first + PIECE]
            part = x.dtype.type(0)
            for i in range(a.size):
                part += a[i]
            total += part
    return total


@_jit
def _squares(x: Any, c: int, mean: Any) -> Any:
    """The sum of a channel's squared deviations from what ``mean`` is a rounding of."""
    total, rest = 0.0, 0.0
    for n in range(x.shape[0]):
        for first in range(0, x.shape[2], PIECE):
            a = x[n, c, first : first + PIECE]
            part, left = x.dtype.type(0), x.dtype.type(0)
            for i in range(a.size):
                d = a[i] - mean
                part += d * d
                left += d
            total += part
            rest += left
    total -= rest * rest / (x.shape[0] * x.shape[2])
    return total


@_loop
def channels(
    begin: int, end: int, x: Any, weight: Any, bias: Any, y: Any, stats: Any, eps: float
) -> None:
    """Batch normalisation of channels of x (samples, channels, elements)."""
    size = x.shape[0] * x.shape[2]
    for c in range(begin, end):
        mean = x.dtype.type(_sum(x, c) / size)
        variance = x.dtype.type(_squares(x, c, mean) / size)
        stats[0, c], stats[1, c] = mean, variance
        stats[2, c] = x.dtype.type(1) / np.sqrt(variance + x.dtype.type(eps))
        scale = stats[2, c] * weight[c]
        for n in range(x.shape[0]):
            a, b = x[n, c], y[n, c]
            for i in range(a.size):
                b[i] = (a[i] - mean) * scale + bias[c]


@_loop
def channels_backward(
    begin: int,
    end: int,
    g: Any,
    x: Any,
    weight: Any,
    means: Any,
    rstds: Any,
    dx: Any,
    totals: Any,
) -> None:
    """The cotangent of x, and of each channel the sums of g xhat and of g."""
    size = x.dtype.type(x.shape[0] * x.shape[2])
    for c in range(begin, end):
        mean, rstd = means[c], rstds[c]
        ups, alongs = 0.0, 0.0
        for n in range(x.shape[0]):
            for first in range(0, x.shape[2], PIECE):
                a, u = x[n, c, first : first + PIECE], g[n, c, first : first + PIECE]
                part, turn = x.dtype.type(0), x.dtype.type(0)
                for i in range(a.size):
                    part += u[i]
                    turn += u[i] * ((a[i] - mean) * rstd)
                ups += part
                alongs += turn
        up, along = x.dtype.type(ups), x.dtype.type(alongs)
        totals[0, c], totals[1, c] = along, up
        scale, slope, shift = rstd * weight[c], along / size * rstd, up / size
        for n in range(x.shape[0]):
            a, u, d = x[n, c], g[n, c], dx[n, c]
            for i in range(a.size):
                d[i] = _pulled(u[i], a[i] - mean, scale, shift, slope)


@_loop
def columns(
    begin: int, end: int, x: Any, weight: Any, bias: Any, y: Any, stats: Any, eps: float
) -> None:
    """Batch normalisation of tiles of channels of x (samples, channels)."""
    size = x.shape[0]
    for t in range(begin, end):
        c0, c1 = t * TILE, min((t + 1) * TILE, x.shape[1])
        mean, square = stats[0, c0:c1], stats[1, c0:c1]
        part, left = np.empty(c1 - c0, x.dtype), np.empty(c1 - c0, x.dtype)
        total, rest = np.zeros(c1 - c0), np.zeros(c1 - c0)
        for first in range(0, x.shape[0], SPAN):
            part[:] = x.dtype.type(0)
            for n in range(first, min(first + SPAN, x.shape[0])):
                a = x[n, c0:c1]
                for i in range(a.size):
                    part[i] += a[i]
            total += part
        mean[:] = total / size
        total[:] = 0
        for first in range(0, x.shape[0], SPAN):
            part[:] = x.dtype.type(0)
            left[:] = x.dtype.type(0)
            for n in range(first, min(first + SPAN, x.shape[0])):
                a = x[n, c0:c1]
                for i in range(a.size):
                    d = a[i] - mean[i]
                    part[i] += d * d
                    left[i] += d
            total += part
            rest += left
        scale = np.empty(c1 - c0, x.dtype)
        for i in range(mean.size):
            square[i] = (total[i] - rest[i] * rest[i] / size) / size
            stats[2, c0 + i] = x.dtype.type(1) / np.sqrt(square[i] + x.dtype.type(eps))
            scale[i] = stats[2, c0 + i] * weight[c0 + i]
        shift = bias[c0:c1]
        for n in range(x.shape[0]):
            a, b = x[n, c0:c1], y[n, c0:c1]
            for i in range(a.size):
                b[i] = (a[i] - mean[i]) * scale[i] + shift[i]


@_loop
def columns_backward(
    begin: int,
    end: int,
    g: Any,
    x: Any,
    weight: Any,
    means: Any,
    rstds: Any,
    dx: Any,
    totals: Any,
) -> None:
    """As `channels_backward`, of tiles of channels."""
    size = x.dtype.type(x.shape[0])
    for t in range(begin, end):
        c0, c1 = t * TILE, min((t + 1) * TILE, x.shape[1])
        mean, rstd = means[c0:c1], rstds[c0:c1]
        along, up = totals[0, c0:c1], totals[1, c0:c1]
        ups, alongs = np.zeros(c1 - c0), np.zeros(c1 - c0)
        part, turn = np.empty(c1 - c0, x.dtype), np.empty(c1 - c0, x.dtype)
        for first in range(0, x.shape[0], SPAN):
            part[:] = x.dtype.type(0)
            turn[:] = x.dtype.type(0)
            for n in range(first, min(first + SPAN, x.shape[0])):
                a, u = x[n, c0:c1], g[n, c0:c1]
                for i in range(a.size):
                    part[i] += u[i]
                    turn[i] += u[i] * ((a[i] - mean[i]) * rstd[i])
            ups += part
            alongs += turn
        up[:] = ups
        along[:] = alongs
        w = weight[c0:c1]
        for n in range(x.shape[0]):
            a, u, d = x[n, c0:c1], g[n, c0:c1], dx[n, c0:c1]
            for i in range(a.size):
                slope = along[i] / size * rstd[i]
                d[i] = rstd[i] * w[i] * ((u[i] - up[i] / size) - (a[i] - mean[i]) * slope)
