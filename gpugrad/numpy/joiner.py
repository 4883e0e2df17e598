"""``r_`` and ``c_``: arrays, numbers and ranges joined by indexing."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpugrad.core.abstract import shape_dtype
from gpugrad.ops.join import concatenate
from gpugrad.ops.operands import as_arrays
from gpugrad.ops.shape import reshape, transpose


def _range(part: Any) -> Any:
    """A slice as NumPy's ``r_`` takes it, with ``5j`` for a count; anything else as it is."""
    return np.r_[part].tolist() if isinstance(part, slice) else part


def _widened(x: Any, rank: int, start: int) -> Any:
    """At least ``rank`` axes, of which those of ``x`` begin at ``start`` (-1: are the last)."""
    like = shape_dtype(x)
    new = rank - like.ndim
    if new <= 0:
        return x
    x = reshape(x, (*(1,) * new, *like.shape))
    if start == -1:
        return x
    start = start + new + 1 if start < 0 else start
    order = list(range(rank))
    return transpose(x, (*order[:start], *order[new:], *order[start:new]))


class Joiner:
    """What ``r_`` and ``c_`` are.

    A leading string ``"axis,rank,start"`` says along which axis to join, to how many axes the parts
    are widened, and where the axes of a narrower part begin then.

    Examples
    --------
    >>> import numpy as np, gpugrad.numpy as gnp
    >>> gnp.r_[np.array([1.0, 2.0]), 0, 3:5]
    array([1., 2., 0., 3., 4.])
    >>> gnp.c_[np.array([1, 2]), np.array([3, 4])]
    array([[1, 3],
           [2, 4]])
    """

    def __init__(self, axis: int, rank: int, start: int) -> None:
        self._how = axis, rank, start

    def __getitem__(self, key: Any) -> Any:
        parts = list(key) if isinstance(key, tuple) else [key]
        axis, rank, start = self._how
        if isinstance(parts[0], str):
            text = parts.pop(0)
            try:
                given = [int(n) for n in text.split(",")]
            except ValueError:
                raise ValueError(
                    f"{text!r}: matrices by 'r' and 'c' are not supported; 'axis,rank,start' is"
                ) from None
            axis, rank, start = (*given, *self._how[len(given) :])
        arrays = [_widened(a, rank, start) for a in as_arrays(*map(_range, parts))]
        return concatenate(arrays, axis)


r_ = Joiner(0, 1, -1)
c_ = Joiner(-1, 2, 0)
