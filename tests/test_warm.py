"""What ``gpugrad doctor --warm`` runs works on each device."""

from __future__ import annotations

import numpy as np
import pytest

import gpugrad as gg
from gpugrad.warm import FAMILIES


@pytest.mark.parametrize("name", [n for n in FAMILIES if n != "activations"])
def test_each_family_runs(name, device):
    rng = np.random.default_rng(0)
    FAMILIES[name](lambda *shape: gg.Array(rng.normal(size=shape).astype("f4"), device=device))
