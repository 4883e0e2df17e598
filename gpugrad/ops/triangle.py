"""The lower and the upper triangle of matrices."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import Any

from gpugrad.core.abstract import ShapeDtype, shape_dtype
from gpugrad.core.primitive import LINEAR, Primitive
from gpugrad.ops.broadcast import broadcast_to


def _over_batch(
    primitive: Primitive, size: int, batched: Sequence[bool], values: Any, params: Any
) -> Any:
    return primitive(values[0], **params)  # the matrices are the last two axes


def _triangle(name: str) -> Primitive:
    primitive: Primitive = Primitive(
        name,
        lambda xp, x, *, k: getattr(xp, name)(x, k),
        shape=lambda x, *, k: ShapeDtype(x.shape, x.dtype),
        vjp=lambda g, k: primitive(g, k=k),
        jvp=LINEAR,
        batch=_over_batch,
    )
    return primitive


tril_p = _triangle("tril")
triu_p = _triangle("triu")


def _of_matrices(primitive: Primitive, x: Any, k: int) -> Any:
    shape = shape_dtype(x).shape
    if not shape:
        raise ValueError(f"{primitive.name} needs a matrix, got a number")
    if len(shape) == 1:  # NumPy's: each row of a square matrix
        x = broadcast_to(x, shape * 2)
    return primitive(x, k=index(k))


def tril(x: Any, /, k: int = 0) -> Any:
    """Matrices with zeros above diagonal ``k``."""
    return _of_matrices(tril_p, x, k)


def triu(x: Any, /, k: int = 0) -> Any:
    """Matrices with zeros below diagonal ``k``."""
    return _of_matrices(triu_p, x, k)
