"""Raw arrays from anything array-like."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpugrad.core.box import strip
from gpugrad.device import device, device_of, is_cuda, namespace, to_device
from gpugrad.ops.cast import is_inexact


def raw_array(value: Any, dtype: Any, where: Any, copy: bool | None) -> Any:
    """A raw array from anything array-like."""
    if is_cuda(value) or isinstance(value, np.ndarray | np.generic):
        target = device_of(value) if where is None else device(where)
    else:
        if hasattr(value, "__dlpack__") and not isinstance(value, np.ndarray):
            return raw_array(raw_from_dlpack(value), dtype, where, copy)
        value = _nested(value)
        target = device(where)
    if value.dtype.kind not in "biufcV" or (
        value.dtype.kind == "V" and not is_inexact(value.dtype)
    ):
        raise TypeError(f"an Array holds numbers, got elements of dtype {value.dtype}")
    source = device_of(value)
    if source != target:
        value = to_device(value, target)
        copy = None
    if dtype is not None and np.dtype(dtype) != value.dtype:
        value = value.astype(dtype)
    elif copy:
        value = value.copy()
    return value


def _nested(value: Any) -> Any:
    """Numbers and nested lists, with constants boxed among them."""
    if isinstance(value, list | tuple):
        value = [_nested(v) for v in value]
        if any(is_cuda(v) for v in value):
            xp = namespace(device_of(next(v for v in value if is_cuda(v))))
            return xp.stack([xp.asarray(v) for v in value])
    value = strip(value)
    return value if is_cuda(value) else np.asarray(value)


def raw_from_dlpack(x: Any, **options: Any) -> Any:
    """A raw array that shares the memory of another library's array."""
    kind = x.__dlpack_device__()[0]
    if int(kind) in (2, 3, 13):  # kDLCUDA, kDLCUDAHost, kDLCUDAManaged
        return namespace(device("cuda:0")).from_dlpack(x, **options)
    return np.from_dlpack(x, **options)
