"""Weights and other files: whole or not at all, and as PyTorch's users read them."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors import safe_open

import gpugrad as gg
from gpugrad.training.files import replacing
from gpugrad.training.weights import load_weights, save_weights


def parameters(device, dtype="float32"):
    values = np.arange(6, dtype=dtype).reshape(2, 3)
    # Transposed: an array that does not lie in C order must come back as it was.
    return [{"weight": gg.Array(values, device=device).T, "bias": gg.numpy.ones(3, device=device)}]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_round_trip(dtype, device, tmp_path):
    ours = parameters(device, dtype)
    save_weights(ours, tmp_path / "w.safetensors")
    (layer,) = load_weights(tmp_path / "w.safetensors", parameters(device, dtype))
    assert layer["weight"].dtype == dtype
    assert layer["weight"].device == device
    np.testing.assert_array_equal(layer["weight"].numpy(), ours[0]["weight"].numpy())
    with safe_open(tmp_path / "w.safetensors", framework="numpy") as file:
        assert set(file.keys()) == {"0.weight", "0.bias"}
        np.testing.assert_array_equal(file.get_tensor("0.weight"), ours[0]["weight"].numpy())
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]


def test_weights_of_another_model(tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(parameters("cpu"), path)
    with pytest.raises(ValueError, match=r"expected \['0.kernel'\]"):
        load_weights(path, [{"kernel": gg.numpy.ones(2)}])
    with pytest.raises(ValueError, match=r"0.bias has shape \(3,\), expected \(4,\)"):
        load_weights(path, [{"weight": gg.numpy.ones((3, 2)), "bias": gg.numpy.ones(4)}])


def test_an_interrupted_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("old")

    def write():
        with replacing(path) as unfinished:
            assert unfinished.suffix == ".txt"  # writers choose a format by it
            unfinished.write_text("ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
