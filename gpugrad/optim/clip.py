"""Clipping of parameters' gradients, by their norm or their values."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import gpugrad.numpy as gnp
from gpugrad.array import Array
from gpugrad.device import Device, namespace, on
from gpugrad.kernels.average import average, find_norm
from gpugrad.kernels.many import wide
from gpugrad.ops.creation import raw_of


def clip_grad_norm_(
    parameters: Array | Iterable[Array],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Any:
    """Scale all gradients together to at most a norm; `Optimizer.step` does it in its one launch.

    ``g *= min(1, max_norm / (norm + 1e-6))``, with the norm of all elements together (Pascanu,
    Mikolov & Bengio 2013). If the norm is not finite, each element becomes NaN or 0. Gradients in
    float16 and bfloat16 are added up in float32.

    Parameters
    ----------
    parameters : Array or iterable of Array
        Those whose ``.grad`` is scaled.
    max_norm : float
        The largest norm that stays, from 0 on.
    norm_type : float
        Which norm: 2, another order, or infinity for the largest element. Orders below 1 are the
        norm of the norms of the single gradients.
    error_if_nonfinite : bool
        Whether a norm that is not finite is an error, for which the host waits for the device.

    Returns
    -------
    Array
        The norm before, on the gradients' device.

    Examples
    --------
    >>> import numpy as np, gpugrad as gg
    >>> w = gg.Array(np.zeros(2), requires_grad=True)
    >>> (w * np.array([3.0, 4.0])).sum().backward()
    >>> gg.optim.clip_grad_norm_([w], 1.0).item()
    5.0
    >>> w.grad.numpy().round(3)
    array([0.6, 0.8])
    """
    if not max_norm >= 0:
        raise ValueError(f"clip_grad_norm_: max_norm is from 0 on, got {max_norm}")
    with_grad = _with_grad(parameters)
    found = [(p, raw_of(p.grad)) for p in with_grad if p.grad.size]
    if not found:
        return Array(0.0)
    groups: dict[tuple[Device, Any], list[tuple[Array, Any]]] = {}
    for p, g in found:
        groups.setdefault((p.grad.device, wide(g.dtype)), []).append((p, g))
    first = found[0][0].grad.device
    norms = []
    for (where, dtype), pairs in groups.items():
        with on(where):
            norms += [n.to(first) for n in _norms([g for _, g in pairs], dtype, norm_type)]
    norm = norms[0] if len(norms) == 1 else gnp.linalg.vector_norm(gnp.stack(norms), ord=norm_type)
    if error_if_nonfinite and not math.isfinite(float(norm)):
        raise RuntimeError(f"clip_grad_norm_: the norm of the gradients is {float(norm)}")
    inverse = 1 / max_norm if max_norm else math.inf
    too_large = gnp.maximum((norm + 1e-6) * inverse, 1.0)
    for (where, _), pairs in groups.items():
        with on(where):
            by = raw_of(too_large.to(where))
            for (p, _), g in zip(pairs, average([[g for _, g in pairs]], unscale=by), strict=True):
                p.grad = Array(g)
    return norm


def _norms(grads: list[Any], dtype: Any, order: float) -> list[Array]:
    """The norm of all, or for orders that no kernel adds up that of each."""
    if order == 2:
        summary = namespace(Array(grads[0]).device).zeros(2, dtype)
        find_norm(grads, summary)
        return [Array(summary[0])]
    return [gnp.linalg.vector_norm(Array(g).astype(dtype), ord=order) for g in grads]


def clip_grad_value_(parameters: Array | Iterable[Array], clip_value: float) -> None:
    """Bring each element of the gradients to between ``-clip_value`` and ``clip_value``."""
    for p in _with_grad(parameters):
        p.grad = gnp.clip(p.grad, -clip_value, clip_value)


def _with_grad(parameters: Array | Iterable[Array]) -> list[Array]:
    given = [parameters] if isinstance(parameters, Array) else list(parameters)
    return [p for p in given if p.grad is not None]
