"""Libraries that not everybody has."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def need(module: str, extra: str) -> Any:
    """The module, or an error that says which extra brings it."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        library = module.partition(".")[0]
        if error.name != library:
            raise
        raise ModuleNotFoundError(
            f'this needs {library}, which is not installed: pip install "gpugrad[{extra}]"',
            name=library,
        ) from error
