"""The fully connected layer."""

from __future__ import annotations

import math
from typing import Any

from gpugrad import random
from gpugrad.amp import narrowed
from gpugrad.array import Array
from gpugrad.core.trace import autocasting
from gpugrad.device import Device
from gpugrad.nn.module import Module, parameter
from gpugrad.ops.linear import linear_p


def linear(input: Any, weight: Any, bias: Any = None) -> Any:
    """``input @ weight.T + bias``.

    Parameters
    ----------
    input : array
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
    if autocasting:
        input, weight, bias = narrowed(input, weight, bias)
    dtype = input.dtype
    one = dtype == weight.dtype and (bias is None or dtype == bias.dtype)
    if one and input.ndim and dtype.char in "fdFD":
        return linear_p(input, weight, 0.0 if bias is None else bias)
    y = input @ weight.T
    return y if bias is None else y + bias


class Linear(Module):
    """`linear` with weights of its own.

    Parameters
    ----------
    in_features, out_features : int
        The layer's widths.
    bias : bool
        Whether it adds one.
    device, dtype
        Of the parameters.
    generator : gpugrad.random.Generator, optional
        What draws them; the default generator if none is given.

    Notes
    -----
    The weight (out_features, in_features) and the bias start uniform between
    ``±1/sqrt(in_features)``, as PyTorch's do.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad import nn
    >>> layer = nn.Linear(3, 2)
    >>> layer
    Linear(in_features=3, out_features=2, parameters=8)
    >>> layer(np.ones((5, 3), "float32")).shape
    (5, 2)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: str | Device | None = None,
        dtype: Any = "float32",
        *,
        generator: random.Generator | None = None,
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        draw = random.default_generator if generator is None else generator
        limit = 1 / math.sqrt(in_features) if in_features else 0.0

        def start(*shape: int) -> Array:
            return parameter(draw.uniform(-limit, limit, shape, dtype, device=device))

        self.weight = start(out_features, in_features)
        self.bias = start(out_features) if bias else None

    def forward(self, x: Any) -> Any:
        return linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        without = "" if self.bias is not None else ", bias=False"
        return f"in_features={self.in_features}, out_features={self.out_features}{without}"
