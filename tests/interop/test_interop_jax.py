"""A function of ours in JAX and one of JAX's in ours: values, gradients of every order."""

from __future__ import annotations

import numpy as np
import pytest

import gpugrad as gg
import gpugrad.numpy as gnp

jax = pytest.importorskip("jax", reason="JAX is not installed")
jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp  # noqa: E402

from gpugrad.interop.jax import as_function, from_jax  # noqa: E402

X = np.random.default_rng(0).normal(size=(3, 4))
W = np.random.default_rng(1).normal(size=(4, 2))


def ours(x, w):
    return gnp.tanh(x @ w) ** 2


def theirs(x, w):
    return jnp.tanh(x @ w) ** 2


def of_loss(f):
    return lambda *args: (f(*args) ** 2).sum()


@pytest.mark.parametrize("compile", [False, True], ids=["eager", "jit"])
def test_values_and_gradients_in_jax_are_jax_s_own(compile):
    f = as_function(ours)
    f = jax.jit(f) if compile else f
    np.testing.assert_allclose(f(X, W), theirs(X, W), rtol=1e-12)
    for n in (0, 1):
        got = jax.grad(of_loss(f), n)(jnp.asarray(X), jnp.asarray(W))
        np.testing.assert_allclose(got, jax.grad(of_loss(theirs), n)(X, W), rtol=1e-10)


def test_a_third_derivative_in_jax():
    f = as_function(gnp.sin)
    x = jnp.asarray(0.7)
    for _ in range(3):
        f = jax.grad(f)
    np.testing.assert_allclose(f(x), -np.cos(0.7))


def test_a_batch_in_jax():
    f = as_function(lambda x: gnp.sum(gnp.sin(x)))
    np.testing.assert_allclose(jax.vmap(f)(jnp.asarray(X)), np.sin(X).sum(1))


def test_pytrees_settings_and_integers_pass_through():
    def f(params, rows, power):
        return {"y": gnp.take(params["table"], rows, axis=0) ** power, "rows": rows}

    rows = jnp.asarray([2, 0, 2])
    g = as_function(f)
    assert g({"table": jnp.asarray(X)}, rows, 3)["rows"].dtype == rows.dtype
    got = jax.grad(lambda p: g(p, rows, 3)["y"].sum())({"table": jnp.asarray(X)})
    np.testing.assert_allclose(got["table"], 3 * X**2 * np.array([1, 0, 2])[:, None])


def test_from_jax_gives_arrays_and_their_gradients():
    f = from_jax(jax.jit(theirs))
    y = f(X, W)
    assert type(y) is np.ndarray
    np.testing.assert_allclose(y, ours(X, W), rtol=1e-12)
    for n in (0, 1):
        np.testing.assert_allclose(
            gg.grad(of_loss(f), n)(X, W), gg.grad(of_loss(ours), n)(X, W), rtol=1e-10
        )


def test_from_jax_to_higher_orders():
    f = from_jax(lambda x: jnp.sin(x) * x**2)
    g = lambda x: np.sin(x) * x**2  # noqa: E731
    x = np.array([0.3, -1.2])
    np.testing.assert_allclose(
        gg.hessian(lambda x: np.sum(f(x) ** 2))(x), gg.hessian(lambda x: np.sum(g(x) ** 2))(x)
    )
    np.testing.assert_allclose(gg.jvp(f, (x,), (x,)), gg.jvp(g, (x,), (x,)))


def test_from_jax_with_integers_and_pytrees():
    f = from_jax(lambda p, rows: {"y": p["table"][rows] ** 2, "rows": rows + 1})
    rows = np.array([2, 0, 2])
    got = gg.grad(lambda p: f(p, rows)["y"].sum())({"table": X})
    np.testing.assert_allclose(got["table"], 2 * X * np.array([1, 0, 2])[:, None])


def test_complex_numbers_have_one_convention():
    z = X[0] + 1j * X[1]
    got = gg.grad(lambda z: gnp.real(gnp.sum(from_jax(jnp.exp)(z))))(z)
    np.testing.assert_allclose(got, gg.grad(lambda z: gnp.real(gnp.sum(gnp.exp(z))))(z))


def test_float64_that_jax_would_narrow_is_refused():
    jax.config.update("jax_enable_x64", False)
    try:
        with pytest.raises(TypeError, match="jax_enable_x64"):
            from_jax(jnp.sin)(X)
        narrow = from_jax(jnp.sin)(X.astype("f4"))
        assert narrow.dtype == np.float32
        y = as_function(gnp.sin)(jnp.asarray(X, "float32"))
        assert y.dtype == np.float32
    finally:
        jax.config.update("jax_enable_x64", True)


def test_there_and_back_again():
    f = from_jax(as_function(ours))
    np.testing.assert_allclose(
        gg.grad(lambda x: f(x, W).sum())(X), gg.grad(lambda x: ours(x, W).sum())(X)
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_narrow_floats_pass_both_ways(dtype):
    x = jnp.linspace(-1, 1, 5).astype(dtype)
    got = jax.grad(as_function(lambda x: gnp.sum(gnp.tanh(x) ** 2)))(x)
    assert got.dtype == x.dtype
    want = jax.grad(lambda x: (jnp.tanh(x) ** 2).sum())(x.astype("float64"))
    np.testing.assert_allclose(np.asarray(got, "f8"), want, atol=0.01)
    mine = gg.Array(x)
    assert mine.dtype == x.dtype
    g = gg.grad(lambda x: from_jax(jnp.tanh)(x).astype("f4").sum())(mine)
    assert g.dtype == mine.dtype


def test_a_model_of_ours_inside_jax():
    model = gg.nn.Sequential(gg.nn.Linear(4, 3), gg.nn.tanh)
    got = jax.grad(lambda x: as_function(model)(x).sum())(jnp.asarray(X, "float32"))
    want = gg.grad(lambda x: model(x).sum())(gg.Array(X.astype("f4")))
    np.testing.assert_allclose(got, want.numpy(), rtol=1e-5)


def test_a_second_derivative_by_reverse_mode_twice():
    f = as_function(lambda x: gnp.sum(gnp.tanh(x) ** 2))
    x = jnp.asarray([0.3, -0.8])
    want = jax.hessian(lambda x: (jnp.tanh(x) ** 2).sum())(x)
    np.testing.assert_allclose(jax.jacrev(jax.jacrev(f))(x), want, rtol=1e-9)


def test_what_cannot_be_handed_over_is_named():
    with pytest.raises(TypeError, match="as_function: <lambda> returned a str"):
        as_function(lambda x: "a")(jnp.ones(2))
    with pytest.raises(TypeError, match="from_jax: <lambda> returned a str"):
        from_jax(lambda x: "a")(X)
    assert from_jax(lambda x: 1.0)(X) == 1.0
