"""Special functions: who reaches them, conventions at 0, what CuPy lacks, and JAX's gradients."""

from __future__ import annotations

import functools
import subprocess
import sys
import warnings

import numpy as np
import pytest
import scipy.special

import gpugrad as gg
import gpugrad.numpy as gnp
import gpugrad.scipy.special as special
from gpugrad.device import CPU, to_device

POSITIVE = np.array([0.3, 1.0, 2.5])


def host(a):
    return to_device(a._value if isinstance(a, gg.Array) else a, CPU)


def slope(f, x):
    with np.errstate(all="ignore"):
        return host(gg.elementwise_grad(f)(x))


@pytest.mark.parametrize("name", ["gamma", "gammaln", "psi", "erf", "ndtr", "expit", "i0e", "k1"])
def test_scipys_and_cupys_ufuncs_reach_ours(name, device):
    library = scipy.special
    if device.kind == "cuda":
        import cupyx.scipy.special as library
    x = to_device(POSITIVE, device)
    got = gg.grad(lambda v: gnp.sum(getattr(library, name)(v)))(x)
    want = gg.grad(lambda v: gnp.sum(getattr(special, name)(v)))(x)
    np.testing.assert_array_equal(host(got), host(want))


def test_a_ufunc_reaches_ours_before_ours_is_imported():
    code = (
        "import numpy as np, scipy.special, gpugrad as gg; "
        "print(gg.grad(lambda x: scipy.special.erf(x))(0.0))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert abs(float(out.stdout) - 2 / np.sqrt(np.pi)) < 1e-12


def test_what_has_no_rule_says_so_by_name():
    x = gg.Array(POSITIVE, requires_grad=True)
    with pytest.raises(AttributeError, match="'struve': SciPy has it"):
        special.struve
    with pytest.raises(TypeError, match="struve"):
        scipy.special.struve(0, x)
    for f in (scipy.special.logsumexp, scipy.special.softmax, scipy.special.multigammaln):
        with pytest.raises((TypeError, ValueError)):
            f(x, 1) if f is scipy.special.multigammaln else f(x)


@pytest.mark.filterwarnings("ignore")
def test_orders_and_degrees_at_their_ends(device):
    x = to_device(np.array([0.5, 3.0]), device)
    for n in (3, 170, 171, 1000):
        with np.errstate(all="ignore"):
            want = scipy.special.polygamma(n, host(x))
        np.testing.assert_allclose(host(special.polygamma(n, x)), want, rtol=1e-12)
    assert np.isnan(host(special.stdtr(0.0, x))).all()


def test_parameters_without_derivative_say_so():
    for f, at in (
        (lambda v: special.jv(v, 1.0), "'v'"),
        (lambda x: special.zeta(x, 1.0), "'x'"),
        (gg.grad(gg.grad(lambda a: special.gammainc(a, 1.0))), "its parameters.*no third ones"),
        (gg.grad(gg.grad(lambda b: special.betainc(1, b, 0.5))), "its parameters.*no third ones"),
    ):
        with pytest.raises(TypeError, match=f"with respect to {at}"):
            gg.grad(f)(1.5)
        with pytest.raises(TypeError, match=f"with respect to {at}"):
            gg.jvp(f, (1.5,), (1.0,))


A = np.array([0.05, 0.7, 3.0, 40.0, 500.0])


@pytest.mark.parametrize("name", ["gammainc", "gammaincc", "betainc", "stdtr"])
def test_parameters_of_incomplete_functions(name, device):
    """By differences of SciPy's, from one end of the distribution to the other."""
    ours, theirs = getattr(special, name), getattr(scipy.special, name)
    a = A[:, None] + np.zeros(6)
    if name == "stdtr":
        args, count = [a, np.array([-30.0, -2.0, -1e-3, 0.0, 0.5, 5.0]) + 0 * a], 1
    elif name == "betainc":
        args, count = [a, a[::-1] + 0.3, np.array([0, 0.01, 0.2, 0.5, 0.8, 1.0]) + 0 * a], 2
    else:
        args, count = [a, a * np.array([0, 0.01, 0.5, 1.0, 1.2, 5.0])], 1
    for i in range(count):
        step = 3e-3 * args[i] / (1 + np.sqrt(args[i]))

        def at(k, i=i, step=step):
            return theirs(*args[:i], args[i] + k * step, *args[i + 1 :])

        want = (45 * (at(1) - at(-1)) - 9 * (at(2) - at(-2)) + at(3) - at(-3)) / (60 * step)
        put = [to_device(x, device) for x in args]
        got = host(gg.grad(lambda *xs: gnp.sum(ours(*xs)), i)(*put))
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-8 * np.abs(want).max())
        narrow = [x.astype(np.float32) for x in put]
        low = gg.grad(lambda *xs: gnp.sum(ours(*xs)), i)(*narrow)
        assert low.dtype == np.float32
        np.testing.assert_allclose(host(low), want, rtol=1e-3, atol=1e-3 * np.abs(want).max())


