"""Addition of rows at indices."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from gpugrad.kernels.cpu import shared, threads

BLOCK = 256
"""Columns whose sums a thread keeps at a time."""

_jit = numba.njit(cache=True, nogil=True)


@_jit  # type: ignore[misc, unused-ignore]
def _chains(rows: Any, height: int) -> Any:
    """The first place of each of ``height`` rows, and for each place the row's next; -1: none."""
    first, after = np.full(height, -1, np.int64), np.full(len(rows), -1, np.int64)
    for i in range(len(rows) - 1, -1, -1):
        row = rows[i]
        if 0 <= row < height:
            after[i] = first[row]
            first[row] = i
    return first, after


@shared.loop(cache=True)
def _add(
    start: int, stop: int, out: Any, values: Any, first: Any, after: Any, blocks: int, like: Any
) -> None:
    room = np.empty(BLOCK, like.dtype)
    for b in range(start, stop):
        row = b // blocks
        i, c = first[row], b % blocks * BLOCK
        if i < 0:
            continue
        to = out[row, c : c + BLOCK]
        sums = room[: to.size]
        sums[:] = to
        while i >= 0:
            a = values[i, c : c + BLOCK]
            for k in range(sums.size):
                sums[k] += a[k]
            i = after[i]
        to[:] = sums


def add_rows(out: Any, rows: Any, values: Any, kept: Any) -> None:
    """``out[rows[i]] += values[i]`` in the order of ``i``, each row one chain in dtype ``kept``.

    Rows that are not there are left out.
    """
    first, after = _chains(rows.astype(np.int64, copy=False), len(out))
    blocks = -(-out.shape[1] // BLOCK)
    args = (out, values, first, after, blocks, np.empty(0, kept))
    threads.run(_add, len(out) * blocks, float(values.size), *args)
