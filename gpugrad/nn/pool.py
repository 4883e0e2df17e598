"""Pooling, with PyTorch's names and arguments."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import Any

import numpy as np

from gpugrad.core.abstract import shape_dtype
from gpugrad.core.under import device_under
from gpugrad.device import to_device
from gpugrad.kernels.many import FLOATS
from gpugrad.kernels.pool import Window
from gpugrad.nn.lengths import lengths
from gpugrad.ops.broadcast import broadcast_to
from gpugrad.ops.cast import cast
from gpugrad.ops.indexing import take, take_along_axis
from gpugrad.ops.pool import max_pool_p, mean_pool_p
from gpugrad.ops.reductions import argmax
from gpugrad.ops.shape import expand_dims, reshape, squeeze

Lengths = int | Sequence[int]


def max_pool1d(
    input: Any,
    kernel_size: Lengths,
    stride: Lengths | None = None,
    padding: Lengths = 0,
    dilation: Lengths = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window of sequences (..., L).

    The parameters are `max_pool2d`'s, with one number in place of two.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.nn import max_pool1d
    >>> max_pool1d(np.array([[1.0, 3.0, 2.0, 5.0]]), 2)
    array([[3., 5.]])
    """
    return _largest(
        1, "max_pool1d", input, kernel_size, stride, padding, dilation, ceil_mode, return_indices
    )


