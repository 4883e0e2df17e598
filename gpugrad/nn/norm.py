"""Normalisation: layer, RMS, batch and group, with PyTorch's names, arguments and defaults."""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import index
from typing import Any

import numpy as np

from gpugrad.core.abstract import shape_dtype
from gpugrad.nn.softmax import floating
from gpugrad.ops.cast import cast
from gpugrad.ops.creation import raw_of
from gpugrad.ops.elementwise import sqrt
from gpugrad.ops.norm_layers import batch_norm_p, group_norm_p, norm_rows_p
from gpugrad.ops.shape import ravel, reshape
from gpugrad.ops.softmax import widened


def layer_norm(
    input: Any,
    normalized_shape: int | Sequence[int],
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
) -> Any:
    """``(x - mean) / sqrt(variance + eps) * weight + bias`` over the last axes.

    Parameters
    ----------
    input : array
        Of any shape that ends in ``normalized_shape``.
    normalized_shape : int or sequence of int
        The lengths of the axes that are normalised together.
    weight, bias : array, optional
        Of that shape.
    eps : float
        What keeps a constant row from a division by zero.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.nn import layer_norm
    >>> layer_norm(np.array([[1.0, 3.0], [5.0, 5.0]]), 2).round(4)
    array([[-1.,  1.],
           [ 0.,  0.]])
    """
    return _over_last("layer_norm", input, normalized_shape, weight, bias, eps, True)


def rms_norm(
    input: Any,
    normalized_shape: int | Sequence[int],
    weight: Any = None,
    eps: float | None = None,
) -> Any:
    """``x / sqrt(mean(x ** 2) + eps) * weight`` over the last axes.

    The parameters are `layer_norm`'s; ``eps`` is the dtype's machine epsilon if left out.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.nn import rms_norm
    >>> rms_norm(np.array([3.0, 3.0, -3.0]), 3).round(4)
    array([ 1.,  1., -1.])
    """
    if eps is None:
        dtype = _dtype(input)
        eps = 2.0**-7 if dtype.name == "bfloat16" else float(np.finfo(dtype).eps)
    return _over_last("rms_norm", input, normalized_shape, weight, None, eps, False)


def group_norm(
    input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Any:
    """Normalise each sample's channels by groups.

    Parameters
    ----------
    input : array
        Shape (N, C, ...).
    num_groups : int
        Into how many groups of neighbours the C channels are divided.
    weight, bias : (C,) array, optional
        Of each channel.
    eps : float
        Added to the variance.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.nn import group_norm
    >>> group_norm(np.array([[1.0, 3.0, 4.0, 8.0]]), 2).round(4)
    array([[-1.,  1., -1.,  1.]])
    """
    x, shape = _planes("group_norm", input)
    if num_groups < 1 or shape[1] % num_groups:
        raise ValueError(
            f"group_norm: {shape[1]} channels cannot be divided into {num_groups} groups"
        )
    weight, bias = _parameters("group_norm", x, (shape[1],), weight, bias)
    y = group_norm_p(x, weight, bias, center=True, eps=float(eps), groups=index(num_groups))
    return reshape(y, shape)


def batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """Normalise each channel over all samples, by their moments or by the running ones.

    Parameters
    ----------
    input : array
        Shape (N, C, ...).
    running_mean, running_var : (C,) array or None
        Used when not ``training``; in training moved towards the moments of ``input`` in place,
        with Bessel's correction of the variance.
    weight, bias : (C,) array, optional
        Of each channel.
    training : bool
        Whether to use the moments of ``input``.
    momentum : float
        How far the running moments move: ``(1 - momentum) * running + momentum * observed``.
    eps : float
        Added to the variance.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.nn import batch_norm
    >>> mean, var = np.zeros(1), np.ones(1)
    >>> batch_norm(np.array([[1.0], [3.0]]), mean, var, training=True).round(4)
    array([[-1.],
           [ 1.]])
    >>> mean, var
    (array([0.2]), array([1.1]))
    """
    x, shape = _planes("batch_norm", input)
    if not training:
        if running_mean is None or running_var is None:
            raise ValueError("batch_norm: without training it needs running_mean and running_var")
        beside = (1, shape[1], 1)
        wide = widened(x)
        y = (wide - reshape(running_mean, beside)) / sqrt(reshape(running_var, beside) + eps)
        y = y if weight is None else y * reshape(weight, beside)
        y = y if bias is None else y + reshape(bias, beside)
        return reshape(cast(y, shape_dtype(x).dtype), shape)
    count = shape[0] * math.prod(shape[2:])
    if count < 2:
        raise ValueError(
            f"batch_norm: in training a channel needs more than one value, got shape {shape}"
        )
    weight, bias = _parameters("batch_norm", x, (shape[1],), weight, bias)
    y, mean, variance = batch_norm_p(x, weight, bias, eps=float(eps))
    _move(running_mean, mean, momentum, 1.0)
    _move(running_var, variance, momentum, count / (count - 1))
    return reshape(y, shape)


def _move(running: Any, observed: Any, momentum: float, scale: float) -> None:
    if running is None:
        return
    target, observed = raw_of(running), raw_of(observed)
    if target.shape != observed.shape:
        raise ValueError(
            f"batch_norm: running moments of shape {target.shape} for channels of shape "
            f"{observed.shape}; under vmap pass None"
        )
    target *= 1 - momentum
    target += (momentum * scale) * observed.astype(target.dtype, copy=False)


def _dtype(x: Any) -> np.dtype[Any]:
    """The dtype in which ``x`` is normalised."""
    dtype = shape_dtype(x).dtype
    return np.dtype(np.float64) if dtype.kind in "iub" else dtype


def _parameters(name: str, x: Any, shape: tuple[int, ...], *given: Any) -> list[Any]:
    """Weight and bias as the primitives take them."""
    out = []
    for what, p in zip(("weight", "bias"), given):
        if p is None:
            out.append(0.0)
            continue
        like = shape_dtype(p)
        if like.shape != shape:
            raise ValueError(f"{name}: {what} must have the shape {shape}, got {like.shape}")
        out.append(ravel(cast(p, shape_dtype(x).dtype)))
    return out


def _over_last(
    name: str, x: Any, normalized: Any, weight: Any, bias: Any, eps: float, center: bool
) -> Any:
    x = floating(name, x)
    shape = shape_dtype(x).shape
    try:
        last: tuple[int, ...] = (index(normalized),)
    except TypeError:
        last = tuple([index(n) for n in normalized])
    if not last or shape[-len(last) :] != last:
        raise ValueError(f"{name}: input of shape {shape} does not end in {last}")
    weight, bias = _parameters(name, x, last, weight, bias)
    flat = x if len(last) == 1 else reshape(x, (*shape[: -len(last)], math.prod(last)))
    y = norm_rows_p(flat, weight, bias, center=center, eps=float(eps), groups=1)
    return y if len(last) == 1 else reshape(y, shape)


def _planes(name: str, x: Any) -> tuple[Any, tuple[int, ...]]:
    """``x`` as (N, C, S), and its own shape."""
    x = floating(name, x)
    shape = shape_dtype(x).shape
    if len(shape) < 2:
        raise ValueError(f"{name}: input is (N, C, ...), got the shape {shape}")
    return reshape(x, (*shape[:2], math.prod(shape[2:]))), shape
