"""Functions of NumPy's that the array API standard has otherwise: here NumPy's way holds.

These answer where NumPy's own function is called on an `Array`.
"""

from __future__ import annotations

from typing import Any

from gpugrad.ops import elementwise
from gpugrad.ops.broadcast import broadcast_arrays
from gpugrad.ops.elementwise import floor_divide
from gpugrad.ops.indexing import nonzero

__all__ = ["broadcast_arrays", "floor_divide", "where"]


def where(condition: Any, *choices: Any) -> Any:
    """``x`` where the condition holds and else ``y``; the condition alone: where it holds."""
    return elementwise.where(condition, *choices) if choices else nonzero(condition)
