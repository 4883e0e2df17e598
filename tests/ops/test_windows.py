"""Windows for signals: NumPy's values in double precision on every device."""

from __future__ import annotations

import numpy as np
import pytest

import gpugrad.numpy as gnp


@pytest.mark.parametrize("count", [-1, 0, 1, 2, 5, 8, 101])
@pytest.mark.parametrize("name", ["bartlett", "blackman", "hamming", "hanning", "kaiser"])
def test_windows_have_numpys_values(name, count, device):
    more = (6.0,) if name == "kaiser" else ()
    if name == "kaiser" and count < 0:
        return  # which NumPy refuses
    got, want = getattr(gnp, name)(count, *more, device=device), getattr(np, name)(count, *more)
    assert (got.device, got.dtype, got.shape) == (device, np.float64, want.shape)
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-14, atol=1e-15)
