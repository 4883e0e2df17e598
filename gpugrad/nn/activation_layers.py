"""The activation functions, and dropout, as modules."""

from __future__ import annotations

from typing import Any, Literal

from gpugrad import random
from gpugrad.array import Array
from gpugrad.core.under import device_under
from gpugrad.nn import activations
from gpugrad.nn.module import Module

__all__ = [
    "ELU",
    "GELU",
    "GLU",
    "SELU",
    "Dropout",
    "Hardswish",
    "LeakyReLU",
    "Mish",
    "ReLU",
    "SiLU",
    "Sigmoid",
    "Softplus",
    "SwiGLU",
    "Tanh",
]


class ReLU(Module):
    """`relu`."""

    def forward(self, x: Any) -> Any:
        return activations.relu(x)


class LeakyReLU(Module):
    """`leaky_relu`."""

    def __init__(self, negative_slope: float = 0.01) -> None:
        super().__init__()
        self.negative_slope = negative_slope

    def forward(self, x: Any) -> Any:
        return activations.leaky_relu(x, self.negative_slope)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}"


class ELU(Module):
    """`elu`."""

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, x: Any) -> Any:
        return activations.elu(x, self.alpha)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}"


class SELU(Module):
    """`selu`."""

    def forward(self, x: Any) -> Any:
        return activations.selu(x)


class GELU(Module):
    """`gelu`."""

    def __init__(self, approximate: Literal["none", "tanh"] = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def forward(self, x: Any) -> Any:
        return activations.gelu(x, self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class SiLU(Module):
    """`silu`."""

    def forward(self, x: Any) -> Any:
        return activations.silu(x)


class Mish(Module):
    """`mish`."""

    def forward(self, x: Any) -> Any:
        return activations.mish(x)


class Hardswish(Module):
    """`hardswish`."""

    def forward(self, x: Any) -> Any:
        return activations.hardswish(x)


class Sigmoid(Module):
    """`sigmoid`."""

    def forward(self, x: Any) -> Any:
        return activations.sigmoid(x)


class Tanh(Module):
    """`tanh`."""

    def forward(self, x: Any) -> Any:
        return activations.tanh(x)


class Softplus(Module):
    """`softplus`."""

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta = beta
        self.threshold = threshold

    def forward(self, x: Any) -> Any:
        return activations.softplus(x, self.beta, self.threshold)

    def extra_repr(self) -> str:
        return f"beta={self.beta}, threshold={self.threshold}"


class GLU(Module):
    """`glu`: half as long along ``dim``."""

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Any) -> Any:
        return activations.glu(x, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class SwiGLU(GLU):
    """`swiglu`: half as long along ``dim``."""

    def forward(self, x: Any) -> Any:
        return activations.swiglu(x, self.dim)


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
