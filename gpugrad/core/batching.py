"""Batching: one call over a leading axis that the code does not see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gpugrad.core.box import Box, box
from gpugrad.core.loose import refuse_lists
from gpugrad.core.trace import Trace, check_level
from gpugrad.core.under import device_under
from gpugrad.device import on

if TYPE_CHECKING:
    from gpugrad.core.primitive import Primitive


class Batch(Trace):
    """Carries a batch axis, always the first of a box's value and hidden from the user.

    Parameters
    ----------
    level
        Nesting depth.
    size
        Length of the batch axis.
    """

    __slots__ = ("size",)

    hidden = 1

    def __init__(self, level: int, size: int) -> None:
        super().__init__(level)
        self.size = size

    def apply(self, primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        refuse_lists(args)
        values: list[Any] = []
        batched: list[bool] = []
        for a in args:
            mine = isinstance(a, Box) and a._trace is self
            if not mine and isinstance(a, Box) and a._trace is not None:
                check_level(a._trace, self, primitive)
            values.append(a._value if isinstance(a, Box) and (mine or a._trace is None) else a)
            batched.append(mine)
        rule = primitive.batch
        if rule is None:
            raise TypeError(f"{primitive.name} has no batching rule, so vmap cannot carry it")
        with on(device_under(values[batched.index(True)])):
            y = rule(primitive, self.size, batched, values, params)
        if primitive.multiple:
            return tuple([box(o, self) for o in y])
        return box(y, self)
