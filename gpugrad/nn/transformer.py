"""Transformers: attention with several heads, and the layers around it (Vaswani et al. 2017)."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

import gpugrad.numpy as gnp
from gpugrad import random
from gpugrad.device import Device
from gpugrad.nn.activation_layers import Dropout
from gpugrad.nn.activations import gelu, relu
from gpugrad.nn.attention import scaled_dot_product_attention
from gpugrad.nn.linear import Linear, linear
from gpugrad.nn.module import Module, parameter
from gpugrad.nn.norm_layers import LayerNorm
from gpugrad.nn.softmax import softmax
from gpugrad.ops.elementwise import where

__all__ = [
    "MultiheadAttention",
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
    "rotary_embedding",
]


def rotary_embedding(x: Any, base: float = 10_000.0, offset: int = 0) -> Any:
    """Turn pairs of features by angles that grow with the position (Su et al. 2021).

    Feature ``i`` of the first half and of the second are a pair, turned by
    ``position * base**(-2i/E)``. Products of queries and keys then depend on distances only.

    Parameters
    ----------
    x : array
        Shape (..., L, E), with E even.
    base : float
        How slowly the last pair turns.
    offset : int
        The position of the first of the L.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.nn import rotary_embedding
    >>> rotary_embedding(np.array([[1.0, 0.0], [1.0, 0.0]])).round(4)
    array([[1.    , 0.    ],
           [0.5403, 0.8415]])
    """
    length, width = x.shape[-2:]
    if width % 2:
        raise ValueError(f"rotary_embedding: the number of features is even, got {width}")
    half = width // 2
    turns = base ** (-np.arange(half) / half)
    angles = (np.arange(length) + offset)[:, None] * turns
    both = gnp.asarray(np.stack([np.cos(angles), np.sin(angles)]), dtype=x.dtype)
    cos, sin = both.to(x.device) if hasattr(x, "to") else both.numpy()
    a, b = x[..., :half], x[..., half:]
    return gnp.concatenate([a * cos - b * sin, a * sin + b * cos], axis=-1)


class MultiheadAttention(Module):
    """Attention with several heads, between linear maps.

    Parameters
    ----------
    embed_dim, num_heads : int
        Width, and into how many heads it is divided.
    dropout : float
        Of the attention's weights, while training; they are then computed as a matrix.
    bias : bool
        Whether the maps have one.
    kdim, vdim : int, optional
        Widths of keys and values, where they are not ``embed_dim``.
    batch_first : bool
        Arrays are (N, L, E) instead of (L, N, E).
    rotary : bool
        Whether positions enter by `rotary_embedding` of queries and keys.
    device, dtype
        Of the parameters.
    generator : gpugrad.random.Generator, optional
        What draws them and the dropout.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad import nn
    >>> x = np.ones((2, 5, 8), "float32")
    >>> y, _ = nn.MultiheadAttention(8, 2, batch_first=True)(x, x, x)
    >>> y.shape
    (2, 5, 8)
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        *,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: str | Device | None = None,
        dtype: Any = "float32",
        rotary: bool = False,
        generator: random.Generator | None = None,
    ) -> None:
        super().__init__()
        if embed_dim % num_heads:
            raise ValueError(
                f"MultiheadAttention: a width of {embed_dim} is no multiple of {num_heads} heads"
            )
        self.embed_dim = embed_dim
        self.num_heads = num_heads
        self.batch_first = batch_first
        self.rotary = rotary
        draw = random.default_generator if generator is None else generator
        widths = (embed_dim, kdim or embed_dim, vdim or embed_dim)

        def start(outer: int, inner: int) -> Any:
            limit = math.sqrt(6 / (outer + inner))  # Glorot's
            return parameter(draw.uniform(-limit, limit, (outer, inner), dtype, device=device))

        self.in_proj_weight: Any = None
        self.q_proj_weight: Any = None
        self.k_proj_weight: Any = None
        self.v_proj_weight: Any = None
        if set(widths) == {embed_dim}:
            self.in_proj_weight = start(3 * embed_dim, embed_dim)
        else:
            for name, width in zip("qkv", widths, strict=True):
                setattr(self, f"{name}_proj_weight", start(embed_dim, width))
        self.in_proj_bias = (
            parameter(np.zeros(3 * embed_dim), dtype, device=device) if bias else None
        )
        self.out_proj = Linear(
            embed_dim, embed_dim, bias, device=device, dtype=dtype, generator=generator
        )
        if bias:
            self.out_proj.bias = parameter(np.zeros(embed_dim), dtype, device=device)
        self.dropout = Dropout(dropout, generator=generator)

    def forward(
        self,
        query: Any,
        key: Any,
        value: Any,
        key_padding_mask: Any = None,
        need_weights: bool = True,
        attn_mask: Any = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Any, Any]:
        """Attend.

        Parameters
        ----------
        query, key, value : array
            Shapes (L, N, E), (S, N, E) and (S, N, E), or with ``batch_first`` (N, L, E), ...; for
            one example (L, E), (S, E) and (S, E).
        key_padding_mask : (N, S) array, optional
            True for keys that no query sees, or numbers that are added to the scores.
        need_weights : bool
            Whether the weights are returned: they are then computed as a matrix, which takes
            memory and time that ``need_weights=False`` saves.
        attn_mask : array, optional
            (L, S), or (N * num_heads, L, S): True where a query does not see a key, or numbers
            that are added to the scores.
        average_attn_weights : bool
            Whether the weights returned are the mean over the heads.
        is_causal : bool
            Query i sees the keys up to the i-th only.

        Returns
        -------
        tuple
            The output, shaped like ``query``, and the weights, (N, L, S) or (N, heads, L, S), or
            None.
        """
        if query.ndim == 2:  # one example
            at = 0 if self.batch_first else 1
            query, key, value = _each(lambda x: gnp.expand_dims(x, at), query, key, value)
            padding = None if key_padding_mask is None else gnp.expand_dims(key_padding_mask, 0)
            y, weights = self.forward(
                query, key, value, padding, need_weights, attn_mask, average_attn_weights,
                is_causal,
            )  # fmt: skip
            return gnp.squeeze(y, at), None if weights is None else gnp.squeeze(weights, 0)
        if not self.batch_first:
            query, key, value = _each(lambda x: gnp.swapaxes(x, 0, 1), query, key, value)
        q, k, v = self._heads(query, key, value)
        if self.rotary:
            q, k = rotary_embedding(q), rotary_embedding(k)
        mask = self._mask(q, attn_mask, key_padding_mask)
        weights = None
        if need_weights or (self.training and self.dropout.p):
            scores = q @ gnp.swapaxes(k, -1, -2)
            dtype = scores.dtype  # of bfloat16 and a fraction NumPy makes float32
            scores = _masked(scores / math.sqrt(q.shape[-1]), mask, is_causal)
            weights = softmax(gnp.astype(scores, dtype), -1)
            y = self.dropout(weights) @ v
        elif mask is not None and is_causal:
            y = scaled_dot_product_attention(q, k, v, _masked(0.0, mask, True, q, k))
        else:
            y = scaled_dot_product_attention(q, k, v, mask, is_causal=is_causal)
        n, heads, length, width = y.shape
        y = gnp.reshape(gnp.swapaxes(y, 1, 2), (n, length, heads * width))
        y = self.out_proj(y)
        if not self.batch_first:
            y = gnp.swapaxes(y, 0, 1)
        if not need_weights:
            return y, None
        return y, gnp.mean(weights, axis=1) if average_attn_weights else weights

    def _heads(self, query: Any, key: Any, value: Any) -> list[Any]:
        width = self.embed_dim // self.num_heads
        if query is key is value and self.in_proj_weight is not None:  # one product, not three
            both = linear(query, self.in_proj_weight, self.in_proj_bias)
            # Apart along an axis of its own: the three gradients come together in one copy.
            shape = (*query.shape[:2], 3, self.num_heads, width)
            parts = gnp.split(gnp.reshape(both, shape), 3, axis=2)
        else:
            weights = self._weights()
            biases = [None] * 3 if self.in_proj_bias is None else gnp.split(self.in_proj_bias, 3)
            parts = [linear(*each) for each in zip((query, key, value), weights, biases)]
        shaped = [gnp.reshape(p, (*p.shape[:2], self.num_heads, width)) for p in parts]
        return [gnp.swapaxes(p, 1, 2) for p in shaped]

    def _weights(self) -> list[Any]:
        if self.in_proj_weight is None:
            return [self.q_proj_weight, self.k_proj_weight, self.v_proj_weight]
        return gnp.split(self.in_proj_weight, 3)

    def _mask(self, q: Any, attn_mask: Any, padding: Any) -> Any:
        """Both masks as one: True where a query sees a key, or numbers to be added."""
        mask = attn_mask
        if mask is not None:
            if mask.ndim == 3:
                mask = gnp.reshape(mask, (q.shape[0], self.num_heads, *mask.shape[1:]))
            mask = ~mask if mask.dtype == bool else mask
        if padding is None:
            return mask
        padding = padding[:, None, None, :]
        if padding.dtype != bool:
            if mask is None:
                return padding
            return where(mask, padding, -np.inf) if mask.dtype == bool else mask + padding
        seen = ~padding
        if mask is None:
            return seen
        return mask & seen if mask.dtype == bool else where(seen, mask, -np.inf)

    def extra_repr(self) -> str:
        return f"{self.embed_dim}, {self.num_heads}"


