"""What an inference function does, as a list of primitives that have a form in ONNX."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from gpugrad.core.abstract import shape_dtype
from gpugrad.core.box import Box, box
from gpugrad.core.primitive import Primitive, registry
from gpugrad.core.trace import Trace, check_level
from gpugrad.kernels import fused
from gpugrad.kernels.activation import Elu, Gelu, GeluTanh, LeakyRelu, Relu, Selu, Sigmoid, Tanh
from gpugrad.ops.activation import VALUE, activation_p, dropout_p
from gpugrad.ops.attention import attend
from gpugrad.ops.broadcast import broadcast_to, sum_p
from gpugrad.ops.cast import cast
from gpugrad.ops.creation import counting, raw_of
from gpugrad.ops.elementwise import (
    absolute,
    arctan,
    exp,
    floor,
    isfinite,
    isinf,
    isnan,
    log,
    logical_and,
    logical_not,
    logical_or,
    maximum,
    minimum,
    sign,
    sin,
    sqrt,
    square,
    where,
)
from gpugrad.ops.erf import erf
from gpugrad.ops.indexing import HOLE, getitem, index_add_p
from gpugrad.ops.join import concatenate
from gpugrad.ops.norm_layers import norm_rows_p
from gpugrad.ops.pool import max_pool_p
from gpugrad.ops.reductions import max_p, mean_p
from gpugrad.ops.shape import expand_dims, reshape, swapaxes
from gpugrad.ops.softmax import softmax_p
from gpugrad.transforms.fuse import Fused, replay
from gpugrad.transforms.kinds import unflatten


def is_own(primitive: Primitive) -> bool:
    """Whether it is gpugrad's, and no user's of that name."""
    return registry.get(primitive.name) is primitive


class Value:
    """What an operation made, or an input: its shape and dtype."""

    __slots__ = ("dtype", "shape")

    def __init__(self, raw: Any) -> None:
        self.shape, self.dtype, _ = shape_dtype(raw)


class Call(NamedTuple):
    """One operation; an operand is a `Value` or a raw constant."""

    primitive: Primitive
    operands: list[Any]
    params: dict[str, Any]
    outs: list[Value]

    @property
    def out(self) -> Value:
        """The first output."""
        return self.outs[0]


class Recorder(Trace):
    """Computes, and notes what it computes; each box's payload is its `Value`."""

    __slots__ = ("calls",)

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.calls: list[Call] = []

    def enter(self, raw: Any) -> Any:
        """An input in its box."""
        return box(raw, self, Value(raw))

    def apply(self, primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        out = self._composed(primitive, args, params)
        if out is not None:
            if primitive.multiple:
                return out
            like = primitive.shape(*[shape_dtype(a) for a in args], **params)
            return cast(out, like.dtype)
        operands = []
        for a in args:
            if isinstance(a, Box) and a._trace is self:
                operands.append(a._payload)
            else:
                if isinstance(a, Box) and a._trace is not None:
                    check_level(a._trace, self, primitive)
                operands.append(raw_of(a))
        y = primitive.evaluate([raw_of(a) for a in args], params)
        outs = [self.enter(o) for o in (y if primitive.multiple else (y,))]
        self.calls.append(Call(primitive, operands, params, [o._payload for o in outs]))
        return tuple(outs) if primitive.multiple else outs[0]

    def _composed(self, primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        """The result by other primitives; None where ONNX has this one."""
        if isinstance(primitive, Fused):
            dtype = fused.result_dtype([raw_of(a) for a in args])
            outs = tuple([cast(y, dtype) for y in replay(primitive.program, args)])
            return outs if primitive.multiple else outs[0]
        composed = COMPOSED.get(primitive.name) if is_own(primitive) else None
        return None if composed is None else composed(*args, **params)


# ---------------------------------------------------------------- in terms of other primitives


def _attention(q: Any, k: Any, v: Any, *mask: Any, causal: bool, scale: float) -> Any:
    if mask:  # it may hide all keys from a query, of which softmax would make NaN
        return attend(q, k, v, mask, causal, scale), None
    b, heads, length, _ = q.shape
    few, keys = k.shape[1:3]
    if few != heads:
        k, v = (
            reshape(
                broadcast_to(expand_dims(x, 2), (b, few, heads // few, *x.shape[2:])),
                (b, heads, *x.shape[2:]),
            )
            for x in (k, v)
        )
    scores = q @ swapaxes(k, -1, -2) * scale
    if causal:
        past = expand_dims(counting([q], length), 1) >= counting([q], keys)
        scores = where(past, scores, -math.inf)
    return softmax_p(scores, log=False) @ v, None


NATIVE = (Elu, Gelu, GeluTanh, LeakyRelu, Relu, Selu, Sigmoid, Tanh)
"""Activations that ONNX has."""


def _activation(x: Any, bias: Any, state: Any, *, act: Any, rate: float, gated: bool) -> Any:
    if not isinstance(bias, int | float):
        x = x + bias
    elif not gated and not rate and isinstance(act, NATIVE):
        return None
    if gated:
        n = x.shape[-1] // 2
        a, x = x[..., :n], x[..., n:]
    if isinstance(act, NATIVE):
        y = activation_p(x, 0.0, 0, act=act, rate=0.0, gated=False)
    else:
        y = cast(VALUE[type(act)](act, x), x.dtype)
    y = a * y if gated else y
    return dropout_p(y, state, rate=rate) if rate else y


def _norm_rows(x: Any, weight: Any, bias: Any, *, center: bool, eps: float, groups: int) -> Any:
    if center:
        return None
    last = (x.ndim - 1,)
    y = x / sqrt(mean_p(square(x), axis=last, keepdims=True) + eps)
    return _scaled(y, weight, bias)


def _group_norm(x: Any, weight: Any, bias: Any, *, center: bool, eps: float, groups: int) -> Any:
    n, c, s = x.shape
    rows = reshape(x, (n, groups, c // groups * s))
    y = norm_rows_p(rows, 0.0, 0.0, center=center, eps=eps, groups=1)
    beside = [p if isinstance(p, int | float) else expand_dims(p, 1) for p in (weight, bias)]
    return _scaled(reshape(y, (n, c, s)), *beside)


def _scaled(y: Any, weight: Any, bias: Any) -> Any:
    """Python numbers stand for none."""
    y = y if isinstance(weight, int | float) else y * weight
    return y if isinstance(bias, int | float) else y + bias


def _max_pool(x: Any, *, how: Any) -> Any:
    if x.ndim == 4:
        return None
    lead = x.shape[:-2]
    y, places = max_pool_p(reshape(x, (math.prod(lead), 1, *x.shape[-2:])), how=how)
    return tuple([reshape(v, (*lead, *how.out)) for v in (y, places)])


def _logsumexp(x: Any, *, axis: Any, keepdims: bool) -> Any:
    top = max_p(x, axis=axis, keepdims=True)
    top = where(isfinite(top), top, 0)
    y = log(sum_p(exp(x - top), axis=axis, keepdims=True)) + top
    return y if keepdims else y.squeeze(axis)


def _var(x: Any, *, axis: Any, free: float, keepdims: bool) -> Any:
    off = square(x - mean_p(x, axis=axis, keepdims=True))
    count = math.prod([x.shape[a] for a in axis])
    return sum_p(off, axis=axis, keepdims=keepdims) / (count - free)


def _roll(x: Any, *, shift: Any, axis: Any) -> Any:
    for by, a in zip(shift, axis, strict=True):
        at = x.shape[a] - by % x.shape[a]
        before = (slice(None),) * a
        parts = [getitem(x, (*before, slice(at, None))), getitem(x, (*before, slice(None, at)))]
        x = concatenate(parts, a)
    return x


def _mod(a: Any, b: Any) -> Any:
    if shape_dtype(a).dtype.kind in "iub" and shape_dtype(b).dtype.kind in "iub":
        return None
    return a - floor(a / b) * b


def _floor_divide(a: Any, b: Any) -> Any:
    if shape_dtype(a).dtype.kind in "iub" and shape_dtype(b).dtype.kind in "iub":
        return cast((a - a % b) / b, np.result_type(shape_dtype(a).dtype, shape_dtype(b).dtype))
    return floor(a / b)


def _logaddexp(a: Any, b: Any) -> Any:
    return maximum(a, b) + log(1 + exp(-absolute(a - b)))


def _arctan2(a: Any, b: Any) -> Any:
    turn = arctan(a / b)
    above = logical_or(a > 0, 1 / a > 0)  # 0.0 is above -0.0
    left = turn + where(above, math.pi, -math.pi)
    up = where(a > 0, math.pi / 2, where(a < 0, -math.pi / 2, 0))
    return where(b > 0, turn, where(b < 0, left, up))


def _nan_to_num(x: Any) -> Any:
    top = float(np.finfo(x.dtype).max)
    return where(isnan(x), 0, minimum(maximum(x, -top), top))


def _sinc(x: Any) -> Any:
    turn = where(x == 0, 1, x) * math.pi
    return where(x == 0, 1, sin(turn) / turn)


def _norm(x: Any, *, order: float, axis: Any, keepdims: bool) -> Any:
    if order == 2:
        return sqrt(sum_p(x * x, axis=axis, keepdims=keepdims))
    return sum_p(absolute(x) ** order, axis=axis, keepdims=keepdims) ** (1 / order)


def _difference(x: Any, *, axis: int) -> Any:
    before = (slice(None),) * axis
    return getitem(x, (*before, slice(1, None))) - getitem(x, (*before, slice(None, -1)))


def _other_where_nan(choose: Any) -> Any:
    return lambda a, b: where(isnan(a), b, where(isnan(b), a, choose(a, b)))


def _take_rows(table: Any, rows: Any) -> Any:
    """Zeros where there is no such row."""
    count = table.shape[0]
    known = logical_and(rows >= 0, rows < count)
    y = getitem(table, minimum(maximum(rows, 0), count - 1))
    return where(expand_dims(known, tuple(range(1, table.ndim))), y, 0)


def _segment_sum(x: Any, rows: Any, *, count: int, ordered: bool) -> Any:
    """What belongs to no segment is added to one more, which is left out."""
    rows = where(logical_and(rows >= 0, rows < count), rows, count)
    shape = (count + 1, *x.shape[1:])
    return index_add_p(x, rows, shape=shape, spec=(HOLE,))[:count]


def _custom(*args: Any, call: Any) -> Any:
    return call.outputs(call.run(*unflatten(call.tree, list(args))))


COMPOSED: dict[str, Callable[..., Any]] = {
    "activation": _activation,
    "activation_of_output": _activation,
    "activation_of_signs": _activation,
    "arctan2": _arctan2,
    "attention": _attention,
    "cbrt": lambda x: sign(x) * absolute(x) ** (1 / 3),
    "custom_jvp": _custom,
    "custom_vjp": _custom,
    "deg2rad": lambda x: x * (math.pi / 180),
    "difference": _difference,
    "erfc": lambda x: 1 - erf(x),
    "exp2": lambda x: exp(x * math.log(2)),
    "expm1": lambda x: exp(x) - 1,
    "flip": lambda x, *, axis: getitem(
        x, tuple([slice(None, None, -1 if a in axis else None) for a in range(x.ndim)])
    ),
    "floor_divide": _floor_divide,
    "fmax": _other_where_nan(maximum),
    "fmin": _other_where_nan(minimum),
    "gate": lambda g, mask: where(mask, g, 0),
    "group_norm": _group_norm,
    "hypot": lambda a, b: sqrt(a * a + b * b),
    "isfinite": lambda x: logical_not(logical_or(isinf(x), isnan(x))),
    "log10": lambda x: log(x) / math.log(10),
    "log1p": lambda x: log(x + 1),
    "log2": lambda x: log(x) / math.log(2),
    "log_expit": lambda x: minimum(x, 0) - log(1 + exp(-absolute(x))),
    "logaddexp": _logaddexp,
    "logit": lambda x: log(x / (1 - x)),
    "logsumexp": _logsumexp,
    "max_pool": _max_pool,
    "mod": _mod,
    "nan_to_num": _nan_to_num,
    "ndtr": lambda x: 0.5 + 0.5 * erf(x * math.sqrt(0.5)),
    "norm": _norm,
    "norm_rows": _norm_rows,
    "rad2deg": lambda x: x * (180 / math.pi),
    "roll": _roll,
    "segment_sum": _segment_sum,
    "sinc": _sinc,
    "square": lambda x: x * x,
    "take_rows": _take_rows,
    "trunc": lambda x: sign(x) * floor(absolute(x)),
    "var": _var,
}
"""Primitives that ONNX has not; a function returns None where ONNX has it after all."""
