"""The box: a value as one interpreter sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakValueDictionary, ref

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpugrad.core.trace import Trace

new = object.__new__


class Box:
    """A value, the trace (interpreter) that follows it, and what that trace notes about it.

    ``_value`` is a raw array or scalar, or a box of an enclosing trace: transforms nest as boxes
    nest. ``_trace`` is None for a plain constant. ``_payload`` belongs to the trace: a tape keeps
    its node there, forward mode its tangent.
    """

    __slots__ = ("_payload", "_trace", "_value")

    _value: Any
    _trace: Trace | None
    _payload: Any


B = TypeVar("B", bound=Box)

_kind: type[Box] = Box

BOX_TYPES: set[type] = {Box}
"""The classes of boxes: on the hot path ``type(v) in BOX_TYPES`` is half of ``isinstance``."""


def register(cls: type[B]) -> type[B]:
    """Name the class of box that users meet; ``gpugrad.array`` does this once."""
    global _kind
    _kind = cls
    BOX_TYPES.add(cls)
    return cls


def box(value: Any, trace: Trace | None = None, payload: Any = None) -> Any:
    """Put ``value`` in a box of the registered class."""
    out = new(_kind)
    out._value = value
    out._trace = trace
    out._payload = payload
    return out


def constant(value: Any) -> Any:
    """A box that no trace follows; what is boxed already stays as it is."""
    return value if isinstance(value, Box) else box(value)


def strip(value: Any) -> Any:
    """The raw value of a constant box; anything else as it is."""
    return value._value if isinstance(value, Box) and value._trace is None else value


class Hold:
    """A tape node's claim on a constant's memory: alive as long as the residual that needs it."""

    __slots__ = ("__weakref__",)


class _HoldRef(ref[Hold]):
    """A weak reference to a claim, and the key under which it stands in ``_holds``."""

    __slots__ = ("key",)

    key: int


# By the id of the memory's owner, which lives as long as the residual that needs it. A
# WeakValueDictionary would be this at three times the price, and tapes make claims all the time.
_holds: dict[int, _HoldRef] = {}
_lent: WeakValueDictionary[int, Any] = WeakValueDictionary()


def _owner(raw: Any) -> Any:
    """The array that owns the memory of ``raw``: all views of one array share it."""
    while (base := getattr(raw, "base", None)) is not None:
        raw = base
    return raw


def lend(raw: Any) -> None:
    """Note that constants share the memory of ``raw``, which the tape may need."""
    owner = _owner(raw)
    if hasattr(owner, "__array_ufunc__") and not isinstance(owner, np.generic):
        _lent[id(owner)] = owner


def is_lent(raw: Any) -> bool:
    """Whether ``raw`` is a view of memory that was lent."""
    return bool(_lent) and id(_owner(raw)) in _lent


def hold(raw: Any) -> Hold:
    """Claim the memory of ``raw`` for a residual, for as long as the claim lives."""
    key = id(_owner(raw))
    held = _holds.get(key)
    found = None if held is None else held()
    if found is None:
        found = Hold()
        held = _holds[key] = _HoldRef(found, _released)
        held.key = key
    return found


def _released(held: _HoldRef) -> None:
    now = _holds.pop(held.key, None)
    if now is not None and now is not held:  # the memory was claimed anew in the meantime
        _holds[held.key] = now


def is_held(raw: Any) -> bool:
    """Whether a residual needs the memory of ``raw`` unchanged."""
    held = _holds.get(id(_owner(raw))) if _holds else None
    return held is not None and held() is not None


def any_box(values: Sequence[Any]) -> bool:
    """Whether a box is among ``values``."""
    return not BOX_TYPES.isdisjoint(map(type, values))
