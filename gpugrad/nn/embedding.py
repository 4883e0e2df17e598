"""Embedding: rows of a table by number, with PyTorch's arguments."""

from __future__ import annotations

import math
from operator import index
from typing import Any

import numpy as np

from gpugrad.core.abstract import shape_dtype
from gpugrad.ops.cast import cast
from gpugrad.ops.elementwise import where
from gpugrad.ops.segment import embedding_p
from gpugrad.ops.shape import reshape


def embedding(input: Any, weight: Any, padding_idx: int | None = None) -> Any:
    """The rows of ``weight`` that ``input`` numbers.

    Parameters
    ----------
    input : array of int
        Any shape. Numbers from 0 to V - 1; on CUDA, where looking would wait for the device, a
        row that is not there is zeros, on the CPU an error.
    weight : array
        Shape (V, D).
    padding_idx : int, optional
        The row of this number (negative: counted from the end) gets no gradient.

    Returns
    -------
    array
        Shape (*input.shape, D). Its gradient adds rows in a fixed order: the same bits on every
        run.

    Raises
    ------
    TypeError
        For numbers that are no integers.
    ValueError
        For a weight that is no matrix, or a padding_idx that it has not.
    IndexError
        On the CPU, for a number that is no row's.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.nn import embedding
    >>> embedding(np.array([[2, 0]]), np.arange(6.0).reshape(3, 2))
    array([[[4., 5.],
            [0., 1.]]])
    """
    numbers, like = shape_dtype(input), shape_dtype(weight)
    if numbers.dtype.kind not in "iu":
        raise TypeError(f"embedding: input has the numbers of rows, integers; got {numbers.dtype}")
    if like.ndim != 2:
        raise ValueError(f"embedding: weight is (V, D), got shape {like.shape}")
    rows = moved = reshape(input, (math.prod(numbers.shape),))
    if padding_idx is not None:
        at = index(padding_idx)
        if not -like.shape[0] <= at < like.shape[0]:
            raise ValueError(
                f"embedding: padding_idx={at} is none of the {like.shape[0]} rows of weight"
            )
        moved = where(rows == at % like.shape[0], -1, cast(rows, np.int64))
    return reshape(embedding_p(weight, rows, moved), (*numbers.shape, like.shape[1]))
