"""Operands that may be lists or numbers: as arrays beside those that have a device."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpugrad.core import loose
from gpugrad.core.box import BOX_TYPES, Box
from gpugrad.device import HOST_TYPES, is_cuda, to_device
from gpugrad.ops.creation import device_near

_LOOSE = (bool, int, float, complex, list, tuple, range, np.generic)


def _nests(x: Any) -> bool:
    """Whether there is a box, or an array of a device, in a list."""
    if isinstance(x, list | tuple):
        return any(_nests(v) for v in x)
    return isinstance(x, Box) or is_cuda(x)


def as_arrays(*values: Any) -> tuple[Any, ...]:
    """Each one as an array: lists and numbers join the device of the others, arrays stay."""
    for x in values:
        if type(x) is not np.ndarray and type(x) not in BOX_TYPES:
            break
    else:
        return values
    from gpugrad.ops.join import stack

    settled = [
        stack([as_array(v) if _nests(v) else v for v in x])
        if isinstance(x, list | tuple) and _nests(x)
        else x
        for x in values
    ]
    where = device_near([x for x in settled if isinstance(x, Box) or is_cuda(x)] or [0.0])
    out = []
    for x in settled:
        if isinstance(x, _LOOSE):
            x = to_device(np.asarray(x), where)
        elif not isinstance(x, Box) and not is_cuda(x) and type(x) not in HOST_TYPES:
            x = np.asarray(x)
        out.append(x)
    return tuple(out)


loose.as_arrays.append(as_arrays)


def as_array(x: Any) -> Any:
    """``x`` as an array; a list or a number becomes NumPy's."""
    return as_arrays(x)[0]
