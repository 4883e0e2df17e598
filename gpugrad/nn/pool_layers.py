"""Pooling as modules; the settings are the functions'."""

from __future__ import annotations

import inspect
from typing import Any

from gpugrad.nn import pool
from gpugrad.nn.module import Module

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AvgPool1d",
    "AvgPool2d",
    "MaxPool1d",
    "MaxPool2d",
]

Lengths = int | tuple[int, ...]


class _Pool(Module):
    def __init__(self, kernel_size: Lengths, **settings: Any) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.settings = settings

    def extra_repr(self) -> str:
        usual = inspect.signature(type(self)).parameters
        words = [f"{k}={v}" for k, v in self.settings.items() if v != usual[k].default]
        return ", ".join([f"kernel_size={self.kernel_size}", *words])


class _MaxPool(_Pool):
    def __init__(
        self,
        kernel_size: Lengths,
        stride: Lengths | None = None,
        padding: Lengths = 0,
        dilation: Lengths = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__(
            kernel_size,
            stride=stride,
            padding=padding,
            dilation=dilation,
            return_indices=return_indices,
            ceil_mode=ceil_mode,
        )


class MaxPool1d(_MaxPool):
    """`max_pool1d`."""

    def forward(self, x: Any) -> Any:
        return pool.max_pool1d(x, self.kernel_size, **self.settings)


class MaxPool2d(_MaxPool):
    """`max_pool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad import nn
    >>> nn.MaxPool2d(2)(np.arange(16.0).reshape(1, 4, 4))
    array([[[ 5.,  7.],
            [13., 15.]]])
    """

    def forward(self, x: Any) -> Any:
        return pool.max_pool2d(x, self.kernel_size, **self.settings)


class AvgPool1d(_Pool):
    """`avg_pool1d`."""

    def __init__(
        self,
        kernel_size: Lengths,
        stride: Lengths | None = None,
        padding: Lengths = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__(
            kernel_size,
            stride=stride,
            padding=padding,
            ceil_mode=ceil_mode,
            count_include_pad=count_include_pad,
        )

    def forward(self, x: Any) -> Any:
        return pool.avg_pool1d(x, self.kernel_size, **self.settings)


class AvgPool2d(_Pool):
    """`avg_pool2d`."""

    def __init__(
        self,
        kernel_size: Lengths,
        stride: Lengths | None = None,
        padding: Lengths = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__(
            kernel_size,
            stride=stride,
            padding=padding,
            ceil_mode=ceil_mode,
            count_include_pad=count_include_pad,
            divisor_override=divisor_override,
        )

    def forward(self, x: Any) -> Any:
        return pool.avg_pool2d(x, self.kernel_size, **self.settings)


class _Adaptive(Module):
    def __init__(self, output_size: Any) -> None:
        super().__init__()
        self.output_size = output_size

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_Adaptive):
    """`adaptive_avg_pool1d`."""

    def forward(self, x: Any) -> Any:
        return pool.adaptive_avg_pool1d(x, self.output_size)


class AdaptiveAvgPool2d(_Adaptive):
    """`adaptive_avg_pool2d`."""

    def forward(self, x: Any) -> Any:
        return pool.adaptive_avg_pool2d(x, self.output_size)


class _AdaptiveMax(_Adaptive):
    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        super().__init__(output_size)
        self.return_indices = return_indices


class AdaptiveMaxPool1d(_AdaptiveMax):
    """`adaptive_max_pool1d`."""

    def forward(self, x: Any) -> Any:
        return pool.adaptive_max_pool1d(x, self.output_size, self.return_indices)


class AdaptiveMaxPool2d(_AdaptiveMax):
    """`adaptive_max_pool2d`."""

    def forward(self, x: Any) -> Any:
        return pool.adaptive_max_pool2d(x, self.output_size, self.return_indices)
