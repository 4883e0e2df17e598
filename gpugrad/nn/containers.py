"""Modules made of modules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from gpugrad.nn.module import Module


class Lambda(Module):
    """A function as a module.

    Parameters
    ----------
    f : callable
        What `forward` calls.
    """

    def __init__(self, f: Callable[..., Any]) -> None:
        super().__init__()
        self.f = f

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.f(*args, **kwargs)

    def extra_repr(self) -> str:
        return str(getattr(self.f, "__name__", None) or getattr(self.f, "name", repr(self.f)))


class Sequential(Module):
    """Modules, or plain functions, one after the other.

    Parameters
    ----------
    *layers
        Each takes what the one before returns.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad import nn
    >>> model = nn.Sequential(nn.Linear(2, 8), nn.relu, nn.Linear(8, 1))
    >>> model(np.ones((5, 2), "float32")).shape
    (5, 1)
    """

    _unnamed = "layers"

    def __init__(self, *layers: Callable[..., Any]) -> None:
        super().__init__()
        self.layers = [f if isinstance(f, Module) else Lambda(f) for f in layers]

    def forward(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        return x

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Module]:
        return iter(self.layers)

    def __getitem__(self, index: int | slice) -> Any:
        found = self.layers[index]
        return Sequential(*found) if isinstance(found, list) else found


class ModuleList(Module):
    """A list of modules that the module which holds it calls as it likes.

    Parameters
    ----------
    modules : iterable of Module
        What it holds at first.
    """

    _unnamed = "items"

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        self.items = list(modules)

    def append(self, module: Module) -> ModuleList:
        """Add a module at the end; returns itself."""
        self.items.append(module)
        return self

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Module]:
        return iter(self.items)

    def __getitem__(self, index: int | slice) -> Any:
        found = self.items[index]
        return ModuleList(found) if isinstance(found, list) else found


class Residual(Module):
    """``x + layer(x)`` (He et al. 2016).

    Parameters
    ----------
    layer : Module or callable
        Its output has the shape of its input.
    """

    def __init__(self, layer: Callable[..., Any]) -> None:
        super().__init__()
        self.layer = layer if isinstance(layer, Module) else Lambda(layer)

    def forward(self, x: Any) -> Any:
        return x + self.layer(x)


class Flatten(Module):
    """The axes ``start`` to ``end`` as one.

    Parameters
    ----------
    start, end : int
        The first and the last axis to join: all but the samples' by default.
    """

    def __init__(self, start: int = 1, end: int = -1) -> None:
        super().__init__()
        self.start = start
        self.end = end

    def forward(self, x: Any) -> Any:
        first, last = self.start % x.ndim, self.end % x.ndim
        return x.reshape(*x.shape[:first], -1, *x.shape[last + 1 :])
