"""Attention as one operation, and its gradient as another.

Neither keeps the matrix of scores. The second derivatives are plain array code over that matrix,
from which those of every further order follow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from gpugrad.core.abstract import ShapeDtype, shape_dtype
from gpugrad.core.primitive import Primitive
from gpugrad.kernels import attention
from gpugrad.kernels.many import NARROW
from gpugrad.ops.batching import lead
from gpugrad.ops.broadcast import broadcast_to, sum_p, unbroadcast
from gpugrad.ops.cast import cast
from gpugrad.ops.creation import counting
from gpugrad.ops.elementwise import exp, isfinite, where
from gpugrad.ops.reductions import logsumexp
from gpugrad.ops.shape import expand_dims, reshape, swapaxes


class _Weights(NamedTuple):
    """The softmax as array code: keys and values of one head for each head of queries."""

    p: Any
    k: Any
    v: Any


def _turned(x: Any) -> Any:
    return swapaxes(x, -1, -2)


def _total(x: Any) -> Any:
    return sum_p(x, axis=(3,), keepdims=True)


def _each(x: Any, heads: int) -> Any:
    """Keys or values repeated for the heads that share them."""
    b, few, s, d = x.shape
    if few == heads:
        return x
    x = broadcast_to(expand_dims(x, 2), (b, few, heads // few, s, d))
    return reshape(x, (b, heads, s, d))


def _shared(x: Any, like: ShapeDtype) -> Any:
    """The other way round: the sum over the heads that share."""
    b, heads, s, d = x.shape
    few = like.shape[1]
    if few == heads:
        return x
    return sum_p(reshape(x, (b, few, heads // few, s, d)), axis=(2,), keepdims=False)


def _weights(q: Any, k: Any, v: Any, mask: Sequence[Any], causal: bool, scale: float) -> _Weights:
    k, v = _each(k, q.shape[1]), _each(v, q.shape[1])
    scores = q @ _turned(k) * scale
    for m in mask:
        scores = scores + m
    if causal:
        queries, keys = counting([q], scores.shape[2]), counting([q], scores.shape[3])
        scores = where(expand_dims(queries, 1) >= keys, scores, -math.inf)
    total = logsumexp(scores, 3, keepdims=True)
    return _Weights(exp(scores - where(isfinite(total), total, 0)), k, v)


def attend(
    q: Any,
    k: Any,
    v: Any,
    mask: Sequence[Any],
    causal: bool,
    scale: float,
    change: Callable[[Any], Any] = lambda p: p,
) -> Any:
    """Attention as array code; ``change`` is what happens to the weights, such as dropout."""
    p, _, v = _weights(q, k, v, mask, causal, scale)
    return change(p) @ v


def _slope(p: Any, t: Any) -> Any:
    """The derivative of the softmax ``p`` along ``t``, which is its own transpose."""
    t = p * t
    return t - p * _total(t)


def _pull(
    gs: Any, q: Any, k: Any, v: Any, mask: Any, y: Any, needs: Any, causal: bool, scale: float
) -> list[Any]:
    g, (out, lse) = gs[0], y
    to = pull_p(g, q, k, v, out, lse, *mask, causal=causal, scale=scale)
    if not any(needs[3:]):
        return [*to, *[None for _ in mask]]
    p, _, each = _weights(q, k, v, mask, causal, scale)
    s = _slope(p, g @ _turned(each))
    return [*to, *[unbroadcast(s, shape_dtype(m)) for m in mask]]


def _moved(ts: Sequence[Any], q: Any, each: Any, heads: int, scale: float) -> Any:
    """The scores' tangent from those of q, k and the mask; None if there is none."""
    tq, tk, *tm = ts
    terms = [
        None if tq is None else tq @ _turned(each) * scale,
        None if tk is None else q @ _turned(_each(tk, heads)) * scale,
        *tm,
    ]
    return _sum(terms)


def _sum(terms: Sequence[Any]) -> Any:
    total = None
    for t in terms:
        if t is not None:
            total = t if total is None else total + t
    return total


def _push(
    ts: Any, q: Any, k: Any, v: Any, mask: Any, y: Any, causal: bool, scale: float
) -> tuple[Any, Any]:
    heads = q.shape[1]
    p, each, values = _weights(q, k, v, mask, causal, scale)
    tv = ts[2]
    moved = _moved((*ts[:2], *ts[3:]), q, each, heads, scale)
    terms = [
        None if moved is None else _slope(p, moved) @ values,
        None if tv is None else p @ _each(tv, heads),
    ]
    if moved is None:
        return _sum(terms), None
    return _sum(terms), cast(sum_p(p * moved, axis=(3,), keepdims=False), y[1].dtype)


