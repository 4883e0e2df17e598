"""The affine map of a fully connected layer as one operation: ``x @ weight.T + bias``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpugrad.core.abstract import ShapeDtype
from gpugrad.core.primitive import Primitive
from gpugrad.ops.batching import lead
from gpugrad.ops.broadcast import broadcast_to
from gpugrad.ops.shape import expand_dims


def _forward(xp: Any, x: Any, weight: Any, bias: Any) -> Any:
    try:
        y = x.dot(weight.T)
        fits = bias.shape == y.shape[1:]
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"shapes x {x.shape}, weight {weight.shape} and bias {bias.shape} do not go together: "
            "x is (samples, inputs), weight (outputs, inputs), bias (outputs,)"
        )
    y += bias
    return y


def _dot(a: Any, b: Any) -> Any:
    """``a @ b``; ``dot`` of matrices costs half as much for small ones but refuses boxes."""
    return a.dot(b) if type(a) is type(b) else a @ b


def _jvp(ts: Sequence[Any], x: Any, weight: Any, y_like: ShapeDtype) -> Any:
    tx, tw, tb = ts
    terms = [
        None if tx is None else tx @ weight.T,
        None if tw is None else x @ tw.T,
        None if tb is None else broadcast_to(tb, y_like.shape),
    ]
    first, *rest = [t for t in terms if t is not None]
    for t in rest:
        first = first + t
    return first


def _batch(
    primitive: Primitive, size: int, batched: Sequence[bool], values: Any, params: Any
) -> Any:
    x, weight, bias = values
    y = x @ weight.mT if batched[1] else lead(x, size, batched[0]) @ weight.T
    return y + (expand_dims(bias, 1) if batched[2] else bias)


linear_p = Primitive(
    "linear",
    _forward,
    "x weight bias",
    shape=lambda x, weight, bias: ShapeDtype((x.shape[0], weight.shape[0]), x.dtype),
    vjp=(
        lambda g, weight: _dot(g, weight),
        lambda g, x: _dot(g.T, x),
        lambda g: g.sum(0),
    ),
    joint_jvp=_jvp,
    batch=_batch,
)
"""(N, inputs), (outputs, inputs) and (outputs,) of one BLAS dtype to (N, outputs)."""
