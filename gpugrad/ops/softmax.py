"""Softmax and log-softmax along the last axis, one operation each way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpugrad.core.abstract import ShapeDtype, shape_dtype
from gpugrad.core.box import any_box
from gpugrad.core.primitive import Primitive
from gpugrad.kernels import softmax as kernels
from gpugrad.kernels.many import wide
from gpugrad.ops.broadcast import sum_p
from gpugrad.ops.cast import cast
from gpugrad.ops.elementwise import exp
from gpugrad.ops.reductions import logsumexp

SMALL = 1 << 12
"""Elements below which NumPy's own calls are as fast as a kernel on the CPU."""


def few(x: Any) -> bool:
    """Whether ``x`` is on the CPU and too small for a kernel to be worth it."""
    return type(x) is np.ndarray and x.size < SMALL


def widened(x: Any) -> Any:
    """``x`` in the dtype in which its sums are taken."""
    return cast(x, wide(shape_dtype(x).dtype))


def _total(x: Any) -> Any:
    return sum_p(x, axis=(shape_dtype(x).ndim - 1,), keepdims=True)


def _compose(x: Any, log: bool) -> Any:
    x_wide = widened(x)
    y = x_wide - logsumexp(x_wide, -1, keepdims=True)
    return cast(y if log else exp(y), shape_dtype(x).dtype)


def _rows(x: Any) -> Any:
    return x.reshape(-1, x.shape[-1]) if x.size else x.reshape(0, x.shape[-1])


def _softmax(xp: Any, x: Any, *, log: bool) -> Any:
    if few(x):
        with np.errstate(all="ignore"):
            return _compose(x, log)
    return kernels.softmax(_rows(x), log=log).reshape(x.shape)


def _pull(g: Any, y: Any, log: bool) -> Any:
    if any_box([g, y]) or few(y):
        a, b = widened(g), widened(y)
        dx = a - exp(b) * _total(a) if log else b * (a - _total(a * b))
        return cast(dx, shape_dtype(y).dtype)
    return kernels.softmax_backward(_rows(g), _rows(y), log=log).reshape(y.shape)


def _push(t: Any, y: Any, log: bool) -> Any:
    if not log:  # a symmetric map
        return _pull(t, y, log)
    t_wide = widened(t)
    return cast(t_wide - _total(exp(widened(y)) * t_wide), shape_dtype(y).dtype)


def _batch(
    primitive: Primitive, size: int, batched: Sequence[bool], values: Any, params: Any
) -> Any:
    return primitive(*values, **params)  # the batch axis is one more before the last


def _shape(x: ShapeDtype, *, log: bool) -> ShapeDtype:
    return x


softmax_p = Primitive("softmax", _softmax, shape=_shape, vjp=_pull, jvp=_push, batch=_batch)
"""``exp(x) / sum(exp(x))`` along the last axis, or its logarithm; keeps the output."""
