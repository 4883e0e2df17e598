"""Losses as modules: PyTorch's arguments and values."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import gpugrad as gg
from gpugrad import nn

rng = np.random.default_rng(0)
X, Y = rng.standard_normal((4, 3)), rng.standard_normal((4, 3))
P = np.exp(Y) / np.exp(Y).sum(-1, keepdims=True)
LOG = np.log(np.exp(X) / np.exp(X).sum(-1, keepdims=True))
CLASSES = np.array([0, 2, 1, 2])
SEQUENCE = np.log(np.full((5, 2, 3), 1 / 3))

CASES = {
    "CrossEntropyLoss": ({"label_smoothing": 0.1, "ignore_index": 1}, (X, CLASSES)),
    "NLLLoss": ({"weight": np.array([1.0, 2.0, 3.0])}, (LOG, CLASSES)),
    "MSELoss": ({"reduction": "sum"}, (X, Y)),
    "L1Loss": ({}, (X, Y)),
    "HuberLoss": ({"delta": 0.3}, (X, Y)),
    "SmoothL1Loss": ({"beta": 0.3, "reduction": "none"}, (X, Y)),
    "BCELoss": ({"weight": np.array([1.0, 2.0, 3.0]), "reduction": "sum"}, (np.exp(LOG), P)),
    "BCEWithLogitsLoss": ({"pos_weight": np.array([1.0, 2.0, 3.0])}, (X, P)),
    "KLDivLoss": ({"reduction": "batchmean"}, (LOG, P)),
    "CosineEmbeddingLoss": ({"margin": 0.2}, (X, Y, np.array([1.0, -1.0, 1.0, -1.0]))),
    "TripletMarginLoss": ({"margin": 0.5, "p": 1.0, "swap": True}, (X, Y, P)),
    "CTCLoss": (
        {"blank": 2},
        (SEQUENCE, np.array([[0, 1], [1, 1]]), np.array([5, 4]), np.array([2, 2])),
    ),
}


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")  # PyTorch's, of its own default
@pytest.mark.parametrize("name", CASES)
def test_as_torch(name, device):
    torch = pytest.importorskip("torch")
    settings, args = CASES[name]
    for given in ({}, settings):
        theirs = getattr(torch.nn, name)(
            **{k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in given.items()}
        )
        ours = getattr(nn, name)(**given).to(device)
        expected = theirs(*map(torch.tensor, args)).numpy()
        got = ours(*[gg.Array(a, device=device) for a in args])
        np.testing.assert_allclose(got.numpy(), expected, rtol=1e-9, err_msg=str(given))
        assert set(ours.state_dict()) == set(theirs.state_dict())


@pytest.mark.parametrize("name", CASES)
def test_arguments_have_the_defaults_of_torch(name):
    torch = pytest.importorskip("torch")
    theirs = inspect.signature(getattr(torch.nn, name)).parameters
    for argument in inspect.signature(getattr(nn, name)).parameters.values():
        assert argument.default == theirs[argument.name].default, argument.name


def test_what_it_shows():
    shown = repr(nn.CrossEntropyLoss(np.ones(3), reduction="sum"))
    assert shown == (
        "CrossEntropyLoss(weight=array(3,), ignore_index=-100, reduction='sum', "
        "label_smoothing=0.0)"
    )


def test_cross_entropy_of_probabilities_and_its_gradient(device):
    torch = pytest.importorskip("torch")
    p = np.array([0.2, 1e-30, 0.9, 1 - 1e-9])
    t = np.array([0.0, 1.0, 0.3, 1.0])
    given = torch.tensor(p, requires_grad=True)
    want = torch.nn.functional.binary_cross_entropy(given, torch.tensor(t), reduction="none")
    want[[0, 2, 3]].sum().backward()
    target = gg.Array(t, device=device)
    y, pull = gg.vjp(
        lambda p: nn.binary_cross_entropy(p, target, reduction="none"), gg.Array(p, device=device)
    )
    np.testing.assert_allclose(y.numpy(), want.detach().numpy(), rtol=1e-12)
    (g,) = pull(gg.Array(np.array([1.0, 0.0, 1.0, 1.0]), device=device))
    np.testing.assert_allclose(g.numpy(), given.grad.numpy(), rtol=1e-7)
    ends = gg.Array(np.array([0.0, 1.0]), device=device)
    other = gg.Array(np.array([1.0, 0.0]), device=device)
    y, pull = gg.vjp(lambda p: nn.binary_cross_entropy(p, other), ends)
    assert y.item() == 100
    assert np.isfinite(pull(gg.numpy.ones_like(y))[0].numpy()).all()
    with pytest.raises(ValueError, match="from 0 to 1"):
        nn.BCELoss()(np.array([1.5]), np.array([1.0]))
