"""Softmax, cross-entropy with its options and normalisation layers against plain NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.special
from op_case import Sample, case
from op_draw import Draw, integers, real

from gpugrad import nn


def _softmax(d: Draw) -> Sample:
    shape = d.shape(1)
    return [real(shape)], {"dim": d.axis(len(shape))}


case("nn.softmax", _softmax, nn.softmax, lambda x, dim: scipy.special.softmax(x, dim), low=False)
case(
    "nn.log_softmax",
    _softmax,
    nn.log_softmax,
    lambda x, dim: scipy.special.log_softmax(x, dim),
    low=False,
)


def _losses(
    x: Any, labels: Any, weight: Any, ignore_index: int, label_smoothing: float, reduction: str
) -> Any:
    logp = scipy.special.log_softmax(x, 1)
    w = np.ones(x.shape[1]) if weight is None else weight / 4
    keep = labels != ignore_index
    at = np.where(keep, labels, 0)
    target = (1 - label_smoothing) * np.eye(x.shape[1])[at] * w + label_smoothing * w / x.shape[1]
    each = -(target * logp).sum(1) * keep
    if reduction == "none":
        return each
    return each.sum() / ((w[at] * keep).sum() if reduction == "mean" else 1)


def _labelled(d: Draw) -> Sample:
    n, c = d.integer(1, 3), d.integer(2, 4)
    labels = integers((n,), 0, c)

    def some(rng: np.random.Generator) -> Any:
        out = labels(rng)
        out[0] = 1  # one that counts
        return out

    params = {
        "ignore_index": d.pick([-100, 0]),
        "label_smoothing": d.pick([0.0, 0.3]),
        "reduction": d.pick(["mean", "sum", "none"]),
    }
    return [real((n, c)), some, integers((c,), 1, 9)], params


case(
    "class_loss",
    _labelled,
    lambda x, i, w, **options: nn.cross_entropy(x, i, w / 4, **options),
    _losses,
    low=False,
)
case(
    "class_loss without weights",
    lambda d: ((s := _labelled(d))[0][:2], s[1]),
    lambda x, i, **options: nn.cross_entropy(x, i, **options),
    lambda x, i, **options: _losses(x, i, None, **options),
    low=False,
)


def _by_weights(d: Draw) -> Sample:
    c = d.integer(2, 4)
    return [real((3, c)), integers((3,), 0, c), real((c,), 0.5, 2)], {
        "reduction": d.pick(["mean", "none"])
    }


case(
    "class_loss by its weights",
    _by_weights,
    lambda x, i, w, reduction: nn.cross_entropy(x, i, w, label_smoothing=0.2, reduction=reduction),
    lambda x, i, w, reduction: _losses(x, i, w * 4, -100, 0.2, reduction),
    low=False,
)


def normal(x: Any, axes: Any, center: bool, eps: float) -> Any:
    x = x - x.mean(axes, keepdims=True) * center
    return x / np.sqrt((x * x).mean(axes, keepdims=True) + eps)


def _rows(d: Draw) -> Sample:
    shape = (*d.shape(high=2), d.integer(2, 4))
    return [real(shape), real(shape[-1:]), real(shape[-1:])], {"eps": d.pick([0.1, 0.5])}


case(
    "layer_norm",
    _rows,
    lambda x, w, b, eps: nn.layer_norm(x, x.shape[-1], w, b, eps),
    lambda x, w, b, eps: normal(x, -1, True, eps) * w + b,
    low=False,
)
case(
    "layer_norm of two axes",
    lambda d: ([real((*d.shape(high=1), 2, 3))], {}),
    lambda x: nn.layer_norm(x, (2, 3), eps=0.1),
    lambda x: normal(x, (-2, -1), True, 0.1),
    low=False,
)
case(
    "rms_norm",
    lambda d: ((s := _rows(d))[0][:2], s[1]),
    lambda x, w, eps: nn.rms_norm(x, x.shape[-1], w, eps),
    lambda x, w, eps: normal(x, -1, False, eps) * w,
    low=False,
)


def _groups(d: Draw) -> Sample:
    own, groups = d.integer(1, 2), d.integer(1, 2)
    shape = (d.integer(1, 2), own * groups, *d.shape(high=1), d.integer(2, 3))
    return [real(shape), real(shape[1:2]), real(shape[1:2])], {"groups": groups}


def _beside(p: Any, x: Any) -> Any:
    return p.reshape(-1, *(1,) * (x.ndim - 2))


case(
    "group_norm",
    _groups,
    lambda x, w, b, groups: nn.group_norm(x, groups, w, b, 0.1),
    lambda x, w, b, groups: (
        normal(x.reshape(len(x), groups, -1), 2, True, 0.1).reshape(x.shape) * _beside(w, x)
        + _beside(b, x)
    ),
    low=False,
)


def _channels(d: Draw) -> Sample:
    shape = (d.integer(2, 3), d.integer(1, 3), *d.shape(high=2))
    return [real(shape), real(shape[1:2]), real(shape[1:2])], {}


def _others(x: Any) -> tuple[int, ...]:
    return (0, *range(2, x.ndim))


case(
    "batch_norm",
    _channels,
    lambda x, w, b: nn.batch_norm(x, None, None, w, b, True, eps=0.1),
    lambda x, w, b: normal(x, _others(x), True, 0.1) * _beside(w, x) + _beside(b, x),
    low=False,
)
case(
    "batch_norm by running moments",
    lambda d: ((s := _channels(d))[0], s[1]),
    lambda x, m, v: nn.batch_norm(x, m, v * v, eps=0.1),
    lambda x, m, v: (x - _beside(m, x)) / np.sqrt(_beside(v, x) ** 2 + 0.1),
    low=False,
)


def _moments(x: Any) -> Any:
    from gpugrad.ops.norm_layers import batch_norm_p

    return batch_norm_p(x, 0.0, 0.0, eps=0.1)


case(
    "batch_norm with its moments",
    lambda d: ([real((2, d.integer(1, 2), d.integer(1, 3)))], {}),
    _moments,
    lambda x: (normal(x, (0, 2), True, 0.1), x.mean((0, 2)), x.var((0, 2))),
    low=False,
)
