"""Shape and dtype of a value, and the interpreter that computes with nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gpugrad.core.box import Box, box
from gpugrad.core.loose import LISTS, refuse_lists, settled
from gpugrad.core.trace import Trace, check_level

if TYPE_CHECKING:
    from gpugrad.core.primitive import Primitive

_new_tuple = tuple.__new__
_PYTHON_DTYPES = {
    bool: np.dtype(bool),
    int: np.dtype(int),
    float: np.dtype(float),
    complex: np.dtype(complex),
}


class ShapeDtype(NamedTuple):
    """Shape and dtype of an array that need not exist.

    Parameters
    ----------
    shape
        Length of each axis.
    dtype
        The element type.
    weak
        Whether it stands for a Python scalar, whose dtype gives way to an array's (NEP 50).

    Examples
    --------
    >>> import gpugrad as gg, numpy as np
    >>> gg.eval_shape(lambda a, b: a @ b, gg.ShapeDtype((2, 3), np.dtype("f4")), np.ones((3, 5)))
    ShapeDtype(shape=(2, 5), dtype=dtype('float64'), weak=False)
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    weak: bool = False

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


def shape_dtype(value: Any) -> ShapeDtype:
    """The shape and dtype of an array, a box or a scalar."""
    try:
        # ShapeDtype(...) without the call of its generated __new__: every broadcasting rule asks.
        return _new_tuple(ShapeDtype, (value.shape, value.dtype, False))
    except AttributeError:
        pass
    dtype = _PYTHON_DTYPES.get(type(value))
    if dtype is not None:
        return ShapeDtype((), dtype, True)
    value = settled([value])[0] if type(value) in LISTS else np.asarray(value)
    return ShapeDtype(value.shape, value.dtype)


def rank(value: Any) -> int:
    """How many axes an array, a box or a number has."""
    try:
        found: int = value.ndim
    except AttributeError:
        found = shape_dtype(value).ndim
    return found


def fit(value: Any, y: Any) -> ShapeDtype | None:
    """What a cotangent of ``y`` must be brought to for ``value``; None: it fits as it is."""
    try:
        if value.shape == y.shape and value.dtype == y.dtype:
            return None
    except AttributeError:
        pass
    return shape_dtype(value)


class ShapeTrace(Trace):
    """Computes shapes and dtypes only: the boxes' values are ``ShapeDtype``s."""

    __slots__ = ()

    def apply(self, primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        operands = []
        refuse_lists(args)
        for a in args:
            if isinstance(a, Box) and a._trace is self:
                operands.append(a._value)
            else:
                if isinstance(a, Box) and a._trace is not None:
                    check_level(a._trace, self, primitive)
                operands.append(shape_dtype(a))
        out = primitive.shape(*operands, **params)
        if primitive.multiple:
            return tuple([box(o, self) for o in out])
        return box(out, self)
