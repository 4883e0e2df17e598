"""CTC as PyTorch's: values and the gradients of what comes before the log-softmax."""

from __future__ import annotations

import numpy as np
import pytest

import gpugrad as gg
from gpugrad import nn

T, N, C, S = 9, 4, 5, 3
TARGETS = np.array([[1, 2, 3], [2, 2, 4], [3, 1, 1], [1, 1, 1]])
LENGTHS = [9, 7, 9, 5], [3, 2, 0, 3]


def logits(dtype="f8"):
    return 2 * np.random.default_rng(0).standard_normal((T, N, C)).astype(dtype)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("form", ["padded", "in a row", "another blank"])
def test_as_torch(form, reduction, device):
    torch = pytest.importorskip("torch")
    blank = 0
    targets, (inputs, lengths) = TARGETS, LENGTHS
    if form == "in a row":
        targets = np.concatenate([row[:n] for row, n in zip(TARGETS, lengths, strict=True)])
    elif form == "another blank":
        targets, blank = TARGETS - 1, 4
        targets = np.where(targets == 4, 3, targets)
    x = gg.Array(logits(), device=device, requires_grad=True)
    peer = torch.tensor(logits(), requires_grad=True)
    ours = nn.ctc_loss(nn.log_softmax(x), targets, inputs, lengths, blank, reduction)
    theirs = torch.nn.functional.ctc_loss(
        torch.log_softmax(peer, -1), torch.tensor(targets), inputs, lengths, blank, reduction
    )
    np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-12)
    (ours * ours).sum().backward()
    (theirs * theirs).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), peer.grad.numpy(), rtol=1e-9, atol=1e-12)


def test_one_sequence_and_float32(device):
    torch = pytest.importorskip("torch")
    raw = logits("f4")[:, 0]
    x = gg.Array(raw, device=device)
    ours = nn.ctc_loss(nn.log_softmax(x), TARGETS[0], T, S, reduction="none")
    peer = torch.log_softmax(torch.tensor(raw), -1)
    theirs = torch.nn.functional.ctc_loss(
        peer, torch.tensor(TARGETS[0]), torch.tensor(T), torch.tensor(S), reduction="none"
    )
    assert (ours.shape, ours.dtype) == ((), "float32")
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-5)


def test_a_target_that_does_not_fit(device):
    x = gg.Array(logits(), device=device, requires_grad=True)
    inputs = [9, 9, 9, 4]  # three equal classes need five moments
    losses = nn.ctc_loss(nn.log_softmax(x), TARGETS, inputs, [3, 3, 3, 3], reduction="none")
    assert np.isinf(losses.detach().numpy()).tolist() == [False, False, False, True]
    loss = nn.ctc_loss(nn.log_softmax(x), TARGETS, inputs, [3] * 4, zero_infinity=True)
    loss.backward()
    assert np.isfinite(x.grad.numpy()).all()
    assert not x.grad.numpy()[:, 3].any()


def test_a_target_that_does_not_fit_has_a_finite_gradient(device):
    even = gg.Array(np.log(np.full((2, 1, 2), 0.5)), device=device)
    loss, slope = gg.value_and_grad(lambda x: nn.ctc_loss(x, np.array([[1, 1]]), [2], [2]))(even)
    assert loss.item() == np.inf
    assert np.isfinite(slope.numpy()).all()


def test_its_derivatives_are_differences():
    x = logits()[:, :2]

    def loss(x):
        return nn.ctc_loss(nn.log_softmax(x), TARGETS[:2], [9, 7], [3, 2])

    t = np.random.default_rng(1).standard_normal(x.shape)
    _, pushed = gg.jvp(loss, (x,), (t,))
    step = 1e-5
    measured = (loss(x + step * t) - loss(x - step * t)) / (2 * step)
    np.testing.assert_allclose(float(pushed), float(measured), rtol=1e-7)
    curved = gg.hvp(loss)(x, t)
    slopes = [gg.grad(loss)(x + s * step * t) for s in (1, -1)]
    np.testing.assert_allclose(curved, (slopes[0] - slopes[1]) / (2 * step), rtol=1e-5, atol=1e-8)


BAD = {
    "shape": (lambda x: nn.ctc_loss(x[0, 0], TARGETS, *LENGTHS), ValueError, r"\(T, N, C\)"),
    "blank": (lambda x: nn.ctc_loss(x, TARGETS, *LENGTHS, blank=5), ValueError, "5 classes"),
    "floats": (lambda x: nn.ctc_loss(x, TARGETS + 0.5, *LENGTHS), TypeError, "float64"),
    "lengths": (lambda x: nn.ctc_loss(x, TARGETS, [9], [3]), ValueError, "4 sequences"),
    "targets": (lambda x: nn.ctc_loss(x, TARGETS[:2], *LENGTHS), ValueError, r"\(2, 3\)"),
    "in a row": (lambda x: nn.ctc_loss(x, TARGETS[0], *LENGTHS), ValueError, "add up to 8"),
    "reduction": (lambda x: nn.ctc_loss(x, TARGETS, *LENGTHS, reduction="no"), ValueError, "'no'"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    run, kind, message = BAD[name]
    with pytest.raises(kind, match=message):
        run(logits())
