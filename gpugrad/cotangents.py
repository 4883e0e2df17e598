"""Seeds of a backward pass, and gradients that whoever asked for them may write to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpugrad.core.abstract import shape_dtype
from gpugrad.device import device_of, is_cuda, namespace, on
from gpugrad.ops.creation import raw_of


def one_like(value: Any) -> Any:
    """A 1 of the shape, dtype and device of ``value``: the seed of a backward pass."""
    if isinstance(value, np.generic):
        return type(value)(1)
    raw = raw_of(value)
    like = shape_dtype(value)
    if not is_cuda(raw):
        return like.dtype.type(1) if not like.shape else np.ones(like.shape, like.dtype)
    where = device_of(raw)
    with on(where):
        return namespace(where).ones(like.shape, like.dtype)


def settle(gradients: list[Any], seeds: Sequence[Any] = ()) -> list[Any]:
    """Gradients that the caller may write to: each one its own memory, none a view."""
    seen = {id(s) for s in seeds}
    return [own(g, seen) for g in gradients]


def own(g: Any, seen: set[int]) -> Any:
    """``g``, or a copy where it is a view or among the arrays ``seen``, which it joins."""
    if type(g) is np.ndarray or is_cuda(g):
        if g.base is not None or id(g) in seen:
            with on(device_of(g)):
                g = g.copy()
        seen.add(id(g))
    return g
