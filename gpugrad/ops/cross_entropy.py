"""The cross-entropy with class weights, ignored labels and label smoothing, as one operation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpugrad.core.abstract import ShapeDtype, shape_dtype
from gpugrad.core.box import Box, any_box
from gpugrad.core.primitive import Keeping, Primitive
from gpugrad.kernels import softmax as kernels
from gpugrad.ops.batching import lead
from gpugrad.ops.broadcast import sum_p
from gpugrad.ops.cast import cast
from gpugrad.ops.creation import counting
from gpugrad.ops.elementwise import equal, exp, not_equal, where
from gpugrad.ops.indexing import getitem
from gpugrad.ops.join import stack
from gpugrad.ops.reductions import logsumexp
from gpugrad.ops.shape import expand_dims, reshape_p
from gpugrad.ops.softmax import few, widened


def _sum(x: Any, axis: int) -> Any:
    return sum_p(x, axis=(axis,), keepdims=False)


class _Targets:
    """What both the loss and its slope are made from, as array code."""

    def __init__(self, logits: Any, labels: Any, weight: Any, ignored: int) -> None:
        self.x = widened(logits)
        self.weight = None if weight is None else widened(weight)
        self.logp = self.x - logsumexp(self.x, 1, keepdims=True)
        self.counts = not_equal(labels, ignored)
        self.at = where(self.counts, labels, 0)
        self.rows = counting([logits], shape_dtype(logits).shape[0])

    def kept(self, each: Any) -> Any:
        """``each`` row's number, 0 for those that are ignored."""
        return where(self.counts, each, 0)

    def own(self) -> Any:
        """The weight of each row's class."""
        return 1.0 if self.weight is None else getitem(self.weight, self.at)

    def divisor(self) -> Any:
        own = cast(self.counts, self.x.dtype) if self.weight is None else self.kept(self.own())
        return _sum(own, 0)


def compose(
    logits: Any, labels: Any, weight: Any, ignored: int, smoothing: float, reduction: str
) -> Any:
    """The loss as array code, differentiable by the weights too."""
    t = _Targets(logits, labels, weight, ignored)
    each = -(1 - smoothing) * t.own() * getitem(t.logp, (t.rows, t.at))
    if smoothing:
        spread = t.logp if t.weight is None else t.logp * t.weight
        each = each - smoothing / t.logp.shape[1] * _sum(spread, 1)
    each = t.kept(each)
    if reduction != "none":
        each = _sum(each, 0)
    if reduction == "mean":
        each = each / t.divisor()
    return cast(each, shape_dtype(logits).dtype)


def _slope(
    g: Any, logits: Any, labels: Any, weight: Any, ignored: int, smoothing: float, reduction: str
) -> Any:
    """The logits' cotangent from the loss's, in the dtype of sums."""
    t = _Targets(logits, labels, weight, ignored)
    classes = t.logp.shape[1]
    sharp, spread = (1 - smoothing) * t.own(), smoothing / classes
    weights = 1.0 if t.weight is None else t.weight
    whole = spread * (float(classes) if t.weight is None else _sum(t.weight, 0))
    g = widened(g)
    if reduction == "mean":
        g = g / t.divisor()
    g = t.kept(g)
    column = counting([logits], classes)
    peak = where(equal(expand_dims(t.at, 1), column), expand_dims(g * sharp, 1), 0)
    dx = exp(t.logp) * expand_dims(g * (sharp + whole), 1) - peak
    return dx - expand_dims(g, 1) * (spread * weights) if smoothing else dx


def _given(weight: Any) -> Any:
    """The weights may be left out: a Python number stands for none."""
    return None if isinstance(weight, int | float) else weight


def _forward(
    xp: Any,
    logits: Any,
    labels: Any,
    weight: Any,
    *,
    ignored: int,
    smoothing: float,
    reduction: str,
) -> tuple[Any, Any]:
    weight = _given(weight)
    if few(logits):
        kernels.check_range(labels, logits.shape[1], ignored)
        with np.errstate(all="ignore"):
            return compose(logits, labels, weight, ignored, smoothing, reduction), None
    found = kernels.cross_entropy(
        logits,
        labels,
        weight,
        ignore_index=ignored,
        label_smoothing=smoothing,
        reduction=reduction,
    )
    return found.loss, found[1:]


