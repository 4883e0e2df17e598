"""Softmax, log-softmax and cross-entropy of rows; float32 or float64, in C order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from gpugrad.kernels.cpu import shared
from gpugrad.kernels.cpu.elementary import exp, log, recast, select
from numba import types
from numba.extending import overload

_LOOSE = {"fastmath": {"contract", "reassoc"}, "error_model": "numpy"}
_loop = shared.loop(cache=True, **_LOOSE)


def _most(x: Any) -> Any:
    raise TypeError("for functions that Numba compiles")


@overload(_most, jit_options=_LOOSE)
def _(x: Any) -> Callable[..., Any]:
    """The largest element or, where there is one, a NaN.

    Compared as integers, whose order is that of the numbers once the bits of negative ones are
    turned round: such a loop vectorises, one over floats does not.
    """
    whole: Any = {types.float32: np.int32, types.float64: np.int64}[x.dtype]
    info = np.iinfo(whole)
    sign, mask, least = whole(info.bits - 1), whole(info.max), whole(info.min)

    def impl(x: Any) -> Any:
        top = least
        for i in range(x.size):
            k = recast(x[i])
            k = whole(k ^ (whole(k >> sign) & mask))
            top = select(k > top, k, top)
        return recast(whole(top ^ (whole(top >> sign) & mask)))

    return impl


@_loop
def softmax(begin: int, end: int, x: Any, y: Any, logarithm: bool) -> None:
    """``softmax(x)`` or its logarithm for rows ``begin`` to ``end - 1``."""
    for r in range(begin, end):
        a, b = x[r], y[r]
        top = _most(a)
        total = x.dtype.type(0)
        if logarithm:
            for i in range(a.size):
                total += exp(a[i] - top)
            rest = log(total)
            for i in range(a.size):
                b[i] = (a[i] - top) - rest
        else:
            for i in range(a.size):
                e = exp(a[i] - top)
                b[i] = e
                total += e
            for i in range(a.size):
                b[i] /= total


@_loop
def softmax_backward(begin: int, end: int, g: Any, y: Any, dx: Any, logarithm: bool) -> None:
    """The cotangent of x from that of y."""
    for r in range(begin, end):
        a, b, d = g[r], y[r], dx[r]
        total = g.dtype.type(0)
        if logarithm:
            for i in range(a.size):
                total += a[i]
            for i in range(a.size):
                d[i] = a[i] - exp(b[i]) * total
        else:
            for i in range(a.size):
                total += a[i] * b[i]
            for i in range(a.size):
                d[i] = b[i] * (a[i] - total)


@_loop
def cross_entropy(
    begin: int,
    end: int,
    logits: Any,
    labels: Any,
    weights: Any,
    ignored: int,
    smoothing: float,
    losses: Any,
    lse: Any,
) -> None:
    """Each row's loss and log-sum-exp; ``weights`` may be empty: 1 each."""
    real = logits.dtype.type
    sharp, spread = real(1 - smoothing), real(smoothing / logits.shape[1])
    for r in range(begin, end):
        x = logits[r]
        top = _most(x)
        total = real(0)
        for i in range(x.size):
            total += exp(x[i] - top)
        rest = log(total)
        lse[r] = top + rest
        label = labels[r]
        if label == ignored:
            losses[r] = real(0)
            continue
        w = weights[label] if weights.size else real(1)
        loss = sharp * w * (rest - (x[label] - top))
        if smoothing > 0:
            below, all_weights = real(0), real(x.size)
            if weights.size:
                all_weights = real(0)
                for i in range(x.size):
                    below += weights[i] * x[i]
                    all_weights += weights[i]
            else:
                for i in range(x.size):
                    below += x[i]
            loss += spread * (all_weights * (rest + top) - below)
        losses[r] = loss


@_loop
def cross_entropy_backward(
    begin: int,
    end: int,
    g: Any,
    logits: Any,
    labels: Any,
    weights: Any,
    ignored: int,
    smoothing: float,
    lse: Any,
    dx: Any,
) -> None:
    """The logits' gradient from ``g``, one of each row or one for all."""
    real = logits.dtype.type
    sharp, spread = real(1 - smoothing), real(smoothing / logits.shape[1])
    all_weights = real(logits.shape[1])
    if weights.size:
        all_weights = real(0)
        for w in weights:
            all_weights += w
    for r in range(begin, end):
        x, d = logits[r], dx[r]
        label = labels[r]
        if label == ignored:
            d[:] = real(0)
            continue
        up = g[r if g.size > 1 else 0]
        known = 0 <= label < x.size  # others have made the loss NaN
        w = weights[label] if weights.size and known else real(1)
        height, shift = up * (sharp * w + spread * all_weights), lse[r]
        if smoothing > 0:
            floor = up * spread
            if weights.size:
                for i in range(x.size):
                    d[i] = height * exp(x[i] - shift) - floor * weights[i]
            else:
                for i in range(x.size):
                    d[i] = height * exp(x[i] - shift) - floor
        else:
            for i in range(x.size):
                d[i] = height * exp(x[i] - shift)
        if known:
            d[label] -= up * sharp * w
