"""Normalisation as modules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import gpugrad.numpy as gnp
from gpugrad.device import Device
from gpugrad.nn import norm
from gpugrad.nn.module import Buffer, Module, parameter

__all__ = ["BatchNorm1d", "BatchNorm2d", "GroupNorm", "LayerNorm", "RMSNorm"]


def _lengths(shape: int | Sequence[int]) -> tuple[int, ...]:
    return (shape,) if isinstance(shape, int) else tuple(shape)


class LayerNorm(Module):
    """`layer_norm` with weight and bias of its own, which start as ones and zeros.

    Parameters
    ----------
    normalized_shape : int or sequence of int
        The lengths of the last axes, which are normalised together.
    eps : float
        Is added to the variance.
    elementwise_affine, bias : bool
        Whether there are a weight and a bias.
    device, dtype
        Of the parameters.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: str | Device | None = None,
        dtype: Any = "float32",
    ) -> None:
        super().__init__()
        self.normalized_shape = _lengths(normalized_shape)
        self.eps = eps
        ones = np.ones(self.normalized_shape)
        both = elementwise_affine and bias
        self.weight = parameter(ones, dtype, device=device) if elementwise_affine else None
        self.bias = parameter(0 * ones, dtype, device=device) if both else None

    def forward(self, x: Any) -> Any:
        return norm.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}"


class RMSNorm(Module):
    """`rms_norm` with a weight of its own, which starts as ones.

    Parameters
    ----------
    normalized_shape : int or sequence of int
        The lengths of the last axes, which are normalised together.
    eps : float, optional
        Is added to the mean square; the dtype's machine epsilon if left out.
    elementwise_affine : bool
        Whether there is a weight.
    device, dtype
        Of the parameters.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: str | Device | None = None,
        dtype: Any = "float32",
    ) -> None:
        super().__init__()
        self.normalized_shape = _lengths(normalized_shape)
        self.eps = eps
        ones = np.ones(self.normalized_shape)
        self.weight = parameter(ones, dtype, device=device) if elementwise_affine else None

    def forward(self, x: Any) -> Any:
        return norm.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}"


class GroupNorm(Module):
    """`group_norm` with weight and bias of its own, which start as ones and zeros.

    Parameters
    ----------
    num_groups, num_channels : int
        Into how many groups of neighbours how many channels are divided.
    eps : float
        Is added to the variance.
    affine, bias : bool
        Whether there are a weight and a bias.
    device, dtype
        Of the parameters.
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: str | Device | None = None,
        dtype: Any = "float32",
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if num_channels % num_groups:
            raise ValueError(
                f"GroupNorm: {num_channels} channels cannot be divided into {num_groups} groups"
            )
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        both = affine and bias
        self.weight = parameter(np.ones(num_channels), dtype, device=device) if affine else None
        self.bias = parameter(np.zeros(num_channels), dtype, device=device) if both else None

    def forward(self, x: Any) -> Any:
        return norm.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}"


class _BatchNorm(Module):
    """`batch_norm` with weight, bias and running moments of its own.

    Parameters
    ----------
    num_features : int
        The number of channels.
    eps : float
        Is added to the variance.
    momentum : float, optional
        How far the running moments follow each batch's; None: they are the mean over all batches.
    affine, bias : bool
        Whether there are a weight and a bias.
    track_running_stats : bool
        Whether there are running moments, for evaluation mode.
    device, dtype
        Of the parameters.
    """

    _ndims: tuple[int, ...]

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: str | Device | None = None,
        dtype: Any = "float32",
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.weight = parameter(np.ones(num_features), dtype, device=device) if affine else None
        both = affine and bias
        self.bias = parameter(np.zeros(num_features), dtype, device=device) if both else None
        self.track_running_stats = track_running_stats
        if track_running_stats:
            self.running_mean = Buffer(gnp.zeros(num_features, dtype, device=device))
            self.running_var = Buffer(gnp.ones(num_features, dtype, device=device))
            self.num_batches_tracked = Buffer(gnp.zeros((), "int64", device=device))

    def forward(self, x: Any) -> Any:
        if x.ndim not in self._ndims or x.shape[1] != self.num_features:
            raise ValueError(
                f"{type(self).__name__}: input has {' or '.join(map(str, self._ndims))} axes and "
                f"{self.num_features} channels along the second, got shape {x.shape}"
            )
        if not self.track_running_stats:
            return norm.batch_norm(x, None, None, self.weight, self.bias, True, 0.0, self.eps)
        momentum = self.momentum
        if self.training:
            count = self.num_batches_tracked
            count.value = count.value + 1
            if momentum is None:
                momentum = 1 / count.value.item()
        return norm.batch_norm(
            x,
            self.running_mean.value,
            self.running_var.value,
            self.weight,
            self.bias,
            self.training,
            momentum or 0.0,
            self.eps,
        )

    def extra_repr(self) -> str:
        return f"{self.num_features}"


class BatchNorm1d(_BatchNorm):
    """`batch_norm` of (N, C) or (N, C, L), with weight, bias and running moments of its own.

    The parameters are `BatchNorm2d`'s.
    """

    _ndims = (2, 3)


class BatchNorm2d(_BatchNorm):
    """`batch_norm` of (N, C, H, W), with weight, bias and running moments of its own.

    Parameters
    ----------
    num_features : int
        The number of channels C.
    eps : float
        Is added to the variance.
    momentum : float, optional
        How far the running moments follow each batch's; None: they are the mean over all batches.
    affine, bias : bool
        Whether there are a weight and a bias.
    track_running_stats : bool
        Whether there are running moments, for evaluation mode.
    device, dtype
        Of the parameters.
    """

    _ndims = (4,)
