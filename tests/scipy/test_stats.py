"""Distributions: SciPy's values, and derivatives in arguments and parameters."""

from __future__ import annotations

import functools
from itertools import product

import numpy as np
import pytest
import scipy.stats

import gpugrad as gg
import gpugrad.numpy as gnp
from gpugrad.device import CPU, to_device
from gpugrad.scipy import stats

CONTINUOUS = ("pdf", "logpdf", "cdf", "logcdf", "sf", "logsf")
DISCRETE = ("pmf", "logpmf", "cdf", "logcdf", "sf", "logsf")
LOC, SCALE = np.array(0.2), np.array(1.3)
X = np.array([0.45, 0.7, 1.1])

DRAWN = {
    "norm": (X - 1, LOC, SCALE),
    "gamma": (X, np.array([1.5, 2.0, 3.0]), LOC, SCALE),
    "chi2": (X, np.array([3.0, 2.0, 5.0]), LOC, SCALE),
    "beta": (X, np.array([1.5, 2.0, 0.8]), np.array(2.5), LOC, SCALE),
    "t": (X - 1, np.array([3.0, 2.0, 7.5]), LOC, SCALE),
}
CASES = [*product(DRAWN, CONTINUOUS), *(("poisson", f) for f in DISCRETE)]


def host(a):
    return to_device(a._value if isinstance(a, gg.Array) else a, CPU)


def arguments(name):
    """``x`` and the parameters; that of Poisson's distribution is a count."""
    return (np.array([0, 2, 5]), np.array([0.5, 2.0, 4.0])) if name == "poisson" else DRAWN[name]


def central(f, x, v, step=1e-3):
    near, far = f(x + step * v) - f(x - step * v), f(x + 2 * step * v) - f(x - 2 * step * v)
    return (8 * near - far) / (12 * step)


@pytest.mark.parametrize(("name", "function"), CASES)
def test_value_and_derivatives(name, function, device):
    args = arguments(name)
    ours, theirs = (getattr(getattr(where, name), function) for where in (stats, scipy.stats))
    put = [to_device(np.asarray(a), device) for a in args]
    np.testing.assert_allclose(host(ours(*map(gg.Array, put))), theirs(*args), rtol=1e-11)
    u = np.array([0.3, -1.0, 0.7])
    for i in range(name == "poisson", len(args)):

        def of(v, i=i):
            return ours(*put[:i], v, *put[i + 1 :])

        def reference(v, i=i):
            return np.sum(u * theirs(*args[:i], v, *args[i + 1 :]))

        def slope(v, of=of):
            return gg.grad(lambda v: gnp.sum(to_device(u, device) * of(v)))(v)

        v = np.ones(args[i].shape) * 0.7
        g = host(slope(put[i]))
        assert g.shape == args[i].shape
        np.testing.assert_allclose(np.sum(g * v), central(reference, args[i], v), rtol=1e-6)
        second = host(gg.jvp(slope, (put[i],), (to_device(v, device),))[1])
        np.testing.assert_allclose(
            np.sum(second * v),
            central(lambda w: np.sum(host(slope(to_device(w, device))) * v), args[i], v),  # noqa: B023
            rtol=1e-6,
            atol=1e-9,
        )


@pytest.mark.parametrize(("name", "function"), CASES)
def test_float32(name, function, device):
    args = arguments(name)
    free = 0 if name != "poisson" else 1
    ours = getattr(getattr(stats, name), function)

    def slope(put):
        return host(gg.grad(lambda v: gnp.sum(ours(*put[:free], v, *put[free + 1 :])))(put[free]))

    wide = slope([to_device(a, device) for a in args])
    narrow = [to_device(np.asarray(a, np.float32), device) for a in args]
    assert ours(*map(gg.Array, narrow)).dtype == np.float32
    got = slope(narrow)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, wide, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("name", "function"), [c for c in CASES if c[0] != "poisson"])
def test_outside_of_the_support(name, function, device):
    args = arguments(name)
    x = np.array([-7.0, 0.3, 9.0])
    at = [to_device(np.asarray(a), device) for a in (x, *args[1:])]
    ours = getattr(getattr(stats, name), function)
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(
            host(ours(*at)), getattr(getattr(scipy.stats, name), function)(x, *args[1:]), rtol=1e-10
        )
        if not function.startswith("log"):
            g = host(gg.grad(lambda v: gnp.sum(ours(v, *at[1:])))(at[0]))
            assert not np.isnan(g).any()
            assert (g[0] == 0) == (name not in ("norm", "t"))


