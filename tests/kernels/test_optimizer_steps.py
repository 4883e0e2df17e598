"""Optimizer steps against torch.optim over several steps, and what CUDA graphs need of them."""

from __future__ import annotations

import functools

import ml_dtypes
import numpy as np
import pytest
from gpugrad.kernels import optimizer
from gpugrad.kernels.adafactor import adafactor as adafactor_step
from gpugrad.kernels.average import average, average_samples

import gpugrad as gg
from gpugrad import optim
from gpugrad.device import CPU, to_device

SHAPES = [(5,), (), (0,), (4099,), (67, 130)]


def host(a):
    return np.asarray(to_device(a, CPU))


def arrays(rng, dtype, shapes=SHAPES):
    return [np.asarray(rng.standard_normal(s)).astype(dtype) for s in shapes]


def adam_numbers(p, g, s, t, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, **options):
    apart = options.get("decoupled_weight_decay", False)
    g = g + (0 if apart else weight_decay * p)
    s[0] = betas[0] * s[0] + (1 - betas[0]) * g
    s[1] = betas[1] * s[1] + (1 - betas[1]) * g * g
    v = s[1]
    if len(s) == 3:
        s[2] = v = np.maximum(v, s[2])
    p = p * (1 - lr * weight_decay if apart else 1)
    root = np.sqrt(v / (1 - betas[1] ** t))
    return p - lr / (1 - betas[0] ** t) * s[0] / (root + eps)


def sgd_numbers(p, g, s, t, lr=1e-3, momentum=0, dampening=0, weight_decay=0, nesterov=False):
    g = g + weight_decay * p
    if s:
        s[0] = g if t == 1 else momentum * s[0] + (1 - dampening) * g
        g = g + momentum * s[0] if nesterov else s[0]
    return p - lr * g


def adagrad_numbers(p, g, s, t, lr=1e-2, lr_decay=0, weight_decay=0, eps=1e-10):
    g = g + weight_decay * p
    s[0] = s[0] + g * g
    return p - lr / (1 + (t - 1) * lr_decay) * g / (np.sqrt(s[0]) + eps)


def rmsprop_numbers(
    p, g, s, t, lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0, momentum=0, centered=False
):
    g = g + weight_decay * p
    s[0] = alpha * s[0] + (1 - alpha) * g * g
    v = s[0]
    if centered:
        s[1] = alpha * s[1] + (1 - alpha) * g
        v = v - s[1] ** 2
    u = g / (np.sqrt(v) + eps)
    if momentum:
        u = s[-1] = momentum * s[-1] + u
    return p - lr * u


def lion_numbers(p, g, s, t, lr=1e-4, betas=(0.9, 0.99), weight_decay=0):
    u = betas[0] * s[0] + (1 - betas[0]) * g
    s[0] = betas[1] * s[0] + (1 - betas[1]) * g
    return p * (1 - lr * weight_decay) - lr * np.sign(u)


RULES = {"sgd": sgd_numbers, "adam": adam_numbers, "adagrad": adagrad_numbers}
RULES |= {"rmsprop": rmsprop_numbers, "lion": lion_numbers}

# name, number of states, options, PyTorch's class
CASES = [
    ("sgd", 0, {}, "SGD"),
    ("sgd", 0, {"weight_decay": 0.1, "maximize": True}, "SGD"),
    ("sgd", 1, {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}, "SGD"),
    ("sgd", 1, {"momentum": 0.8, "nesterov": True}, "SGD"),
    ("adam", 2, {}, "Adam"),
    ("adam", 2, {"weight_decay": 0.1, "betas": (0.8, 0.9), "eps": 1e-3}, "Adam"),
    ("adam", 3, {"lr": 0.1}, "Adam"),
    ("adam", 2, {"weight_decay": 0.1, "decoupled_weight_decay": True}, "Adam"),
    ("adagrad", 1, {"lr_decay": 0.1, "weight_decay": 0.1}, "Adagrad"),
    ("rmsprop", 1, {"weight_decay": 0.1}, "RMSprop"),
    ("rmsprop", 2, {"momentum": 0.9, "alpha": 0.9}, "RMSprop"),
    ("rmsprop", 2, {"centered": True}, "RMSprop"),
    ("rmsprop", 3, {"centered": True, "momentum": 0.5}, "RMSprop"),
    ("lion", 1, {"weight_decay": 0.1, "lr": 0.01}, None),
]
each_case = pytest.mark.parametrize(
    ("name", "states", "options", "torch_name"), CASES, ids=[f"{c[0]}{c[1]}{c[2]}" for c in CASES]
)


