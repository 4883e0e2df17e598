"""The same elements in another arrangement: reshape, transpose, flip, and what they spell."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from operator import index
from typing import Any

from numpy.exceptions import AxisError

from gpugrad.core.abstract import ShapeDtype, rank, shape_dtype
from gpugrad.core.loose import array_of
from gpugrad.core.primitive import LINEAR, Primitive
from gpugrad.ops.batching import over_axis


def _reshape_batch(primitive: Primitive, size: int, batched: Any, values: Any, params: Any) -> Any:
    return primitive(values[0], shape=(size, *params["shape"]))


reshape_p: Primitive = Primitive(
    "reshape",
    lambda xp, x, *, shape: x.reshape(shape) if hasattr(x, "reshape") else xp.reshape(x, shape),
    shape=lambda x, *, shape: ShapeDtype(shape, x.dtype),
    vjp=lambda g, x_like: reshape_p.bind((g,), {"shape": x_like.shape}),
    jvp=LINEAR,
    batch=_reshape_batch,
)


@functools.cache
def _inverse(axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(range(len(axes)), key=axes.__getitem__))


def _transpose_batch(
    primitive: Primitive, size: int, batched: Any, values: Any, params: Any
) -> Any:
    return primitive(values[0], axes=(0, *(a + 1 for a in params["axes"])))


transpose_p: Primitive = Primitive(
    "transpose",
    lambda xp, x, *, axes: x.transpose(axes),
    shape=lambda x, *, axes: ShapeDtype(tuple(x.shape[a] for a in axes), x.dtype),
    vjp=lambda g, axes: transpose_p(g, axes=_inverse(axes)),
    jvp=LINEAR,
    batch=_transpose_batch,
)

flip_p: Primitive = Primitive(
    "flip",
    lambda xp, x, *, axis: x[
        tuple([slice(None, None, -1 if a in axis else None) for a in range(x.ndim)])
    ],
    shape=lambda x, *, axis: x,
    vjp=lambda g, axis: flip_p(g, axis=axis),
    jvp=LINEAR,
    batch=over_axis,
)

roll_p: Primitive = Primitive(
    "roll",
    lambda xp, x, *, shift, axis: xp.roll(x, shift, axis),
    shape=lambda x, *, shift, axis: x,
    vjp=lambda g, shift, axis: roll_p(g, shift=tuple(-s for s in shift), axis=axis),
    jvp=LINEAR,
    batch=over_axis,
)


def normal_axis(axis: Any, ndim: int) -> int:
    """``axis`` counted from the front.

    Raises
    ------
    AxisError
        NumPy's, where there is no such axis: a ``ValueError`` and an ``IndexError``.
    """
    if type(axis) is int and 0 <= axis < ndim:
        return axis
    number = index(axis)
    if not -ndim <= number < ndim:
        raise AxisError(f"axis {number} is out of bounds for an array of dimension {ndim}")
    return number % ndim if ndim else 0


ALL_AXES = [tuple(range(ndim)) for ndim in range(65)]
"""All axes of an array, by how many it has: NumPy's and CuPy's have at most 64."""


def normal_axes(axis: Any, ndim: int) -> tuple[int, ...]:
    """``axis``, None for all or one or several, as a tuple counted from the front."""
    if axis is None:
        return ALL_AXES[ndim]
    if type(axis) is int:
        return (axis if 0 <= axis < ndim else normal_axis(axis, ndim),)
    axes = tuple([normal_axis(a, ndim) for a in (axis if isinstance(axis, Sequence) else (axis,))])
    if len(set(axes)) != len(axes):
        raise ValueError(f"axis {axis} names an axis twice")
    return axes


def reshape(x: Any, shape: Any, order: str = "C", *, copy: bool | None = None) -> Any:
    """``x`` with another shape and the same elements in order; -1 is worked out.

    The order is row-major, ``"F"`` column-major; ``"A"``, for NumPy as in memory, is ``"C"``.
    """
    if order not in ("C", "A", "F"):
        raise ValueError(f"reshape: order {order!r} is none of 'C', 'F' and 'A'")
    like = shape_dtype(x)
    new = (
        shape if type(shape) is tuple else tuple(shape) if isinstance(shape, Sequence) else (shape,)
    )
    if order == "F":  # row-major with all axes in reverse
        return transpose(reshape(transpose(x), new[::-1], copy=copy))
    new = tuple([index(n) for n in new])
    size = math.prod(like.shape)
    if new.count(-1) == 1:
        known = -math.prod(new)
        if known == 0 or size % known:
            raise ValueError(f"cannot reshape {like.shape} ({like.size} elements) into {new}")
        new = tuple([size // known if n == -1 else n for n in new])
    if math.prod(new) != size or (new and min(new) < 0):
        raise ValueError(f"cannot reshape {like.shape} ({like.size} elements) into {new}")
    if copy:
        x = x + type(x)(0) if like.weak else x.copy()
    same = new == like.shape and hasattr(x, "shape")
    return x if same else reshape_p.bind((x,), {"shape": new})


def ravel(x: Any, order: str = "C") -> Any:
    """All elements along one axis."""
    return reshape(x, (-1,) if shape_dtype(x).size else (0,), order)


def permute(x: Any, axes: tuple[int, ...]) -> Any:
    """Transpose to normal ``axes``; as it is where they are in order already."""
    return x if axes == tuple(range(len(axes))) else transpose_p(x, axes=axes)


def transpose(x: Any, axes: Any = None) -> Any:
    """Axes in another order; reversed by default."""
    ndim = rank(x)
    if axes is None:
        return array_of(x) if ndim < 2 else transpose_p(x, axes=tuple(range(ndim - 1, -1, -1)))
    order = normal_axes(tuple(axes), ndim)
    if len(order) != ndim:
        raise ValueError(f"transpose: axes {axes} for an array of dimension {ndim}")
    return permute(x, order)


permute_dims = transpose


def matrix_transpose(x: Any) -> Any:
    """The last two axes exchanged."""
    if rank(x) < 2:
        raise ValueError(
            f"matrix_transpose needs at least 2 dimensions, got shape {shape_dtype(x).shape}"
        )
    return swapaxes(x, -1, -2)


def swapaxes(x: Any, axis1: int, axis2: int) -> Any:
    """Two axes exchanged."""
    ndim = rank(x)
    axes = list(range(ndim))
    a, b = normal_axis(axis1, ndim), normal_axis(axis2, ndim)
    axes[a], axes[b] = b, a
    return permute(x, tuple(axes))


def moveaxis(x: Any, source: Any, destination: Any) -> Any:
    """Axes moved to other places, the rest in order."""
    ndim = shape_dtype(x).ndim
    sources, places = normal_axes(source, ndim), normal_axes(destination, ndim)
    if len(sources) != len(places):
        raise ValueError(f"moveaxis: {len(sources)} axes for {len(places)} places")
    order = [a for a in range(ndim) if a not in sources]
    for place, a in sorted(zip(places, sources, strict=True)):
        order.insert(place, a)
    return permute(x, tuple(order))


def expand_dims(x: Any, axis: Any = 0) -> Any:
    """``x`` with axes of length 1 at ``axis``, counted in the result."""
    shape = shape_dtype(x).shape
    if type(axis) is int:
        at = normal_axis(axis, len(shape) + 1)
        return reshape_p(x, shape=(*shape[:at], 1, *shape[at:]))
    added = axis if isinstance(axis, Sequence) else (axis,)
    places = normal_axes(tuple(added), len(shape) + len(added))
    rest = iter(shape)
    new = tuple(1 if a in places else next(rest) for a in range(len(shape) + len(added)))
    return reshape_p(x, shape=new)


def squeeze(x: Any, axis: Any = None) -> Any:
    """``x`` without its axes of length 1, or without those named."""
    shape = shape_dtype(x).shape
    if axis is None:
        gone = tuple(a for a, n in enumerate(shape) if n == 1)
    else:
        gone = normal_axes(axis, len(shape))
        if long := [a for a in gone if shape[a] != 1]:
            raise ValueError(f"squeeze: axis {long[0]} of shape {shape} is not of length 1")
    return reshape_p(x, shape=tuple(n for a, n in enumerate(shape) if a not in gone))


def flip(x: Any, axis: Any = None) -> Any:
    """Elements in reverse order along ``axis`` (None: along all)."""
    return flip_p(x, axis=normal_axes(axis, rank(x)))


def roll(x: Any, shift: Any, axis: Any = None) -> Any:
    """Elements moved round by ``shift`` places; over the flattened array where axis is None."""
    like = shape_dtype(x)
    if axis is None:
        total = sum(shift) if isinstance(shift, Sequence) else index(shift)
        return reshape(roll_p(ravel(x), shift=(total,), axis=(0,)), like.shape)
    axes = axis if isinstance(axis, Sequence) else (axis,)
    shifts = shift if isinstance(shift, Sequence) else (shift,)
    count = max(len(axes), len(shifts))
    axes = tuple(normal_axis(a, like.ndim) for a in (tuple(axes) * count)[:count])
    return roll_p(x, shift=tuple(index(s) for s in (tuple(shifts) * count)[:count]), axis=axes)
