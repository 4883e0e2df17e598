"""Random numbers by counting: Philox 4x32-10, the same words on the CPU and on CUDA."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from gpugrad.kernels.source import function, grid


def stream(key: int, counter: int = 0) -> np.ndarray[Any, Any]:
    """The state of a stream of random numbers: two words of key, two of counter.

    Parameters
    ----------
    key, counter : int
        From 0 to 2**64 - 1. Each pair is a stream of 2**66 words of its own: take one counter for
        each draw.

    Examples
    --------
    >>> from gpugrad.kernels.philox import stream
    >>> stream(7, 2**32)
    array([7, 0, 0, 1], dtype=uint32)
    """
    for value in (key, counter):
        if not 0 <= value < 2**64:
            raise ValueError(f"stream: key and counter are from 0 to 2**64 - 1, got {value}")
    low = 2**32 - 1
    return np.array([key & low, key >> 32, counter & low, counter >> 32], np.uint32)


def bits(state: Any, shape: tuple[int, ...]) -> Any:
    """The stream's first words as an array of uint32, on the device of ``state``.

    Parameters
    ----------
    state : (4,) array of uint32
        What `stream` returns, as a NumPy or CuPy array.
    shape : tuple of int
        Of the result.

    Notes
    -----
    Word ``i`` is word ``i % 4`` of Philox 4x32-10 with the counter ``(i // 4, state[2:])``, two
    words for ``i // 4``. Bytes it must move: those written, and 16; on CUDA
    16 for each warp, some 3 per cent.

    Examples
    --------
    >>> from gpugrad.kernels.philox import bits, stream
    >>> bits(stream(0), (2,))
    array([1713891541, 3781805453], dtype=uint32)
    """
    return _draw("Bits", "bits", state, shape, np.dtype("u4"))


def uniform(state: Any, shape: tuple[int, ...], dtype: Any = "float32") -> Any:
    """Numbers from [0, 1), multiples of 2**-24 in float32 and of 2**-53 in float64.

    The parameters are those of `bits`, and a dtype: float32, which takes a word for each, or
    float64, which takes two.
    """
    return _of_floats("Uniform", "uniform", state, shape, dtype)


def normal(state: Any, shape: tuple[int, ...], dtype: Any = "float32") -> Any:
    """Standard normal numbers, in pairs by Box and Muller; the parameters are `uniform`'s.

    The two devices agree but for the rounding of their logarithms, sines and cosines.
    """
    return _of_floats("Normal", "normal", state, shape, dtype)


def few_bits(state: Any, size: int) -> Any:
    """What `bits` gives for a NumPy ``state``, by NumPy: where a compiler's import is too much."""
    low, word = np.uint64(2**32 - 1), np.uint64(32)
    q = np.arange(-(-size // 4), dtype=np.uint64)
    k0, k1 = state[:2].astype(np.uint64)
    c0, c1, c2, c3 = q & low, q >> word, *[np.full_like(q, s) for s in state[2:]]
    for _ in range(10):
        p0, p1 = np.uint64(0xD2511F53) * c0, np.uint64(0xCD9E8D57) * c2
        c0, c1, c2, c3 = (p1 >> word) ^ c1 ^ k0, p1 & low, (p0 >> word) ^ c3 ^ k1, p0 & low
        k0 = (k0 + np.uint64(0x9E3779B9)) & low
        k1 = (k1 + np.uint64(0xBB67AE85)) & low
    return np.stack([c0, c1, c2, c3], 1).astype(np.uint32).reshape(-1)[:size]


_FEW = 1 << 12
"""Calls of Philox below which NumPy's own operations do, without a compiler."""


def _few(state: Any, size: int, dtype: np.dtype[Any]) -> Any:
    """Words or uniform numbers as the kernels have them, bit for bit."""
    if dtype == np.uint32:
        return few_bits(state, size)
    if dtype == np.float32:
        return (few_bits(state, size) >> np.uint32(8)).astype(dtype) * dtype.type(2.0**-24)
    words = few_bits(state, 2 * size).view(np.uint64)
    return (words >> np.uint64(11)) * 2.0**-53


def check(state: Any) -> None:
    """Refuse what is no state of a stream."""
    fits = getattr(state, "shape", None) == (4,) and state.dtype == np.uint32
    if not fits or not state.flags.c_contiguous:
        given = getattr(state, "dtype", type(state).__name__)
        raise ValueError(
            "a stream's state is an array of four uint32 side by side, what "
            f"gpugrad.kernels.philox.stream returns; got {given} of shape "
            f"{getattr(state, 'shape', ())}"
        )


def _of_floats(kind: str, name: str, state: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    dtype = np.dtype(dtype)
    if dtype not in (np.float32, np.float64):
        raise ValueError(f"{name}: random numbers are float32 or float64, not {dtype}")
    real = "float" if dtype == np.float32 else "double"
    return _draw(
        f"Kind<{real}>".replace("Kind", kind), f"{name}{8 * dtype.itemsize}", state, shape, dtype
    )


def _draw(kind: str, name: str, state: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    check(state)
    size = math.prod(shape)
    calls = -(-size * dtype.itemsize // 16)
    if isinstance(state, np.ndarray):
        if calls < _FEW and not name.startswith("normal"):
            return _few(state, size, dtype).reshape(shape)
        from gpugrad.kernels.cpu import philox, threads

        out = np.empty(calls * 16 // dtype.itemsize, dtype)
        threads.run(getattr(philox, name), calls, 4 * calls, out, state)
        return out[:size].reshape(shape)
    import cupy

    drawn = cupy.empty(shape, dtype)
    if size:
        kernel = function("philox", f"draw<{kind}>")
        kernel(*grid(calls), (state, drawn, np.int64(size)))
    return drawn


VARIANTS = [
    f"draw<{kind}>"
    for kind in ("Bits", "Uniform<float>", "Uniform<double>", "Normal<float>", "Normal<double>")
]
"""The kernels that the report compiles."""
