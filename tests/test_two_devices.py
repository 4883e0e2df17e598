"""Everything runs where its arrays are, whichever CUDA device CuPy happens to have current."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import gpugrad as gg
import gpugrad.numpy as gnp


@pytest.fixture
def second(cuda):
    if cuda.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("one CUDA device only; the stand-in shows two")
    return cuda.cuda.Device(1)


def test_transforms_on_a_device_that_is_not_current(cuda, second):
    with second:
        w, x = cuda.arange(3.0) + 1, cuda.ones((5, 3))

    def of(x):
        def loss(w):
            y = np.tanh(x @ w) ** 2 / w[0] + np.maximum(w[1], 0.5) + gnp.logsumexp(w)
            return np.mean(y) + w[gnp.argmax(w)]

        return loss

    host = np.arange(3.0) + 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # CuPy warns of work on an array of another device
        for transform in (gg.grad, gg.hessian, gg.jacfwd):
            out = transform(of(x))(w)
            assert out.device == second
            np.testing.assert_allclose(out.get(), transform(of(np.ones((5, 3))))(host), atol=1e-12)
        a = gg.Array(w, requires_grad=True)
        of(x)(a).backward(create_graph=True)
        (a.grad * a.grad).sum().backward()
        assert str(a.grad.device) == "cuda:1"
        each = gg.vmap(gg.grad(lambda v, r: np.sum(np.tanh(v * r))), (None, 0))(w, x)
        assert each.device == second


def test_gradient_crosses_a_move_between_devices(cuda, second):
    def loss(x):
        moved = (x * x).to("cuda:1")
        return (moved * 3).to("cpu").sum()

    g = gg.grad(lambda x: loss(x))(gg.Array(cuda.arange(3.0)))
    assert str(g.device) == "cuda:0"
    np.testing.assert_allclose(g.numpy(), [0, 6, 12])
