"""First weights by PyTorch's names: its distributions, the same numbers on every device."""

from __future__ import annotations

import numpy as np
import pytest

import gpugrad as gg
from gpugrad import nn

SHAPE = (60, 40, 3, 3)
CASES = {
    "uniform_": {"a": -0.2, "b": 0.5},
    "normal_": {"mean": 0.3, "std": 0.2},
    "trunc_normal_": {"mean": 0.1, "std": 0.5, "a": -0.4, "b": 0.7},
    "xavier_uniform_": {"gain": 1.5},
    "xavier_normal_": {"gain": 1.5},
    "kaiming_uniform_": {"a": 0.3, "mode": "fan_out"},
    "kaiming_normal_": {"nonlinearity": "relu"},
    "constant_": {"val": 0.7},
    "zeros_": {},
    "ones_": {},
}


@pytest.mark.parametrize("name", CASES)
def test_distributed_as_torchs(name):
    torch = pytest.importorskip("torch")
    settings = CASES[name]
    p = nn.parameter(np.zeros(SHAPE), "float64", device="cpu")
    gg.random.seed(1)
    assert getattr(nn.init, name)(p, **settings) is p
    torch.manual_seed(1)
    q = getattr(torch.nn.init, name)(torch.empty(SHAPE, dtype=torch.float64), **settings).numpy()
    p = p.numpy()
    quantiles = np.linspace(0.01, 0.99, 21)
    spread = q.std() + 1e-9
    np.testing.assert_allclose(
        np.quantile(p, quantiles), np.quantile(q, quantiles), atol=0.05 * spread
    )
    np.testing.assert_allclose([p.min(), p.max()], [q.min(), q.max()], atol=spread)


@pytest.mark.parametrize("name", [*CASES, "orthogonal_"])
def test_one_seed_gives_the_same_on_every_device(name, device):
    fixed = name in ("constant_", "zeros_", "ones_")

    def make(where):
        p = nn.parameter(np.zeros((6, 4)), "float32", device=where)
        source = {} if fixed else {"generator": gg.random.Generator(3)}
        return getattr(nn.init, name)(p, **CASES.get(name, {}), **source)

    p = make(device)
    assert (p.dtype, p.device, p.requires_grad) == ("float32", device, True)
    np.testing.assert_allclose(p.numpy(), make("cpu").numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 2, 3), (4, 4)])
def test_orthogonal(shape):
    q = nn.init.orthogonal_(nn.parameter(np.zeros(shape)), gain=2.0).numpy().reshape(shape[0], -1)
    short = q @ q.T if q.shape[0] < q.shape[1] else q.T @ q
    np.testing.assert_allclose(short, 4 * np.eye(len(short)), atol=1e-12)


@pytest.mark.parametrize("name", ["linear", "sigmoid", "tanh", "relu", "leaky_relu", "selu"])
def test_gains(name):
    torch = pytest.importorskip("torch")
    assert nn.init.calculate_gain(name) == pytest.approx(torch.nn.init.calculate_gain(name))
    assert nn.init.calculate_gain("leaky_relu", 0.5) == torch.nn.init.calculate_gain(
        "leaky_relu", 0.5
    )


def test_bad_input():
    flat = nn.parameter(np.zeros(3))
    for name in ("xavier_normal_", "kaiming_uniform_", "orthogonal_"):
        with pytest.raises(ValueError, match=r"\(3,\)"):
            getattr(nn.init, name)(flat)
    with pytest.raises(ValueError, match="fan_in"):
        nn.init.kaiming_normal_(nn.parameter(np.zeros((3, 3))), mode="in")
    with pytest.raises(ValueError, match="tanh"):
        nn.init.calculate_gain("gelu")
