"""Parts of neural networks: plain functions of arrays, on whichever device the arrays are."""

from gpugrad.nn.activations import (
    dropout,
    elu,
    geglu,
    gelu,
    glu,
    hardswish,
    leaky_relu,
    mish,
    relu,
    selu,
    sigmoid,
    silu,
    softplus,
    swiglu,
    tanh,
)
from gpugrad.nn.attention import scaled_dot_product_attention
from gpugrad.nn.containers import Flatten, Lambda, ModuleList, Residual, Sequential
from gpugrad.nn.conv import conv1d, conv2d, conv_transpose1d, conv_transpose2d
from gpugrad.nn.init import glorot_uniform, he_normal
from gpugrad.nn.linear import Linear, init_linear, linear
from gpugrad.nn.losses import cross_entropy
from gpugrad.nn.module import Buffer, Module, parameter
from gpugrad.nn.pool import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    avg_pool1d,
    avg_pool2d,
    max_pool1d,
    max_pool2d,
)

__all__ = [
    "Buffer",
    "Flatten",
    "Lambda",
    "Linear",
    "Module",
    "ModuleList",
    "Residual",
    "Sequential",
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "avg_pool1d",
    "avg_pool2d",
    "conv1d",
    "conv2d",
    "conv_transpose1d",
    "conv_transpose2d",
    "cross_entropy",
    "dropout",
    "elu",
    "geglu",
    "gelu",
    "glorot_uniform",
    "glu",
    "hardswish",
    "he_normal",
    "init_linear",
    "leaky_relu",
    "linear",
    "max_pool1d",
    "max_pool2d",
    "mish",
    "parameter",
    "relu",
    "scaled_dot_product_attention",
    "selu",
    "sigmoid",
    "silu",
    "softplus",
    "swiglu",
    "tanh",
]
