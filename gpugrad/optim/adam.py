"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gpugrad.kernels.optimizer import adam
from gpugrad.optim.optimizer import Group, Optimizer


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015), or AMSGrad (Reddi et al. 2018).

    ``m`` and ``v`` are running means of the gradient and its square, ``t`` counts the steps:
    ``p -= lr * (m / (1 - beta1**t)) / (sqrt(v / (1 - beta2**t)) + eps)``.

    Parameters
    ----------
    params : iterable of Array or dict
        What to train, as for every `Optimizer`.
    lr : float
        Learning rate.
    betas : pair of float
        How much of ``m`` and of ``v`` stays.
    eps : float
        Keeps the quotient finite.
    weight_decay : float
        Adds ``weight_decay * p`` to the gradient.
    amsgrad : bool
        Divide by the largest ``v`` so far.
    maximize : bool
        Go up the gradient.

    Examples
    --------
    >>> import numpy as np, gpugrad as gg
    >>> from gpugrad.optim import Adam
    >>> w = gg.Array(np.array([1.0, -2.0]), requires_grad=True)
    >>> Adam([w], lr=0.1).step([np.array([0.5, -3.0])])
    >>> w.detach().round(6)
    Array([ 0.9, -1.9], dtype=float64, device=cpu)
    """

    _decoupled = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": tuple(betas),
                "eps": eps,
                "weight_decay": weight_decay,
                "amsgrad": amsgrad,
                "maximize": maximize,
            },
        )

    def _states(self, group: Group) -> tuple[str, ...]:
        largest = ("max_exp_avg_sq",) if group["amsgrad"] else ()
        return ("exp_avg", "exp_avg_sq", *largest)

    def _kernel(
        self, group: Group, params: Any, grads: Any, states: Any, step: Any, common: Any
    ) -> None:
        adam(
            params,
            grads,
            states["exp_avg"],
            states["exp_avg_sq"],
            step,
            states.get("max_exp_avg_sq"),
            betas=tuple(group["betas"]),
            eps=group["eps"],
            weight_decay=group["weight_decay"],
            decoupled_weight_decay=self._decoupled,
            **common,
        )


class AdamW(Adam):
    """Adam with weight decay apart from the gradient (Loshchilov & Hutter 2019).

    ``p -= lr * weight_decay * p`` comes before Adam's step. The parameters are `Adam`'s.
    """

    _decoupled = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize)
