"""Activations with bias, dropout and bias gradient: fused kernels, and their derivatives.

The kernels compute values and first derivatives. Everything else (an array too small to be worth
them on the CPU, a batch, a second derivative) is the same function composed of other operations,
one line each below.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpugrad.core.abstract import ShapeDtype, shape_dtype
from gpugrad.core.box import any_box
from gpugrad.core.primitive import LINEAR, Keeping, Primitive
from gpugrad.kernels import activation as kernels
from gpugrad.kernels.activation import (
    KEEPS_OUTPUT,
    KEEPS_SIGNS,
    Activation,
    Elu,
    Gelu,
    GeluTanh,
    HardSwish,
    Identity,
    LeakyRelu,
    Mish,
    Relu,
    Selu,
    Sigmoid,
    Silu,
    Softplus,
    Tanh,
)
from gpugrad.kernels.many import module
from gpugrad.kernels.philox import check, few_bits
from gpugrad.ops.batching import lead
from gpugrad.ops.broadcast import broadcast_to, sum_p
from gpugrad.ops.cast import cast
from gpugrad.ops.clip import clip
from gpugrad.ops.creation import zeros_near
from gpugrad.ops.elementwise import (
    absolute,
    exp,
    expm1,
    gate,
    log1p,
    logical_not,
    maximum,
    tanh,
    where,
)
from gpugrad.ops.erf import ndtr
from gpugrad.ops.indexing import getitem
from gpugrad.ops.join import concatenate, stack

SMALL = 1 << 14
"""Elements below which NumPy's own calls are as fast as a kernel on the CPU."""

Rule = Callable[..., Any]

# ------------------------------------------------------------------------------ the formulas


def _sigmoid(z: Any) -> Any:
    return 0.5 * tanh(0.5 * z) + 0.5


def _slow_tanh(z: Any) -> tuple[Any, Any]:
    """Of `Mish`: tanh(softplus(z)) and its derivative."""
    w = tanh(_softplus(z))
    return w, (1 - w * w) * _sigmoid(z)


def _softplus(u: Any) -> Any:
    return maximum(u, 0) + log1p(exp(-absolute(u)))


def _gelu_gate(z: Any) -> tuple[Any, Any]:
    """Of `GeluTanh`: the probability and its derivative."""
    rate = 2 * math.sqrt(2 / math.pi)
    s = _sigmoid(rate * (z + 0.044715 * (z * z * z)))
    return s, s * (1 - s) * (rate * (1 + 0.134145 * (z * z)))


def _silu_pull(g: Any, z: Any) -> Any:
    s = _sigmoid(z)
    return g * (s * (1 + z * (1 - s)))


def _mish_pull(g: Any, z: Any) -> Any:
    w, slope = _slow_tanh(z)
    return g * (w + z * slope)


def _gelu_pull(g: Any, z: Any) -> Any:
    z = clip(z, -40, 40)
    return g * (ndtr(z) + z * (exp(-0.5 * z * z) / math.sqrt(2 * math.pi)))


def _gelu_tanh_pull(g: Any, z: Any) -> Any:
    z = clip(z, -40, 40)
    s, slope = _gelu_gate(z)
    return g * (s + z * slope)


_SCALE, _LOW = 1.0507009873554805, 1.7580993408473766

VALUE: dict[type, Rule] = {
    Identity: lambda act, z: z,
    Relu: lambda act, z: maximum(z, 0),
    LeakyRelu: lambda act, z: where(z > 0, z, z * act.negative_slope),
    Sigmoid: lambda act, z: _sigmoid(z),
    Tanh: lambda act, z: tanh(z),
    Elu: lambda act, z: where(z > 0, z, act.alpha * expm1(_below(z))),
    Selu: lambda act, z: where(z > 0, _SCALE * z, _LOW * expm1(_below(z))),
    Gelu: lambda act, z: z * ndtr(z),
    GeluTanh: lambda act, z: z * _gelu_gate(z)[0],
    Silu: lambda act, z: z * _sigmoid(z),
    Mish: lambda act, z: z * _slow_tanh(z)[0],
    HardSwish: lambda act, z: where(z <= -3, 0, where(z >= 3, z, z * (z + 3) / 6)),
    Softplus: lambda act, z: where(
        z * act.beta > act.threshold, z, _softplus(z * act.beta) / act.beta
    ),
}

