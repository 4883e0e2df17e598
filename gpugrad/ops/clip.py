"""Clipping and rounding."""

from __future__ import annotations

from typing import Any

from gpugrad.core.abstract import shape_dtype
from gpugrad.core.loose import array_of
from gpugrad.ops.cast import cast
from gpugrad.ops.elementwise import maximum, minimum, rint


def clip(x: Any, min: Any = None, max: Any = None, *, a_min: Any = None, a_max: Any = None) -> Any:
    """``x`` kept within bounds, each of which has two names and may be None.

    The gradient passes where ``x`` is inside; at a bound half of it does, as for `maximum`.
    """
    min, max = a_min if min is None else min, a_max if max is None else max
    if min is not None:
        x = maximum(x, min)
    return array_of(x) if max is None else minimum(x, max)


def round(x: Any, decimals: int = 0) -> Any:
    """``x`` rounded to ``decimals`` places, halves to even; no gradient flows."""
    dtype = shape_dtype(x).dtype
    if dtype.kind in "iub":
        if decimals >= 0:
            return array_of(x)
        return cast(rint(x / 10.0**-decimals) * 10.0**-decimals, dtype)
    return rint(x) if decimals == 0 else rint(x * 10.0**decimals) / 10.0**decimals
