"""SciPy's optimizers with our derivatives."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize

import gpugrad as gg
import gpugrad.numpy as gnp

minimize = gg.interop.scipy.minimize

METHODS = (
    None, "CG", "BFGS", "L-BFGS-B", "TNC", "SLSQP", "Newton-CG", "trust-ncg", "trust-krylov",
    "trust-constr", "trust-exact", "dogleg", "Nelder-Mead", "Powell",
)  # fmt: skip


def rosenbrock(x):
    return gnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_finds_the_minimum(method):
    start = np.array([1.1, 1.2]) if method == "dogleg" else np.array([-0.5, 0.7])
    found = minimize(rosenbrock, start, method=method)
    assert type(found.x) is np.ndarray
    np.testing.assert_allclose(found.x, 1, atol=2e-3)


def test_derivatives_are_scipy_s_own(device, xp):
    """The same steps as with SciPy's derivatives of the same function."""
    x0 = np.array([-1.2, 1.0, 0.5])
    mine = minimize(rosenbrock, xp.asarray(x0), method="Newton-CG")
    theirs = optimize.minimize(
        optimize.rosen, x0, method="Newton-CG", jac=optimize.rosen_der,
        hessp=optimize.rosen_hess_prod,
    )  # fmt: skip
    assert isinstance(mine.x, xp.ndarray)
    assert isinstance(mine.jac, xp.ndarray)
    assert gg.Array(mine.x).device == device
    assert (mine.nit, mine.nhev) == (theirs.nit, theirs.nhev)
    np.testing.assert_allclose(gg.Array(mine.x).numpy(), theirs.x, rtol=1e-6)


def test_pytrees_keep_their_dtypes_and_kinds(xp):
    target = xp.asarray([[1.0, 2.0], [3.0, 4.0]], "float32")
    x0 = {"w": xp.zeros((2, 2), "float32"), "b": gg.Array(xp.zeros(2)), "c": 1.0}

    def loss(p, y):
        return gnp.sum((p["w"] - y) ** 2) + gnp.sum((p["b"] - 5) ** 2) + (p["c"] + 1) ** 2

    seen = []
    found = minimize(loss, x0, (target,), method="L-BFGS-B", callback=seen.append)
    assert found.x["w"].dtype == np.float32
    assert isinstance(found.x["w"], xp.ndarray)
    assert isinstance(found.x["b"], gg.Array)
    assert isinstance(found.x["c"], float)
    np.testing.assert_allclose(gg.Array(found.x["w"]).numpy(), [[1, 2], [3, 4]], rtol=1e-4)
    np.testing.assert_allclose(found.x["b"].numpy(), 5, rtol=1e-6)
    assert abs(found.x["c"] + 1) < 1e-6
    assert seen[-1].keys() == x0.keys()


def test_models_and_parameters(device):
    gg.random.seed(0)
    own = {"dtype": "float64", "device": device}
    model = gg.nn.Sequential(gg.nn.Linear(2, 8, **own), gg.nn.tanh, gg.nn.Linear(8, 1, **own))
    x = gg.Array(np.random.default_rng(0).normal(size=(20, 2)), device=device)
    y = (x[:, 0] * x[:, 1])[:, None]

    def misfit(model, x, y):
        return gg.nn.mse_loss(model(x), y)

    found = gg.interop.scipy.minimize(misfit, model, (x, y), options={"maxiter": 200})
    assert found.fun < 1e-3
    assert float(misfit(found.x, x, y)) == pytest.approx(found.fun)
    w = gg.Array(np.array([1.0, 2.0]), device=device, requires_grad=True)
    found = gg.interop.scipy.minimize(lambda w: (w * w).sum(), w)
    assert found.x.device == device
    np.testing.assert_allclose(found.x.numpy(), 0, atol=1e-6)
    assert w.tolist() == [1, 2]


def test_bounds_and_constraints_go_to_scipy():
    found = minimize(lambda x: np.sum((x - 2) ** 2), np.zeros(2), bounds=[(None, 1), (None, 3)])
    np.testing.assert_allclose(found.x, [1, 2], atol=1e-6)
    line = {"type": "eq", "fun": lambda x: x[0] + x[1] - 1}
    found = minimize(lambda x: np.sum(x**2), np.zeros(2), constraints=line)
    np.testing.assert_allclose(found.x, 0.5, atol=1e-6)


def test_errors_say_what_was_expected():
    with pytest.raises(TypeError, match="int64"):
        minimize(rosenbrock, np.arange(3))
    with pytest.raises(TypeError, match="one real number"):
        minimize(lambda x: x, np.ones(2), method="Powell")
    with pytest.raises(TypeError, match="hessp comes from gpugrad"):
        minimize(rosenbrock, np.ones(2), hessp=None)
    with pytest.raises(ValueError, match="no elements"):
        minimize(rosenbrock, [])


@pytest.mark.parametrize("method", ["BFGS", "L-BFGS-B", "Nelder-Mead", "trust-constr", "TNC"])
def test_a_callback_is_given_what_it_names(method):
    seen, results = [], []

    def by_name(intermediate_result):
        results.append(intermediate_result)

    start = {"a": np.ones(2), "b": 1.0}
    for callback in (seen.append, by_name):
        gg.interop.scipy.minimize(
            lambda p: np.sum(p["a"] ** 2) + (p["b"] - 1) ** 2,
            start,
            method=method,
            callback=callback,
        )
    assert isinstance(seen[-1]["b"], float)
    if method == "TNC":  # SciPy hands a vector to it
        assert results[-1]["a"].shape == (2,)
    else:
        assert isinstance(results[-1], optimize.OptimizeResult)
        assert results[-1].x["a"].shape == (2,)
        assert results[-1].fun < 0.1
