"""L-BFGS goes through the points that torch.optim's goes through."""

from __future__ import annotations

import numpy as np
import pytest

import gpugrad as gg
from gpugrad import optim

START = [np.array([-1.2, 1.0, 0.5]), np.array([[0.3], [-0.7]]), np.array(0.1)]


def valley(a, b, c):
    """Rosenbrock's valley in all the numbers, so that it takes long."""
    x = [a[0], a[1], a[2], b[0, 0], b[1, 0], c]
    return sum(5 * (x[i + 1] - x[i] ** 2) ** 2 + (1 - x[i]) ** 2 for i in range(5))


def start(device):
    return [gg.Array(s, device=device, copy=True, requires_grad=True) for s in START]


def closing(optimizer, params, seen):
    def closure():
        optimizer.zero_grad()
        loss = valley(*params)
        loss.backward()
        seen.append(loss.item())
        return loss

    return closure


SETTINGS = {
    "plain": {"lr": 0.05, "max_iter": 4, "history_size": 3},
    "strong wolfe": {"max_iter": 1, "history_size": 3, "line_search_fn": "strong_wolfe"},
    "several at once": {"lr": 0.5, "max_iter": 8, "line_search_fn": "strong_wolfe"},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_hundred_steps_agree_with_pytorch(name, device):
    torch = pytest.importorskip("torch")
    steps = 100 if device.kind == "cpu" else 3
    params = start(device)
    theirs = [torch.tensor(s, requires_grad=True) for s in START]
    ours = optim.LBFGS(params, **SETTINGS[name])
    peer = torch.optim.LBFGS(theirs, **SETTINGS[name])
    seen, expected = [], []
    for _ in range(steps):
        ours.step(closing(ours, params, seen))
        peer.step(closing(peer, theirs, expected))
    # The same calls; their losses until rounding, which a valley magnifies, is all that is left.
    count = min(60, len(expected))
    assert len(seen) >= count
    np.testing.assert_allclose(seen[:count], expected[:count], rtol=1e-6, atol=1e-10)
    for p, q in zip(params, theirs, strict=True):
        np.testing.assert_allclose(p.numpy(), q.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_a_state_continues(device):
    settings = SETTINGS["strong wolfe"]
    params = start(device)
    first = optim.LBFGS(params, **settings)
    for _ in range(4):
        first.step(closing(first, params, []))
    others = [gg.Array(p.numpy(), device=device, copy=True, requires_grad=True) for p in params]
    second = optim.LBFGS(others, **{**settings, "lr": 9.0})
    second.load_state_dict(first.state_dict())
    for _ in range(2):
        first.step(closing(first, params, []))
        second.step(closing(second, others, []))
    for p, q in zip(params, others, strict=True):
        np.testing.assert_array_equal(p.numpy(), q.numpy())


def test_bad_input():
    w = gg.Array(np.ones(2), requires_grad=True)
    with pytest.raises(ValueError, match="neither"):
        optim.LBFGS([w], line_search_fn="wolf")
    with pytest.raises(ValueError, match=r"float32.*float64"):
        optim.LBFGS([w, gg.Array(np.ones(2, "f4"))])
    with pytest.raises(ValueError, match="one group"):
        optim.LBFGS([{"params": [w]}, {"params": [gg.Array(np.ones(2))]}])
    with pytest.raises(TypeError, match="closure"):
        optim.LBFGS([w]).step([np.ones(2)])
    one = optim.LBFGS([w])

    def closure():
        loss = (w * w).sum()
        loss.backward()
        return loss

    one.step(closure)
    with pytest.raises(ValueError, match="3 elements"):
        optim.LBFGS([gg.Array(np.ones(3))]).load_state_dict(one.state_dict())
