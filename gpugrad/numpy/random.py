"""Random arrays on the default device, by NumPy's and CuPy's own generators.

A draw carries no gradient; scale and shift it to differentiate by a distribution's parameters.
All distributions of NumPy's ``random`` that the device's library has are here, and its generators
(``RandomState``, ``default_rng``), whose draws are arrays of that library.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from gpugrad.array import Array
from gpugrad.device import default_device, namespace, on


def _draw(name: str, *args: Any, **kwargs: Any) -> Any:
    where = default_device()
    with on(where):
        out = getattr(namespace(where).random, name)(*args, **kwargs)
    return Array(out) if hasattr(out, "shape") else out


def seed(value: int | None = None) -> None:
    """Start the default device's generator at ``value``."""
    where = default_device()
    with on(where):
        namespace(where).random.seed(value)


def rand(*shape: int) -> Any:
    """Uniform on [0, 1)."""
    return _draw("rand", *shape)


def randn(*shape: int) -> Any:
    """Standard normal."""
    return _draw("randn", *shape)


def random(size: Any = None) -> Any:
    """Uniform on [0, 1)."""
    return _draw("random", size)


def uniform(low: float = 0.0, high: float = 1.0, size: Any = None) -> Any:
    """Uniform on [low, high)."""
    return _draw("uniform", low, high, size)


def normal(loc: float = 0.0, scale: float = 1.0, size: Any = None) -> Any:
    """Normal with mean ``loc`` and standard deviation ``scale``."""
    return _draw("normal", loc, scale, size)


def randint(low: int, high: int | None = None, size: Any = None) -> Any:
    """Integers from [low, high), or [0, low)."""
    return _draw("randint", low, high, size)


def permutation(x: Any) -> Any:
    """The numbers below ``x``, or the rows of an array, in random order."""
    return _draw("permutation", x._value if isinstance(x, Array) else x)


_GENERATORS = ("default_rng", "get_state", "set_state", "bytes")


def __getattr__(name: str) -> Any:
    """Another distribution, whose draws are an `Array`; a generator as the library has it."""
    theirs = None if name.startswith("__") else getattr(np.random, name, None)
    here = namespace(default_device())
    if theirs is None or not hasattr(here.random, name):
        raise AttributeError(f"gpugrad.numpy.random has no {name!r} ({here.__name__})")
    if name == "shuffle":
        raise AttributeError(
            "gpugrad.numpy.random has no 'shuffle': it writes into an array, which the tape may "
            "need: x = permutation(x)"
        )
    if isinstance(theirs, type) or name in _GENERATORS:
        return getattr(here.random, name)
    return partial(_draw, name)
