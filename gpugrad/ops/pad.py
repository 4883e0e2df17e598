"""Margins around an array, by NumPy's modes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpugrad.core.abstract import shape_dtype
from gpugrad.ops import reductions
from gpugrad.ops.broadcast import broadcast_to_p
from gpugrad.ops.cast import cast, is_inexact
from gpugrad.ops.creation import counting
from gpugrad.ops.elementwise import floor, rint
from gpugrad.ops.indexing import getitem, take
from gpugrad.ops.join import concatenate, pad_p
from gpugrad.ops.operands import as_array
from gpugrad.ops.quantiles import median
from gpugrad.ops.shape import flip, reshape

_STATISTICS: dict[str, Callable[..., Any]] = {
    "maximum": reductions.max,
    "mean": reductions.mean,
    "median": median,
    "minimum": reductions.min,
}

_OPTION = {
    "constant": "constant_values",
    "edge": None,
    "empty": None,
    "linear_ramp": "end_values",
    "reflect": "reflect_type",
    "symmetric": "reflect_type",
    "wrap": None,
    **dict.fromkeys(_STATISTICS, "stat_length"),
}
"""Each mode with the one parameter that it takes."""


def pad(
    x: Any,
    pad_width: Any,
    mode: str = "constant",
    *,
    constant_values: Any = None,
    end_values: Any = None,
    stat_length: Any = None,
    reflect_type: str | None = None,
) -> Any:
    """``x`` with a margin on each side of each axis.

    Parameters
    ----------
    x
        The array.
    pad_width
        How wide: one number, a pair (before, after), a pair for each axis, or a dict of these by
        axis.
    mode
        What the margin is: ``constant`` values, zeros (``empty``), the outermost element
        (``edge``), a ``linear_ramp`` from that to ``end_values``, the ``maximum``, ``mean``,
        ``median`` or ``minimum`` along the axis, or the array again: turned about its outermost
        element (``reflect``), turned (``symmetric``), or as it is (``wrap``).
    constant_values
        Of ``constant``, one or as for ``pad_width``; 0 by default.
    end_values
        Of ``linear_ramp``, where it ends, one or as for ``pad_width``; 0 by default.
    stat_length
        Of ``maximum`` and the like, how many elements of each side count, one number or as for
        ``pad_width``; all by default.
    reflect_type
        Of ``reflect`` and ``symmetric``: ``even``, the default, or ``odd``, twice the outermost
        element less the turned ones.

    Examples
    --------
    >>> import numpy as np, gpugrad.numpy as gnp
    >>> x = np.array([1.0, 2.0, 4.0])
    >>> gnp.pad(x, (1, 2), "reflect", reflect_type="odd")
    array([0., 1., 2., 4., 6., 7.])
    >>> gnp.pad(x, {0: 2}, "linear_ramp", end_values=3)
    array([3. , 2. , 1. , 2. , 4. , 3.5, 3. ])
    """
    x = as_array(x)
    if mode not in _OPTION:
        raise ValueError(f"pad: mode {mode!r} is none of {', '.join(map(repr, _OPTION))}")
    given = {
        "constant_values": constant_values,
        "end_values": end_values,
        "stat_length": stat_length,
        "reflect_type": reflect_type,
    }
    option = given.pop(_OPTION[mode] or "", None)
    if unused := [name for name, value in given.items() if value is not None]:
        raise ValueError(f"pad: mode {mode!r} takes no {', '.join(unused)}")
    ndim = shape_dtype(x).ndim
    width = _widths(pad_width, ndim)
    if mode in ("constant", "empty"):
        return pad_p(x, width=width, value=0 if option is None else option)
    for axis, sides in enumerate(width):
        if sides != (0, 0):
            if not shape_dtype(x).shape[axis]:
                raise ValueError(f"pad: axis {axis} has no elements for a margin by mode {mode!r}")
            x = _padded(x, axis, sides, mode, option)
    return x


def _widths(pad_width: Any, ndim: int) -> tuple[tuple[int, int], ...]:
    if isinstance(pad_width, dict):
        pairs = np.zeros((ndim, 2), dtype=np.intp)
        for axis, sides in pad_width.items():
            pairs[axis] = sides
    else:
        pairs = np.broadcast_to(np.asarray(pad_width, dtype=np.intp), (ndim, 2))
    if (pairs < 0).any():
        raise ValueError(f"pad: widths cannot be negative, got {pad_width}")
    return tuple((int(a), int(b)) for a, b in pairs)


def _padded(x: Any, axis: int, sides: tuple[int, int], mode: str, option: Any) -> Any:
    """``x`` with a margin along one axis."""
    like = shape_dtype(x)
    if _OPTION[mode] in (None, "reflect_type"):
        if option not in (None, "even", "odd"):
            raise ValueError(f"pad: reflect_type {option!r} is neither 'even' nor 'odd'")
        if option != "odd" or like.shape[axis] == 1:
            # Where each element of the padded axis comes from, by NumPy's own rule.
            source = np.pad(np.arange(like.shape[axis]), sides, mode=mode)  # type: ignore[call-overload]
            return take(x, source, axis)
        first = 0 if mode == "symmetric" else 1
        options = [first, first]
    elif option is None:
        options = [0 if mode == "linear_ramp" else like.shape[axis]] * 2
    else:
        options = np.broadcast_to(option, (like.ndim, 2))[axis].tolist()
    before, after = options
    ahead = _margin(x, axis, sides[0], mode, before)
    behind = flip(_margin(flip(x, axis), axis, sides[1], mode, after), axis)
    return concatenate([ahead, x, behind], axis)


def _margin(x: Any, axis: int, width: int, mode: str, option: Any) -> Any:
    """What comes before ``x`` along one axis."""
    if mode == "linear_ramp":
        return _ramp(x, axis, width, option)
    if mode in ("reflect", "symmetric"):
        return _odd(x, axis, width, option)
    if option < 1:
        raise ValueError(f"pad: stat_length {option}; at least one element has a {mode}")
    dtype = shape_dtype(x).dtype
    value = _STATISTICS[mode](_part(x, axis, 0, option), axis, keepdims=True)
    value = value if is_inexact(dtype) else cast(rint(value), dtype)
    shape = list(shape_dtype(x).shape)
    shape[axis] = width
    return broadcast_to_p(value, shape=tuple(shape))


def _part(x: Any, axis: int, start: int, stop: int) -> Any:
    return getitem(x, (slice(None),) * axis + (slice(start, stop),))


def _ramp(x: Any, axis: int, width: int, end: Any) -> Any:
    """From ``end`` to before the first element in equal steps."""
    like = shape_dtype(x)
    dtype = like.dtype if is_inexact(like.dtype) else np.dtype(float)
    steps = reshape(cast(counting([x], width), dtype), (width, *(1,) * (like.ndim - 1 - axis)))
    y = steps * ((cast(_part(x, axis, 0, 1), dtype) - end) / max(width, 1)) + end
    return cast(y if is_inexact(like.dtype) else floor(y), like.dtype)


def _odd(x: Any, axis: int, width: int, first: int) -> Any:
    """Twice the first element less what follows, from ``first`` on and turned."""
    missing = width
    while missing > 0:
        turned = flip(_part(x, axis, first, first + missing), axis)
        x = concatenate([2 * _part(x, axis, 0, 1) - turned, x], axis)
        missing -= shape_dtype(turned).shape[axis]
    return _part(x, axis, 0, width)