def _pull_again(
    us: Any, g: Any, q: Any, k: Any, v: Any, mask: Any, causal: bool, scale: float
) -> list[Any]:
    """The VJP of `pull_p`: what cotangents of dq, dk and dv mean for g, q, k, v and the mask."""
    heads = q.shape[1]
    p, each, values = _weights(q, k, v, mask, causal, scale)
    uq, uk, uv = us
    wish = g @ _turned(values)
    s = _slope(p, wish)
    to_p = to_g = None
    if uv is not None:
        uv = _each(uv, heads)
        to_p, to_g = g @ _turned(uv), p @ uv
    terms = [
        None if uq is None else uq @ _turned(each) * scale,
        None if uk is None else q @ _turned(_each(uk, heads)) * scale,
    ]
    to_s = _sum(terms)
    to_q = to_k = to_v = None
    if to_s is not None:
        pulled = _slope(p, to_s)
        to_g = _sum([to_g, pulled @ values])
        to_v = _shared(_turned(pulled) @ g, shape_dtype(v))
        to_p = _sum([to_p, to_s * (wish - _total(wish * p)) - _total(p * to_s) * wish])
    if uk is not None:
        to_q = s @ _each(uk, heads) * scale
    if uq is not None:
        to_k = _turned(s) @ uq * scale
    bar = _slope(p, to_p)
    to_q = _sum([to_q, bar @ each * scale])
    to_k = _shared(_sum([to_k, _turned(bar) @ q * scale]), shape_dtype(k))
    hidden = [unbroadcast(bar, shape_dtype(m)) for m in mask]
    return [to_g, to_q, to_k, to_v, None, None, *hidden]


def _push_again(
    ts: Any, g: Any, q: Any, k: Any, v: Any, mask: Any, causal: bool, scale: float
) -> tuple[Any, Any, Any]:
    """The JVP of `pull_p`."""
    heads = q.shape[1]
    tg, tq, tk, tv, *_ = ts
    p, each, values = _weights(q, k, v, mask, causal, scale)
    wish = g @ _turned(values)
    s = _slope(p, wish)
    moved = _moved((tq, tk, *ts[6:]), q, each, heads, scale)
    tp = None if moved is None else _slope(p, moved)
    terms = [
        None if tg is None else tg @ _turned(values),
        None if tv is None else g @ _turned(_each(tv, heads)),
    ]
    wished = _sum(terms)
    parts = [] if wished is None else [_slope(p, wished)]
    if tp is not None:
        parts.append(tp * (wish - _total(wish * p)) - p * _total(tp * wish))
    ts_ = _sum(parts)
    to_q = [ts_ @ each * scale, None if tk is None else s @ _each(tk, heads) * scale]
    to_k = [_turned(ts_) @ q * scale, None if tq is None else _turned(s) @ tq * scale]
    to_v = [None if tp is None else _turned(tp) @ g, None if tg is None else _turned(p) @ tg]
    dv = _sum(to_v)
    like = shape_dtype(k)
    return (
        _sum(to_q),
        _shared(_sum(to_k), like),
        v * 0 if dv is None else _shared(dv, like),
    )


def _batch(
    primitive: Primitive, size: int, batched: Sequence[bool], values: Any, params: Any
) -> Any:
    """A batch of batches is a longer batch; a mask for all of them stays one."""
    count = 3 if primitive is attention_p else 6
    full = [_joined(lead(v, size, mine)) for v, mine in zip(values[:count], batched, strict=False)]
    for m, mine in zip(values[count:], batched[count:], strict=True):
        if mine or m.shape[0] > 1:
            m = lead(m, size, mine)
            m = broadcast_to(m, (size, full[0].shape[0] // size, *m.shape[2:]))
            m = reshape(m, (full[0].shape[0], *m.shape[2:]))
        full.append(m)
    out = primitive(*full, **params)
    return tuple([reshape(o, (size, o.shape[0] // size, *o.shape[1:])) for o in out])


def _joined(x: Any) -> Any:
    return reshape(x, (x.shape[0] * x.shape[1], *x.shape[2:]))


def _shape(
    q: ShapeDtype, k: ShapeDtype, v: ShapeDtype, *mask: ShapeDtype, causal: bool, scale: float
) -> tuple[ShapeDtype, ShapeDtype]:
    kept = np.dtype(np.float32) if q.dtype.name in NARROW else q.dtype
    return (
        ShapeDtype((*q.shape[:3], v.shape[3]), q.dtype),
        ShapeDtype(q.shape[:3], kept),
    )


attention_p = Primitive(
    "attention",
    lambda xp, q, k, v, *mask, causal, scale: attention.forward(
        q, k, v, *(mask or (None,)), causal=causal, scale=scale
    ),
    "q k v *mask",
    shape=_shape,
    joint_vjp=_pull,
    joint_jvp=_push,
    batch=_batch,
    multiple=True,
)
"""(B, H, L, D), (B, G, S, D) and (B, G, S, E), and at most one mask, to (B, H, L, E) and (B, H, L).

The second output is for the backward pass; no gradient comes back by it.
"""


def _pull_forward(
    xp: Any, g: Any, q: Any, k: Any, v: Any, out: Any, lse: Any, *mask: Any, causal: bool,
    scale: float,
) -> Any:  # fmt: skip
    hidden = mask[0] if mask else None
    return attention.backward(g, q, k, v, hidden, out, lse, causal=causal, scale=scale)


pull_p = Primitive(
    "attention_pull",
    _pull_forward,
    "g q k v out lse *mask",
    shape=lambda g, q, k, v, out, lse, *mask, causal, scale: (q, k, v),
    joint_vjp=_pull_again,
    joint_jvp=_push_again,
    batch=_batch,
    multiple=True,
)
"""The gradients by q, k and v; ``out`` and ``lse`` are what `attention_p` made of the others."""