def take_step(name, params, grads, states, step, options, **common):
    """Call the public function with its states in its own places."""
    options = {**options, **common}
    f = getattr(optimizer, name)
    if name == "sgd":
        f(params, grads, states[0] if states else None, step, **options)
    elif name == "adam":
        f(params, grads, *states[:2], step, *states[2:], **options)
    elif name == "rmsprop":
        centered = options.pop("centered", False)
        rest = [states[1] if centered else None, states[-1] if "momentum" in options else None]
        f(params, grads, states[0], step, *rest, **options)
    else:
        f(params, grads, *states, step, **options)


def run(name, states, options, dtype, device, steps=3, **common):
    rng = np.random.default_rng(0)
    start = arrays(rng, dtype)
    grads = [arrays(rng, dtype) for _ in range(steps)]
    wide = np.float64 if dtype == np.float64 else np.float32
    params = [to_device(p.copy(), device) for p in start]
    kept = [[to_device(np.zeros(p.shape, wide), device) for p in start] for _ in range(states)]
    step = to_device(np.zeros(1, np.int64), device)
    for g in grads:
        take_step(name, params, [to_device(a, device) for a in g], kept, step, options, **common)
    assert host(step).tolist() == [steps]
    return start, grads, [host(p) for p in params], kept


def expected(name, states, options, start, grads):
    options = dict(options)
    sign = -1 if options.pop("maximize", False) else 1
    out = []
    for t, p in enumerate(start):
        p, s = p.astype(np.float64), [np.zeros(p.shape)] * states
        for n, g in enumerate(grads):
            p = RULES[name](p, sign * g[t].astype(np.float64), s, n + 1, **options)
        out.append(p)
    return out


@each_case
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_as_the_rule_written_out(device, name, states, options, torch_name, dtype):
    dtype = np.dtype(dtype)
    start, grads, got, _ = run(name, states, options, dtype, device)
    tol = 2e-6 if dtype == np.float32 else 1e-13
    for a, b in zip(got, expected(name, states, options, start, grads)):
        np.testing.assert_allclose(a, b, rtol=tol, atol=tol)


@pytest.mark.parametrize(("name", "states", "options", "torch_name"), CASES[:-1])
def test_as_torch(name, states, options, torch_name):
    torch = pytest.importorskip("torch")
    start, grads, got, _ = run(name, states, options, np.dtype("float64"), CPU, steps=4)
    params = [torch.tensor(p, requires_grad=True) for p in start]
    options = {"lr": {"RMSprop": 1e-2, "Adagrad": 1e-2}.get(torch_name, 1e-3), **options}
    if name == "adam" and states == 3:
        options["amsgrad"] = True
    optim = getattr(torch.optim, torch_name)(params, **options)
    for g in grads:
        for p, a in zip(params, g):
            p.grad = torch.tensor(a)
        optim.step()
    for a, p in zip(got, params):
        np.testing.assert_allclose(a, p.detach().numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16], ids=["float16", "bfloat16"])
def test_narrow_parameters_keep_wide_states(device, dtype):
    dtype = np.dtype(dtype)
    start, grads, got, kept = run("adam", 2, {"lr": 0.1}, dtype, device, steps=1)
    want = expected("adam", 2, {"lr": 0.1}, start, grads)
    assert {a.dtype.name for s in kept for a in s} == {"float32"}
    for a, b in zip(got, want):
        assert a.dtype == dtype
        eps = float(ml_dtypes.finfo(dtype).eps)
        np.testing.assert_allclose(a.astype("f8"), b, rtol=eps, atol=eps / 8)


