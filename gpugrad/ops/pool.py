"""Pooling over windows of images: the leading axes are so many images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpugrad.core.abstract import ShapeDtype
from gpugrad.core.primitive import LINEAR, Primitive
from gpugrad.kernels import pool
from gpugrad.kernels.pool import Window
from gpugrad.ops.batching import lead

_PLACE = np.dtype(np.int32)


def _batch(
    primitive: Primitive, size: int, batched: Sequence[bool], values: Any, params: Any
) -> Any:
    full = [lead(v, size, mine) for v, mine in zip(values, batched, strict=True)]
    return primitive(*full, **params)


def _pick(xp: Any, x: Any, places: Any, *, how: Window) -> Any:
    flat = x.reshape(*x.shape[:-2], x.shape[-2] * x.shape[-1])
    at = places.reshape(*places.shape[:-2], how.out[0] * how.out[1])
    return xp.take_along_axis(flat, at, -1).reshape(places.shape)


def _smaller(x: ShapeDtype, *others: ShapeDtype, how: Window) -> ShapeDtype:
    return ShapeDtype((*x.shape[:-2], *how.out), x.dtype)


def _larger(g: ShapeDtype, *others: Any, size: tuple[int, int], how: Window) -> ShapeDtype:
    return ShapeDtype((*g.shape[:-2], *size), g.dtype)


max_pool_p = Primitive(
    "max_pool",
    lambda xp, x, *, how: pool.largest(x, how),
    shape=lambda x, *, how: (_smaller(x, how=how), _smaller(x, how=how)._replace(dtype=_PLACE)),
    vjp=lambda gs, y, x_like, how: put_p(gs[0], y[1], size=x_like.shape[-2:], how=how),
    jvp=lambda t, y, how: (pick_p(t, y[1], how=how), None),
    batch=_batch,
    multiple=True,
)
"""The largest element of each window and its place in the image."""

pick_p: Primitive = Primitive(
    "pick",
    _pick,
    "x places",
    shape=_smaller,
    vjp=(lambda g, places, x_like, how: put_p(g, places, size=x_like.shape[-2:], how=how), None),
    jvp=(LINEAR, None),
    batch=_batch,
)
"""The elements at the places that `max_pool_p` found."""

put_p: Primitive = Primitive(
    "put",
    lambda xp, g, places, *, size, how: pool.put(g, places, size, how),
    "g places",
    shape=_larger,
    vjp=(lambda u, places, how: pick_p(u, places, how=how), None),
    jvp=(LINEAR, None),
    batch=_batch,
)
"""Its transpose."""

mean_pool_p: Primitive = Primitive(
    "mean_pool",
    lambda xp, x, *, how: pool.mean(x, how),
    shape=_smaller,
    vjp=lambda g, x_like, how: spread_p(g, size=x_like.shape[-2:], how=how),
    jvp=LINEAR,
    batch=_batch,
)
"""The mean of each window."""

spread_p: Primitive = Primitive(
    "mean_pool_spread",
    lambda xp, g, *, size, how: pool.spread(g, size, how),
    "g",
    shape=_larger,
    vjp=lambda u, how: mean_pool_p(u, how=how),
    jvp=LINEAR,
    batch=_batch,
)
"""Its transpose."""
