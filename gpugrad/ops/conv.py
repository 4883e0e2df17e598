"""Convolution over images, and its two gradients, which are convolutions again.

The three operations are one form, linear in x, in w and in g: the sum of the products
``g[n, o, v] * w[o, c, k] * x[n, c, stride * v + dilation * k - padding]``. Each is its derivative
by what it lacks, so their rules name each other and end at every order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpugrad.core.abstract import ShapeDtype
from gpugrad.core.primitive import LINEAR, Primitive
from gpugrad.kernels import conv
from gpugrad.kernels.conv import Geometry
from gpugrad.ops.batching import lead
from gpugrad.ops.broadcast import broadcast_to, sum_p
from gpugrad.ops.shape import expand_dims, moveaxis, reshape_p


def _channels(value: Any) -> Any:
    """A batch's axis joined with the channels: (B, N, C, H, W) as (N, B * C, H, W)."""
    b, n, c, *rest = value.shape
    return reshape_p(moveaxis(value, 0, 1), shape=(n, b * c, *rest))


def _examples(value: Any, size: int) -> Any:
    """The other way round."""
    n, c, *rest = value.shape
    return moveaxis(reshape_p(value, shape=(n, size, c // size, *rest)), 1, 0)


def _joined(value: Any) -> Any:
    """The first two axes as one."""
    return reshape_p(value, shape=(value.shape[0] * value.shape[1], *value.shape[2:]))


def _apart(value: Any, size: int) -> Any:
    return reshape_p(value, shape=(size, value.shape[0] // size, *value.shape[1:]))


def _image_batch(
    primitive: Primitive, size: int, batched: Sequence[bool], values: Any, params: Any
) -> Any:
    """Images and weights: more samples where the weights are shared, else more groups."""
    x, w = values
    if not batched[1]:
        return _apart(primitive(_joined(x), w, **params), size)
    params = {**params, "how": _more(params["how"], size)}
    y = primitive(_channels(lead(x, size, batched[0])), _joined(w), **params)
    return _examples(y, size)


def _weight_batch(
    primitive: Primitive, size: int, batched: Sequence[bool], values: Any, params: Any
) -> Any:
    full = [_channels(lead(v, size, mine)) for v, mine in zip(values, batched, strict=True)]
    return _apart(primitive(*full, **{**params, "how": _more(params["how"], size)}), size)


def _more(how: Geometry, size: int) -> Geometry:
    return how._replace(groups=how.groups * size)


def _bias_batch(
    primitive: Primitive, size: int, batched: Sequence[bool], values: Any, params: Any
) -> Any:
    *both, bias = values
    bias = expand_dims(bias, (-1, -2))
    bias = expand_dims(bias, 1) if batched[2] else bias
    if any(batched[:2]):
        return _image_batch(conv_p, size, batched[:2], both, params) + bias
    return conv_p(*both, **params) + bias


def _shape(x: ShapeDtype, w: ShapeDtype, bias: Any = None, *, how: Geometry) -> ShapeDtype:
    out = how.outputs(x.shape[2:], w.shape[2:])
    return ShapeDtype((x.shape[0], w.shape[0], *out), x.dtype)


def _input_shape(
    g: ShapeDtype, w: ShapeDtype, *, size: tuple[int, int], how: Geometry
) -> ShapeDtype:
    return ShapeDtype((g.shape[0], w.shape[1] * how.groups, *size), g.dtype)


def _weight_shape(
    g: ShapeDtype, x: ShapeDtype, *, kernel: tuple[int, int], how: Geometry
) -> ShapeDtype:
    return ShapeDtype((g.shape[1], x.shape[1] // how.groups, *kernel), g.dtype)


def _to_input(g: Any, w: Any, x_like: ShapeDtype, how: Geometry) -> Any:
    return conv_input_p(g, w, size=x_like.shape[2:], how=how)


def _to_weight(g: Any, x: Any, w_like: ShapeDtype, how: Geometry) -> Any:
    return conv_weight_p(g, x, kernel=w_like.shape[2:], how=how)


def _to_bias(g: Any) -> Any:
    # First over images, whose elements lie together, then over samples.
    n, c, *_ = g.shape
    images = sum_p(reshape_p(g, shape=(n, c, -1)) if g.size else g, axis=(2,), keepdims=False)
    return sum_p(images, axis=(0,), keepdims=False)


conv_p: Primitive = Primitive(
    "conv",
    lambda xp, x, w, *, how: conv.forward(x, w, None, how),
    "x w",
    shape=_shape,
    vjp=(_to_input, _to_weight),
    jvp=(LINEAR, LINEAR),
    batch=_image_batch,
)
"""(N, C, H, W) and (O, C / groups, KH, KW) to (N, O, OH, OW)."""

conv_bias_p = Primitive(
    "conv_bias",
    lambda xp, x, w, bias, *, how: conv.forward(x, w, bias, how),
    "x w bias",
    shape=_shape,
    vjp=(_to_input, _to_weight, _to_bias),
    jvp=(
        lambda t, w, how: conv_p(t, w, how=how),
        lambda t, x, how: conv_p(x, t, how=how),
        lambda t, y_like: broadcast_to(expand_dims(t, (1, 2)), y_like.shape),
    ),
    batch=_bias_batch,
)
"""The same, plus (O,)."""

conv_input_p: Primitive = Primitive(
    "conv_input",
    lambda xp, g, w, *, size, how: conv.input_gradient(g, w, size, how),
    "g w",
    shape=_input_shape,
    vjp=(
        lambda u, w, how: conv_p(u, w, how=how),
        lambda u, g, w_like, how: _to_weight(g, u, w_like, how),
    ),
    jvp=(LINEAR, LINEAR),
    batch=_image_batch,
)
"""The gradient of `conv_p` by x: the transposed convolution."""

conv_weight_p: Primitive = Primitive(
    "conv_weight",
    lambda xp, g, x, *, kernel, how: conv.weight_gradient(g, x, kernel, how),
    "g x",
    shape=_weight_shape,
    vjp=(
        lambda u, x, how: conv_p(x, u, how=how),
        lambda u, g, x_like, how: _to_input(g, u, x_like, how),
    ),
    jvp=(LINEAR, LINEAR),
    batch=_weight_batch,
)
"""The gradient of `conv_p` by w."""
