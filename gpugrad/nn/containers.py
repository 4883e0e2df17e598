"""Modules made of modules."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from gpugrad.array import Array
from gpugrad.nn.module import Module, is_parameter, parameter


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


class ModuleDict(Module):
    """Modules by name, which the module that holds them calls as it likes.

    Parameters
    ----------
    modules : mapping of str to Module, optional
        What it holds at first.

    Examples
    --------
    >>> from gpugrad import nn
    >>> heads = nn.ModuleDict({"a": nn.Linear(2, 1), "b": nn.Linear(2, 3)})
    >>> list(heads.state_dict())
    ['a.weight', 'a.bias', 'b.weight', 'b.bias']
    """

    _unnamed = "_by_name"

    def __init__(self, modules: Mapping[str, Module] | None = None) -> None:
        super().__init__()
        self._by_name: dict[str, Module] = {}
        self.update({} if modules is None else modules)

    def update(self, modules: Mapping[str, Module]) -> None:
        """Add modules, or replace those of the same names."""
        self._by_name.update(modules)

    def keys(self) -> Iterable[str]:
        """The names."""
        return self._by_name.keys()

    def values(self) -> Iterable[Module]:
        """The modules."""
        return self._by_name.values()

    def items(self) -> Iterable[tuple[str, Module]]:
        """The names with their modules."""
        return self._by_name.items()

    def pop(self, key: str) -> Module:
        """Take a module out, and return it."""
        return self._by_name.pop(key)

    def __getitem__(self, key: str) -> Module:
        return self._by_name[key]

    def __setitem__(self, key: str, module: Module) -> None:
        self._by_name[key] = module

    def __delitem__(self, key: str) -> None:
        del self._by_name[key]

    def __contains__(self, key: str) -> bool:
        return key in self._by_name

    def __len__(self) -> int:
        return len(self._by_name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)


class ParameterList(Module):
    """A list of parameters; what is no `Array` becomes one.

    Parameters
    ----------
    values : iterable of array, optional
        What it holds at first.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad import nn
    >>> scales = nn.ParameterList([np.ones(2), np.zeros(3)])
    >>> [p.shape for p in scales], list(scales.state_dict())
    ([(2,), (3,)], ['0', '1'])
    """

    _unnamed = "_list"

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        super().__init__()
        self._list: list[Array] = []
        self.extend(() if values is None else values)

    def append(self, value: Any) -> ParameterList:
        """Add a parameter at the end; returns itself."""
        self._list.append(_as_parameter(value))
        return self

    def extend(self, values: Iterable[Any]) -> ParameterList:
        """Add parameters at the end; returns itself."""
        for value in values:
            self.append(value)
        return self

    def __len__(self) -> int:
        return len(self._list)

    def __iter__(self) -> Iterator[Array]:
        return iter(self._list)

    def __getitem__(self, index: int | slice) -> Any:
        found = self._list[index]
        return ParameterList(found) if isinstance(found, list) else found

    def __setitem__(self, index: int, value: Any) -> None:
        self._list[index] = _as_parameter(value)


def _as_parameter(value: Any) -> Array:
    return value if is_parameter(value) else parameter(value)


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


class Unflatten(Module):
    """One axis as several.

    Parameters
    ----------
    dim : int
        The axis.
    unflattened_size : tuple of int
        What its length is divided into; one of them may be -1, for what is left.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad import nn
    >>> nn.Unflatten(1, (3, -1))(np.ones((2, 12))).shape
    (2, 3, 4)
    """

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        super().__init__()
        self.dim = dim
        self.unflattened_size = tuple(unflattened_size)

    def forward(self, x: Any) -> Any:
        at, size = self.dim % x.ndim, self.unflattened_size
        length, unknown = x.shape[at], size.count(-1)
        known = math.prod([n for n in size if n != -1])
        fits = known and length % known == 0 if unknown else length == known
        if unknown > 1 or not fits:
            raise ValueError(f"Unflatten: axis {self.dim} of shape {x.shape} is not {size}")
        return x.reshape(*x.shape[:at], *size, *x.shape[at + 1 :])

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
