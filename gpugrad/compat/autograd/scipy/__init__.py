"""SciPy's names, differentiable."""

from importlib import import_module
from types import ModuleType

_ROOMS = ("integrate", "linalg", "signal", "special", "stats")


def __getattr__(name: str) -> ModuleType:
    if name in _ROOMS:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(
        f"module {__name__!r} has no attribute {name!r}: it has {', '.join(_ROOMS)}"
    )
