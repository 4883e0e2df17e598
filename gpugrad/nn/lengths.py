"""Lengths of windows, strides and paddings, as layers over sequences and images take them."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import Any


def count(value: Any, what: str, least: int = 1) -> int:
    """A whole number of at least ``least``, or an error that says ``what`` it is."""
    number = index(value)
    if number < least:
        raise ValueError(f"{what} must be at least {least}, got {number}")
    return number


def lengths(axes: int, name: str, what: str, value: Any, least: int) -> tuple[int, int]:
    """Rows and columns; a sequence is an image of one row, for which ``least`` stands."""
    given = tuple(value) if isinstance(value, Sequence) else (value,) * axes
    if len(given) == 1:
        given *= axes
    if len(given) != axes:
        raise ValueError(f"{name}: {what} is one number or {axes}, got {value!r}")
    numbers = [count(v, f"{name}: {what}", least) for v in given]
    return (least, numbers[0]) if axes == 1 else (numbers[0], numbers[1])
