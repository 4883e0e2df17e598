"""Losses and their gradients are PyTorch's."""

from __future__ import annotations

import numpy as np
import pytest

import gpugrad as gg
from gpugrad.nn import distances

torch = pytest.importorskip("torch")
RNG = np.random.default_rng(0)
A, B, C = (RNG.standard_normal((4, 5)) for _ in range(3))
P = np.exp(A) / np.exp(A).sum(1, keepdims=True)
LOGS = np.log(np.exp(B) / np.exp(B).sum(1, keepdims=True))
LABELS = np.array([0, 4, -100, 2])
SIGNS = np.array([1, -1, 1, -1])
WEIGHT = np.array([1.0, 0.5, 2.0, 1.5, 0.1])

# name: function, differentiated operands, others, options
CASES = {
    "mse": ("mse_loss", (A, B), (), {}),
    "l1": ("l1_loss", (A, B), (), {}),
    "huber": ("huber_loss", (A, B), (), {"delta": 0.7}),
    "smooth l1": ("smooth_l1_loss", (A, B), (), {"beta": 0.5}),
    "smooth l1 sharp": ("smooth_l1_loss", (A, B), (), {"beta": 0}),
    "bce": ("binary_cross_entropy_with_logits", (40 * A, P), (), {}),
    "bce weighted": (
        "binary_cross_entropy_with_logits",
        (A, P),
        (),
        {"weight": WEIGHT, "pos_weight": WEIGHT[::-1].copy()},
    ),
    "nll": ("nll_loss", (LOGS,), (LABELS,), {}),
    "nll weighted": ("nll_loss", (LOGS,), (LABELS,), {"weight": WEIGHT}),
    "nll of images": (
        "nll_loss",
        (RNG.standard_normal((2, 5, 3)),),
        (RNG.integers(0, 5, (2, 3)),),
        {"ignore_index": 1},
    ),
    "kl": ("kl_div", (LOGS, P), (), {}),
    "kl of logs": ("kl_div", (LOGS, np.log(P)), (), {"log_target": True}),
    "cosine": ("cosine_embedding_loss", (A, B), (SIGNS,), {"margin": 0.1}),
    "triplet": ("triplet_margin_loss", (A, B, C), (), {}),
    "triplet swapped": ("triplet_margin_loss", (A, B, C), (), {"swap": True, "margin": 3.0}),
    "triplet of cubes": ("triplet_margin_loss", (A, B, C), (), {"p": 3.0, "margin": 2.0}),
}


def run_torch(name, at, others, options, reduction):
    f = getattr(torch.nn.functional, name)
    xs = [torch.tensor(x, requires_grad=True) for x in at]
    more = {k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    y = f(*xs, *[torch.tensor(o) for o in others], **more, reduction=reduction)
    grads = torch.autograd.grad(y.sum(), xs)
    return y.detach().numpy(), [g.numpy() for g in grads]


@pytest.mark.filterwarnings("ignore:reduction")
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("case", CASES)
def test_they_agree_with_pytorch(case, reduction, device):
    name, at, others, options = CASES[case]
    want, slopes = run_torch(name, at, others, options, reduction)
    f = getattr(distances, name)
    more = {
        k: gg.Array(v, device=device) if isinstance(v, np.ndarray) else v
        for k, v in options.items()
    }
    rest = [gg.Array(o, device=device) for o in others]

    def loss(*xs):
        return f(*xs, *rest, **more, reduction=reduction)

    xs = [gg.Array(x, device=device) for x in at]
    y, pull = gg.vjp(loss, *xs)
    np.testing.assert_allclose(y.numpy(), want, rtol=1e-10, atol=1e-13)
    ones = gg.Array(np.ones(y.shape), device=device)
    for got, slope in zip(pull(ones), slopes, strict=True):
        np.testing.assert_allclose(got.numpy(), slope, rtol=1e-9, atol=1e-13)


def test_the_divergence_itself():
    want = torch.nn.functional.kl_div(torch.tensor(LOGS), torch.tensor(P), reduction="batchmean")
    got = distances.kl_div(LOGS, P, reduction="batchmean")
    np.testing.assert_allclose(got, want.numpy())


def test_probabilities_of_0_have_a_gradient():
    p = np.array([[0.0, 1.0]])
    g = gg.grad(lambda logs: distances.kl_div(logs, p))(np.log(np.array([[0.5, 0.5]])))
    np.testing.assert_array_equal(g, [[0.0, -0.5]])


def test_cosine_similarity_of_zeros_has_a_gradient():
    g = gg.grad(lambda x: distances.cosine_similarity(x, A).sum())(np.zeros((4, 5)))
    assert np.isfinite(g).all()


BAD = {
    "shapes": (lambda: distances.mse_loss(A, A[0]), ValueError, r"\(4, 5\).*\(5,\)"),
    "reduction": (lambda: distances.l1_loss(A, B, reduction="max"), ValueError, "'max'"),
    "delta": (lambda: distances.huber_loss(A, B, delta=0), ValueError, "got 0"),
    "classes": (lambda: distances.nll_loss(A, A[:, 0]), TypeError, "float64"),
    "labels": (lambda: distances.nll_loss(A, LABELS[:2]), ValueError, r"\(4,\), got \(2,\)"),
}


@pytest.mark.parametrize("name", BAD)
def test_errors(name):
    run, kind, message = BAD[name]
    with pytest.raises(kind, match=message):
        run()