def _pull(
    g: Any,
    logits: Any,
    labels: Any,
    weight: Any,
    kept: Any,
    ignored: int,
    smoothing: float,
    reduction: str,
) -> Any:
    weight = _given(weight)
    if kept is None or any_box([g, logits, labels, weight]):
        dx = _slope(g, logits, labels, weight, ignored, smoothing, reduction)
        return cast(dx, shape_dtype(logits).dtype)
    lse, divisor = kept
    return kernels.cross_entropy_backward(
        g,
        logits,
        labels,
        lse,
        weight,
        divisor,
        ignore_index=ignored,
        label_smoothing=smoothing,
    )


def _push(
    t: Any, logits: Any, labels: Any, weight: Any, ignored: int, smoothing: float, reduction: str
) -> Any:
    weight = _given(weight)
    rows = shape_dtype(logits).shape[0]
    if reduction != "mean":
        ones = cast(counting([logits], rows) * 0 + 1, shape_dtype(logits).dtype)
        each = _slope(ones, logits, labels, weight, ignored, smoothing, "none")
    else:
        one = cast(counting([logits], 1)[0] * 0 + 1, shape_dtype(logits).dtype)
        each = _slope(one, logits, labels, weight, ignored, smoothing, reduction)
    along = _sum(each * widened(t), 1)
    along = along if reduction == "none" else _sum(along, 0)
    return cast(along, shape_dtype(logits).dtype)


def _batch(
    primitive: Primitive, size: int, batched: Sequence[bool], values: Any, params: Any
) -> Any:
    """Samples are independent: a batch of batches is a longer batch."""
    if batched[2]:
        each = [
            primitive(*[getitem(v, i) if b else v for v, b in zip(values, batched)], **params)
            for i in range(size)
        ]
        return stack(each)
    logits, labels = (lead(v, size, mine) for v, mine in zip(values[:2], batched))
    rows = labels.shape[1]
    flat = [reshape_p(v, shape=(size * rows, *v.shape[2:])) for v in (logits, labels)]
    y = primitive(*flat, values[2], **{**params, "reduction": "none"})
    y = reshape_p(y, shape=(size, rows))
    if params["reduction"] != "none":
        y = _sum(y, 1)
    if params["reduction"] == "mean":
        counts = not_equal(labels, params["ignored"])
        weight = _given(values[2])
        if weight is None:
            own = cast(counts, y.dtype)
        else:
            own = where(counts, getitem(weight, where(counts, labels, 0)), 0)
        y = y / _sum(own, 1)
    return y


def _shape(
    logits: ShapeDtype,
    labels: ShapeDtype,
    weight: ShapeDtype,
    *,
    ignored: int,
    smoothing: float,
    reduction: str,
) -> ShapeDtype:
    return ShapeDtype(logits.shape[:1] if reduction == "none" else (), logits.dtype)


class_loss_p = Keeping(
    "class_loss",
    _forward,
    "logits labels weight",
    shape=_shape,
    vjp=(_pull, None, None),
    jvp=(_push, None, None),
    batch=_batch,
)
"""`kernels.softmax.cross_entropy`, with 0.0 for no weights, which count as constant."""


def class_loss(
    logits: Any, labels: Any, weight: Any, ignored: int, smoothing: float, reduction: str
) -> Any:
    """The loss of (N, C) logits with (N,) integers: one operation, unless weights are followed."""
    if isinstance(weight, Box) and weight._trace is not None:
        return compose(logits, labels, weight, ignored, smoothing, reduction)
    return class_loss_p(
        logits,
        labels,
        0.0 if weight is None else weight,
        ignored=ignored,
        smoothing=smoothing,
        reduction=reduction,
    )
