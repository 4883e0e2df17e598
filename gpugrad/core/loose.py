"""Lists in the place of arrays, which NumPy's functions take, and so do ours.

Nothing looks for them on the way that arrays go: a primitive that meets a list raises `Loose`, and
its call begins anew with an array. How lists become one, operations know (`ops.operands`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

LISTS = {list, tuple}


class Loose(TypeError):
    """An operand is a list."""


def refuse_lists(values: Iterable[Any]) -> None:
    """Raise `Loose` if there is a list among the operands."""
    for v in values:
        if type(v) in LISTS:
            raise Loose("a list in the place of an array")


def settled(values: Iterable[Any]) -> tuple[Any, ...]:
    """Operands with an array for each list, on the device of the others."""
    values = tuple(values)
    arrays = as_arrays[0](*values)
    return tuple([a if type(v) in LISTS else v for v, a in zip(values, arrays)])


def array_of(x: Any) -> Any:
    """``x``, as an array if it is a list."""
    return settled([x])[0] if type(x) in LISTS else x


def beside(a: Any, b: Any) -> tuple[Any, Any]:
    """Two operands, with an array on the other's device for a list."""
    if type(a) in LISTS or type(b) in LISTS:
        a, b = settled([a, b])
    return a, b


as_arrays: list[Callable[..., tuple[Any, ...]]] = []
"""How operands become arrays: `gpugrad.ops.operands.as_arrays` puts itself here."""
