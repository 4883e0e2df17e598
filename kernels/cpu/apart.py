"""Loads and stores of which LLVM is told that the arrays share no memory.

It checks that itself when a loop starts, but not for more than a few arrays: then the loop would
not be vectorised.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic
from numba.np import arrayobj

MOST = 16
"""Arrays that are written to, at most, for which it helps."""


def _scopes(module: Any) -> list[Any]:
    domain = module.add_metadata(["gpugrad"])
    return [module.add_metadata([f"gpugrad.{k}", domain]) for k in range(MOST)]


def _place(context: Any, builder: Any, kind: Any, array: Any, i: Any) -> Any:
    struct = arrayobj.make_array(kind)(context, builder, array)
    return builder.gep(struct.data, [i])


@intrinsic
def get(context: Any, array: Any, i: Any) -> Any:
    """``array[i]`` of a contiguous array that is not written to, for ``i`` in range."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        out = builder.load(_place(context, builder, signature.args[0], *args))
        out.set_metadata("noalias", builder.module.add_metadata(_scopes(builder.module)))
        return out

    return array.dtype(array, types.intp), code


@intrinsic
def put(context: Any, array: Any, i: Any, value: Any, number: Any) -> Any:
    """``array[i] = value`` in the written array of that number, for ``i`` in range."""
    if not isinstance(number, types.IntegerLiteral):
        return None
    mine = min(number.literal_value, MOST - 1)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        store = builder.store(args[2], _place(context, builder, signature.args[0], *args[:2]))
        _set_apart(builder, store, mine)
        return context.get_dummy_value()

    return types.void(array, types.intp, array.dtype, number), code


@intrinsic
def gain(context: Any, array: Any, i: Any, value: Any, number: Any) -> Any:
    """``array[i] += value`` in the written array of that number, for ``i`` in range."""
    if not isinstance(number, types.IntegerLiteral):
        return None
    mine = min(number.literal_value, MOST - 1)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = _place(context, builder, signature.args[0], *args[:2])
        old = builder.load(place)
        store = builder.store(builder.fadd(old, args[2]), place)
        _set_apart(builder, old, mine)
        _set_apart(builder, store, mine)
        return context.get_dummy_value()

    return types.void(array, types.intp, array.dtype, number), code


def _set_apart(builder: Any, access: Any, mine: int) -> None:
    """Say of a load or store that it is of the written array of this number."""
    scopes = _scopes(builder.module)
    add = builder.module.add_metadata
    access.set_metadata("alias.scope", add([scopes[mine]]))
    access.set_metadata("noalias", add(scopes[:mine] + scopes[mine + 1 :]))
