"""Linear algebra agrees with JAX: values, gradients and Hessian-vector products.

Where JAX and we choose other phases for a vector, or other conventions, the function is of what
does not depend on them; `test_conventions_that_differ` says where JAX's are others.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpugrad as gg
import gpugrad.numpy as gnp
import gpugrad.scipy.linalg as gsl
from gpugrad.device import CPU, to_device

jax = pytest.importorskip("jax")
jnp = jax.numpy
jsl = jax.scipy.linalg

RNG = np.random.default_rng(7)


def drawn(*shape: int, complexes: bool = False) -> np.ndarray:
    x = RNG.uniform(-1, 1, shape)
    x = x + 1j * RNG.uniform(-1, 1, shape) if complexes else x
    n = min(shape[-2:])
    x[..., :n, :n] += np.diag(2.0 + 2 * np.arange(n))
    return x


A, B = drawn(3, 3), RNG.uniform(-1, 1, (3, 2))
C = drawn(3, 3, complexes=True)
STACK = drawn(2, 3, 3)
TALL, WIDE = drawn(4, 2), drawn(2, 4)
TALL_C, WIDE_C = drawn(4, 2, complexes=True), drawn(2, 4, complexes=True)
CUBE = RNG.uniform(0.5, 1, (2, 3, 4)) * RNG.choice([-1, 1], (2, 3, 4))


class Ours:
    linalg, conj, mT = gnp.linalg, gnp.conj, gnp.matrix_transpose
    solve_triangular, expm = gsl.solve_triangular, gsl.expm
    cho_solve, cho_factor = gsl.cho_solve, gsl.cho_factor
    abs = gnp.abs


class Theirs:
    linalg, conj, mT = jnp.linalg, jnp.conj, jnp.matrix_transpose
    solve_triangular, expm = jsl.solve_triangular, jsl.expm
    cho_solve, cho_factor = jsl.cho_solve, jsl.cho_factor
    abs = jnp.abs


def gram(m: Any, x: Any) -> Any:
    return x @ m.conj(m.mT(x))


def svd(m: Any, x: Any) -> Any:
    u, s, vh = m.linalg.svd(x, full_matrices=False)
    return (u * s**2) @ vh


def eigh(m: Any, x: Any) -> Any:
    w, v = m.linalg.eigh(gram(m, x))
    return (v * w[..., None, :] ** 1.5) @ m.conj(m.mT(v))


PAIRS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "solve": (lambda m, a, b: m.linalg.solve(a, b), (A, B)),
    "solve a vector": (lambda m, a, b: m.linalg.solve(a, b[:, 0]), (A, B)),
    "solve a stack": (lambda m, a, b: m.linalg.solve(a, b), (STACK, B)),
    "solve complex": (lambda m, a, b: m.linalg.solve(a, b), (C, A)),
    "inv": (lambda m, x: m.linalg.inv(x), (STACK,)),
    "inv complex": (lambda m, x: m.linalg.inv(x), (C,)),
    "det": (lambda m, x: m.linalg.det(x), (STACK,)),
    "det complex": (lambda m, x: m.linalg.det(x), (C,)),
    "slogdet": (lambda m, x: m.linalg.slogdet(x)[1], (STACK,)),
    "slogdet complex": (lambda m, x: sum(m.linalg.slogdet(x)), (C,)),
    "cholesky": (lambda m, x: m.linalg.cholesky(gram(m, x)), (STACK,)),
    "cholesky complex": (lambda m, x: m.linalg.cholesky(gram(m, x), upper=True), (C,)),
    "qr": (lambda m, x: m.linalg.qr(x)[0] @ (m.linalg.qr(x)[1] ** 2), (TALL,)),
    "qr complex": (lambda m, x: m.linalg.qr(x)[1], (C,)),
    "eigh": (eigh, (STACK,)),
    "eigh complex": (eigh, (C,)),
    "eigvalsh": (lambda m, x: m.linalg.eigvalsh(x + m.mT(x)), (STACK,)),
    "eigvals": (lambda m, x: m.linalg.eigvals(x) ** 2, (A,)),
    "eigvals complex": (lambda m, x: m.linalg.eigvals(x), (C,)),
    "svd tall": (svd, (TALL,)),
    "svd wide complex": (svd, (WIDE_C,)),
    "svd square complex": (svd, (C,)),
    "svdvals": (lambda m, x: m.linalg.svdvals(x), (WIDE,)),
    "pinv": (lambda m, x: m.linalg.pinv(x), (TALL,)),
    "pinv complex": (lambda m, x: m.linalg.pinv(x), (WIDE_C,)),
    "lstsq": (lambda m, a, b: m.linalg.lstsq(a, b)[0], (TALL, RNG.uniform(-1, 1, (4, 2)))),
    "lstsq wide": (lambda m, a, b: m.linalg.lstsq(a, b)[0], (WIDE, B[:2])),
    "matrix_power": (lambda m, x: m.linalg.matrix_power(x, 5), (STACK,)),
    "matrix_power negative": (lambda m, x: m.linalg.matrix_power(x, -3), (C,)),
    "expm": (lambda m, x: m.expm(x), (C,)),
    "solve_triangular": (lambda m, a, b: m.solve_triangular(a, b, lower=True), (A, B)),
    "solve_triangular complex": (lambda m, a, b: m.solve_triangular(a, b, trans="C"), (C, B)),
    "cho_solve": (lambda m, a, b: m.cho_solve(m.cho_factor(gram(m, a), lower=True), b), (A, B)),
    "cross": (lambda m, a, b: m.linalg.cross(a, b), (A, B.T[:1] @ A)),
    "multi_dot": (lambda m, a, b, c: m.linalg.multi_dot([a, b, c]), (A, B, B.T)),
    "cond 1": (lambda m, x: m.linalg.cond(x, 1), (A,)),
    "tensorinv": (lambda m, x: m.linalg.tensorinv(x.reshape(2, 3, 6)), (drawn(6, 6),)),
    **{
        f"norm {order} {axis}": (
            lambda m, x, o=order, a=axis: m.linalg.norm(x, ord=o, axis=a, keepdims=True),
            (CUBE,),
        )
        for order, axis in [
            *((o, -1) for o in (None, 1, 2, 3, 1.5, -1, np.inf, -np.inf)),
            *((o, (2, 0)) for o in (None, "fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf)),
        ]
    },
    "norm of all complex": (lambda m, x: m.linalg.norm(x), (C,)),
    "norm of ties": (
        lambda m, x: m.linalg.norm(x, ord=np.inf),
        (np.array([1.0, -2.0, 2.0, 0.5]),),
    ),
    "matrix_norm of ties": (lambda m, x: m.linalg.matrix_norm(x, ord=2), (np.eye(3),)),
    "det of a singular matrix": (
        lambda m, x: m.linalg.det(x),
        (np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [1.0, -1.0, 0.5]]),),
    ),
}


@functools.cache
def by_jax(name: str) -> tuple[Any, Any, list[Any]]:
    """The value, a cotangent and what JAX pulls back; once for both devices, as JAX compiles."""
    f, operands = PAIRS[name]
    with jax.enable_x64(True):
        like = jax.eval_shape(lambda *xs: f(Theirs, *xs), *operands)
        u = np.linspace(0.5, 1.5, like.size).reshape(like.shape)
        u = np.asarray(u * (1 - 0.5j) if like.dtype.kind == "c" else u, like.dtype)

        @jax.jit
        def both(u: Any, *xs: Any) -> Any:
            value, pull = jax.vjp(lambda *xs: f(Theirs, *xs), *xs)
            return value, pull(u)

        value, gradients = both(u, *operands)
        return np.asarray(value), u, [np.asarray(g) for g in gradients]


@pytest.mark.parametrize("name", PAIRS)
def test_value_and_gradient(name, device):
    f, operands = PAIRS[name]
    want, u, want_g = by_jax(name)
    got, pull = gg.vjp(lambda *xs: f(Ours, *xs), *[to_device(x, device) for x in operands])
    got_g = pull(to_device(u, device))
    for a, b in zip((got, *got_g), (want, *want_g), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        scale = np.max(np.abs(b), initial=1)
        np.testing.assert_allclose(to_device(a, CPU), b, rtol=1e-9, atol=1e-11 * scale)


SECOND = ["solve", "cholesky", "eigh"]


@pytest.mark.parametrize("name", SECOND)
def test_second_derivative(name):
    f, operands = PAIRS[name]
    vs = [np.linspace(-1, 1, x.size).reshape(x.shape) for x in operands]
    with jax.enable_x64(True):
        slope = jax.grad(lambda *xs: jnp.sum(jnp.sin(f(Theirs, *xs))))
        want = jax.jit(lambda xs, vs: jax.jvp(slope, xs, vs)[1])(operands, tuple(vs))
    got = gg.jvp(gg.grad(lambda *xs: gnp.sum(gnp.sin(f(Ours, *xs)))), operands, vs)[1]
    np.testing.assert_allclose(got, want, rtol=1e-8, atol=1e-9 * np.max(np.abs(want)))


def test_conventions_that_differ():
    """JAX's norm has a NaN gradient at 0, ours 0 as PyTorch's."""
    with jax.enable_x64(True):
        assert np.isnan(jax.grad(jnp.linalg.norm)(jnp.zeros(2))).all()
    assert gg.grad(gnp.linalg.norm)(np.zeros(2)).tolist() == [0, 0]