# By mpmath: aa, ab, bb; the second pair lies right of the mean, where the other series is.
BENT = {
    (2.0, 3.0, 0.3): [
        [0.131801867172778, -0.0302866389660753],
        [-0.0302866389660753, -0.00950362562588979],
    ],
    (2.0, 3.0, 0.8): [
        [-0.011648450021752, 0.0288448089566825],
        [0.0288448089566825, -0.0498550934371059],
    ],
    (200.0, 300.0, 0.38): [
        [0.000784592651835419, -0.000477796966955109],
        [-0.000477796966955109, 0.000289611169458966],
    ],
}


@pytest.mark.parametrize(("a", "b", "x"), BENT)
def test_second_derivatives_of_the_incomplete_beta_function(a, b, x, device):
    at = to_device(np.array([a, b]), device)
    got = host(gg.hessian(lambda v: special.betainc(v[0], v[1], x))(at))
    np.testing.assert_allclose(got, BENT[a, b, x], rtol=1e-11)


def test_second_derivatives_of_the_incomplete_gamma_function(device):
    a, x = to_device(np.array([0.3, 5.0, 500.0]), device), np.array([0.1, 3.0, 480.0])
    f = gg.elementwise_grad(gg.elementwise_grad(special.gammainc))
    np.testing.assert_allclose(
        host(f(a, to_device(x, device))),
        [2.05197750671167, 0.0695627623737943, 0.000492955809261514],
        rtol=1e-11,
    )


def test_cupy_has_no_fractional_orders(cuda):
    x = gg.Array(cuda.ones(2))
    with pytest.raises(RuntimeError, match="fractional orders"):
        special.iv(0.5, x)
    with pytest.raises(RuntimeError, match="no dawsn"):
        special.dawsn(x)


def test_orders_on_cuda_over_the_whole_range(cuda):
    x = np.concatenate([[0.0], np.geomspace(1e-12, 600, 40)])
    for name, n in (("ive", 0), ("ive", 1), ("ive", 3), ("ive", 20), ("jv", 4), ("kve", 3)):
        at = x[1:] if name == "kve" else x
        got = host(getattr(special, name)(n, gg.Array(cuda.asarray(at))))
        np.testing.assert_allclose(got, getattr(scipy.special, name)(n, at), rtol=1e-9, atol=1e-15)


ZERO = np.array([0.0, 0.5])