PULL: dict[type, Rule] = {
    Identity: lambda act, g, y: g,
    Relu: lambda act, g, z: gate(g, z > 0),
    LeakyRelu: lambda act, g, z: where(z > 0, g, g * act.negative_slope),
    Sigmoid: lambda act, g, y: g * (y * (1 - y)),
    Tanh: lambda act, g, y: g * (1 - y * y),
    Elu: lambda act, g, z: where(z > 0, g, g * (act.alpha * exp(_below(z)))),
    Selu: lambda act, g, z: where(z > 0, g * _SCALE, g * (_LOW * exp(_below(z)))),
    Gelu: lambda act, g, z: _gelu_pull(g, z),
    GeluTanh: lambda act, g, z: _gelu_tanh_pull(g, z),
    Silu: lambda act, g, z: _silu_pull(g, z),
    Mish: lambda act, g, z: _mish_pull(g, z),
    HardSwish: lambda act, g, z: where(z >= 3, g, gate(g * (z / 3 + 0.5), logical_not(z <= -3))),
    Softplus: lambda act, g, z: where(z * act.beta > act.threshold, g, g * _sigmoid(z * act.beta)),
}
"""From the value where that is kept, else from ``z`` or its sign: ``pull`` in the kernels."""


def _below(z: Any) -> Any:
    """Where exp does not overflow."""
    return where(z > 0, 0, z)


def _compose(act: Activation, x: Any, bias: Any, state: Any, rate: float) -> Any:
    z = x if bias is None else x + bias
    y = cast(VALUE[type(act)](act, z), shape_dtype(x).dtype)
    return dropout_p(y, state, rate=rate) if rate else y


def _compose_pull(
    act: Activation, g: Any, r: Any, bias: Any, state: Any, rate: float, sums: bool
) -> tuple[Any, Any]:
    dz = dropout_p(g, state, rate=rate) if rate else g
    if isinstance(act, KEEPS_SIGNS):
        r = _unpacked(r, shape_dtype(g).shape) if _packed(r) else r
    elif isinstance(act, KEEPS_OUTPUT):
        r = r * (1 - rate) if rate else r
        if rate and isinstance(act, Sigmoid | Tanh):
            r = clip(r, -1, 1)  # what is rounded with dropout's scale may be beyond without it
    elif bias is not None:
        r = r + bias
    dz = cast(PULL[type(act)](act, dz, r), shape_dtype(g).dtype)
    return dz, _row_sum(dz) if sums else None


def _packed(r: Any) -> bool:
    """Whether a residual is the bits of `kernels.forward_keeping`, and not the output."""
    return shape_dtype(r).dtype == np.uint8


def _unpacked(bits: Any, shape: tuple[int, ...]) -> Any:
    flat = module(bits).unpackbits(bits, bitorder="little")
    return flat[: math.prod(shape)].reshape(shape)


def _row_sum(x: Any) -> Any:
    return sum_p(x, axis=tuple(range(shape_dtype(x).ndim - 1)), keepdims=False)


def _halves(x: Any) -> tuple[Any, Any]:
    n = shape_dtype(x).shape[-1] // 2
    return getitem(x, (..., slice(None, n))), getitem(x, (..., slice(n, None)))


def _compose_gated(act: Activation, x: Any, bias: Any, state: Any, rate: float) -> Any:
    a, b = _halves(x if bias is None else x + bias)
    y = cast(a * VALUE[type(act)](act, b), shape_dtype(x).dtype)
    return dropout_p(y, state, rate=rate) if rate else y


def _compose_gated_pull(
    act: Activation, g: Any, x: Any, bias: Any, state: Any, rate: float, sums: bool
) -> tuple[Any, Any]:
    g = dropout_p(g, state, rate=rate) if rate else g
    a, b = _halves(x if bias is None else x + bias)
    y = VALUE[type(act)](act, b)
    slope = PULL[type(act)](act, g * a, y if isinstance(act, KEEPS_OUTPUT) else b)
    dx = cast(concatenate([g * y, slope], -1), shape_dtype(g).dtype)
    return dx, _row_sum(dx) if sums else None


# ------------------------------------------------------------------------------ which way


def _few(x: Any) -> bool:
    return type(x) is np.ndarray and x.size < SMALL


def _narrowly(f: Rule, *arrays: Any, **params: Any) -> Any:
    """``f`` of NumPy's arrays, computed in float32 where they are narrower."""
    dtype = arrays[0].dtype
    if dtype.itemsize > 2:
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            return f(*arrays, **params)
    wide = [None if a is None else a.astype(np.float32) for a in arrays]
    out = _narrowly(f, *wide, **params)
    if isinstance(out, tuple):
        return tuple([None if o is None else o.astype(dtype) for o in out])
    return out.astype(dtype)


