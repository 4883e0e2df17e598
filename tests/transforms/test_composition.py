"""Transforms compose in any order and to any depth: against JAX doing the same composition.

Every transform here takes a function of an array of length 3 to another such function, so that
any sequence of them is one composition.
"""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpugrad as gg
import gpugrad.numpy as gnp
from gpugrad.core.trace import state
from gpugrad.device import to_device

jax = pytest.importorskip("jax", reason="JAX is the reference: pip install jax")
jax.config.update("jax_enable_x64", True)

X = np.array([0.4, 0.9, -0.7])


class Ours:
    """What a composition needs from gpugrad; `Theirs` is the same from JAX."""

    np = gnp
    grad, vmap, jacfwd, jacrev = gg.grad, gg.vmap, gg.jacfwd, gg.jacrev
    jvp, vjp, linearize = gg.jvp, gg.vjp, gg.linearize
    checkpoint, stop_gradient = gg.checkpoint, gg.stop_gradient

    @staticmethod
    def by_rule_vjp(f):
        g = gg.custom_vjp(f)
        g.defvjp(lambda x: (f(x), x), lambda x, ct: gg.vjp(f, x)[1](ct))
        return g

    @staticmethod
    def by_rule_jvp(f):
        g = gg.custom_jvp(f)
        g.defjvp(lambda primals, tangents: gg.jvp(f, primals, tangents))
        return g


class Theirs:
    np = jax.numpy
    grad, vmap, jacfwd, jacrev = jax.grad, jax.vmap, jax.jacfwd, jax.jacrev
    jvp, vjp, linearize = jax.jvp, jax.vjp, jax.linearize
    stop_gradient = jax.lax.stop_gradient


BASES = {
    "product": lambda m, x: m.np.sin(x) * x[::-1],
    "layer": lambda m, x: m.np.tanh(m.np.stack([x, x[::-1], x * x]) @ x),
    "rational": lambda m, x: m.np.cumsum(x * x / (1 + x * x)),
    "branches": lambda m, x: m.np.where(x > 0, m.np.exp(-x), x * x) * m.np.sum(x),
    "gather": lambda m, x: m.np.concatenate([x[1:], x[:1] ** 3]) / (2 + m.np.mean(x)),
}

TRANSFORMS = {
    "grad": lambda m, f: m.grad(lambda x: m.np.sum(m.np.sin(f(x)))),
    "jvp": lambda m, f: lambda x: m.jvp(f, (x,), (1 - 0.5 * x,))[1],
    "vjp": lambda m, f: lambda x: m.vjp(f, x)[1](1 - 0.5 * x)[0],
    "linearize": lambda m, f: lambda x: m.linearize(f, x)[1](x[::-1]),
    # The mapped function closes over the x outside.
    "vmap": lambda m, f: lambda x: m.vmap(lambda s: m.np.sum(f(x * s)) + s)(x),
    "vmap_rows": lambda m, f: lambda x: m.vmap(f, 1, 1)(m.np.stack([x, 2 * x], 1))[:, 1],
    "jacfwd": lambda m, f: lambda x: m.jacfwd(f)(x) @ x,
    "jacrev": lambda m, f: lambda x: x @ m.jacrev(f)(x),
    "stop": lambda m, f: lambda x: f(x) + x * m.stop_gradient(f(x)),
}
# These change nothing but how it is computed: the reference goes without them.
SAME = {
    "checkpoint": lambda m, f: m.checkpoint(f),
    "custom_vjp": lambda m, f: m.by_rule_vjp(f),
    "custom_jvp": lambda m, f: m.by_rule_jvp(f),
}


def compose(m, base, names):
    def f(x):
        return BASES[base](m, x)

    for name in names:
        f = (TRANSFORMS | SAME)[name](m, f)
    return f


@functools.cache
def reference(base, names):
    return np.asarray(compose(Theirs, base, names)(jax.numpy.asarray(X)))


def check(base, names, x=X):
    got = compose(Ours, base, names)(x)
    want = reference(base, tuple(n for n in names if n not in SAME))
    assert type(got) is type(x)
    assert state.depth == 0
    scale = np.abs(want).max() + 1e-300
    np.testing.assert_allclose(to_device(got, gg.device("cpu")) / scale, want / scale, atol=1e-11)


NAMES = sorted(TRANSFORMS | SAME)


def base_of(names):
    """A base function for each composition, in turn."""
    at = [sorted(TRANSFORMS).index(n) for n in names if n in TRANSFORMS]
    return list(BASES)[sum(at) % len(BASES)]


# The others are the same machinery: they meet each other in the sequences below.
CORE = ["grad", "jvp", "vmap", "jacfwd", "jacrev", *SAME]


@pytest.mark.parametrize("outer", CORE)
@pytest.mark.parametrize("inner", CORE)
def test_pairs(inner, outer):
    check(base_of((inner, outer)), (inner, outer))


@settings(max_examples=10)
@given(
    base=st.sampled_from(sorted(BASES)),
    names=st.lists(st.sampled_from(NAMES), min_size=3, max_size=4),
)
def test_any_sequence(base, names):
    check(base, tuple(names))


@pytest.mark.parametrize("base", BASES)
def test_on_each_device(device, base):
    x = to_device(X, device)
    check(base, ("checkpoint", "jvp", "vmap"), x)
    check(base, ("custom_jvp", "jacrev"), x)
    check(base, ("custom_vjp", "grad"), x)
