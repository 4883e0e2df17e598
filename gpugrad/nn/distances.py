"""Losses that compare a prediction with a target, with PyTorch's names and meanings.

All take ``reduction``: "mean" over the elements, their "sum", or "none" for each one's loss.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

import gpugrad.numpy as gnp
from gpugrad.amp import widened
from gpugrad.core.abstract import shape_dtype
from gpugrad.kernels.softmax import check_range
from gpugrad.ops.cast import cast, is_inexact
from gpugrad.ops.creation import raw_of
from gpugrad.ops.elementwise import where
from gpugrad.scipy.special import xlogy

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cosine_embedding_loss",
    "cosine_similarity",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "mse_loss",
    "nll_loss",
    "smooth_l1_loss",
    "triplet_margin_loss",
]

Reduction = Literal["mean", "sum", "none"]


def _reduced(losses: Any, reduction: Reduction, what: str, *operands: Any) -> Any:
    """The losses' mean, sum, or themselves: of the operands' dtype, where they have one.

    Of bfloat16 and a fraction NumPy makes float32, and SciPy's functions do of float16.
    """
    found = {shape_dtype(x).dtype for x in operands}
    dtype = found.pop() if len(found) == 1 else shape_dtype(losses).dtype
    if not is_inexact(dtype):
        dtype = shape_dtype(losses).dtype
    if reduction == "mean":
        return cast(gnp.mean(losses), dtype)
    if reduction == "sum":
        return cast(gnp.sum(losses), dtype)
    if reduction == "none":
        return cast(losses, dtype)
    raise ValueError(f"{what}: reduction={reduction!r} is none of 'mean', 'sum' and 'none'")


def _same_shape(a: Any, b: Any, what: str) -> None:
    mine, other = shape_dtype(a).shape, shape_dtype(b).shape
    if mine != other:
        raise ValueError(
            f"{what}: input of shape {mine} and target of shape {other} must have one shape; "
            "broadcast them first if that is meant"
        )


def mse_loss(input: Any, target: Any, *, reduction: Reduction = "mean") -> Any:
    """``(input - target)²``.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.nn import mse_loss
    >>> float(mse_loss(np.array([1.0, 2.0]), np.array([1.0, 4.0])))
    2.0
    """
    _same_shape(input, target, "mse_loss")
    input, target = widened(input, target)
    difference = input - target
    return _reduced(difference * difference, reduction, "mse_loss", input, target)


def l1_loss(input: Any, target: Any, *, reduction: Reduction = "mean") -> Any:
    """``|input - target|``."""
    _same_shape(input, target, "l1_loss")
    input, target = widened(input, target)
    return _reduced(gnp.abs(input - target), reduction, "l1_loss", input, target)


def huber_loss(input: Any, target: Any, reduction: Reduction = "mean", delta: float = 1.0) -> Any:
    """``d²/2`` where ``d = |input - target|`` is below ``delta``, else ``delta (d - delta/2)``.

    (Huber 1964.)
    """
    if delta <= 0:
        raise ValueError(f"huber_loss: delta is positive, got {delta}")
    _same_shape(input, target, "huber_loss")
    input, target = widened(input, target)
    return _reduced(_huber(input, target, delta), reduction, "huber_loss", input, target)


def _huber(input: Any, target: Any, delta: float) -> Any:
    d = gnp.abs(input - target)
    return where(d < delta, 0.5 * d * d, delta * (d - 0.5 * delta))


def smooth_l1_loss(
    input: Any, target: Any, *, reduction: Reduction = "mean", beta: float = 1.0
) -> Any:
    """`huber_loss` over ``beta``: it tends to `l1_loss` as ``beta`` does to 0."""
    if beta == 0:
        return l1_loss(input, target, reduction=reduction)
    if beta < 0:
        raise ValueError(f"smooth_l1_loss: beta is not negative, got {beta}")
    _same_shape(input, target, "smooth_l1_loss")
    input, target = widened(input, target)
    losses = _huber(input, target, beta) / beta
    return _reduced(losses, reduction, "smooth_l1_loss", input, target)


def binary_cross_entropy(
    input: Any, target: Any, weight: Any = None, *, reduction: Reduction = "mean"
) -> Any:
    """``-target log(input) - (1 - target) log(1 - input)``, with logarithms of -100 at least.

    From logits `binary_cross_entropy_with_logits` is exact, also where a probability rounds to 0
    or 1.

    Parameters
    ----------
    input, target : array
        Probabilities of the same shape. Others than from 0 to 1 are an error on the CPU, and give
        NaN on CUDA.
    weight : array, optional
        Times each loss.
    reduction : {"mean", "sum", "none"}
        What is returned.

    Notes
    -----
    The gradient of a logarithm of 0 is 0 here, where PyTorch has 1e12.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.nn import binary_cross_entropy
    >>> loss = binary_cross_entropy(np.array([0.5, 0.25]), np.array([1.0, 0.0]))
    >>> round(float(loss), 4)  # of log 2 and log 4/3
    0.4904
    """
    what = "binary_cross_entropy"
    _same_shape(input, target, what)
    raw = raw_of(input)
    if isinstance(raw, np.ndarray) and not ((raw >= 0) & (raw <= 1)).all():
        raise ValueError(f"{what}: input holds probabilities, from 0 to 1; are these logits?")
    input, target = widened(input, target)
    losses = -target * _log(input) - (1 - target) * _log(1 - input)
    losses = losses if weight is None else weight * losses
    return _reduced(losses, reduction, what, input, target)


def _log(p: Any) -> Any:
    known = p != 0
    return where(known, gnp.maximum(gnp.log(where(known, p, 1)), -100), -100)


def binary_cross_entropy_with_logits(
    input: Any,
    target: Any,
    weight: Any = None,
    *,
    reduction: Reduction = "mean",
    pos_weight: Any = None,
) -> Any:
    """``-target log p - (1 - target) log(1 - p)`` for ``p = sigmoid(input)``, without overflow.

    Parameters
    ----------
    input, target : array
        Logits, and probabilities of the same shape.
    weight : array, optional
        Times each loss.
    reduction : {"mean", "sum", "none"}
        What is returned.
    pos_weight : array, optional
        Times the part of ``target``, for classes that are rare.
    """
    what = "binary_cross_entropy_with_logits"
    _same_shape(input, target, what)
    input, target = widened(input, target)
    # log(1 - p) = -softplus(input), log p = -softplus(-input); logaddexp overflows nowhere.
    if pos_weight is None:
        losses = gnp.logaddexp(0, input) - target * input
    else:
        positive = pos_weight * target * gnp.logaddexp(0, -input)
        losses = positive + (1 - target) * gnp.logaddexp(0, input)
    losses = losses if weight is None else weight * losses
    return _reduced(losses, reduction, what, input, target)


def nll_loss(
    input: Any,
    target: Any,
    weight: Any = None,
    *,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
) -> Any:
    """``-input[i, target[i]]``: the negative log likelihood from log probabilities.

    Parameters
    ----------
    input : array
        Log probabilities, of shape (N, C), (C,) or (N, C, ...).
    target : array of int
        Classes: the shape without the class axis. Others are an error on the CPU, and give NaN on
        CUDA, as for `cross_entropy`.
    weight : (C,) array, optional
        Of the classes; the mean is then the weighted one.
    ignore_index : int
        Targets of this value do not count.
    reduction : {"mean", "sum", "none"}
        What is returned.
    """
    scores, classes = shape_dtype(input), shape_dtype(target)
    if classes.dtype.kind not in "iu":
        raise TypeError(f"nll_loss: target holds classes, integers; got {classes.dtype}")
    axis = min(1, scores.ndim - 1)
    expected = scores.shape[:axis] + scores.shape[axis + 1 :]
    if classes.shape != expected:
        raise ValueError(
            f"nll_loss: input of shape {scores.shape} needs a target of shape {expected}, got "
            f"{classes.shape}"
        )
    (input,) = widened(input)
    count, labels = scores.shape[axis], raw_of(target)
    on_host = isinstance(labels, np.ndarray)
    if on_host:
        check_range(labels, count, ignore_index)
    counted = target != ignore_index
    safe = gnp.where(counted, target, 0)
    picked = gnp.take_along_axis(input, gnp.expand_dims(safe, axis), axis=axis)
    losses = -gnp.squeeze(picked, axis)
    if not on_host:  # looking would wait for the device
        known = (safe >= 0) & (safe < count)
        losses = cast(where(known, losses, math.nan), shape_dtype(losses).dtype)
    share = counted if weight is None else counted * gnp.take(weight, safe)
    share = gnp.astype(share, losses.dtype)
    losses = where(counted, losses * share, 0)
    if reduction == "mean":
        return gnp.sum(losses) / gnp.sum(share)
    return _reduced(losses, reduction, "nll_loss")


def kl_div(
    input: Any,
    target: Any,
    *,
    reduction: Literal["mean", "sum", "none", "batchmean"] = "mean",
    log_target: bool = False,
) -> Any:
    """``target (log target - input)``, where ``input`` holds log probabilities.

    Parameters
    ----------
    input, target : array
        Log probabilities, and probabilities of the same shape.
    reduction : {"mean", "sum", "none", "batchmean"}
        "batchmean", the sum over the length of the first axis, is the divergence.
    log_target : bool
        ``target`` holds log probabilities too.
    """
    _same_shape(input, target, "kl_div")
    input, target = widened(input, target)
    if log_target:
        losses = gnp.exp(target) * (target - input)
    else:
        losses = xlogy(target, target) - target * input
    if reduction == "batchmean":
        return _reduced(losses, "sum", "kl_div", input, target) / shape_dtype(input).shape[0]
    return _reduced(losses, reduction, "kl_div", input, target)


def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Any:
    """``x1·x2 / (max(|x1|, eps) max(|x2|, eps))`` along the axis ``dim``."""
    x1, x2 = widened(x1, x2)

    def length(x: Any) -> Any:
        # The square root of what is clipped: the gradient at 0 is 0, not NaN.
        return gnp.sqrt(gnp.maximum(gnp.sum(x * x, axis=dim), eps * eps))

    return gnp.sum(x1 * x2, axis=dim) / (length(x1) * length(x2))


def cosine_embedding_loss(
    input1: Any, input2: Any, target: Any, margin: float = 0.0, *, reduction: Reduction = "mean"
) -> Any:
    """``1 - cos`` where the target is 1, ``max(0, cos - margin)`` where it is -1.

    Parameters
    ----------
    input1, input2 : array
        Shape (N, D) or (D,).
    target : array
        1 for pairs that are alike, -1 for others; of shape (N,) or ().
    margin : float
        How alike the others may be.
    reduction : {"mean", "sum", "none"}
        What is returned.
    """
    cosine = cosine_similarity(input1, input2, dim=-1, eps=math.sqrt(1e-12))
    losses = where(target == 1, 1 - cosine, gnp.maximum(cosine - margin, 0))
    return _reduced(losses, reduction, "cosine_embedding_loss", *widened(input1, input2))


def triplet_margin_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    *,
    reduction: Reduction = "mean",
) -> Any:
    """``max(0, |anchor - positive| - |anchor - negative| + margin)`` (Schroff et al. 2015).

    Parameters
    ----------
    anchor, positive, negative : array
        Shape (N, D) or (D,).
    margin : float
        How much nearer the positive shall be.
    p : float
        The order of the norm.
    eps : float
        Is added to differences, so that a norm is not 0.
    swap : bool
        Whether the negative's distance is the lesser of those to the anchor and to the positive.
    reduction : {"mean", "sum", "none"}
        What is returned.
    """
    anchor, positive, negative = widened(anchor, positive, negative)

    def distance(a: Any, b: Any) -> Any:
        return gnp.sum(gnp.abs(a - b + eps) ** p, axis=-1) ** (1 / p)

    far = distance(anchor, negative)
    if swap:
        far = gnp.minimum(far, distance(positive, negative))
    losses = gnp.maximum(distance(anchor, positive) - far + margin, 0)
    return _reduced(losses, reduction, "triplet_margin_loss", anchor, positive, negative)
