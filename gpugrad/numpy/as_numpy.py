"""Functions of NumPy's that the array API standard has otherwise: here NumPy's way holds.

These answer where NumPy's own function is called on an `Array`. ``where=`` of a reduction chooses
what is reduced, and ``initial=`` is reduced along.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gpugrad.ops import broadcast, elementwise, reductions
from gpugrad.ops.broadcast import broadcast_to
from gpugrad.ops.clip import clip as _clip
from gpugrad.ops.indexing import nonzero

__all__ = [
    *("all", "amax", "amin", "any", "broadcast_arrays", "clip", "max", "mean", "min", "prod"),
    *("std", "sum", "var", "where"),
]


def broadcast_arrays(*arrays: Any, subok: bool = False) -> tuple[Any, ...]:
    """All operands at their common shape, in a tuple."""
    return tuple(broadcast.broadcast_arrays(*arrays))


def where(condition: Any, *choices: Any) -> Any:
    """``x`` where the condition holds and else ``y``; the condition alone: where it holds."""
    return elementwise.where(condition, *choices) if choices else nonzero(condition)


def clip(a: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Any:
    """``a`` kept within bounds, which have two names each."""
    return _clip(a, min if a_min is None else a_min, max if a_max is None else a_max)


def _folding(reduce: Callable[..., Any], join: Any, neutral: Any) -> Callable[..., Any]:
    """A reduction by ``join`` that skips what ``where`` excludes."""
    typed = neutral is not None and not isinstance(neutral, bool)

    def reduction(
        a: Any,
        axis: Any = None,
        dtype: Any = None,
        keepdims: bool = False,
        initial: Any = None,
        where: Any = True,
    ) -> Any:
        if where is not True:
            fill = initial if neutral is None else neutral
            if fill is None:
                raise ValueError(f"{reduce.__name__}: where= needs initial=, for rows left empty")
            a = elementwise.where(where, a, fill)
        more = {"dtype": dtype} if typed else {}
        y = reduce(a, axis, keepdims=keepdims, **more)
        return y if initial is None else join(y, initial)

    return reduction


sum = _folding(broadcast.sum, elementwise.add, 0)
prod = _folding(reductions.prod, elementwise.multiply, 1)
max = amax = _folding(reductions.max, elementwise.maximum, None)
min = amin = _folding(reductions.min, elementwise.minimum, None)
any = _folding(reductions.any, elementwise.logical_or, False)
all = _folding(reductions.all, elementwise.logical_and, True)


def mean(
    a: Any, axis: Any = None, dtype: Any = None, keepdims: bool = False, where: Any = True
) -> Any:
    """Mean over ``axis`` of the elements that ``where`` includes."""
    if where is True:
        return reductions.mean(a, axis, dtype, keepdims=keepdims)
    count = broadcast.sum(broadcast_to(where, a.shape), axis, keepdims=keepdims)
    return sum(a, axis, dtype, keepdims, where=where) / count


def var(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    ddof: float = 0,
    keepdims: bool = False,
    where: Any = True,
    mean: Any = None,
    correction: float | None = None,
) -> Any:
    """Variance over ``axis`` of the elements that ``where`` includes, about ``mean``."""
    free = ddof if correction is None else correction
    if where is True and mean is None:
        return reductions.var(a, axis, dtype, correction=free, keepdims=keepdims)
    center = _mean(a, axis, dtype, True, where) if mean is None else mean
    squares = elementwise.square(elementwise.absolute(a - center))
    included = broadcast_to(where, a.shape)
    count = broadcast.sum(included, axis, keepdims=keepdims)
    return sum(squares, axis, dtype, keepdims, where=included) / (count - free)


_mean = mean


def std(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    ddof: float = 0,
    keepdims: bool = False,
    where: Any = True,
    mean: Any = None,
    correction: float | None = None,
) -> Any:
    """Standard deviation over ``axis`` of the elements that ``where`` includes, about ``mean``."""
    if where is True and mean is None:
        free = ddof if correction is None else correction
        return reductions.std(a, axis, dtype, correction=free, keepdims=keepdims)
    return elementwise.sqrt(var(a, axis, dtype, ddof, keepdims, where, mean, correction))
