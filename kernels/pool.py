"""Pooling: the largest element or the mean of each window of an image, and their gradients.

A gradient adds what comes back in a fixed order: the same bits on every run.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from gpugrad.kernels.many import FLOATS, contiguous, widened
from gpugrad.kernels.operands import fit, floats
from gpugrad.kernels.source import C_NAMES, function


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
    and ``s + 4`` times that of the result. On CUDA it moves these, and the elements in windows of
    two tiles twice: of an image of 1024 by 1024, 3 per cent more for windows of 3 by 3 with any
    stride. A window that does not fit a block (18432 bytes) is read in place.

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
    _check("largest", x, how)
    if x.shape[-2] * x.shape[-1] >= 1 << 31:
        raise ValueError(f"pooling: an image of {x.shape[-2:]} has more places than int32 counts")
    shape = (*x.shape[:-2], *how.out)
    if isinstance(x, np.ndarray):
        y, places = np.empty(shape, x.dtype), np.empty(shape, np.int32)
        if y.size:
            from gpugrad.kernels.cpu import pool

            wide = widened(y)
            pool.largest(_images(widened(x)), _images(wide), _images(places), how)
            y = wide.astype(y.dtype, copy=False)
        return y, places
    import cupy

    y, places = cupy.empty(shape, x.dtype), cupy.empty(shape, np.int32)
    _launch("largest", y, y, places, cupy.ascontiguousarray(x), how=how, size=x.shape[-2:])
    return y, places


def put(g: Any, places: Any, size: tuple[int, int], how: Window) -> Any:
    """The gradient of `largest`: ``g`` added up at its places.

    Parameters
    ----------
    g : (..., OH, OW) array
        The gradient of the result.
    places : (..., OH, OW) array of integers
        What `largest` returned; what is at places outside of the image goes nowhere.
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
    that of the result. On CUDA it moves these, and windows that reach into two tiles twice: of an
    image of 1024 by 1024, at most 5 per cent more for windows of 3 by 3 with any stride (float64:
    6), none where windows do not overlap. A window with more than 65534 places of the image from
    its first to its last is read in place.
    """
    _check("put", g, how, back=True)
    if places.dtype.kind in "iu":
        places = places.astype(np.int32, copy=False)
    fit("pool.put", g, places=(places, g.shape, np.int32))
    shape = (*g.shape[:-2], *size)
    g, places = contiguous(g), contiguous(places)
    if isinstance(g, np.ndarray):
        out = np.zeros(shape, g.dtype)
        if out.size and g.size:
            from gpugrad.kernels.cpu import pool

            wide, planes = widened(out), g.size // (how.out[0] * how.out[1])
            flat = (widened(g), places, wide)
            pool.put(*[a.reshape(planes, -1) for a in flat])
            out = wide.astype(g.dtype, copy=False)
        return out
    import cupy

    out = cupy.empty(shape, g.dtype)
    _launch("put", out, out, g, places, how=how, size=size)
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
    in windows) and of the result. On CUDA it moves these, and the elements in windows of two tiles
    twice, as in `largest`: at most 5 per cent more for windows of 3 by 3.
    """
    _check("mean", x, how)
    shape = (*x.shape[:-2], *how.out)
    if isinstance(x, np.ndarray):
        y = np.empty(shape, x.dtype)
        if y.size:
            from gpugrad.kernels.cpu import pool

            wide = widened(y)
            pool.mean(_images(widened(x)), _images(wide), how)
            y = wide.astype(y.dtype, copy=False)
        return y
    import cupy

    y = cupy.empty(shape, x.dtype)
    _launch("mean", y, y, cupy.ascontiguousarray(x), how=how, size=x.shape[-2:])
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
    On CUDA it moves these, and windows that reach into two tiles twice: at most 5 per cent more
    for windows of 3 by 3.
    """
    _check("spread", g, how, back=True)
    shape = (*g.shape[:-2], *size)
    if isinstance(g, np.ndarray):
        out = np.zeros(shape, g.dtype)
        if out.size and g.size:
            from gpugrad.kernels.cpu import pool

            wide = widened(out)
            pool.spread(_images(widened(g)), _images(wide), how)
            out = wide.astype(g.dtype, copy=False)
        return out
    import cupy

    out = cupy.empty(shape, g.dtype)
    _launch("spread", out, out, cupy.ascontiguousarray(g), how=how, size=size)
    return out


def _check(name: str, x: Any, how: Window, *, back: bool = False) -> None:
    """See that windows are some, and with ``back`` that ``x`` has an element for each."""
    floats(f"pool.{name}", x)
    if x.ndim < 2 or (back and x.shape[-2:] != tuple(how.out)):
        expected = (*x.shape[:-2], *how.out) if back else "(..., H, W)"
        raise ValueError(
            f"pool.{name}: {x.dtype}{x.shape} does not fit {how.out} windows: expected {expected}"
        )
    least = min(*how.kernel, *how.stride, *how.dilation)
    if least < 1 or min(*how.out, *how.padding) < 0:
        raise ValueError(
            f"pool.{name}: kernel, stride and dilation are at least 1, out and padding at least 0; "
            f"got {how}"
        )


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


_TILING = np.dtype(
    [("images", np.int64)]
    + [(n, np.int32) for n in ("count", "height", "width", "across", "down", "unused")]
)
"""The kernels' argument ``Tiling``."""

