"""Loss functions, with PyTorch's names and meanings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from gpugrad.core.abstract import shape_dtype
from gpugrad.numpy import asarray, mean, moveaxis, ravel, reshape, sum
from gpugrad.ops.losses import cross_entropy_p, mean_cross_entropy_p


def _common(logits: Any, labels: Any) -> bool:
    """Whether this is the case of every training step: (N, C) scores of N integers."""
    try:
        (count, _), (other,) = logits.shape, labels.shape
        return bool(count == other and labels.dtype.kind in "iu")
    except (AttributeError, ValueError):
        return False


_REDUCE: dict[str, Callable[[Any], Any]] = {"mean": mean, "sum": sum, "none": lambda losses: losses}


def cross_entropy(
    logits: Any, labels: Any, reduction: Literal["mean", "sum", "none"] = "mean"
) -> Any:
    """How badly ``logits`` predict the classes: ``-log(softmax(logits))`` of the true one.

    Parameters
    ----------
    logits : array
        Scores before any softmax, of shape (N, C), (C,), or (N, C, ...), for C classes.
    labels : array of int
        The true classes, 0 to C - 1: of the logits' shape without the class axis. They are not
        checked, as that would read them back from the device.
    reduction : {"mean", "sum", "none"}
        The mean over the samples, their sum, or each one's loss.

    Returns
    -------
    array
        One number, or the shape of ``labels`` for "none".

    Raises
    ------
    TypeError
        For labels that are no integers.
    ValueError
        For shapes that do not go together, or an unknown reduction.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.nn import cross_entropy
    >>> round(float(cross_entropy(np.zeros((2, 10)), np.array([3, 7]))), 6)  # log(10)
    2.302585
    """
    if reduction not in _REDUCE:
        raise ValueError(
            f"cross_entropy: reduction={reduction!r} is none of 'mean', 'sum' and 'none'"
        )
    if reduction == "mean" and _common(logits, labels):
        return mean_cross_entropy_p(logits, labels)
    scores, classes = shape_dtype(logits), shape_dtype(labels)
    if classes.dtype.kind not in "iu":
        raise TypeError(
            f"cross_entropy: labels are the classes' numbers, integers; got {classes.dtype}"
        )
    if not scores.shape:
        raise ValueError("cross_entropy: logits need an axis of classes, got a single number")
    axis = min(1, scores.ndim - 1)
    expected = scores.shape[:axis] + scores.shape[axis + 1 :]
    if classes.shape != expected:
        raise ValueError(
            f"cross_entropy: logits of shape {scores.shape} have their classes along axis {axis} "
            f"and need labels of shape {expected}, got {classes.shape}"
        )
    if classes.weak:
        labels = asarray(labels)
    rows = reshape(moveaxis(logits, axis, -1), (-1, scores.shape[axis]))
    losses = reshape(cross_entropy_p(rows, ravel(labels)), expected)
    return _REDUCE[reduction](losses)
