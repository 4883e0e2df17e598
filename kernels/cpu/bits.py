"""A bit for each element of an array: of element ``i`` bit ``i % 8`` of byte ``i // 8``.

NumPy's ``packbits`` with ``bitorder="little"`` gives the same bytes. Here they are the masks that a
processor's comparisons of vectors make, or are made to.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numba.np import arrayobj

_WORD = ir.IntType(32)


@intrinsic
def pack_64(context: Any, x: Any, i: Any, bits: Any) -> Any:
    """Whether 64 elements from ``i``, a multiple of 8, on are above 0."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def place(array: int, offset: Any, kind: Any) -> Any:
            struct = arrayobj.make_array(signature.args[array])(context, builder, args[array])
            return builder.bitcast(builder.gep(struct.data, [offset]), kind.as_pointer())

        vector = ir.VectorType(context.get_data_type(x.dtype), 64)
        found = builder.load(place(0, args[1], vector))
        found.align = x.dtype.bitwidth // 8
        above = builder.fcmp_ordered(">", found, ir.Constant(vector, [0.0] * 64))
        word = ir.IntType(64)
        byte = builder.ashr(args[1], ir.Constant(args[1].type, 3))
        builder.store(builder.bitcast(above, word), place(2, byte, word)).align = 1
        return context.get_dummy_value()

    return types.void(x, types.intp, bits), code


@numba.njit(error_model="numpy")
def pack_above(x: Any, first: Any, last: Any, bits: Any) -> None:
    """Whether elements from ``first``, a multiple of 8, up to ``last`` are above 0."""
    whole = last - (last - first & 63)
    for i in range(first, whole, 64):
        pack_64(x, i, bits)
    for i in range(whole, last, 8):
        found = np.uint32(0)
        for j in range(min(8, last - i)):
            found |= np.uint32(x[i + j] > 0) << np.uint32(j)
        bits[i >> 3] = found


@numba.njit(error_model="numpy")
def word(bits: Any, i: Any) -> Any:
    """The 32 bits from number ``i`` on, which may lie in five bytes."""
    found = np.uint64(bits[(i + 31) >> 3]) << np.uint64(32)  # not the fifth if four are enough
    for byte in range(4):
        found |= np.uint64(bits[(i >> 3) + byte]) << np.uint64(8 * byte)
    return np.uint32(found >> np.uint64(i & 7))


@intrinsic
def bit(context: Any, word: Any, j: Any) -> Any:
    """Number ``j`` of a `word`."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = builder.trunc(args[1], _WORD)
        return builder.trunc(builder.lshr(args[0], place), ir.IntType(1))

    return types.boolean(types.uint32, types.intp), code


@numba.njit(error_model="numpy")
def bit_of(bits: Any, i: Any) -> Any:
    """Number ``i``."""
    return bits[i >> 3] >> (i & 7) & 1 != 0
