"""A table of vectors as a module."""

from __future__ import annotations

from typing import Any

from gpugrad import random
from gpugrad.device import Device
from gpugrad.nn.embedding import embedding
from gpugrad.nn.module import Module, parameter

__all__ = ["Embedding"]


class Embedding(Module):
    """`embedding` with a table of its own, which starts standard normal.

    Parameters
    ----------
    num_embeddings, embedding_dim : int
        How many vectors of which length.
    padding_idx : int, optional
        This vector starts as zeros and is not trained.
    device, dtype
        Of the table.
    generator : gpugrad.random.Generator, optional
        What draws it.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad import nn
    >>> nn.Embedding(10, 3)(np.array([[1, 2], [3, 9]])).shape
    (2, 2, 3)
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        *,
        device: str | Device | None = None,
        dtype: Any = "float32",
        generator: random.Generator | None = None,
    ) -> None:
        super().__init__()
        draw = random.default_generator if generator is None else generator
        start = draw.normal(size=(num_embeddings, embedding_dim), device=device)
        if padding_idx is not None:
            start[padding_idx] = 0
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.padding_idx = padding_idx
        self.weight = parameter(start, dtype)

    def forward(self, x: Any) -> Any:
        return embedding(x, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"
