"""A module whose residuals are computed again instead of kept."""

from __future__ import annotations

from typing import Any

from gpugrad import random
from gpugrad.nn.module import Buffer, Module
from gpugrad.transforms.custom import checkpoint


class Checkpoint(Module):
    """`gpugrad.checkpoint` of a module: the backward pass runs it again.

    The second run draws the numbers that the first drew, so dropout leaves out the same; running
    moments count once. Parameters keep their names, with or without this.

    Parameters
    ----------
    module : Module
        What is run.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad import nn
    >>> block = nn.Checkpoint(nn.Sequential(nn.Linear(3, 3), nn.relu, nn.Dropout(0.5)))
    >>> block(np.ones((2, 3), "float32")).sum().backward()
    >>> sorted(block.state_dict())
    ['0.bias', '0.weight']
    """

    _unnamed = "module"

    def __init__(self, module: Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        starts: list[dict[str, int]] = []

        def run(*args: Any, **kwargs: Any) -> Any:
            generators, buffers = self._state()
            now = [g.state_dict() for g in generators]
            if not starts:
                starts.extend(now)
                return self.module(*args, **kwargs)
            values = [b.value for b in buffers]
            try:
                for g, start in zip(generators, starts, strict=True):
                    g.load_state_dict(start)
                for b in buffers:
                    b.value = b.value.copy()
                return self.module(*args, **kwargs)
            finally:
                for g, state in zip(generators, now, strict=True):
                    g.load_state_dict(state)
                for b, value in zip(buffers, values, strict=True):
                    b.value = value

        return checkpoint(run)(*args, **kwargs)

    def _state(self) -> tuple[list[random.Generator], list[Buffer]]:
        """What a run changes besides what it returns."""
        generators = {id(random.default_generator): random.default_generator}
        buffers = {}
        for module in self.module.modules():
            for part in vars(module).values():
                if isinstance(part, random.Generator):
                    generators[id(part)] = part
            for _, part in module._made_of():
                if isinstance(part, Buffer):
                    buffers[id(part)] = part
        return list(generators.values()), list(buffers.values())
