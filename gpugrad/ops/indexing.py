"""Indexing and its transpose, addition at an index; ``take`` and its kin in terms of it.

An index is split into a static *spec* (integers, slices, ``...``, ``None``, and holes) and the
index arrays that fill the holes, which are operands: they may live on the device and may be
batched.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from operator import index as as_int
from types import EllipsisType
from typing import Any

import numpy as np

from gpugrad.core.abstract import ShapeDtype, shape_dtype
from gpugrad.core.box import Box, strip
from gpugrad.core.loose import array_of, beside
from gpugrad.core.primitive import LINEAR, Primitive
from gpugrad.device import device_of, is_cuda, namespace, on, to_device
from gpugrad.ops.concrete import concrete, like_operands
from gpugrad.ops.creation import counting, device_near, raw_of
from gpugrad.ops.shape import expand_dims, moveaxis, normal_axis, ravel, reshape


class _Hole:
    """Where an index array goes."""

    def __repr__(self) -> str:
        return "hole"


HOLE = _Hole()


def fill(spec: tuple[Any, ...], indices: Sequence[Any]) -> tuple[Any, ...]:
    """The index that ``spec`` and its index arrays describe."""
    if not indices:
        return spec
    rest = iter(indices)
    return tuple([next(rest) if s is HOLE else s for s in spec])


def _index_shape(x: ShapeDtype, *indices: ShapeDtype, spec: tuple[Any, ...]) -> ShapeDtype:
    # Arrays of stride 0 have the shapes without the memory.
    probe = np.broadcast_to(np.empty((), x.dtype), x.shape)
    holes = [np.broadcast_to(np.zeros((), i.dtype), i.shape) for i in indices]
    return ShapeDtype(probe[fill(spec, holes)].shape, x.dtype)


def _apart(spec: tuple[Any, ...]) -> bool:
    """Whether index arrays are apart, so that their axes come first in the result."""
    at = [i for i, s in enumerate(spec) if s is HOLE or isinstance(s, int)]
    return HOLE in spec and at[-1] - at[0] + 1 != len(at)


def _block(spec: tuple[Any, ...], ndim: int) -> int:
    """The axis of the result where the index arrays' axes begin, for ``ndim`` indexed axes."""
    if _apart(spec):
        return 0
    unnamed = ndim - sum(s is not None and s is not ... for s in spec)
    before = takewhile(lambda s: s is not HOLE and not isinstance(s, int), spec)
    return sum(unnamed if s is ... else 1 for s in before)


def _index_batch(
    primitive: Primitive, size: int, batched: Sequence[bool], values: Any, params: Any
) -> Any:
    x, *indices = values
    spec = params["spec"]
    if not any(batched[1:]):
        y = primitive(x, *indices, spec=(slice(None), *spec))
        if _apart(spec):
            width = max(shape_dtype(i).ndim for i in indices)
            y = moveaxis(y, width, 0)
        return y
    ndim = shape_dtype(x).ndim - batched[0]
    xs, holes, joined, rank = _joined(size, batched, values, spec)
    y = primitive(xs, *holes, spec=joined)
    at = _block(spec, ndim)
    if not batched[0]:
        return moveaxis(y, at, 0)
    # The arrays with the one that counts come first: put their axes where they belong.
    return moveaxis(y, tuple(range(1, 1 + rank)), tuple(range(1 + at, 1 + at + rank)))


def _joined(
    size: int, batched: Sequence[bool], values: Any, spec: tuple[Any, ...]
) -> tuple[Any, list[Any], tuple[Any, ...], int]:
    """Index arrays with the batch axis first, and one that counts the batch where x has it.

    The last item is how many axes an example's index arrays have together.
    """
    x, *indices = values
    ranks = [shape_dtype(i).ndim - b for i, b in zip(indices, batched[1:], strict=True)]
    rank = max(ranks, default=0)
    holes = [
        reshape(i, (size, *(1,) * (rank - r), *i.shape[1:])) if b else i
        for i, b, r in zip(indices, batched[1:], ranks, strict=True)
    ]
    if not batched[0]:
        return x, holes, spec, rank
    count = counting(indices, size)
    return x, [reshape(count, (size, *(1,) * rank)), *holes], (HOLE, *spec), rank


index_p = Primitive(
    "index",
    lambda xp, x, *indices, spec: x[fill(spec, indices)],
    "x *indices",
    shape=_index_shape,
    vjp=(lambda g, x_like, indices, spec: _add_at(g, x_like, indices, spec), None),
    jvp=(LINEAR, None),
    batch=_index_batch,
)


