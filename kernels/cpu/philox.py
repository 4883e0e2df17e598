"""The counter-based generator Philox 4x32-10 (Salmon et al. 2011), as kernels/cuda/philox.cuh."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from gpugrad.kernels.cpu.elementary import cos, log, sin

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_K0, _K1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_LOW, _WORD = np.uint64(0xFFFFFFFF), np.uint64(32)
_TURN32, _TURN64 = np.float32(2 * np.pi), np.float64(2 * np.pi)
_UNIT32, _UNIT64 = np.float32(2.0**-24), np.float64(2.0**-53)
_TWO, _ONE = np.float32(-2), np.float32(1)


@numba.njit(nogil=True)
def philox(q: Any, state: Any) -> Any:
    """Words 4q to 4q + 3 of a stream, each in 64 bits (that is how they multiply)."""
    c0, c1 = q & _LOW, q >> _WORD
    c2, c3 = np.uint64(state[2]), np.uint64(state[3])
    k0, k1 = np.uint64(state[0]), np.uint64(state[1])
    for _ in range(10):
        p0, p1 = _M0 * c0, _M1 * c2
        c0 = (p1 >> _WORD) ^ c1 ^ k0
        c2 = (p0 >> _WORD) ^ c3 ^ k1
        c1 = p1 & _LOW
        c3 = p0 & _LOW
        k0 = (k0 + _K0) & _LOW
        k1 = (k1 + _K1) & _LOW
    return c0, c1, c2, c3


@numba.njit(nogil=True)
def fill(first: Any, out: Any, state: Any) -> None:
    """Words ``4 * first`` on, as many as ``out`` has: a multiple of 4."""
    for j in range(out.size // 4):
        w0, w1, w2, w3 = philox(np.uint64(first + j), state)
        out[4 * j] = w0
        out[4 * j + 1] = w1
        out[4 * j + 2] = w2
        out[4 * j + 3] = w3


# Each of these is for calls of philox start to stop - 1; ``out`` is as long as whole calls fill.


@numba.njit(cache=True, nogil=True)
def bits(start: Any, stop: Any, out: Any, state: Any) -> None:
    """Random words."""
    fill(start, out[4 * start : 4 * stop], state)


@numba.njit(cache=True, nogil=True)
def uniform32(start: Any, stop: Any, out: Any, state: Any) -> None:
    """Uniform on [0, 1), 24 bits each."""
    part = out[4 * start : 4 * stop]
    words = part.view(np.uint32)
    fill(start, words, state)
    for i in range(part.size):
        part[i] = np.float32(np.int32(words[i] >> 8)) * _UNIT32


@numba.njit(cache=True, nogil=True)
def uniform64(start: Any, stop: Any, out: Any, state: Any) -> None:
    """Uniform on [0, 1), 53 bits each."""
    part = out[2 * start : 2 * stop]
    fill(start, part.view(np.uint32), state)
    words = part.view(np.uint64)
    for i in range(part.size):
        part[i] = np.float64(np.int64(words[i] >> np.uint64(11))) * _UNIT64


@numba.njit(cache=True, nogil=True)
def normal32(start: Any, stop: Any, out: Any, state: Any) -> None:
    """Standard normal numbers, in pairs by Box and Muller."""
    uniform32(start, stop, out, state)
    part = out[4 * start : 4 * stop]
    for i in range(part.size // 2):
        r = np.sqrt(_TWO * log(_ONE - part[2 * i]))
        angle = _TURN32 * part[2 * i + 1]
        part[2 * i] = r * cos(angle)
        part[2 * i + 1] = r * sin(angle)


@numba.njit(cache=True, nogil=True)
def normal64(start: Any, stop: Any, out: Any, state: Any) -> None:
    """Standard normal numbers, in pairs by Box and Muller."""
    uniform64(start, stop, out, state)
    part = out[2 * start : 2 * stop]
    for i in range(part.size // 2):
        r = np.sqrt(-2.0 * log(1.0 - part[2 * i]))
        angle = _TURN64 * part[2 * i + 1]
        part[2 * i] = r * cos(angle)
        part[2 * i + 1] = r * sin(angle)
