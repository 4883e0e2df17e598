"""No transform leaves a reference cycle that keeps arrays alive."""

from __future__ import annotations

import gc
import tracemalloc

import numpy as np
import pytest

import gpugrad as gg

X = np.ones(100_000)


def f(x):
    return np.sin(x) * x


by_vjp = gg.custom_vjp(f)
by_vjp.defvjp(lambda x: (f(x), x), lambda x, g: (g * (np.sin(x) + x * np.cos(x)),))
by_jvp = gg.custom_jvp(f)
by_jvp.defjvp(lambda p, t: (f(*p), t[0] * (np.sin(p[0]) + p[0] * np.cos(p[0]))))
own = gg.primitive(lambda x: x * x)
gg.defvjp(own, lambda ans, x: lambda g: 2 * g * x)


def total(h):
    return lambda x: np.sum(h(x))


RUNS = {
    "grad": lambda: gg.grad(total(f))(X),
    "vjp": lambda: gg.vjp(f, X)[1](X),
    "jvp": lambda: gg.jvp(f, (X,), (X,)),
    "linearize": lambda: gg.linearize(f, X)[1](X),
    "hvp": lambda: gg.hvp(total(f))(X, X),
    "vmap": lambda: gg.vmap(gg.grad(f))(X),
    "checkpoint": lambda: gg.grad(total(gg.checkpoint(f)))(X),
    "nested checkpoints": lambda: gg.grad(total(gg.checkpoint(lambda x: gg.checkpoint(f)(x))))(X),
    "custom_vjp": lambda: gg.grad(total(by_vjp))(X),
    "custom_vjp pushed": lambda: gg.jvp(by_vjp, (X,), (X,)),
    "custom_jvp": lambda: gg.grad(total(by_jvp))(X),
    "primitive": lambda: (gg.grad(total(own))(X), gg.jvp(own, (X,), (X,))),
    "second order": lambda: gg.grad(total(gg.grad(total(gg.checkpoint(f)))))(X),
    "an unused pull": lambda: gg.vjp(gg.checkpoint(f), X),
}


@pytest.mark.parametrize("name", RUNS)
def test_memory_returns_to_its_level(name):
    RUNS[name]()
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        RUNS[name]()
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
        gc.enable()
    assert after - before < X.nbytes // 2
