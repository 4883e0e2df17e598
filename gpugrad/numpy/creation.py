"""New arrays, on the default device unless one is named."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpugrad.array import Array
from gpugrad.conversion import is_minus_zero, raw_from_dlpack, takes_a_copy
from gpugrad.core.abstract import shape_dtype
from gpugrad.core.box import Box
from gpugrad.core.loose import array_of
from gpugrad.device import Device, device_of, namespace, on
from gpugrad.device import device as find_device
from gpugrad.ops.cast import cast, is_inexact
from gpugrad.ops.creation import counting, device_near
from gpugrad.ops.elementwise import floor
from gpugrad.ops.join import stack
from gpugrad.ops.operands import as_array, as_arrays
from gpugrad.ops.shape import moveaxis, reshape


def _make(name: str, device: str | Device | None, *args: Any, **kwargs: Any) -> Array:
    where = find_device(device)
    with on(where):
        return Array(getattr(namespace(where), name)(*args, **kwargs))


def _like(name: str, x: Any, dtype: Any, device: Any, shape: Any) -> Array:
    x = array_of(x)
    like = shape_dtype(x)
    where = device_near([x]) if device is None else device
    new = like.shape if shape is None else shape
    return _make(name, where, new, dtype=like.dtype if dtype is None else dtype)


def zeros(shape: Any, dtype: Any = float, *, device: str | Device | None = None) -> Array:
    """An array of zeros."""
    return _make("zeros", device, shape, dtype=dtype or float)


def ones(shape: Any, dtype: Any = float, *, device: str | Device | None = None) -> Array:
    """An array of ones."""
    return _make("ones", device, shape, dtype=dtype or float)


def empty(shape: Any, dtype: Any = float, *, device: str | Device | None = None) -> Array:
    """An array whose elements are not set."""
    return _make("empty", device, shape, dtype=dtype or float)


def full(shape: Any, fill_value: Any, dtype: Any = None, *, device: Any = None) -> Any:
    """An array of one value."""
    if isinstance(fill_value, Box):
        from gpugrad.ops.broadcast import broadcast_to

        value = fill_value if dtype is None else cast(fill_value, dtype)
        return broadcast_to(value, shape if isinstance(shape, tuple | list) else (shape,))
    out = _make("full", device, shape, fill_value, dtype=dtype)
    if is_minus_zero(fill_value):
        out[...] = fill_value
    return out


def zeros_like(x: Any, dtype: Any = None, *, device: Any = None, shape: Any = None) -> Array:
    """Zeros of the shape, dtype and device of ``x``."""
    return _like("zeros", x, dtype, device, shape)


def ones_like(x: Any, dtype: Any = None, *, device: Any = None, shape: Any = None) -> Array:
    """Ones of the shape, dtype and device of ``x``."""
    return _like("ones", x, dtype, device, shape)


def empty_like(x: Any, dtype: Any = None, *, device: Any = None, shape: Any = None) -> Array:
    """An array of the shape, dtype and device of ``x`` whose elements are not set."""
    return _like("empty", x, dtype, device, shape)


def full_like(
    x: Any, fill_value: Any, dtype: Any = None, *, device: Any = None, shape: Any = None
) -> Any:
    """One value in the shape, dtype and device of ``x``, where they are not given."""
    x, fill_value = array_of(x), array_of(fill_value)
    like = shape_dtype(x)
    where = device_near([x]) if device is None else device
    new = like.shape if shape is None else shape
    return full(new, fill_value, like.dtype if dtype is None else dtype, device=where)


def arange(
    start: Any, stop: Any = None, step: Any = 1, dtype: Any = None, *, device: Any = None
) -> Array:
    """Evenly spaced numbers from ``start`` (0 by default) up to ``stop``, which is left out."""
    if stop is None:
        start, stop = 0, start
    return _make("arange", device, start, stop, step, dtype=dtype)


def linspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
    *,
    device: str | Device | None = None,
) -> Any:
    """``num`` evenly spaced numbers from ``start`` to ``stop``; gradients flow to both.

    Parameters
    ----------
    start, stop
        The ends: numbers, or arrays for many ranges at once, on whose device the result is.
    num
        How many.
    endpoint
        Whether ``stop`` is the last one, or the one after it.
    retstep
        Return the distance between neighbours too.
    dtype
        The element type; integers are rounded down.
    axis
        The axis of the result along which a range runs.
    device
        Where to make it; by default where ``start`` and ``stop`` are.
    """
    steps = num - 1 if endpoint else num
    if not hasattr(start, "ndim") and not hasattr(stop, "ndim"):
        out: Any = _make("linspace", device, start, stop, num, endpoint=endpoint, dtype=dtype)
        return (out, (stop - start) / steps if steps > 0 else float("nan")) if retstep else out
    start, stop = as_arrays(start, stop)
    rank = max(shape_dtype(start).ndim, shape_dtype(stop).ndim)
    share = reshape(counting([start, stop], num) / max(steps, 1), (-1, *(1,) * rank))
    like = np.result_type(shape_dtype(start).dtype, shape_dtype(stop).dtype)
    share = cast(share, np.result_type(like, np.float16) if is_inexact(like) else float)
    out = moveaxis(start * (1 - share) + stop * share, 0, axis)
    if dtype is not None:
        out = cast(floor(out) if np.dtype(dtype).kind in "iu" else out, dtype)
    out = out if device is None else asarray(out, device=device)
    return (out, (stop - start) / steps if steps > 0 else float("nan")) if retstep else out


def eye(
    n_rows: int, n_cols: int | None = None, k: int = 0, dtype: Any = float, *, device: Any = None
) -> Array:
    """Ones on diagonal ``k``, zeros elsewhere."""
    return _make("eye", device, n_rows, n_cols, k, dtype=dtype or float)


def identity(n: int, dtype: Any = float, *, device: Any = None) -> Array:
    """The identity matrix."""
    return eye(n, dtype=dtype, device=device)


def asarray(
    x: Any, dtype: Any = None, *, device: str | Device | None = None, copy: bool | None = None
) -> Any:
    """``x`` as an `Array`: without a copy where it is one or wraps a raw array.

    Nested lists may hold arrays that are being differentiated; gradients flow through.

    Parameters
    ----------
    x
        An array of any library, a number, or nested lists.
    dtype
        The element type; by default that of ``x``.
    device
        Where the array shall live; by default where ``x`` is.
    copy
        True: always copy; False: never, and a `ValueError` where it would take one.

    Examples
    --------
    >>> import gpugrad.numpy as gnp
    >>> gnp.asarray([1, 2], copy=False)
    Traceback (most recent call last):
    ValueError: copy=False, but an array of dtype int64 on cpu from a list takes a copy: leave \
