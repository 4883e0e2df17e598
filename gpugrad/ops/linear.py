"""The affine map of a fully connected layer as one operation: ``x @ weight.T + bias``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpugrad.core.abstract import ShapeDtype
from gpugrad.core.primitive import Primitive
from gpugrad.ops.batching import lead
from gpugrad.ops.broadcast import broadcast_to
from gpugrad.ops.matmul import product
from gpugrad.ops.shape import expand_dims


def _forward(xp: Any, x: Any, weight: Any, bias: Any) -> Any:
    if bias.shape != weight.shape[:1] or x.shape[1:] != weight.shape[1:]:
        raise ValueError(
            f"shapes x {x.shape}, weight {weight.shape} and bias {bias.shape} do not go together: "
            "x is (samples, inputs), weight (outputs, inputs), bias (outputs,)"
        )
    y = product(x, weight.T)
    y += bias
    return y


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
        lambda g, weight: product(g, weight),
        lambda g, x: product(g.T, x),
        lambda g: g.sum(0),
    ),
    joint_jvp=_jvp,
    batch=_batch,
)
"""(N, inputs), (outputs, inputs) and (outputs,) of one BLAS dtype to (N, outputs)."""
