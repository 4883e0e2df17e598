"""What the array API standard lets a program ask of a namespace: devices, dtypes, capabilities."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gpugrad.device import Device
from gpugrad.device import default_device as default_device
from gpugrad.device import device as find_device
from gpugrad.device import devices as devices

_BY_KIND = {
    "bool": ("bool",),
    "signed integer": ("int8", "int16", "int32", "int64"),
    "unsigned integer": ("uint8", "uint16", "uint32", "uint64"),
    "real floating": ("float32", "float64"),
    "complex floating": ("complex64", "complex128"),
}
_UNIONS = {
    "integral": ("signed integer", "unsigned integer"),
    "numeric": ("signed integer", "unsigned integer", "real floating", "complex floating"),
}


def capabilities() -> dict[str, bool | int | None]:
    """What is supported: all of the standard, in up to 64 dimensions, NumPy's limit."""
    return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}


def default_dtypes(*, device: str | Device | None = None) -> dict[str, np.dtype[Any]]:
    """The dtypes that functions choose where none is named; the same on every device."""
    find_device(device)  # one that does not exist is an error
    return {
        "real floating": np.dtype(np.float64),
        "complex floating": np.dtype(np.complex128),
        "integral": np.dtype(np.int64),
        "indexing": np.dtype(np.int64),
    }


def dtypes(
    *, device: str | Device | None = None, kind: str | tuple[str, ...] | None = None
) -> dict[str, np.dtype[Any]]:
    """The standard's dtypes by name, of one kind or of several.

    Examples
    --------
    >>> import gpugrad.numpy as gnp
    >>> gnp.__array_namespace_info__().dtypes(kind="real floating")
    {'float32': dtype('float32'), 'float64': dtype('float64')}
    """
    find_device(device)
    return {name: np.dtype(name) for name in _names(tuple(_BY_KIND) if kind is None else kind)}


def _names(kind: str | tuple[str, ...]) -> Iterator[str]:
    for k in kind if isinstance(kind, tuple) else _UNIONS.get(kind, (kind,)):
        if k in _UNIONS:
            yield from _names(_UNIONS[k])
        elif k in _BY_KIND:
            yield from _BY_KIND[k]
        else:
            allowed = ", ".join(repr(name) for name in (*_BY_KIND, *_UNIONS))
            raise ValueError(f"dtypes: kind {k!r} is none of {allowed}")
