"""Pooling: the largest element or the mean of each window of an image, and their gradients.

A gradient adds what comes back in a fixed order: the same bits on every run.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from gpugrad.kernels.many import FLOATS, NARROW
from gpugrad.kernels.source import C_NAMES, function, grid


class Window(NamedTuple):
    """Which windows an image is cut into; each pair is (rows, columns)."""

    out: tuple[int, int]
    """How many windows."""
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    """Rows before and after the image, and columns: no candidates for the largest; zeros."""
    dilation: tuple[int, int] = (1, 1)
    """For the largest only."""
    adaptive: bool = False
    """As many windows as ``out`` says of about the same size, for the mean only."""
    padded: bool = True
    """Whether the mean counts the padding."""
    divisor: int = 0
    """What the mean divides by, if not by the size of the window."""


def largest(x: Any, how: Window) -> tuple[Any, Any]:
    """The largest element of each window, NaN before all others, and its place in the image.

    Parameters
    ----------
    x : (..., H, W) array
        NumPy or CuPy array of floats.
    how : Window
        Its padding is at most half of the kernel, so that each window has an element.

    Returns
    -------
    y : (..., OH, OW) array
        Of x's dtype.
    places : (..., OH, OW) array of int32
        ``row * W + column`` of the first such element.

    Notes
    -----
    Bytes it must move, for elements of ``s`` bytes: ``s`` times the size of x that lies in windows
    and ``s + 4`` times that of the result. On CUDA it moves these, and an element again from the
    cache for each further window that it lies in.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.kernels.pool import Window, largest
    >>> y, places = largest(np.arange(16.0).reshape(4, 4), Window((2, 2), (2, 2), (2, 2)))
    >>> y, places
    (array([[ 5.,  7.],
           [13., 15.]]), array([[ 5,  7],
           [13, 15]], dtype=int32))
    """
    if x.shape[-2] * x.shape[-1] >= 1 << 31:
        raise ValueError(f"pooling: an image of {x.shape[-2:]} has more places than int32 counts")
    shape = (*x.shape[:-2], *how.out)
    if isinstance(x, np.ndarray):
        y, places = np.empty(shape, x.dtype), np.empty(shape, np.int32)
        if y.size:
            from gpugrad.kernels.cpu import pool

            wide = _wide(y)
            pool.largest(_images(_wide(x)), _images(wide), _images(places), how)
            y = wide.astype(y.dtype, copy=False)
        return y, places
    import cupy

    y, places = cupy.empty(shape, x.dtype), cupy.empty(shape, np.int32)
    _launch("largest", y.size, x, y, places, cupy.ascontiguousarray(x), how=how, x=x.shape)
    return y, places


def put(g: Any, places: Any, size: tuple[int, int], how: Window) -> Any:
    """The gradient of `largest`: ``g`` added up at its places.

    Parameters
    ----------
    g : (..., OH, OW) array
        The gradient of the result.
    places : (..., OH, OW) array of int32
        What `largest` returned.
    size : (int, int)
        H and W.
    how : Window
        What `largest` was given.

    Returns
    -------
    (..., H, W) array

    Notes
    -----
    Bytes it must move, for elements of ``s`` bytes: ``s + 4`` times the size of g and ``s`` times
    that of the result. On CUDA it moves these, and of g and places again from the cache for each
    further pixel of a window, of g only where its place is that pixel.
    """
    shape = (*g.shape[:-2], *size)
    if isinstance(g, np.ndarray):
        out = np.zeros(shape, g.dtype)
        if out.size and g.size:
            from gpugrad.kernels.cpu import pool

            wide, planes = _wide(out), g.size // (how.out[0] * how.out[1])
            flat = (_wide(g), np.ascontiguousarray(places, np.int32), wide)
            pool.put(*[a.reshape(planes, -1) for a in flat])
            out = wide.astype(g.dtype, copy=False)
        return out
    import cupy

    out = cupy.empty(shape, g.dtype)
    g, places = cupy.ascontiguousarray(g), cupy.ascontiguousarray(places, np.int32)
    _launch("put", out.size, out, out, g, places, how=how, x=shape)
    return out


def mean(x: Any, how: Window) -> Any:
    """The mean of each window.

    Parameters
    ----------
    x : (..., H, W) array
        NumPy or CuPy array of floats: float16 and bfloat16 are summed in float32.
    how : Window

    Returns
    -------
    (..., OH, OW) array

    Notes
    -----
    Bytes it must move, for elements of ``s`` bytes: ``s`` times the sizes of x (as far as it lies
    in windows) and of the result. On CUDA it moves these, and an element again from the cache for
    each further window that it lies in.
    """
    shape = (*x.shape[:-2], *how.out)
    if isinstance(x, np.ndarray):
        y = np.empty(shape, x.dtype)
        if y.size:
            from gpugrad.kernels.cpu import pool

            wide = _wide(y)
            pool.mean(_images(_wide(x)), _images(wide), how)
            y = wide.astype(y.dtype, copy=False)
        return y
    import cupy

    y = cupy.empty(shape, x.dtype)
    _launch("mean", y.size, x, y, cupy.ascontiguousarray(x), how=how, x=x.shape)
    return y


def spread(g: Any, size: tuple[int, int], how: Window) -> Any:
    """The gradient of `mean`.

    Parameters
    ----------
    g : (..., OH, OW) array
        The gradient of the result.
    size : (int, int)
        H and W.
    how : Window
        What `mean` was given.

    Returns
    -------
    (..., H, W) array

    Notes
    -----
    Bytes it must move, for elements of ``s`` bytes: ``s`` times the sizes of g and of the result.
    On CUDA it moves these, and an element of g again from the cache for each further pixel of its
    window.
    """
    shape = (*g.shape[:-2], *size)
    if isinstance(g, np.ndarray):
        out = np.zeros(shape, g.dtype)
        if out.size and g.size:
            from gpugrad.kernels.cpu import pool

            wide = _wide(out)
            pool.spread(_images(_wide(g)), _images(wide), how)
            out = wide.astype(g.dtype, copy=False)
        return out
    import cupy

    out = cupy.empty(shape, g.dtype)
    _launch("spread", out.size, out, out, cupy.ascontiguousarray(g), how=how, x=shape)
    return out


def _wide(a: Any) -> Any:
    """Contiguous, and in float32 where it is narrower; as it is where it is so."""
    return np.ascontiguousarray(a, np.float32 if a.dtype.name in NARROW else None)


def _images(a: Any) -> Any:
    """(..., H, W) as (P, H, W), a view of a contiguous array."""
    return a.reshape(a.size // (a.shape[-2] * a.shape[-1]), *a.shape[-2:])


_WINDOW = np.dtype(
    [
        (n, np.int32)
        for n in (
            *("height", "width", "rows", "columns"),
            *("kernel_h", "kernel_w", "stride_h", "stride_w"),
            *("top", "left", "dilation_h", "dilation_w"),
            *("adaptive", "padded", "divisor", "unused"),
        )
    ]
)
"""The kernels' argument ``Window``."""


def _launch(name: str, count: int, like: Any, *arrays: Any, how: Window, x: Any) -> None:
    if count:
        pairs = (*how.kernel, *how.stride, *how.padding, *how.dilation)
        fields = (*x[-2:], *how.out, *pairs, how.adaptive, how.padded, how.divisor, 0)
        kernel = function("pool", expression(name, like.dtype.name))
        kernel(*grid(count), (*arrays, np.array(fields, _WINDOW), np.int64(count)))


def expression(name: str, dtype: str) -> str:
    """The kernel's name for a dtype."""
    return f"{name}<{C_NAMES[dtype]}>"


VARIANTS = [
    expression(name, dtype) for name in ("largest", "put", "mean", "spread") for dtype in FLOATS
]
"""The kernels that the report compiles."""
