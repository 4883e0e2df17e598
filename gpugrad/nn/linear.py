"""The fully connected layer."""

from __future__ import annotations

from typing import Any

from numpy.random import Generator

from gpugrad.array import Array
from gpugrad.device import Device
from gpugrad.nn.init import he_normal
from gpugrad.numpy import zeros
from gpugrad.ops.linear import linear_p


def linear(x: Any, weight: Any, bias: Any = None) -> Any:
    """``x @ weight.T + bias``.

    Parameters
    ----------
    x : array
        Shape (..., inputs).
    weight : array
        Shape (outputs, inputs).
    bias : array, optional
        Shape (outputs,).

    Returns
    -------
    array
        Shape (..., outputs).

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.nn import linear
    >>> linear(np.ones(2), np.eye(3, 2), np.ones(3))
    array([2., 2., 1.])
    """
    if bias is None:
        return x @ weight.T
    dtype = x.dtype
    if x.ndim == 2 and dtype == weight.dtype and dtype == bias.dtype and dtype.char in "fdFD":
        return linear_p(x, weight, bias)
    return x @ weight.T + bias


def init_linear(
    generator: Generator,
    inputs: int,
    outputs: int,
    dtype: Any = "float32",
    *,
    device: str | Device | None = None,
) -> dict[str, Array]:
    """First parameters of a layer: He's normal weights, and a bias of zeros.

    Parameters
    ----------
    generator : numpy.random.Generator
        What draws the weights.
    inputs, outputs : int
        The layer's widths.
    dtype : dtype
        Element type.
    device : str or Device, optional
        Where they shall live; the default device if none is named.

    Returns
    -------
    dict
        ``weight`` of shape (outputs, inputs) and ``bias`` of shape (outputs,): the arguments of
        `linear` by name.
    """
    return {
        "weight": he_normal(generator, (outputs, inputs), dtype, device=device),
        "bias": zeros(outputs, dtype, device=device),
    }
