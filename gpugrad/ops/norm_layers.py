"""Normalisation layers as one operation each, by fused kernels where these are worth it.

The kernels compute values and first derivatives. A small array on the CPU, a second derivative and
forward mode are the same functions composed of other operations, below.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpugrad.core.abstract import ShapeDtype, shape_dtype
from gpugrad.core.box import any_box
from gpugrad.core.primitive import Keeping, Primitive
from gpugrad.kernels import norm as kernels
from gpugrad.ops.batching import lead
from gpugrad.ops.broadcast import sum_p
from gpugrad.ops.cast import cast
from gpugrad.ops.elementwise import sqrt, square
from gpugrad.ops.reductions import mean_p
from gpugrad.ops.shape import expand_dims, moveaxis, reshape
from gpugrad.ops.softmax import few, widened

Axes = tuple[int, ...]
Shape = tuple[int, ...]


class _Frame:
    """Where an array's statistics and parameters go.

    Parameters
    ----------
    seen
        The shape in which the array is looked at.
    over
        The axes that are normalised together.
    factor
        The shape of weight and bias beside that.
    """

    def __init__(self, seen: Shape, over: Axes, factor: Shape) -> None:
        self.seen = seen
        self.over = over
        self.factor = factor
        self.summed = tuple([i for i, n in enumerate(factor) if n == 1])

    def look(self, x: Any) -> Any:
        return reshape(widened(x), self.seen)

    def mean(self, x: Any) -> Any:
        return mean_p(x, axis=self.over, keepdims=True)

    def factors(self, p: Any) -> Any:
        return reshape(widened(p), self.factor)

    def total(self, x: Any, like: Any) -> Any:
        """The sum over what shares a parameter, in the shape and dtype of that."""
        like = shape_dtype(like)
        return cast(reshape(sum_p(x, axis=self.summed, keepdims=True), like.shape), like.dtype)


def _rows_frame(shape: Shape, groups: int) -> _Frame:
    cols = shape[-1]
    rows = int(np.prod(shape[:-1]))
    return _Frame((rows, cols), (1,), (1, cols))


def _groups_frame(shape: Shape, groups: int) -> _Frame:
    n, c, s = shape
    return _Frame((n, groups, c // groups, s), (2, 3), (1, groups, c // groups, 1))


def _channels_frame(shape: Shape, groups: int) -> _Frame:
    return _Frame(shape, (0, 2), (1, shape[1], 1))


def _given(p: Any) -> Any:
    """Weight and bias may be left out: a Python number stands for none."""
    return None if isinstance(p, int | float) else p


def _normal(f: _Frame, x: Any, center: bool, eps: float) -> tuple[Any, Any, Any]:
    """``(x - mean) * rstd``, the mean and rstd."""
    x = f.look(x)
    mean = f.mean(x) if center else 0.0
    x = x - mean
    rstd = 1 / sqrt(f.mean(square(x)) + eps)
    return x * rstd, mean, rstd


def _compose(f: _Frame, x: Any, weight: Any, bias: Any, center: bool, eps: float) -> Any:
    y = _normal(f, x, center, eps)[0]
    y = y if weight is None else y * f.factors(weight)
    y = y if bias is None else y + f.factors(bias)
    like = shape_dtype(x)
    return cast(reshape(y, like.shape), like.dtype)


def _through(f: _Frame, t: Any, hat: Any, rstd: Any, center: bool) -> Any:
    """The derivative of ``hat`` along ``t``, a symmetric map of arrays as they are looked at."""
    if center:
        t = t - f.mean(t)
    return rstd * (t - hat * f.mean(t * hat))


def _compose_pull(
    f: _Frame,
    g: Any,
    x: Any,
    weight: Any,
    bias: Any,
    needs: Sequence[bool],
    center: bool,
    eps: float,
) -> list[Any]:
    hat, _, rstd = _normal(f, x, center, eps)
    up = f.look(g)
    out: list[Any] = [None, None, None]
    if needs[0]:
        h = up if weight is None else up * f.factors(weight)
        like = shape_dtype(x)
        out[0] = cast(reshape(_through(f, h, hat, rstd, center), like.shape), like.dtype)
    if needs[1]:
        out[1] = f.total(up * hat, weight)
    if needs[2]:
        out[2] = f.total(up, bias)
    return out


def _push(f: _Frame, ts: Sequence[Any], x: Any, weight: Any, center: bool, eps: float) -> Any:
    hat, _, rstd = _normal(f, x, center, eps)
    tx, tw, tb = ts
    out: Any = 0.0
    if tx is not None:
        moved = _through(f, f.look(tx), hat, rstd, center)
        out = moved if weight is None else moved * f.factors(weight)
    if tw is not None:
        out = out + hat * f.factors(tw)
    if tb is not None:
        out = out + hat * 0 + f.factors(tb)
    like = shape_dtype(x)
    return cast(reshape(out, like.shape), like.dtype)


# ------------------------------------------------------------------------------ the kernels


def _run_rows(x: Any, weight: Any, bias: Any, center: bool, eps: float, groups: int) -> Any:
    flat = x.reshape(-1, x.shape[-1]) if x.size else x.reshape(0, x.shape[-1])
    return kernels.norm_rows(flat, weight, bias, eps=eps, center=center)


def _run_groups(x: Any, weight: Any, bias: Any, center: bool, eps: float, groups: int) -> Any:
    return kernels.group_norm(x, groups, weight, bias, eps=eps)


def _back_rows(g: Any, x: Any, weight: Any, mean: Any, rstd: Any, groups: int, params: bool) -> Any:
    flat = (-1 if x.size else 0, x.shape[-1])
    dx, dw, db = kernels.norm_rows_backward(
        g.reshape(flat), x.reshape(flat), weight, mean, rstd, params=params
    )
    return dx.reshape(x.shape), dw, db


def _back_groups(
    g: Any, x: Any, weight: Any, mean: Any, rstd: Any, groups: int, params: bool
) -> Any:
    return kernels.group_norm_backward(g, x, groups, weight, mean, rstd, params=params)


def _of_samples(
    name: str,
    frame: Callable[[Shape, int], _Frame],
    run: Callable[..., Any],
    back: Callable[..., Any],
) -> Primitive:
    """A normalisation that looks at one sample at a time."""

    def forward(
        xp: Any, x: Any, weight: Any, bias: Any, *, center: bool, eps: float, groups: int
    ) -> tuple[Any, Any]:
        weight, bias = _given(weight), _given(bias)
        if few(x):
            with np.errstate(all="ignore"):
                return _compose(frame(x.shape, groups), x, weight, bias, center, eps), None
        found = run(x, weight, bias, center, eps, groups)
        return found.y.reshape(x.shape), (found.mean, found.rstd)

    def vjp(
        g: Any,
        x: Any,
        weight: Any,
        bias: Any,
        kept: Any,
        needs: Any,
        center: bool,
        eps: float,
        groups: int,
    ) -> Any:
        weight, bias = _given(weight), _given(bias)
        if kept is None or any_box([g, x, weight]):
            f = frame(shape_dtype(x).shape, groups)
            return _compose_pull(f, g, x, weight, bias, needs, center, eps)
        mean, rstd = kept
        dx, dw, db = back(g, x, weight, mean, rstd, groups, any(needs[1:]))
        return [c if need else None for c, need in zip((dx, dw, db), needs)]

    def jvp(ts: Any, x: Any, weight: Any, center: bool, eps: float, groups: int) -> Any:
        f = frame(shape_dtype(x).shape, groups)
        return _push(f, ts, x, _given(weight), center, eps)

    def batch(
        primitive: Primitive, size: int, batched: Sequence[bool], values: Any, params: Any
    ) -> Any:
        """Examples are samples more; parameters of each example's own are applied apart."""
        x = lead(values[0], size, batched[0])
        shape = x.shape
        flat = reshape(x, (shape[0] * shape[1], *shape[2:])) if len(shape) > 2 else x
        if not any(batched[1:]):
            return reshape(primitive(flat, *values[1:], **params), shape)
        y = reshape(primitive(flat, 0.0, 0.0, **params), shape)
        at = 2 if frame is _groups_frame else len(shape) - 1
        for i, p in enumerate(_given(v) for v in values[1:]):
            if p is not None:
                beside = [1] * len(shape)
                beside[0] = size if batched[1 + i] else 1
                beside[at] = shape[at]
                p = reshape(p, tuple(beside))
                y = y * p if i == 0 else y + p
        return y

    def shape(
        x: ShapeDtype, weight: Any, bias: Any, *, center: bool, eps: float, groups: int
    ) -> ShapeDtype:
        return x

    return Keeping(
        name, forward, "x weight bias", shape=shape, joint_vjp=vjp, joint_jvp=jvp, batch=batch
    )


