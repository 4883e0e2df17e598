"""Putting arrays together and taking them apart: concatenate, stack, split, tile, repeat."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise
from operator import index
from typing import Any

import numpy as np

from gpugrad.core.abstract import ShapeDtype, rank, shape_dtype
from gpugrad.core.box import Box
from gpugrad.core.primitive import LINEAR, Primitive
from gpugrad.device import device_of, namespace, on
from gpugrad.ops.batching import lead, over_axis
from gpugrad.ops.broadcast import broadcast_to, broadcast_to_p, unbroadcast
from gpugrad.ops.cast import cast
from gpugrad.ops.concrete import concrete
from gpugrad.ops.creation import zeros_near
from gpugrad.ops.indexing import getitem, take
from gpugrad.ops.operands import as_arrays
from gpugrad.ops.shape import expand_dims, normal_axis, ravel, reshape, reshape_p


def _promoted(arrays: Sequence[ShapeDtype]) -> np.dtype[Any]:
    return np.result_type(*[a.dtype for a in arrays])


def _concatenate_shape(*arrays: ShapeDtype, axis: int) -> ShapeDtype:
    rest = [a.shape[:axis] + a.shape[axis + 1 :] for a in arrays]
    if len(set(rest)) > 1:
        raise ValueError(
            f"concatenate: shapes {', '.join(str(a.shape) for a in arrays)} differ off axis {axis}"
        )
    total = sum(a.shape[axis] for a in arrays)
    shape = (*arrays[0].shape[:axis], total, *arrays[0].shape[axis + 1 :])
    return ShapeDtype(shape, _promoted(arrays))


def _concatenate_vjp(g: Any, arrays_like: Sequence[ShapeDtype], needs: Any, axis: int) -> Any:
    out, start = [], 0
    before = (slice(None),) * axis
    dtype = g.dtype
    for like, need in zip(arrays_like, needs):
        end = start + like.shape[axis]
        c = g[(*before, slice(start, end))] if need else None
        out.append(c if c is None or like.dtype == dtype else unbroadcast(c, like))
        start = end
    return out


def _concatenate_jvp(ts: Sequence[Any], arrays: Any, arrays_like: Any, axis: int) -> Any:
    parts = [
        zeros_near(arrays, a.shape, a.dtype) if t is None else t
        for t, a in zip(ts, arrays_like, strict=True)
    ]
    return concatenate_p(*parts, axis=axis)


def _concatenate_batch(
    primitive: Primitive, size: int, batched: Sequence[bool], values: Any, params: Any
) -> Any:
    parts = [lead(v, size, mine) for v, mine in zip(values, batched, strict=True)]
    return primitive(*parts, axis=params["axis"] + 1)


concatenate_p = Primitive(
    "concatenate",
    lambda xp, *arrays, axis: xp.concatenate(arrays, axis=axis),
    "*arrays",
    shape=_concatenate_shape,
    joint_vjp=_concatenate_vjp,
    joint_jvp=_concatenate_jvp,
    batch=_concatenate_batch,
)


def _pieces(x: ShapeDtype, *, at: tuple[int, ...], axis: int) -> list[ShapeDtype]:
    ends = (0, *at, x.shape[axis])
    return [
        ShapeDtype((*x.shape[:axis], end - start, *x.shape[axis + 1 :]), x.dtype)
        for start, end in pairwise(ends)
    ]


def _split_vjp(gs: Sequence[Any], x_like: ShapeDtype, at: tuple[int, ...], axis: int) -> Any:
    parts = [
        zeros_near(gs, p.shape, p.dtype) if g is None else g
        for g, p in zip(gs, _pieces(x_like, at=at, axis=axis), strict=True)
    ]
    return concatenate_p(*parts, axis=axis)


split_p = Primitive(
    "split",
    lambda xp, x, *, at, axis: tuple(xp.split(x, list(at), axis=axis)),
    shape=_pieces,
    vjp=_split_vjp,
    jvp=LINEAR,
    batch=over_axis,
    multiple=True,
)


def _pad_batch(primitive: Primitive, size: int, batched: Any, values: Any, params: Any) -> Any:
    width, value = params["width"], params["value"]
    if np.ndim(value):
        value = [(0, 0), *np.broadcast_to(value, (len(width), 2)).tolist()]
    return primitive(values[0], width=((0, 0), *width), value=value)


def _pad(xp: Any, x: Any, *, width: tuple[tuple[int, int], ...], value: Any) -> Any:
    if np.ndim(value):  # one for each axis, or for each end of it
        return xp.pad(x, width, mode="constant", constant_values=value)
    sides = list(zip(x.shape, width, strict=True))
    out = xp.full([a + n + b for n, (a, b) in sides], value, x.dtype)
    out[tuple([slice(a, a + n) for n, (a, _) in sides])] = x
    return out


pad_p: Primitive = Primitive(
    "pad",
    _pad,
    shape=lambda x, *, width, value: ShapeDtype(
        tuple(a + n + b for n, (a, b) in zip(x.shape, width, strict=True)), x.dtype
    ),
    vjp=lambda g, x_like, width: getitem(
        g, tuple(slice(a, a + n) for n, (a, _) in zip(x_like.shape, width, strict=True))
    ),
    jvp=lambda t, width: pad_p(t, width=width, value=0),
    batch=_pad_batch,
)


_LOOSE = {bool, int, float, complex, list, np.float64, np.complex128}
"""Types without a device of their own."""


def _as_list(arrays: Any, what: str) -> list[Any]:
    if isinstance(arrays, Box):
        return [arrays[i] for i in range(arrays.shape[0])]  # type: ignore[index, attr-defined]
    found = list(arrays)
    if not found:
        raise ValueError(f"{what} needs at least one array")
    if _LOOSE.isdisjoint(map(type, found)):
        return found
    return list(as_arrays(*found))


def concatenate(arrays: Any, axis: int | None = 0, dtype: Any = None) -> Any:
    """Arrays one after another along an existing ``axis`` (None: flattened first)."""
    parts = _as_list(arrays, "concatenate")
    if axis is None:
        parts, axis = [ravel(a) for a in parts], 0
    ranks = set(map(rank, parts))
    if len(ranks) > 1 or 0 in ranks:
        shapes = ", ".join(str(shape_dtype(a).shape) for a in parts)
        raise ValueError(f"concatenate: arrays of one rank above 0 are needed, got shapes {shapes}")
    out = concatenate_p.bind(parts, {"axis": normal_axis(axis, ranks.pop())})
    return out if dtype is None else cast(out, dtype)


concat = concatenate


def stack(arrays: Any, axis: int = 0, *, dtype: Any = None) -> Any:
    """Arrays of one shape along a new ``axis``."""
    parts = _as_list(arrays, "stack")
    shapes = {shape_dtype(a).shape for a in parts}
    if len(shapes) > 1:
        raise ValueError(f"stack: arrays of one shape are needed, got {sorted(shapes)}")
    shape = shapes.pop()
    at = normal_axis(axis, len(shape) + 1)
    new = (*shape[:at], 1, *shape[at:])
    out = concatenate_p.bind([reshape_p.bind((a,), {"shape": new}) for a in parts], {"axis": at})
    return out if dtype is None else cast(out, dtype)


def _at_least(x: Any, rank: int) -> Any:
    if not hasattr(x, "ndim"):
        x = np.asarray(x)
    return x if x.ndim >= rank else reshape(x, (1,) * (rank - x.ndim) + x.shape)


def unstack(x: Any, /, *, axis: int = 0) -> tuple[Any, ...]:
    """The slices of ``x`` along ``axis``, which they lose."""
    like = shape_dtype(x)
    at = normal_axis(axis, like.ndim)
    if not like.ndim:
        raise ValueError("unstack: a number has no axis to take apart")
    return tuple([getitem(x, (*(slice(None),) * at, i)) for i in range(like.shape[at])])


def hstack(arrays: Any, *, dtype: Any = None) -> Any:
    """Arrays side by side: along axis 1, or axis 0 for 1-D arrays."""
    parts = [_at_least(a, 1) for a in _as_list(arrays, "hstack")]
    return concatenate(parts, 0 if parts[0].ndim == 1 else 1, dtype)


def vstack(arrays: Any, *, dtype: Any = None) -> Any:
    """Arrays on top of each other, 1-D arrays as rows."""
    return concatenate([_at_least(a, 2) for a in _as_list(arrays, "vstack")], 0, dtype)


def column_stack(arrays: Any) -> Any:
    """1-D arrays as the columns of a matrix."""
    parts = _as_list(arrays, "column_stack")
    return concatenate([reshape(a, (-1, 1)) if a.ndim < 2 else a for a in parts], 1)


def dstack(arrays: Any) -> Any:
    """Arrays along a third axis."""
    parts = [_at_least(a, 2) for a in _as_list(arrays, "dstack")]
    return concatenate([expand_dims(a, 2) if a.ndim == 2 else a for a in parts], 2)


def array_split(x: Any, sections: Any, axis: int = 0) -> list[Any]:
    """Pieces along ``axis``: so many of nearly equal length, or cut at the positions given."""
    like = shape_dtype(x)
    at = normal_axis(axis, like.ndim)
    n = like.shape[at]
    if isinstance(sections, int | np.integer):
        count = index(sections)
        if count < 1:
            raise ValueError(f"split: {count} sections; at least 1 is needed")
        lengths = [n // count + (i < n % count) for i in range(count)]
        cuts = tuple(accumulate(lengths[:-1]))
    else:
        cuts = tuple(min(max(c + n if c < 0 else c, 0), n) for c in map(index, sections))
        cuts = tuple(accumulate(cuts, max))
    return list(split_p(x, at=cuts, axis=at))


def split(x: Any, sections: Any, axis: int = 0) -> list[Any]:
    """Pieces along ``axis``: so many of equal length, or cut at the positions given."""
    if isinstance(sections, int | np.integer):
        shape = shape_dtype(x).shape
        n = shape[normal_axis(axis, len(shape))]
        if sections < 1 or n % sections:
            raise ValueError(f"split: axis {axis} of length {n} does not divide into {sections}")
    return array_split(x, sections, axis)


def tile(x: Any, reps: Any) -> Any:
    """``x`` repeated ``reps`` times along each axis, the whole array each time."""
    counts = tuple(map(index, reps)) if isinstance(reps, Sequence) else (index(reps),)
    shape = shape_dtype(x).shape
    rank = max(len(counts), len(shape))
    counts = (1,) * (rank - len(counts)) + counts
    shape = (1,) * (rank - len(shape)) + shape
    spread = [d for c, n in zip(counts, shape, strict=True) for d in (c, n)]
    thin = tuple(d for n in shape for d in (1, n))
    y = broadcast_to_p(reshape(x, thin), shape=tuple(spread))
    return reshape(y, tuple(c * n for c, n in zip(counts, shape, strict=True)))


def repeat(x: Any, repeats: Any, axis: int | None = None) -> Any:
    """Each element of ``x`` repeated along ``axis`` (None: of the flattened array)."""
    if axis is None:
        x, axis = ravel(x), 0
    shape = shape_dtype(x).shape
    at = normal_axis(axis, len(shape))
    if isinstance(repeats, int | np.integer):
        y = broadcast_to_p(
            expand_dims(x, at + 1), shape=(*shape[: at + 1], int(repeats), *shape[at + 1 :])
        )
        return reshape(y, (*shape[:at], shape[at] * int(repeats), *shape[at + 1 :]))
    counts = concrete(repeats, "repeat")
    with on(device_of(counts)):
        positions = _repeated(namespace(device_of(counts)), counts, shape[at])
    return take(x, positions, at)


def _repeated(xp: Any, counts: Any, n: int) -> Any:
    """Each of 0, …, n - 1 as often as ``counts`` says."""
    ends = xp.cumsum(xp.broadcast_to(counts, (n,)))
    return xp.searchsorted(ends, xp.arange(int(ends[-1]) if n else 0), side="right")


def meshgrid(*arrays: Any, indexing: str = "xy", sparse: bool = False) -> list[Any]:
    """Coordinate matrices from coordinate vectors; ``sparse`` ones broadcast to them."""
    if indexing not in ("xy", "ij"):
        raise ValueError(f"meshgrid: indexing {indexing!r} is neither 'xy' nor 'ij'")
    arrays = as_arrays(*arrays)
    n = len(arrays)
    order = [1, 0, *range(2, n)] if indexing == "xy" and n > 1 else list(range(n))
    lengths = [math.prod(shape_dtype(a).shape) for a in arrays]
    full = tuple(lengths[i] for i in order)
    thin = [
        reshape(a, tuple(lengths[i] if order[k] == i else 1 for k in range(n)))
        for i, a in enumerate(arrays)
    ]
    return thin if sparse else [broadcast_to(a, full) for a in thin]
