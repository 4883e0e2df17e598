"""The fully connected layer against PyTorch's."""

from __future__ import annotations

import numpy as np
import pytest

import gpugrad as gg
from gpugrad.nn import linear

torch = pytest.importorskip("torch")

RNG = np.random.default_rng(4)


@pytest.mark.parametrize("shape", [(3,), (5, 3), (2, 5, 3)])
@pytest.mark.parametrize("bias", [False, True])
def test_as_pytorch(shape, bias, device):
    values = [RNG.normal(size=shape), RNG.normal(size=(4, 3)), RNG.normal(size=4)][: 2 + bias]
    cotangent = RNG.normal(size=(*shape[:-1], 4))
    theirs = [torch.tensor(v, requires_grad=True) for v in values]
    ty = torch.nn.functional.linear(*theirs)
    ty.backward(torch.tensor(cotangent))
    y, pull = gg.vjp(linear, *[gg.Array(v, device=device) for v in values])
    np.testing.assert_allclose(y.numpy(), ty.detach().numpy(), rtol=1e-12)
    for g, t in zip(pull(gg.Array(cotangent, device=device)), theirs, strict=True):
        np.testing.assert_allclose(g.numpy(), t.grad.numpy(), rtol=1e-10, atol=1e-13)


def test_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match=r"weight \(outputs, inputs\)"):
        linear(np.ones((2, 3)), np.ones((3, 4)), np.ones(4))