norm_rows_p = _of_samples("norm_rows", _rows_frame, _run_rows, _back_rows)
"""Layer normalisation along the last axis, without ``center`` RMS; 0.0 for no weight or bias."""

group_norm_p = _of_samples("group_norm", _groups_frame, _run_groups, _back_groups)
"""Group normalisation of (N, C, S); 0.0 for no weight or bias."""


# ------------------------------------------------------------------------------ batch


def _batch_norm(xp: Any, x: Any, weight: Any, bias: Any, *, eps: float) -> Any:
    weight, bias = _given(weight), _given(bias)
    if few(x):
        with np.errstate(all="ignore"):
            f = _channels_frame(x.shape, 1)
            y = _compose(f, x, weight, bias, True, eps)
            wide = widened(x)
            return y, wide.mean((0, 2)), wide.var((0, 2))
    found = kernels.batch_norm(x, weight, bias, eps=eps)
    return found.y, found.mean, found.variance


def _stats_like(x: ShapeDtype) -> ShapeDtype:
    return ShapeDtype(x.shape[1:2], kernels.wide(x.dtype))


def _row(p: Any) -> Any:
    return expand_dims(p, 1)


def _batch_norm_vjp(
    gs: Any, x: Any, weight: Any, bias: Any, y: Any, needs: Any, eps: float
) -> list[Any]:
    weight, bias = _given(weight), _given(bias)
    g, g_mean, g_variance = gs
    _, mean, variance = y
    out: list[Any] = [None, None, None]
    if g is not None:
        if any_box([g, x, weight, mean, variance]) or few(x):
            f = _channels_frame(shape_dtype(x).shape, 1)
            out = _compose_pull(f, g, x, weight, bias, needs, True, eps)
        else:
            rstd = 1 / sqrt(variance + eps)
            found = kernels.batch_norm_backward(g, x, weight, mean, rstd)
            out = [c if need else None for c, need in zip(found, needs)]
    if needs[0]:
        shape = shape_dtype(x).shape
        more: Any = None
        if g_mean is not None:
            more = _row(g_mean) / (shape[0] * shape[2])
        if g_variance is not None:
            slope = _row(g_variance * 2 / (shape[0] * shape[2])) * (widened(x) - _row(mean))
            more = slope if more is None else more + slope
        if more is not None:
            more = cast(more + widened(x) * 0, shape_dtype(x).dtype)
            out[0] = more if out[0] is None else out[0] + more
    return out


