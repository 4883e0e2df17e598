"""The names of scipy.integrate: gpugrad's functions, else SciPy's for plain arrays."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def odeint(func: Any, y0: Any, t: Any, args: Any = (), **options: Any) -> Any:
    """As ours, but a number is a state of one component, as to SciPy."""
    from gpugrad.ops.shape import reshape
    from gpugrad.scipy.integrate import odeint as ours

    if isinstance(y0, int | float) or getattr(y0, "shape", None) == ():
        y0 = reshape(y0, (1,))
    return ours(func, y0, t, args, **options)


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    ours = import_module("gpugrad.scipy.integrate")
    return (
        getattr(ours, name)
        if hasattr(ours, name)
        else getattr(import_module("scipy.integrate"), name)
    )
