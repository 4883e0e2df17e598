"""Random numbers by counting: the same on the CPU and on CUDA, and their state is two numbers.

A `Generator` is a key and a counter. Each draw takes one counter, from which Philox 4x32-10
(Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") makes its words, so a stream
can be written to a checkpoint and continued anywhere. The functions of this module draw from one
default generator, which `seed` sets.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping
from typing import Any

import numpy as np

from gpugrad.array import Array
from gpugrad.device import Device, default_device, namespace, on
from gpugrad.device import device as find_device
from gpugrad.kernels import philox

__all__ = [
    "Generator",
    "default_generator",
    "integers",
    "normal",
    "permutation",
    "seed",
    "truncated_normal",
    "uniform",
]

Size = int | tuple[int, ...] | None
Where = str | Device | None


class Generator:
    """A stream of random numbers.

    Parameters
    ----------
    seed : int, optional
        The key, from 0 to 2**64 - 1; from the operating system if none is given.

    Examples
    --------
    >>> from gpugrad.random import Generator
    >>> first, again = Generator(0), Generator(0)
    >>> bool((first.normal(size=3) == again.normal(size=3)).all())
    True
    """

    __slots__ = ("counter", "key")

    def __init__(self, seed: int | None = None) -> None:
        self.key = secrets.randbits(64) if seed is None else int(seed)
        self.counter = 0
        philox.stream(self.key)  # refuses a key that is none

    def __repr__(self) -> str:
        return f"Generator(key={self.key}, counter={self.counter})"

    def __deepcopy__(self, memo: Any) -> Generator:
        return self  # copies of a layer go on drawing from one stream: another would repeat it

    def stream(self, device: Where = None) -> Any:
        """The state of the next draw, raw, for kernels that make their own numbers."""
        where = default_device() if device is None else find_device(device)
        state = philox.stream(self.key, self.counter)
        self.counter += 1
        with on(where):
            return namespace(where).asarray(state)

    def spawn(self) -> Generator:
        """Another generator, whose numbers have nothing to do with this one's."""
        words = philox.bits(self.stream("cpu"), (2,)).astype(np.uint64)
        return Generator(int(words[0] << np.uint64(32) | words[1]))

    def uniform(
        self,
        low: Any = 0.0,
        high: Any = 1.0,
        size: Size = None,
        dtype: Any = "float32",
        *,
        device: Where = None,
    ) -> Array:
        """Uniform on [low, high)."""
        drawn = self._floats(philox.uniform, size, dtype, device)
        return drawn if low == 0 and high == 1 else _moved(drawn, high - low, low)

    def normal(
        self,
        loc: Any = 0.0,
        scale: Any = 1.0,
        size: Size = None,
        dtype: Any = "float32",
        *,
        device: Where = None,
    ) -> Array:
        """Normal with mean ``loc`` and standard deviation ``scale``."""
        drawn = self._floats(philox.normal, size, dtype, device)
        return drawn if loc == 0 and scale == 1 else _moved(drawn, scale, loc)

    def truncated_normal(
        self,
        low: float = -2.0,
        high: float = 2.0,
        size: Size = None,
        dtype: Any = "float32",
        *,
        device: Where = None,
    ) -> Array:
        """Standard normal numbers between ``low`` and ``high``, by the inverse of their CDF."""
        from gpugrad.scipy.special import ndtr, ndtri

        below, above = (float(ndtr(v)) for v in (low, high))
        p = self.uniform(below, above, size, "float64", device=device)
        return Array(ndtri(p).clip(low, high), dtype)

    def integers(
        self, low: int, high: int | None = None, size: Size = None, *, device: Where = None
    ) -> Array:
        """Integers from [low, high), or from [0, low), as int64."""
        first, last = (0, low) if high is None else (low, high)
        if last <= first:
            raise ValueError(f"integers: low={first} is not below high={last}")
        shape = _shape(size)
        state = self.stream(device)
        words = philox.bits(state, (2 * math.prod(shape),)).view(np.uint64).reshape(shape)
        found = (words % np.uint64(last - first)).astype(np.int64) + first
        return Array(found)

    def permutation(self, x: int | Any, *, device: Where = None) -> Array:
        """The numbers below ``x``, or the entries of an array along its first axis, shuffled."""
        if isinstance(x, Array):
            return Array(x[self.permutation(len(x), device=x.device)])
        if not isinstance(x, int | np.integer):
            return self.permutation(Array(x))
        words = philox.bits(self.stream(device), (2 * int(x),)).view(np.uint64)
        return Array(words.argsort(kind="stable"))

    def state_dict(self) -> dict[str, int]:
        """Where it is: two numbers."""
        return {"key": self.key, "counter": self.counter}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Continue where another was."""
        philox.stream(int(state["key"]), int(state["counter"]))
        self.key, self.counter = int(state["key"]), int(state["counter"])

    def _floats(self, draw: Any, size: Size, dtype: Any, device: Where) -> Array:
        dtype = np.dtype(dtype)
        # Narrow types are rounded from float32.
        wide = dtype if dtype in (np.float32, np.float64) else np.dtype(np.float32)
        drawn = draw(self.stream(device), _shape(size), wide)
        return Array(drawn if wide == dtype else drawn.astype(dtype))


def _moved(drawn: Array, scale: Any, start: Any) -> Array:
    moved: Array = drawn * scale + start
    # Of bfloat16 and a fraction NumPy makes float32.
    return moved.astype(drawn.dtype) if drawn.dtype.kind == "V" else moved


def _shape(size: Size) -> tuple[int, ...]:
    if size is None:
        return ()
    return (int(size),) if isinstance(size, int | np.integer) else tuple(size)


default_generator = Generator()
"""What the functions of this module, and layers that are given no generator, draw from."""


def seed(value: int) -> None:
    """Start the default generator at ``value``, for the same numbers on every run and device."""
    default_generator.load_state_dict({"key": value, "counter": 0})


uniform = default_generator.uniform
normal = default_generator.normal
truncated_normal = default_generator.truncated_normal
integers = default_generator.integers
permutation = default_generator.permutation