NUMBERS = {
    **DRAWN,
    "poisson": (np.array([2.0, 5.0, 0.0]), np.array([1.5, 3.0, 0.4])),
    "ppf": (X / 2, LOC, SCALE),
}
FORMS = {"a number": lambda a: a.item(0), "a list": lambda a: a.tolist(), "an array": None}


@pytest.mark.parametrize(("name", "function"), [*CASES, ("norm", "ppf")])
def test_numbers_and_lists_beside_arrays(name, function, device):
    """Every argument in every form; what is not an array joins the device of the others."""
    ours, theirs = (getattr(getattr(where, name), function) for where in (stats, scipy.stats))
    args = NUMBERS[function if function == "ppf" else name]
    put = [to_device(a, device) for a in args]
    for forms in product(FORMS, repeat=2 + (name == "beta")):
        given, plain = list(put[: len(forms)]), list(args[: len(forms)])
        for i, form in enumerate(forms):
            if FORMS[form] is not None:
                given[i] = plain[i] = FORMS[form](args[i])
        with np.errstate(all="ignore"):
            got, want = ours(*given), theirs(*map(np.asarray, plain))
        np.testing.assert_allclose(host(got), want, rtol=1e-11, err_msg=str(forms))
        if forms.count("an array") == 1 and forms[-1] == "an array":
            g = gg.grad(lambda v: ours(*given[:-1], v).sum())(given[-1])  # noqa: B023
            assert type(g) is type(given[-1])
    np.testing.assert_allclose(ours(*[a.tolist() for a in args]), theirs(*args), rtol=1e-11)


def test_named_lists():
    got = stats.norm.logpdf([1.0, 2.0], scale=[2.0, 3.0])
    np.testing.assert_allclose(got, scipy.stats.norm.logpdf([1, 2], scale=[2, 3]), rtol=1e-14)


@pytest.mark.parametrize("function", CONTINUOUS)
def test_t_of_many_degrees_of_freedom(function, device):
    """Up to infinitely many, which is the normal distribution."""
    x = np.array([-6.0, -1.0, 0.0, 0.7, 5.0])
    df = np.array([50.0, 70.0, 2e3, 4e3, 1e5, 1e12, 1e300, np.inf])[:, None]
    ours, theirs = getattr(stats.t, function), getattr(scipy.stats.t, function)
    put = to_device(x, device), to_device(df, device)
    np.testing.assert_allclose(host(ours(*put)), theirs(x, df), rtol=3e-9, atol=1e-15)
    g_x, g_df = map(host, gg.grad(lambda x, df: gnp.sum(ours(x, df)), (0, 1))(*put))
    normal = gg.grad(lambda x: gnp.sum(getattr(stats.norm, function)(x)))(put[0])
    rows = host(gg.grad(lambda x: gnp.sum(ours(x, put[1][-1])))(put[0]))
    np.testing.assert_allclose(rows, host(normal), rtol=1e-12)
    assert np.isfinite(g_x).all()
    assert g_df[-1] == 0
    step = 1e-3 * df[:4]
    want = (theirs(x, df[:4] + step) - theirs(x, df[:4] - step)).sum(1, keepdims=True) / (2 * step)
    np.testing.assert_allclose(g_df[:4], want, rtol=1e-4)


@pytest.mark.parametrize(("name", "function"), CASES)
def test_of_what_is_no_number_is_none(name, function, device):
    ours = getattr(getattr(stats, name), function)
    args = [np.array(a, float) for a in arguments(name)]
    args[0][1] = np.nan
    got = host(ours(*[to_device(a, device) for a in args]))
    np.testing.assert_array_equal(np.isnan(got), [False, True, False])


def test_poisson_off_the_integers():
    k = np.array([-1.0, 0.5, 2.0])
    for function in DISCRETE:
        with np.errstate(divide="ignore"):
            np.testing.assert_allclose(
                getattr(stats.poisson, function)(k, 1.5),
                getattr(scipy.stats.poisson, function)(k, 1.5),
                rtol=1e-12,
            )


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("norm", (0.5, 2.0)),
        ("gamma", (2.5, 0.0, 2.0)),
        ("beta", (1.5, 2.5, 0.0, 2.0)),
        ("chi2", (3.0, 0.0, 2.0)),
        ("t", (3.0, 0.0, 2.0)),
    ],
)
def test_entropy(name, parameters):
    ours, theirs = getattr(stats, name).entropy, getattr(scipy.stats, name).entropy
    assert abs(ours(*parameters) - theirs(*parameters)) < 1e-12
    for i in range(len(parameters)):

        def at(v, f, i=i):
            return f(*parameters[:i], v, *parameters[i + 1 :])

        g = gg.grad(lambda v: at(v, ours))(parameters[i])
        want = (at(parameters[i] + 1e-5, theirs) - at(parameters[i] - 1e-5, theirs)) / 2e-5
        assert abs(g - want) < 1e-7


