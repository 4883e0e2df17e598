"""Batching rules that families share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpugrad.core.abstract import shape_dtype
from gpugrad.core.primitive import Primitive


def pointwise(
    primitive: Primitive,
    size: int,
    batched: Sequence[bool],
    values: Sequence[Any],
    params: dict[str, Any],
) -> Any:
    """Operands broadcast: give each batched one the rank of the widest behind the batch axis."""
    ranks = [len(shape_dtype(v).shape) - mine for v, mine in zip(values, batched, strict=True)]
    rank = max(ranks)
    aligned = [
        _widen(v, rank - r) if mine else v
        for v, mine, r in zip(values, batched, ranks, strict=True)
    ]
    return primitive(*aligned, **params)


def _widen(value: Any, missing: int) -> Any:
    if not missing:
        return value
    from gpugrad.ops.shape import reshape_p

    shape = value.shape
    return reshape_p(value, shape=(shape[0], *(1,) * missing, *shape[1:]))


def lead(value: Any, size: int, mine: bool) -> Any:
    """``value`` with the batch axis, broadcast over it where it has none of its own."""
    if mine:
        return value
    from gpugrad.ops.broadcast import broadcast_to_p

    return broadcast_to_p(value, shape=(size, *shape_dtype(value).shape))


def shifted(axes: tuple[int, ...]) -> tuple[int, ...]:
    """Axes of an example as axes of the batched value."""
    return tuple(a + 1 for a in axes)


def over_axis(
    primitive: Primitive,
    size: int,
    batched: Sequence[bool],
    values: Sequence[Any],
    params: dict[str, Any],
) -> Any:
    """One operand and an ``axis`` parameter, an int or a tuple, none negative."""
    axis = params["axis"]
    axis = shifted(axis) if isinstance(axis, tuple) else axis + 1
    return primitive(*values, **{**params, "axis": axis})
