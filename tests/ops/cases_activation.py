"""Activations with bias and dropout, gated pairs, dropout alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.special
from gpugrad.kernels import activation as kinds
from gpugrad.kernels import philox
from op_case import case
from op_draw import Draw, between_integers, real

from gpugrad.ops.activation import activate, dropout_p

REFERENCE = {
    kinds.Identity: lambda act, z: z,
    kinds.Relu: lambda act, z: np.maximum(z, 0),
    kinds.LeakyRelu: lambda act, z: np.where(z > 0, z, act.negative_slope * z),
    kinds.Sigmoid: lambda act, z: scipy.special.expit(z),
    kinds.Tanh: lambda act, z: np.tanh(z),
    kinds.Elu: lambda act, z: np.where(z > 0, z, act.alpha * np.expm1(z)),
    kinds.Selu: lambda act, z: (
        1.0507009873554805 * np.where(z > 0, z, 1.6732632423543772 * np.expm1(z))
    ),
    kinds.Gelu: lambda act, z: z * scipy.special.ndtr(z),
    kinds.GeluTanh: lambda act, z: (
        0.5 * z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)))
    ),
    kinds.Silu: lambda act, z: z * scipy.special.expit(z),
    kinds.Mish: lambda act, z: z * np.tanh(np.logaddexp(z, 0)),
    kinds.HardSwish: lambda act, z: z * np.clip(z + 3, 0, 6) / 6,
    kinds.Softplus: lambda act, z: np.where(
        act.beta * z > act.threshold, z, np.logaddexp(act.beta * z, 0) / act.beta
    ),
}

ACTS = [
    kinds.Identity(),
    kinds.Relu(),
    kinds.LeakyRelu(0.2),
    kinds.Sigmoid(),
    kinds.Tanh(),
    kinds.Elu(0.7),
    kinds.Selu(),
    kinds.Gelu(),
    kinds.GeluTanh(),
    kinds.Silu(),
    kinds.Mish(),
    kinds.HardSwish(),
    kinds.Softplus(2.0, 1.5),
]
STREAM = philox.stream(11, 3)


def value(act: Any, z: Any) -> Any:
    return np.asarray(REFERENCE[type(act)](act, z), z.dtype)


def masked(y: Any, state: Any, rate: float) -> Any:
    keep = philox.few_bits(state, y.size).reshape(y.shape) >= np.uint32(rate * 2**32)
    return y * keep * np.asarray(1 / (1 - rate), y.dtype)


def sample(bias: bool, dropout: bool) -> Any:
    def draw(d: Draw) -> Any:
        shape = d.shape(1)
        shape = (*shape[:-1], 2 * shape[-1])
        makers = [between_integers(shape)]  # away from kinks, and so is the sum with the bias
        if bias:
            makers.append(real(shape[-1:], -0.04, 0.04))
        if dropout:
            makers.append(lambda rng: STREAM + np.uint32(rng.integers(0, 4)))
        return makers, {}

    return draw


def add(name: str, act: Any, bias: bool, rate: float, gated: bool) -> None:
    def f(x: Any, *more: Any) -> Any:
        b = more[0] if bias else None
        return activate(act, x, b, rate=rate, state=more[-1] if rate else None, gated=gated)

    def ref(x: Any, *more: Any) -> Any:
        z = x + more[0] if bias else x
        n = z.shape[-1] // 2
        y = z[..., :n] * value(act, z[..., n:]) if gated else value(act, z)
        return masked(y, more[-1], rate) if rate else y

    case(name, sample(bias, bool(rate)), f, ref)


for _act in ACTS:
    add("activation " + type(_act).__name__, _act, True, 0.0, False)
add("activation without bias", kinds.Mish(), False, 0.0, False)
add("activation dropout of output", kinds.Tanh(), True, 0.25, False)
add("activation dropout of input", kinds.Silu(), True, 0.25, False)
add("activation gated", kinds.Sigmoid(), False, 0.0, True)
add("activation gated dropout", kinds.Silu(), True, 0.25, True)

case(
    "dropout",
    sample(False, True),
    lambda x, state: dropout_p(x, state, rate=0.25),
    lambda x, state: masked(x, state, 0.25),
)
