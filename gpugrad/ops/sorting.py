"""Order along an axis: sort, partition, and the searches in what is sorted.

Where elements tie, each keeps its own gradient in the order in which they stand, as in JAX: sorts
are stable. NaN is the largest of all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpugrad.core.abstract import ShapeDtype, shape_dtype
from gpugrad.core.primitive import Primitive
from gpugrad.ops.batching import lead, over_axis
from gpugrad.ops.broadcast import sum_p
from gpugrad.ops.cast import cast, is_inexact
from gpugrad.ops.elementwise import less, less_equal, where
from gpugrad.ops.indexing import getitem, take, take_along_axis
from gpugrad.ops.operands import as_array, as_arrays
from gpugrad.ops.shape import expand_dims, flip_p, normal_axis, ravel, reshape


def _positions(x: ShapeDtype, **params: Any) -> ShapeDtype:
    return ShapeDtype(x.shape, np.dtype(np.intp))


def _argsort(xp: Any, x: Any, *, axis: int) -> Any:
    if xp is np and x.size > 1000 and x.dtype.kind in "iuf":
        # NumPy's plain sort is many times as fast, and stable where no two elements tie.
        order = np.argsort(x, axis=axis)
        if not _ties(np.take_along_axis(x, order, axis), axis):
            return order
    return xp.argsort(x, axis=axis, kind="stable")


def _ties(x: Any, axis: int) -> bool:
    """Whether neighbours along a sorted axis are equal, or not a number."""
    before = (slice(None),) * axis
    rises = x[(*before, slice(None, -1))] < x[(*before, slice(1, None))]
    return not rises.all()


argsort_p = Primitive("argsort", _argsort, shape=_positions, batch=over_axis)


def _inverse(xp: Any, order: Any, *, axis: int) -> Any:
    out = xp.empty_like(order)
    places = xp.arange(order.shape[axis]).reshape((-1,) + (1,) * (order.ndim - axis - 1))
    if order.ndim == 1:
        out[order] = places
    else:
        xp.put_along_axis(out, order, xp.broadcast_to(places, order.shape), axis)
    return out


inverse_p = Primitive("inverse_permutation", _inverse, "order", shape=_positions, batch=over_axis)
"""Where each position went: a permutation's inverse, along an axis."""

# Sorted values are the same whether the sort is stable or not: only the gradient tells ties apart.
sort_p: Primitive = Primitive(
    "sort",
    lambda xp, x, *, axis: xp.sort(x, axis=axis),
    shape=lambda x, *, axis: x,
    vjp=lambda g, order, axis: take_along_axis(g, inverse_p(order, axis=axis), axis),
    jvp=lambda t, order, axis: take_along_axis(t, order, axis),
    derived={"order": lambda x, axis: argsort_p(x, axis=axis)},
    batch=over_axis,
)

argpartition_p = Primitive(
    "argpartition",
    lambda xp, x, *, kth, axis: xp.argpartition(x, kth, axis=axis),
    shape=_positions,
    batch=over_axis,
)


def _search_batch(
    primitive: Primitive, size: int, batched: Sequence[bool], values: Any, params: Any
) -> Any:
    a, v = values
    if not batched[0]:
        return primitive(a, v, **params)
    # Each example has a list of its own: count the elements before each value.
    v = lead(v, size, batched[1])
    rank = shape_dtype(v).ndim
    a = reshape(a, (size, *(1,) * (rank - 1), a.shape[1]))
    v = expand_dims(v, -1)
    before = less(a, v) if params["side"] == "left" else less_equal(a, v)
    if is_inexact(shape_dtype(v).dtype):
        before = where(v == v, before, a == a) if params["side"] == "left" else before | (v != v)
    return cast(sum_p(before, axis=(rank,), keepdims=False), np.intp)


searchsorted_p = Primitive(
    "searchsorted",
    lambda xp, a, v, *, side: xp.searchsorted(a, v, side=side),
    "a v",
    shape=lambda a, v, *, side: ShapeDtype(v.shape, np.dtype(np.intp)),
    vjp=(None, None),
    jvp=(None, None),
    batch=_search_batch,
)


def _along(x: Any, axis: int | None) -> tuple[Any, int]:
    """An array and a normal axis; None stands for the flattened array."""
    x = as_array(x)
    return (ravel(x), 0) if axis is None else (x, normal_axis(axis, shape_dtype(x).ndim))


