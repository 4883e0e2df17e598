"""Counting elements in bins. Differentiable in the weights and, for a density, in the bins."""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpugrad.core.abstract import ShapeDtype, shape_dtype
from gpugrad.core.box import Box
from gpugrad.core.primitive import Primitive
from gpugrad.device import CPU, to_device
from gpugrad.ops.cast import cast, is_inexact
from gpugrad.ops.concrete import concrete, like_operands
from gpugrad.ops.creation import counting
from gpugrad.ops.differences import diff
from gpugrad.ops.elementwise import where
from gpugrad.ops.indexing import HOLE, getitem, index_add_p
from gpugrad.ops.join import concatenate
from gpugrad.ops.operands import as_array, as_arrays
from gpugrad.ops.reductions import max, min
from gpugrad.ops.shape import expand_dims, ravel, reshape
from gpugrad.ops.sorting import searchsorted_p


def _count_batch(
    primitive: Primitive, size: int, batched: Sequence[bool], values: Any, params: Any
) -> Any:
    (x,) = values
    length = params["length"]
    apart = x + expand_dims(counting([x], size), 1) * length
    return reshape(primitive(ravel(apart), length=size * length), (size, length))


def _bincount(xp: Any, x: Any, *, length: int) -> Any:
    return xp.bincount(x, minlength=length)[:length].astype(np.intp, copy=False)


bincount_p = Primitive(
    "bincount",
    _bincount,
    shape=lambda x, *, length: ShapeDtype((length,), np.dtype(np.intp)),
    batch=_count_batch,
)


def _counts(places: Any, weights: Any, length: int) -> Any:
    """How often each of ``length`` places occurs, or what the weights there come to."""
    if weights is None:
        return bincount_p(places, length=length)
    return index_add_p(weights, places, shape=(length,), spec=(HOLE,))


def bincount(x: Any, weights: Any = None, minlength: int = 0, *, length: int | None = None) -> Any:
    """How often each number from 0 on occurs in ``x``, or the sum of ``weights`` there.

    Parameters
    ----------
    x
        1-D, integers that are not negative.
    weights
        What each element counts for; the gradient gathers from the bins.
    minlength
        The least length of the result, which else is one more than the largest element.
    length
        The length of the result, without a look at the elements: needed under ``vmap``, and it
        spares the wait for the device. Elements from there on are not counted.
    """
    x = as_array(x)
    if shape_dtype(x).ndim != 1 or is_inexact(shape_dtype(x).dtype):
        raise TypeError(f"bincount: 1-D integers are needed, got {shape_dtype(x)}")
    if length is None:
        raw = concrete(x, "bincount without length=")
        top = int(raw.max()) + 1 if raw.size else 0
        length = top if top > minlength else minlength
        if raw.size and int(raw.min()) < 0:
            raise ValueError("bincount: negative numbers have no bin")
    elif weights is not None:
        x = where(x < length, x, length)
        return getitem(_counts(x, as_arrays(x, weights)[1], length + 1), slice(0, length))
    if weights is not None:
        x, weights = as_arrays(x, weights)
        if not is_inexact(shape_dtype(weights).dtype):
            weights = weights * 1.0
    return _counts(x, weights, length)


def histogram_bin_edges(a: Any, bins: Any = 10, range: Any = None, weights: Any = None) -> Any:
    """The edges of the bins that `histogram` uses.

    A count of bins is spread evenly over ``range`` or from the smallest to the largest element,
    through which gradients flow. A rule's name, such as ``"auto"``, is worked out by NumPy on the
    host.
    """
    a = as_array(a)
    if isinstance(bins, str):
        if weights is not None:
            raise TypeError("histogram: bins by a rule's name take no weights")
        host = np.asarray(to_device(concrete(a, "histogram with bins by rule"), CPU))
        bins = len(np.histogram_bin_edges(host, bins, range)) - 1
    elif shape_dtype(bins).ndim == 1:
        return as_arrays(a, bins)[1]
    count = int(bins)
    if count < 1:
        raise ValueError(f"histogram: {count} bins; at least 1 is needed")
    size = shape_dtype(a).size
    low, high = range if range is not None else (min(a), max(a)) if size else (0.0, 1.0)
    if range is not None and not isinstance(low, Box) and not low <= high:
        raise ValueError(f"histogram: range {range} is not ascending")
    (_, low, high) = as_arrays(a, low, high)
    low, high = low * 1.0, high * 1.0
    point = low == high  # NumPy widens a single point to a bin of length 1
    low, high = where(point, low - 0.5, low), where(point, high + 0.5, high)
    inner = low + (high - low) * cast(counting([a], count) / count, shape_dtype(low).dtype)
    return like_operands(concatenate([inner, expand_dims(high, 0)]), [a])


