"""A module whose residuals are computed again instead of kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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
        replays: list[Replay] = []

        def run(*args: Any, **kwargs: Any) -> Any:
            if not replays:
                replays.append(Replay(self.module))
                return self.module(*args, **kwargs)
            with replays[0].again():
                return self.module(*args, **kwargs)

        return checkpoint(run)(*args, **kwargs)


def generators_of(module: Module | None) -> list[random.Generator]:
    """What a module draws from: the default generator, and those that its layers hold."""
    layers = () if module is None else module.modules()
    parts = [part for layer in layers for part in vars(layer).values()]
    held = [part for part in parts if isinstance(part, random.Generator)]
    return list({id(g): g for g in (random.default_generator, *held)}.values())


class Replay:
    """Where the random generators are now, to run something again with the same numbers.

    Parameters
    ----------
    module : Module, optional
        What is run: its own generators count too, and its buffers change once only.
    """

    def __init__(self, module: Module | None = None) -> None:
        inside = () if module is None else list(module.modules())
        parts = [part for each in inside for _, part in each._made_of()]
        buffers = {id(part): part for part in parts if isinstance(part, Buffer)}
        self._generators, self._buffers = generators_of(module), list(buffers.values())
        self._starts = [g.state_dict() for g in self._generators]

    def drawn(self) -> bool:
        """Whether one of the generators has made numbers since."""
        return [g.state_dict() for g in self._generators] != self._starts

    @contextmanager
    def again(self) -> Iterator[None]:
        """Inside, random numbers are those of then, and what buffers become is forgotten."""
        now = [g.state_dict() for g in self._generators]
        values = [b.value for b in self._buffers]
        try:
            for g, start in zip(self._generators, self._starts, strict=True):
                g.load_state_dict(start)
            for b in self._buffers:
                b.value = b.value.copy()
            yield
        finally:
            for g, state in zip(self._generators, now, strict=True):
                g.load_state_dict(state)
            for b, value in zip(self._buffers, values, strict=True):
                b.value = value
