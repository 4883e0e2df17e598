"""Convolutions against sums of shifted images."""

from __future__ import annotations

from typing import Any

import numpy as np
from op_case import Sample, case
from op_draw import Draw, real

from gpugrad import nn


def windows_sum(
    x: Any, w: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> Any:
    """The convolution of (N, C, H, W) by a sum over the kernel's elements."""
    x = np.pad(x, ((0, 0), (0, 0), *((p, p) for p in padding)))
    out = [
        (n - d * (k - 1) - 1) // s + 1
        for n, k, s, d in zip(x.shape[2:], w.shape[2:], stride, dilation)
    ]
    x = x.reshape(len(x), groups, -1, *x.shape[2:])
    w = w.reshape(groups, -1, *w.shape[1:])
    y = np.zeros((len(x), groups, w.shape[1], *out), x.dtype)
    for i in range(w.shape[3]):
        for j in range(w.shape[4]):
            top, left = i * dilation[0], j * dilation[1]
            part = x[..., top :: stride[0], left :: stride[1]][..., : out[0], : out[1]]
            y += np.einsum("ngchw,goc->ngohw", part, w[..., i, j])
    y = y.reshape(len(y), -1, *out)
    return y if bias is None else y + bias[:, None, None]


def spread_sum(x: Any, w: Any, stride: Any, padding: Any, more: Any, dilation: Any) -> Any:
    """The transposed convolution, as a convolution of the image with zeros put in."""
    n, c, *size = x.shape
    wide = np.zeros((n, c, *((k - 1) * s + 1 for k, s in zip(size, stride))), x.dtype)
    wide[:, :, :: stride[0], :: stride[1]] = x
    reach = [d * (k - 1) for d, k in zip(dilation, w.shape[2:])]
    wide = np.pad(wide, ((0, 0), (0, 0), *((r, r + m) for r, m in zip(reach, more))))
    y = windows_sum(wide, w.swapaxes(0, 1)[..., ::-1, ::-1], None, (1, 1), (0, 0), dilation, 1)
    cut = [slice(p, size - p) for p, size in zip(padding, y.shape[2:])]
    return y[(..., *cut)]


def _conv2d(d: Draw) -> Sample:
    groups = d.integer(1, 2)
    kernel = d.integer(1, 2), d.integer(1, 3)
    params = {
        "stride": (d.integer(1, 2), d.integer(1, 3)),
        "padding": (d.integer(0, 2), d.integer(0, 1)),
        "dilation": (d.integer(1, 2), 1),
        "groups": groups,
    }
    size = d.integer(3, 4), d.integer(3, 5)
    x = real((d.integer(1, 2), groups * d.integer(1, 2), *size))
    channels = x(np.random.default_rng(0)).shape[1] // groups
    return [x, real((groups * d.integer(1, 2), channels, *kernel))], params


def _with_bias(d: Draw) -> Sample:
    (x, w), params = _conv2d(d)
    outputs = len(w(np.random.default_rng(0)))
    return [x, w, real((outputs,))], params


case("conv2d", _conv2d, nn.conv2d, lambda x, w, **how: windows_sum(x, w, None, **how))
case("conv2d with a bias", _with_bias, nn.conv2d, windows_sum)
case(
    "conv2d same",
    lambda d: ([real((2, 4, 5)), real((3, 2, 3, 2))], {}),
    lambda x, w: nn.conv2d(x, w, padding="same"),
    lambda x, w: windows_sum(
        np.pad(x, ((0, 0), (1, 1), (0, 1)))[None], w, None, (1, 1), (0, 0), (1, 1), 1
    )[0],
)
case(
    "conv1d",
    lambda d: ([real((2, 2, 7)), real((3, 2, 3)), real((3,))], {"stride": d.integer(1, 2)}),
    lambda x, w, b, stride: nn.conv1d(x, w, b, stride, padding=2, dilation=2),
    lambda x, w, b, stride: windows_sum(
        x[:, :, None], w[:, :, None], b, (1, stride), (0, 2), (1, 2), 1
    )[:, :, 0],
)


def _transposed(d: Draw) -> Sample:
    stride = d.integer(1, 2), d.integer(1, 3)
    params = {
        "stride": stride,
        "padding": (d.integer(0, 1), d.integer(0, 1)),
        "output_padding": (d.integer(0, stride[0] - 1), d.integer(0, stride[1] - 1)),
        "dilation": (d.integer(1, 2), 1),
    }
    return [real((2, 2, 2, 3)), real((2, d.integer(1, 2), 3, 2))], params


case(
    "conv_transpose2d",
    _transposed,
    nn.conv_transpose2d,
    lambda x, w, stride, padding, output_padding, dilation: spread_sum(
        x, w, stride, padding, output_padding, dilation
    ),
)
case(
    "conv_transpose1d",
    lambda d: ([real((2, 4)), real((2, 3, 3)), real((3,))], {"padding": d.integer(0, 2)}),
    lambda x, w, b, padding: nn.conv_transpose1d(x, w, b, 2, padding),
    lambda x, w, b, padding: (
        spread_sum(x[None, :, None], w[:, :, None], (1, 2), (0, padding), (0, 0), (1, 1))[0, :, 0]
        + b[:, None]
    ),
)