def sort(
    x: Any,
    axis: int | None = -1,
    kind: str | None = None,
    *,
    descending: bool = False,
    stable: bool = True,
) -> Any:
    """Elements in ascending order along ``axis`` (None: of the flattened array), NaN last.

    Each element keeps its gradient; elements that tie stay in their order, whatever ``kind`` and
    ``stable`` ask.

    Examples
    --------
    >>> import numpy as np, gpugrad as gg, gpugrad.numpy as gnp
    >>> gg.grad(lambda x: gnp.sort(x) @ np.arange(3.0))(np.array([0.3, 0.1, 0.2]))
    array([2., 0., 1.])
    """
    x, at = _along(x, axis)
    if descending:
        return take_along_axis(x, argsort(x, at, descending=True), at)
    return sort_p(x, axis=at)


def argsort(
    x: Any,
    axis: int | None = -1,
    kind: str | None = None,
    *,
    descending: bool = False,
    stable: bool = True,
) -> Any:
    """The positions that sort ``x`` along ``axis`` (None: of the flattened array), stably."""
    x, at = _along(x, axis)
    if not descending:
        return argsort_p(x, axis=at)
    # Backwards twice: ties stay in the order in which they stand.
    back = argsort_p(flip_p(x, axis=(at,)), axis=at)
    return (shape_dtype(x).shape[at] - 1) - flip_p(back, axis=(at,))


def argpartition(x: Any, kth: Any, axis: int | None = -1, kind: str = "introselect") -> Any:
    """Positions that put the ``kth`` smallest in its place, smaller ones before it."""
    x, at = _along(x, axis)
    n = shape_dtype(x).shape[at]
    places = tuple(int(k) for k in np.atleast_1d(np.asarray(kth)))
    if any(not -n <= k < n for k in places):
        raise ValueError(f"argpartition: kth {kth} is out of bounds for an axis of length {n}")
    return argpartition_p(x, kth=tuple(k % n for k in places), axis=at)


def partition(x: Any, kth: Any, axis: int | None = -1, kind: str = "introselect") -> Any:
    """``x`` with the ``kth`` smallest along ``axis`` in its place and smaller ones before it."""
    x, at = _along(x, axis)
    return take_along_axis(x, argpartition(x, kth, at), at)


def lexsort(keys: Any, axis: int = -1) -> Any:
    """The positions that sort by several keys, the last one counting most."""
    rows = as_arrays(*[keys[i] for i in range(len(keys))])
    if not rows:
        raise TypeError("lexsort needs at least one key")
    if not shape_dtype(rows[0]).ndim:
        return argsort(reshape(rows[0], (1,)))[0]
    at = normal_axis(axis, shape_dtype(rows[0]).ndim)
    order = argsort_p(rows[0], axis=at)
    for key in rows[1:]:
        order = take_along_axis(order, argsort_p(take_along_axis(key, order, at), axis=at), at)
    return order


def sort_complex(x: Any) -> Any:
    """Elements along the last axis by real and then imaginary part, as complex numbers."""
    x = as_array(x)
    dtype = shape_dtype(x).dtype
    if dtype.kind != "c":  # as in NumPy: complex64 for integers of 8 and 16 bits alone
        x = cast(x, np.complex64 if dtype.char in "bBhH" else np.complex128)
    return sort(x)


def searchsorted(x1: Any, x2: Any, side: str = "left", sorter: Any = None) -> Any:
    """Where to insert each of ``x2`` in the sorted ``x1`` to keep its order.

    Parameters
    ----------
    x1
        1-D and ascending, or put in order by ``sorter``.
    x2
        Values of any shape; NaN goes to the end.
    side
        ``"left"``: before equal elements; ``"right"``: after them.
    sorter
        The positions that sort ``x1``.
    """
    if side not in ("left", "right"):
        raise ValueError(f"searchsorted: side {side!r} is neither 'left' nor 'right'")
    x1, x2 = as_arrays(x1, x2)
    if shape_dtype(x1).ndim != 1:
        raise ValueError(f"searchsorted: x1 must be 1-D, got shape {shape_dtype(x1).shape}")
    if sorter is not None:
        x1 = take(x1, as_arrays(sorter, x1)[0], 0)
    return searchsorted_p(x1, x2, side=side)


def digitize(x: Any, bins: Any, right: bool = False) -> Any:
    """The bin of each element: ``bins[i-1] <= x < bins[i]``, with ``right`` the other side closed.

    ``bins`` are monotonic, ascending or descending.
    """
    x, bins = as_arrays(x, bins)
    n = shape_dtype(bins).shape[0]
    side = "left" if right else "right"
    up = searchsorted_p(bins, x, side=side)
    if n < 2:
        return up
    down = n - searchsorted_p(flip_p(bins, axis=(0,)), x, side=side)
    falls = getitem(bins, n - 1) < getitem(bins, 0)
    return where(falls, down, up)
