"""What a picture keeps of an array."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpugrad.core.abstract import ShapeDtype, shape_dtype
from gpugrad.device import CPU, device_of, namespace, on, to_device
from gpugrad.ops.creation import raw_of
from gpugrad.viz.model import Numbers, Range


def numbers(value: Any, few: int) -> Numbers:
    """What is kept of a value; of one that a batch stands for, shape and dtype."""
    raw = raw_of(value)
    like = shape_dtype(value)
    if isinstance(raw, ShapeDtype) or shape_dtype(raw).shape != like.shape:
        return Numbers(like.shape, like.dtype, None, None)
    if like.size <= few:
        return Numbers(like.shape, like.dtype, np.array(to_device(raw, CPU)), None)
    return Numbers(like.shape, like.dtype, None, _range(raw, like))


def _range(raw: Any, like: ShapeDtype) -> Range | None:
    """Smallest, mean and largest element, of which only those three numbers reach the host."""
    if like.dtype.kind == "c":
        return None
    where = device_of(raw)
    with on(where):
        wide = namespace(where).asarray(raw).astype(np.float64)
        return float(wide.min()), float(wide.mean()), float(wide.max())
