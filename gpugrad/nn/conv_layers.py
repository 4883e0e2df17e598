"""The convolutions as modules."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import gpugrad.numpy as gnp
from gpugrad import random
from gpugrad.device import Device
from gpugrad.nn import conv
from gpugrad.nn.lengths import lengths
from gpugrad.nn.module import Module, parameter

_BEYOND = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}
"""What is beyond the edges, where it is not zeros: PyTorch's words and NumPy's."""

__all__ = ["Conv1d", "Conv2d", "ConvTranspose1d", "ConvTranspose2d"]


class _Conv(Module):
    """What convolutions share: their settings, and weights that start as PyTorch's do.

    Weight and bias start uniform between ``±1/sqrt(n)`` for ``n`` weights an output.
    """

    _axes: int
    _transposed = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...],
        padding: int | tuple[int, ...] | str,
        dilation: int | tuple[int, ...],
        groups: int,
        bias: bool,
        device: str | Device | None,
        dtype: Any,
        generator: random.Generator | None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                f"{name}: {in_channels} and {out_channels} channels are no multiples of "
                f"{groups} groups"
            )
        if isinstance(kernel_size, int):
            kernel_size = (kernel_size,) * self._axes
        kernel = tuple(kernel_size)
        if len(kernel) != self._axes:
            raise ValueError(f"{name}: kernel_size is one number or {self._axes}, got {kernel}")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = kernel
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.groups = groups
        outer, inner = (out_channels, in_channels)[:: -1 if self._transposed else 1]
        draw = random.default_generator if generator is None else generator
        limit = 1 / math.sqrt(inner // groups * math.prod(kernel))

        def start(*shape: int) -> Any:
            return parameter(draw.uniform(-limit, limit, shape, dtype, device=device))

        self.weight = start(outer, inner // groups, *kernel)
        self.bias = start(out_channels) if bias else None

    def extra_repr(self) -> str:
        words = [f"{self.in_channels}", f"{self.out_channels}", f"kernel_size={self.kernel_size}"]
        for name, usual in [("stride", 1), ("padding", 0), ("dilation", 1), ("groups", 1)]:
            value = getattr(self, name)
            words += [f"{name}={value}"] if value != usual else []
        return ", ".join(words if self.bias is not None else [*words, "bias=False"])


class _Straight(_Conv):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...] = 1,
        padding: int | tuple[int, ...] | str = 0,
        dilation: int | tuple[int, ...] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: Literal["zeros", "reflect", "replicate", "circular"] = "zeros",
        device: str | Device | None = None,
        dtype: Any = "float32",
        *,
        generator: random.Generator | None = None,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias,
            device, dtype, generator,
        )  # fmt: skip
        if padding_mode not in ("zeros", *_BEYOND):
            raise ValueError(
                f"{type(self).__name__}: padding_mode={padding_mode!r} is none of 'zeros', "
                "'reflect', 'replicate' and 'circular'"
            )
        self.padding_mode = padding_mode

    def _settings(self, x: Any) -> tuple[Any, ...]:
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            x, padding = self._padded(x), 0
        return x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups

    def _padded(self, x: Any) -> Any:
        def each(value: Any) -> tuple[int, ...]:
            return (value,) * self._axes if isinstance(value, int) else tuple(value)

        if self.padding == "same":
            more = [d * (k - 1) for d, k in zip(each(self.dilation), self.kernel_size, strict=True)]
            width = [(n // 2, n - n // 2) for n in more]
        else:
            width = [(n, n) for n in each(0 if self.padding == "valid" else self.padding)]
        ahead = [(0, 0)] * (x.ndim - self._axes)
        return gnp.pad(x, [*ahead, *width], mode=_BEYOND[self.padding_mode])

    def extra_repr(self) -> str:
        mode = "" if self.padding_mode == "zeros" else f", padding_mode={self.padding_mode!r}"
        return super().extra_repr() + mode


class Conv1d(_Straight):
    """`conv1d` with weights of its own: (N, in_channels, L) to (N, out_channels, L').

    Parameters
    ----------
    in_channels, out_channels : int
        How many there are.
    kernel_size, stride, padding, dilation, groups
        As for `conv1d`.
    bias : bool
        Whether it adds one.
    padding_mode : {"zeros", "reflect", "replicate", "circular"}
        What the padding consists of.
    device, dtype
        Of the parameters.
    generator : gpugrad.random.Generator, optional
        What draws them.
    """

    _axes = 1

    def forward(self, x: Any) -> Any:
        return conv.conv1d(*self._settings(x))


class Conv2d(_Straight):
    """`conv2d` with weights of its own: (N, in_channels, H, W) to (N, out_channels, H', W').

    The parameters are those of `Conv1d`, with one number or two where lengths are meant.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad import nn
    >>> layer = nn.Conv2d(3, 8, 3, padding=1)
    >>> layer
    Conv2d(3, 8, kernel_size=(3, 3), padding=1, parameters=224)
    >>> layer(np.ones((2, 3, 6, 5), "float32")).shape
    (2, 8, 6, 5)
    """

    _axes = 2

    def forward(self, x: Any) -> Any:
        return conv.conv2d(*self._settings(x))


class _Transposed(_Conv):
    _transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...] = 1,
        padding: int | tuple[int, ...] = 0,
        output_padding: int | tuple[int, ...] = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: int | tuple[int, ...] = 1,
        *,
        device: str | Device | None = None,
        dtype: Any = "float32",
        generator: random.Generator | None = None,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias,
            device, dtype, generator,
        )  # fmt: skip
        self.output_padding = output_padding

    def _settings(self, x: Any, output_size: Sequence[int] | None) -> tuple[Any, ...]:
        more = self.output_padding if output_size is None else self._more(x, output_size)
        return (
            x, self.weight, self.bias, self.stride, self.padding, more, self.groups, self.dilation,
        )  # fmt: skip

    def _more(self, x: Any, output_size: Sequence[int]) -> tuple[int, ...]:
        """The output padding that gives this size."""
        name, axes = type(self).__name__, self._axes
        size, shape = tuple(output_size)[-axes:], x.shape[-axes:]
        stride = lengths(axes, name, "stride", self.stride, 1)[-axes:]
        padding = lengths(axes, name, "padding", self.padding, 0)[-axes:]
        dilation = lengths(axes, name, "dilation", self.dilation, 1)[-axes:]
        each = zip(shape, self.kernel_size, stride, padding, dilation, strict=True)
        least = [(n - 1) * s - 2 * p + d * (k - 1) + 1 for n, k, s, p, d in each]
        more = tuple([n - m for n, m in zip(size, least, strict=False)])
        if len(size) != axes or not all(0 <= m < s for m, s in zip(more, stride, strict=True)):
            most = [m + s - 1 for m, s in zip(least, stride, strict=True)]
            raise ValueError(
                f"{name}: output_size={tuple(output_size)} for an input of shape {x.shape}; its "
                f"last {axes} are from {least} to {most}"
            )
        return more


class ConvTranspose1d(_Transposed):
    """`conv_transpose1d` with weights of its own; the parameters are `Conv1d`'s.

    ``output_padding`` lengthens the output at its end. ``output_size``, given with the input, says
    how long the output is, of the lengths that the convolution maps to the input's.
    """

    _axes = 1

    def forward(self, x: Any, output_size: Sequence[int] | None = None) -> Any:
        return conv.conv_transpose1d(*self._settings(x, output_size))


class ConvTranspose2d(_Transposed):
    """`conv_transpose2d` with weights of its own; the parameters are `ConvTranspose1d`'s."""

    _axes = 2

    def forward(self, x: Any, output_size: Sequence[int] | None = None) -> Any:
        return conv.conv_transpose2d(*self._settings(x, output_size))
