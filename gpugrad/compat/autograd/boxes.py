"""Boxes of a user's own types."""

from __future__ import annotations

from typing import Any

from gpugrad.core import box as core
from gpugrad.ops.creation import raw_of

_classes: dict[type, type[Box]] = {}
"""The class of box for each type that a user registered."""


class _AnyBox(type):
    """Every box of gpugrad counts as an instance of ``Box``, whatever class it has."""

    def __instancecheck__(cls, instance: Any) -> bool:
        return isbox(instance) if cls is Box else super().__instancecheck__(instance)


class Box(core.Box, metaclass=_AnyBox):
    """Base of the boxes of a user's own types: ``_value`` is the user's object.

    Examples
    --------
    >>> from gpugrad.compat.autograd.extend import Box
    >>> class Meters:
    ...     def __init__(self, number):
    ...         self.number = number
    >>> class MetersBox(Box, Meters):
    ...     pass
    >>> MetersBox.register(Meters)
    """

    __slots__ = ()

    def __init__(self, value: Any, trace: Any, node: Any) -> None:
        self._value, self._trace, self._payload = value, trace, node

    @classmethod
    def register(cls, value_type: type) -> None:
        """Put values of ``value_type`` in boxes of this class."""
        _classes[value_type] = cls
        core.BOX_TYPES.add(cls)


def is_registered(value: Any) -> bool:
    """Whether a user registered a box for values like this one."""
    return type(value) in _classes


def any_registered() -> bool:
    """Whether a user registered any type at all."""
    return bool(_classes)


def isbox(x: Any) -> bool:
    """Whether ``x`` is being traced."""
    return isinstance(x, core.Box) and x._trace is not None


def getval(x: Any) -> Any:
    """The value under any number of boxes."""
    return raw_of(x)


def new_box(value: Any, trace: Any, node: Any) -> Any:
    """A box of the class that belongs to the type of the value underneath."""
    return _classes.get(type(raw_of(value)), core.box)(value, trace, node)


def fitting(box: Any) -> Any:
    """A box in the class that belongs to its value."""
    if not isinstance(box, core.Box) or not _classes:
        return box
    return new_box(box._value, box._trace, box._payload)
