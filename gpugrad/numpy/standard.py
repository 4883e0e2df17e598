"""Functions of which the array API standard asks something else than NumPy: here its way holds.

NumPy's own way holds where NumPy's function is called on an `Array`.
"""

from __future__ import annotations

from typing import Any

from gpugrad.core.abstract import shape_dtype
from gpugrad.ops import broadcast, elementwise
from gpugrad.ops.cast import is_inexact
from gpugrad.ops.elementwise import copysign, divide, isfinite, isinf, logical_and, where


def floor_divide(x1: Any, x2: Any, /) -> Any:
    """The largest whole number not above ``x1 / x2``.

    A finite number over an infinite one is a zero with the quotient's sign, and an infinite one
    over a finite one the infinity; NumPy has -1 and NaN there.

    Examples
    --------
    >>> import numpy as np, gpugrad.numpy as gnp
    >>> print(gnp.floor_divide(-1.0, np.inf), np.floor_divide(-1.0, np.inf))
    -0.0 -1.0
    """
    y = elementwise.floor_divide(x1, x2)
    if not is_inexact(shape_dtype(y).dtype):
        return y
    quotient = divide(x1, x2)
    y = where(logical_and(isfinite(x1), isinf(x2)), copysign(0.0, quotient), y)
    return where(logical_and(isinf(x1), isfinite(x2)), quotient, y)


def broadcast_arrays(*arrays: Any) -> list[Any]:
    """All operands at their common shape, in a list; NumPy gives a tuple."""
    return list(broadcast.broadcast_arrays(*arrays))
