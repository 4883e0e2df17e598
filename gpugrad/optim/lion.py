"""Lion."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gpugrad.kernels.optimizer import lion
from gpugrad.optim.optimizer import Group, Optimizer


class Lion(Optimizer):
    """Lion (Chen et al. 2023): ``p -= lr (sign(beta1 m + (1 - beta1) g) + weight_decay p)``.

    ``m = beta2 m + (1 - beta2) g`` follows.

    Parameters
    ----------
    params : iterable of Array or dict
        What to train, as for every `Optimizer`.
    lr : float
        Learning rate.
    betas : pair of float
        How much of ``m`` counts in the step, and stays.
    weight_decay : float
        Draws parameters to 0, apart from the gradient.
    maximize : bool
        Go up the gradient.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": tuple(betas),
                "weight_decay": weight_decay,
                "maximize": maximize,
            },
        )

    _slots = ("exp_avg",)

    def _kernel(
        self, group: Group, params: Any, grads: Any, states: Any, step: Any, common: Any
    ) -> None:
        lion(
            params,
            grads,
            states["exp_avg"],
            step,
            betas=tuple(group["betas"]),
            weight_decay=group["weight_decay"],
            **common,
        )
