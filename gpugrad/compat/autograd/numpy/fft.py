"""The names of numpy.fft, as in the namespace above."""

from __future__ import annotations

import sys
from typing import Any

import numpy.fft as _np

from gpugrad.compat.autograd.numpy import _names

__all__ = [name for name in dir(_np) if not name.startswith("_")]


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = _names.find(_np, name)
    setattr(sys.modules[__name__], name, found)
    return found


def __dir__() -> list[str]:
    return sorted(vars(_np))
