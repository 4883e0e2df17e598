"""Differences along an axis, and sums of them: diff, gradient, trapezoid, unwrap."""

from __future__ import annotations

import math
from typing import Any

from gpugrad.core.abstract import ShapeDtype, shape_dtype
from gpugrad.core.primitive import LINEAR, Primitive
from gpugrad.ops.batching import over_axis
from gpugrad.ops.broadcast import broadcast_to, sum_p
from gpugrad.ops.cast import is_inexact
from gpugrad.ops.elementwise import absolute, mod, where
from gpugrad.ops.indexing import getitem
from gpugrad.ops.join import concatenate, pad_p
from gpugrad.ops.operands import as_array, as_arrays
from gpugrad.ops.reductions import cumsum
from gpugrad.ops.shape import normal_axes, normal_axis, ravel, reshape


def along(x: Any, axis: int, part: slice) -> Any:
    """``x[..., part, ...]`` with the slice at ``axis``."""
    return getitem(x, (*(slice(None),) * axis, part))


def _difference(xp: Any, x: Any, *, axis: int) -> Any:
    before = (slice(None),) * axis
    later, sooner = x[(*before, slice(1, None))], x[(*before, slice(None, -1))]
    return xp.logical_xor(later, sooner) if x.dtype.kind == "b" else later - sooner


def _difference_vjp(g: Any, x_like: ShapeDtype, axis: int) -> Any:
    if not x_like.shape[axis]:
        return g
    # What is after an element counts it negatively: the difference of g between zeros, negated.
    width = tuple((int(a == axis),) * 2 for a in range(x_like.ndim))
    return -difference_p(pad_p(g, width=width, value=0), axis=axis)


difference_p: Primitive = Primitive(
    "difference",
    _difference,
    shape=lambda x, *, axis: ShapeDtype(
        (*x.shape[:axis], max(x.shape[axis] - 1, 0), *x.shape[axis + 1 :]), x.dtype
    ),
    vjp=_difference_vjp,
    jvp=LINEAR,
    batch=over_axis,
)


def _edge(part: Any, x: Any, axis: int) -> Any:
    shape = shape_dtype(x).shape
    if shape_dtype(part).ndim == 0:
        return broadcast_to(part, (*shape[:axis], 1, *shape[axis + 1 :]))
    return part


