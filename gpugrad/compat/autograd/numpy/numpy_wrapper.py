"""The names of `gpugrad.compat.autograd.numpy`, where HIPS autograd wraps NumPy's."""

from __future__ import annotations

from typing import Any

from gpugrad.compat.autograd import numpy as _names


def __getattr__(name: str) -> Any:
    return getattr(_names, name)


def __dir__() -> list[str]:
    return dir(_names)
