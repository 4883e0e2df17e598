"""Attention, with PyTorch's name and arguments."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpugrad.core.abstract import shape_dtype
from gpugrad.core.under import device_under
from gpugrad.kernels.attention import WIDTHS
from gpugrad.kernels.many import FLOATS
from gpugrad.nn.activations import dropout
from gpugrad.ops.attention import attend, attention_p
from gpugrad.ops.broadcast import broadcast_to
from gpugrad.ops.cast import cast
from gpugrad.ops.elementwise import where
from gpugrad.ops.shape import reshape


def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
    dropout_key: Any = None,
) -> Any:
    """Attention: ``softmax(query @ key.T * scale + mask) @ value``.

    The matrix of scores is never stored: memory grows with the length of the sequences, not with
    its square, also for the gradient. (Second derivatives do store it, and dropout.)

    Parameters
    ----------
    query : array
        Shape (..., H, L, E): L queries for each of H heads; (L, E) is one head.
    key : array
        Shape (..., H, S, E).
    value : array
        Shape (..., H, S, Ev).
    attn_mask : array, optional
        Of a shape that broadcasts to (..., H, L, S). Booleans say which keys a query sees; numbers
        are added to the scores. A query that sees no key gets zeros.
    dropout_p : float
        Probability with which a weight is set to 0. Other than 0 it stores the matrix of scores.
    is_causal : bool
        Query i sees the keys up to the i-th only; not together with a mask.
    scale : float, optional
        ``1 / sqrt(E)`` by default.
    enable_gqa : bool
        Whether key and value may have fewer heads than query, each for several of query's in a
        row.
    dropout_key : int or (4,) array of uint32, optional
        Which weights `gpugrad.nn.dropout` takes: to be given with ``dropout_p``.

    Returns
    -------
    array
        Shape (..., H, L, Ev).

    Raises
    ------
    ValueError
        For shapes that do not go together, and a mask together with ``is_causal``.
    TypeError
        For arrays that are no real floating-point numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.nn import scaled_dot_product_attention
    >>> q, k, v = np.zeros((3, 2)), np.ones((3, 2)), np.arange(3.0)[:, None]
    >>> scaled_dot_product_attention(q, k, v, is_causal=True)[:, 0]
    array([0. , 0.5, 1. ])
    """
    name = "scaled_dot_product_attention"
    if is_causal and attn_mask is not None:
        raise ValueError(
            f"{name}: is_causal=True with an attn_mask: put the causal part into the mask"
        )
    likes = [shape_dtype(x) for x in (query, key, value)]
    shapes = ", ".join([str(s.shape) for s in likes])
    if min(s.ndim for s in likes) < 2 or len({s.ndim for s in likes}) > 1:
        raise ValueError(
            f"{name}: query is (..., H, L, E), key (..., H, S, E) and value (..., H, S, Ev), got "
            f"shapes {shapes}"
        )
    dtypes = [s.dtype for s in likes]
    dtype = dtypes[0] if len(set(dtypes)) == 1 else np.result_type(*dtypes)
    if dtype.name not in FLOATS:
        raise TypeError(f"{name}: arrays are of real floating-point numbers, got {dtype}")
    ahead = likes[0].shape[:-2]
    batch, heads = math.prod(ahead[:-1]), ahead[-1] if ahead else 1
    shared = likes[1].shape[-3] if ahead else 1
    if (
        likes[1].shape[:-1] != likes[2].shape[:-1]
        or likes[0].shape[-1] != likes[1].shape[-1]
        or likes[0].shape[:-3] != likes[1].shape[:-3]
        or (shared != heads and (not enable_gqa or shared == 0 or heads % shared))
    ):
        raise ValueError(
            f"{name}: shapes {shapes} of query, key and value do not go together: all but the "
            "last two axes are the same, unless enable_gqa=True, by which key and value may have a "
            "divisor of query's number of heads"
        )
    q, k, v = (
        reshape(cast(x, dtype), (batch, n, *s.shape[-2:]))
        for x, n, s in zip((query, key, value), (heads, shared, shared), likes, strict=True)
    )
    scale = 1 / math.sqrt(max(1, likes[0].shape[-1])) if scale is None else float(scale)
    out = (*likes[0].shape[:-1], likes[2].shape[-1])
    mask = _mask(name, attn_mask, (*likes[0].shape[:-1], likes[1].shape[-2]), dtype)
    causal = bool(is_causal)
    if dropout_p:

        def thin(p: Any) -> Any:
            return dropout(p, dropout_p, key=dropout_key)

        return reshape(attend(q, k, v, mask, causal, scale, thin), out)
    widest = max(likes[0].shape[-1], likes[2].shape[-1])
    if widest > WIDTHS[-1] and device_under(q).kind == "cuda":  # there is no kernel for it
        return reshape(attend(q, k, v, mask, causal, scale), out)
    return reshape(attention_p(q, k, v, *mask, causal=causal, scale=scale)[0], out)


def _mask(name: str, mask: Any, scores: tuple[int, ...], dtype: Any) -> list[Any]:
    """The mask to add, of four axes, in a list of at most one."""
    if mask is None:
        return []
    like = shape_dtype(mask)
    try:
        fits = np.broadcast_shapes(like.shape, scores) == scores
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"{name}: attn_mask of shape {like.shape} does not broadcast to the scores' {scores}"
        )
    if like.dtype.kind == "b":
        mask = where(mask, 0.0, -math.inf)
    shape = (1,) * (len(scores) - like.ndim) + like.shape
    shape = (1,) * (4 - len(shape)) + shape
    if len(shape) > 4:  # the leading axes become one, at their full lengths unless all are 1
        ahead, rest = shape[:-3], shape[-3:]
        if math.prod(ahead) > 1:
            mask = broadcast_to(reshape(mask, shape), (*scores[:-3], *rest))
            ahead = scores[:-3]
        shape = (math.prod(ahead), *rest)
    return [cast(reshape(mask, shape), dtype)]
