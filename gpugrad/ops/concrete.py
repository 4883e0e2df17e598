"""Values that must be known: where the shape of a result depends on them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from gpugrad.core.abstract import ShapeDtype
from gpugrad.core.box import Box, constant
from gpugrad.device import is_cuda


def concrete(x: Any, what: str) -> Any:
    """The raw array behind ``x``, under any transform that carries one array.

    Raises
    ------
    TypeError
        Under ``vmap`` and ``eval_shape``, where each example would have a shape of its own.
    """
    while isinstance(x, Box):
        if (x._trace is not None and x._trace.hidden) or isinstance(x._value, ShapeDtype):
            raise TypeError(
                f"{what}: the shape of the result depends on the values, which under vmap and "
                "eval_shape are not those of one array. Compute it outside, or keep the shape: "
                "where(mask, x, 0), sort, or a function with a fixed size"
            )
        x = x._value
    return x if is_cuda(x) else np.asarray(x)


def like_operands(raw: Any, operands: Iterable[Any]) -> Any:
    """A result without a gradient: boxed where an operand is a box, as primitives answer."""
    return constant(raw) if any(isinstance(x, Box) for x in operands) else raw
