"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gpugrad.array import Array
from gpugrad.kernels.optimizer import sgd
from gpugrad.optim.optimizer import Group, Optimizer


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum (Polyak 1964) or Nesterov's (1983).

    ``b = momentum * b + (1 - dampening) * g``, ``p -= lr * b``; ``b = g`` at the first step.

    Parameters
    ----------
    params : iterable of Array or dict
        What to train, as for every `Optimizer`.
    lr : float
        Learning rate.
    momentum, dampening : float
        How much of ``b`` stays, and how much of the gradient is held back.
    weight_decay : float
        Adds ``weight_decay * p`` to the gradient.
    nesterov : bool
        Step by ``g + momentum * b``.
    maximize : bool
        Go up the gradient.

    Examples
    --------
    >>> import numpy as np, gpugrad as gg
    >>> from gpugrad.optim import SGD
    >>> w = gg.Array(np.array([1.0, 2.0]), requires_grad=True)
    >>> optimizer = SGD([w], lr=0.5)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    Array([0., 0.], dtype=float64, device=cpu, requires_grad=True)
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("SGD: nesterov needs momentum and no dampening")
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "dampening": dampening,
                "weight_decay": weight_decay,
                "nesterov": nesterov,
                "maximize": maximize,
            },
        )

    def _states(self, group: Group) -> tuple[str, ...]:
        return ("momentum_buffer",) if group["momentum"] else ()

    def _loaded(self, group: Group, p: Array, found: Mapping[str, Any], counters: Any) -> Any:
        # PyTorch's has no count, and an empty buffer where it has none: only the first step is
        # another, and that is over.
        given = {name: value for name, value in found.items() if value is not None}
        return super()._loaded(group, p, {"step": 1, **given}, counters)

    def _kernel(
        self, group: Group, params: Any, grads: Any, states: Any, step: Any, common: Any
    ) -> None:
        names = ("momentum", "dampening", "weight_decay", "nesterov")
        momenta = states.get("momentum_buffer")
        sgd(params, grads, momenta, step, **{n: group[n] for n in names}, **common)