def _given(value: Any) -> Any:
    """An operand that may be left out: a Python number stands for none."""
    return None if isinstance(value, int | float) else value


def _apply(xp: Any, x: Any, bias: Any, state: Any, *, act: Any, rate: float, gated: bool) -> Any:
    bias, state = _given(bias), _given(state)
    x = np.asarray(x) if xp is np else x
    if _few(x):
        compose = _compose_gated if gated else _compose
        return _narrowly(lambda x, bias: compose(act, x, bias, state, rate), x, bias)
    run = kernels.gated_forward if gated else kernels.forward
    return run(act, x, bias, rate=rate, state=state)


def _apply_keeping(
    xp: Any, x: Any, bias: Any, state: Any, *, act: Any, rate: float, gated: bool
) -> tuple[Any, Any]:
    x = np.asarray(x) if xp is np else x
    if _few(x):
        return _apply(xp, x, bias, state, act=act, rate=rate, gated=gated), None
    out: tuple[Any, Any]
    out = kernels.forward_keeping(act, x, _given(bias), rate=rate, state=_given(state))
    return out


def _pull(
    g: Any, r: Any, bias: Any, state: Any, act: Any, rate: float, gated: bool, sums: bool
) -> tuple[Any, Any]:
    """The cotangents of ``x`` and, on request, of the bias."""
    bias, state = _given(bias), _given(state)
    compose = _compose_gated_pull if gated else _compose_pull
    if any_box([g, r, bias, state]):
        return compose(act, g, r, bias, state, rate, sums)
    out: tuple[Any, Any]
    if _few(g) or (isinstance(act, KEEPS_SIGNS) and not gated and not _packed(r)):
        out = _narrowly(lambda g, r, bias: compose(act, g, r, bias, state, rate, sums), g, r, bias)
        return out
    run: Any = kernels.gated_backward if gated else kernels.backward
    out = run(act, g, r, bias, rate=rate, state=state, sums=sums)
    return out


# ------------------------------------------------------------------------------ the primitives


def _vjp(output: bool) -> Rule:
    """The rule for all operands; it keeps the output, or the input and the bias."""
    if output:

        def vjp(
            g: Any, y: Any, state: Any, needs: Any, act: Any, rate: float, gated: bool
        ) -> tuple[Any, Any, None]:
            return (*_pull(g, y, 0.0, state, act, rate, gated, needs[1]), None)
    else:

        def vjp(  # type: ignore[misc]
            g: Any, x: Any, bias: Any, state: Any, needs: Any, act: Any, rate: float, gated: bool
        ) -> tuple[Any, Any, None]:
            return (*_pull(g, x, bias, state, act, rate, gated, needs[1]), None)

    return vjp


def _jvp(output: bool) -> Rule:
    """A symmetric map of ``x + bias`` in place of its transpose; a gated pair's by its parts."""

    def push(
        ts: Sequence[Any], r: Any, bias: Any, state: Any, act: Any, rate: float, gated: bool
    ) -> Any:
        t, tb = ts[0], ts[1]
        if t is None:
            t = broadcast_to(tb, shape_dtype(r).shape)
        elif tb is not None:
            t = t + tb
        if not gated:
            return _pull(t, r, bias, state, act, rate, False, False)[0]
        bias, state = _given(bias), _given(state)
        ta, tb = _halves(t)
        a, b = _halves(r if bias is None else r + bias)
        y = VALUE[type(act)](act, b)
        slope = PULL[type(act)](act, a * tb, y if isinstance(act, KEEPS_OUTPUT) else b)
        out = cast(ta * y + slope, shape_dtype(t).dtype)
        return dropout_p(out, state, rate=rate) if rate else out

    if output:

        def jvp(ts: Any, y: Any, state: Any, act: Any, rate: float, gated: bool) -> Any:
            return push(ts, y, 0.0, state, act, rate, gated)
    else:

        def jvp(  # type: ignore[misc]
            ts: Any, x: Any, bias: Any, state: Any, act: Any, rate: float, gated: bool
        ) -> Any:
            return push(ts, x, bias, state, act, rate, gated)

    return jvp


