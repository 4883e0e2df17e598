"""Adagrad."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gpugrad.array import Array
from gpugrad.kernels.many import wide
from gpugrad.kernels.optimizer import adagrad
from gpugrad.optim.optimizer import Group, Optimizer


class Adagrad(Optimizer):
    """Adagrad (Duchi, Hazan & Singer 2011): ``s += g²``, ``p -= lr / (1 + t lr_decay) g / √s``.

    Parameters
    ----------
    params : iterable of Array or dict
        What to train, as for every `Optimizer`.
    lr, lr_decay : float
        Learning rate, and how fast it falls with the number of steps ``t``.
    weight_decay : float
        Adds ``weight_decay * p`` to the gradient.
    initial_accumulator_value : float
        What ``s`` is at first.
    eps : float
        Is added to ``√s``.
    maximize : bool
        Go up the gradient.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "lr_decay": lr_decay,
                "weight_decay": weight_decay,
                "initial_accumulator_value": initial_accumulator_value,
                "eps": eps,
                "maximize": maximize,
            },
        )

    _slots = ("sum",)

    def _start(self, group: Group, name: str, xp: Any, p: Array) -> Any:
        return xp.full(p.shape, group["initial_accumulator_value"], wide(p.dtype))

    def _kernel(
        self, group: Group, params: Any, grads: Any, states: Any, step: Any, common: Any
    ) -> None:
        names = ("lr_decay", "weight_decay", "eps")
        adagrad(params, grads, states["sum"], step, **{n: group[n] for n in names}, **common)
