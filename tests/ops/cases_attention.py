"""Attention against the softmax of the whole matrix of scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.special
from op_case import Sample, case
from op_draw import Draw, booleans, real

from gpugrad import nn


def attention(
    q: Any, k: Any, v: Any, mask: Any = None, *, causal: bool = False, scale: Any = None
) -> Any:
    if k.ndim > 2:
        k, v = (np.repeat(x, q.shape[-3] // k.shape[-3], -3) for x in (k, v))
    scores = q @ k.swapaxes(-1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if mask is not None:
        scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
    if causal:
        scores = np.where(np.tri(*scores.shape[-2:], dtype=bool), scores, -np.inf)
    return scipy.special.softmax(scores, -1) @ v


def _lengths(d: Draw) -> tuple[int, int, int, int]:
    return d.integer(1, 3), d.integer(1, 3), d.integer(1, 3), d.integer(1, 3)


def _plain(d: Draw) -> Sample:
    n, m, e, f = _lengths(d)
    ahead = d.pick([(), (2,), (2, 1), (1, 2, 2)])
    params = {"causal": d.flag(), "scale": d.pick([None, 0.3])}
    return [real((*ahead, n, e)), real((*ahead, m, e)), real((*ahead, m, f))], params


case(
    "scaled_dot_product_attention",
    _plain,
    lambda q, k, v, causal, scale: nn.scaled_dot_product_attention(
        q, k, v, is_causal=causal, scale=scale
    ),
    attention,
    low=False,
)


def _masked(d: Draw) -> Sample:
    n, m, e, f = _lengths(d)
    mask = d.pick([(n, m), (1, m), (2, n, 1), (2, 1, n, m), (1, 1, 1, m)])
    return [real((2, 2, n, e)), real((2, 2, m, e)), real((2, 2, m, f)), real(mask)], {}


case(
    "scaled_dot_product_attention with a mask",
    _masked,
    nn.scaled_dot_product_attention,
    attention,
    low=False,
)


def _shared(d: Draw) -> Sample:
    n, m, e, f = _lengths(d)
    few = d.integer(1, 2)
    return [real((2, 2 * few, n, e)), real((2, few, m, e)), real((2, few, m, f))], {}


case(
    "scaled_dot_product_attention with shared keys",
    _shared,
    lambda q, k, v: nn.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True),
    lambda q, k, v: attention(q, k, v, causal=True),
    low=False,
)


def _hidden(d: Draw) -> Sample:
    n, m, e, f = _lengths(d)
    return [real((2, n, e)), real((2, m + 1, e)), real((2, m + 1, f)), booleans((n, m))], {}


def _first_seen(mask: Any) -> Any:
    """With a key for each query."""
    return np.concatenate([np.ones((*mask.shape[:-1], 1), bool), mask], -1)


case(
    "scaled_dot_product_attention with hidden keys",
    _hidden,
    lambda q, k, v, mask: nn.scaled_dot_product_attention(q, k, v, _seen(mask)),
    lambda q, k, v, mask: attention(q, k, v, _first_seen(mask)),
    low=False,
)


def _seen(mask: Any) -> Any:
    import gpugrad.numpy as gnp

    return gnp.concatenate([gnp.ones_like(mask[:, :1]), mask], 1)
