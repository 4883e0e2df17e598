"""Forward mode: a tangent travels with each value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gpugrad.core.box import Box, box, constant
from gpugrad.core.loose import refuse_lists
from gpugrad.core.primitive import fetch, residual_names
from gpugrad.core.trace import Trace, autocasting, casting, check_level, state
from gpugrad.core.under import device_under
from gpugrad.device import on

if TYPE_CHECKING:
    from gpugrad.core.primitive import Primitive


class Forward(Trace):
    """Pushes tangents forward; each box's payload is its tangent. Constants carry none."""

    __slots__ = ()

    def apply(self, primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        refuse_lists(args)
        values: list[Any] = []
        tangents: list[Any] = []
        for a in args:
            if isinstance(a, Box) and a._trace is self:
                values.append(a._value)
                tangents.append(a._payload)
            else:
                if isinstance(a, Box) and a._trace is not None:
                    check_level(a._trace, self, primitive)
                values.append(a._value if isinstance(a, Box) and a._trace is None else a)
                tangents.append(None)
        y = primitive(*values, **params)
        with on(device_under(y)):  # rules are plain CuPy arithmetic: on the array's device
            t = push(primitive, tangents, values, y, params)
        if primitive.multiple:
            ts = (None,) * len(y) if t is None else t
            return tuple([self._pair(o, d) for o, d in zip(y, ts)])
        return self._pair(y, t)

    def _pair(self, y: Any, t: Any) -> Any:
        return constant(y) if t is None else box(y, self, t)


def push(
    primitive: Primitive,
    tangents: Sequence[Any],
    values: Sequence[Any],
    y: Any,
    params: dict[str, Any],
) -> Any:
    """The output's tangent from the operands'; None where nothing depends on them."""
    if autocasting and state.casting is not None:
        with casting(None):  # a derivative keeps the dtypes of its function
            return push(primitive, tangents, values, y, params)
    pool = [*values, y]
    count = len(values)
    tracked = tuple(i for i, t in enumerate(tangents) if t is not None)

    def residuals(rule: Any) -> list[Any]:
        sources = [primitive.source(n, count, tracked) for n in residual_names(rule)]
        return [fetch(s, pool, params) for s in sources]

    if primitive.joint_jvp is not None:
        return primitive.joint_jvp(tuple(tangents), *residuals(primitive.joint_jvp))
    total = None
    for i in tracked:
        rule = primitive.jvp_of(i)
        if rule is None:
            continue
        if isinstance(rule, str):  # LINEAR
            t = primitive(*values[:i], tangents[i], *values[i + 1 :], **params)
        else:
            t = rule(tangents[i], *residuals(rule))
        if total is None:
            total = t
        elif primitive.multiple:
            total = tuple([a + b for a, b in zip(total, t)])
        else:
            total = total + t
    return total
