"""Between a container of arrays and one vector."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import gpugrad.numpy as gnp
from gpugrad.core.abstract import shape_dtype
from gpugrad.device import namespace, on
from gpugrad.ops.cast import cast
from gpugrad.ops.creation import device_near
from gpugrad.transforms import kinds


def flatten(value: Any) -> tuple[Any, Callable[[Any], Any]]:
    """All numbers in nested tuples, lists and dicts as one vector, and the way back.

    Both ways can be differentiated.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.compat.autograd.misc.flatten import flatten
    >>> vector, unflatten = flatten({"w": np.ones((2, 2)), "b": 3.0})
    >>> vector
    array([3., 1., 1., 1., 1.])
    >>> unflatten(vector * 2)
    {'w': array([[2., 2.],
           [2., 2.]]), 'b': np.float64(6.0)}
    """
    leaves, tree = kinds.flatten(value)
    likes = [shape_dtype(v) for v in leaves]

    def unflatten(vector: Any) -> Any:
        out, start = [], 0
        for like in likes:
            piece = vector[start : start + like.size] if like.shape else vector[start]
            start += math.prod(like.shape)
            out.append(cast(gnp.reshape(piece, like.shape) if like.shape else piece, like.dtype))
        return kinds.unflatten(tree, out)

    if not leaves:
        return np.zeros(0), unflatten
    where = device_near(leaves)
    with on(where):
        xp = namespace(where)
        # A number joins the arrays' device by a product.
        parts = [
            gnp.ravel(v) if like.shape else v * xp.ones(1, like.dtype)
            for v, like in zip(leaves, likes)
        ]
    return gnp.concatenate(parts), unflatten


def flatten_func(
    func: Callable[..., Any], example: Any
) -> tuple[Callable[..., Any], Callable[[Any], Any], Any]:
    """``func`` of a container as a function between vectors, the way back, and the example."""
    vector, unflatten = flatten(example)

    def of_vector(x: Any, *args: Any) -> Any:
        return flatten(func(unflatten(x), *args))[0]

    return of_vector, unflatten, vector
