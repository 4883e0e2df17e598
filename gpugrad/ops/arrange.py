"""Turning, inserting, deleting, and blocks: what shape and join spell out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import index
from typing import Any

import numpy as np

from gpugrad.core.abstract import shape_dtype
from gpugrad.core.box import Box
from gpugrad.device import is_cuda, to_device
from gpugrad.ops.broadcast import broadcast_to
from gpugrad.ops.cast import cast
from gpugrad.ops.concrete import concrete
from gpugrad.ops.creation import counting, device_near
from gpugrad.ops.indexing import getitem, take
from gpugrad.ops.join import concatenate, split
from gpugrad.ops.operands import as_array, as_arrays
from gpugrad.ops.shape import flip, moveaxis, normal_axes, normal_axis, ravel, reshape, swapaxes


def rot90(x: Any, k: int = 1, axes: Sequence[int] = (0, 1)) -> Any:
    """``x`` turned by ``k`` quarters in the plane of two axes, from the first to the second."""
    x = as_array(x)
    a, b = normal_axes(tuple(axes), shape_dtype(x).ndim)
    k %= 4
    if k == 2:
        return flip(x, (a, b))
    if k == 1:
        return swapaxes(flip(x, b), a, b)
    return flip(swapaxes(x, a, b), b) if k else x


def fliplr(x: Any) -> Any:
    """The second axis in reverse order."""
    return flip(as_array(x), 1)


def flipud(x: Any) -> Any:
    """The first axis in reverse order."""
    return flip(as_array(x), 0)


def rollaxis(x: Any, axis: int, start: int = 0) -> Any:
    """``axis`` moved back until it stands before ``start``."""
    x = as_array(x)
    ndim = shape_dtype(x).ndim
    axis = normal_axis(axis, ndim)
    start = start + ndim if start < 0 else start
    return moveaxis(x, axis, start - (axis < start))


def _each(arrays: tuple[Any, ...], widen: Any) -> Any:
    out = tuple(widen(as_array(a)) for a in arrays)
    return out[0] if len(out) == 1 else out


def _with_rank(x: Any, rank: int) -> Any:
    like = shape_dtype(x)
    return x if like.ndim >= rank else reshape(x, (*(1,) * (rank - like.ndim), *like.shape))


def atleast_1d(*arrays: Any) -> Any:
    """Each array, a number as one of a single element; a tuple for several."""
    return _each(arrays, lambda x: _with_rank(x, 1))


def atleast_2d(*arrays: Any) -> Any:
    """Each array with at least two axes, 1-D ones as a row; a tuple for several."""
    return _each(arrays, lambda x: _with_rank(x, 2))


def atleast_3d(*arrays: Any) -> Any:
    """Each array with at least three axes, new ones on both sides; a tuple for several."""

    def widen(x: Any) -> Any:
        shape = shape_dtype(x).shape
        if len(shape) > 2:
            return x
        return reshape(x, {0: (1, 1, 1), 1: (1, *shape, 1), 2: (*shape, 1)}[len(shape)])

    return _each(arrays, widen)


def append(x: Any, values: Any, axis: int | None = None) -> Any:
    """``values`` after ``x`` along ``axis``; flattened where it is None."""
    x, values = as_arrays(x, values)
    return concatenate([x, values], axis)


def _host(obj: Any) -> Any:
    """Positions as NumPy takes them: they decide the shape of the result."""
    if isinstance(obj, Box) or is_cuda(obj):
        obj = concrete(obj, "insert or delete at an array's positions")
        return obj.get() if is_cuda(obj) else obj
    return obj


def _from(x: Any, source: np.ndarray[Any, Any], axis: int) -> Any:
    return take(x, to_device(source, device_near([x])), axis)


def delete(x: Any, obj: Any, axis: int | None = None) -> Any:
    """``x`` without the positions ``obj`` (an integer, a slice, a mask or several) along ``axis``.

    None stands for the flattened array.
    """
    x = as_array(x)
    x, axis = (ravel(x), 0) if axis is None else (x, normal_axis(axis, shape_dtype(x).ndim))
    return _from(x, np.delete(np.arange(shape_dtype(x).shape[axis]), _host(obj)), axis)


def insert(x: Any, obj: Any, values: Any, axis: int | None = None) -> Any:
    """``values`` put before the positions ``obj`` of ``x`` along ``axis``.

    None stands for the flattened array.
    """
    x, values = as_arrays(x, values)
    x, axis = (ravel(x), 0) if axis is None else (x, normal_axis(axis, shape_dtype(x).ndim))
    shape = shape_dtype(x).shape
    at = _host(obj)
    values = _with_rank(cast(values, shape_dtype(x).dtype), len(shape))
    if not isinstance(at, slice) and np.ndim(at) == 0:
        values = moveaxis(values, 0, axis)
        count = shape_dtype(values).shape[axis]
    else:
        count = len(np.arange(shape[axis])[at] if isinstance(at, slice) else np.arange(np.size(at)))
        if np.asarray(at).dtype == bool:
            count = int(np.sum(at))
    values = broadcast_to(values, (*shape[:axis], count, *shape[axis + 1 :]))
    source = np.insert(np.arange(shape[axis]), at, shape[axis] + np.arange(count))
    return _from(concatenate([x, values], axis), source, axis)


def resize(x: Any, new_shape: Any) -> Any:
    """The elements of ``x`` in a new shape, cut off or repeated as it needs."""
    x = ravel(as_array(x))
    shape = tuple(map(index, new_shape)) if isinstance(new_shape, Sequence) else (index(new_shape),)
    n, total = shape_dtype(x).size, math.prod(shape)
    if total > n and n:
        x = take(x, counting([x], total) % n, 0)
    elif total > n:
        x = as_arrays(x, np.zeros(total, shape_dtype(x).dtype).tolist())[1]
    return reshape(getitem(x, slice(0, total)), shape)


def hsplit(x: Any, sections: Any) -> list[Any]:
    """Pieces along axis 1, or axis 0 of a 1-D array."""
    x = as_array(x)
    return split(x, sections, 0 if shape_dtype(x).ndim == 1 else 1)


def vsplit(x: Any, sections: Any) -> list[Any]:
    """Pieces along axis 0 of an array with at least two axes."""
    return _split_at(x, sections, 0, 2)


def dsplit(x: Any, sections: Any) -> list[Any]:
    """Pieces along axis 2."""
    return _split_at(x, sections, 2, 3)


def _split_at(x: Any, sections: Any, axis: int, least: int) -> list[Any]:
    x = as_array(x)
    if shape_dtype(x).ndim < least:
        raise ValueError(f"at least {least} axes are needed, got shape {shape_dtype(x).shape}")
    return split(x, sections, axis)


def _depth(arrays: Any) -> int:
    if not isinstance(arrays, list):
        return 0
    if not arrays:
        raise ValueError("block: a list of blocks is empty")
    depths = {_depth(a) for a in arrays}
    if len(depths) > 1:
        raise ValueError("block: the lists of blocks are nested unevenly")
    return 1 + depths.pop()


def _leaves(arrays: Any) -> list[Any]:
    return [x for a in arrays for x in _leaves(a)] if isinstance(arrays, list) else [arrays]


def block(arrays: Any) -> Any:
    """One array from nested lists of blocks: the innermost lists run along the last axis."""
    depth = _depth(arrays)
    leaves = as_arrays(*_leaves(arrays))
    rank = max(depth, *(shape_dtype(x).ndim for x in leaves))
    rest = iter(leaves)

    def joined(part: Any, level: int) -> Any:
        if not isinstance(part, list):
            return _with_rank(next(rest), rank)
        return concatenate([joined(p, level - 1) for p in part], rank - level)

    return joined(arrays, depth)


def trim_zeros(x: Any, trim: str = "fb", axis: Any = None) -> Any:
    """``x`` without the slices of zeros at its front (``"f"``) and back (``"b"``) along axes."""
    x = as_array(x)
    like = shape_dtype(x)
    raw = concrete(x, "trim_zeros")
    found = np.argwhere(raw.get() if is_cuda(raw) else raw)
    key: list[slice] = [slice(None)] * like.ndim
    for a in normal_axes(axis, like.ndim):
        if len(found):
            front = int(found[:, a].min()) if "f" in trim.lower() else 0
            back = int(found[:, a].max()) + 1 if "b" in trim.lower() else like.shape[a]
            key[a] = slice(front, back)
        else:
            key[a] = slice(0, 0)
    return getitem(x, tuple(key))
