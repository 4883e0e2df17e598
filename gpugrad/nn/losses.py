"""Loss functions, with PyTorch's names and meanings."""

from __future__ import annotations

from operator import index
from typing import Any, Literal

import numpy as np

from gpugrad.core.abstract import shape_dtype
from gpugrad.nn.softmax import floating, log_softmax
from gpugrad.numpy import asarray, mean, moveaxis, ravel, reshape, sum
from gpugrad.ops.cast import cast, is_inexact
from gpugrad.ops.creation import raw_of
from gpugrad.ops.cross_entropy import class_loss
from gpugrad.ops.losses import mean_cross_entropy_p

PLAIN = 1 << 14
"""Scores below which NumPy's own calls are as fast as a kernel on the CPU."""


def _common(logits: Any, labels: Any) -> bool:
    """Whether this is the case of small steps on the CPU: (N, C) scores of N integers."""
    try:
        (count, _), (other,) = logits.shape, labels.shape
        if count != other or labels.dtype.kind not in "iu" or logits.dtype.kind != "f":
            return False
        raw, classes = raw_of(logits), raw_of(labels)
        if type(raw) is not np.ndarray or type(classes) is not np.ndarray:
            return False
        # What counts for nothing is below 0 by default. Where the least is costs less than itself.
        return 0 < raw.size < PLAIN and classes.item(classes.argmin()) >= 0
    except (AttributeError, ValueError):
        return False


def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    *,
    ignore_index: int = -100,
    reduction: Literal["mean", "sum", "none"] = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """How badly scores predict the classes: ``-log(softmax(input))`` of the true one.

    Parameters
    ----------
    input : array
        Scores before any softmax, of shape (N, C), (C,), or (N, C, ...), for C classes.
    target : array of int
        The true classes, 0 to C - 1: of the scores' shape without the class axis. Others are an
        error on the CPU; on CUDA, where looking would wait for the device, they give NaN. Or
        probabilities of all classes, of the scores' shape; the mean is then over the samples,
        and ``ignore_index`` counts for nothing.
    weight : (C,) array, optional
        Of each class. The mean is over the weights of the true classes.
    ignore_index : int
        The label of samples that count for nothing.
    reduction : {"mean", "sum", "none"}
        The mean over the samples, their sum, or each one's loss.
    label_smoothing : float
        The part, 0 to 1, of each target that all classes share.

    Returns
    -------
    array
        One number, or the shape of ``target`` for "none".

    Raises
    ------
    TypeError
        For a target that is no integers.
    ValueError
        For shapes that do not go together, or an unknown reduction.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.nn import cross_entropy
    >>> round(float(cross_entropy(np.zeros((2, 10)), np.array([3, 7]))), 6)  # log(10)
    2.302585
    """
    plain = weight is None and not label_smoothing and ignore_index == -100
    if plain and reduction == "mean" and _common(input, target):
        return mean_cross_entropy_p(input, target)
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(
            f"cross_entropy: reduction={reduction!r} is none of 'mean', 'sum' and 'none'"
        )
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"cross_entropy: label_smoothing is from 0 to 1, got {label_smoothing}")
    scores, classes = shape_dtype(input), shape_dtype(target)
    likely = is_inexact(classes.dtype) and classes.shape == scores.shape
    if classes.dtype.kind not in "iu" and not likely:
        raise TypeError(
            "cross_entropy: target holds the classes' numbers, integers; or their probabilities, "
            f"of the input's shape {scores.shape}; got {classes.dtype} of shape {classes.shape}"
        )
    if not scores.shape:
        raise ValueError("cross_entropy: input needs an axis of classes, got a single number")
    axis = min(1, scores.ndim - 1)
    if likely:
        return _of_probabilities(input, target, weight, reduction, label_smoothing, axis)
    expected = scores.shape[:axis] + scores.shape[axis + 1 :]
    if classes.shape != expected:
        raise ValueError(
            f"cross_entropy: input of shape {scores.shape} has its classes along axis {axis} "
            f"and needs a target of shape {expected}, got {classes.shape}"
        )
    if classes.weak:
        target = asarray(target)
    rows = floating("cross_entropy", input)
    if axis != scores.ndim - 1:
        rows = moveaxis(rows, axis, -1)
    rows = reshape(rows, (-1, scores.shape[axis])) if scores.ndim != 2 else rows
    if weight is not None:
        given = shape_dtype(weight).shape
        if given != scores.shape[axis : axis + 1]:
            raise ValueError(
                f"cross_entropy: weight of shape {given} for {scores.shape[axis]} classes"
            )
        weight = cast(weight, shape_dtype(rows).dtype)
    loss = class_loss(
        rows, ravel(target), weight, index(ignore_index), float(label_smoothing), reduction
    )
    return reshape(loss, expected) if reduction == "none" else loss


def _of_probabilities(
    input: Any, target: Any, weight: Any, reduction: str, smoothing: float, axis: int
) -> Any:
    logs = log_softmax(input, axis)
    many = shape_dtype(logs).shape[axis]
    terms = logs * ((1 - smoothing) * target + smoothing / many if smoothing else target)
    if weight is not None:
        terms = terms * reshape(weight, (many, *[1] * (shape_dtype(logs).ndim - axis - 1)))
    losses = cast(-sum(terms, axis=axis), shape_dtype(logs).dtype)
    if reduction == "none":
        return losses
    return sum(losses) if reduction == "sum" else mean(losses)
