"""What distributions share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from gpugrad.core.abstract import shape_dtype
from gpugrad.core.loose import LISTS, settled
from gpugrad.ops.cast import cast
from gpugrad.ops.special import beside, precision


def takes_lists(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, with an array on the device of the others for each argument that is a list."""

    @functools.wraps(function)
    def call(*args: Any, **named: Any) -> Any:
        if any(type(v) in LISTS for v in (*args, *named.values())):
            arrays = settled((*args, *named.values()))
            args = arrays[: len(args)]
            named = dict(zip(named, arrays[len(args) :], strict=True))
        return function(*args, **named)

    return call


def standard(x: Any, loc: Any, scale: Any) -> tuple[Any, Any]:
    """``(x - loc) / scale``, and the scale; numbers of Python's do not widen an array's type."""
    z = (x - loc) / scale
    return z, beside(scale, z)


def floating(x: Any) -> Any:
    """Integers as floating-point numbers."""
    like = shape_dtype(x)
    return x if like.dtype.kind in "fc" else cast(x, precision([like]))
