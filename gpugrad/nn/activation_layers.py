"""The activation functions, and dropout, as modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import numpy as np

from gpugrad import random
from gpugrad.array import Array
from gpugrad.core.under import device_under
from gpugrad.device import Device
from gpugrad.nn import activations
from gpugrad.nn import plain_activations as plain
from gpugrad.nn.module import Module, parameter
from gpugrad.nn.softmax import log_softmax, softmax


class _Activation(Module):
    """A function of the input and of settings, which are attributes."""

    _function: ClassVar[Callable[..., Any]]
    _settings: ClassVar[tuple[str, ...]] = ()

    def forward(self, x: Any) -> Any:
        return type(self)._function(x, *[getattr(self, name) for name in self._settings])

    def extra_repr(self) -> str:
        return ", ".join([f"{name}={getattr(self, name)!r}" for name in self._settings])


class ReLU(_Activation):
    """`relu`."""

    _function = staticmethod(activations.relu)


class ReLU6(_Activation):
    """`relu6`."""

    _function = staticmethod(plain.relu6)


class LeakyReLU(_Activation):
    """`leaky_relu`."""

    _function = staticmethod(activations.leaky_relu)
    _settings = ("negative_slope",)

    def __init__(self, negative_slope: float = 0.01) -> None:
        super().__init__()
        self.negative_slope = negative_slope


class PReLU(Module):
    """`prelu` with slopes that are trained.

    Parameters
    ----------
    num_parameters : int
        1, or a slope for each of so many channels.
    init : float
        What they start at.
    device, dtype
        Of the slopes.
    """

    def __init__(
        self,
        num_parameters: int = 1,
        init: float = 0.25,
        device: str | Device | None = None,
        dtype: Any = "float32",
    ) -> None:
        super().__init__()
        self.num_parameters = num_parameters
        self.init = init
        self.weight = parameter(np.full(num_parameters, init), dtype, device=device)

    def forward(self, x: Any) -> Any:
        return plain.prelu(x, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class RReLU(Module):
    """`rrelu`, which draws slopes in training mode.

    Parameters
    ----------
    lower, upper : float
        The bounds.
    generator : gpugrad.random.Generator, optional
        What draws the slopes; the default generator if none is given.
    """

    def __init__(
        self,
        lower: float = 1 / 8,
        upper: float = 1 / 3,
        *,
        generator: random.Generator | None = None,
    ) -> None:
        super().__init__()
        self.lower = lower
        self.upper = upper
        self.generator = generator

    def forward(self, x: Any) -> Any:
        return plain.rrelu(x, self.lower, self.upper, self.training, generator=self.generator)

    def extra_repr(self) -> str:
        return f"lower={self.lower}, upper={self.upper}"


class ELU(_Activation):
    """`elu`."""

    _function: ClassVar[Callable[..., Any]] = staticmethod(activations.elu)
    _settings = ("alpha",)

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self.alpha = alpha


class CELU(ELU):
    """`celu`."""

    _function = staticmethod(plain.celu)


class SELU(_Activation):
    """`selu`."""

    _function = staticmethod(activations.selu)


class GELU(_Activation):
    """`gelu`."""

    _function = staticmethod(activations.gelu)
    _settings = ("approximate",)

    def __init__(self, approximate: Literal["none", "tanh"] = "none") -> None:
        super().__init__()
        self.approximate = approximate


class SiLU(_Activation):
    """`silu`."""

    _function = staticmethod(activations.silu)


class Mish(_Activation):
    """`mish`."""

    _function = staticmethod(activations.mish)


class Sigmoid(_Activation):
    """`sigmoid`."""

    _function = staticmethod(activations.sigmoid)


class LogSigmoid(_Activation):
    """`logsigmoid`."""

    _function = staticmethod(plain.logsigmoid)


class Hardsigmoid(_Activation):
    """`hardsigmoid`."""

    _function = staticmethod(plain.hardsigmoid)


class Hardswish(_Activation):
    """`hardswish`."""

    _function = staticmethod(activations.hardswish)


class Tanh(_Activation):
    """`tanh`."""

    _function = staticmethod(activations.tanh)


class Hardtanh(_Activation):
    """`hardtanh`."""

    _function = staticmethod(plain.hardtanh)
    _settings = ("min_val", "max_val")

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0) -> None:
        super().__init__()
        self.min_val = min_val
        self.max_val = max_val


class Tanhshrink(_Activation):
    """`tanhshrink`."""

    _function = staticmethod(plain.tanhshrink)


class Softsign(_Activation):
    """`softsign`."""

    _function = staticmethod(plain.softsign)


class Softplus(_Activation):
    """`softplus`."""

    _function = staticmethod(activations.softplus)
    _settings = ("beta", "threshold")

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta = beta
        self.threshold = threshold


class Hardshrink(_Activation):
    """`hardshrink`."""

    _function = staticmethod(plain.hardshrink)
    _settings = ("lambd",)

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd


class Softshrink(Hardshrink):
    """`softshrink`."""

    _function = staticmethod(plain.softshrink)


class Threshold(_Activation):
    """`threshold`."""

    _function = staticmethod(plain.threshold)
    _settings = ("threshold", "value")

    def __init__(self, threshold: float, value: float) -> None:
        super().__init__()
        self.threshold = threshold
        self.value = value


class Softmax(_Activation):
    """`softmax` along ``dim``."""

    _function: ClassVar[Callable[..., Any]] = staticmethod(softmax)
    _settings = ("dim",)

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim


class Softmax2d(Module):
    """`softmax` over the channels of images (..., C, H, W)."""

    def forward(self, x: Any) -> Any:
        if x.ndim not in (3, 4):
            raise ValueError(f"Softmax2d: images are (N, C, H, W) or (C, H, W), got {x.shape}")
        return softmax(x, -3)


class Softmin(Softmax):
    """`softmin` along ``dim``."""

    _function = staticmethod(plain.softmin)


class LogSoftmax(Softmax):
    """`log_softmax` along ``dim``."""

    _function = staticmethod(log_softmax)


class GLU(Softmax):
    """`glu`: half as long along ``dim``."""

    _function = staticmethod(activations.glu)


class SwiGLU(Softmax):
    """`swiglu`: half as long along ``dim``."""

    _function = staticmethod(activations.swiglu)


class Dropout(Module):
    """`dropout` while training, nothing in evaluation mode.

    Parameters
    ----------
    p : float
        The part of the elements that become 0; the others grow by ``1 / (1 - p)``.
    generator : gpugrad.random.Generator, optional
        What draws the masks; the default generator if none is given.
    """

    def __init__(self, p: float = 0.5, *, generator: random.Generator | None = None) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"Dropout: p is between 0 and 1, got {p}")
        self.p = p
        self.generator = generator

    def forward(self, x: Any) -> Any:
        if not self.training or self.p == 0:
            return x
        draw = self.generator or random.default_generator
        state = draw.stream(device_under(x))
        return activations.dropout(x, self.p, key=Array(state) if isinstance(x, Array) else state)

    def extra_repr(self) -> str:
        return f"p={self.p}"
