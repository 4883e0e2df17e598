"""The cross-entropy of class scores, one operation: softmax and logarithm never apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpugrad.core.abstract import ShapeDtype, shape_dtype
from gpugrad.core.primitive import LINEAR, Primitive
from gpugrad.ops.batching import lead
from gpugrad.ops.broadcast import sum_p
from gpugrad.ops.cast import cast
from gpugrad.ops.creation import counting
from gpugrad.ops.elementwise import equal, exp
from gpugrad.ops.reductions import logsumexp
from gpugrad.ops.shape import expand_dims, reshape_p


def _forward(xp: Any, logits: Any, labels: Any) -> Any:
    top = logits.max(axis=1)
    y = xp.exp(logits - top[:, None]).sum(axis=1)
    y = xp.log(y, out=y)
    y += top
    y -= logits[xp.arange(len(labels)), labels]
    return y


def _slope(xp: Any, g: Any, logits: Any, labels: Any, y: Any) -> Any:
    rows = xp.arange(len(labels))
    # y is logsumexp - picked: adding the picked score back spares the second reduction.
    p = logits - (y + logits[rows, labels])[:, None]
    p = xp.exp(p, out=p)
    p[rows, labels] -= 1
    p *= g[:, None]
    return p


def _softmax(logits: Any) -> Any:
    return exp(logits - logsumexp(logits, 1, keepdims=True))


def _pull_to_g(u: Any, logits: Any, labels: Any) -> Any:
    classes = counting([logits], shape_dtype(logits).shape[1])
    onehot = cast(equal(expand_dims(labels, 1), classes), u.dtype)
    return sum_p(u * (_softmax(logits) - onehot), axis=(1,), keepdims=False)


def _through_logits(u: Any, g: Any, logits: Any) -> Any:
    """The slope's own derivative by the logits, a symmetric map: g p (u - sum(p u))."""
    p = _softmax(logits)
    return expand_dims(g, 1) * p * (u - sum_p(p * u, axis=(1,), keepdims=True))


def _rows_batch(
    primitive: Primitive, size: int, batched: Sequence[bool], values: Any, params: Any
) -> Any:
    """Samples are independent: a batch of batches is a longer batch."""
    full = [lead(v, size, mine) for v, mine in zip(values, batched, strict=True)]
    flat = [reshape_p(v, shape=(v.shape[0] * v.shape[1], *v.shape[2:])) for v in full]
    y = primitive(*flat, **params)
    return reshape_p(y, shape=(size, y.shape[0] // size if size else 0, *y.shape[1:]))


slope_p = Primitive(
    "cross_entropy_slope",
    _slope,
    "g logits labels y",
    shape=lambda g, logits, labels, y: logits,
    vjp=(_pull_to_g, _through_logits, None, None),
    jvp=(LINEAR, _through_logits, None, None),
    batch=_rows_batch,
)
"""``g (softmax(logits) - onehot(labels))``; ``y`` only spares work, it follows from the rest."""

cross_entropy_p = Primitive(
    "cross_entropy",
    _forward,
    "logits labels",
    shape=lambda logits, labels: ShapeDtype(logits.shape[:1], logits.dtype),
    vjp=(lambda g, logits, labels, y: slope_p(g, logits, labels, y), None),
    jvp=(
        lambda t, logits, labels: _pull_to_g(t, logits, labels),
        None,
    ),
    batch=_rows_batch,
)
"""``-log(softmax(logits)[i, labels[i]])`` for each row ``i`` of (N, C) floats and (N,) integers."""
