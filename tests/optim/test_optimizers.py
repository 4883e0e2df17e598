"""Optimizers step as torch.optim's do, on each device, and their state goes there and back."""

from __future__ import annotations

import numpy as np
import pytest

import gpugrad as gg
from gpugrad import nn, optim

OURS = {
    "sgd": (optim.SGD, {"lr": 0.1}),
    "momentum": (optim.SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.2, "weight_decay": 0.01}),
    "nesterov": (optim.SGD, {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    "maximize": (optim.SGD, {"lr": 0.01, "momentum": 0.5, "maximize": True}),
    "adam": (optim.Adam, {"lr": 0.02, "weight_decay": 0.01}),
    "amsgrad": (optim.Adam, {"lr": 0.02, "amsgrad": True, "betas": (0.8, 0.9)}),
    "adamw": (optim.AdamW, {"lr": 0.02}),
    "adamw up": (
        optim.AdamW,
        {"lr": 0.005, "weight_decay": 0.3, "eps": 1e-3, "amsgrad": True, "maximize": True},
    ),
    "adagrad up": (optim.Adagrad, {"lr": 0.01, "eps": 0.1, "maximize": True}),
    "rmsprop up": (
        optim.RMSprop,
        {"lr": 0.003, "alpha": 0.8, "eps": 0.1, "momentum": 0.5, "maximize": True},
    ),
    "adafactor up": (
        optim.Adafactor,
        {"lr": 0.01, "beta2_decay": -0.5, "d": 2.0, "maximize": True},
    ),
    "adagrad": (
        optim.Adagrad,
        {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.01, "initial_accumulator_value": 0.1},
    ),
    "rmsprop": (optim.RMSprop, {"lr": 0.01, "weight_decay": 0.01}),
    "adafactor": (optim.Adafactor, {"lr": 0.05, "weight_decay": 0.1, "eps": (1e-4, 1e-3)}),
    "rmsprop centered": (optim.RMSprop, {"lr": 0.01, "momentum": 0.9, "centered": True}),
}
SHAPES = [(3, 4), (5,), (), (0, 2), (2, 1, 3)]


def start(device, dtype="float64"):
    rng = np.random.default_rng(0)
    raw = [rng.standard_normal(s).astype(dtype) for s in SHAPES]
    return raw, [gg.Array(r, device=device, copy=True, requires_grad=True) for r in raw]


def slopes(raw, t, dtype="float64"):
    rng = np.random.default_rng(t + 1)
    return [np.asarray(0.1 * r + rng.standard_normal(r.shape), dtype) for r in raw]


@pytest.mark.parametrize("name", OURS)
def test_a_hundred_steps_agree_with_pytorch(name, device):
    torch = pytest.importorskip("torch")
    cls, settings = OURS[name]
    raw, params = start(device)
    theirs = [torch.tensor(r, requires_grad=True) for r in raw]
    ours = cls(params, **settings)
    full = [q for q in theirs if q.numel()]  # PyTorch's Adafactor divides by the others' size
    peer = getattr(torch.optim, cls.__name__)(full, **settings)
    for t in range(100):
        grads = slopes(raw, t)
        for p, q, g in zip(params, theirs, grads, strict=True):
            p.grad = gg.Array(g, device=device)
            q.grad = torch.tensor(g)
        ours.step()
        peer.step()
    for p, q in zip(params, theirs, strict=True):
        np.testing.assert_allclose(p.numpy(), q.detach().numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", OURS)
def test_they_go_on_from_pytorch_s_state(name, device):
    torch = pytest.importorskip("torch")
    cls, settings = OURS[name]
    raw, _ = start(device)
    raw = [r for r in raw if r.size]
    theirs = [torch.tensor(r, requires_grad=True) for r in raw]
    peer = getattr(torch.optim, cls.__name__)(theirs, **settings)

    def step_theirs(t):
        for q, g in zip(theirs, slopes(raw, t), strict=True):
            q.grad = torch.tensor(g)
        peer.step()

    step_theirs(0)
    step_theirs(1)
    params = [gg.Array(q.detach().numpy(), device=device, copy=True) for q in theirs]
    ours = cls(params, **settings)
    ours.load_state_dict(peer.state_dict())
    for t in (2, 3):
        ours.step([gg.Array(g, device=device) for g in slopes(raw, t)])
        step_theirs(t)
    for p, q in zip(params, theirs, strict=True):
        np.testing.assert_allclose(p.numpy(), q.detach().numpy(), rtol=1e-9, atol=1e-12)


def test_lion_is_the_papers(device):
    raw, params = start(device)
    optimizer = optim.Lion(params, lr=0.1, betas=(0.9, 0.99), weight_decay=0.1)
    want, mean = [r.copy() for r in raw], [np.zeros_like(r) for r in raw]
    for t in range(5):
        grads = slopes(raw, t)
        optimizer.step([gg.Array(g, device=device) for g in grads])
        for i, g in enumerate(grads):
            want[i] = want[i] - 0.1 * (np.sign(0.9 * mean[i] + 0.1 * g) + 0.1 * want[i])
            mean[i] = 0.99 * mean[i] + 0.01 * g
    for p, w in zip(params, want, strict=True):
        np.testing.assert_allclose(p.numpy(), w, rtol=1e-12)


def test_gradients_of_a_transform_and_of_the_tape_step_alike(device):
    x = gg.Array(np.linspace(-1, 1, 12).reshape(4, 3), device=device)

    def loss(model, x):
        return (model(x) ** 2).mean()

    def make():
        rng = gg.random.Generator(0)
        return nn.Sequential(*[nn.Linear(3, 3, True, device, "f8", generator=rng) for _ in "ab"])

    one, two = make(), make()
    by_tape, by_transform = (optim.Adam(m.parameters(), 0.01) for m in (one, two))
    for _ in range(3):
        by_tape.zero_grad()
        loss(one, x).backward()
        by_tape.step()
        by_transform.step(gg.grad(loss)(two, x))
    for p, q in zip(one.parameters(), two.parameters(), strict=True):
        np.testing.assert_array_equal(p.numpy(), q.numpy())


def test_one_launch_and_no_copy(counters, cuda):
    _, params = start(gg.device("cuda:0"))
    optimizer = optim.AdamW(params)
    grads = [gg.Array(cuda.ones(p.shape)) for p in params]
    for _ in range(2):
        optimizer.step(grads)
    with counters() as r:
        optimizer.step(grads)
    assert (r["launches"], r["h2d"], r["d2h"], r["syncs"]) == (1, 0, 0, 0)


def test_groups_have_their_own_settings(device):
    _, params = start(device)
    before = [p.numpy().copy() for p in params]
    groups = [{"params": params[:2], "lr": 1.0}, {"params": params[2:], "momentum": 0.5}]
    optimizer = optim.SGD(groups, lr=0.5)
    for _ in range(2):
        optimizer.step([gg.Array(np.ones(p.shape), device=device) for p in params])
    for p, b in zip(params[:2], before[:2], strict=True):
        np.testing.assert_allclose(p.numpy(), b - 2.0)
    for p, b in zip(params[2:], before[2:], strict=True):
        np.testing.assert_allclose(p.numpy(), b - 0.5 * (1 + 1.5))


def test_parameters_without_a_gradient_wait(device):
    torch = pytest.importorskip("torch")
    raw, params = start(device)
    theirs = [torch.tensor(r, requires_grad=True) for r in raw]
    ours, peer = optim.Adam(params, 0.1), torch.optim.Adam(theirs, 0.1)
    for t in range(6):
        for i, (p, q, g) in enumerate(zip(params, theirs, slopes(raw, t), strict=True)):
            missing = (t + i) % 3 == 0
            p.grad = None if missing else gg.Array(g, device=device)
            q.grad = None if missing else torch.tensor(g)
        ours.step()
        peer.step()
    for p, q in zip(params, theirs, strict=True):
        np.testing.assert_allclose(p.numpy(), q.detach().numpy(), rtol=1e-9)


def test_clipping_by_the_norm_of_all(device):
    torch = pytest.importorskip("torch")
    raw, params = start(device)
    theirs = [torch.tensor(r, requires_grad=True) for r in raw]
    ours = optim.SGD([{"params": params[:1]}, {"params": params[1:], "lr": 0.3}], lr=0.1)
    peer = torch.optim.SGD([{"params": theirs[:1]}, {"params": theirs[1:], "lr": 0.3}], lr=0.1)
    grads = slopes(raw, 0)
    for q, g in zip(theirs, grads, strict=True):
        q.grad = torch.tensor(g)
    torch.nn.utils.clip_grad_norm_(theirs, 0.5)
    peer.step()
    scaled = [gg.Array(1024 * g, device=device) for g in grads]
    ours.step(scaled, max_norm=0.5, unscale=1024.0)
    for p, q in zip(params, theirs, strict=True):
        np.testing.assert_allclose(p.numpy(), q.detach().numpy(), rtol=1e-9)


def test_a_gradient_that_is_no_number_is_noticed(device):
    p = gg.Array(np.ones(2), device=device, copy=True, requires_grad=True)
    optimizer = optim.SGD([p], lr=0.1)
    optimizer.step([gg.Array(np.array([np.nan, 1.0]), device=device)], max_norm=1.0)
    np.testing.assert_array_equal(p.numpy(), np.nan)


def test_a_step_that_overflowed_is_left_out(device):
    raw, params = start(device)
    optimizer = optim.Adam(params)
    grads = [gg.Array(np.full(p.shape, np.inf), device=device) for p in params]
    optimizer.step(grads, unscale=2.0)
    for p, r in zip(params, raw, strict=True):
        np.testing.assert_array_equal(p.numpy(), r)
    assert optimizer.state_dict()["state"][0]["step"].item() == 0


@pytest.mark.parametrize("name", OURS)
def test_state_goes_there_and_back(name, device):
    cls, settings = OURS[name]
    raw, params = start(device)
    first = cls(params, **settings)
    for t in range(3):
        first.step([gg.Array(g, device=device) for g in slopes(raw, t)])
    others = [gg.Array(p.numpy(), copy=True, device=device) for p in params]
    second = cls(others, **{**settings, "lr": 77.0})
    second.load_state_dict(first.state_dict())
    for t in range(3, 5):
        grads = [gg.Array(g, device=device) for g in slopes(raw, t)]
        first.step(grads)
        second.step(grads)
    for p, q in zip(params, others, strict=True):
        np.testing.assert_array_equal(p.numpy(), q.numpy())


@pytest.mark.parametrize("lr", ["0.1", None, 1j, np.ones(2)])
def test_a_rate_is_a_number(lr):
    with pytest.raises(TypeError, match="SGD: lr is a number or an array of one element, got"):
        optim.SGD(start("cpu")[1], lr=lr)
    optim.SGD(start("cpu")[1], lr=gg.Array(np.array(0.1)))


BAD = {
    "too few": (lambda o, g: o.step(g[:2]), ValueError, "2 gradients for 5 parameters"),
    "a shape": (lambda o, g: o.step([g[1], *g[1:]]), ValueError, r"float64\(5,\).*\(3, 4\)"),
    "a dtype": (lambda o, g: o.step([g[0].astype("f4"), *g[1:]]), ValueError, "float32"),
    "a setting": (lambda o, g: o.add_param_group({"params": g, "mo": 1}), ValueError, "'mo'"),
    "twice": (
        lambda o, g: o.add_param_group({"params": o.param_groups[0]["params"][:1]}),
        ValueError,
        "twice",
    ),
    "integers": (
        lambda o, g: o.add_param_group({"params": [gg.Array(np.ones(2, int))]}),
        TypeError,
        "int64",
    ),
    "a state": (
        lambda o, g: o.load_state_dict({"state": {}, "param_groups": [{"params": [0]}]}),
        ValueError,
        r"\[1\] parameters, expected \[5\]",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_changes_nothing(name):
    raw, params = start("cpu")
    optimizer = optim.SGD(params)
    run, kind, message = BAD[name]
    with pytest.raises(kind, match=message):
        run(optimizer, [gg.Array(np.ones(p.shape)) for p in params])
    for p, r in zip(params, raw, strict=True):
        np.testing.assert_array_equal(p.numpy(), r)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": -0.1}, "lr is not negative, got -0.1"),
        ({"eps": -1.0}, "eps is not negative"),
        ({"weight_decay": -1.0}, "weight_decay is not negative"),
        ({"lr": float("nan")}, "lr is not negative, got nan"),
        ({"betas": (0.9, 1.0)}, r"betas are from 0 to less than 1, got \(0.9, 1.0\)"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(ValueError, match=message):
        optim.AdamW([gg.Array(np.ones(2))], **settings)


def test_gradients_may_be_set_to_zeros():
    w = gg.Array(np.ones(2), requires_grad=True)
    (w * w).sum().backward()
    optimizer = optim.SGD([w], 0.1)
    optimizer.zero_grad(set_to_none=False)
    assert w.grad.tolist() == [0, 0]
    optimizer.zero_grad()
    assert w.grad is None


def test_none_is_an_error():
    with pytest.raises(ValueError, match="no parameters"):
        optim.SGD([])


def test_a_backward_after_the_step_is_refused():
    w = gg.Array(np.ones(2), requires_grad=True)
    loss = (w * w).sum()
    optim.SGD([w], 0.1).step([np.ones(2)])
    with pytest.raises(gg.TapeError, match="changed in place"):
        loss.backward()


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_narrow_parameters_keep_wide_states(dtype, device):
    _, params = start(device, dtype)
    optimizer = optim.Adam(params)
    optimizer.step([gg.Array(np.ones(p.shape, dtype), device=device) for p in params])
    states = optimizer.state_dict()["state"].values()
    assert {s["exp_avg"].dtype for s in states} == {np.dtype("f4")}


def test_a_number_is_trained_too():
    w = gg.Array(np.float64(2), requires_grad=True)
    optimizer = optim.SGD([w], lr=0.25)
    (w * w).backward()
    optimizer.step()
    assert w.item() == 1
