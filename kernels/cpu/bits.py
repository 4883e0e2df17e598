"""A bit for each element of an array: of element ``i`` bit ``i % 8`` of byte ``i // 8``.

NumPy's ``packbits`` with ``bitorder="little"`` gives the same bytes. Here 32 bits are taken at
once, as the mask that a processor's comparison of vectors makes.
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
def _above(context: Any, x: Any, i: Any) -> Any:
    """Which of the 32 elements from ``i`` on are above 0, the first by the lowest bit."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector = ir.VectorType(context.get_data_type(x.dtype), _WORD.width)
        data = arrayobj.make_array(x)(context, builder, args[0]).data
        found = builder.load(builder.bitcast(builder.gep(data, [args[1]]), vector.as_pointer()))
        found.align = x.dtype.bitwidth // 8
        zero = ir.Constant(vector, [0.0] * _WORD.width)
        return builder.bitcast(builder.fcmp_ordered(">", found, zero), _WORD)

    return types.uint32(x, types.intp), code


@numba.njit(error_model="numpy")
def pack_above(x: Any, first: Any, last: Any, bits: Any) -> None:
    """Whether elements from ``first``, a multiple of 8, up to ``last`` are above 0."""
    whole = last - (last - first & 31)
    for i in range(first, whole, 32):
        found = _above(x, i)
        for byte in range(4):
            bits[(i >> 3) + byte] = found >> np.uint32(8 * byte)
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
