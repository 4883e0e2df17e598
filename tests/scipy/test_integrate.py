"""odeint: SciPy's values, and derivatives by start, times and arguments in every mode."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.integrate

import gpugrad as gg
import gpugrad.numpy as gnp
from gpugrad.device import CPU, to_device
from gpugrad.scipy import dormand_prince
from gpugrad.scipy.integrate import odeint

Y0 = np.array([0.7, -0.3])
T = np.array([0.0, 0.4, 1.0])
DAMPING = np.array([0.3])


def pendulum(y, t, damping, pull):
    """With an explicit time, so that its derivative is felt."""
    return gnp.stack([y[1], -damping[0] * y[1] * (1 + t) - pull * gnp.sin(y[0])])


def by_scipy(y0, t, damping, pull):
    def slope(y, t):
        return [y[1], -damping[0] * y[1] * (1 + t) - pull * np.sin(y[0])]

    return scipy.integrate.odeint(slope, y0, t, rtol=1e-11, atol=1e-11)


def host(a):
    return to_device(a._value if isinstance(a, gg.Array) else a, CPU)


def put(device, *arrays):
    return [to_device(np.asarray(a), device) for a in arrays]


ARGS = (Y0, T, DAMPING, np.array(1.7))
WEIGHTS = np.random.default_rng(0).normal(size=(3, 2))
ALONG = [np.array([0.3, -1.0]), np.array([0.2, -0.5, 0.7]), np.array([0.6]), np.array(-0.4)]


def loss(y0, t, damping, pull):
    weights = to_device(WEIGHTS, y0.device if isinstance(y0, gg.Array) else CPU)
    return gnp.sum(weights * odeint(pendulum, y0, t, (damping, pull)))


def central(f, step=1e-3):
    near, far = f(step) - f(-step), f(2 * step) - f(-2 * step)
    return (8 * near - far) / (12 * step)


def moved(s):
    return [x + s * v for x, v in zip(ARGS, ALONG, strict=True)]


def test_value(device):
    y = odeint(pendulum, *put(device, Y0, T), tuple(put(device, *ARGS[2:])))
    np.testing.assert_allclose(host(y), by_scipy(*ARGS), atol=2e-7)
    back = odeint(pendulum, y[-1], to_device(T[::-1].copy(), device), tuple(put(device, *ARGS[2:])))
    np.testing.assert_allclose(host(back[-1]), Y0, atol=1e-6)


def test_gradient(device):
    xs = [gg.Array(x) for x in put(device, *ARGS)]
    gs = gg.grad(loss, (0, 1, 2, 3))(*xs)
    for i, (g, x) in enumerate(zip(gs, ARGS, strict=True)):
        assert host(g).shape == x.shape
        want = central(
            lambda s, i=i: np.sum(
                WEIGHTS * by_scipy(*[*ARGS[:i], ARGS[i] + s * ALONG[i], *ARGS[i + 1 :]])
            )
        )
        np.testing.assert_allclose(np.sum(host(g) * ALONG[i]), want, rtol=1e-6)


def test_forward_and_reverse_agree(device):
    xs, vs = [gg.Array(x) for x in put(device, *ARGS)], [gg.Array(v) for v in put(device, *ALONG)]
    _, t = gg.jvp(loss, xs, vs)
    gs = gg.grad(loss, (0, 1, 2, 3))(*xs)
    want = sum(float(np.sum(host(g) * v)) for g, v in zip(gs, ALONG, strict=True))
    np.testing.assert_allclose(float(host(t)), want, rtol=1e-6)


def test_second_derivatives():
    """By each pair of modes, against differences of the gradient."""

    def gradient(*xs):
        return gg.grad(loss, (0, 1, 2, 3))(*xs)

    want = central(
        lambda s: np.sum([np.sum(g * v) for g, v in zip(gradient(*moved(s)), ALONG, strict=True)])
    )

    def along(*xs):
        return gg.jvp(loss, list(xs), ALONG)[1]

    found = {
        "jvp of grad": gg.jvp(gradient, list(ARGS), ALONG)[1],
        "grad of grad": gg.vjp(gradient, *ARGS)[1](tuple(ALONG)),
        "grad of jvp": gg.grad(along, (0, 1, 2, 3))(*ARGS),
    }
    for what, parts in found.items():
        got = sum(np.sum(p * v) for p, v in zip(parts, ALONG, strict=True))
        np.testing.assert_allclose(got, want, rtol=1e-5, err_msg=what)
    got = gg.jvp(along, list(ARGS), ALONG)[1]
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_hessian_of_a_known_solution(device):
    def left(rate):
        y0, t = put(device, np.array([2.0]), np.array([0.0, 1.5]))
        return odeint(lambda y, t, rate: -rate * y, y0, t, (rate,))[-1, 0]

    rate = to_device(np.array(0.5), device)
    want = 2 * 1.5**2 * np.exp(-0.75)
    np.testing.assert_allclose(host(gg.grad(gg.grad(left))(rate)), want, rtol=1e-6)


def test_vmap(device):
    y0, t, damping, pull = put(device, np.stack([Y0, Y0 + 1]), T, DAMPING, np.array([1.7, 0.4]))

    def one(y0, pull):
        return odeint(pendulum, y0, t, (damping, pull))

    got = host(gg.vmap(one)(y0, pull))
    want = np.stack([host(one(y0[i], pull[i])) for i in range(2)])
    np.testing.assert_allclose(got, want, atol=1e-6)

    def gradient(y0, pull):
        return gg.grad(lambda y0, pull: one(y0, pull)[-1, 0], (0, 1))(y0, pull)

    for got, parts in zip(
        gg.vmap(gradient)(y0, pull),
        zip(*[gradient(y0[i], pull[i]) for i in range(2)], strict=True),
        strict=True,
    ):
        np.testing.assert_allclose(host(got), np.stack([host(p) for p in parts]), atol=1e-6)
    times = to_device(np.stack([T, T * 2]), device)
    got = host(gg.vmap(lambda t: odeint(pendulum, y0[0], t, (damping, pull[0])))(times))
    np.testing.assert_allclose(got[0], want[0], atol=1e-6)


def test_pytrees(device):
    """A state and arguments of several arrays, of any shape."""
    x, v = put(device, np.ones((2, 2)), np.zeros((2, 2)))
    constants = {"k": to_device(np.array(2.0), device), "unused": [3, "text"]}

    def slope(state, t, constants):
        return {"x": state["v"], "v": -constants["k"] * state["x"]}

    def end(state, constants):
        t = to_device(np.array([0.0, 0.3, 0.9]), device)
        out = odeint(slope, state, t, (constants,))
        assert out["x"].shape == (3, 2, 2)
        return gnp.sum(out["x"][-1])

    root = np.sqrt(2)
    state = {"x": x, "v": v}
    np.testing.assert_allclose(float(end(state, constants)), 4 * np.cos(root * 0.9), rtol=1e-6)
    g = gg.grad(end)(state, constants)
    np.testing.assert_allclose(host(g["x"]), np.cos(root * 0.9) * np.ones((2, 2)), rtol=1e-6)
    np.testing.assert_allclose(host(g["v"]), np.sin(root * 0.9) / root * np.ones((2, 2)), rtol=1e-6)
    g = gg.grad(lambda k: end(state, {"k": k, "unused": []}))(constants["k"])
    want = -4 * np.sin(root * 0.9) * 0.9 / (2 * root)
    np.testing.assert_allclose(host(g), want, rtol=1e-6)


def test_scipys_habits():
    """Lists for arrays, numbers in args, the time first; floats are differentiated too."""
    t = [0.0, 0.5]
    want = scipy.integrate.odeint(lambda y, t, a: [y[1], -a * y[0]], [1.0, 0.0], t, (3.0,))
    y = odeint(lambda y, t, a: [y[1], -a * y[0]], [1.0, 0.0], t, (3.0,))
    np.testing.assert_allclose(y, want, atol=1e-7)
    y = odeint(lambda t, y, a: [y[1], -a * y[0]], [1.0, 0.0], t, (3.0,), tfirst=True)
    np.testing.assert_allclose(y, want, atol=1e-7)

    def end(a):
        return odeint(lambda y, t, a: [y[1], -a * y[0]], [1.0, 0.0], t, (a,))[-1, 0]

    np.testing.assert_allclose(
        gg.grad(end)(3.0), -np.sin(np.sqrt(3) / 2) / (4 * np.sqrt(3)), rtol=1e-6
    )


def decay(y, t, rate=1.0):
    return -rate * y


@pytest.mark.parametrize("t", [[0.0], [0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
def test_the_same_time_again(t, device):
    y0, rate, times = put(device, Y0, np.array(0.5), np.array(t))
    want = np.exp(-0.5 * np.array(t)[:, None]) * Y0
    np.testing.assert_allclose(host(odeint(decay, y0, times, (rate,))), want, rtol=1e-6)
    g = gg.grad(lambda y0: gnp.sum(odeint(decay, y0, times, (rate,))))(y0)
    np.testing.assert_allclose(host(g), np.exp(-0.5 * np.array(t)).sum() * np.ones(2), rtol=1e-6)
    _, s = gg.jvp(lambda rate: odeint(decay, y0, times, (rate,)), (rate,), (rate * 0 + 1,))
    np.testing.assert_allclose(host(s), -np.array(t)[:, None] * want, rtol=1e-6, atol=1e-9)


def test_times_and_starts_of_numbers_follow_the_others(device):
    y0, rate = put(device, Y0, np.array(0.5))
    times = [0.0, 0.5, 1.0]
    want = odeint(decay, y0, to_device(np.array(times), device), (rate,))
    for given in (times, tuple(times), np.linspace(0, 1, 3)):
        got = odeint(decay, y0, given, (rate,))
        assert type(got) is type(y0)
        np.testing.assert_array_equal(host(got), host(want))
        g = gg.grad(lambda y0: gnp.sum(odeint(decay, y0, given, (rate,))))(y0)  # noqa: B023
        assert type(g) is type(y0)
    for start in (Y0.tolist(), tuple(Y0.tolist())):
        np.testing.assert_array_equal(host(odeint(decay, start, times, (rate,))), host(want))
    assert type(odeint(decay, 0.7, times, (rate,))) is type(y0)


def test_arrays_of_two_devices_are_refused(cuda):
    with pytest.raises(gg.DeviceError, match="odeint"):
        odeint(decay, Y0, [0.0, 1.0], (cuda.asarray(0.5),))


def test_what_scipy_takes_and_we_do_not_is_named():
    with pytest.raises(TypeError, match=r"odeint: full_output, hmax= is not supported.*mxstep"):
        odeint(decay, Y0, T, full_output=True, hmax=0.1)


def test_a_number_is_a_state_of_one_component_in_hips_name():
    from gpugrad.compat.autograd.scipy.integrate import odeint as compat

    want = scipy.integrate.odeint(decay, 0.7, T)
    for y0 in (0.7, np.array(0.7), [0.7]):
        np.testing.assert_allclose(compat(decay, y0, T), want, rtol=1e-6)
    g = gg.grad(lambda y0: gnp.sum(compat(decay, y0, T)))(0.7)
    np.testing.assert_allclose(g, np.exp(-T).sum(), rtol=1e-6)


def test_backward_on_arrays(device):
    rate = gg.Array(to_device(np.array(0.5), device), requires_grad=True)
    y0, t = put(device, np.array([2.0]), np.array([0.0, 1.5]))
    y = odeint(lambda y, t, rate: -rate * y, y0, t, (rate,))[-1, 0]
    y.backward(create_graph=True)
    np.testing.assert_allclose(host(rate.grad), -1.5 * 2 * np.exp(-0.75), rtol=1e-6)
    rate.grad.backward()
    want = (-1.5 + 1.5**2) * 2 * np.exp(-0.75)  # the second derivative is added to the first
    np.testing.assert_allclose(host(rate.grad), want, rtol=1e-6)


def test_float32(device):
    y0, t, damping, pull = put(device, *[x.astype(np.float32) for x in ARGS])
    gs = gg.grad(
        lambda y0, damping, pull: gnp.sum(odeint(pendulum, y0, t, (damping, pull))), (0, 1, 2)
    )(y0, damping, pull)
    wide = gg.grad(lambda y0, d, p: gnp.sum(odeint(pendulum, y0, T, (d, p))), (0, 1, 2))(
        ARGS[0], *ARGS[2:]
    )
    for g, w in zip(gs, wide, strict=True):
        assert g.dtype == np.float32
        np.testing.assert_allclose(host(g), w, rtol=1e-3)


def test_a_stiff_equation_forward():
    """Van der Pol's with a large constant: an explicit method needs some 1e5 steps for it."""
    y0, t = np.array([2.0, 0.0]), np.array([0.0, 100.0])

    def slope(y, t, mu):
        return gnp.stack([y[1], mu * ((1 - y[0] ** 2) * y[1]) - y[0]])

    def end(mu):
        return odeint(slope, y0, t, (mu,), mxstep=5000)[-1, 0]

    mu = np.array(1000.0)
    want = (end(mu + 1) - end(mu - 1)) / 2
    np.testing.assert_allclose(gg.jvp(end, (mu,), (np.array(1.0),))[1], want, rtol=1e-3)