KEPT = 18432
"""Bytes that a block keeps of what its tile is made from: as in cuda/pool.cu."""

MOST, LEAST = 2048, 256
"""Elements of a tile: at most; and at least, where there are fewer than 256 tiles."""

NOWHERE = 65535
"""A mark that `put` keeps of a place outside of the window, in 2 bytes: as in cuda/pool.cu."""


class Tiling(NamedTuple):
    """How a result is cut into tiles, of one image or of several small ones."""

    together: int
    height: int
    width: int
    across: int
    """Tiles side by side in an image; ``down`` below each other."""
    down: int
    keep: bool
    """Whether what a tile is made from fits."""


@lru_cache(maxsize=256)
def tiling(
    how: Window, size: tuple[int, int], images: int, back: bool, room: int, most: int = MOST
) -> Tiling:
    """For images of ``size``: tiles of windows, or of the image's pixels if ``back``.

    ``room`` is the number of elements that a block keeps, ``most`` that of a tile's elements.
    """
    whole = size if back else how.out
    reach = [(k - 1) * d + 1 for k, d in zip(how.kernel, how.dilation, strict=True)]

    def made_from(axis: int, n: int) -> int:
        """Elements along an axis that n elements of the result are made from, at most."""
        if how.adaptive:
            over, by = (how.out, size) if back else (size, how.out)
            return min(over[axis], -(-n * over[axis] // by[axis]) + 1)
        s, r = how.stride[axis], reach[axis]
        if back:
            return min(how.out[axis], (n + r - 2) // s + 1)
        return min(size[axis], (n - 1) * s + r)

    keep = made_from(0, 1) * made_from(1, 1) <= room
    most = min(most, max(LEAST, images * whole[0] * whole[1] // 256))
    height, width = whole
    while height * width > most or (keep and made_from(0, height) * made_from(1, width) > room):
        if 2 * height > width and height > 1:
            height = -(-height // 2)
        else:
            width = -(-width // 2)
    count = 1
    if (height, width) == whole:  # several images, as many as fit
        fit = room // made_from(0, height) // made_from(1, width) if keep else images
        count = max(1, min(images, most // (height * width), fit))
    return Tiling(count, height, width, -(-whole[1] // width), -(-whole[0] // height), keep)


def _launch(name: str, like: Any, *arrays: Any, how: Window, size: tuple[int, int]) -> None:
    """Run a kernel for images of ``size``, whose result is ``like``."""
    if not like.size:
        return
    images = like.size // (like.shape[-2] * like.shape[-1])
    room, most, threads = KEPT // like.itemsize, MOST, 256
    if name == "put":
        rows, columns = [(k - 1) * d for k, d in zip(how.kernel, how.dilation, strict=True)]
        marked = rows * size[1] + columns < NOWHERE
        room = KEPT * 3 // 2 // (like.itemsize + 2) if marked else 0
        most, threads = 2 * MOST, 2 * threads
    t = tiling(how, size, images, name in ("put", "spread"), room, most)
    pairs = (*how.kernel, *how.stride, *how.padding, *how.dilation)
    fields = (*size, *how.out, *pairs, how.adaptive, how.padded, how.divisor, 0)
    kernel = function("pool", expression(name, like.dtype.name, t.keep))
    blocks = -(-images // t.together) * t.across * t.down
    arguments = np.array(fields, _WINDOW), np.array((images, *t[:5], 0), _TILING)
    kernel((blocks,), (threads,), (*arrays, *arguments))


def expression(name: str, dtype: str, keep: bool) -> str:
    """The kernel's name for a dtype, and whether blocks keep what they are made from."""
    return f"{name}<{C_NAMES[dtype]}, {str(keep).lower()}>"


VARIANTS = [
    expression(name, dtype, keep)
    for name in ("largest", "put", "mean", "spread")
    for dtype in FLOATS
    for keep in (True, False)
]
"""The kernels that the report compiles."""
