"""Change of element type."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpugrad.core.abstract import ShapeDtype, shape_dtype
from gpugrad.core.primitive import LINEAR, Primitive
from gpugrad.ops.batching import pointwise


def _astype(xp: Any, x: Any, *, dtype: Any) -> Any:
    if not hasattr(x, "astype"):
        x = np.asarray(x)[()]  # a scalar of NumPy, which has no device
    if x.dtype.kind == "c" and dtype.kind != "c":
        # Without NumPy's warning: a cast to real drops the imaginary part; what is not 0 is true.
        x = x != 0 if dtype.kind == "b" else x.real
    return x.astype(dtype, copy=False)


def _shape(x: ShapeDtype, *, dtype: Any) -> ShapeDtype:
    return ShapeDtype(x.shape, dtype)


cast_p = Primitive(
    "cast",
    _astype,
    shape=_shape,
    vjp=lambda g, x_like: cast(g, x_like.dtype),
    jvp=LINEAR,
    batch=pointwise,
)

cast_away_p = Primitive("cast_away", _astype, shape=_shape, batch=pointwise)
"""A cast to integers or booleans, through which no gradient flows."""


def is_inexact(dtype: Any) -> bool:
    """Whether arrays of ``dtype`` have derivatives: floating point or complex, bfloat16 too."""
    return dtype.kind in "fc" or dtype.name in ("bfloat16", "float8_e4m3fn", "float8_e5m2")


def cast(x: Any, dtype: Any) -> Any:
    """``x`` with elements of ``dtype``; as it is when it has them."""
    dtype = np.dtype(dtype)
    like = shape_dtype(x)
    if like.dtype == dtype and not like.weak:
        return x
    return (cast_p if is_inexact(dtype) else cast_away_p)(x, dtype=dtype)
