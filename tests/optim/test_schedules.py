"""Schedules give torch.optim's learning rates, and continue where they were."""

from __future__ import annotations

import numpy as np
import pytest

import gpugrad as gg
from gpugrad import optim

SCHEDULES = {
    "step": ("StepLR", {"step_size": 3, "gamma": 0.5}),
    "milestones": ("MultiStepLR", {"milestones": [2, 7, 7], "gamma": 0.1}),
    "exponential": ("ExponentialLR", {"gamma": 0.9}),
    "linear": ("LinearLR", {"start_factor": 0.25, "end_factor": 0.75, "total_iters": 4}),
    "cosine": ("CosineAnnealingLR", {"T_max": 20, "eta_min": 0.01}),
    "one cycle": ("OneCycleLR", {"max_lr": 0.5, "total_steps": 21}),
    "one cycle linear": (
        "OneCycleLR",
        {"max_lr": 0.5, "total_steps": 25, "pct_start": 0.4, "anneal_strategy": "linear"},
    ),
    "one cycle of three parts": (
        "OneCycleLR",
        {
            "max_lr": 0.5,
            "epochs": 3,
            "steps_per_epoch": 7,
            "three_phase": True,
            "base_momentum": 0.7,
            "max_momentum": 0.8,
            "div_factor": 10.0,
            "final_div_factor": 100.0,
        },
    ),
    "one cycle of rates alone": (
        "OneCycleLR",
        {"max_lr": 0.5, "total_steps": 21, "cycle_momentum": False},
    ),
    "lambda": ("LambdaLR", {"lr_lambda": lambda t: 1 / (1 + t)}),
    "lambdas": ("LambdaLR", {"lr_lambda": [lambda t: 1 / (1 + t), lambda t: 0.9**t]}),
    "one cycle of each group": (
        "OneCycleLR",
        {
            "max_lr": [0.1, 0.5],
            "total_steps": 20,
            "base_momentum": [0.7, 0.8],
            "max_momentum": [0.9, 0.95],
        },
    ),
    "one cycle down": ("OneCycleLR", {"max_lr": 0.5, "total_steps": 20, "pct_start": 0.0}),
}


def ours():
    return optim.SGD(
        [
            {"params": [gg.Array(np.ones(2))], "lr": 0.3},
            {"params": [gg.Array(np.ones(3))], "lr": 0.1},
        ]
    )


def theirs(torch):
    return torch.optim.SGD(
        [{"params": [torch.ones(2)], "lr": 0.3}, {"params": [torch.ones(3)], "lr": 0.1}]
    )


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler")
@pytest.mark.parametrize("name", SCHEDULES)
def test_rates_are_those_of_pytorch(name):
    torch = pytest.importorskip("torch")
    cls, settings = SCHEDULES[name]
    mine = getattr(optim, cls)(ours(), **settings)
    peer = getattr(torch.optim.lr_scheduler, cls)(theirs(torch), **settings)
    steps = getattr(peer, "total_steps", 20)
    for t in range(steps + 1):
        np.testing.assert_allclose(mine.get_last_lr(), peer.get_last_lr(), rtol=1e-9)
        momenta = [[g["momentum"] for g in s.optimizer.param_groups] for s in (mine, peer)]
        np.testing.assert_allclose(*momenta, rtol=1e-9)
        if t < steps:
            mine.step()
            peer.step()


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler")
def test_a_warm_up_before_a_cosine():
    torch = pytest.importorskip("torch")
    optimizer, peer_optimizer = ours(), theirs(torch)

    def parts(o, room):
        return [room.LinearLR(o, 0.1, total_iters=5), room.CosineAnnealingLR(o, 15)]

    mine = optim.SequentialLR(optimizer, parts(optimizer, optim), [5])
    room = torch.optim.lr_scheduler
    peer = room.SequentialLR(peer_optimizer, parts(peer_optimizer, room), [5])
    for _ in range(19):
        np.testing.assert_allclose(mine.get_last_lr(), peer.get_last_lr(), rtol=1e-9)
        mine.step()
        peer.step()


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler")
def test_a_warm_up_before_one_cycle_turns_the_momentum():
    torch = pytest.importorskip("torch")
    mine = optim.SGD([gg.Array(np.ones(2))], 0.3, momentum=0.9)
    peer = torch.optim.SGD([torch.ones(2)], 0.3, momentum=0.9)

    def chain(o, room):
        return room.SequentialLR(o, [room.StepLR(o, 9), room.OneCycleLR(o, 0.5, 9)], [3])

    schedule, other = chain(mine, optim), chain(peer, torch.optim.lr_scheduler)
    for t in range(12):
        schedule.step()
        other.step()
        names = ("lr", "momentum") if t >= 2 else ("momentum",)
        for name in names:
            np.testing.assert_allclose(mine.param_groups[0][name], peer.param_groups[0][name])


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler")
def test_one_cycle_of_adam_turns_the_first_beta():
    torch = pytest.importorskip("torch")
    mine = optim.Adam([gg.Array(np.ones(2))], betas=(0.9, 0.99))
    peer = torch.optim.Adam([torch.ones(2)], betas=(0.9, 0.99))
    schedule = optim.OneCycleLR(mine, 0.1, 10)
    other = torch.optim.lr_scheduler.OneCycleLR(peer, 0.1, 10)
    for _ in range(10):
        schedule.step()
        other.step()
        betas = [o.param_groups[0]["betas"] for o in (mine, peer)]
        np.testing.assert_allclose(*betas, rtol=1e-12)


