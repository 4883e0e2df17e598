"""Activation functions and dropout, with PyTorch's names and defaults.

Each takes the bias of the layer before it as ``bias=``: the sum, the function, and on the way back
both gradients, are then one pass over memory each.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from gpugrad.array import Array
from gpugrad.core.abstract import shape_dtype
from gpugrad.core.box import BOX_TYPES
from gpugrad.core.under import device_under
from gpugrad.device import to_device
from gpugrad.kernels import activation as kernels
from gpugrad.kernels.philox import stream
from gpugrad.ops import elementwise
from gpugrad.ops.activation import SMALL, activate, dropout_p
from gpugrad.ops.cast import cast, is_inexact
from gpugrad.ops.shape import moveaxis

__all__ = [
    "dropout",
    "elu",
    "geglu",
    "gelu",
    "glu",
    "hardswish",
    "leaky_relu",
    "mish",
    "relu",
    "selu",
    "sigmoid",
    "silu",
    "softplus",
    "swiglu",
    "tanh",
]


def _apply(act: kernels.Activation, x: Any, bias: Any, gated: bool = False) -> Any:
    dtype = shape_dtype(x).dtype
    if dtype.kind == "c":
        raise TypeError(f"{type(act).__name__.lower()} is for real numbers, got {dtype}")
    if not is_inexact(dtype):
        x = cast(x, np.dtype(float))
    elif not hasattr(x, "dtype"):
        x = np.asarray(x)
    return activate(act, x, bias, gated=gated)


def _plain(x: Any, bias: Any) -> bool:
    """Whether NumPy's own function is as good: of few elements, or of no real floats."""
    if bias is not None:
        return False
    like = shape_dtype(x)
    return like.size < SMALL or like.dtype.kind == "c" or not is_inexact(like.dtype)


def relu(x: Any, *, bias: Any = None) -> Any:
    """``max(x, 0)``, with gradient 0 at 0.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.nn import relu
    >>> relu(np.array([-1.0, 2.0]), bias=np.array([3.0, -3.0]))
    array([2., 0.])
    """
    if _plain(x, bias):
        return elementwise.relu(x)
    return _apply(kernels.Relu(), x, bias)


def tanh(x: Any, *, bias: Any = None) -> Any:
    """The hyperbolic tangent."""
    return elementwise.tanh(x) if _plain(x, bias) else _apply(kernels.Tanh(), x, bias)


def sigmoid(x: Any, *, bias: Any = None) -> Any:
    """``1 / (1 + exp(-x))``, written with tanh, which overflows for no ``x``."""
    if _plain(x, bias):
        return 0.5 * elementwise.tanh(0.5 * x) + 0.5
    return _apply(kernels.Sigmoid(), x, bias)


def leaky_relu(x: Any, negative_slope: float = 0.01, *, bias: Any = None) -> Any:
    """``x``, times ``negative_slope`` where it is negative."""
    if negative_slope < 0:  # the output's sign would not tell the input's
        x = x if bias is None else x + bias
        return elementwise.where(x > 0, x, x * negative_slope)
    return _apply(kernels.LeakyRelu(float(negative_slope)), x, bias)


def elu(x: Any, alpha: float = 1.0, *, bias: Any = None) -> Any:
    """``x``, or ``alpha * (exp(x) - 1)`` where it is negative."""
    return _apply(kernels.Elu(float(alpha)), x, bias)


def selu(x: Any, *, bias: Any = None) -> Any:
    """Scaled `elu`, which keeps mean 0 and variance 1 (Klambauer et al. 2017)."""
    return _apply(kernels.Selu(), x, bias)


def gelu(x: Any, approximate: Literal["none", "tanh"] = "none", *, bias: Any = None) -> Any:
    """``x`` times the normal distribution's probability below ``x``, exact or by way of tanh.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.nn import gelu
    >>> gelu(np.array([-1.0, 0.0, 1.0])).round(4)
    array([-0.1587,  0.    ,  0.8413])
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f"gelu: approximate={approximate!r} is neither 'none' nor 'tanh'")
    return _apply(kernels.Gelu() if approximate == "none" else kernels.GeluTanh(), x, bias)


def silu(x: Any, *, bias: Any = None) -> Any:
    """``x * sigmoid(x)``, also called swish."""
    return _apply(kernels.Silu(), x, bias)


def mish(x: Any, *, bias: Any = None) -> Any:
    """``x * tanh(softplus(x))``."""
    return _apply(kernels.Mish(), x, bias)


def hardswish(x: Any, *, bias: Any = None) -> Any:
    """``x`` times the line from 0 at -3 to 1 at 3."""
    return _apply(kernels.HardSwish(), x, bias)


def softplus(x: Any, beta: float = 1.0, threshold: float = 20.0, *, bias: Any = None) -> Any:
    """``log(1 + exp(beta * x)) / beta``; ``x`` itself where ``beta * x`` exceeds ``threshold``."""
    return _apply(kernels.Softplus(float(beta), float(threshold)), x, bias)


def glu(x: Any, dim: int = -1, *, bias: Any = None) -> Any:
    """``a * sigmoid(b)`` of the two halves ``a`` and ``b`` of ``x`` along an axis.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.nn import glu
    >>> glu(np.array([4.0, 0.0]))
    array([2.])
    """
    return _gated(kernels.Sigmoid(), x, dim, bias)


def geglu(x: Any, dim: int = -1, *, bias: Any = None) -> Any:
    """``a * gelu(b)`` of the two halves ``a`` and ``b`` of ``x`` along an axis."""
    return _gated(kernels.Gelu(), x, dim, bias)


def swiglu(x: Any, dim: int = -1, *, bias: Any = None) -> Any:
    """``a * silu(b)`` of the two halves ``a`` and ``b`` of ``x`` along an axis."""
    return _gated(kernels.Silu(), x, dim, bias)


def _gated(act: kernels.Activation, x: Any, dim: int, bias: Any) -> Any:
    shape = shape_dtype(x).shape
    if not shape or shape[dim] % 2:
        raise ValueError(f"a gated pair needs an even length along axis {dim} of shape {shape}")
    last = dim in (-1, len(shape) - 1)
    y = _apply(act, x if last else moveaxis(x, dim, -1), bias, gated=True)
    return y if last else moveaxis(y, -1, dim)


def dropout(x: Any, p: float = 0.5, training: bool = True, *, key: Any = None) -> Any:
    """Set elements to 0 with probability ``p`` and divide the others by ``1 - p``.

    Parameters
    ----------
    x : array
        Of floating point.
    p : float
        From 0 to 1.
    training : bool
        Whether to do so: else the result is ``x``.
    key : int or (4,) array of uint32
        Which elements: the same key gives the same ones on every device and in every run. Take
        another for each call: a whole number, or the state of a stream that
        `gpugrad.kernels.philox.stream` makes, which may live on the device.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.nn import dropout
    >>> dropout(np.ones(6), key=3)
    array([2., 0., 2., 2., 0., 2.])
    """
    if not 0 <= p <= 1:
        raise ValueError(f"dropout: p is a probability, got {p}")
    if not training or p == 0:
        return x
    if key is None:
        raise TypeError("dropout: give a key=, a whole number or a stream's state, for each call")
    if p == 1:
        return x * 0
    if isinstance(key, int | np.integer):
        key = to_device(stream(int(key)), device_under(x))
        key = Array(key) if type(x) in BOX_TYPES else key
    return dropout_p(x, key, rate=float(p))
