"""Rows by their numbers; the largest elements of the rows of each number."""

from __future__ import annotations

from typing import Any

from gpugrad.kernels.cpu import shared, threads
from gpugrad.kernels.cpu.tiles import copy

BLOCK = 128
"""Columns that a thread has at least: whole lines of the cache, and several."""

_loop = shared.loop(cache=True)


@_loop
def _take(start: int, stop: int, out: Any, table: Any, rows: Any, wide: int) -> None:
    for i in range(start, stop):
        row = rows[i]
        if 0 <= row < table.size // wide:
            copy(out, i * wide, table, row * wide, wide)
        else:
            out[i * wide : (i + 1) * wide] = 0


@_loop
def _largest(start: int, stop: int, out: Any, values: Any, rows: Any) -> None:
    for i in range(values.shape[0]):
        row = rows[i]
        if 0 <= row < out.shape[0]:
            for c in range(start * BLOCK, min(stop * BLOCK, out.shape[1])):
                v = values[i, c]
                if v > out[row, c] or v != v:
                    out[row, c] = v


def take(out: Any, table: Any, rows: Any) -> None:
    """Fill (N, C) with rows of ``table`` (R, C), zeros for those that are not there."""
    work = 0.025 * out.nbytes
    threads.run(_take, len(rows), work, out.reshape(-1), table.reshape(-1), rows, out.shape[1])


def largest(out: Any, values: Any, rows: Any) -> None:
    """Raise each row of ``out`` to those of ``values`` with its number; NaN is larger than all."""
    threads.run(_largest, -(-out.shape[1] // BLOCK), float(values.size), out, values, rows)
