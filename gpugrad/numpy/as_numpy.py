"""Functions of NumPy's that the array API standard has otherwise: here NumPy's way holds.

These answer where NumPy's own function is called on an `Array`.
"""

from __future__ import annotations

from typing import Any

from gpugrad.ops import broadcast, elementwise, join
from gpugrad.ops import clip as clipping
from gpugrad.ops.indexing import nonzero

__all__ = ["astype", "broadcast_arrays", "clip", "meshgrid", "where"]


def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Any:
    """``x`` with elements of ``dtype``; the imaginary part is dropped where that is real."""
    return x.astype(dtype, copy=copy, device=device)


def broadcast_arrays(*arrays: Any, subok: bool = False) -> tuple[Any, ...]:
    """All operands at their common shape, in a tuple."""
    return tuple(broadcast.broadcast_arrays(*arrays))


def meshgrid(
    *xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy"
) -> tuple[Any, ...]:
    """Coordinate matrices of coordinate vectors, in a tuple."""
    return tuple(join.meshgrid(*xi, indexing=indexing, sparse=sparse))


def where(condition: Any, *choices: Any) -> Any:
    """``x`` where the condition holds and else ``y``; the condition alone: where it holds."""
    return elementwise.where(condition, *choices) if choices else nonzero(condition)


def clip(a: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Any:
    """``a`` kept within bounds, which have two names each."""
    return clipping.clip(a, min if a_min is None else a_min, max if a_max is None else a_max)
