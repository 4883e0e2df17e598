"""Words of 64 bits in memory that threads share, by their addresses, and C functions by theirs.

Each access is whole and in one order for all threads (sequentially consistent).
"""

from __future__ import annotations

import platform
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

WORD = ir.IntType(64)
INT = ir.IntType(32)
BYTES = ir.IntType(8).as_pointer()

_int, _bool = types.int64, types.boolean


def word_at(builder: Any, address: Any, number: int = 0) -> Any:
    """The place of a word, a number of words behind an address."""
    place = builder.inttoptr(address, WORD.as_pointer())
    return builder.gep(place, [ir.Constant(INT, number)])


@intrinsic
def look(context: Any, address: Any) -> Any:
    """The word there."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load_atomic(word_at(builder, args[0]), "seq_cst", 8)

    return _int(_int), code


@intrinsic
def put(context: Any, address: Any, new: Any) -> Any:
    """Write a word."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store_atomic(args[1], word_at(builder, args[0]), "seq_cst", 8)
        return context.get_dummy_value()

    return types.void(_int, _int), code


@intrinsic
def swap(context: Any, address: Any, new: Any) -> Any:
    """Write a word, and give the one that was there."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.atomic_rmw("xchg", word_at(builder, args[0]), args[1], "seq_cst")

    return _int(_int, _int), code


@intrinsic
def swap_if(context: Any, address: Any, old: Any, new: Any) -> Any:
    """Write a word if another is there; whether it was."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place, order = word_at(builder, args[0]), "seq_cst"
        return builder.extract_value(builder.cmpxchg(place, *args[1:], order, order), 1)

    return _bool(_int, _int, _int), code


_PAUSES: dict[str, tuple[str, list[Any]]] = {
    "x86_64": ("llvm.x86.sse2.pause", []),
    "amd64": ("llvm.x86.sse2.pause", []),
    "aarch64": ("llvm.aarch64.hint", [ir.Constant(INT, 1)]),
    "arm64": ("llvm.aarch64.hint", [ir.Constant(INT, 1)]),
}


@intrinsic
def pause(context: Any) -> Any:
    """Leave the core to its other thread for some cycles, in a loop that waits."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        known = _PAUSES.get(platform.machine().lower())
        if known is not None:
            kind = ir.FunctionType(ir.VoidType(), [a.type for a in known[1]])
            builder.call(builder.module.declare_intrinsic(known[0], (), kind), known[1])
        return context.get_dummy_value()

    return types.void(), code


def _function(builder: Any, address: Any, result: Any, *kinds: Any) -> Any:
    return builder.inttoptr(address, ir.FunctionType(result, kinds).as_pointer())


@intrinsic
def acquire(context: Any, function: Any, lock: Any) -> Any:
    """Wait for a lock; the function is CPython's ``PyThread_acquire_lock``."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        call = _function(builder, args[0], INT, BYTES, INT)
        builder.call(call, [builder.inttoptr(args[1], BYTES), ir.Constant(INT, 1)])
        return context.get_dummy_value()

    return types.void(_int, _int), code


@intrinsic
def release(context: Any, function: Any, lock: Any) -> Any:
    """Let one through that waits; the function is CPython's ``PyThread_release_lock``."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        call = _function(builder, args[0], ir.VoidType(), BYTES)
        builder.call(call, [builder.inttoptr(args[1], BYTES)])
        return context.get_dummy_value()

    return types.void(_int, _int), code


@intrinsic
def number(context: Any, function: Any) -> Any:
    """What a C function without parameters returns, an ``int``."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.sext(builder.call(_function(builder, args[0], INT), []), WORD)

    return _int(_int), code
