"""Clipping and averaging are those of the formulas, on each device."""

from __future__ import annotations

import numpy as np
import pytest

import gpugrad as gg
from gpugrad import nn, optim


@pytest.mark.parametrize("norm_type", [2.0, 1.0, 3.5, 0.5, 0.0, float("inf"), -float("inf")])
@pytest.mark.parametrize("max_norm", [0.5, 100.0])
def test_norm(device, max_norm, norm_type):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    raw = [rng.standard_normal(s) for s in [(3, 2), (4,), ()]]
    mine = [gg.Array(np.zeros(np.shape(r)), device=device, requires_grad=True) for r in raw]
    peers = [torch.zeros(np.shape(r), dtype=torch.float64, requires_grad=True) for r in raw]
    for p, q, r in zip(mine, peers, raw, strict=True):
        p.grad, q.grad = gg.Array(r, device=device), torch.tensor(r)
    norm = optim.clip_grad_norm_(mine, max_norm, norm_type)
    want = torch.nn.utils.clip_grad_norm_(peers, max_norm, norm_type)
    np.testing.assert_allclose(float(norm), float(want))
    for p, q in zip(mine, peers, strict=True):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy())
        assert p.grad.device == device


def test_a_norm_that_is_not_finite(device):
    p = gg.Array(np.zeros(3), device=device, requires_grad=True)
    p.grad = gg.Array(np.array([1.0, np.inf, 0.0]), device=device)
    with pytest.raises(RuntimeError, match="norm of the gradients is inf"):
        optim.clip_grad_norm_(p, 1.0, error_if_nonfinite=True)
    np.testing.assert_array_equal(p.grad.numpy(), [1.0, np.inf, 0.0])


@pytest.mark.parametrize("value", [np.inf, np.nan, 1.0])
@pytest.mark.parametrize("max_norm", [0.0, 1.0])
def test_norms_at_their_limits_are_pytorch_s(device, value, max_norm):
    torch = pytest.importorskip("torch")
    raw = np.array([1.0, value, 0.0])
    p, q = gg.Array(np.zeros(3), device=device, requires_grad=True), torch.zeros(3).double()
    p.grad, q.grad = gg.Array(raw, device=device), torch.tensor(raw)
    optim.clip_grad_norm_(p, max_norm)
    torch.nn.utils.clip_grad_norm_(q.requires_grad_(), max_norm)
    np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy())
    with pytest.raises(ValueError, match=r"max_norm is from 0 on, got -1"):
        optim.clip_grad_norm_(p, -1.0)


def test_narrow_gradients_have_a_wide_norm(device):
    params = [gg.Array(np.zeros(3, d), device=device, requires_grad=True) for d in ("f2", "f8")]
    for p in params:
        p.grad = gg.Array(np.full(3, 300.0, p.dtype), device=device)
    norm = optim.clip_grad_norm_(params, 1.0)
    np.testing.assert_allclose(float(norm), 300 * 6**0.5, rtol=1e-6)
    for p in params:
        np.testing.assert_allclose(p.grad.numpy(), 6**-0.5, rtol=1e-3)


def test_clipping_many_takes_few_launches(counters, cuda):
    params = [gg.Array(cuda.ones(5, "f4"), requires_grad=True) for _ in range(40)]
    for _ in range(2):
        for p in params:
            p.grad = gg.Array(cuda.ones(5, "f4"))
        with counters() as r:
            optim.clip_grad_norm_(params, 1.0)
    assert r["launches"] < 10
    assert r["d2h"] == 0


def test_values(device):
    p = gg.Array(np.zeros(3), device=device, requires_grad=True)
    p.grad = gg.Array(np.array([-2.0, 0.5, np.inf]), device=device)
    optim.clip_grad_value_(p, 1.0)
    np.testing.assert_array_equal(p.grad.numpy(), [-1.0, 0.5, 1.0])


def test_what_has_no_gradient_is_passed_over():
    p = gg.Array(np.zeros(3), requires_grad=True)
    assert float(optim.clip_grad_norm_([p], 1.0)) == 0
    assert p.grad is None


def test_averages_follow_the_weights(device):
    model = nn.Linear(2, 1, device=device, dtype="float64")
    ema = optim.EMA(model, decay=0.75)
    optimizer = optim.SGD(model.parameters(), lr=1.0)
    want = model.weight.numpy().copy()
    for t in range(3):
        slopes = [np.full(p.shape, t + 1.0) for p in model.parameters()]
        optimizer.step([gg.Array(g, device=device) for g in slopes])
        ema.update()
        want = 0.75 * want + 0.25 * model.weight.numpy()
    now = model.weight.numpy().copy()
    with ema.applied():
        np.testing.assert_allclose(model.weight.numpy(), want)
    np.testing.assert_array_equal(model.weight.numpy(), now)
    other = optim.EMA(nn.Linear(2, 1, device=device, dtype="float64"))
    other.load_state_dict(ema.state_dict())
    for name, mean in ema.state_dict().items():
        np.testing.assert_array_equal(other.state_dict()[name].numpy(), mean.numpy())
    optimizer.step([gg.Array(np.ones(p.shape), device=device) for p in model.parameters()])
    np.testing.assert_allclose(model.weight.numpy(), now - 1)  # these are the same parameters
    with pytest.raises(ValueError, match=r"weight has shape \(1, 2\), got nothing"):
        ema.load_state_dict({})
    with pytest.raises(ValueError, match="between 0 and 1"):
        optim.EMA(model, 1.5)
