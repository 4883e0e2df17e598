"""A PyTorch model's weights in ours and back, through safetensors: the same outputs."""

from __future__ import annotations

import numpy as np
import pytest
import safetensors.numpy

import gpugrad.numpy as gnp
from gpugrad import nn

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
import safetensors.torch  # noqa: E402

RNG = np.random.default_rng(0)


def network(m):
    return m.Sequential(
        m.Conv2d(2, 8, 3, padding=1), m.BatchNorm2d(8), m.ReLU(), m.MaxPool2d(2),
        m.ConvTranspose2d(8, 4, 2, 2), m.GroupNorm(2, 4), m.Flatten(), m.Linear(144, 5),
    )  # fmt: skip


def encoder(m):
    layer = m.TransformerEncoderLayer(16, 4, 32, dropout=0.0, activation="gelu", batch_first=True)
    return m.TransformerEncoder(layer, 2)


MODELS = {
    "network": (network, RNG.normal(size=(3, 2, 6, 6)).astype("f4")),
    "encoder": (encoder, RNG.normal(size=(2, 7, 16)).astype("f4")),
    "embedding": (lambda m: m.Embedding(11, 4), RNG.integers(0, 11, (2, 5))),
}


def both(name):
    """PyTorch's model, with moments that are not the first ones, and ours with other weights."""
    torch.manual_seed(0)
    make, x = MODELS[name]
    theirs = make(torch.nn)
    if name == "network":
        theirs(torch.from_numpy(x))
    return theirs.eval(), make(nn).eval(), x


@pytest.mark.parametrize("name", MODELS)
def test_from_pytorch_and_back(name, tmp_path):
    theirs, ours, x = both(name)
    safetensors.torch.save_file(theirs.state_dict(), tmp_path / "there")
    ours.load_state_dict(safetensors.numpy.load_file(tmp_path / "there"))
    want = theirs(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(ours(x).numpy(), want, atol=1e-5)

    changed = {name: np.asarray(v.numpy() * 0.5, v.dtype) for name, v in ours.state_dict().items()}
    ours.load_state_dict(changed)
    safetensors.numpy.save_file(changed, tmp_path / "back")
    theirs.load_state_dict(safetensors.torch.load_file(tmp_path / "back"))
    got = theirs(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(got, ours(x).numpy(), atol=1e-5)
    assert np.abs(got - want).max() > 1e-3


@pytest.mark.parametrize("name", MODELS)
def test_straight_from_the_state_dict(name, xp):
    theirs, ours, x = both(name)
    if xp is not np:
        ours = ours.to("cuda:0")
    ours.load_state_dict(theirs.state_dict())
    got = ours(gnp.asarray(xp.asarray(x))).numpy()
    np.testing.assert_allclose(got, theirs(torch.from_numpy(x)).detach().numpy(), atol=1e-4)


def test_bfloat16_weights_stay_bfloat16(tmp_path):
    theirs = torch.nn.Linear(3, 2, dtype=torch.bfloat16)
    safetensors.torch.save_file(theirs.state_dict(), tmp_path / "there")
    ours = nn.Linear(3, 2, dtype="bfloat16")
    ours.load_state_dict(safetensors.numpy.load_file(tmp_path / "there"))
    want = theirs.weight.detach().float().numpy()
    np.testing.assert_array_equal(ours.weight.detach().astype("float32").numpy(), want)