def _places(a: Any, edges: Any) -> tuple[Any, int]:
    """For each element its bin, counted from 1; 0 and the last one are outside."""
    n = shape_dtype(edges).shape[0] - 1
    at = searchsorted_p(edges, a, side="right")
    return where(a == getitem(edges, n), n, at), n + 2


def histogram(
    a: Any, bins: Any = 10, range: Any = None, density: bool = False, weights: Any = None
) -> tuple[Any, Any]:
    """How many elements lie in each bin, and the bins' edges.

    Parameters
    ----------
    a
        Data, flattened.
    bins
        How many of equal width, their edges, or the name of a rule of NumPy's.
    range
        The first and last edge for a count of bins; by default the data's.
    density
        Divide so that the integral is 1.
    weights
        What each element counts for; gradients flow to it.
    """
    edges = histogram_bin_edges(a, bins, range, weights)
    a, edges = as_arrays(a, edges)
    places, length = _places(ravel(a), edges)
    w = None if weights is None else ravel(as_arrays(a, weights)[1])
    n = getitem(_counts(places, w, length), slice(1, -1))
    if density:
        n = n / diff(edges) / n.sum()
    return n, edges


def histogramdd(
    sample: Any, bins: Any = 10, range: Any = None, density: bool = False, weights: Any = None
) -> tuple[Any, list[Any]]:
    """How many points lie in each cell of a grid, and the edges along each of its axes.

    Parameters
    ----------
    sample
        Points as the rows of a matrix, or a sequence of their coordinates.
    bins
        A count for all axes, or for each axis a count or edges.
    range
        For each axis the first and last edge, or None.
    density
        Divide by the sum and the cells' volumes.
    weights
        What each point counts for.
    """
    if isinstance(sample, list | tuple) and shape_dtype(sample[0]).ndim:
        axes = [ravel(v) for v in as_arrays(*sample)]
    else:
        sample = as_array(sample)
        sample = expand_dims(sample, 1) if sample.ndim == 1 else sample
        axes = [getitem(sample, (slice(None), i)) for i in builtins.range(sample.shape[1])]
    rank = len(axes)
    each = [bins] * rank if isinstance(bins, int | np.integer) else list(bins)
    spans = [None] * rank if range is None else list(range)
    if len(each) != rank or len(spans) != rank:
        raise ValueError(f"histogramdd: {len(each)} bins, {len(spans)} ranges for {rank} axes")
    edges = [histogram_bin_edges(a, b, r) for a, b, r in zip(axes, each, spans, strict=True)]
    flat: Any = 0
    lengths = []
    for a, e in zip(axes, edges, strict=True):
        places, length = _places(a, e)
        flat = flat * length + places
        lengths.append(length)
    w = None if weights is None else as_arrays(axes[0], weights)[1]
    n = reshape(_counts(flat, w, math.prod(lengths)), tuple(lengths))
    n = getitem(n, (slice(1, -1),) * rank)
    n = n if is_inexact(shape_dtype(n).dtype) else n * 1.0
    if density:
        total = n.sum()
        for i, e in enumerate(edges):
            n = n / reshape(diff(e), (-1, *(1,) * (rank - i - 1)))
        n = n / total
    return n, edges


def histogram2d(
    x: Any,
    y: Any,
    bins: Any = 10,
    range: Any = None,
    density: bool = False,
    weights: Any = None,
) -> tuple[Any, Any, Any]:
    """How many points ``(x, y)`` lie in each cell of a grid, and the edges along both axes.

    ``bins`` is a count or edges for both axes, or one of either kind for each.
    """
    pair = isinstance(bins, list | tuple) and len(bins) == 2
    if not pair and shape_dtype(bins).ndim == 1 and shape_dtype(bins).shape != (2,):
        bins = [bins, bins]
    n, (across, along) = histogramdd([x, y], bins, range, density, weights)
    return n, across, along
