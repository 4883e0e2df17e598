"""The raw arrays under boxes."""

from __future__ import annotations

from typing import Any

from gpugrad.core.abstract import ShapeDtype
from gpugrad.core.box import Box
from gpugrad.device import CPU, Device, device_of


class NoArray:
    """Base of what travels along a graph and is no array: it lives on no device."""

    __slots__ = ()


def device_under(value: Any) -> Device:
    """The device of the raw array under any number of boxes; of the first one of a tuple."""
    raw = value
    while True:
        if type(raw) is tuple:
            raw = next((v for v in raw if v is not None), 0)
        elif isinstance(raw, Box):
            raw = raw._value
        else:
            break
    return CPU if isinstance(raw, ShapeDtype | NoArray) else device_of(raw)


def strip_all(value: Any) -> Any:
    """The raw array under any number of boxes; tuples elementwise."""
    if type(value) is tuple:
        return tuple([strip_all(v) for v in value if v is not None])
    while isinstance(value, Box):
        value = value._value
    return value
