"""The names of scipy.linalg: gpugrad's functions, else SciPy's for plain arrays."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    ours = import_module("gpugrad.scipy.linalg")
    return (
        getattr(ours, name) if hasattr(ours, name) else getattr(import_module("scipy.linalg"), name)
    )
