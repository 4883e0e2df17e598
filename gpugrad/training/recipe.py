"""How a model was made, in words that a file can hold."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar, cast

import numpy as np

from gpugrad import random
from gpugrad.nn.module import Module

F = TypeVar("F", bound=Callable[..., Any])

_builders: dict[str, Callable[..., Any]] = {}

# Where a model lives and what draws its first weights are not part of what it is.
_LEFT_OUT = ("device", "generator")


def rebuildable(builder: F) -> F:
    """Let `gpugrad.load` make such models: for a module's class, or a function that returns one.

    The arguments of each call are noted in the model, and `gpugrad.save` writes them beside the
    weights: so they are numbers, strings, None, and lists, tuples and dicts of these; a dtype is
    noted by its name, ``device`` and ``generator`` are not noted. It is found again under its
    module's and its own name, so it is defined at the top of a module that can be imported.

    Parameters
    ----------
    builder : class or callable
        What makes the model.

    Examples
    --------
    >>> import gpugrad as gg
    >>> from gpugrad.training import rebuildable
    >>> @rebuildable
    ... def network(width, device=None):
    ...     return gg.nn.Sequential(gg.nn.Linear(3, width, device=device), gg.nn.relu)
    >>> gg.save(network(5), "model.safetensors")
    >>> gg.load("model.safetensors")
    Sequential(parameters=20
      (0): Linear(in_features=3, out_features=5, parameters=20)
      (1): Lambda(relu)
    )
    """
    name = f"{builder.__module__}:{builder.__qualname__}"
    _builders[name] = builder
    if isinstance(builder, type):
        _note_when_made(builder, name)
        return cast(F, builder)
    signature = inspect.signature(builder)

    @functools.wraps(builder)
    def noting(*args: Any, **kwargs: Any) -> Any:
        model = builder(*args, **kwargs)
        model.recipe = _recipe(name, signature.bind(*args, **kwargs))
        return model

    return cast(F, noting)


def _note_when_made(cls: Any, name: str) -> None:
    plain = cls.__init__
    signature = inspect.signature(plain)

    @functools.wraps(plain)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        plain(self, *args, **kwargs)
        if type(self) is cls:  # what a subclass adds is not known here
            bound = signature.bind(self, *args, **kwargs)
            del bound.arguments[next(iter(signature.parameters))]
            self.recipe = _recipe(name, bound)

    cls.__init__ = init


def _recipe(name: str, bound: inspect.BoundArguments) -> dict[str, Any]:
    bound.apply_defaults()
    arguments = dict(bound.arguments)
    for parameter in bound.signature.parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            arguments[parameter.name] = _noted(arguments[parameter.name])
    return {"builder": name, "arguments": _noted(arguments)}


def _noted(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {k: _words(v) for k, v in arguments.items() if k not in _LEFT_OUT}


def _words(value: Any) -> Any:
    if isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, np.generic)):
        return np.dtype(value).name
    if isinstance(value, list | tuple):
        words = [_words(v) for v in value]
        return words if isinstance(value, list) else tuple(words)
    return value


def recipe_of(model: Module) -> dict[str, Any] | None:
    """What `rebuildable` noted in a model, or None."""
    found: dict[str, Any] | None = getattr(model, "recipe", None)
    return found


def told(recipe: Mapping[str, Any] | None) -> str:
    """A recipe for people to read."""
    if recipe is None:
        return "a model that is not marked with rebuildable"
    given = ", ".join(f"{k}={v!r}" for k, v in recipe["arguments"].items())
    return f"{recipe['builder'].partition(':')[2]}({given})"


def build(recipe: Mapping[str, Any], device: Any) -> Module:
    """Make the model again; its weights are drawn anew, and nothing of that is seen elsewhere.

    Raises
    ------
    LookupError
        If nothing of that name is marked with `rebuildable`, or takes arguments of those names.
    """
    name = recipe["builder"]
    if name not in _builders and name.startswith("gpugrad."):
        # Only our own: a file does not decide which modules of the user's are run.
        with suppress(ImportError):
            importlib.import_module(name.partition(":")[0])
    builder = _builders.get(name)
    if builder is None:
        raise LookupError(
            f"{name.replace(':', '.')} is not known here: import the module that defines it and "
            "marks it with gpugrad.training.rebuildable, or give a model to load into"
        )
    signature = inspect.signature(builder)
    arguments = dict(recipe["arguments"])
    unknown = sorted(arguments.keys() - signature.parameters.keys())
    if unknown:
        raise LookupError(f"{told(recipe)} cannot be made, as there is no argument {unknown[0]!r}")
    if "device" in signature.parameters:
        arguments["device"] = device
    bound = inspect.BoundArguments(signature, OrderedDict(arguments))
    bound.apply_defaults()
    before = random.default_generator.state_dict()
    try:
        model: Module = builder(*bound.args, **bound.kwargs)
    finally:
        random.default_generator.load_state_dict(before)
    model.recipe = {"builder": name, "arguments": dict(recipe["arguments"])}  # type: ignore[attr-defined]
    return model.to(device)
