"""NumPy's names with NumPy's own meaning, differentiable.

Arrays in give arrays out; what is being differentiated goes to gpugrad's function of that name,
everything else to NumPy's own, or CuPy's for CuPy's arrays. Functions that make arrays make them on
the default device (``gg.set_default_device("cuda")``: CuPy's).
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import numpy as _np

from gpugrad.compat.autograd.numpy import _names
from gpugrad.compat.autograd.numpy._own import c_, make_diagonal, r_, where  # noqa: F401

# What is found is kept as a global: no function here may rely on a built-in that NumPy has too.
__version__ = numpy_version = _np.__version__

_ROOMS = ("fft", "linalg", "random", "numpy_boxes", "numpy_vjps", "numpy_vspaces", "numpy_wrapper")


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"{__name__}.{name}")
    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = _names.find(_np, name)
    setattr(sys.modules[__name__], name, found)
    return found


def __dir__() -> list[str]:
    return sorted({*vars(_np), *_ROOMS})


__all__ = [name for name in dir(_np) if not name.startswith("_")]
