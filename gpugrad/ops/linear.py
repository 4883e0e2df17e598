"""The affine map of a fully connected layer as one operation: ``x @ weight.T + bias``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gpugrad.core.abstract import ShapeDtype
from gpugrad.core.primitive import Primitive
from gpugrad.ops.batching import lead
from gpugrad.ops.broadcast import broadcast_to
from gpugrad.ops.shape import reshape_p


def _rows(x: Any) -> Any:
    """All axes but the last as one, so that a product over them is one call of the BLAS."""
    shape = x.shape
    return x if len(shape) == 2 else reshape_p(x, shape=(math.prod(shape[:-1]), shape[-1]))


def _like(y: Any, x: Any) -> Any:
    """Rows as many axes again as ``x`` has before the last."""
    shape = x.shape
    return y if len(shape) == 2 else reshape_p(y, shape=(*shape[:-1], y.shape[-1]))


def _forward(xp: Any, x: Any, weight: Any, bias: Any) -> Any:
    given = not isinstance(bias, float)
    matrix = x.ndim == 2
    try:
        y = (x if matrix else _rows(x)).dot(weight.T)
        fits = weight.ndim == 2 and (not given or bias.shape == y.shape[1:])
    except (ValueError, IndexError):
        fits = False
    if not fits:
        raise ValueError(
            f"shapes x {x.shape}, weight {weight.shape} and bias "
            f"{bias.shape if given else None} do not go together: "
            "x is (..., inputs), weight (outputs, inputs), bias (outputs,)"
        )
    if given:
        y += bias
    return y if matrix else _like(y, x)


def _dot(a: Any, b: Any) -> Any:
    """``a @ b``; ``dot`` of matrices costs half as much for small ones but refuses boxes."""
    return a.dot(b) if type(a) is type(b) else a @ b


def _pull_x(g: Any, weight: Any) -> Any:
    return _dot(g, weight) if g.ndim == 2 else _like(_dot(_rows(g), weight), g)


def _pull_weight(g: Any, x: Any) -> Any:
    return _dot(g.T, x) if g.ndim == 2 else _dot(_rows(g).T, _rows(x))


def _pull_bias(g: Any) -> Any:
    return g.sum(0) if g.ndim == 2 else _rows(g).sum(0)


def _jvp(ts: Sequence[Any], x: Any, weight: Any, y_like: ShapeDtype) -> Any:
    tx, tw, tb = ts
    terms = [
        None if tx is None else linear_p(tx, weight, 0.0),
        None if tw is None else linear_p(x, tw, 0.0),
        None if tb is None else broadcast_to(tb, y_like.shape),
    ]
    first, *rest = [t for t in terms if t is not None]
    for t in rest:
        first = first + t
    return first


def _batch(
    primitive: Primitive, size: int, batched: Sequence[bool], values: Any, params: Any
) -> Any:
    """Examples are rows more; weights of each example's own make a stack of products."""
    x, weight, bias = values
    x = lead(x, size, batched[0])
    if not batched[1]:
        y = primitive(x, weight, 0.0 if batched[2] else bias)
        if not batched[2]:
            return y
    else:
        rows = reshape_p(x, shape=(size, math.prod(x.shape[1:-1]), x.shape[-1]))
        y = rows @ weight.mT
        y = reshape_p(y, shape=(*x.shape[:-1], y.shape[-1]))
        if isinstance(bias, float):
            return y
    if batched[2]:
        bias = reshape_p(bias, shape=(size, *(1,) * (len(x.shape) - 2), bias.shape[-1]))
    return y + bias


linear_p: Primitive = Primitive(
    "linear",
    _forward,
    "x weight bias",
    shape=lambda x, weight, bias: ShapeDtype((*x.shape[:-1], weight.shape[0]), x.dtype),
    vjp=(_pull_x, _pull_weight, _pull_bias),
    joint_jvp=_jvp,
    batch=_batch,
)
"""(..., inputs), (outputs, inputs) and (outputs,) of one BLAS dtype; 0.0 for no bias."""
