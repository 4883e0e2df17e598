"""Modules as pytrees: the leaves are the parameters, detached, and what is shared is one leaf."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import numpy as np
import optree
from optree.registry import __GLOBAL_NAMESPACE as EVERYWHERE

from gpugrad.array import Array
from gpugrad.nn.module import Buffer, Module, is_parameter

M = TypeVar("M", bound=Module)

Path = tuple[Any, ...]
"""Attributes of modules, indices and keys, which lead from a module to an array."""

_LEAVES = "_leaves"
"""Where a rebuilt module notes what its leaves are, which may be anything: shapes, None."""


def _same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and (isinstance(a, Buffer) or bool(np.all(a == b)))


class _Settings:
    """What of a module is no leaf: equal where the settings are; buffers are not compared."""

    __slots__ = ("names", "rest", "shared")

    def __init__(
        self, names: tuple[str, ...], rest: dict[str, Any], shared: tuple[tuple[Path, Path], ...]
    ) -> None:
        self.names = names
        self.rest = rest
        self.shared = shared

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Settings):
            return False
        if (self.names, self.shared) != (other.names, other.shared):
            return False
        # By identity first: a setting may be an array, whose == is no single truth.
        mine, theirs = self.rest, other.rest
        return mine.keys() == theirs.keys() and all(
            v is theirs[k] or _same(v, theirs[k]) for k, v in mine.items()
        )

    def __hash__(self) -> int:
        return hash(self.names)

    def __repr__(self) -> str:
        return ", ".join(self.names)


class _Shared:
    """Stands where an array of another place is: a pytree without leaves."""


_register: Any = optree.register_pytree_node  # its annotations want a collection
_register(_Shared, lambda _: ((), None, ()), lambda _, __: _Shared(), namespace=EVERYWHERE)


_PLAIN = frozenset({bool, int, float, str, type(None), Buffer})


def _is_leaf(value: Any) -> bool:
    return is_parameter(value) or bool(hasattr(value, "__array_function__") and value.ndim)


def _inside(value: Any) -> Any:
    """Names or places and what is there, of what a module is made of; else None."""
    kind = type(value)
    if kind is list or kind is tuple:
        return enumerate(value)
    if kind is dict:
        return value.items()
    return vars(value).items() if isinstance(value, Module) else None


def _collect(values: Iterable[Any], found: list[int]) -> None:
    """The arrays' ids, on the way of each flattening: most values are neither arrays nor parts."""
    for value in values:
        kind = type(value)
        if kind in _PLAIN:
            continue
        if kind is Array:
            found.append(id(value))
        elif kind is list or kind is tuple:
            _collect(value, found)
        elif kind is dict:
            _collect(value.values(), found)
        elif isinstance(value, Module):
            _collect(vars(value).values(), found)
        elif _is_leaf(value):
            found.append(id(value))


def _arrays(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    """The arrays inside, with the paths to them."""
    inside = _inside(value)
    if inside is not None:
        for key, part in inside:
            yield from _arrays(part, (*path, key))
    elif _is_leaf(value):
        yield path, value


def _shared(module: Module) -> tuple[tuple[Path, Path], ...]:
    """For each array that comes up again: the place, and where it came up first."""
    found: list[int] = []
    _collect(vars(module).values(), found)
    if len(set(found)) == len(found):
        return ()
    first: dict[int, Path] = {}
    pairs = [(path, first.setdefault(id(a), path)) for path, a in _arrays(module, ())]
    return tuple([pair for pair in pairs if pair[0] is not pair[1]])


def _at(value: Any, path: Path) -> Any:
    for key in path:
        value = vars(value)[key] if isinstance(value, Module) else value[key]
    return value


def _with(value: Any, path: Path, new: Any) -> Any:
    """A copy with another value at ``path``."""
    if not path:
        return new
    key, *rest = path
    if isinstance(value, Module):
        copy = object.__new__(type(value))
        vars(copy).update(vars(value))
        vars(copy)[key] = _with(vars(value)[key], tuple(rest), new)
        return copy
    if isinstance(value, dict):
        return {**value, key: _with(value[key], tuple(rest), new)}
    return type(value)([_with(v, tuple(rest), new) if i == key else v for i, v in enumerate(value)])


def _holds_arrays(value: Any) -> bool:
    if isinstance(value, Module | _Shared) or is_parameter(value):
        return True
    if isinstance(value, list | tuple):
        return any(map(_holds_arrays, value))
    return isinstance(value, dict) and any(map(_holds_arrays, value.values()))


def _detached(value: Any) -> Any:
    # Only the tape of requires_grad is left: an enclosing transform's box stays one.
    if isinstance(value, Array):
        return value.detach() if value.requires_grad else value
    if type(value) in (list, tuple):
        return type(value)(map(_detached, value))
    if type(value) is dict:
        return {key: _detached(v) for key, v in value.items()}
    if isinstance(value, list | tuple | dict):  # of another class: a named tuple, an OrderedDict
        whole: Any = value
        return optree.tree_map(_detached, whole, is_leaf=lambda v: isinstance(v, Module))
    return value


def _flatten(module: Module) -> tuple[list[Any], _Settings, tuple[str, ...]]:
    shared = _shared(module)
    for path, _ in shared:
        module = _with(module, path, _Shared())
    children: list[Any] = []
    names: list[str] = []
    rest: dict[str, Any] = {}
    known = vars(module).get(_LEAVES, ())
    for name, value in vars(module).items():
        if name in known or _holds_arrays(value):
            names.append(name)
            children.append(_detached(value))
        elif name != _LEAVES:
            rest[name] = value
    return children, _Settings(tuple(names), rest, shared), tuple(names)


def _unflatten(cls: type[M]) -> Callable[[_Settings, Any], M]:
    def rebuild(settings: _Settings, children: Any) -> M:
        module = object.__new__(cls)
        vars(module).update(settings.rest)
        vars(module).update(zip(settings.names, children, strict=True))
        vars(module)[_LEAVES] = settings.names
        for path, source in settings.shared:
            try:
                module = _with(module, path, _at(module, source))
            except (KeyError, IndexError, TypeError):
                continue  # something else was put where a layer was
        return module

    return rebuild


def register(cls: type[Module]) -> None:
    """Make a class of modules one of pytrees."""
    entry = optree.GetAttrEntry  # paths are attributes: model.layers[0].weight
    _register(cls, _flatten, _unflatten(cls), path_entry_type=entry, namespace=EVERYWHERE)
