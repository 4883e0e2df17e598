"""Broadcasting and its transpose, the sum."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpugrad.core.abstract import ShapeDtype, rank, shape_dtype
from gpugrad.core.loose import LISTS, settled
from gpugrad.core.primitive import LINEAR, Primitive
from gpugrad.kernels.many import NARROW, name_of
from gpugrad.ops.batching import over_axis
from gpugrad.ops.cast import cast
from gpugrad.ops.complex import is_complex, real
from gpugrad.ops.shape import normal_axes, reshape_p


def reduced(shape: tuple[int, ...], axis: tuple[int, ...], keepdims: bool) -> tuple[int, ...]:
    """The shape that is left when ``axis`` is reduced away."""
    if keepdims:
        return tuple(1 if a in axis else n for a, n in enumerate(shape))
    return tuple(n for a, n in enumerate(shape) if a not in axis)


def standing(g: Any, like: ShapeDtype, axis: tuple[int, ...], keepdims: bool) -> Any:
    """A reduction's result with length 1 where it reduced, so that it broadcasts with its input."""
    if keepdims or not axis or not g.shape:  # a number broadcasts as it is
        return g
    return reshape_p(g, shape=reduced(like.shape, axis, True))


def spread(g: Any, like: ShapeDtype, axis: tuple[int, ...], keepdims: bool) -> Any:
    """A reduction's result back over the axes it reduced."""
    return broadcast_to_p.bind((standing(g, like, axis, keepdims),), {"shape": like.shape})


def is_narrow(dtype: Any) -> bool:
    """Whether numbers of ``dtype`` are added up and multiplied in float32.

    In their own precision sums of float16 stop growing at 2048, of bfloat16 at 256.
    """
    return dtype.itemsize == 2 and name_of(dtype) in NARROW


def _sum_shape(x: ShapeDtype, *, axis: Any, keepdims: bool) -> ShapeDtype:
    dtype = np.empty(0, x.dtype).sum().dtype
    return ShapeDtype(reduced(x.shape, axis, keepdims), dtype)


def _sum_on_host(x: Any, *, axis: tuple[int, ...], keepdims: bool) -> Any:
    if type(x) is np.ndarray and x.dtype.itemsize == 2 and is_narrow(x.dtype):
        total = np.sum(x, axis=axis, keepdims=keepdims, dtype=np.float32)
        with np.errstate(over="ignore"):
            return total.astype(x.dtype)
    # What np.sum comes down to, at half its price for small arrays.
    return np.add.reduce(x, axis=axis, keepdims=keepdims)  # type: ignore[call-overload]


def _sum(xp: Any, x: Any, *, axis: tuple[int, ...], keepdims: bool) -> Any:
    if xp is np:
        return _sum_on_host(x, axis=axis, keepdims=keepdims)
    return xp.sum(x, axis=axis, keepdims=keepdims)


sum_p = Primitive(
    "sum",
    _sum,
    shape=_sum_shape,
    vjp=lambda g, x_like, axis, keepdims: spread(g, x_like, axis, keepdims),
    jvp=LINEAR,
    batch=over_axis,
    host=_sum_on_host,
)


def _broadcast_batch(
    primitive: Primitive, size: int, batched: Any, values: Any, params: Any
) -> Any:
    (x,) = values
    shape = params["shape"]
    missing = len(shape) + 1 - len(x.shape)
    if missing:
        x = reshape_p(x, shape=(size, *(1,) * missing, *x.shape[1:]))
    return primitive(x, shape=(size, *shape))


def _broadcast_on_host(x: Any, *, shape: tuple[int, ...]) -> Any:
    if math.prod(shape) < 4096 and hasattr(x, "dtype"):
        # NumPy takes longer to make the view than to write so few elements.
        out = np.empty(shape, x.dtype)
        out[...] = x
        return out
    return np.broadcast_to(x, shape)


def _broadcast_to(xp: Any, x: Any, *, shape: tuple[int, ...]) -> Any:
    return _broadcast_on_host(x, shape=shape) if xp is np else xp.broadcast_to(x, shape)


broadcast_to_p = Primitive(
    "broadcast_to",
    _broadcast_to,
    shape=lambda x, *, shape: ShapeDtype(shape, x.dtype),
    vjp=lambda g, x_like: unbroadcast(g, x_like),
    jvp=LINEAR,
    batch=_broadcast_batch,
    host=_broadcast_on_host,
)


@functools.lru_cache(maxsize=4096)
def _broadcast_axes(
    shape: tuple[int, ...], small: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The axes that broadcasting ``small`` to ``shape`` put in front, and those it made longer."""
    made = len(shape) - len(small)
    ones = [a for a, n in enumerate(small) if n == 1 != shape[made + a]]
    return tuple(range(made)), tuple(ones)


def unbroadcast(g: Any, like: ShapeDtype) -> Any:
    """The cotangent of an operand that was broadcast and promoted to the shape and type of ``g``.

    Sums over the axes that broadcasting made, drops an imaginary part that the operand has not,
    and casts to its type.
    """
    shape = g.shape
    if shape != like.shape:
        made, ones = _broadcast_axes(shape, like.shape)
        if made:
            g = sum_p.bind((g,), {"axis": made, "keepdims": False})
        if ones:
            g = sum_p.bind((g,), {"axis": ones, "keepdims": True})
    if g.dtype == like.dtype:
        return g
    if like.dtype.kind != "c" and is_complex(g):
        g = real(g)
    return g if like.weak else cast(g, like.dtype)


def broadcast_to(x: Any, shape: Any) -> Any:
    """``x`` repeated over new and length-1 axes to ``shape``."""
    new = tuple(shape) if isinstance(shape, Sequence) else (shape,)
    like = shape_dtype(x)
    if np.broadcast_shapes(like.shape, new) != new:
        raise ValueError(f"broadcast_to: shape {like.shape} does not broadcast to {new}")
    return x if like.shape == new and not like.weak else broadcast_to_p(x, shape=new)


def broadcast_arrays(*arrays: Any) -> list[Any]:
    """All operands at their common shape."""
    if not LISTS.isdisjoint([type(a) for a in arrays]):
        arrays = settled(arrays)
    shape = np.broadcast_shapes(*[shape_dtype(a).shape for a in arrays])
    return [broadcast_to(a, shape) for a in arrays]


def sum(
    x: Any,
    axis: Any = None,
    dtype: Any = None,
    *,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = None,
) -> Any:
    """Sum over ``axis`` (None: over all) of what ``where`` keeps, beginning with ``initial``."""
    if where is not None or initial is not None:
        from gpugrad.ops.masked import kept

        out = sum(kept(x, where, 0), axis, dtype, keepdims=keepdims)
        return out if initial is None else out + initial
    axes = normal_axes(axis, rank(x))
    if dtype is None:
        return sum_p.bind((x,), {"axis": axes, "keepdims": keepdims})
    # Narrow integers add up in wide ones, of which the low bits are the narrow sum.
    return cast(sum_p(cast(x, dtype), axis=axes, keepdims=keepdims), dtype)
