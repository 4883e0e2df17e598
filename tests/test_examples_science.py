"""The worked examples of science find what they look for, on each device, and draw it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import gpugrad as gg

FOLDER = Path(__file__).resolve().parents[1] / "examples"


def load(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def size(device, cpu, cuda):
    """Small where each launch is played by the CPU."""
    return cpu if device.kind == "cpu" else cuda


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "picture.png"
    yield path
    assert path.stat().st_size > 10_000


def test_bayesian_logistic(device, picture):
    module = load("bayesian_logistic")
    mean, covariance = module.main(str(device), str(picture), count=size(device, 200, 40))
    assert mean.device == covariance.device == device
    points, labels = module.make_data(size(device, 200, 40), device)
    x = module.features(points)
    at_mode = gg.grad(module.negative_log_posterior)(mean, x, labels, 3.0)
    assert np.abs(at_mode.numpy()).max() < 1e-8
    p = 1 / (1 + np.exp(-x.numpy() @ mean.numpy()))
    curvature = (x.numpy().T * (p * (1 - p))) @ x.numpy() + np.eye(6) / 9
    np.testing.assert_allclose(covariance.numpy() @ curvature, np.eye(6), atol=1e-6)


def test_gaussian_process(device, picture):
    module = load("gaussian_process")
    count, steps = size(device, (60, 150), (20, 40))
    parameters, losses = module.main(str(device), str(picture), count, steps)
    assert parameters.device == device
    assert losses[-1] < losses[0] - size(device, 60, 10)
    if device.kind == "cpu":
        assert 0.12 < np.exp(parameters.numpy()[2]) < 0.18


def test_phase_retrieval(device, picture):
    side, steps = size(device, (64, 200), (24, 200))
    error, losses = load("phase_retrieval").main(str(device), str(picture), side, steps)
    assert losses[-1] < losses[0] / 1e4
    assert error < 0.05


def test_heat_equation(device, picture):
    side, blocks, steps = size(device, (48, 3, 100), (24, 2, 40))
    before, after = load("heat_equation").main(str(device), str(picture), side, blocks, steps)
    assert after < before * size(device, 0.4, 0.8)


def test_ode_fit(device, picture):
    count, steps = size(device, (16, 12), (10, 6))
    found, losses = load("ode_fit").main(str(device), str(picture), count, steps)
    assert losses[-1] < losses[0] / size(device, 10, 5)
    if device.kind == "cpu":
        np.testing.assert_allclose(found, load("ode_fit").TRUE, rtol=0.25)