def test_steps_are_as_long_as_the_tolerance_allows():
    """Dormand and Prince's method by itself: the error asked for, at the price of order 5."""
    for rtol, most in ((1e-4, 120), (1e-8, 700)):
        calls = []

        def slope(y, t, calls=calls):
            calls.append(t)
            return np.stack([y[1], -y[0]])

        times = [0.0, 3.0, 10.0]
        y = dormand_prince.solve(np, slope, np.array([0.0, 1.0]), times, rtol, rtol, 1000)
        error = np.abs(y[:, 0] - np.sin(times)).max()
        assert error < 30 * rtol
        assert len(calls) < most
    assert error > 1e-3 * rtol  # the last tolerance is felt


def test_errors(device):
    y0, t = put(device, np.array([1.0]), np.array([0.0, 1.0]))
    with pytest.raises(TypeError, match="closes over"):
        gg.grad(lambda a: odeint(lambda y, t: -a * y, y0, t)[-1, 0])(
            to_device(np.array(1.0), device)
        )
    with pytest.raises(ValueError, match="look like y0"):
        odeint(lambda y, t: gnp.concatenate([y, y]), y0, t)
    with pytest.raises(TypeError, match="complex"):
        odeint(lambda y, t: y, y0 * 1j, t)
    with pytest.raises(ZeroDivisionError):
        odeint(lambda y, t: 1 / 0, y0, t)
    with pytest.raises(RuntimeError, match="odeint stopped"), np.errstate(all="ignore"):
        odeint(lambda y, t: y**2, y0, t * 2, mxstep=50)


def test_as_hips_autograd():
    autograd = pytest.importorskip("autograd")
    import autograd.numpy as anp
    from autograd.builtins import tuple as boxed
    from autograd.scipy.integrate import odeint as theirs

    def slope(y, t, damping, pull):
        return anp.array([y[1], -damping[0] * y[1] * (1 + t) - pull * anp.sin(y[0])])

    for i in range(4):
        want = autograd.grad(lambda *a: anp.sum(WEIGHTS * theirs(slope, *a[:2], boxed(a[2:]))), i)(
            *ARGS
        )
        np.testing.assert_allclose(gg.grad(loss, i)(*ARGS), want, rtol=1e-5, atol=1e-6)