def _add_at(g: Any, like: ShapeDtype, indices: Sequence[Any], spec: tuple[Any, ...]) -> Any:
    return index_add_p.bind((g, *indices), {"shape": like.shape, "spec": spec})


def _index_add(xp: Any, g: Any, *indices: Any, shape: tuple[int, ...], spec: Any) -> Any:
    """Zeros of ``shape`` with ``g`` added at the index, in a fixed order of summation."""
    if len(shape) == 1 and xp is np and spec == (HOLE,) and g.dtype == np.float64 and g.size:
        rows = indices[0].ravel()
        if rows.dtype.kind == "i" and rows.min() < 0:
            rows = rows.astype(np.int64, copy=False) % shape[0]
        if rows.dtype.kind == "i":  # the same additions in the same order, in half the time
            return np.bincount(rows, g.ravel(), shape[0])
    out = xp.zeros(shape, g.dtype)
    at = fill(spec, indices)
    if not indices:
        out[at] = g
    elif g.size:
        from gpugrad.kernels.scatter import add_rows

        if spec == (HOLE,) and indices[0].dtype.kind in "iu":
            rows, g = indices[0].ravel(), g.reshape(indices[0].size, -1)
            rows = rows.astype(np.int64, copy=False)  # a narrow type may not hold the height
            add_rows(out.reshape(shape[0], -1), rows % shape[0], g)  # negative ones count back
        else:
            places = xp.arange(out.size).reshape(shape)[at]
            add_rows(out.reshape(-1, 1), places.ravel(), g.reshape(-1, 1))
    return out


def _index_add_batch(
    primitive: Primitive, size: int, batched: Sequence[bool], values: Any, params: Any
) -> Any:
    from gpugrad.ops.batching import lead

    g, *indices = values
    shape, spec = (size, *params["shape"]), params["spec"]
    g = lead(g, size, batched[0])
    if not any(batched[1:]):
        spec = (slice(None), *spec)
        if _apart(spec):
            g = moveaxis(g, 0, max(shape_dtype(i).ndim for i in indices))
        return primitive(g, *indices, shape=shape, spec=spec)
    _, holes, joined, rank = _joined(size, [True, *batched[1:]], values, spec)
    at = _block(spec, len(params["shape"]))
    g = moveaxis(g, tuple(range(1 + at, 1 + at + rank)), tuple(range(1, 1 + rank)))
    return primitive(g, *holes, shape=shape, spec=joined)


index_add_p = Primitive(
    "index_add",
    _index_add,
    "g *indices",
    shape=lambda g, *indices, shape, spec: ShapeDtype(shape, g.dtype),
    vjp=(lambda g, indices, spec: index_p(g, *indices, spec=spec), None),
    jvp=(LINEAR, None),
    batch=_index_add_batch,
)


def getitem(x: Any, key: Any) -> Any:
    """``x[key]`` by integers, slices, ``...``, ``None``, boolean masks and integer arrays."""
    if type(key) is int:  # most keys, spared the loop
        return index_p.bind((x,), {"spec": (key,)})
    spec: list[Any] = []
    arrays: list[Any] = []
    items = key if isinstance(key, tuple) else (key,)
    for n, k in enumerate(items):
        if type(k) is int:
            spec.append(k)
        elif isinstance(k, slice):
            spec.append(k if _by_numbers(k) else slice(*map(_end, (k.start, k.stop, k.step))))
        elif k is None or isinstance(k, EllipsisType):
            spec.append(k)
        elif isinstance(k, int | np.integer) and not isinstance(k, bool):
            spec.append(int(k))
        else:
            if isinstance(k, list):  # it has no device of its own
                where = device_near([x])
                with on(where):
                    k = namespace(where).asarray(np.asarray(k, None if k else np.intp))
            k = _index_array(k, x)
            if shape_dtype(k).dtype.kind == "b":
                found = raw_of(strip(k))
                if isinstance(strip(k), Box):
                    raise IndexError(
                        "a boolean mask cannot be traced: the shape of the result would depend "
                        "on its values; use where(mask, x, 0)"
                    )
                if found.ndim == 0:  # a new axis of length 1 or 0
                    after = sum(_width(i) for i in items[n + 1 :])
                    end = shape_dtype(x).ndim - after
                    x = expand_dims(x, end if ... in spec else sum(s is not None for s in spec))
                    spec.append(HOLE)
                    arrays.append(counting([x], int(found)))
                    continue
                spec += [HOLE] * found.ndim
                _check_mask(x, spec[: -found.ndim], found)
                arrays += found.nonzero()
            else:
                spec.append(HOLE)
                arrays.append(k)
    return index_p.bind((x, *arrays), {"spec": tuple(spec)})