copy= out to copy where it is needed
    """
    if isinstance(x, Box) and x._trace is not None:
        out: Any = x if dtype is None else cast(x, dtype)
        out = out if device is None else out.to(device)
        if copy is False and out is not x:
            raise takes_a_copy(x, out.dtype, out.device)
        return out.copy() if copy else out
    if isinstance(x, list | tuple) and _holds_traced(x):
        out = stack([asarray(v) if isinstance(v, list | tuple) else v for v in x])
        out = out if dtype is None else cast(out, dtype)
        if copy is False:
            raise takes_a_copy(x, out.dtype, out.device)
        return out
    if isinstance(x, Array) and dtype is None and device is None and not copy:
        return x
    return Array(x, dtype, device=device, copy=copy)


def _holds_traced(x: Any) -> bool:
    if isinstance(x, list | tuple):
        return any(_holds_traced(v) for v in x)
    return isinstance(x, Box) and x._trace is not None


def array(
    x: Any, dtype: Any = None, *, copy: bool = True, device: Any = None, ndmin: int = 0
) -> Any:
    """A new `Array` with the elements of ``x``; gradients flow through.

    ``ndmin`` is how many axes it has at least: further ones come first.
    """
    out = asarray(x, dtype, device=device, copy=copy)
    return reshape(out, (1,) * (ndmin - out.ndim) + out.shape) if out.ndim < ndmin else out


def ascontiguousarray(x: Any, dtype: Any = None) -> Any:
    """``x`` as an `Array`; how it lies in memory is left to the operations."""
    return asarray(x, dtype)


def copy(x: Any) -> Any:
    """A new array with the same elements."""
    return as_array(x).copy()


def from_dlpack(x: Any, /, *, device: Any = None, copy: bool | None = None) -> Array:
    """An `Array` from another library's, without a copy where ``device`` and ``copy`` allow it.

    Parameters
    ----------
    x
        Anything with ``__dlpack__``: an array of PyTorch, JAX, CuPy, NumPy and others.
    device
        Where the array shall live; by default where ``x`` is.
    copy
        True: always copy; False: never, and an error where it would take one.
    """
    raw = raw_from_dlpack(x, copy=False) if copy is False else raw_from_dlpack(x)
    here = device_of(raw)
    target = here if device is None else find_device(device)
    if copy is False and target != here:
        raise BufferError(f"from_dlpack: from {here} to {target} takes a copy, but copy=False")
    return Array(raw, device=target, copy=copy)