def _each(f: Callable[[Any], Any], *xs: Any) -> tuple[Any, ...]:
    """``f`` of each; where they are all one array, once, so that the results are one too."""
    if all(x is xs[0] for x in xs):
        return (f(xs[0]),) * len(xs)
    return tuple([f(x) for x in xs])


def _masked(scores: Any, mask: Any, causal: bool, q: Any = None, k: Any = None) -> Any:
    """Scores with -inf where a mask hides a key, or with what it adds."""
    if mask is not None:
        scores = where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
    if causal:
        length, keys = scores.shape[-2:] if q is None else (q.shape[-2], k.shape[-2])
        past = np.tril(np.ones((length, keys), bool))
        like = scores if q is None else q
        past = gnp.asarray(past).to(like.device) if hasattr(like, "to") else past
        scores = where(past, scores, -np.inf)
    return scores


_ACTIVATIONS: dict[str, Callable[..., Any]] = {"relu": relu, "gelu": gelu}


class _Layer(Module):
    """What both layers share: the feed-forward part, and norms before or after each part."""

    _attentions: ClassVar[tuple[str, ...]]

    self_attn: MultiheadAttention
    multihead_attn: MultiheadAttention
    norm1: LayerNorm
    norm2: LayerNorm
    norm3: LayerNorm

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[[Any], Any] = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: str | Device | None = None,
        dtype: Any = "float32",
        *,
        rotary: bool = False,
        generator: random.Generator | None = None,
    ) -> None:
        super().__init__()
        if isinstance(activation, str) and activation not in _ACTIVATIONS:
            raise ValueError(
                f"{type(self).__name__}: activation={activation!r} is neither 'relu' nor 'gelu'; "
                "others are given as functions, nn.silu"
            )
        own: dict[str, Any] = {"device": device, "dtype": dtype}
        drawn: dict[str, Any] = {**own, "generator": generator}
        for name in self._attentions:
            turned = rotary and name == "self_attn"
            attention = MultiheadAttention(
                d_model, nhead, dropout, bias, batch_first=batch_first, rotary=turned, **drawn
            )
            setattr(self, name, attention)
        self.linear1 = Linear(d_model, dim_feedforward, bias, **drawn)
        self.linear2 = Linear(dim_feedforward, d_model, bias, **drawn)
        for i in range(len(self._attentions) + 1):
            setattr(self, f"norm{i + 1}", LayerNorm(d_model, layer_norm_eps, bias=bias, **own))
        self.drop = Dropout(dropout, generator=generator)
        self.norm_first = norm_first
        self.activation: Callable[..., Any] = (
            _ACTIVATIONS[activation] if isinstance(activation, str) else activation
        )

    def _feed_forward(self, x: Any) -> Any:
        weight, bias = self.linear1.weight, self.linear1.bias
        x = linear(x, weight)
        if self.activation in _ACTIVATIONS.values() and bias is not None and bias.dtype == x.dtype:
            x = self.activation(x, bias=bias)  # in one pass, and in one pass back
        else:
            x = self.activation(x if bias is None else x + bias)
        return self.drop(self.linear2(self.drop(x)))

    def _around(self, norm: Any, part: Callable[[Any], Any], x: Any) -> Any:
        return x + part(norm(x)) if self.norm_first else norm(x + part(x))


