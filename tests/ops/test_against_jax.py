"""Values and gradients agree with JAX, at kinks and ties and for complex operands too."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpugrad as gg
import gpugrad.numpy as gnp
from gpugrad.device import CPU, to_device
from gpugrad.ops.elementwise import relu

jax = pytest.importorskip("jax")
jnp = jax.numpy

X = np.array([[1.0, -2.0, 0.5], [0.25, 1.5, -0.75]])
Y = np.array([[0.3, 1.2, -0.7], [1.1, -0.4, 0.6]])
TIES = np.array([[2.0, 2.0, 1.0], [-1.0, 3.0, 3.0], [2.0, 2.0, 2.0]])
KINKS = np.array([-1.0, 0.0, 0.0, 2.0])
Z = X + 1j * Y
W = Y - 0.5j * X + 1.5

ONE = {
    **dict.fromkeys(
        ("exp", "exp2", "expm1", "sin", "cos", "tan", "arctan", "sinh", "cosh", "tanh", "arcsinh"),
        X,
    ),
    **dict.fromkeys(("square", "sinc", "deg2rad", "rad2deg", "cbrt", "negative"), X),
    **dict.fromkeys(("log", "log2", "log10", "log1p", "sqrt", "reciprocal"), np.abs(X)),
    **dict.fromkeys(("arcsin", "arccos", "arctanh"), X / 4),
    "arccosh": np.abs(X) + 1.5,
    "nan_to_num": np.array([1.0, np.nan, np.inf, -np.inf]),
    **dict.fromkeys(("floor", "ceil", "rint", "trunc"), X + 0.1),
    **dict.fromkeys(("sum", "mean", "prod", "var", "std", "cumsum", "max", "min"), X),
}
TWO = {
    **dict.fromkeys(("add", "subtract", "multiply", "divide", "arctan2", "hypot"), (X, Y)),
    **dict.fromkeys(("logaddexp", "logaddexp2", "mod", "fmod", "copysign"), (X, Y)),
    **dict.fromkeys(("matmul", "dot"), (X, Y.T)),
    **dict.fromkeys(("inner", "outer", "vdot", "tensordot"), (X, Y)),
    "power": (np.abs(X), Y),
}

PAIRS: dict[str, tuple[Callable[..., Any], Callable[..., Any], tuple[Any, ...]]] = {
    **{name: (getattr(gnp, name), getattr(jnp, name), (x,)) for name, x in ONE.items()},
    **{name: (getattr(gnp, name), getattr(jnp, name), xs) for name, xs in TWO.items()},
    **{
        f"{n}, ties": (getattr(gnp, n), getattr(jnp, n), (TIES, TIES[::-1]))
        for n in ("maximum", "minimum")
    },
    **{
        f"{n} over {axis}, ties": (
            functools.partial(getattr(gnp, n), axis=axis),
            functools.partial(getattr(jnp, n), axis=axis),
            (TIES,),
        )
        for n in ("max", "min")
        for axis in (None, 0, 1)
    },
    "relu at 0": (relu, jax.nn.relu, (KINKS,)),
    "maximum with 0": (lambda x: gnp.maximum(x, 0), lambda x: jnp.maximum(x, 0), (KINKS,)),
    "sign at 0": (gnp.sign, jnp.sign, (KINKS,)),
    "where": (
        lambda x, y: gnp.where(x > 0, x, y),
        lambda x, y: jnp.where(x > 0, x, y),
        (KINKS, KINKS[::-1]),
    ),
    "where guards a division": (
        lambda x: gnp.where(x == 0, 0, 1 / gnp.where(x == 0, 1, x)),
        lambda x: jnp.where(x == 0, 0, 1 / jnp.where(x == 0, 1, x)),
        (KINKS,),
    ),
    "prod with one zero": (gnp.prod, jnp.prod, (np.array([2.0, 0.0, 3.0]),)),
    "prod with two zeros": (gnp.prod, jnp.prod, (np.array([2.0, 0.0, 0.0]),)),
    "logsumexp with -inf": (
        gnp.logsumexp,
        jax.scipy.special.logsumexp,
        (np.array([-np.inf, 0.0, 1.0]),),
    ),
    "logsumexp of large": (
        gnp.logsumexp,
        jax.scipy.special.logsumexp,
        (np.array([1e4, 1e4 - 1, -1e4]),),
    ),
    "logaddexp with -inf": (gnp.logaddexp, jnp.logaddexp, (np.array(-np.inf), np.array(1.0))),
    "power of 0": (lambda x: x**2 + x**1 + x**3, lambda x: x**2 + x**1 + x**3, (KINKS,)),
    "duplicates add up": (
        lambda x: x[[0, 0, 1]] ** 2,
        lambda x: x[np.array([0, 0, 1])] ** 2,
        (X,),
    ),
    "sinc at 0": (gnp.sinc, jnp.sinc, (KINKS,)),
    "einsum of three": (
        functools.partial(gnp.einsum, "ij,kj,kl->il"),
        functools.partial(jnp.einsum, "ij,kj,kl->il"),
        (X, Y, TIES[:2]),
    ),
}
COMPLEX = {
    **dict.fromkeys(("exp", "sin", "cos", "tan", "sinh", "cosh", "tanh", "square", "sqrt"), (Z,)),
    **dict.fromkeys(("log", "reciprocal", "negative", "real", "imag", "conj", "abs"), (Z,)),
    **dict.fromkeys(("sum", "mean", "prod", "cumsum", "var", "std"), (Z,)),
    **dict.fromkeys(("add", "subtract", "multiply", "divide", "power", "vdot"), (Z, W)),
    "matmul": (Z, W.T),
    "tensordot": (Z, W),
    "multiply by a real": (Z, X),
    "abs at 0": (np.array([0j, 1j, 3.0 + 4.0j]),),
}
for _name, _operands in COMPLEX.items():
    _plain = _name.split()[0]
    PAIRS[f"complex {_name}"] = (getattr(gnp, _plain), getattr(jnp, _plain), _operands)


@functools.cache
def by_jax(name: str) -> tuple[Any, Any, Any]:
    """The value, a cotangent and what JAX pulls back; once for both devices, as JAX compiles."""
    _, theirs, operands = PAIRS[name]
    with jax.enable_x64(True):
        value, pull = jax.vjp(theirs, *[jnp.asarray(x) for x in operands])
        u = np.linspace(0.5, 1.5, value.size).reshape(value.shape)
        u = np.asarray(u * (1 - 0.5j) if value.dtype.kind == "c" else u, value.dtype)
        return np.asarray(value), u, [np.asarray(g) for g in pull(jnp.asarray(u))]


@pytest.mark.parametrize("name", PAIRS)
def test_value_and_gradient(name, device):
    ours, _, operands = PAIRS[name]
    want, u, want_g = by_jax(name)
    with np.errstate(all="ignore"):
        got, pull = gg.vjp(ours, *[to_device(np.array(x), device) for x in operands])
        got_g = pull(to_device(u, device))
    for a, b in zip((got, *got_g), (want, *want_g), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(to_device(a, CPU), b, rtol=1e-9, atol=1e-12)


def test_abs_has_gradient_0_at_0(device):
    """As in PyTorch and HIPS autograd; JAX gives 1."""
    g = gg.grad(lambda x: gnp.sum(gnp.abs(x)))(to_device(KINKS, device))
    assert to_device(g, CPU).tolist() == [-1, 0, 0, 1]


@pytest.mark.parametrize("name", ["fmax", "fmin"])
def test_fmax_and_fmin_share_at_a_tie(name, device):
    """As maximum and minimum do; JAX gives 0 to both."""
    x = to_device(np.array([1.0, np.nan]), device)
    y = to_device(np.array([1.0, 2.0]), device)
    g = gg.grad(lambda a, b: gnp.sum(getattr(gnp, name)(a, b)), (0, 1))(x, y)
    assert [to_device(part, CPU).tolist() for part in g] == [[0.5, 0], [0.5, 1]]
