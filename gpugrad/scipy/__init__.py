"""SciPy's names over arrays on any device, differentiable, in rooms named as SciPy's.

>>> import gpugrad.scipy
>>> print(gpugrad.scipy.special.expit(0.0))
0.5
"""

from importlib import import_module
from types import ModuleType

_ROOMS = ("integrate", "linalg", "signal", "special", "stats")


def __getattr__(name: str) -> ModuleType:
    """Import a room when it is first used: SciPy loads slowly."""
    if name in _ROOMS:
        return import_module(f"gpugrad.scipy.{name}")
    raise AttributeError(f"gpugrad.scipy has no {name!r}: it has {', '.join(_ROOMS)}")