_ENDS = {int, type(None)}


def _by_numbers(k: slice) -> bool:
    return type(k.start) in _ENDS and type(k.stop) in _ENDS and type(k.step) in _ENDS


def _end(k: Any) -> int | None:
    return None if k is None else as_int(k)


def _width(item: Any) -> int:
    """How many axes one item of an index takes; ``...`` takes what the others leave."""
    if item is None or item is ...:
        return 0
    like = shape_dtype(item)
    return like.ndim if like.dtype.kind == "b" else 1


def _check_mask(x: Any, before: list[Any], mask: Any) -> None:
    if any(isinstance(s, EllipsisType) for s in before):
        return
    at = sum(s is not None for s in before)
    want = shape_dtype(x).shape[at : at + mask.ndim]
    # A length of 0 fits every axis, as in NumPy: nothing is chosen.
    if len(want) != mask.ndim or any(m not in (n, 0) for m, n in zip(mask.shape, want)):
        raise IndexError(f"a mask of shape {mask.shape} does not fit axes of shape {want}")


def _index_array(k: Any, x: Any) -> Any:
    """``k`` as an index array of ``x``: one on the host is copied to its device, as by CuPy."""
    if isinstance(k, Box) or is_cuda(k):
        kind = k.dtype.kind
    else:
        k = np.asarray(k)
        if k.size == 0 and k.dtype.kind == "f":
            k = k.astype(np.intp)
        kind = k.dtype.kind
    if kind not in "iub":
        raise IndexError(f"an index array has integers or booleans, got {shape_dtype(k).dtype}")
    if type(strip(k)) is np.ndarray and is_cuda(raw := raw_of(x)):
        return like_operands(to_device(strip(k), device_of(raw)), [k])
    return k


def take(x: Any, indices: Any, axis: Any = None, *, mode: str = "raise") -> Any:
    """Elements of ``x`` at integer ``indices`` along ``axis`` (None: of the flattened array)."""
    x, indices = beside(x, indices)
    if axis is None:
        x, axis = ravel(x), 0
    at = normal_axis(axis, shape_dtype(x).ndim)
    n = shape_dtype(x).shape[at]
    if mode == "wrap":
        indices = indices % n
    elif mode == "clip":
        from gpugrad.ops.elementwise import maximum, minimum

        indices = minimum(maximum(indices, 0), n - 1)
    elif mode != "raise":
        raise ValueError(f"take: mode {mode!r} is none of 'raise', 'wrap', 'clip'")
    if isinstance(indices, int | np.integer):
        return index_p(x, spec=(slice(None),) * at + (int(indices),))
    return index_p(x, _index_array(indices, x), spec=(slice(None),) * at + (HOLE,))


def take_along_axis(x: Any, indices: Any, axis: Any = -1) -> Any:
    """For each position of ``indices``, the element of ``x`` at that index along ``axis``."""
    if axis is None:
        x, axis = ravel(x), 0
    like = shape_dtype(x)
    at = normal_axis(axis, like.ndim)
    indices = _index_array(array_of(indices), x)
    shape = shape_dtype(indices).shape
    if len(shape) != like.ndim:
        raise ValueError(
            f"take_along_axis: indices of shape {shape} need as many axes as shape {like.shape}"
        )
    if like.ndim == 1:
        return index_p(x, indices, spec=(HOLE,))
    full = np.broadcast_shapes(
        tuple(1 if a == at else n for a, n in enumerate(shape)),
        tuple(1 if a == at else n for a, n in enumerate(like.shape)),
    )
    arrays = [
        indices
        if a == at
        else reshape(
            counting([indices], full[a]), tuple(full[a] if b == a else 1 for b in range(like.ndim))
        )
        for a in range(like.ndim)
    ]
    return index_p(x, *arrays, spec=(HOLE,) * like.ndim)


def nonzero(x: Any, /) -> tuple[Any, ...]:
    """The positions of the elements that are not zero, an index array for each axis."""
    x = array_of(x)
    if not shape_dtype(x).ndim:
        raise ValueError("nonzero: a number has no axes; compare it with 0")
    raw = concrete(x, "nonzero")
    with on(device_of(raw)):
        return tuple([like_operands(i, [x]) for i in raw.nonzero()])