ALPHA = np.array([1.5, 2.0, 3.0])
P = np.array([[0.2, 0.3], [0.3, 0.3], [0.5, 0.4]])


def test_dirichlet(device):
    x, alpha = to_device(P, device), to_device(ALPHA, device)
    for f in ("pdf", "logpdf"):
        ours, theirs = getattr(stats.dirichlet, f), getattr(scipy.stats.dirichlet, f)
        want = theirs(P, ALPHA)
        np.testing.assert_allclose(host(ours(x, alpha)), want, rtol=1e-12)
        np.testing.assert_allclose(host(ours(x[:2], alpha)), want, rtol=1e-12)
        np.testing.assert_allclose(host(ours(x[:, 0], alpha)), want[0], rtol=1e-12)
        g = host(gg.grad(lambda a: gnp.sum(ours(x, a)))(alpha))  # noqa: B023
        v = np.array([0.3, -0.2, 0.5])
        want = central(lambda a: np.sum(theirs(P, a)), ALPHA, v)  # noqa: B023
        np.testing.assert_allclose(g @ v, want, rtol=1e-7)
    g = host(gg.grad(lambda x: gnp.sum(stats.dirichlet.logpdf(x, alpha)))(x))
    np.testing.assert_allclose(g, (ALPHA[:, None] - 1) / P, rtol=1e-12)
    want = scipy.stats.dirichlet.entropy(ALPHA)
    assert abs(float(stats.dirichlet.entropy(alpha)) - want) < 1e-12
    with pytest.raises(ValueError, match="5 components"):
        stats.dirichlet.logpdf(np.ones(5), ALPHA)


def test_dirichlet_of_lists(device):
    x, alpha = to_device(P[:, 0], device), to_device(ALPHA, device)
    want = scipy.stats.dirichlet.logpdf(P[:, 0], ALPHA)
    for given in ((P[:, 0].tolist(), ALPHA.tolist()), (x, ALPHA.tolist()), (x.tolist(), alpha)):
        np.testing.assert_allclose(float(stats.dirichlet.logpdf(*given)), want, rtol=1e-12)
    g = gg.grad(lambda a: stats.dirichlet.logpdf(x.tolist(), a))(alpha)
    np.testing.assert_array_equal(
        host(g), host(gg.grad(lambda a: stats.dirichlet.logpdf(x, a))(alpha))
    )
    want = scipy.stats.dirichlet.entropy(ALPHA)
    np.testing.assert_allclose(float(stats.dirichlet.entropy(ALPHA.tolist())), want, rtol=1e-12)


RNG = np.random.default_rng(0)
ROOT = RNG.normal(size=(3, 3))
COV = ROOT @ ROOT.T + np.eye(3)
MEAN = RNG.normal(size=3)
V = RNG.normal(size=(2, 4, 3))


@pytest.mark.parametrize("f", ["pdf", "logpdf"])
def test_multivariate_normal(f, device):
    ours = getattr(stats.multivariate_normal, f)
    theirs = getattr(scipy.stats.multivariate_normal, f)
    args = [V, MEAN, COV]
    put = [to_device(a, device) for a in args]
    np.testing.assert_allclose(host(ours(*put)), theirs(*args), rtol=1e-11)
    for i, a in enumerate(args):
        v = RNG.normal(size=a.shape)
        v = v + v.T if i == 2 else v

        def of(w, i=i):
            return gnp.sum(ours(*put[:i], w, *put[i + 1 :]))

        def reference(w, i=i):
            return np.sum(theirs(*args[:i], w, *args[i + 1 :]))

        g = host(gg.grad(of)(put[i]))
        np.testing.assert_allclose(np.sum(g * v), central(reference, a, v), rtol=1e-6)
        again = host(gg.jvp(gg.grad(of), (put[i],), (to_device(v, device),))[1])
        want = central(lambda w: np.sum(host(gg.grad(of)(to_device(w, device))) * v), a, v)  # noqa: B023
        np.testing.assert_allclose(np.sum(again * v), want, rtol=1e-6)


