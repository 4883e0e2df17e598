"""Clipping of gradients in place, by their norm or their values."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

import gpugrad.numpy as gnp
from gpugrad.array import Array


def clip_grad_norm_(
    parameters: Array | Iterable[Array],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Any:
    """Scale all gradients together to at most a norm; `Optimizer.step` does it in its one launch.

    ``g *= min(1, max_norm / (norm + 1e-6))``, with the norm of all elements together (Pascanu,
    Mikolov & Bengio 2013).

    Parameters
    ----------
    parameters : Array or iterable of Array
        Those whose ``.grad`` is scaled.
    max_norm : float
        The largest norm that stays.
    norm_type : float
        Which norm: 2, another order, or infinity for the largest element.
    error_if_nonfinite : bool
        Whether a norm that is not finite is an error, for which the host waits for the device.

    Returns
    -------
    Array
        The norm before, on the gradients' device.
    """
    with_grad = _with_grad(parameters)
    if not with_grad:
        return Array(0.0)
    if norm_type == math.inf:
        norm = gnp.max(gnp.stack([gnp.max(gnp.abs(p.grad)) for p in with_grad]))
    elif norm_type == 2:
        norm = gnp.sqrt(sum((p.grad * p.grad).sum() for p in with_grad))
    else:
        norm = sum((gnp.abs(p.grad) ** norm_type).sum() for p in with_grad) ** (1 / norm_type)
    if error_if_nonfinite and not math.isfinite(float(norm)):
        raise RuntimeError(f"clip_grad_norm_: the norm of the gradients is {float(norm)}")
    scale = gnp.minimum(max_norm / (norm + 1e-6), 1.0)
    with np.errstate(invalid="ignore"):  # of infinite gradients NaN remain, for a scaler to see
        for p in with_grad:
            p.grad = p.grad * scale.astype(p.grad.dtype)
    return norm


def clip_grad_value_(parameters: Array | Iterable[Array], clip_value: float) -> None:
    """Bring each element of the gradients to between ``-clip_value`` and ``clip_value``."""
    for p in _with_grad(parameters):
        p.grad = gnp.clip(p.grad, -clip_value, clip_value)


def _with_grad(parameters: Array | Iterable[Array]) -> list[Array]:
    given = [parameters] if isinstance(parameters, Array) else list(parameters)
    return [p for p in given if p.grad is not None]
