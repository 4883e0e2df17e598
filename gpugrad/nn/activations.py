"""Activation functions and dropout, with PyTorch's names and defaults.

Each takes the bias of the layer before it as ``bias=``, and the probability and the key of dropout
after it as ``p=`` and ``key=``: all that is then one pass over memory, and so are the gradients.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict, Unpack

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


class Fused(TypedDict, total=False):
    """What the activations compute in the same pass.

    Parameters
    ----------
    bias
        Added first: of the length of the last axis.
    p, key
        Dropout of the result, as in `dropout`.
    """

    bias: Any
    p: float
    key: Any


def _apply(act: kernels.Activation, x: Any, fused: Fused, gated: bool = False) -> Any:
    like = shape_dtype(x)
    if like.dtype.kind == "c":
        raise TypeError(f"{type(act).__name__.lower()} is for real numbers, got {like.dtype}")
    if not is_inexact(like.dtype):
        x = cast(x, np.dtype(float))
    elif not hasattr(x, "dtype"):
        x = np.asarray(x)
    bias = fused.get("bias")
    if bias is not None and (bias.dtype != x.dtype or bias.shape != x.shape[-1:]):
        x, bias = x + bias, None  # it broadcasts otherwise, or widens
    rate = _rate(fused.get("p", 0.0))
    state = _stream(fused.get("key"), x) if 0 < rate < 1 else None
    y = activate(act, x, bias, rate=rate % 1, state=state, gated=gated)
    return y * 0 if rate == 1 else y


def _plain(x: Any, fused: Fused) -> bool:
    """Whether NumPy's own function is as good: of few elements, or of no real floats."""
    if fused:
        return False
    return getattr(x, "size", 1) < SMALL or x.dtype.kind == "c" or not is_inexact(x.dtype)


def _rate(p: float) -> float:
    if not 0 <= p <= 1:
        raise ValueError(f"dropout: p is a probability, got {p}")
    return float(p)


def _stream(key: Any, x: Any) -> Any:
    """The state of the stream that a key stands for, where ``x`` is."""
    if key is None:
        raise TypeError("dropout: give a key=, a whole number or a stream's state, for each call")
    if isinstance(key, int | np.integer):
        state = to_device(stream(int(key)), device_under(x))
        return Array(state) if type(x) in BOX_TYPES else state
    return key


def relu(input: Any, **fused: Unpack[Fused]) -> Any:
    """``max(x, 0)``, with gradient 0 at 0.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.nn import relu
    >>> relu(np.array([-1.0, 2.0]), bias=np.array([3.0, -3.0]))
    array([2., 0.])
    """
    if _plain(input, fused):
        return elementwise.relu(input)
    return _apply(kernels.Relu(), input, fused)


def tanh(input: Any, **fused: Unpack[Fused]) -> Any:
    """The hyperbolic tangent."""
    return elementwise.tanh(input) if _plain(input, fused) else _apply(kernels.Tanh(), input, fused)


def sigmoid(input: Any, **fused: Unpack[Fused]) -> Any:
    """``1 / (1 + exp(-x))``, written with tanh, which overflows for no ``x``."""
    dtype = getattr(input, "dtype", None)
    if _plain(input, fused) and (dtype is None or dtype.kind != "V"):
        return 0.5 * elementwise.tanh(0.5 * input) + 0.5  # of bfloat16 that would be float32
    return _apply(kernels.Sigmoid(), input, fused)


def leaky_relu(input: Any, negative_slope: float = 0.01, **fused: Unpack[Fused]) -> Any:
    """``x``, times ``negative_slope`` where it is negative."""
    if negative_slope < 0:  # the output's sign would not tell the input's
        if "bias" in fused:
            input = input + fused.pop("bias")
        y = elementwise.where(input > 0, input, input * negative_slope)
        return _apply(kernels.Identity(), y, fused) if fused else y
    return _apply(kernels.LeakyRelu(float(negative_slope)), input, fused)


def elu(input: Any, alpha: float = 1.0, **fused: Unpack[Fused]) -> Any:
    """``x``, or ``alpha * (exp(x) - 1)`` where it is negative."""
    return _apply(kernels.Elu(float(alpha)), input, fused)


def selu(input: Any, **fused: Unpack[Fused]) -> Any:
    """Scaled `elu`, which keeps mean 0 and variance 1 (Klambauer et al. 2017)."""
    return _apply(kernels.Selu(), input, fused)


def gelu(input: Any, approximate: Literal["none", "tanh"] = "none", **fused: Unpack[Fused]) -> Any:
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
    return _apply(kernels.Gelu() if approximate == "none" else kernels.GeluTanh(), input, fused)


def silu(input: Any, **fused: Unpack[Fused]) -> Any:
    """``x * sigmoid(x)``, also called swish."""
    return _apply(kernels.Silu(), input, fused)


def mish(input: Any, **fused: Unpack[Fused]) -> Any:
    """``x * tanh(softplus(x))``."""
    return _apply(kernels.Mish(), input, fused)


def hardswish(input: Any, **fused: Unpack[Fused]) -> Any:
    """``x`` times the line from 0 at -3 to 1 at 3."""
    return _apply(kernels.HardSwish(), input, fused)


def softplus(input: Any, beta: float = 1.0, threshold: float = 20.0, **fused: Unpack[Fused]) -> Any:
    """``log(1 + exp(beta * x)) / beta``; ``x`` itself where ``beta * x`` exceeds ``threshold``."""
    return _apply(kernels.Softplus(float(beta), float(threshold)), input, fused)


def glu(input: Any, dim: int = -1, **fused: Unpack[Fused]) -> Any:
    """``a * sigmoid(b)`` of the two halves ``a`` and ``b`` of ``x`` along an axis.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.nn import glu
    >>> glu(np.array([4.0, 0.0]))
    array([2.])
    """
    return _gated(kernels.Sigmoid(), input, dim, fused)


def geglu(input: Any, dim: int = -1, **fused: Unpack[Fused]) -> Any:
    """``a * gelu(b)`` of the two halves ``a`` and ``b`` of ``x`` along an axis."""
    return _gated(kernels.Gelu(), input, dim, fused)


def swiglu(input: Any, dim: int = -1, **fused: Unpack[Fused]) -> Any:
    """``a * silu(b)`` of the two halves ``a`` and ``b`` of ``x`` along an axis."""
    return _gated(kernels.Silu(), input, dim, fused)


def _gated(act: kernels.Activation, x: Any, dim: int, fused: Fused) -> Any:
    shape = shape_dtype(x).shape
    if not shape or shape[dim] % 2:
        raise ValueError(f"a gated pair needs an even length along axis {dim} of shape {shape}")
    last = dim in (-1, len(shape) - 1)
    y = _apply(act, x if last else moveaxis(x, dim, -1), fused, gated=True)
    return y if last else moveaxis(y, -1, dim)


def dropout(input: Any, p: float = 0.5, training: bool = True, *, key: Any = None) -> Any:
    """Set elements to 0 with probability ``p`` and divide the others by ``1 - p``.

    Parameters
    ----------
    input : array
        Of floating point.
    p : float
        From 0 to 1.
    training : bool
        Whether to do so: else the result is ``input``.
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
    rate = _rate(p)
    if not training or rate == 0:
        return input
    if rate == 1:
        return input * 0
    return dropout_p(input, _stream(key, input), rate=rate)
