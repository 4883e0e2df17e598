"""Labels that are no class: named with their place on the CPU, NaN on CUDA, where nothing waits."""

from __future__ import annotations

import numpy as np
import pytest

import gpugrad as gg
from gpugrad import nn

SCORES = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
LOSSES = {
    "mean": lambda x, y: nn.cross_entropy(x, y),
    "none": lambda x, y: nn.cross_entropy(x, y, reduction="none"),
    "smooth": lambda x, y: nn.cross_entropy(x, y, label_smoothing=0.1),
    "nll": lambda x, y: nn.nll_loss(x, y),
}


@pytest.mark.parametrize("label", [-1, 3, 7])
@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_label_out_of_range(loss, many, label, device):
    scores = np.tile(SCORES, (4000, 1)) if many else SCORES
    labels = np.arange(len(scores)) % 3
    labels[2] = label
    x, y = gg.Array(scores, device=device), gg.Array(labels, device=device)
    if device.kind == "cpu":
        said = rf"the label {label} of sample 2 is out of range: allowed are 0 to 2"
        with pytest.raises(IndexError, match=said):
            LOSSES[loss](x, y)
    else:
        assert np.isnan(LOSSES[loss](x, y).numpy()).any()


@pytest.mark.parametrize("loss", LOSSES)
def test_the_ignored_label_is_in_range(loss, device):
    x = gg.Array(SCORES, device=device)
    y = gg.Array(np.array([0, -100, 2, 1]), device=device)
    assert np.isfinite(LOSSES[loss](x, y).numpy()).all()
