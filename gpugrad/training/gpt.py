"""A GPT: the transformer that predicts each next token of a text from those before it."""

from __future__ import annotations

from typing import Any

from gpugrad import random
from gpugrad.device import Device
from gpugrad.nn import Embedding, LayerNorm, Linear, Module, TransformerEncoderLayer
from gpugrad.training.recipe import rebuildable

START = 0.02
"""The standard deviation of first weights, as in GPT-2 (Radford et al. 2019)."""


@rebuildable
class GPT(Module):
    """Scores of each position's next token.

    Pre-norm layers of causal attention and a feed-forward part of four times the width with GELU,
    after learnt vectors of tokens and positions. The matrix that gives the scores is its own.

    Parameters
    ----------
    vocabulary : int
        How many tokens there are.
    context : int
        The longest sequence.
    width, layers, heads : int
        Length of the vectors, number of layers, and of heads in each.
    dropout : float
        Of each part's output, while training.
    device, dtype
        Of the parameters.
    generator : gpugrad.random.Generator, optional
        What draws them.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.training.gpt import GPT
    >>> GPT(65, context=8, width=16, layers=2, heads=2)(np.zeros((3, 5), int)).shape
    (3, 5, 65)
    """

    def __init__(
        self,
        vocabulary: int,
        context: int = 128,
        width: int = 128,
        layers: int = 4,
        heads: int = 4,
        dropout: float = 0.0,
        *,
        device: str | Device | None = None,
        dtype: Any = "float32",
        generator: random.Generator | None = None,
    ) -> None:
        super().__init__()
        self.context = context
        draw = random.default_generator if generator is None else generator
        own: dict[str, Any] = {"device": device, "dtype": dtype, "generator": draw}
        self.tokens = Embedding(vocabulary, width, **own)
        self.positions = Embedding(context, width, **own)
        self.layers = [
            TransformerEncoderLayer(
                width, heads, 4 * width, dropout, "gelu",
                batch_first=True, norm_first=True, **own,
            )
            for _ in range(layers)
        ]  # fmt: skip
        self.norm = LayerNorm(width, device=device, dtype=dtype)
        self.head = Linear(width, vocabulary, bias=False, **own)
        self._start(draw)

    def _start(self, draw: random.Generator) -> None:
        """Small normal weights and no biases; less where outputs add up over the layers."""
        ending = ("out_proj.weight", "linear2.weight")
        first = {}
        for name, p in self.named_parameters():
            if p.ndim > 1:
                scale = START / (2 * len(self.layers)) ** 0.5 if name.endswith(ending) else START
                first[name] = draw.normal(0.0, scale, p.shape, device=p.device)
            elif name.endswith("bias"):
                first[name] = p.detach() * 0
        self.load_state_dict(first, strict=False)

    def forward(self, tokens: Any) -> Any:
        length = tokens.shape[-1]
        if length > self.context:
            raise ValueError(f"GPT: {length} tokens in a context of {self.context}")
        x = self.tokens(tokens) + self.positions.weight[:length]
        for layer in self.layers:
            x = layer(x, is_causal=True)
        return self.head(self.norm(x))

    def extra_repr(self) -> str:
        return f"context={self.context}"
