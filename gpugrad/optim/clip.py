"""Clipping of gradients in place, by their norm or their values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import gpugrad.numpy as gnp
from gpugrad.array import Array


def clip_grad_norm_(parameters: Array | Iterable[Array], max_norm: float) -> Any:
    """Scale all gradients together to at most a norm; `Optimizer.step` does it in its one launch.

    ``g *= min(1, max_norm / (norm + 1e-6))``, with the L2 norm of all elements (Pascanu, Mikolov
    & Bengio 2013).

    Parameters
    ----------
    parameters : Array or iterable of Array
        Those whose ``.grad`` is scaled.
    max_norm : float
        The largest norm that stays.

    Returns
    -------
    Array
        The norm before, on the gradients' device.
    """
    with_grad = _with_grad(parameters)
    if not with_grad:
        return Array(0.0)
    norm = gnp.sqrt(sum((p.grad * p.grad).sum() for p in with_grad))
    scale = gnp.minimum(max_norm / (norm + 1e-6), 1.0)
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
