"""The exponential moving average of a model's weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from gpugrad.array import Array
from gpugrad.core.box import strip
from gpugrad.device import on
from gpugrad.nn.module import Module


class EMA:
    """Averaged weights: ``average = decay * average + (1 - decay) * weight`` at each update.

    Parameters
    ----------
    model : Module
        Whose parameters are averaged.
    decay : float
        How much of the average stays (Polyak & Juditsky 1992 average all alike).

    Examples
    --------
    >>> import gpugrad as gg
    >>> model = gg.nn.Linear(2, 1)
    >>> ema = gg.optim.EMA(model, decay=0.9)
    >>> ema.update()  # after each step of the optimizer
    >>> with ema.applied():
    ...     pass  # the model has the averaged weights here
    """

    def __init__(self, model: Module, decay: float = 0.999) -> None:
        if not 0 <= decay <= 1:
            raise ValueError(f"EMA: decay is between 0 and 1, got {decay}")
        self.model = model
        self.decay = decay
        self.averages = {n: strip(p.detach()).copy() for n, p in model.named_parameters()}

    def update(self) -> None:
        """Take the weights of now into the averages."""
        for name, p in self.model.named_parameters():
            mean = self.averages[name]
            with on(p.device):
                mean += (1 - self.decay) * (strip(p.detach()) - mean)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model has the averages instead of its weights inside."""
        kept = {n: v.copy() for n, v in self.model.state_dict().items()}
        self.model.load_state_dict(self.state_dict(), strict=False)
        try:
            yield
        finally:
            self.model.load_state_dict(kept)

    def state_dict(self) -> dict[str, Array]:
        """The averages by the parameters' names."""
        return {name: Array(mean) for name, mean in self.averages.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue with these averages.

        Raises
        ------
        ValueError
            For other names or shapes; nothing has been changed then.
        """
        new = {}
        for name, mean in self.averages.items():
            found = state.get(name)
            if found is None or np.shape(found) != mean.shape:
                got = "nothing" if found is None else f"shape {np.shape(found)}"
                raise ValueError(f"EMA: {name} has shape {mean.shape}, got {got}")
            device = Array(mean).device
            new[name] = strip(Array(found, mean.dtype, device=device, copy=True))
        self.averages = new
