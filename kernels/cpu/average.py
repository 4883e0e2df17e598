"""Means of many lists of gradients."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from gpugrad.kernels.cpu import shared
from gpugrad.kernels.cpu.pointers import elements
from gpugrad.kernels.many import CHUNK

TOGETHER = 8
"""Lists that are added up before they join the sum of any length."""


@numba.njit(inline="always")  # type: ignore[misc, unused-ignore]
def _address(table: Any, k: int, t: int, size: int, samples: bool, like: Any) -> Any:
    return table[0, t] + np.uint64(k * size * like.itemsize) if samples else table[k, t]


@numba.njit(cache=True, fastmath={"contract", "reassoc"})  # type: ignore[misc, unused-ignore]
def _squares(a: Any) -> Any:
    total = 0.0
    for i in range(a.size):  # an iterator would not become vector instructions
        total += np.float64(a[i]) * np.float64(a[i])
    return total


@numba.njit(cache=True, fastmath={"reassoc"})  # type: ignore[misc, unused-ignore]
def _bad(a: Any) -> Any:
    """NaN if any element is not finite, else 0."""
    total = a.dtype.type(0)
    for i in range(a.size):
        total += a[i] - a[i]
    return total


@shared.loop(cache=True)
def average(
    begin: int,
    end: int,
    like: Any,
    table: Any,
    to: Any,
    sizes: Any,
    first: Any,
    owner: Any,
    lists: int,
    samples: bool,
    add: bool,
    weights: Any,
    divisor: Any,
    partials: Any,
) -> None:
    """Chunks ``begin`` to ``end - 1``; as ``average`` in ``cuda/average.cu``.

    ``like`` is an array of the elements' dtype; ``weights``, ``partials`` and ``to`` may be empty.
    """
    sums = np.empty(CHUNK, like.dtype)
    totals = np.empty(CHUNK if lists > TOGETHER else 0, np.float64)
    for c in range(begin, end):
        t = owner[c]
        size = sizes[t]
        start = (c - first[t]) * CHUNK
        stop = min(start + CHUNK, size)
        n = stop - start
        sums[:n] = 0
        totals[:n] = 0
        k = 0
        while k < lists:
            if k and k % TOGETHER == 0:
                for i in range(n):
                    totals[i] += sums[i]
                    sums[i] = 0
            a = elements(_address(table, k, t, size, samples, like), start, stop, like)
            if len(weights):
                w = weights[k]
                for i in range(n):
                    sums[i] += w * a[i]
                k += 1
            elif k + 3 < lists:
                b = elements(_address(table, k + 1, t, size, samples, like), start, stop, like)
                d = elements(_address(table, k + 2, t, size, samples, like), start, stop, like)
                e = elements(_address(table, k + 3, t, size, samples, like), start, stop, like)
                for i in range(n):
                    sums[i] = (((sums[i] + a[i]) + b[i]) + d[i]) + e[i]
                k += 4
            else:
                for i in range(n):
                    sums[i] += a[i]
                k += 1
        if len(totals):
            for i in range(n):
                sums[i] = totals[i] + sums[i]
        out = elements(to[0, t], start, stop, like) if len(to) else sums[:n]
        if add:
            for i in range(n):
                out[i] += sums[i] / divisor
        else:
            for i in range(n):
                out[i] = sums[i] / divisor
        if len(partials):
            partials[c, 0] = _squares(out)
            partials[c, 1] = _bad(out)


@shared.loop(cache=True)
def squares(
    begin: int,
    end: int,
    like: Any,
    table: Any,
    sizes: Any,
    first: Any,
    owner: Any,
    lists: int,
    partials: Any,
) -> None:
    """The sum of squares of each sample (row) in chunks ``begin`` to ``end - 1`` (columns)."""
    for c in range(begin, end):
        t = owner[c]
        size = sizes[t]
        start = (c - first[t]) * CHUNK
        stop = min(start + CHUNK, size)
        for k in range(lists):
            a = elements(_address(table, k, t, size, True, like), start, stop, like)
            partials[k, c] = _squares(a)