@pytest.mark.parametrize("threshold_mode", ["rel", "abs"])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_plateaus(mode, threshold_mode):
    torch = pytest.importorskip("torch")
    settings = {"mode": mode, "factor": 0.5, "patience": 2, "cooldown": 1, "min_lr": [0.08, 0.02]}
    settings |= {"threshold": 0.05, "threshold_mode": threshold_mode, "eps": 0.01}
    optimizer, peer_optimizer = ours(), theirs(torch)
    mine = optim.ReduceLROnPlateau(optimizer, **settings)
    peer = torch.optim.lr_scheduler.ReduceLROnPlateau(peer_optimizer, **settings)
    for metric in np.random.default_rng(0).uniform(1, 2, 40):
        mine.step(metric)
        peer.step(metric)
        assert mine.get_last_lr() == [g["lr"] for g in peer_optimizer.param_groups]


@pytest.mark.parametrize("name", SCHEDULES)
def test_they_continue_where_they_were(name):
    cls, settings = SCHEDULES[name]
    first = getattr(optim, cls)(ours(), **settings)
    for _ in range(7):
        first.step()
    second = getattr(optim, cls)(ours(), **settings)
    second.load_state_dict(first.state_dict())
    for _ in range(5):
        assert first.get_last_lr() == second.get_last_lr()
        first.step()
        second.step()


def test_a_plateau_continues():
    first = optim.ReduceLROnPlateau(ours(), patience=3)
    for _ in range(3):
        first.step(1.0)
    second = optim.ReduceLROnPlateau(ours(), patience=3)
    second.load_state_dict(first.state_dict())
    second.step(1.0)
    assert second.get_last_lr() == pytest.approx([0.3, 0.1])
    second.step(1.0)
    assert second.get_last_lr() == pytest.approx([0.03, 0.01])


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler")
@pytest.mark.parametrize("name", [*SCHEDULES, "plateau"])
def test_they_continue_where_pytorch_s_were(name):
    torch = pytest.importorskip("torch")
    cls, settings = SCHEDULES.get(name, ("ReduceLROnPlateau", {"patience": 3, "cooldown": 4}))
    metric = [1.0] if name == "plateau" else []
    peer = getattr(torch.optim.lr_scheduler, cls)(theirs(torch), **settings)
    mine = getattr(optim, cls)(ours(), **settings)
    for _ in range(7):
        peer.step(*metric)
    mine.optimizer.load_state_dict(peer.optimizer.state_dict())
    mine.load_state_dict(peer.state_dict())
    for _ in range(8):
        peer.step(*metric)
        mine.step(*metric)
        np.testing.assert_allclose(mine.get_last_lr(), peer.get_last_lr(), rtol=1e-9)


def test_one_cycle_that_only_goes_up_has_all_its_steps():
    schedule = optim.OneCycleLR(ours(), 0.5, 2, pct_start=1.0)  # PyTorch's divides by 0
    for _ in range(2):
        schedule.step()
    assert schedule.get_last_lr() == pytest.approx([0.5 / 25 / 1e4] * 2)


def test_a_group_that_comes_later_joins():
    schedule = optim.ExponentialLR(ours(), 0.5)
    schedule.step()
    schedule.optimizer.add_param_group({"params": [gg.Array(np.ones(1))], "lr": 4.0})
    schedule.step()
    assert schedule.get_last_lr() == pytest.approx([0.075, 0.025, 1.0])
    each = optim.LambdaLR(ours(), [lambda t: 1.0, lambda t: 1.0])
    each.optimizer.add_param_group({"params": [gg.Array(np.ones(1))]})
    with pytest.raises(ValueError, match="2 values of lr_lambda for 3 parameter groups; give one"):
        each.step()


def test_errors():
    schedule = optim.OneCycleLR(ours(), 0.1, 2)
    schedule.step()
    schedule.step()
    with pytest.raises(ValueError, match="step 3 of a schedule of 2"):
        schedule.step()
    with pytest.raises(ValueError, match="pct_start is from 0 to 1, got 2"):
        optim.OneCycleLR(ours(), 0.1, 3, pct_start=2.0)
    with pytest.raises(ValueError, match="total_steps is more than 0, got 0"):
        optim.OneCycleLR(ours(), 0.1, 0)
    with pytest.raises(ValueError, match="3 values of max_lr for 2 parameter groups"):
        optim.OneCycleLR(ours(), [0.1] * 3, 3)
    with pytest.raises(ValueError, match="1 values of min_lr for 2 parameter groups"):
        optim.ReduceLROnPlateau(ours(), min_lr=[0.1])
    with pytest.raises(ValueError, match=r"factor is less than 1, got 1\.5"):
        optim.ReduceLROnPlateau(ours(), factor=1.5)
    with pytest.raises(ValueError, match="'up'"):
        optim.ReduceLROnPlateau(ours(), "up")
    o = ours()
    with pytest.raises(ValueError, match="2 schedules need 1 milestones, got 2"):
        optim.SequentialLR(o, [optim.StepLR(o, 1), optim.StepLR(o, 1)], [1, 2])
    with pytest.raises(ValueError, match="'square'"):
        optim.ReduceLROnPlateau(ours(), threshold_mode="square")
    with pytest.raises(ValueError, match="total_steps, or epochs and steps_per_epoch"):
        optim.OneCycleLR(ours(), 0.1, epochs=3)
    with pytest.raises(ValueError, match="Adagrad has no momentum"):
        optim.OneCycleLR(optim.Adagrad([gg.Array(np.ones(2))]), 0.1, 3)
    with pytest.raises(ValueError, match="'square'"):
        optim.OneCycleLR(ours(), 0.1, 3, anneal_strategy="square")
