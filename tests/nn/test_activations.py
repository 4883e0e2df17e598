"""Activations against PyTorch's, at their kinks and where exp would overflow too."""

from __future__ import annotations

import numpy as np
import pytest

import gpugrad as gg
from gpugrad import nn

torch = pytest.importorskip("torch")

X = np.array([-1000.0, -20.0, -1.5, -0.0, 0.0, 0.3, 2.0, 20.0, 1000.0])


@pytest.mark.parametrize("name", ["relu", "sigmoid", "tanh"])
def test_values_and_gradients(name, device):
    x = gg.Array(X, device=device)
    y, g = gg.value_and_grad(lambda x: np.sum(getattr(nn, name)(x)))(x)
    tx = torch.tensor(X, requires_grad=True)
    ty = getattr(torch, name)(tx).sum()
    ty.backward()
    np.testing.assert_allclose(y.item(), ty.item(), rtol=1e-12)
    np.testing.assert_allclose(g.numpy(), tx.grad.numpy(), rtol=1e-9, atol=1e-15)
    assert g.device == device