def test_conventions_at_zero(device):
    x = to_device(ZERO, device)
    one = to_device(np.ones(2), device)
    inf = np.inf
    both = {
        "xlogy": ([0, np.log(0.5)], [0, 0.5]),
        "rel_entr": ([-inf, np.log(0.5) + 1], [0, -0.5]),
        "kl_div": ([-inf, np.log(0.5)], [1, 0.5]),
    }
    for name, (by_x, by_y) in both.items():
        f = getattr(special, name)
        at = (x, one) if name != "xlogy" else (x, x)
        got_x = slope(lambda v, f=f, w=at[1]: f(v, w), at[0])
        got_y = slope(lambda w, f=f, v=at[0]: f(v, w), at[1])
        if name == "xlogy":
            by_x, by_y = [-inf, np.log(0.5)], [0, 1]
        np.testing.assert_allclose(got_x, by_x, err_msg=name)
        np.testing.assert_allclose(got_y, by_y, err_msg=name)
    np.testing.assert_allclose(slope(special.entr, x), [inf, -np.log(0.5) - 1])
    for name in ("rel_entr", "kl_div"):
        f = getattr(special, name)
        assert host(f(gg.Array(x), gg.Array(x))).tolist() == [0, 0]
        assert slope(lambda w, f=f: f(x, w), x)[0] == (0 if name == "rel_entr" else 1)
    for name in ("j1", "i1", "i1e"):
        f = getattr(special, name)
        assert abs(slope(f, x)[0] - 0.5) < 1e-12
        assert abs(slope(lambda v, f=f: gg.elementwise_grad(f)(v), x)[0]) < 1e-12


def test_logsumexp_of_infinities_and_factors(device):
    inf = np.inf
    a = to_device(np.array([-inf, 1.0, 2.0]), device)
    b = to_device(np.array([5.0, 0.0, 1.0]), device)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        g_a = gg.grad(lambda a: special.logsumexp(a, b=b))(a)
    np.testing.assert_allclose(host(g_a), [0, 0, 1], atol=1e-15)
    assert abs(float(special.logsumexp(a, b=b)) - 2) < 1e-15
    value, sign = special.logsumexp(gg.Array(a), b=gg.Array(-b), return_sign=True)
    assert (value.item(), sign.item()) == (2.0, -1.0)
    assert special.logsumexp(to_device(np.array([-inf]), device)) == -inf


@pytest.mark.filterwarnings("ignore:divide by zero")
@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0)])
def test_logsumexp_of_nothing(shape, device):
    x = to_device(np.zeros(shape), device)
    for how in ({}, {"axis": 0}, {"axis": -1}, {"axis": -1, "keepdims": True}):
        want = np.log(np.sum(np.zeros(shape), **how))
        np.testing.assert_array_equal(host(special.logsumexp(x, **how)), want)
        np.testing.assert_array_equal(host(special.logsumexp(x, b=x, **how)), want)
    assert gg.grad(lambda x: gnp.sum(special.logsumexp(x, axis=0)))(x).shape == shape
    assert special.logsumexp([]) == -np.inf


def test_logsumexp_of_numbers_lists_and_complex_numbers():
    assert (special.logsumexp(2.0), special.softmax(2.0), special.log_softmax(2.0)) == (2, 1, 0)
    assert gg.grad(special.logsumexp)(2.0) == 1
    assert special.logsumexp([np.inf, 1.0], b=[0, 1]) == 1
    z = np.array([1 + 2j, 3.0, 0.5 - 1j])
    for b in (None, [1.0, -2.0, 0.5]):
        got = special.logsumexp(z, b=b, return_sign=True)
        for g, w in zip(got, scipy.special.logsumexp(z, b=b, return_sign=True), strict=True):
            assert g.dtype == w.dtype
            np.testing.assert_allclose(g, w, rtol=1e-14)


def test_rgamma_at_the_poles_of_gamma(device):
    """``(-1)**n n!`` at -n, and the second derivative of the series 5.7.1 at 0."""
    x = to_device(np.array([0.0, -1.0, -2.0, -3.0, -4.0]), device)
    np.testing.assert_allclose(slope(special.rgamma, x), [1, -1, 2, -6, 24], rtol=1e-14)
    second = slope(gg.elementwise_grad(special.rgamma), x)
    np.testing.assert_allclose(second[0], 2 * np.euler_gamma, rtol=1e-14)
    z = np.array([-1 + 0.5j, 2 - 0.3j])
    got = gg.vjp(special.rgamma, z)[1](np.ones(2, complex))[0]
    h = 1e-6
    want = (scipy.special.rgamma(z + h) - scipy.special.rgamma(z - h)) / (2 * h)
    np.testing.assert_allclose(got, want, rtol=1e-8)


