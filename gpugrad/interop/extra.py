"""Libraries that not everybody has."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def need(module: str, extra: str) -> Any:
    """The module, or an error that says which extra brings its library."""
    library = module.partition(".")[0]
    try:
        import_module(library)
    except ModuleNotFoundError as error:
        if error.name != library:
            raise
        raise ModuleNotFoundError(
            f'this needs {library}, which is not installed: pip install "gpugrad[{extra}]"',
            name=library,
        ) from error
    return import_module(module)
