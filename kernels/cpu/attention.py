"""Attention by tiles of queries and keys, with running softmax.

Scores are kept with the queries along vectors: a row for each key. So a tile's products need no
horizontal sums, and the softmax's maxima and sums over keys are sums of rows.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from gpugrad.kernels.cpu import shared, threads, tiles
from gpugrad.kernels.cpu.elementary import exp, log

TILE = 64
"""Queries in a tile, and keys."""

_jit = numba.njit(cache=True, nogil=True, error_model="numpy")
_loop = shared.loop(cache=True, error_model="numpy")


@_jit  # type: ignore[misc, unused-ignore]
def _turn(out: Any, x: Any, start: int, count: int, width: int, factor: Any) -> None:
    """``out[d, i] = factor * x[start + i * width + d]``, 0 from ``count`` to the tile's end."""
    for d in range(width):
        for i in range(count):
            out[d * TILE + i] = x[start + i * width + d] * factor
        for i in range(count, TILE):
            out[d * TILE + i] = 0


@_jit  # type: ignore[misc, unused-ignore]
def _scores(
    out: Any, k: Any, start: int, turned: Any, width: int, keys: int, rows: Any, ones: Any,
    lines: Any,
) -> None:  # fmt: skip
    """``out[j, i]``: key j by query i."""
    tiles.product(out, 0, TILE, k, start, rows, ones, turned, 0, lines, keys, TILE, width, True)


@_jit  # type: ignore[misc, unused-ignore]
def _hide(
    scores: Any, mask: Any, steps: Any, causal: bool, b: int, h: int, first: int, queries: int,
    key: int, keys: int,
) -> None:  # fmt: skip
    """Add the mask, and minus infinity where a key comes after the query."""
    if mask.size:
        at = b * steps[0] + h * steps[1] + first * steps[2] + key * steps[3]
        for j in range(keys):
            for i in range(queries):
                scores[j * TILE + i] += mask[at + i * steps[2] + j * steps[3]]
    if causal and key + keys - 1 > first:
        for j in range(keys):
            for i in range(min(max(0, key + j - first), TILE)):
                scores[j * TILE + i] = -np.inf


