"""The counter-based generator Philox 4x32-10 (Salmon et al. 2011), as kernels/cuda/philox.cuh."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from gpugrad.kernels.cpu import shared
from gpugrad.kernels.cpu.elementary import cos, log, sin

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_K0, _K1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_WORD = np.uint64(32)
_TURN32, _TURN64 = np.float32(2 * np.pi), np.float64(2 * np.pi)
_UNIT32, _UNIT64 = np.float32(2.0**-24), np.float64(2.0**-53)
_TWO, _ONE = np.float32(-2), np.float32(1)
_BLOCK = 256  # calls at a time: each round is a loop over them, which vectorises

_loop = shared.loop(cache=True)


@numba.njit(nogil=True)
def fill(first: Any, out: Any, state: Any) -> None:
    """Words ``4 * first`` on, as many as ``out`` has: a multiple of 4."""
    words = np.empty((4, _BLOCK), np.uint32)
    c0, c1, c2, c3 = words[0], words[1], words[2], words[3]
    calls = out.size // 4
    for start in range(0, calls, _BLOCK):
        count = min(_BLOCK, calls - start)
        for j in range(count):
            q = np.uint64(first) + np.uint64(start) + np.uint64(j)
            c0[j] = np.uint32(q)
            c1[j] = np.uint32(q >> _WORD)
            c2[j] = state[2]
            c3[j] = state[3]
        for r in range(10):
            k0 = np.uint32(np.uint64(state[0]) + np.uint64(r) * _K0)
            k1 = np.uint32(np.uint64(state[1]) + np.uint64(r) * _K1)
            for j in range(count):
                p0, p1 = _M0 * np.uint64(c0[j]), _M1 * np.uint64(c2[j])
                c0[j] = np.uint32(p1 >> _WORD) ^ c1[j] ^ k0
                c2[j] = np.uint32(p0 >> _WORD) ^ c3[j] ^ k1
                c1[j] = np.uint32(p1)
                c3[j] = np.uint32(p0)
        part = out[4 * start : 4 * (start + count)]
        for j in range(count):
            part[4 * j] = c0[j]
            part[4 * j + 1] = c1[j]
            part[4 * j + 2] = c2[j]
            part[4 * j + 3] = c3[j]


# Each of these is for calls of philox start to stop - 1; ``out`` is as long as whole calls fill.


@_loop
def bits(start: Any, stop: Any, out: Any, state: Any) -> None:
    """Random words."""
    fill(start, out[4 * start : 4 * stop], state)


@numba.njit
def _uniform32(start: Any, stop: Any, out: Any, state: Any) -> None:
    part = out[4 * start : 4 * stop]
    words = part.view(np.uint32)
    fill(start, words, state)
    for i in range(part.size):
        part[i] = np.float32(np.int32(words[i] >> 8)) * _UNIT32


@_loop
def uniform32(start: Any, stop: Any, out: Any, state: Any) -> None:
    """Uniform on [0, 1), 24 bits each."""
    _uniform32(start, stop, out, state)


@numba.njit
def _uniform64(start: Any, stop: Any, out: Any, state: Any) -> None:
    part = out[2 * start : 2 * stop]
    fill(start, part.view(np.uint32), state)
    words = part.view(np.uint64)
    for i in range(part.size):
        part[i] = np.float64(np.int64(words[i] >> np.uint64(11))) * _UNIT64


@_loop
def uniform64(start: Any, stop: Any, out: Any, state: Any) -> None:
    """Uniform on [0, 1), 53 bits each."""
    _uniform64(start, stop, out, state)


@_loop
def normal32(start: Any, stop: Any, out: Any, state: Any) -> None:
    """Standard normal numbers, in pairs by Box and Muller."""
    _uniform32(start, stop, out, state)
    part = out[4 * start : 4 * stop]
    for i in range(part.size // 2):
        r = np.sqrt(_TWO * log(_ONE - part[2 * i]))
        angle = _TURN32 * part[2 * i + 1]
        part[2 * i] = r * cos(angle)
        part[2 * i + 1] = r * sin(angle)


@_loop
def normal64(start: Any, stop: Any, out: Any, state: Any) -> None:
    """Standard normal numbers, in pairs by Box and Muller."""
    _uniform64(start, stop, out, state)
    part = out[2 * start : 2 * stop]
    for i in range(part.size // 2):
        r = np.sqrt(-2.0 * log(1.0 - part[2 * i]))
        angle = _TURN64 * part[2 * i + 1]
        part[2 * i] = r * cos(angle)
        part[2 * i + 1] = r * sin(angle)
