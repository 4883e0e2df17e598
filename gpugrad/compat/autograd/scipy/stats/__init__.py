"""The distributions of scipy.stats: gpugrad's densities, and SciPy's own for what is no density."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

from gpugrad.scipy import stats as _ours


class _Distribution(ModuleType):
    """A distribution's functions; a module, so that it can be imported as one."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        distribution = self.__name__.rpartition(".")[2]
        ours = getattr(_ours, distribution)
        if hasattr(ours, name):
            return getattr(ours, name)
        return getattr(getattr(import_module("scipy.stats"), distribution), name)


for _name in _ours.__all__:
    globals()[_name] = sys.modules[f"{__name__}.{_name}"] = _Distribution(f"{__name__}.{_name}")