def diff(x: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Any:
    """The ``n``-th difference along ``axis``, with values put before and after first."""
    if n < 0:
        raise ValueError(f"diff: order {n}; it cannot be negative")
    if n == 0:
        return x
    x = as_array(x)
    at = normal_axis(axis, shape_dtype(x).ndim)
    if prepend is not None or append is not None:
        x = concatenate([_edge(p, x, at) for p in _present(prepend, x, append)], at)
    for _ in range(n):
        x = difference_p(x, axis=at)
    return x


def _present(*parts: Any) -> tuple[Any, ...]:
    return as_arrays(*[p for p in parts if p is not None])


def ediff1d(x: Any, to_end: Any = None, to_begin: Any = None) -> Any:
    """Differences of neighbours in the flattened array, with values at both ends."""
    x = difference_p(ravel(as_array(x)), axis=0)
    if to_begin is None and to_end is None:
        return x
    return concatenate([ravel(p) for p in _present(to_begin, x, to_end)])


def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """Slopes by central differences, one-sided at the ends.

    Parameters
    ----------
    f
        Samples.
    *varargs
        Nothing (spacing 1), one spacing for all axes, or for each axis a spacing or the
        coordinates of its samples.
    axis
        The axes to differentiate along; None: all.
    edge_order
        1 or 2: the order of accuracy at the ends.

    Returns
    -------
    array or tuple of arrays
        One for each axis; the array itself for a single one.
    """
    arrays = [h for h in varargs if not isinstance(h, int | float)]
    (f, *given) = as_arrays(f, *arrays)
    rest = iter(given)
    spacings = [h if isinstance(h, int | float) else next(rest) for h in varargs]
    if not is_inexact(shape_dtype(f).dtype):
        f = f * 1.0
    like = shape_dtype(f)
    axes = normal_axes(axis, like.ndim)
    if edge_order not in (1, 2):
        raise ValueError(f"gradient: edge_order {edge_order} is neither 1 nor 2")
    if not spacings:
        spacings = [1.0] * len(axes)
    elif len(spacings) == 1 and shape_dtype(spacings[0]).ndim == 0:
        spacings = spacings * len(axes)
    if len(spacings) != len(axes):
        raise TypeError(f"gradient: {len(spacings)} spacings for {len(axes)} axes")
    out = [_slope(f, at, h, edge_order) for at, h in zip(axes, spacings, strict=True)]
    return out[0] if len(out) == 1 else tuple(out)


def _slope(f: Any, at: int, h: Any, edge_order: int) -> Any:
    like = shape_dtype(f)
    n = like.shape[at]
    if n < edge_order + 1:
        raise ValueError(f"gradient: {n} samples along axis {at}; {edge_order + 1} are needed")

    def piece(start: int, stop: int | None) -> Any:
        return along(f, at, slice(start, stop))

    if shape_dtype(h).ndim == 0:
        inner = (piece(2, None) - piece(0, -2)) / (2.0 * h)
        first, last = piece(1, 2) - piece(0, 1), piece(n - 1, n) - piece(n - 2, n - 1)
        if edge_order == 2:
            first = 2.0 * piece(1, 2) - 1.5 * piece(0, 1) - 0.5 * piece(2, 3)
            last = 0.5 * piece(n - 3, n - 2) - 2.0 * piece(n - 2, n - 1) + 1.5 * piece(n - 1, n)
        return concatenate([first / h, inner, last / h], at)
    if shape_dtype(h).shape != (n,):
        raise ValueError(
            f"gradient: coordinates of shape {shape_dtype(h).shape} for {n} samples along axis {at}"
        )
    gaps = reshape(diff(h), (n - 1, *(1,) * (like.ndim - at - 1)))
    before, after = getitem(gaps, slice(None, -1)), getitem(gaps, slice(1, None))
    inner = (
        -after / (before * (before + after)) * piece(0, -2)
        + (after - before) / (before * after) * piece(1, -1)
        + before / (after * (before + after)) * piece(2, None)
    )
    a, z = getitem(gaps, slice(0, 1)), getitem(gaps, slice(n - 2, n - 1))
    first, last = (piece(1, 2) - piece(0, 1)) / a, (piece(n - 1, n) - piece(n - 2, n - 1)) / z
    if edge_order == 2:
        b, y = getitem(gaps, slice(1, 2)), getitem(gaps, slice(n - 3, n - 2))
        first = (
            -(2.0 * a + b) / (a * (a + b)) * piece(0, 1)
            + (a + b) / (a * b) * piece(1, 2)
            - a / (b * (a + b)) * piece(2, 3)
        )
        last = (
            z / (y * (y + z)) * piece(n - 3, n - 2)
            - (z + y) / (y * z) * piece(n - 2, n - 1)
            + (2.0 * z + y) / (z * (y + z)) * piece(n - 1, n)
        )
    return concatenate([first, inner, last], at)


def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Any:
    """The integral along ``axis`` by the trapezoidal rule, at ``x`` or in steps of ``dx``."""
    y = as_array(y)
    at = normal_axis(axis, shape_dtype(y).ndim)
    if x is not None:
        _, x = as_arrays(y, x)
        dx = diff(x, axis=-1 if shape_dtype(x).ndim == 1 else at)
        if shape_dtype(dx).ndim == 1:
            dx = reshape(dx, (-1, *(1,) * (shape_dtype(y).ndim - at - 1)))
    means = (along(y, at, slice(1, None)) + along(y, at, slice(None, -1))) / 2.0
    return sum_p(dx * means, axis=(at,), keepdims=False)


def unwrap(
    p: Any, discont: float | None = None, axis: int = -1, *, period: float = 2 * math.pi
) -> Any:
    """``p`` with jumps of more than half a ``period`` taken out; its derivative is 1."""
    p = as_array(p)
    at = normal_axis(axis, shape_dtype(p).ndim)
    d = diff(p, axis=at)
    half = period / 2
    if shape_dtype(p).dtype.kind in "iu" and isinstance(period, int):
        half, odd = divmod(period, 2)
        tie = odd == 0
    else:
        tie = True
    jump = mod(d + half, period) - half
    if tie:
        jump = where((jump == -half) & (d > 0), half, jump)
    fix = where(absolute(d) < (half if discont is None else discont), 0, jump - d)
    tail = along(p, at, slice(1, None)) + cumsum(fix, at)
    return concatenate([along(p, at, slice(0, 1)), tail], at)