def _batch_norm_jvp(ts: Any, x: Any, weight: Any, y: Any, eps: float) -> tuple[Any, Any, Any]:
    f = _channels_frame(shape_dtype(x).shape, 1)
    push = _push(f, ts, x, _given(weight), True, eps)
    if ts[0] is None:
        return push, None, None
    t = widened(ts[0])
    moved = mean_p(t, axis=(0, 2), keepdims=False)
    spread = mean_p(2 * t * (widened(x) - _row(y[1])), axis=(0, 2), keepdims=False)
    return push, moved, spread


def _batch_norm_batch(
    primitive: Primitive, size: int, batched: Sequence[bool], values: Any, params: Any
) -> Any:
    """Each example's channels are channels more."""
    x = lead(values[0], size, batched[0])
    _, n, c, s = x.shape
    x = reshape(moveaxis(x, 0, 1), (n, size * c, s))
    rest = [
        v if _given(v) is None else reshape(lead(v, size, mine), (size * c,))
        for v, mine in zip(values[1:], batched[1:])
    ]
    y, mean, variance = primitive(x, *rest, **params)
    y = moveaxis(reshape(y, (n, size, c, s)), 1, 0)
    return y, reshape(mean, (size, c)), reshape(variance, (size, c))


batch_norm_p = Primitive(
    "batch_norm",
    _batch_norm,
    "x weight bias",
    shape=lambda x, weight, bias, *, eps: (x, _stats_like(x), _stats_like(x)),
    joint_vjp=_batch_norm_vjp,
    joint_jvp=_batch_norm_jvp,
    batch=_batch_norm_batch,
    multiple=True,
)
"""Batch normalisation of (N, C, S) by its own moments, which are the second and third output."""
