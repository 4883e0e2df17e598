"""The cross-entropy of class scores, one operation: softmax and logarithm never apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpugrad.core.abstract import ShapeDtype, shape_dtype
from gpugrad.core.primitive import LINEAR, Keeping, Primitive
from gpugrad.kernels.softmax import check_range
from gpugrad.ops.batching import lead
from gpugrad.ops.broadcast import sum_p
from gpugrad.ops.cast import cast
from gpugrad.ops.creation import counting
from gpugrad.ops.elementwise import equal, exp
from gpugrad.ops.reductions import logsumexp
from gpugrad.ops.shape import expand_dims, reshape_p


def _forward(xp: Any, logits: Any, labels: Any) -> tuple[Any, Any]:
    """Each row's loss, and its maximum and sum of exponentials for the slope."""
    rows = xp.arange(len(labels))
    # On the host the maximum of short rows costs many times as much as finding where they are.
    top = logits[rows, logits.argmax(1)] if xp is np else logits.max(axis=1)
    shifted = logits - top[:, None]
    try:
        picked = shifted[rows, labels]
    except IndexError:
        check_range(labels, logits.shape[1])  # names the label
        raise
    e = xp.exp(shifted, out=shifted)
    total = np.add.reduce(e, axis=1) if xp is np else e.sum(axis=1)
    y = xp.log(total)
    y -= picked
    return y, (top, total)


def _forward_mean(xp: Any, logits: Any, labels: Any) -> tuple[Any, Any]:
    each, kept = _forward(xp, logits, labels)
    return each.sum() / len(labels) if each.itemsize > 2 else each.mean(), kept


def _slope(xp: Any, g: Any, logits: Any, labels: Any, *, kept: Any = None) -> Any:
    top, total = kept or _forward(xp, logits, labels)[1]
    p = logits - top[:, None]
    p = xp.exp(p, out=p)
    p *= (g / total)[:, None]
    p[xp.arange(len(labels)), labels] -= g
    return p


def _softmax(logits: Any) -> Any:
    return exp(logits - logsumexp(logits, 1, keepdims=True))


def _each(u: Any, logits: Any, labels: Any) -> Any:
    """The derivative of each sample's loss along ``u``."""
    classes = counting([logits], shape_dtype(logits).shape[1])
    onehot = cast(equal(expand_dims(labels, 1), classes), u.dtype)
    return sum_p(u * (_softmax(logits) - onehot), axis=(1,), keepdims=False)


def _pull_to_g(u: Any, logits: Any, labels: Any, g_like: ShapeDtype) -> Any:
    each = _each(u, logits, labels)
    return each if g_like.shape else sum_p(each, axis=(0,), keepdims=False)


def _through_logits(u: Any, g: Any, logits: Any) -> Any:
    """The slope's own derivative by the logits, a symmetric map: g p (u - sum(p u))."""
    p = _softmax(logits)
    rows = expand_dims(g, 1) if g.ndim else g
    return rows * p * (u - sum_p(p * u, axis=(1,), keepdims=True))


def _rows_batch(
    primitive: Primitive, size: int, batched: Sequence[bool], values: Any, params: Any
) -> Any:
    """Samples are independent: a batch of batches is a longer batch."""
    full = [lead(v, size, mine) for v, mine in zip(values, batched)]
    rows = full[-2].shape[1]
    if full[0].ndim == 1:  # one g for all samples of each example
        full[0] = lead(full[0], rows, False).T
    flat = [reshape_p(v, shape=(size * rows, *v.shape[2:])) for v in full]
    y = primitive(*flat)
    return reshape_p(y, shape=(size, rows, *y.shape[1:]))


def _mean_batch(
    primitive: Primitive, size: int, batched: Sequence[bool], values: Any, params: Any
) -> Any:
    return _rows_batch(cross_entropy_p, size, batched, values, params).mean(1)


slope_p = Primitive(
    "cross_entropy_slope",
    _slope,
    "g logits labels",
    shape=lambda g, logits, labels, *, kept=None: logits,
    vjp=(_pull_to_g, _through_logits, None),
    jvp=(LINEAR, _through_logits, None),
    batch=_rows_batch,
)
"""``g (softmax(logits) - onehot(labels))``, with one ``g`` for each sample or one for all.

``kept``, where given, are the maximum and the sum of exponentials of each row.
"""

cross_entropy_p = Keeping(
    "cross_entropy",
    _forward,
    "logits labels",
    shape=lambda logits, labels: ShapeDtype(logits.shape[:1], logits.dtype),
    vjp=(lambda g, logits, labels, kept: slope_p(g, logits, labels, kept=kept), None),
    jvp=(_each, None),
    batch=_rows_batch,
)
"""``-log(softmax(logits)[i, labels[i]])`` for each row ``i`` of (N, C) floats and (N,) integers."""

mean_cross_entropy_p = Keeping(
    "mean_cross_entropy",
    _forward_mean,
    "logits labels",
    shape=lambda logits, labels: ShapeDtype((), logits.dtype),
    vjp=(
        lambda g, logits, labels, kept: slope_p(g / logits.shape[0], logits, labels, kept=kept),
        None,
    ),
    jvp=(lambda t, logits, labels: _each(t, logits, labels).mean(), None),
    batch=_mean_batch,
)
"""The mean of `cross_entropy_p` over the samples."""
