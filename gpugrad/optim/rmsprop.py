"""RMSprop."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gpugrad.kernels.optimizer import rmsprop
from gpugrad.optim.optimizer import Group, Optimizer


class RMSprop(Optimizer):
    """RMSprop (Tieleman & Hinton 2012): ``p -= lr g / (√v + eps)``.

    ``v = alpha v + (1 - alpha) g²`` comes before.

    Parameters
    ----------
    params : iterable of Array or dict
        What to train, as for every `Optimizer`.
    lr : float
        Learning rate.
    alpha : float
        How much of ``v`` stays.
    eps : float
        Keeps the quotient finite.
    weight_decay : float
        Adds ``weight_decay * p`` to the gradient.
    momentum : float
        Step by ``b = momentum * b + g / (√v + eps)``.
    centered : bool
        Take the running variance, not the mean square.
    maximize : bool
        Go up the gradient.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "alpha": alpha,
                "eps": eps,
                "weight_decay": weight_decay,
                "momentum": momentum,
                "centered": centered,
                "maximize": maximize,
            },
        )

    def _states(self, group: Group) -> tuple[str, ...]:
        mean = ("grad_avg",) if group["centered"] else ()
        return ("square_avg", *mean, *(("momentum_buffer",) if group["momentum"] else ()))

    def _kernel(
        self, group: Group, params: Any, grads: Any, states: Any, step: Any, common: Any
    ) -> None:
        names = ("alpha", "eps", "weight_decay", "momentum")
        rmsprop(
            params,
            grads,
            states["square_avg"],
            step,
            states.get("grad_avg"),
            states.get("momentum_buffer"),
            **{n: group[n] for n in names},
            **common,
        )