class TransformerEncoderLayer(_Layer):
    """Self-attention, then two linear maps at each position, each with a residual and a norm.

    Parameters
    ----------
    d_model, nhead, dim_feedforward : int
        Width, number of heads, and width between the two maps.
    dropout : float
        Of each part's output, the activations and the attention's weights.
    activation : {"relu", "gelu"} or callable
        Between the two maps.
    layer_norm_eps : float
        Of the norms.
    batch_first : bool
        Arrays are (N, L, E) instead of (L, N, E).
    norm_first : bool
        The norms come before the parts, not after the sums.
    bias : bool
        Whether maps and norms have one.
    device, dtype
        Of the parameters.
    rotary : bool
        Whether positions enter by `rotary_embedding`.
    generator : gpugrad.random.Generator, optional
        What draws the parameters and the dropout.
    """

    _attentions = ("self_attn",)

    def forward(
        self,
        src: Any,
        src_mask: Any = None,
        src_key_padding_mask: Any = None,
        is_causal: bool = False,
    ) -> Any:
        def attend(x: Any) -> Any:
            y, _ = self.self_attn(
                x, x, x, src_key_padding_mask, False, src_mask, is_causal=is_causal
            )
            return self.drop(y)

        x = self._around(self.norm1, attend, src)
        return self._around(self.norm2, self._feed_forward, x)


