"""First weights, drawn so that signals neither die out nor grow from layer to layer.

The numbers are drawn on the host and then moved, so that one seed gives the same weights on every
device.
"""

from __future__ import annotations

import math
from typing import Any

from numpy.random import Generator

from gpugrad.array import Array
from gpugrad.device import Device


def he_normal(
    generator: Generator,
    shape: tuple[int, ...],
    dtype: Any = "float32",
    *,
    device: str | Device | None = None,
) -> Array:
    """Normal numbers of variance ``2 / fan_in``, for layers that a ReLU follows (He et al. 2015).

    Parameters
    ----------
    generator : numpy.random.Generator
        What draws them.
    shape : tuple of int
        (outputs, inputs), followed by a convolution kernel's lengths.
    dtype : dtype
        Element type.
    device : str or Device, optional
        Where the weights shall live; the default device if none is named.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.nn import he_normal
    >>> he_normal(np.random.default_rng(0), (3, 2)).shape
    (3, 2)
    """
    inputs, _ = _fans(shape)
    return Array(generator.normal(0.0, math.sqrt(2 / inputs), shape), dtype, device=device)


def glorot_uniform(
    generator: Generator,
    shape: tuple[int, ...],
    dtype: Any = "float32",
    *,
    device: str | Device | None = None,
) -> Array:
    """Uniform numbers of variance ``2 / (fan_in + fan_out)``, for tanh (Glorot and Bengio 2010).

    The parameters are `he_normal`'s.
    """
    limit = math.sqrt(6 / sum(_fans(shape)))
    return Array(generator.uniform(-limit, limit, shape), dtype, device=device)


def _fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """How many inputs each output has, and how many outputs each input feeds."""
    if len(shape) < 2:
        raise ValueError(
            f"weights have shape (outputs, inputs, ...), got {shape}: a bias starts as zeros"
        )
    kernel = math.prod(shape[2:])
    return shape[1] * kernel, shape[0] * kernel
