"""Modules made of modules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
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


def _module(f: Callable[..., Any]) -> Module:
    return f if isinstance(f, Module) else Lambda(f)


class Identity(Module):
    """What it is given; what it is made with does not count."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, x: Any) -> Any:
        return x


class Sequential(Module):
    """Modules, or plain functions, one after the other.

    Parameters
    ----------
    *layers
        Each takes what the one before returns; or one dict of them, by their names.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad import nn
    >>> model = nn.Sequential(nn.Linear(2, 8), nn.relu, nn.Linear(8, 1))
    >>> model(np.ones((5, 2), "float32")).shape
    (5, 1)
    """

    _unnamed = "layers"

    def __init__(self, *layers: Any) -> None:
        super().__init__()
        self.layers: list[Module] | dict[str, Module]
        if len(layers) == 1 and isinstance(layers[0], Mapping):
            self.layers = {name: _module(f) for name, f in layers[0].items()}
        else:
            self.layers = [_module(f) for f in layers]

    def forward(self, x: Any) -> Any:
        for layer in self:
            x = layer(x)
        return x

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Module]:
        return iter(self.layers.values() if isinstance(self.layers, dict) else self.layers)

    def __getitem__(self, index: int | slice) -> Any:
        if not isinstance(index, slice):
            return list(self)[index]
        if isinstance(self.layers, dict):
            return Sequential(dict(list(self.layers.items())[index]))
        return Sequential(*self.layers[index])


class ModuleList(Module):
    """A list of modules that the module which holds it calls as it likes.

    Parameters
    ----------
    modules : iterable of Module, optional
        What it holds at first.
    """

    _unnamed = "items"

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        self.items = [] if modules is None else list(modules)

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
        self.layer = _module(layer)

    def forward(self, x: Any) -> Any:
        return x + self.layer(x)


class Flatten(Module):
    """The axes ``start_dim`` to ``end_dim`` as one.

    Parameters
    ----------
    start_dim, end_dim : int
        The first and the last axis to join: all but the samples' by default.
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, x: Any) -> Any:
        first, last = self.start_dim % x.ndim, self.end_dim % x.ndim
        return x.reshape(*x.shape[:first], -1, *x.shape[last + 1 :])
