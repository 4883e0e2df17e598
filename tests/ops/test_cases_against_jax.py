"""A case of every function that JAX has too: its value, and what it pulls back, are JAX's."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import op_checks as checks
import pytest
from jax_lacks import LACKING, UNLIKE
from jax_of import jax, jaxed, jnp
from op_cases import CASES
from op_draw import by_seed

import gpugrad as gg
from gpugrad.device import CPU


def function(name: str) -> str:
    """The function that a case is of."""
    return name.split()[0].rstrip(",")


SMOOTH = [n for n in CASES if checks.Point(CASES[n], *by_seed(1), CPU).smooth]
FIRST = {function(n): n for n in reversed(SMOOTH) if n not in UNLIKE}
NAMES = [n for f, n in reversed(FIRST.items()) if f not in LACKING]


@functools.cache
def by_jax(name: str) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """The values, cotangents and what JAX pulls back; once for both devices, as JAX compiles."""
    p = checks.Point(CASES[name], *by_seed(1), CPU)
    theirs = jaxed(p.case.ref)

    def f(*xs: Any) -> Any:
        full: list[Any] = [jnp.asarray(x) for x in p.operands]
        for i, x in zip(p.at, xs, strict=True):
            full[i] = x
        return tuple(checks.flat(theirs(*full, **p.params)))

    with jax.enable_x64(True):
        ys, pull = jax.vjp(f, *[jnp.asarray(x) for x in p.inputs])
        us = [np.linspace(0.5, 1.5, y.size).reshape(y.shape).astype(y.dtype) for y in ys]
        us = [u * (1 - 0.5j) if u.dtype.kind == "c" else u for u in us]
        gs = pull(tuple(jnp.asarray(u) for u in us))
        return [np.asarray(y) for y in ys], us, [np.asarray(g) for g in gs]


@pytest.mark.parametrize("name", NAMES)
def test_value_and_gradient(name, device):
    if device.kind == "cuda" and not CASES[name].cuda:
        return  # CuPy has no such function
    ys, us, gs = by_jax(name)
    p = checks.Point(CASES[name], *by_seed(1), device)
    with np.errstate(all="ignore"):
        got, pull = gg.vjp(p.f, *p.put(p.inputs))
        found = pull(tuple(p.put(u.astype(y.dtype) for u, y in zip(us, got, strict=True))))
    checks.close(checks.host(got), ys, 1e-8, "value")
    checks.close(checks.host(found), gs, 1e-8, "gradient")


def test_what_jax_lacks_is_known():
    """Every function with a derivative is compared, or said to be lacking in JAX."""
    everything = {function(n) for n in SMOOTH}
    assert everything >= LACKING
    assert {function(n) for n in NAMES} == everything - LACKING
    assert set(UNLIKE) <= set(SMOOTH)
