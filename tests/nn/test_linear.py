"""The fully connected layer against PyTorch's, and first weights."""

from __future__ import annotations

import numpy as np
import pytest

import gpugrad as gg
from gpugrad.nn import glorot_uniform, he_normal, linear

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


@pytest.mark.parametrize("init", [he_normal, glorot_uniform])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_one_seed_gives_the_same_weights_on_every_device(init, dtype, device):
    first = init(np.random.default_rng(7), (5, 3), dtype, device="cpu")
    other = init(np.random.default_rng(7), (5, 3), dtype, device=device)
    assert other.device == device
    assert other.dtype == dtype
    np.testing.assert_array_equal(first.numpy(), other.numpy())


def test_variances():
    shape = (40, 30, 5, 5)  # a convolution's: each output adds up 30 * 25 inputs
    he = he_normal(np.random.default_rng(0), shape, "float64").numpy()
    assert he.std() == pytest.approx(np.sqrt(2 / 750), rel=0.02)
    assert abs(he.mean()) < 0.002
    glorot = glorot_uniform(np.random.default_rng(0), shape, "float64").numpy()
    assert glorot.std() == pytest.approx(np.sqrt(2 / (750 + 1000)), rel=0.02)
    assert abs(glorot).max() == pytest.approx(np.sqrt(6 / (750 + 1000)), rel=0.01)


def test_weights_need_inputs_and_outputs():
    with pytest.raises(ValueError, match=r"\(outputs, inputs, \.\.\.\), got \(3,\)"):
        he_normal(np.random.default_rng(0), (3,))