class TransformerDecoderLayer(_Layer):
    """Self-attention, attention to an encoder's output, and two linear maps at each position.

    The parameters are `TransformerEncoderLayer`'s.
    """

    _attentions = ("self_attn", "multihead_attn")

    def forward(
        self,
        tgt: Any,
        memory: Any,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Any:
        def attend(x: Any) -> Any:
            y, _ = self.self_attn(
                x, x, x, tgt_key_padding_mask, False, tgt_mask, is_causal=tgt_is_causal
            )
            return self.drop(y)

        def look(x: Any) -> Any:
            y, _ = self.multihead_attn(
                x, memory, memory, memory_key_padding_mask, False, memory_mask,
                is_causal=memory_is_causal,
            )  # fmt: skip
            return self.drop(y)

        x = self._around(self.norm1, attend, tgt)
        x = self._around(self.norm2, look, x)
        return self._around(self.norm3, self._feed_forward, x)


class TransformerEncoder(Module):
    """Copies of an encoder layer, one after the other, and a norm at the end.

    Parameters
    ----------
    encoder_layer : TransformerEncoderLayer
        What is copied.
    num_layers : int
        How often.
    norm : Module, optional
        What comes last.
    """

    def __init__(self, encoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__()
        self.layers = [copy.deepcopy(encoder_layer) for _ in range(num_layers)]
        self.norm = norm

    def forward(
        self,
        src: Any,
        mask: Any = None,
        src_key_padding_mask: Any = None,
        is_causal: bool = False,
    ) -> Any:
        for layer in self.layers:
            src = layer(src, mask, src_key_padding_mask, is_causal)
        return src if self.norm is None else self.norm(src)


class TransformerDecoder(Module):
    """Copies of a decoder layer, one after the other, and a norm at the end.

    Parameters
    ----------
    decoder_layer : TransformerDecoderLayer
        What is copied.
    num_layers, norm
        As for `TransformerEncoder`.
    """

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__()
        self.layers = [copy.deepcopy(decoder_layer) for _ in range(num_layers)]
        self.norm = norm

    def forward(
        self,
        tgt: Any,
        memory: Any,
        tgt_mask: Any = None,
        memory_mask: Any = None,
        tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Any:
        masks = (tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask)
        for layer in self.layers:
            tgt = layer(tgt, memory, *masks, tgt_is_causal, memory_is_causal)
        return tgt if self.norm is None else self.norm(tgt)
