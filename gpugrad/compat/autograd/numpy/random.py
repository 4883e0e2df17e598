"""The names of numpy.random; of CuPy's where the default device is CUDA."""

from __future__ import annotations

from typing import Any

import numpy.random as _np

from gpugrad.device import default_device, namespace

__all__ = [name for name in dir(_np) if not name.startswith("_")]


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(namespace(default_device()).random, name)


def __dir__() -> list[str]:
    return sorted(vars(_np))
