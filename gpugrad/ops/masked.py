"""Reductions over the elements that a mask keeps: NumPy's ``where=`` and ``initial=``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpugrad.core.abstract import shape_dtype
from gpugrad.ops.broadcast import broadcast_to, sum_p
from gpugrad.ops.cast import cast, is_inexact
from gpugrad.ops.complex import conj, is_complex, real
from gpugrad.ops.elementwise import where as choose
from gpugrad.ops.operands import as_arrays
from gpugrad.ops.shape import normal_axes


def kept(x: Any, mask: Any, fill: Any) -> Any:
    """``x`` where the mask is true, else ``fill``; as it is for no mask."""
    if mask is None:
        return x
    x, mask = as_arrays(x, mask)
    return cast(choose(mask, x, fill), shape_dtype(x).dtype)


def started(out: Any, initial: Any, op: Callable[[Any, Any], Any]) -> Any:
    """A reduction's result with the value it starts from."""
    return out if initial is None else op(out, initial)


def worst(x: Any, initial: Any, what: str, sign: int) -> Any:
    """What stands for a masked element of ``max`` (sign -1) or ``min`` (1)."""
    dtype = shape_dtype(x).dtype
    if initial is not None:
        return initial
    if not is_inexact(dtype):
        raise ValueError(f"{what}: where= on {dtype} needs initial=, for where nothing is kept")
    return sign * np.inf


def _count(mask: Any, x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    like = shape_dtype(x)
    dtype = like.dtype.type(0).real.dtype
    return cast(sum_p(broadcast_to(mask, like.shape), axis=axes, keepdims=keepdims), dtype)


def _enough(count: Any, total: Any, finish: Callable[[Any], Any] | None = None) -> Any:
    """``total / count``, NaN where the count is not above 0: without a gradient there."""
    some = count > 0
    out = total / choose(some, count, 1)
    return kept(out if finish is None else finish(out), some, np.nan)


def masked_mean(x: Any, axis: Any, mask: Any, keepdims: bool) -> Any:
    """Mean of what the mask keeps; NaN for nothing."""
    x, mask = as_arrays(x, mask)
    x = x if is_inexact(shape_dtype(x).dtype) else x * 1.0
    axes = normal_axes(axis, shape_dtype(x).ndim)
    total = sum_p(kept(x, mask, 0), axis=axes, keepdims=keepdims)
    return _enough(_count(mask, x, axes, keepdims), total)


def masked_var(
    x: Any,
    axis: Any,
    mask: Any,
    ddof: float,
    keepdims: bool,
    mean: Any = None,
    finish: Callable[[Any], Any] | None = None,
) -> Any:
    """Variance of what the mask keeps (None: all) about ``mean``; NaN for too few.

    ``finish`` is applied to it where there are enough.
    """
    x, mask = as_arrays(x, True if mask is None else mask)
    x = x if is_inexact(shape_dtype(x).dtype) else x * 1.0
    axes = normal_axes(axis, shape_dtype(x).ndim)
    middle = masked_mean(x, axes, mask, True) if mean is None else mean
    off = kept(x - middle, mask, 0)
    squares = real(off * conj(off)) if is_complex(x) else off * off
    total = sum_p(squares, axis=axes, keepdims=keepdims)
    return _enough(_count(mask, x, axes, keepdims) - ddof, total, finish)