@_loop
def _forward(
    start: int, stop: int, q: Any, k: Any, v: Any, mask: Any, steps: Any, out: Any, lse: Any,
    causal: bool, scale: Any, heads: int, shared: int, queries: int, length: int, width: int,
    deep: int,
) -> None:  # fmt: skip
    dtype = q.dtype
    turned, scores = np.empty(width * TILE, dtype), np.empty(TILE * TILE, dtype)
    sums = np.empty(deep * TILE, dtype)
    top, total, shrink = np.empty(TILE, dtype), np.empty(TILE, dtype), np.empty(TILE, dtype)
    ones, places = np.arange(max(width, deep)), np.arange(max(width, TILE)) * TILE
    k_rows, v_rows = np.arange(TILE) * width, np.arange(TILE) * deep
    zero = scale * 0
    many = (queries + TILE - 1) // TILE
    for item in range(start, stop):
        head, first = item // many, item % many * TILE
        b, h = head // heads, head % heads
        key_head = b * (heads // shared) + h // shared
        count = min(TILE, queries - first)
        _turn(turned, q, (head * queries + first) * width, count, width, scale)
        top[:] = -np.inf
        total[:] = 0
        sums[:] = 0
        end = min(length, first + count) if causal else length
        for key in range(0, end, TILE):
            keys = min(TILE, length - key)
            at = key_head * length + key
            _scores(scores, k, at * width, turned, width, keys, k_rows, ones, places)
            _hide(scores, mask, steps, causal, b, h, first, count, key, keys)
            for i in range(TILE):
                shrink[i] = top[i]
            for j in range(keys):
                for i in range(TILE):
                    s = scores[j * TILE + i]
                    top[i] = s if s > top[i] or s != s else top[i]
            for i in range(TILE):
                seen = top[i] if top[i] != -np.inf else zero
                shrink[i] = exp(shrink[i] - seen)
                total[i] *= shrink[i]
            for d in range(deep):
                for i in range(TILE):
                    sums[d * TILE + i] *= shrink[i]
            for i in range(TILE):
                shrink[i] = top[i] if top[i] != -np.inf else zero
            for j in range(keys):
                for i in range(TILE):
                    p = exp(scores[j * TILE + i] - shrink[i])
                    scores[j * TILE + i] = p
                    total[i] += p
            tiles.product(
                sums, 0, TILE, v, at * deep, ones, v_rows, scores, 0, places, deep, TILE, keys,
                False,
            )  # fmt: skip
        for i in range(TILE):
            # A query that sees no key gets zeros, and infinity, by which its gradient is zero too.
            shrink[i] = top[i] + log(total[i]) if total[i] != 0 else np.inf
            total[i] = 1 / total[i] if total[i] != 0 else zero
        for i in range(count):
            lse[head * queries + first + i] = shrink[i]
            row = (head * queries + first + i) * deep
            for d in range(deep):
                out[row + d] = sums[d * TILE + i] * total[i]


@_loop
def _backward(
    start: int, stop: int, g: Any, q: Any, k: Any, v: Any, mask: Any, steps: Any, out: Any,
    lse: Any, dq: Any, dk: Any, dv: Any, causal: bool, scale: Any, heads: int, shared: int,
    queries: int, length: int, width: int, deep: int, lanes: int,
) -> None:  # fmt: skip
    dtype = q.dtype
    wide = (width + lanes - 1) // lanes * lanes
    deeper = (deep + lanes - 1) // lanes * lanes
    turned, pulled = np.empty(width * TILE, dtype), np.empty(deep * TILE, dtype)
    scores, slopes = np.empty(TILE * TILE, dtype), np.empty(TILE * TILE, dtype)
    moved = np.empty(width * TILE, dtype)
    asked, given = np.zeros(TILE * wide, dtype), np.zeros(TILE * deeper, dtype)
    level, share = np.empty(TILE, dtype), np.empty(TILE, dtype)
    to_k, to_v = np.empty(length * wide, dtype), np.empty(length * deeper, dtype)
    ones, places = np.arange(max(width, deep, TILE)), np.arange(max(width, deep, TILE)) * TILE
    k_rows, v_rows = np.arange(TILE) * width, np.arange(TILE) * deep
    q_lines, g_lines = np.arange(TILE) * wide, np.arange(TILE) * deeper
    one = scale * 0 + 1
    for key_head in range(start, stop):
        b = key_head // (heads // shared)
        to_k[:] = 0
        to_v[:] = 0
        for part in range(shared):
            h = key_head % (heads // shared) * shared + part
            head = b * heads + h
            for first in range(0, queries, TILE):
                count = min(TILE, queries - first)
                row = head * queries + first
                _turn(turned, q, row * width, count, width, scale)
                _turn(pulled, g, row * deep, count, deep, one)
                moved[:] = 0
                for i in range(TILE):
                    level[i] = lse[row + i] if i < count else np.inf
                    s = scale * 0
                    for d in range(width):
                        asked[i * wide + d] = turned[d * TILE + i]
                    for d in range(deep):
                        given[i * deeper + d] = pulled[d * TILE + i]
                    if i < count:
                        for d in range(deep):
                            s += g[(row + i) * deep + d] * out[(row + i) * deep + d]
                    share[i] = s
                end = min(length, first + count) if causal else length
                for key in range(0, end, TILE):
                    keys = min(TILE, length - key)
                    at = key_head * length + key
                    _scores(scores, k, at * width, turned, width, keys, k_rows, ones, places)
                    _hide(scores, mask, steps, causal, b, h, first, count, key, keys)
                    _scores(slopes, v, at * deep, pulled, deep, keys, v_rows, ones, places)
                    for j in range(keys):
                        for i in range(TILE):
                            p = exp(scores[j * TILE + i] - level[i])
                            scores[j * TILE + i] = p
                            slopes[j * TILE + i] = p * (slopes[j * TILE + i] - share[i])
                    tiles.product(
                        to_v, key * deeper, deeper, scores, 0, places, ones, given, 0, g_lines,
                        keys, deeper, count, False,
                    )  # fmt: skip
                    tiles.product(
                        to_k, key * wide, wide, slopes, 0, places, ones, asked, 0, q_lines, keys,
                        wide, count, False,
                    )  # fmt: skip
                    tiles.product(
                        moved, 0, TILE, k, at * width, ones, k_rows, slopes, 0, places, width,
                        TILE, keys, False,
                    )  # fmt: skip
                for i in range(count):
                    for d in range(width):
                        dq[(row + i) * width + d] = moved[d * TILE + i] * scale
        for j in range(length):
            row = key_head * length + j
            for d in range(width):
                dk[row * width + d] = to_k[j * wide + d]
            for d in range(deep):
                dv[row * deep + d] = to_v[j * deeper + d]


def _work(q: Any, v: Any, causal: bool) -> float:
    """Nanoseconds of the forward pass."""
    pairs = q.shape[0] * q.shape[1] * q.shape[2] * v.shape[2] / (1 + causal)
    return float(pairs * (0.5 + (q.shape[3] + v.shape[3]) / 100) * q.itemsize / 4)


def forward(
    q: Any, k: Any, v: Any, mask: Any, out: Any, lse: Any, causal: bool, scale: float
) -> None:  # fmt: skip
    """Write the attention of contiguous arrays to ``out`` and ``lse``; mask has four axes."""
    batch, heads, queries, width = q.shape
    threads.run(
        _forward, batch * heads * -(-queries // TILE), _work(q, v, causal), q.reshape(-1),
        k.reshape(-1), v.reshape(-1), *_flat(mask, q), out.reshape(-1), lse.reshape(-1), causal,
        q.dtype.type(scale), heads, heads // k.shape[1], queries, k.shape[2], width, v.shape[3],
    )  # fmt: skip


def backward(
    g: Any, q: Any, k: Any, v: Any, mask: Any, out: Any, lse: Any, dq: Any, dk: Any, dv: Any,
    causal: bool, scale: float,
) -> None:  # fmt: skip
    """Write the gradients of contiguous arrays to ``dq``, ``dk`` and ``dv``."""
    _, heads, queries, width = q.shape
    threads.run(
        _backward, k.shape[0] * k.shape[1], 3 * _work(q, v, causal), g.reshape(-1), q.reshape(-1),
        k.reshape(-1), v.reshape(-1), *_flat(mask, q), out.reshape(-1), lse.reshape(-1),
        dq.reshape(-1), dk.reshape(-1), dv.reshape(-1), causal, q.dtype.type(scale), heads,
        heads // k.shape[1], queries, k.shape[2], width, v.shape[3], tiles.lanes(q.dtype),
    )  # fmt: skip


def _flat(mask: Any, q: Any) -> tuple[Any, tuple[int, ...]]:
    """A contiguous mask's elements, none if there is no mask, and the step along each axis."""
    if mask is None:
        return np.empty(0, q.dtype), (0, 0, 0, 0)
    steps = [0 if n == 1 else s // mask.itemsize for n, s in zip(mask.shape, mask.strides)]
    return mask.reshape(-1), tuple(steps)