# By mpmath: the first and the second derivative.
FAR = {
    ("erfcx", 200.0): (-1.4104210694014422e-05, 1.4103681832387135e-07),
    ("erfcx", 1e5): (-5.641895834631278e-11, 1.1283791667569989e-15),
    ("dawsn", -750.0): (-8.888912592697943e-07, -2.3703830124299595e-09),
    ("dawsn", 1e5): (-5.00000000075e-11, 1.0000000003e-15),
    ("log_ndtr", -1e5): (100000.00001, -0.9999999999),
    ("log_ndtr", -200.0): (200.00499975003124, -0.999975003749219),
    ("log_ndtr", 10.0): (7.694598626706419e-23, -7.694598626706419e-22),
    ("i0e", 750.0): (-9.716403457612364e-06, 1.943929750957238e-08),
    ("i1e", -750.0): (-9.696964160102792e-06, -1.9374478194184886e-08),
    ("j1", 1e-12): (0.5, -3.75e-13),
    ("i1", 1e-200): (0.5, 3.75e-201),
    ("j1", 0.099): (0.4981635629185610, -0.03707448525889461),
}


@pytest.mark.parametrize(("name", "x"), FAR)
def test_derivatives_where_formulas_cancel(name, x, device):
    if name == "dawsn" and device.kind == "cuda":
        return  # which CuPy lacks
    f = getattr(special, name)
    at = to_device(np.array([x]), device)
    first, second = slope(f, at)[0], slope(gg.elementwise_grad(f), at)[0]
    np.testing.assert_allclose([first, second], FAR[name, x], rtol=1e-7)
    assert abs(slope(gg.elementwise_grad(gg.elementwise_grad(f)), at)[0]) < 2


def test_scaled_bessel_functions_far_out(device):
    x = np.concatenate([-np.geomspace(1e-3, 1e300, 60), [0, 29.9, 30.1, np.inf, np.nan]])
    for name in ("i0e", "i1e"):
        want = getattr(scipy.special, name)(x)
        got = host(getattr(special, name)(to_device(x, device)))
        np.testing.assert_allclose(got, want, rtol=1e-13)
        narrow = np.clip(x, -1e30, 1e30).astype(np.float32)
        low = host(getattr(special, name)(to_device(narrow, device)))
        assert low.dtype == np.float32
        np.testing.assert_allclose(low, getattr(scipy.special, name)(narrow), rtol=1e-5)
    x = np.concatenate([np.geomspace(1e-3, 1e300, 60), [29.9, 30.1, np.inf, np.nan]])
    for name in ("k0e", "k1e"):
        want = getattr(scipy.special, name)(x)
        got = host(getattr(special, name)(to_device(x, device)))
        np.testing.assert_allclose(got, want, rtol=1e-12)
    far = np.array([800.0, 900.0])
    for name in ("ive", "kve"):
        want = getattr(scipy.special, name)(3, far)
        np.testing.assert_allclose(host(getattr(special, name)(3, to_device(far, device))), want)


def test_log_ndtr_far_out(device):
    x = to_device(np.array([-1e3, -30.0, 0.0, 40.0, 1e3]), device)
    want = np.array([1000.001, 30.033259667433677, 0.7978845608028654, 0, 0])
    np.testing.assert_allclose(slope(special.log_ndtr, x), want, rtol=1e-7, atol=1e-300)


def test_integers_and_numbers(device):
    n = gg.Array(to_device(np.array([1, 2, 5]), device))
    assert special.gammaln(n).dtype == np.float64
    np.testing.assert_allclose(host(special.gamma(n)), [1, 1, 24])
    assert special.gamma(5.0) == 24
    x = to_device(np.array([0.5, 2], np.float32), device)
    assert gg.elementwise_grad(lambda v: special.gammainc(1.5, v))(x).dtype == np.float32
    assert special.multigammaln(gg.Array(x) + 2, 2).dtype == np.float32
    with pytest.raises(ValueError, match="at least 1"):
        special.multigammaln(x, 0)


