"""Raw arrays that rules need, made where their operands are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from gpugrad.core.abstract import ShapeDtype
from gpugrad.core.box import Box
from gpugrad.device import Device, common_device, namespace, on


def raw_of(value: Any) -> Any:
    """The raw value under any number of boxes."""
    while isinstance(value, Box):
        value = value._value
    return value


def device_near(values: Iterable[Any]) -> Device:
    """The device of ``values``; the CPU for those that are only shapes."""
    raw = [raw_of(v) for v in values]
    return common_device([r for r in raw if not isinstance(r, ShapeDtype)], "this operation")


def zeros_near(values: Iterable[Any], shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    """Zeros on the device of ``values``."""
    where = device_near(values)
    with on(where):
        return namespace(where).zeros(shape, dtype)


def counting(values: Iterable[Any], n: int) -> Any:
    """0, 1, …, n - 1 on the device of ``values``."""
    where = device_near(values)
    with on(where):
        return namespace(where).arange(n)