def _shape(
    x: ShapeDtype, bias: ShapeDtype, state: ShapeDtype, *, act: Any, rate: float, gated: bool
) -> ShapeDtype:
    return ShapeDtype((*x.shape[:-1], x.shape[-1] // 2), x.dtype) if gated else x


def _batch(
    primitive: Primitive, size: int, batched: Sequence[bool], values: Any, params: Any
) -> Any:
    """Examples are rows more; where a bias or a mask is of one example each, by the parts."""
    x, bias, state = values
    rate = params["rate"]
    x = lead(x, size, batched[0])
    if batched[1]:
        shape = (size, *(1,) * (len(x.shape) - 2), bias.shape[-1])
        x, bias = x + bias.reshape(shape), 0.0
    y = primitive(x, bias, 0, **{**params, "rate": 0.0})
    if rate:
        y = _batch_dropout(dropout_p, size, (True, batched[2]), (y, state), {"rate": rate})
    return y


def _primitive(name: str, output: bool) -> Primitive:
    return Primitive(
        name,
        _apply,
        "x bias state",
        shape=_shape,
        joint_vjp=_vjp(output),
        joint_jvp=_jvp(output),
        batch=_batch,
    )


activation_p = _primitive("activation", False)
"""``dropout(act(x + bias))``, with 0.0 for no bias and 0 for no stream; keeps ``x``."""

activation_of_output_p = _primitive("activation_of_output", True)
"""The same for an activation whose derivative follows from its value: keeps that."""


class _KeepingSigns(Keeping):
    """Makes the bits where a tape records; elsewhere it is `activation_p`."""

    __slots__ = ()

    def evaluate(self, values: Sequence[Any], params: dict[str, Any]) -> Any:
        return activation_p.evaluate(values, params)


def _vjp_of_signs(
    g: Any, signs: Any, state: Any, needs: Any, act: Any, rate: float, gated: bool
) -> tuple[Any, Any, None]:
    return (*_pull(g, signs, 0.0, state, act, rate, gated, needs[1]), None)


activation_of_signs_p = _KeepingSigns(
    "activation_of_signs",
    _apply_keeping,
    "x bias state",
    shape=_shape,
    joint_vjp=_vjp_of_signs,
    joint_jvp=_jvp(True),
    batch=_batch,
    derived={"signs": lambda y, kept: y if kept is None else kept},
)
"""The same for an activation whose derivative follows from its sign: a bit for each element.

Where array code or an enclosing interpreter did the work, the output stands in their place.
"""


def _dropped(xp: Any, x: Any, state: Any, *, rate: float) -> Any:
    if not _few(x):
        return kernels.forward(Identity(), x, rate=rate, state=state)
    check(state)
    keep = few_bits(state, x.size) >= np.uint32(kernels.threshold(rate))
    return np.where(keep.reshape(x.shape), x * x.dtype.type(1 / (1 - rate)), x.dtype.type(0))


def _batch_dropout(
    primitive: Primitive, size: int, batched: Sequence[bool], values: Any, params: Any
) -> Any:
    """One stream for all examples is one mask; streams of their own are drawn one by one."""
    x, state = values
    if not batched[1]:
        like = shape_dtype(x)
        mask = primitive(zeros_near([x], like.shape[1:], like.dtype) + 1, state, **params) != 0
        return gate(x, mask) * (1 / (1 - params["rate"]))
    rows = [
        primitive(getitem(x, i) if batched[0] else x, getitem(state, i), **params)
        for i in range(size)
    ]
    return stack(rows)


dropout_p: Primitive = Primitive(
    "dropout",
    _dropped,
    "x state",
    shape=lambda x, state, *, rate: x,
    vjp=(lambda g, state, rate: dropout_p(g, state, rate=rate), None),
    jvp=(LINEAR, None),
    batch=_batch_dropout,
)
"""``x / (1 - rate)``, or 0 where the stream's word for the element says so; keeps the stream."""


def activate(
    act: Activation,
    x: Any,
    bias: Any = None,
    *,
    rate: float = 0.0,
    state: Any = None,
    gated: bool = False,
) -> Any:
    """``dropout(act(x + bias))``, or of a gated pair: one operation. See `kernels.activation`."""
    primitive = activation_p
    if not gated and isinstance(act, KEEPS_OUTPUT):
        primitive = activation_of_output_p
    elif not gated and isinstance(act, KEEPS_SIGNS):
        primitive = activation_of_signs_p
    none = 0.0 if bias is None else bias
    stream = 0 if state is None or not rate else state
    return primitive(x, none, stream, act=act, rate=float(rate) if rate else 0.0, gated=gated)