def test_multivariate_normal_takes_scipys_forms(device):
    ours, theirs = stats.multivariate_normal, scipy.stats.multivariate_normal
    for x, mean, cov in (
        (V[0], None, COV),
        (V[0], MEAN, 2.0),
        (V[0], MEAN, np.array([1.0, 2.0, 3.0])),
        (V[0, 0], MEAN, COV),
        (V[0, 0], None, 1),
        (np.array(0.5), 0.2, 2.0),
        (V[0, 0], 0.2, 2.0),
    ):
        at = [to_device(a, device) if isinstance(a, np.ndarray) else a for a in (x, mean, cov)]
        want = theirs.logpdf(x, mean, cov) if mean is not None else theirs.logpdf(x, cov=cov)
        got = ours.logpdf(*at)
        np.testing.assert_allclose(host(got), want, rtol=1e-12)
        if np.ndim(cov):
            got = float(ours.entropy(at[1], at[2]))
            np.testing.assert_allclose(got, theirs.entropy(mean, cov), rtol=1e-12)
    with pytest.raises(ValueError, match=r"\(2, 3\)"):
        ours.logpdf(V[0], MEAN, COV[:2])


def test_multivariate_normal_of_numbers(device):
    """Without a mean and with one variance there is one component, and elements are vectors."""
    ours, theirs = stats.multivariate_normal, scipy.stats.multivariate_normal
    x = np.array([1.0, 2.0])
    at = to_device(x, device)
    np.testing.assert_allclose(host(ours.logpdf(at, cov=2.0)), theirs.logpdf(x, cov=2.0))
    np.testing.assert_allclose(host(ours.pdf(at)), theirs.pdf(x))
    np.testing.assert_allclose(ours.pdf(0.3), theirs.pdf(0.3))
    np.testing.assert_allclose(ours.entropy(cov=2.0), theirs.entropy(cov=2.0))
    mean = to_device(x, device)
    assert type(ours.entropy(mean, 2.0)) is type(gnp.sum(mean))
    np.testing.assert_allclose(float(ours.entropy(mean, 2.0)), theirs.entropy(x, 2.0))
    np.testing.assert_allclose(float(ours.logpdf(0.3, mean, 2.0)), theirs.logpdf([0.3, 0.3], x, 2))


def test_multivariate_normal_of_lists(device):
    ours, theirs = stats.multivariate_normal, scipy.stats.multivariate_normal
    x, eye = to_device(np.array([0.2, 0.3]), device), [[1, 0.5], [0.5, 2]]
    want = theirs.logpdf([0.2, 0.3], [0, 0.5], eye)
    np.testing.assert_allclose(ours.logpdf([0.2, 0.3], [0, 0.5], eye), want)
    np.testing.assert_allclose(float(ours.logpdf(x, [0, 0.5], cov=eye)), want)
    want = theirs.logpdf([0.2, 0.3], [0, 0], [1, 2])
    np.testing.assert_allclose(float(ours.logpdf(x, cov=[1.0, 2.0])), want)
    np.testing.assert_allclose(ours.entropy(cov=eye), theirs.entropy(cov=eye))


def test_singular_covariance(device):
    cov = ROOT[:, :2] @ ROOT[:, :2].T
    on = ROOT[:, :2] @ np.array([0.3, -0.4])
    x, c = to_device(np.stack([on, V[0, 0]]), device), to_device(cov, device)
    got = host(stats.multivariate_normal.logpdf(x, None, c, allow_singular=True))
    want = scipy.stats.multivariate_normal.logpdf(host(x), np.zeros(3), cov, allow_singular=True)
    np.testing.assert_allclose(got, want, rtol=1e-9)
    g = gg.grad(lambda v: stats.multivariate_normal.logpdf(v, None, c, True))(x[0])
    np.testing.assert_allclose(host(g), -np.linalg.pinv(cov, hermitian=True) @ on, rtol=1e-9)


@functools.cache
def by_jax(name):
    jax = pytest.importorskip("jax")
    args = DRAWN[name]
    with jax.enable_x64(True):
        f = getattr(jax.scipy.stats, name).logpdf
        g = jax.jit(jax.grad(lambda *a: f(*a).sum(), range(len(args))))
        return [np.asarray(v) for v in g(*args)]


@pytest.mark.parametrize("name", ["norm", "beta", "t"])
def test_against_jax(name, device):
    args = [to_device(a, device) for a in DRAWN[name]]
    f = getattr(stats, name).logpdf
    got = gg.grad(lambda *a: gnp.sum(f(*a)), tuple(range(len(args))))(*args)
    for g, w in zip(got, by_jax(name), strict=True):
        np.testing.assert_allclose(host(g), w, rtol=1e-9, atol=1e-12)
