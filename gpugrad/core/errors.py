"""Errors that say which operation, on what, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gpugrad.core.abstract import shape_dtype
from gpugrad.device import DeviceError, common_device, device_of, out_of_memory

if TYPE_CHECKING:
    from gpugrad.core.primitive import Primitive


class TapeError(RuntimeError):
    """The tape cannot do what was asked: it was freed, or an array that it needs would change."""


class AssignmentError(TapeError, TypeError):
    """Elements of an array that is being differentiated would change: a `TypeError` elsewhere."""


class NonFiniteError(FloatingPointError):
    """A NaN appeared while ``gg.debug(nans=True)`` was on."""


def describe(value: Any) -> str:
    """One operand as errors show it: ``float32(3, 4) on cuda:0``."""
    like = shape_dtype(value)
    if like.weak:
        return f"{type(value).__name__} {value!r}"
    return f"{like.dtype}{like.shape} on {device_of(value)}"


def explain(primitive: Primitive, values: Sequence[Any], error: Exception) -> Exception:
    """The error of a failed operation, with the operands it was given."""
    if isinstance(error, DeviceError):
        return error
    given = ", ".join(describe(v) for v in values)
    # CuPy's own error is a MemoryError; the driver's, where a kernel finds no room, is not.
    if isinstance(error, MemoryError) or "ERROR_OUT_OF_MEMORY" in str(error):
        where = common_device(values, primitive.name)
        return out_of_memory(error, f"{primitive.name}({given})", where, _held().items())
    kinds = (np.linalg.LinAlgError, TypeError, IndexError, ValueError, RuntimeError)
    kind = next((k for k in kinds if isinstance(error, k)), ValueError)
    return kind(f"{primitive.name}({given}): {error}")


def _held() -> dict[str, int]:
    """Bytes of residuals that live tapes hold, by operation: only an out-of-memory error looks."""
    import gc

    from gpugrad.core.tape import Node

    held: dict[str, int] = {}
    seen = set()  # an array that several operations need is the first one's
    for thing in gc.get_objects():
        if type(thing) is Node and type(thing.saved) is tuple:  # asks no dead weak reference
            for v in thing.saved:
                if getattr(v, "nbytes", 0) and id(v) not in seen:
                    seen.add(id(v))
                    name = thing.plan.primitive.name
                    held[name] = held.get(name, 0) + v.nbytes
    return held
