"""What distributions with a location and a scale share."""

from __future__ import annotations

from typing import Any

from gpugrad.core.abstract import shape_dtype
from gpugrad.ops.cast import cast
from gpugrad.ops.special import beside, precision


def standard(x: Any, loc: Any, scale: Any) -> tuple[Any, Any]:
    """``(x - loc) / scale``, and the scale; numbers of Python's do not widen an array's type."""
    z = (x - loc) / scale
    return z, beside(scale, z)


def floating(x: Any) -> Any:
    """Integers as floating-point numbers."""
    like = shape_dtype(x)
    return x if like.dtype.kind in "fc" else cast(x, precision([like]))
