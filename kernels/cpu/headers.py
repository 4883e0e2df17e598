"""What many NumPy arrays say of themselves, read in one call.

Asking 900 arrays for address, shape, dtype and flags takes Python a millisecond, longer than many a
step takes to compute. The answers stand at the beginning of each array object, in the C structure
that NumPy's binary interface lays down for extension modules (``PyArrayObject_fields``):
the object's own header, then ``data, nd, dimensions, strides, base, descr, flags``. Where the array
objects are stands in the list of them (``PyListObject``): its header, its length, then ``ob_item``.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numba
import numpy as np
from gpugrad.kernels.cpu.pointers import elements

_FIELDS = object.__basicsize__
"""Where the structure begins: behind the reference count and the type."""

_ITEMS = object.__basicsize__ + 8
"""Where a list says where its items are: behind its length too."""


@numba.njit(cache=True)  # type: ignore[misc, unused-ignore]
def _read(
    items: int, kind: int, dtype: int, begin: int, end: int, fields: int, table: Any, sizes: Any
) -> bool:
    """Fill ``table`` with addresses and ``sizes``; whether all arrays are as they must be."""
    lists, count = table.shape
    word = sizes
    objects = elements(np.uint64(elements(np.uint64(items), 0, 1, word)[0]), 0, lists * count, word)
    for t in range(count):
        shape = elements(np.uint64(objects[t] + fields), 0, 3, word)
        nd = shape[1] & 0xFFFFFFFF
        for k in range(lists):
            at = objects[k * count + t]
            if elements(np.uint64(at + fields - 8), 0, 1, word)[0] != kind:
                return False
            own = elements(np.uint64(at + fields), 0, 7, word)
            # The flags of C order and of alignment, and of what may be written to.
            wanted = 0x0101 if begin <= k < end else 0x0501
            if own[6] & wanted != wanted or own[5] != dtype:
                return False
            if (own[1] & 0xFFFFFFFF) != nd:
                return False
            a = elements(np.uint64(own[2]), 0, nd, word)
            b = elements(np.uint64(shape[2]), 0, nd, word)
            size = 1
            for d in range(nd):
                if a[d] != b[d]:
                    return False
                size *= a[d]
            table[k, t] = np.uint64(own[0])
            sizes[t] = size
    return True


def read(lists: Sequence[Sequence[Any]], dtype: Any, sources: range) -> tuple[Any, Any] | None:
    """Addresses by (list, array) and the arrays' sizes.

    None unless array ``t`` has one shape in all lists, and each array is NumPy's own class,
    aligned, in C order, of the dtype, and may be written to unless its list is one of ``sources``.
    """
    count = len(lists[0])
    if {*map(len, lists)} != {count}:
        return None
    objects = list(chain.from_iterable(lists))
    table, sizes = np.empty((len(lists), count), np.uint64), np.empty(count, np.int64)
    at, begin, end = id(objects) + _ITEMS, sources.start, sources.stop
    if not _read(at, id(np.ndarray), id(dtype), begin, end, _FIELDS, table, sizes):
        return None
    return table, sizes