def test_views_and_strides(device, xp):
    base = np.arange(10000, dtype="f4") / 1000
    p = to_device(base.copy(), device)
    square = xp.ones((60, 60), "f4")
    params = [p[1:5000], p[5001:9999:2], square.T[::2]]
    grads = [xp.ones(4999, "f4"), xp.ones(2499, "f4")[:], xp.ones((60, 30), "f4").T]
    step = xp.zeros(1, "i8")
    optimizer.sgd(params, grads, None, step, lr=1.0)
    want = base.copy()
    want[1:5000] -= 1
    want[5001:9999:2] -= 1
    np.testing.assert_array_equal(host(p), want)
    assert host(square)[:, ::2].max() == 0
    assert host(square)[:, 1::2].min() == 1


def test_two_dtypes_count_one_step(device, xp):
    params = [xp.ones(3, "f4"), xp.ones(2, "f8")]
    step = xp.zeros(1, "i8")
    states = [[xp.zeros(3, "f4"), xp.zeros(2, "f8")] for _ in range(2)]
    optimizer.adamw(params, params, *states, step, lr=0.5, weight_decay=0.0)
    assert host(step).tolist() == [1]
    np.testing.assert_allclose(host(params[0]), 0.5, rtol=1e-6)
    np.testing.assert_allclose(host(params[1]), 0.5)


def test_numbers_read_from_the_device(device, xp):
    lr, scale = xp.array(0.5, "f4"), xp.array([8.0], "f4")
    w, step = [xp.zeros(3, "f4")], xp.zeros(1, "i8")
    optimizer.sgd(w, [xp.full(3, 16, "f4")], None, step, lr=lr, unscale=scale)
    assert host(w[0]).tolist() == [-1] * 3
    lr[...] = 2
    optimizer.sgd(w, [xp.full(3, 16, "f4")], None, step, lr=lr, unscale=scale)
    assert host(w[0]).tolist() == [-5] * 3


