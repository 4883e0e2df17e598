"""Functions that HIPS autograd has on its own, or otherwise than NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

import gpugrad.numpy as gnp
from gpugrad.compat.autograd.numpy import _names
from gpugrad.core.abstract import shape_dtype
from gpugrad.device import namespace, on
from gpugrad.ops.creation import device_near
from gpugrad.ops.operands import as_arrays

_where = _names.find(np, "where")


def where(condition: Any, *choices: Any, **by_name: Any) -> Any:
    """NumPy's ``where``, also with ``x=`` and ``y=``; numbers of Python stay such."""
    choices += tuple([by_name[key] for key in ("x", "y")[len(choices) :] if key in by_name])
    out = _where(condition, *choices)
    plain = bool(choices) and all(isinstance(v, int | float | list) for v in choices)
    return out.tolist() if plain and type(condition) is bool else out


def make_diagonal(x: Any, offset: int = 0, axis1: int = -1, axis2: int = -2) -> Any:
    """A matrix for each last axis of ``x``, with that on its diagonal."""
    if (offset, axis1, axis2) != (0, -1, -2):
        raise NotImplementedError("make_diagonal: only offset=0, axis1=-1, axis2=-2")
    like = shape_dtype(x)
    with on(device_near([x])):
        return x[..., None] * namespace(device_near([x])).eye(like.shape[-1], dtype=like.dtype)


class _Joining:
    """``r_[...]`` or ``c_[...]`` of arrays and numbers; slices as NumPy's."""

    def __init__(self, joined: Any) -> None:
        self._joined = joined

    def __getitem__(self, key: Any) -> Any:
        parts = key if isinstance(key, tuple) else (key,)
        if not _names.gathers(parts):
            return self._joined[key]
        arrays = as_arrays(
            *[self._joined[part].tolist() if isinstance(part, slice) else part for part in parts]
        )
        if self._joined is np.r_:
            return gnp.concatenate([gnp.reshape(a, (-1,)) if a.ndim == 0 else a for a in arrays])
        columns = [a if a.ndim > 1 else gnp.reshape(a, (-1, 1)) for a in arrays]
        return gnp.concatenate(columns, axis=-1)


r_ = _Joining(np.r_)
c_ = _Joining(np.c_)
