"""Parts of neural networks: plain functions of arrays, on whichever device the arrays are."""

from gpugrad.nn.activations import relu, sigmoid, tanh
from gpugrad.nn.conv import conv1d, conv2d, conv_transpose1d, conv_transpose2d
from gpugrad.nn.init import glorot_uniform, he_normal
from gpugrad.nn.linear import init_linear, linear
from gpugrad.nn.losses import cross_entropy

__all__ = [
    "conv1d",
    "conv2d",
    "conv_transpose1d",
    "conv_transpose2d",
    "cross_entropy",
    "glorot_uniform",
    "he_normal",
    "init_linear",
    "linear",
    "relu",
    "sigmoid",
    "tanh",
]
