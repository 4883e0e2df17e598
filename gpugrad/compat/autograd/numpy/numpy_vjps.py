"""What programs use in rules of their own: cotangents brought to the shape of an operand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gpugrad.numpy as gnp
from gpugrad.core.abstract import shape_dtype


def unbroadcast(g: Any, target: Any) -> Any:
    """A cotangent summed over the axes along which ``target`` was broadcast, and real for real.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.compat.autograd.numpy.numpy_vjps import unbroadcast
    >>> unbroadcast(np.ones((2, 3)), np.ones((1, 3)))
    array([[2., 2., 2.]])
    """
    got, want = shape_dtype(g), shape_dtype(target)
    if want.dtype.kind != "c" and got.dtype.kind == "c":
        g = gnp.real(g)
    shape = (1,) * (got.ndim - want.ndim) + want.shape
    axes = tuple(n for n, (a, b) in enumerate(zip(got.shape, shape)) if a != b)
    if axes:
        g = gnp.sum(g, axis=axes, keepdims=True)
    return g if g.shape == want.shape else gnp.reshape(g, want.shape)


def unbroadcast_f(target: Any, f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """``f`` with its result brought to the shape of ``target``."""
    return lambda g: unbroadcast(f(g), target)
