"""Softmax and log-softmax."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpugrad.amp import widened
from gpugrad.core.abstract import shape_dtype
from gpugrad.core.trace import autocasting
from gpugrad.kernels.many import FLOATS, name_of
from gpugrad.ops.cast import cast
from gpugrad.ops.shape import moveaxis, normal_axis
from gpugrad.ops.softmax import softmax_p


def softmax(input: Any, dim: int = -1, *, dtype: Any = None) -> Any:
    """``exp(x) / sum(exp(x))`` along an axis, whatever the size of the elements.

    Parameters
    ----------
    input : array
        At least one axis.
    dim : int
        The axis whose elements sum to 1.
    dtype : dtype, optional
        What ``input`` is cast to first.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.nn import softmax
    >>> softmax(np.array([1000.0, 1000.0]))
    array([0.5, 0.5])
    """
    return _along("softmax", input, dim, dtype, False)


def log_softmax(input: Any, dim: int = -1, *, dtype: Any = None) -> Any:
    """The logarithm of `softmax`, which does not lose small probabilities.

    The parameters are `softmax`'s.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.nn import log_softmax
    >>> log_softmax(np.array([0.0, 1000.0]))
    array([-1000.,     0.])
    """
    return _along("log_softmax", input, dim, dtype, True)


def _along(name: str, x: Any, dim: int, dtype: Any, log: bool) -> Any:
    x = floating(name, x, dtype)
    ndim = shape_dtype(x).ndim
    if not ndim:
        raise ValueError(f"{name} needs an axis, got a single number")
    axis = normal_axis(dim, ndim)
    if axis == ndim - 1:
        return softmax_p(x, log=log)
    return moveaxis(softmax_p(moveaxis(x, axis, -1), log=log), -1, axis)


def floating(name: str, x: Any, dtype: Any = None) -> Any:
    """``x`` as floats: of ``dtype``, or of its own if they are, or in double precision."""
    if autocasting:
        (x,) = widened(x)
    like = shape_dtype(x)
    if like.dtype.kind == "c":
        raise TypeError(f"{name} is for real numbers, not {like.dtype}")
    if dtype is None:
        dtype = like.dtype if name_of(like.dtype) in FLOATS else np.float64
    return cast(x, dtype)
