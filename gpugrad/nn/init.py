"""First weights, drawn so that signals neither die out nor grow from layer to layer.

They fill a parameter in place, by PyTorch's names. One seed gives the same weights on every device.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from gpugrad import random
from gpugrad.array import Array

Draw = random.Generator
Fan = Literal["fan_in", "fan_out"]


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """By what the standard deviation is multiplied so that ``nonlinearity`` keeps it.

    Parameters
    ----------
    nonlinearity : str
        "linear", "sigmoid", "tanh", "relu", "leaky_relu" or "selu".
    param : float, optional
        The slope of "leaky_relu" below 0, 0.01 by default.
    """
    slope = 0.01 if param is None else param
    gains = {
        "linear": 1.0,
        "sigmoid": 1.0,
        "tanh": 5 / 3,
        "relu": math.sqrt(2),
        "leaky_relu": math.sqrt(2 / (1 + slope * slope)),
        "selu": 3 / 4,
    }
    if nonlinearity not in gains:
        raise ValueError(f"calculate_gain: {nonlinearity!r} is none of {', '.join(gains)}")
    return gains[nonlinearity]


def uniform_(tensor: Array, a: float = 0.0, b: float = 1.0, generator: Draw | None = None) -> Array:
    """Fill a parameter with numbers uniform between ``a`` and ``b``; returns it.

    Parameters
    ----------
    tensor : Array
        The parameter, which stays the same object.
    a, b : float
        The bounds.
    generator : gpugrad.random.Generator, optional
        What draws; the default generator if none is given. One seed gives the same numbers on
        every device, but for rounding.

    Examples
    --------
    >>> from gpugrad import nn
    >>> layer = nn.Linear(3, 2)
    >>> bool((abs(nn.init.uniform_(layer.weight, -0.1, 0.1).detach()) <= 0.1).all())
    True
    """
    draw = _draw(generator)
    return _fill(tensor, draw.uniform(a, b, tensor.shape, tensor.dtype, device=tensor.device))


def normal_(
    tensor: Array, mean: float = 0.0, std: float = 1.0, generator: Draw | None = None
) -> Array:
    """Fill a parameter with normal numbers; else like `uniform_`."""
    draw = _draw(generator)
    return _fill(tensor, draw.normal(mean, std, tensor.shape, tensor.dtype, device=tensor.device))


def trunc_normal_(
    tensor: Array,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Draw | None = None,
) -> Array:
    """Fill a parameter with normal numbers, of which none is below ``a`` or above ``b``."""
    low, high = (a - mean) / std, (b - mean) / std
    drawn = _draw(generator).truncated_normal(
        low, high, tensor.shape, "float64", device=tensor.device
    )
    return _fill(tensor, (drawn * std + mean).clip(a, b))


def constant_(tensor: Array, val: float) -> Array:
    """Fill a parameter with one number."""
    return _fill(tensor, Array(np.full(tensor.shape, val)))


def zeros_(tensor: Array) -> Array:
    """Fill a parameter with 0."""
    return constant_(tensor, 0.0)


def ones_(tensor: Array) -> Array:
    """Fill a parameter with 1."""
    return constant_(tensor, 1.0)


def xavier_uniform_(tensor: Array, gain: float = 1.0, generator: Draw | None = None) -> Array:
    """Uniform numbers of variance ``gain² 2 / (fan_in + fan_out)`` (Glorot and Bengio 2010)."""
    limit = gain * math.sqrt(6 / sum(_fans(tensor.shape)))
    return uniform_(tensor, -limit, limit, generator)


def xavier_normal_(tensor: Array, gain: float = 1.0, generator: Draw | None = None) -> Array:
    """Normal numbers of variance ``gain² 2 / (fan_in + fan_out)`` (Glorot and Bengio 2010)."""
    return normal_(tensor, 0.0, gain * math.sqrt(2 / sum(_fans(tensor.shape))), generator)


def kaiming_uniform_(
    tensor: Array,
    a: float = 0.0,
    mode: Fan = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Draw | None = None,
) -> Array:
    """Uniform numbers of variance ``gain² / fan`` (He et al. 2015).

    Parameters
    ----------
    tensor : Array
        The parameter.
    a : float
        The slope of "leaky_relu" below 0.
    mode : {"fan_in", "fan_out"}
        Whether values keep their size on the way forward, or gradients on the way back.
    nonlinearity : str
        What follows, as for `calculate_gain`.
    generator : gpugrad.random.Generator, optional
        What draws.
    """
    limit = math.sqrt(3) * _kaiming(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -limit, limit, generator)


def kaiming_normal_(
    tensor: Array,
    a: float = 0.0,
    mode: Fan = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Draw | None = None,
) -> Array:
    """Normal numbers of the variance of `kaiming_uniform_`."""
    return normal_(tensor, 0.0, _kaiming(tensor, a, mode, nonlinearity), generator)


def orthogonal_(tensor: Array, gain: float = 1.0, generator: Draw | None = None) -> Array:
    """Orthogonal rows, or columns where there are fewer, times ``gain`` (Saxe et al. 2014).

    The axes after the first count as one. The factorisation is made on the host.
    """
    if len(tensor.shape) < 2:
        raise ValueError(f"orthogonal_: a parameter of two axes or more, got {tensor.shape}")
    rows = tensor.shape[0]
    columns = math.prod(tensor.shape[1:])
    drawn = _draw(generator).normal(0, 1, (rows, columns), "float64", device="cpu").numpy()
    q, r = np.linalg.qr(drawn.T if rows < columns else drawn)
    q = q * np.sign(np.diag(r))  # without it not every orthogonal matrix is as likely
    return _fill(tensor, Array(gain * (q.T if rows < columns else q).reshape(tensor.shape)))


def _draw(generator: Draw | None) -> Draw:
    return random.default_generator if generator is None else generator


def _fill(tensor: Array, value: Array) -> Array:
    tensor._replace(Array(value, tensor.dtype, device=tensor.device))
    return tensor


def _kaiming(tensor: Array, a: float, mode: Fan, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"kaiming: mode={mode!r} is neither 'fan_in' nor 'fan_out'")
    fan = _fans(tensor.shape)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(fan)


def _fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """How many inputs each output has, and how many outputs each input feeds."""
    if len(shape) < 2:
        raise ValueError(
            f"weights have shape (outputs, inputs, ...), got {shape}: a bias starts as zeros"
        )
    kernel = math.prod(shape[2:])
    return shape[1] * kernel, shape[0] * kernel
