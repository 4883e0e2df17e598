"""Piecewise linear interpolation."""

from __future__ import annotations

from typing import Any

from gpugrad.core.abstract import shape_dtype
from gpugrad.ops.broadcast import broadcast_to
from gpugrad.ops.cast import is_inexact
from gpugrad.ops.elementwise import maximum, minimum, mod, where
from gpugrad.ops.indexing import getitem, take
from gpugrad.ops.join import concatenate
from gpugrad.ops.operands import as_arrays
from gpugrad.ops.sorting import argsort, searchsorted_p


def interp(
    x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None
) -> Any:
    """The values at ``x`` of the line through the points ``(xp, fp)``, ``xp`` ascending.

    It is differentiable in ``x``, ``xp`` and ``fp``; at a point of ``xp`` the slope is that of the
    segment to its right, and outside it is 0, as in JAX.

    Parameters
    ----------
    x
        Where to evaluate.
    xp, fp
        The points, 1-D; with ``period`` in any order.
    left, right
        The values before the first and after the last point; by default theirs.
    period
        The period of ``xp``, which excludes ``left`` and ``right``.
    """
    x, xp, fp = as_arrays(x, xp, fp)
    if not is_inexact(shape_dtype(x).dtype):
        x = x * 1.0
    (n,) = shape_dtype(xp).shape
    if shape_dtype(fp).shape != (n,) or not n:
        raise ValueError(
            f"interp: xp of shape {shape_dtype(xp).shape} and fp of shape {shape_dtype(fp).shape}; "
            "both need one length above 0"
        )
    if period is not None:
        if left is not None or right is not None:
            raise ValueError("interp: a periodic function has no left and right")
        x, xp = mod(x, period), mod(xp, period)
        order = argsort(xp)
        xp, fp = take(xp, order, 0), take(fp, order, 0)
        first, last = slice(0, 1), slice(n - 1, n)
        xp = concatenate([getitem(xp, last) - period, xp, getitem(xp, first) + period])
        fp = concatenate([getitem(fp, last), fp, getitem(fp, first)])
        n += 2
    before, after = getitem(xp, 0), getitem(xp, n - 1)
    y = _inside(x, xp, fp, n)
    y = where(x < before, getitem(fp, 0) if left is None else left, y)
    return where(x > after, getitem(fp, n - 1) if right is None else right, y)


def _inside(x: Any, xp: Any, fp: Any, n: int) -> Any:
    if n == 1:
        return broadcast_to(getitem(fp, 0), shape_dtype(x).shape)
    at = minimum(maximum(searchsorted_p(xp, x, side="right"), 1), n - 1)
    x0, x1 = take(xp, at - 1, 0), take(xp, at, 0)
    f0, f1 = take(fp, at - 1, 0), take(fp, at, 0)
    width = x1 - x0
    share = (x - x0) / where(width == 0, 1, width)
    return f0 + (f1 - f0) * share