def max_pool2d(
    input: Any,
    kernel_size: Lengths,
    stride: Lengths | None = None,
    padding: Lengths = 0,
    dilation: Lengths = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window of images.

    Parameters
    ----------
    input : array
        Shape (..., H, W).
    kernel_size : int or (int, int)
        Of the window.
    stride : int or (int, int), optional
        From window to window; the kernel's size by default.
    padding : int or (int, int)
        How far windows reach over the edges: at most half of the kernel. What is there is smaller
        than any element.
    dilation : int or (int, int)
        Steps between the window's elements.
    ceil_mode : bool
        Whether a window that begins in the image and ends beyond it counts.
    return_indices : bool
        Whether to return also where in its image, ``row * W + column``, each element is.

    Returns
    -------
    array
        Shape (..., H', W'); or a pair with the places, in int64.

    Notes
    -----
    Where several elements of a window are the largest, the first one gets the gradient, as in
    PyTorch; a NaN is larger than all.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.nn import max_pool2d
    >>> max_pool2d(np.arange(16.0).reshape(1, 4, 4), 2)[0]
    array([[ 5.,  7.],
           [13., 15.]])
    """
    return _largest(
        2, "max_pool2d", input, kernel_size, stride, padding, dilation, ceil_mode, return_indices
    )


def avg_pool1d(
    input: Any,
    kernel_size: Lengths,
    stride: Lengths | None = None,
    padding: Lengths = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Any:
    """The mean of each window of sequences (..., L).

    The parameters are `avg_pool2d`'s, with one number in place of two.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.nn import avg_pool1d
    >>> avg_pool1d(np.array([[1.0, 3.0, 2.0, 5.0]]), 2)
    array([[2. , 3.5]])
    """
    return _mean(
        1, "avg_pool1d", input, kernel_size, stride, padding, ceil_mode, count_include_pad, None
    )


def avg_pool2d(
    input: Any,
    kernel_size: Lengths,
    stride: Lengths | None = None,
    padding: Lengths = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """The mean of each window of images.

    Parameters
    ----------
    input : array
        Shape (..., H, W).
    kernel_size, stride, padding, ceil_mode
        As in `max_pool2d`; here zeros are beyond the edges.
    count_include_pad : bool
        Whether these zeros count.
    divisor_override : int, optional
        What to divide the sum by in place of the number of elements.

    Returns
    -------
    array
        Shape (..., H', W').

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.nn import avg_pool2d
    >>> avg_pool2d(np.arange(16.0).reshape(1, 4, 4), 2)[0]
    array([[ 2.5,  4.5],
           [10.5, 12.5]])
    """
    return _mean(
        2, "avg_pool2d", input, kernel_size, stride, padding, ceil_mode, count_include_pad,
        divisor_override,
    )  # fmt: skip


def adaptive_avg_pool1d(input: Any, output_size: Lengths) -> Any:
    """The means of ``output_size`` windows that cover sequences (..., L).

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.nn import adaptive_avg_pool1d
    >>> adaptive_avg_pool1d(np.arange(5.0)[None], 2)
    array([[1., 3.]])
    """
    return _adaptive(1, "adaptive_avg_pool1d", input, output_size)


def adaptive_avg_pool2d(input: Any, output_size: int | Sequence[int | None] | None) -> Any:
    """The means of so many windows of about the same size that cover images.

    Parameters
    ----------
    input : array
        Shape (..., H, W).
    output_size : int or (int, int)
        How many windows, along rows and columns; None is the image's own length.

    Returns
    -------
    array
        Shape (..., *output_size).

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.nn import adaptive_avg_pool2d
    >>> adaptive_avg_pool2d(np.arange(16.0).reshape(1, 4, 4), 1)
    array([[[7.5]]])
    """
    return _adaptive(2, "adaptive_avg_pool2d", input, output_size)


def adaptive_max_pool1d(input: Any, output_size: Lengths, return_indices: bool = False) -> Any:
    """The largest elements of ``output_size`` windows that cover sequences (..., L).

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.nn import adaptive_max_pool1d
    >>> adaptive_max_pool1d(np.arange(5.0)[None], 2)
    array([[2., 4.]])
    """
    return _adaptive_largest(1, "adaptive_max_pool1d", input, output_size, return_indices)


def adaptive_max_pool2d(
    input: Any, output_size: int | Sequence[int | None] | None, return_indices: bool = False
) -> Any:
    """The largest elements of so many windows of about the same size that cover images.

    Parameters
    ----------
    input : array
        Shape (..., H, W).
    output_size : int or (int, int)
        How many windows, along rows and columns; None is the image's own length.
    return_indices : bool
        Whether to return also where in its image, ``row * W + column``, each element is.

    Returns
    -------
    array
        Shape (..., *output_size); or a pair with the places, in int64.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.nn import adaptive_max_pool2d
    >>> adaptive_max_pool2d(np.arange(12.0).reshape(1, 3, 4), (1, 2))
    array([[[ 9., 11.]]])
    """
    return _adaptive_largest(2, "adaptive_max_pool2d", input, output_size, return_indices)


def _largest(
    axes: int, name: str, x: Any, kernel: Any, stride: Any, padding: Any, dilation: Any,
    ceil: bool, indices: bool,
) -> Any:  # fmt: skip
    x = _images(axes, name, x)
    how = _window(axes, name, x, kernel, stride, padding, dilation, ceil)
    for n, m, k, s, p, d in zip(x.shape[-2:], *how[:5], strict=True):
        first = np.arange(m)[:, None] * s - p + np.arange(k) * d if d > 1 else np.zeros((1, 1))
        if not ((first >= 0) & (first < n)).any(1).all():
            raise ValueError(f"{name}: at dilation {dilation} a window has no element of the image")
    y, places = max_pool_p(x, how=how)
    y, places = (squeeze(v, -2) if axes == 1 else v for v in (y, places))
    return (y, cast(places, np.int64)) if indices else y


def _mean(
    axes: int, name: str, x: Any, kernel: Any, stride: Any, padding: Any, ceil: bool, padded: bool,
    divisor: Any,
) -> Any:  # fmt: skip
    x = _images(axes, name, x)
    how = _window(axes, name, x, kernel, stride, padding, 1, ceil)
    if divisor is not None and index(divisor) == 0:
        raise ValueError(f"{name}: divisor_override must not be 0")
    how = how._replace(padded=bool(padded), divisor=0 if divisor is None else index(divisor))
    y = mean_pool_p(x, how=how)
    return squeeze(y, -2) if axes == 1 else y


def _adaptive(axes: int, name: str, x: Any, out: Any) -> Any:
    x = _images(axes, name, x)
    y = mean_pool_p(x, how=Window(_many(axes, name, x, out), adaptive=True))
    return squeeze(y, -2) if axes == 1 else y


def _many(axes: int, name: str, x: Any, out: Any) -> tuple[int, int]:
    """How many windows there are along rows and columns."""
    given = tuple(out) if isinstance(out, Sequence) else (out,) * axes
    if len(given) != axes:
        raise ValueError(f"{name}: output_size is one number or {axes}, got {out!r}")
    many = [n if m is None else index(m) for n, m in zip(x.shape[-axes:], given, strict=True)]
    if min(many) < 0 or 0 in x.shape[-2:]:
        raise ValueError(f"{name}: {tuple(many)} windows of images {x.shape[-axes:]}")
    return (1, many[0]) if axes == 1 else (many[0], many[1])


def _adaptive_largest(axes: int, name: str, x: Any, out: Any, indices: bool) -> Any:
    """By a copy of the windows, in which those that are shorter repeat their last element."""
    x = _images(axes, name, x)
    height, width = x.shape[-2:]
    many = _many(axes, name, x, out)
    rows, columns = (_windows(n, m) for n, m in zip((height, width), many, strict=True))
    at = (rows[:, None, :, None] * width + columns[None, :, None, :]).reshape(*many, -1)
    whole = reshape(x, (*x.shape[:-2], height * width))
    windows = take(whole, at.ravel(), axis=-1)
    windows = reshape(windows, (*x.shape[:-2], *at.shape))
    # The first of the largest, which gets the gradient: a copy of it only comes later.
    first = argmax(windows, axis=-1, keepdims=True)
    y = squeeze(take_along_axis(windows, first, axis=-1), -1)
    y = squeeze(y, -2) if axes == 1 else y
    if not indices:
        return y
    places = broadcast_to(to_device(at, device_under(x)), windows.shape)
    places = squeeze(take_along_axis(places, first, axis=-1), -1)
    return y, squeeze(places, -2) if axes == 1 else places


def _windows(length: int, many: int) -> Any:
    """The places in each window, (many, longest), with the last one repeated in shorter ones."""
    begin = np.arange(many) * length // max(many, 1)
    end = -(-(np.arange(many) + 1) * length // max(many, 1))
    longest = int((end - begin).max(initial=1))
    return np.minimum(begin[:, None] + np.arange(longest), end[:, None] - 1)


def _images(axes: int, name: str, x: Any) -> Any:
    like = shape_dtype(x)
    if like.ndim <= axes:
        raise ValueError(f"{name}: input is (C, ...) or (N, C, ...), got shape {like.shape}")
    if like.dtype.name not in FLOATS:
        raise TypeError(f"{name}: input is of real floating-point numbers, got {like.dtype}")
    return expand_dims(x, -2) if axes == 1 else x


def _window(
    axes: int, name: str, x: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil: bool
) -> Window:
    kernel = lengths(axes, name, "kernel_size", kernel, 1)
    no_stride = stride is None or (isinstance(stride, Sequence) and not stride)
    stride = kernel if no_stride else lengths(axes, name, "stride", stride, 1)
    padding = lengths(axes, name, "padding", padding, 0)
    dilation = lengths(axes, name, "dilation", dilation, 1)
    if any(2 * p > k for p, k in zip(padding, kernel, strict=True)):
        raise ValueError(
            f"{name}: padding {padding[-axes:]} is more than half of the kernel {kernel[-axes:]}"
        )
    out = []
    for n, k, s, p, d in zip(x.shape[-2:], kernel, stride, padding, dilation, strict=True):
        room = n + 2 * p - d * (k - 1) - 1
        many = (-(-room // s) if ceil else room // s) + 1
        if ceil and (many - 1) * s >= n + p:  # it would begin in the padding at the end
            many -= 1
        out.append(many)
    if min(out) < 1:
        raise ValueError(
            f"{name}: a kernel of {kernel[-axes:]} is larger than the image of {x.shape[-axes:]} "
            f"with padding {padding[-axes:]}"
        )
    return Window((out[0], out[1]), kernel, stride, padding, dilation)