def test_clipping_by_the_norm_of_all(device, xp):
    grads, summary = [xp.full(2, 3, "f4"), xp.full(2, 4, "f4")], xp.zeros(2, "f4")
    average([grads], grads, summary=summary)
    norm = 50**0.5
    for scale, limit in ((None, 1.0), (2.0, 1.0), (2.0, 100.0), (None, 0.0)):
        w = [xp.zeros(2, "f4"), xp.zeros(2, "f4")]
        common = {} if limit == 0 else {"limit": limit}
        optimizer.sgd(
            w, grads, None, xp.zeros(1, "i8"), lr=1, unscale=scale, summary=summary, **common
        )
        factor = 1 / (scale or 1)
        factor *= min(1, limit / (norm * factor)) if limit else 1
        np.testing.assert_allclose(host(w[1]), -4 * factor, rtol=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_steps_with_what_is_not_finite_are_skipped(device, xp, bad):
    grads, summary = [xp.ones(5000, "f4"), xp.ones(3, "f4")], xp.zeros(2, "f4")
    grads[0][4500] = bad
    average([grads], grads, summary=summary)
    w, step = [xp.ones(5000, "f4"), xp.ones(3, "f4")], xp.zeros(1, "i8")
    m, v = ([xp.zeros(5000, "f4"), xp.zeros(3, "f4")] for _ in range(2))
    optimizer.adam(w, grads, m, v, step, summary=summary, skip=summary[1:])
    assert host(w[0]).min() == host(w[1]).min() == 1
    assert host(step).tolist() == [0]
    assert host(m[1]).max() == 0
    optimizer.adam(w, grads, m, v, step, skip=xp.ones(1, "f4"))
    assert host(step).tolist() == [0]
    optimizer.adam(w, grads, m, v, step, skip=xp.zeros(1, "f4"))
    assert host(step).tolist() == [1]
    assert np.isnan(host(w[0])[4500])  # as the gradient says, when nobody looks
    assert np.isfinite(host(w[0])[:4500]).all()


def adafactor(w, grads, step, **common):
    """Of vectors, beginning with this step."""
    none, variances = [None] * len(w), [0 * p for p in w]
    adafactor_step(w, grads, none, none, variances, step, **common)


def sgd(w, grads, step, **common):
    optimizer.sgd(w, grads, None, step, lr=1, **common)


@pytest.mark.parametrize("step_of", [sgd, adafactor])
@pytest.mark.parametrize(
    ("grad", "limit", "want"),
    [
        ([3.0, 4.0], 0.0, [0.0, 0.0]),
        ([3.0, 4.0], None, [3.0, 4.0]),
        ([3.0, 4.0], np.inf, [3.0, 4.0]),
        ([np.inf, 4.0], 0.5, [np.nan, 0.0]),  # as torch.nn.utils.clip_grad_norm_
        ([np.nan, 4.0], 0.5, [np.nan, np.nan]),
        ([1e30, 1e30], 0.5, [0.0, 0.0]),  # the norm is infinite
    ],
)
def test_a_limit_at_its_edges(device, xp, step_of, grad, limit, want):
    grads, summary, step = [xp.array(grad, "f4")], xp.zeros(2, "f4"), xp.zeros(1, "i8")
    average([grads], grads, summary=summary)
    for maximize in (False, True):
        w = [xp.zeros(2, "f4")]
        step_of(w, grads, step, summary=summary, limit=limit, maximize=maximize)
        got = host(w[0]) if maximize else -host(w[0])
        if step_of is sgd:
            np.testing.assert_allclose(got, want, rtol=1e-6)
        else:  # steps of a size of its own
            np.testing.assert_array_equal(np.isnan(got), np.isnan(want) | np.isnan(want).any())
            np.testing.assert_array_equal(got > 0, (np.array(want) > 0) & ~np.isnan(got))
    assert host(step).tolist() == [2]  # nobody asked to skip


@pytest.mark.parametrize(
    ("bad", "options", "want"),
    [
        (4.0, {"max_norm": 0.0}, [0.0, 0.0]),
        (np.nan, {"max_norm": 1.0}, [np.nan, np.nan]),
        (np.nan, {"max_norm": 1.0, "unscale": 2.0}, [0.0, 0.0]),  # left out, as asked
    ],
)
def test_only_a_loss_scale_leaves_steps_out(device, bad, options, want):
    w = gg.Array(np.zeros(2), requires_grad=True, device=device)
    grads = [gg.Array(np.array([3.0, bad]), device=device)]
    optim.SGD([w], lr=1.0).step(grads, **options)
    np.testing.assert_array_equal(w.numpy(), want)
    with pytest.raises(ValueError, match="number from 0 on"):
        optim.SGD([w], lr=1.0).step(grads, max_norm=-1.0)


def test_options_that_do_not_exist_are_refused(device, xp):
    w, step, summary = [xp.ones(3, "f4")], xp.zeros(1, "i8"), xp.zeros(2, "f4")
    for name, states in (("sgd", [None]), ("adam", [w, w]), ("adamw", [w, w]), ("lion", [w])):
        with pytest.raises(TypeError, match=rf"^{name}\(\) got an unexpected .* 'learning_rate'"):
            getattr(optimizer, name)(w, w, *states, step, learning_rate=0.5)
    with pytest.raises(TypeError, match=r"^adam\(\) got an unexpected keyword .* 'nesterov'"):
        optimizer.adam(w, w, w, w, step, nesterov=True)
    with pytest.raises(TypeError, match=r"^adafactor\(\) got an unexpected keyword .* 'momentum'"):
        adafactor(w, w, step, momentum=0.9)
    for bad in (-1.0, np.nan):
        for step_of in (sgd, adafactor):
            with pytest.raises(ValueError, match="a number from 0 on, or None for no limit; got"):
                step_of(w, w, step, summary=summary, limit=bad)
        with pytest.raises(ValueError, match=r"average_samples: a limit .* from 0 on"):
            average_samples([xp.ones((2, 3))], limit=bad)
    assert (host(step).tolist(), host(w[0]).tolist()) == ([0], [1, 1, 1])


def test_what_does_not_fit_is_refused(device, xp):
    w, step = [xp.ones(3, "f4")], xp.zeros(1, "i8")
    refused = functools.partial(pytest.raises, ValueError)
    with refused(match=r"the gradients, array 0: float32\(2,\) beside a parameter float32\(3,\)"):
        optimizer.sgd(w, [xp.ones(2, "f4")], None, step)
    with refused(match="1 parameters, but 0 arrays are the gradients"):
        optimizer.sgd(w, [], None, step)
    with refused(match="it must be float32"):
        optimizer.lion([xp.ones(3, "f2")], [xp.ones(3, "f2")], [xp.ones(3, "f2")], step)
    with refused(match="int64 array of one element"):
        optimizer.sgd(w, w, None, xp.zeros(1, "i4"))
    with refused(match="needs momenta"):
        optimizer.sgd(w, w, None, step, momentum=0.9)
    with refused(match="nesterov needs"):
        optimizer.sgd(w, w, None, step, nesterov=True)
    with refused(match="needs momenta"):
        optimizer.rmsprop(w, w, w, step, momentum=0.9)
    with refused(match="needs the summary"):
        optimizer.sgd(w, w, None, step, limit=1.0)
    with pytest.raises(TypeError, match="not int32"):
        optimizer.sgd([xp.ones(3, "i4")], [xp.ones(3, "i4")], None, step)
    optimizer.sgd([], [], None, step)
    assert host(step).tolist() == [0]


def test_a_captured_step(cuda):
    grads, w = [cuda.ones(3, "f4")], [cuda.zeros(3, "f4")]
    lr, skip = cuda.ones(1, "f4"), cuda.zeros(1, "f4")
    step = cuda.zeros(1, "i8")
    m = [cuda.zeros(3, "f4")]
    stream = cuda.cuda.Stream(non_blocking=True)
    with stream:
        optimizer.sgd(w, grads, m, step, lr=lr, skip=skip, momentum=0.5)  # makes the tables
        stream.begin_capture()
        optimizer.sgd(w, grads, m, step, lr=lr, skip=skip, momentum=0.5)
        graph = stream.end_capture()
        graph.launch(stream)
        lr[...] = 10
        graph.launch(stream)
        skip[...] = 1
        graph.launch(stream)
    stream.synchronize()
    assert step.tolist() == [3]
    np.testing.assert_allclose(w[0].get(), -(1 + 1.5 + 17.5))


def test_one_launch(counters, cuda):
    params = [cuda.ones(n, "f4") for n in (3, 5000, 0, 70000)]
    m, v = ([cuda.zeros(p.size, "f4") for p in params] for _ in range(2))
    step = cuda.zeros(1, "i8")
    optimizer.adam(params, params, m, v, step)
    with counters() as r:
        optimizer.adam(params, params, m, v, step)
    assert (r["launches"], r["h2d"], r["d2h"], r["syncs"]) == (1, 0, 0, 0)


def test_on_several_threads(monkeypatch):
    from gpugrad.kernels.cpu import threads

    rule = ("adam", 2, {}, np.dtype("float32"), CPU)
    alone = run(*rule)[2]
    monkeypatch.setattr(threads, "THREADS", 3)
    monkeypatch.setattr(threads, "GRAIN", 100)
    together = run(*rule)[2]
    assert all(a.tobytes() == b.tobytes() for a, b in zip(alone, together))


@pytest.mark.parametrize("maximize", [False, True])
def test_a_number_to_divide_by_is_one_launch(cuda, counters, maximize):
    def step(unscale):
        p, g = [cuda.ones(5000, "f4")], [cuda.full(5000, 8, "f4")]
        summary, steps = cuda.asarray([8.0 * 5000**0.5, 0], "f4"), cuda.zeros(1, "i8")
        options = {"summary": summary, "limit": 1.0, "maximize": maximize}
        optimizer.sgd(p, g, None, steps, lr=1.0, unscale=unscale, **options)
        with counters() as r:
            optimizer.sgd(p, g, None, steps, lr=1.0, unscale=unscale, **options)
        return p[0], r["launches"]

    by_number, launches = step(4.0)
    by_array, _ = step(cuda.asarray([4.0], "f4"))
    assert launches == 1
    assert (by_number == by_array).all()
    sign = 1 if maximize else -1
    np.testing.assert_allclose(by_number.get(), 1 + sign * 2 / 5000**0.5, rtol=1e-6)
