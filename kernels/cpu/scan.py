"""Running sums and products along the middle axis of three. See kernels/scan.py."""

from __future__ import annotations

from typing import Any

import numpy as np
from gpugrad.kernels.cpu import shared, threads

BLOCK = 512
"""Columns whose totals are carried together: they stay in the first cache."""


@shared.loop(cache=True)
def _lines(start: int, stop: int, y: Any, x: Any, product: bool, like: Any) -> None:
    for o in range(start, stop):
        total = like.dtype.type(1 if product else 0)
        if product:
            for i in range(x.shape[1]):
                total *= x[o, i, 0]
                y[o, i, 0] = total
        else:
            for i in range(x.shape[1]):
                total += x[o, i, 0]
                y[o, i, 0] = total


@shared.loop(cache=True)
def _columns(start: int, stop: int, y: Any, x: Any, product: bool, like: Any) -> None:
    tiles = -(-x.shape[2] // BLOCK)
    totals = np.empty(min(BLOCK, x.shape[2]), like.dtype)
    for part in range(start, stop):
        o, left = part // tiles, part % tiles * BLOCK
        right = min(left + BLOCK, x.shape[2])
        totals[:] = 1 if product else 0
        for i in range(x.shape[1]):
            xs, ys = x[o, i, left:right], y[o, i, left:right]
            if product:
                for c in range(right - left):
                    totals[c] *= xs[c]
                    ys[c] = totals[c]
            else:
                for c in range(right - left):
                    totals[c] += xs[c]
                    ys[c] = totals[c]


def running(y: Any, x: Any, product: bool, dtype: Any) -> None:
    """Fill ``y``; the totals are of ``dtype``."""
    like = np.empty(0, dtype)
    outer, _, inner = x.shape
    if inner == 1:
        threads.run(_lines, outer, 1.2 * x.size, y, x, product, like)
    else:
        parts = outer * -(-inner // BLOCK)
        threads.run(_columns, parts, 0.4 * x.size, y, x, product, like)
