"""Arrays by their addresses, for loops over many arrays in one call."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba.core import cgutils, types
from numba.extending import intrinsic


@intrinsic  # type: ignore[misc, unused-ignore]
def _pointer(typing_context: Any, address: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], cgutils.voidptr_t)

    return types.voidptr(types.uint64), generate


@numba.njit(inline="always")  # type: ignore[misc, unused-ignore]
def elements(address: Any, start: Any, stop: Any, like: Any) -> Any:
    """Elements ``start`` to ``stop - 1`` of the array at an address, of the dtype of ``like``."""
    at = np.uint64(address + np.uint64(start * like.itemsize))
    return numba.carray(_pointer(at), stop - start, like.dtype)
