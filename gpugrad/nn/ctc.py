"""The loss of sequences whose alignment is unknown."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

import gpugrad.numpy as gnp
from gpugrad.amp import widened
from gpugrad.array import Array
from gpugrad.core.abstract import shape_dtype
from gpugrad.core.box import Box
from gpugrad.core.under import device_under
from gpugrad.kernels.many import wide
from gpugrad.ops.cast import cast
from gpugrad.ops.elementwise import where

NEVER = -1e30
"""The logarithm of a probability that is 0: finite, so that no difference of two is NaN."""


def ctc_loss(
    log_probs: Any,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: Literal["mean", "sum", "none"] = "mean",
    zero_infinity: bool = False,
) -> Any:
    """``-log`` of the probability of ``targets``, summed over all alignments (Graves et al. 2006).

    An alignment has a class for each moment; leaving out repetitions, then blanks, gives the
    targets.

    Parameters
    ----------
    log_probs : array
        Logarithms of probabilities, as from `log_softmax`, of shape (T, N, C) or (T, C).
    targets : array of int
        Classes other than ``blank``, padded to shape (N, S), or (S,) for one sequence; or those of
        all sequences one after the other, in one axis, for which the lengths are read on the host.
    input_lengths, target_lengths : array of int, or sequence of int
        How much of each sequence counts; of shape (N,) or ().
    blank : int
        The class that stands for none.
    reduction : {"mean", "sum", "none"}
        The mean of the losses, each divided by its target's length; their sum; or each one.
    zero_infinity : bool
        0 in place of infinity for targets that are too long for their input.

    Returns
    -------
    array
        One number, or (N,) for "none"; () for one sequence.

    Notes
    -----
    The derivative is that with respect to ``log_probs``. PyTorch's has that of a `log_softmax`
    before it in it already, which changes nothing once it has gone through one. For a target that
    is too long for its input the loss is infinite, and the derivative finite, where PyTorch's is
    NaN; with ``zero_infinity`` both are 0.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.nn import ctc_loss
    >>> even = np.log(np.full((2, 1, 2), 0.5))
    >>> loss = ctc_loss(even, np.array([[1]]), [2], [1])  # 01, 10 and 11 of four
    >>> round(float(np.exp(-loss)), 6)
    0.75
    """
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"ctc_loss: reduction={reduction!r} is none of 'mean', 'sum' and 'none'")
    like = shape_dtype(log_probs)
    if like.ndim not in (2, 3) or not like.shape[0]:
        raise ValueError(
            f"ctc_loss: log_probs has shape (T, N, C) or (T, C), T of 1 or more; got {like.shape}"
        )
    if not 0 <= blank < like.shape[-1]:
        raise ValueError(f"ctc_loss: blank={blank} is none of {like.shape[-1]} classes")
    device = device_under(log_probs)

    def integers(name: str, value: Any) -> Any:
        value = value if isinstance(value, Box) else Array(value, device=device)
        if value.dtype.kind not in "iu" and value.size:
            raise TypeError(f"ctc_loss: {name} are integers, got {value.dtype}")
        return value

    targets = integers("targets", targets)
    inputs = gnp.reshape(integers("input_lengths", input_lengths), (-1,))
    lengths = gnp.reshape(integers("target_lengths", target_lengths), (-1,))
    (log_probs,) = widened(log_probs)
    log_probs = cast(log_probs, wide(shape_dtype(log_probs).dtype))
    single = like.ndim == 2
    if single:
        log_probs, targets = log_probs[:, None], gnp.reshape(targets, (1, -1))
    count = shape_dtype(log_probs).shape[1]
    if inputs.shape != (count,) or lengths.shape != (count,):
        raise ValueError(
            f"ctc_loss: input_lengths {inputs.shape} and target_lengths {lengths.shape} of "
            f"{count} sequences"
        )
    if targets.ndim == 1:
        targets = _padded(targets, lengths)
    if targets.ndim != 2 or targets.shape[0] != count:
        raise ValueError(f"ctc_loss: targets of shape {targets.shape} for {count} sequences")
    losses = -_log_likelihood(log_probs, targets, inputs, lengths, blank)
    losses = where(losses > -NEVER / 2, 0.0 if zero_infinity else np.inf, losses)
    if reduction == "mean":
        return gnp.mean(losses / gnp.astype(gnp.maximum(lengths, 1), losses.dtype))
    if reduction == "sum":
        return gnp.sum(losses)
    return losses[0] if single else losses


def _padded(targets: Any, lengths: Any) -> Any:
    """Targets that lie one after the other as rows."""
    host = np.asarray(lengths.numpy() if isinstance(lengths, Array) else lengths)
    if int(host.sum()) != targets.shape[0]:
        raise ValueError(
            f"ctc_loss: {targets.shape[0]} targets in a row, for target_lengths that add up to "
            f"{int(host.sum())}"
        )
    longest = int(host.max(initial=0))
    at = (np.cumsum(host) - host)[:, None] + np.arange(longest)
    at = np.minimum(at, max(0, targets.shape[0] - 1))
    return targets[Array(at, device=device_under(targets))]


def _log_likelihood(log_probs: Any, targets: Any, inputs: Any, lengths: Any, blank: int) -> Any:
    """The logarithm of each sequence's probability, by the states that have blanks in between."""
    moments, count, _ = shape_dtype(log_probs).shape
    size = shape_dtype(targets).shape[1]
    blanks = gnp.full_like(targets, blank)
    pairs = gnp.reshape(gnp.stack([blanks, targets], axis=2), (count, 2 * size))
    end = gnp.zeros_like(lengths)[:, None] + blank
    states = gnp.concatenate([pairs, end], axis=1)
    total = 2 * size + 1
    seen = gnp.broadcast_to(states[None], (moments, count, total))
    emitted = gnp.maximum(gnp.take_along_axis(log_probs, seen, axis=2), NEVER)
    # A blank may be left out between different classes.
    two_before = gnp.concatenate([end, end, states[:, :-2]], axis=1)[:, :total]
    skips = gnp.logical_and(states != blank, states != two_before)

    def never(width: int) -> Any:
        return gnp.full_like(emitted[0, :, :1], NEVER)[:, [0] * width]

    start = min(2, total)
    alpha = gnp.concatenate([emitted[0, :, :start], never(total - start)], axis=1)
    ahead = never(2)
    for t in range(1, moments):
        before = gnp.concatenate([ahead, alpha], axis=1)
        skipped = where(skips, before[:, :total], NEVER)
        reached = gnp.logaddexp(gnp.logaddexp(alpha, before[:, 1 : total + 1]), skipped)
        alpha = where((inputs > t)[:, None], reached + emitted[t], alpha)
    last = 2 * lengths[:, None]
    at_blank = gnp.take_along_axis(alpha, last, axis=1)[:, 0]
    at_class = gnp.take_along_axis(alpha, gnp.maximum(last - 1, 0), axis=1)[:, 0]
    return gnp.logaddexp(at_blank, where(lengths > 0, at_class, NEVER))
