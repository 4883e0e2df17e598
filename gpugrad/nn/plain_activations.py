"""Activation functions that are a line of other functions, with PyTorch's names and defaults.

Gradients at the kinks are PyTorch's too.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import gpugrad.numpy as gnp
from gpugrad import random
from gpugrad.array import Array
from gpugrad.core.abstract import shape_dtype
from gpugrad.core.box import strip
from gpugrad.core.under import device_under
from gpugrad.nn.activations import elu, leaky_relu
from gpugrad.nn.softmax import softmax
from gpugrad.ops.cast import cast, is_inexact
from gpugrad.ops.elementwise import where

__all__ = [
    "celu",
    "hardshrink",
    "hardsigmoid",
    "hardtanh",
    "logsigmoid",
    "prelu",
    "relu6",
    "rrelu",
    "softmin",
    "softshrink",
    "softsign",
    "tanhshrink",
    "threshold",
]


F = TypeVar("F", bound=Callable[..., Any])


def _keeping_dtype(f: F) -> F:
    """``f`` in the dtype of its input: of bfloat16 and a fraction NumPy makes a wider one."""

    @wraps(f)
    def run(input: Any, *args: Any, **kwargs: Any) -> Any:
        like, y = shape_dtype(input), f(input, *args, **kwargs)
        return cast(y, like.dtype) if is_inexact(like.dtype) and not like.weak else y

    return run  # type: ignore[return-value]


@_keeping_dtype
def hardtanh(input: Any, min_val: float = -1.0, max_val: float = 1.0) -> Any:
    """``x``, but no less than ``min_val`` and no more than ``max_val``.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.nn import hardtanh
    >>> hardtanh(np.array([-3.0, 0.5, 2.0]))
    array([-1. ,  0.5,  1. ])
    """
    if min_val > max_val:
        raise ValueError(f"hardtanh: min_val={min_val} is above max_val={max_val}")
    return where(input <= min_val, min_val, where(input >= max_val, max_val, input))


def relu6(input: Any) -> Any:
    """``min(max(x, 0), 6)``."""
    return hardtanh(input, 0.0, 6.0)


@_keeping_dtype
def hardsigmoid(input: Any) -> Any:
    """The line from 0 at -3 to 1 at 3."""
    return hardtanh(input / 6 + 0.5, 0.0, 1.0)


@_keeping_dtype
def celu(input: Any, alpha: float = 1.0) -> Any:
    """``x``, or ``alpha * (exp(x / alpha) - 1)`` where it is negative."""
    return alpha * elu(input / alpha)


def logsigmoid(input: Any) -> Any:
    """``-log(1 + exp(-x))``, which overflows for no ``x``."""
    return -gnp.logaddexp(0, -input)


def softsign(input: Any) -> Any:
    """``x / (1 + |x|)``."""
    return input / (1 + gnp.abs(input))


def tanhshrink(input: Any) -> Any:
    """``x - tanh(x)``."""
    return input - gnp.tanh(input)


def hardshrink(input: Any, lambd: float = 0.5) -> Any:
    """``x``, or 0 where it is not further from 0 than ``lambd``."""
    return where(gnp.abs(input) > lambd, input, 0)


@_keeping_dtype
def softshrink(input: Any, lambd: float = 0.5) -> Any:
    """``x`` moved by ``lambd`` toward 0, and not beyond."""
    if lambd < 0:
        raise ValueError(f"softshrink: lambd is not negative, got {lambd}")
    return where(input > lambd, input - lambd, where(input < -lambd, input + lambd, 0))


@_keeping_dtype
def threshold(input: Any, threshold: float, value: float) -> Any:
    """``x`` where it is above ``threshold``, else ``value``."""
    return where(input > threshold, input, value)


def softmin(input: Any, dim: int = -1, *, dtype: Any = None) -> Any:
    """`softmax` of ``-x``."""
    return softmax(-input, dim, dtype=dtype)


def prelu(input: Any, weight: Any) -> Any:
    """``x``, times ``weight`` where it is negative: a slope for all, or for each channel.

    Parameters
    ----------
    input : array
        Channels are along the second axis.
    weight : array
        Shape (1,), or (C,) for C channels.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.nn import prelu
    >>> prelu(np.array([[-2.0, -2.0]]), np.array([0.5, 0.1]))
    array([[-1. , -0.2]])
    """
    shape, (many,) = shape_dtype(input).shape, shape_dtype(weight).shape
    if many != 1 and (len(shape) < 2 or shape[1] != many):
        raise ValueError(
            f"prelu: {many} slopes for an input of shape {shape}, whose channels are its second "
            "axis: give one slope, or one for each channel"
        )
    if len(shape) > 2 and many != 1:
        weight = gnp.reshape(weight, (many, *[1] * (len(shape) - 2)))
    return where(input > 0, input, weight * input)


def rrelu(
    input: Any,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    *,
    generator: random.Generator | None = None,
) -> Any:
    """``x``, times a slope where it is negative (Xu et al. 2015).

    Parameters
    ----------
    input : array
        Of floating point.
    lower, upper : float
        Bounds of the slopes.
    training : bool
        Whether a slope is drawn for each element: else it is the middle of the bounds.
    generator : gpugrad.random.Generator, optional
        What draws the slopes; the default generator if none is given.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.nn import rrelu
    >>> rrelu(np.array([-2.0, 3.0]), 0.1, 0.3)
    array([-0.4,  3. ])
    """
    if not training:
        return leaky_relu(input, (lower + upper) / 2)
    draw = generator or random.default_generator
    like = shape_dtype(input)
    slopes = draw.uniform(lower, upper, like.shape, like.dtype, device=device_under(input))
    return where(input >= 0, input, input * (slopes if isinstance(input, Array) else strip(slopes)))
