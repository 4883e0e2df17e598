"""Raw arrays from anything array-like."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from gpugrad.core.box import Box, strip
from gpugrad.device import device, device_of, is_cuda, namespace, on, to_device
from gpugrad.ops.cast import is_inexact


def raw_array(value: Any, dtype: Any, where: Any, copy: bool | None) -> Any:
    """A raw array from anything array-like; with ``copy=False`` it shares the memory."""
    given = value
    if is_cuda(value) or isinstance(value, np.ndarray | np.generic):
        target = device_of(value) if where is None else device(where)
    else:
        if hasattr(value, "__dlpack__") and not isinstance(value, np.ndarray):
            options = {"copy": False} if copy is False else {}
            return raw_array(raw_from_dlpack(value, **options), dtype, where, copy)
        value = _nested(value, dtype)
        target = device_of(value) if where is None and is_cuda(value) else device(where)
    if value.dtype.kind not in "biufcV" or (
        value.dtype.kind == "V" and not is_inexact(value.dtype)
    ):
        raise TypeError(f"an Array holds numbers, got elements of dtype {value.dtype}")
    source = device_of(value)
    if source != target:
        value = to_device(value, target)
        copy = copy and None
    if dtype is not None and np.dtype(dtype) != value.dtype:
        value = value.astype(dtype)
    elif copy:
        value = value.copy()
    if copy is False and value is not given:
        raise takes_a_copy(given, value.dtype, target)
    return value


def takes_a_copy(given: Any, dtype: Any, where: Any) -> ValueError:
    """The error for ``copy=False`` that cannot be kept."""
    raw = is_cuda(given) or isinstance(given, np.ndarray | np.generic)
    if raw or isinstance(given, Box):
        here = device_of(given) if raw else given.device
        source = f"one of dtype {given.dtype} on {here}"
    else:
        source = f"a {type(given).__name__}"
    return ValueError(
        f"copy=False, but an array of dtype {dtype} on {where} from {source} takes a copy: "
        "leave copy= out to copy where it is needed"
    )


def is_minus_zero(value: Any) -> bool:
    """Whether it is -0.0, or complex with such a part: CuPy, filling, writes 0 for it."""
    return isinstance(value, float | complex) and value == 0 and "-" in str(value)


def _nested(value: Any, dtype: Any = None) -> Any:
    """Numbers and nested lists, with constants boxed among them."""
    if isinstance(value, list | tuple):
        value = [_nested(v) for v in value]
        if any(is_cuda(v) for v in value):
            xp = namespace(device_of(next(v for v in value if is_cuda(v))))
            return xp.stack([xp.asarray(v) for v in value])
    value = strip(value)
    return value if is_cuda(value) else np.asarray(value, dtype)


_CUDA_KINDS = (2, 3, 13)
"""DLPack's kDLCUDA, kDLCUDAHost and kDLCUDAManaged."""


def raw_from_dlpack(x: Any, **options: Any) -> Any:
    """A raw array that shares the memory of another library's array."""
    dtype = str(getattr(x, "dtype", ""))
    if dtype in ("torch.bfloat16", "bfloat16"):  # unknown to the DLPack of NumPy and CuPy
        import ml_dtypes

        bits = x.view(sys.modules["torch"].int16 if dtype.startswith("torch") else np.int16)
        return raw_from_dlpack(bits, **options).view(ml_dtypes.bfloat16)
    kind, number = (int(n) for n in x.__dlpack_device__())
    if kind not in _CUDA_KINDS:
        return np.from_dlpack(x, **options)
    where = device(f"cuda:{number}")
    with on(where):
        return namespace(where).from_dlpack(x, **options)


def raw_to_dlpack(
    raw: Any, stream: Any, max_version: Any, dl_device: Any, copy: bool | None
) -> Any:
    """The capsule by which another library takes ``raw``.

    NumPy and CuPy decide what they can export; only a copy on the device itself, which CuPy does
    not offer, is made here.
    """
    wanted = {"stream": stream, "max_version": max_version, "dl_device": dl_device, "copy": copy}
    options = {name: value for name, value in wanted.items() if value is not None}
    where = device_of(raw)
    with on(where):
        if where.kind == "cuda" and copy is not None:
            stays = dl_device is None or int(dl_device[0]) in _CUDA_KINDS
            if copy and stays:
                raw = raw.copy()
                del options["copy"]
            elif not copy and not stays:
                raise BufferError(
                    f"__dlpack__: from {where} to the cpu takes a copy, but copy=False"
                )
        return raw.__dlpack__(**options)
