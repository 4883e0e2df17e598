"""Convolutions, with PyTorch's names and arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from gpugrad.core.abstract import shape_dtype
from gpugrad.kernels.conv import Geometry
from gpugrad.kernels.many import FLOATS
from gpugrad.nn.lengths import count, lengths
from gpugrad.ops.cast import cast
from gpugrad.ops.conv import conv_bias_p, conv_input_p, conv_p
from gpugrad.ops.shape import expand_dims, squeeze

Lengths = int | Sequence[int]
Padding = Lengths | Literal["same", "valid"]


def conv1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Lengths = 1,
    padding: Padding = 0,
    dilation: Lengths = 1,
    groups: int = 1,
) -> Any:
    """Convolution over sequences.

    Parameters
    ----------
    input : array
        Shape (N, C, L), or (C, L) for one sample.
    weight : array
        Shape (O, C / groups, K).
    bias : array, optional
        Shape (O,).
    stride, padding, dilation, groups
        As in `conv2d`, with one number in place of two.

    Returns
    -------
    array
        Shape (N, O, L'), or (O, L').

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.nn import conv1d
    >>> conv1d(np.arange(5.0)[None], np.array([[[1.0, 0.0, -1.0]]]))
    array([[-2., -2., -2.]])
    """
    return _conv(1, "conv1d", input, weight, bias, stride, padding, dilation, groups)


def conv2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Lengths = 1,
    padding: Padding = 0,
    dilation: Lengths = 1,
    groups: int = 1,
) -> Any:
    """Convolution over images, in the sense of neural networks: the kernel is not turned round.

    Parameters
    ----------
    input : array
        Shape (N, C, H, W), or (C, H, W) for one sample.
    weight : array
        Shape (O, C / groups, KH, KW).
    bias : array, optional
        Shape (O,).
    stride : int or (int, int)
        Steps between outputs.
    padding : int, (int, int), "same" or "valid"
        Zeros on both sides of each axis. "valid" is none; "same" is as many as give the output
        the input's size, for a stride of 1, one more after than before where they are odd.
    dilation : int or (int, int)
        Steps between the kernel's elements.
    groups : int
        Into how many parts the channels are divided; output channels see those of their part only.

    Returns
    -------
    array
        Shape (N, O, H', W'), or (O, H', W'); H' is
        ``(H + 2 * padding - dilation * (KH - 1) - 1) // stride + 1``.

    Raises
    ------
    ValueError
        For shapes that do not go together, and a kernel larger than the padded image.
    TypeError
        For arrays that are no real floating-point numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.nn import conv2d
    >>> x, w = np.arange(16.0).reshape(1, 1, 4, 4), np.ones((1, 1, 2, 2))
    >>> conv2d(x, w, stride=2)[0, 0]
    array([[10., 18.],
           [42., 50.]])
    >>> conv2d(x, w, padding="same").shape
    (1, 1, 4, 4)
    """
    return _conv(2, "conv2d", input, weight, bias, stride, padding, dilation, groups)


def conv_transpose1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Lengths = 1,
    padding: Lengths = 0,
    output_padding: Lengths = 0,
    groups: int = 1,
    dilation: Lengths = 1,
) -> Any:
    """Transposed convolution over sequences.

    Parameters
    ----------
    input : array
        Shape (N, C, L), or (C, L) for one sample.
    weight : array
        Shape (C, O / groups, K).
    bias : array, optional
        Shape (O,).
    stride, padding, output_padding, groups, dilation
        As in `conv_transpose2d`, with one number in place of two.

    Returns
    -------
    array
        Shape (N, O, L'), or (O, L').

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.nn import conv_transpose1d
    >>> conv_transpose1d(np.array([[1.0, 2.0]]), np.array([[[1.0, 10.0, 100.0]]]), stride=2)
    array([[  1.,  10., 102.,  20., 200.]])
    """
    return _transposed(
        1, "conv_transpose1d", input, weight, bias, stride, padding, output_padding, groups,
        dilation,
    )  # fmt: skip


def conv_transpose2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Lengths = 1,
    padding: Lengths = 0,
    output_padding: Lengths = 0,
    groups: int = 1,
    dilation: Lengths = 1,
) -> Any:
    """Transposed convolution over images: `conv2d`'s gradient with respect to its input.

    Parameters
    ----------
    input : array
        Shape (N, C, H, W), or (C, H, W) for one sample.
    weight : array
        Shape (C, O / groups, KH, KW).
    bias : array, optional
        Shape (O,).
    stride, padding, dilation : int or (int, int)
        Those of the convolution that this is the transpose of.
    output_padding : int or (int, int)
        Rows and columns more at the end: of the sizes that the convolution maps to this input's.
    groups : int
        Into how many parts the channels are divided.

    Returns
    -------
    array
        Shape (N, O, H', W'), or (O, H', W'); H' is ``(H - 1) * stride - 2 * padding
        + dilation * (KH - 1) + output_padding + 1``.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.nn import conv_transpose2d
    >>> conv_transpose2d(np.ones((1, 1, 2, 2)), np.ones((1, 1, 2, 2)))[0, 0]
    array([[1., 2., 1.],
           [2., 4., 2.],
           [1., 2., 1.]])
    """
    return _transposed(
        2, "conv_transpose2d", input, weight, bias, stride, padding, output_padding, groups,
        dilation,
    )  # fmt: skip


def _conv(
    axes: int, name: str, x: Any, w: Any, bias: Any, stride: Any, padding: Any, dilation: Any,
    groups: Any,
) -> Any:  # fmt: skip
    x, w, bias, lone = _operands(axes, name, x, w, bias)
    groups = count(groups, f"{name}: groups")
    if x.shape[1] != w.shape[1] * groups or w.shape[0] % groups:
        raise ValueError(
            f"{name}: input with {x.shape[1]} channels and weight of shape {_seen(w, axes)} in "
            f"{groups} groups: weight is (O, C / groups, ...) with O a multiple of the groups"
        )
    _check_bias(name, bias, w.shape[0])
    stride = lengths(axes, name, "stride", stride, 1)
    dilation = lengths(axes, name, "dilation", dilation, 1)
    if isinstance(padding, str):
        sides = _named(axes, name, padding, w.shape[2:], stride, dilation)
    else:
        sides = tuple((p, p) for p in lengths(axes, name, "padding", padding, 0))
    how = Geometry(stride, sides, dilation, groups)
    if min(how.outputs(x.shape[2:], w.shape[2:])) < 1:
        raise ValueError(
            f"{name}: a kernel of {_seen(w, axes)[2:]} at dilation {dilation[-axes:]} is larger "
            f"than the image of {_seen(x, axes)[2:]} with padding {sides[-axes:]}"
        )
    y = conv_p(x, w, how=how) if bias is None else conv_bias_p(x, w, bias, how=how)
    return _result(axes, y, lone)


def _transposed(
    axes: int, name: str, x: Any, w: Any, bias: Any, stride: Any, padding: Any, more: Any,
    groups: Any, dilation: Any,
) -> Any:  # fmt: skip
    x, w, bias, lone = _operands(axes, name, x, w, bias)
    groups = count(groups, f"{name}: groups")
    if x.shape[1] != w.shape[0] or w.shape[0] % groups:
        raise ValueError(
            f"{name}: input with {x.shape[1]} channels and weight of shape {_seen(w, axes)} in "
            f"{groups} groups: weight is (C, O / groups, ...) with C a multiple of the groups"
        )
    _check_bias(name, bias, w.shape[1] * groups)
    stride = lengths(axes, name, "stride", stride, 1)
    dilation = lengths(axes, name, "dilation", dilation, 1)
    pads = lengths(axes, name, "padding", padding, 0)
    more = lengths(axes, name, "output_padding", more, 0)
    if any(m and m >= max(s, d) for m, s, d in zip(more, stride, dilation, strict=True)):
        raise ValueError(
            f"{name}: output_padding {more[-axes:]} must be less than the stride {stride[-axes:]} "
            f"or the dilation {dilation[-axes:]}"
        )
    size = tuple(
        (n - 1) * s - 2 * p + d * (k - 1) + m + 1
        for n, k, s, p, d, m in zip(
            x.shape[2:], w.shape[2:], stride, pads, dilation, more, strict=True
        )
    )
    if min(size) < 1:
        raise ValueError(f"{name}: the result would be of size {size[-axes:]}")
    sides = tuple((p, p - m) for p, m in zip(pads, more, strict=True))
    y = conv_input_p(x, w, size=size, how=Geometry(stride, sides, dilation, groups))
    return _result(axes, y if bias is None else y + expand_dims(bias, (1, 2)), lone)


def _operands(axes: int, name: str, x: Any, w: Any, bias: Any) -> tuple[Any, Any, Any, bool]:
    """The arrays in one dtype, as images and with samples; and whether there was but one."""
    likes = [shape_dtype(v) for v in (x, w) if v is not None]
    if likes[0].ndim not in (axes + 1, axes + 2) or likes[1].ndim != axes + 2:
        raise ValueError(
            f"{name}: input is (N, C, ...) or (C, ...) and weight has {axes + 2} axes, got shapes "
            f"{likes[0].shape} and {likes[1].shape}"
        )
    operands = [x, w] if bias is None else [x, w, bias]
    dtypes = [shape_dtype(v).dtype for v in operands]
    dtype = dtypes[0] if len(set(dtypes)) == 1 else np.result_type(*dtypes)
    if dtype.name not in FLOATS:
        raise TypeError(f"{name}: arrays are of real floating-point numbers, got {dtype}")
    operands = [cast(v, dtype) for v in operands]
    lone = likes[0].ndim == axes + 1
    if lone:
        operands[0] = expand_dims(operands[0], 0)
    if axes == 1:
        operands[:2] = [expand_dims(v, 2) for v in operands[:2]]
    return operands[0], operands[1], operands[2] if len(operands) == 3 else None, lone


def _result(axes: int, y: Any, lone: bool) -> Any:
    gone = ((0,) if lone else ()) + ((2,) if axes == 1 else ())
    return squeeze(y, gone) if gone else y


def _seen(value: Any, axes: int) -> tuple[int, ...]:
    """The shape as the user gave it."""
    shape: tuple[int, ...] = value.shape
    return shape[:2] + shape[-axes:]


def _named(
    axes: int, name: str, padding: str, kernel: Any, stride: Any, dilation: Any
) -> tuple[tuple[int, int], ...]:
    if padding == "valid":
        return ((0, 0), (0, 0))
    if padding != "same":
        raise ValueError(f"{name}: padding={padding!r} is neither 'same', 'valid' nor numbers")
    if max(stride) > 1:
        raise ValueError(f"{name}: padding='same' is for a stride of 1, got {stride[-axes:]}")
    total = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    return tuple((t // 2, t - t // 2) for t in total)


def _check_bias(name: str, bias: Any, channels: int) -> None:
    if bias is not None and bias.shape != (channels,):
        raise ValueError(
            f"{name}: bias has one number for each of the {channels} output channels, got shape "
            f"{bias.shape}"
        )