def test_complex_arguments_that_have_no_rule_say_so():
    z = np.array([0.3 + 0.4j, -1.2 + 0.7j])
    np.testing.assert_allclose(special.zeta(z), scipy.special.zeta(z), rtol=1e-12)
    np.testing.assert_allclose(special.ive(2, z), scipy.special.ive(2, z), rtol=1e-12)
    for f, what in (
        (special.digamma, "digamma has no derivative"),
        (lambda z: special.ive(2, z), "exp"),
    ):
        with pytest.raises(TypeError, match=what):
            gg.vjp(f, z)[1](np.ones(2, complex))
    with pytest.raises(TypeError, match="no complex"):
        special.zeta(z, 2.0)


@pytest.mark.parametrize("name", ["erf", "exp1", "log_ndtr", "j0", "i0e", "k1e", "zeta", "ndtr"])
def test_cupy_takes_no_complex_numbers(name, cuda):
    with pytest.raises(TypeError, match="takes no complex numbers"):
        getattr(special, name)(cuda.ones(2, complex))
    for ordered in ("jv", "yv", "iv", "kve"):
        with pytest.raises(TypeError, match="takes no complex numbers"):
            getattr(special, ordered)(2, cuda.ones(2, complex))


M = np.array([[0.5, -1.0, 2.0], [1.0, 0.0, -2.0]])
B = np.array([[1.0, 0.0, 0.5], [0.2, 1.0, 2.0]])
PAIR = (POSITIVE, POSITIVE[::-1] + 0.2)
BY_JAX = {
    **dict.fromkeys(("gammaln", "digamma", "erf", "erfc", "ndtr", "log_ndtr"), (POSITIVE,)),
    **dict.fromkeys(("i0", "i1", "i0e", "i1e", "entr", "expit"), (POSITIVE,)),
    **dict.fromkeys(("erfinv", "logit", "ndtri"), (POSITIVE / 3,)),
    **dict.fromkeys(("xlogy", "xlog1py", "rel_entr", "kl_div", "betaln", "beta"), PAIR),
}
BY_JAX_TOO = {
    "logsumexp": (lambda m, a, b: m.logsumexp(a, b=b), (M, B)),
    "logsumexp by rows": (lambda m, a, b: m.logsumexp(a, axis=1, b=b, keepdims=True) * b, (M, B)),
    "multigammaln": (lambda m, a: m.multigammaln(a + 5, 3), (M,)),
    "zeta": (lambda m, a: m.zeta(3.0, a + 3), (M,)),
}
COMPARED = {
    **{n: (lambda m, *xs, n=n: getattr(m, n)(*xs), xs) for n, xs in BY_JAX.items()},
    **BY_JAX_TOO,
}


@functools.cache
def by_jax(name):
    """The value and gradients of the sum; once for both devices, as JAX compiles."""
    jax = pytest.importorskip("jax")
    f, xs = COMPARED[name]
    with jax.enable_x64(True):
        both = jax.value_and_grad(lambda *xs: f(jax.scipy.special, *xs).sum(), range(len(xs)))
        return jax.tree.map(np.asarray, jax.jit(both)(*xs))


@pytest.mark.parametrize("name", COMPARED)
def test_against_jax(name, device):
    f, xs = COMPARED[name]
    want, want_g = by_jax(name)
    with np.errstate(all="ignore"):
        got, got_g = gg.value_and_grad(lambda *xs: gnp.sum(f(special, *xs)), tuple(range(len(xs))))(
            *[to_device(x, device) for x in xs]
        )
    np.testing.assert_allclose(host(got), want, rtol=1e-9)
    for g, w in zip(got_g, want_g, strict=True):
        np.testing.assert_allclose(host(g), w, rtol=1e-8, atol=1e-12)
