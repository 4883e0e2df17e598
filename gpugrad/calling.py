"""A call of NumPy's function as a call of ours: arguments matched by name, else by place.

NumPy's first parameter is ``a`` where ours is ``x``, and ``order`` or ``casting`` say how to
compute and not what. An argument that ours has no place for raises an error that names it: it is
never dropped.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

_SILENT = {"casting", "copy", "like", "order", "subok"}
"""Parameters that change no value, where ours has none of that name."""

_BY_PLACE = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class Match(NamedTuple):
    """How the parameters of one function of NumPy's meet ours.

    ``aligned`` counts the leading ones that may be passed on by position, ``same`` has those with
    one name in both, ``places`` those of another name at the same place.
    """

    theirs: inspect.Signature | None
    aligned: float
    same: frozenset[str]
    places: dict[str, int]


@functools.cache
def match(func: Callable[..., Any], rule: Callable[..., Any]) -> Match:
    """Match the parameters of ``func``, which is NumPy's, with those of ``rule``, which is ours."""
    mine = inspect.signature(rule).parameters.values()
    by_keyword = {p.name for p in mine if p.kind not in (_BY_PLACE[0], p.VAR_POSITIONAL)}
    by_place = [p.name for p in mine if p.kind in _BY_PLACE]
    takes_any = any(p.kind == p.VAR_POSITIONAL for p in mine)
    try:
        signature = inspect.signature(func)
    except ValueError:  # written in C
        return Match(None, float("inf"), frozenset(by_keyword), {})
    theirs = list(signature.parameters.values())
    names = {p.name for p in theirs}
    same = frozenset(names & by_keyword)
    places = {
        p.name: at
        for at, (p, name) in enumerate(zip(theirs, by_place))
        if p.kind in _BY_PLACE and p.name not in same and (name == p.name or name not in names)
    }
    aligned: float = float("inf") if takes_any else 0
    if not takes_any:
        for p, name in zip(theirs, by_place):
            if p.kind == p.VAR_POSITIONAL:
                aligned = float("inf")
            if p.kind not in _BY_PLACE or (p.name != name and p.name not in places):
                break
            aligned += 1
    return Match(signature, aligned, same, places)


def translate(
    func: Callable[..., Any], rule: Callable[..., Any], args: Any, kwargs: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """The arguments for ``rule`` of a call ``func(*args, **kwargs)``."""
    found = match(func, rule)
    if len(args) <= found.aligned:
        if found.same.issuperset(kwargs):
            return args, kwargs
        if found.theirs is None:
            return args, {k: v for k, v in kwargs.items() if k in found.same or k not in _SILENT}
    assert found.theirs is not None
    given = found.theirs.bind(*args, **kwargs)
    by_place: dict[int, Any] = {}
    by_name: dict[str, Any] = {}
    rest: tuple[Any, ...] = ()
    for name, value in given.arguments.items():
        parameter = found.theirs.parameters[name]
        if parameter.kind == parameter.VAR_KEYWORD:
            by_name.update(value)
        elif parameter.kind == parameter.VAR_POSITIONAL and found.aligned == float("inf"):
            rest = value
        elif name in found.places:
            by_place[found.places[name]] = value
        elif name in found.same:
            by_name[name] = value
        elif name not in _SILENT and not _is_default(value, parameter.default):
            raise TypeError(
                f"{func.__name__}: gpugrad's has no parameter {name!r}, so its value "
                f"{value!r:.60} would be lost; see help(gpugrad.numpy.{func.__name__})"
            )
    positional: list[Any] = []
    while len(positional) in by_place:
        positional.append(by_place.pop(len(positional)))
    mine = list(inspect.signature(rule).parameters)
    by_name.update({mine[at]: value for at, value in by_place.items()})
    return [*positional, *rest], by_name


def _is_default(value: Any, default: Any) -> bool:
    if value is default:
        return True
    plain = bool | int | float | str
    return isinstance(value, plain) and isinstance(default, plain) and bool(value == default)
