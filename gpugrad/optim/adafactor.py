"""Adafactor."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gpugrad.array import Array
from gpugrad.kernels.adafactor import adafactor
from gpugrad.kernels.many import wide
from gpugrad.optim.optimizer import Group, Optimizer


class Adafactor(Optimizer):
    """Adafactor (Shazeer & Stern 2018): Adam's second moments kept by rows and columns only.

    For a parameter (..., R, C) the state has R + C numbers in place of R C; a vector keeps all of
    its own. The step is relative to the parameter's size: ``lr``, or ``1/sqrt(t)`` at step t where
    that is less, times the root mean square of the parameter.

    Parameters
    ----------
    params : iterable of Array or dict
        What to train, as for every `Optimizer`.
    lr : float
        Learning rate, relative to the parameters.
    beta2_decay : float
        The moments of step t move by ``t**beta2_decay`` to the squared gradient; not positive.
    eps : (float or None, float)
        The least second moment, by default the dtype's machine epsilon, and the least root mean
        square that a parameter counts with.
    d : float
        An update whose root mean square is above is scaled down to it; at least 1.
    weight_decay : float
        Draws parameters to 0, apart from the gradient.
    maximize : bool
        Go up the gradient.

    Examples
    --------
    >>> import numpy as np, gpugrad as gg
    >>> w = gg.Array(np.ones((300, 200)), requires_grad=True)
    >>> optimizer = gg.optim.Adafactor([w])
    >>> optimizer.step([np.ones((300, 200))])
    >>> {name: a.shape for name, a in optimizer.state_dict()["state"][0].items()}
    {'step': (1,), 'row_var': (300, 1), 'col_var': (1, 200)}
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        if beta2_decay > 0 or d < 1:
            raise ValueError(
                f"Adafactor: beta2_decay is 0 or less and d at least 1, got {beta2_decay} and {d}"
            )
        super().__init__(
            params,
            {
                "lr": lr,
                "beta2_decay": beta2_decay,
                "eps": tuple(eps),
                "d": d,
                "weight_decay": weight_decay,
                "maximize": maximize,
            },
        )

    _slots = ("row_var", "col_var", "variance")

    def _states_of(self, group: Group, p: Array) -> tuple[str, ...]:
        return self._slots[2:] if p.ndim < 2 else self._slots[:2]

    def _start(self, group: Group, name: str, xp: Any, p: Array) -> Any:
        shape = p.shape
        if name == "row_var":
            shape = (*shape[:-1], 1)
        elif name == "col_var":
            shape = (*shape[:-2], 1, shape[-1])
        return xp.zeros(shape, wide(p.dtype))

    def _kernel(
        self, group: Group, params: Any, grads: Any, states: Any, step: Any, common: Any
    ) -> None:
        rows, columns, own = (states[name] for name in self._slots)
        names = ("beta2_decay", "eps", "d", "weight_decay")
        options = {n: group[n] for n in names}
        adafactor(params, grads, rows, columns, own, step, **options, **common)
