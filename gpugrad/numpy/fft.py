"""``numpy.fft`` and the array API's ``fft``, differentiable, on the CPU and by cuFFT on CUDA.

The precision of what comes in is kept: float32 gives complex64.

Examples
--------
>>> import gpugrad as gg, gpugrad.numpy as gnp, numpy as np
>>> def power_at_1(x):
...     return gnp.abs(gnp.fft.rfft(x)[1]) ** 2
>>> gg.grad(power_at_1)(np.array([1.0, 0.0, 0.0, 0.0]))
array([ 2.,  0., -2.,  0.])
"""

from __future__ import annotations

from typing import Any

import numpy as _np

from gpugrad import dispatch as _dispatch
from gpugrad.array import Array as _Array
from gpugrad.device import device as _find_device
from gpugrad.device import namespace as _namespace
from gpugrad.device import on as _on
from gpugrad.ops.cast import cast as _cast
from gpugrad.ops.fft import (
    fft,
    fft2,
    fftn,
    fftshift,
    hfft,
    ifft,
    ifft2,
    ifftn,
    ifftshift,
    ihfft,
    irfft,
    irfft2,
    irfftn,
    rfft,
    rfft2,
    rfftn,
)


def _frequencies(low: int, high: int, n: int, d: Any, dtype: Any, device: Any) -> Any:
    if n < 1:
        raise ValueError(f"frequencies of a transform need at least one point, got n = {n}")
    where = d.device if isinstance(d, _Array) and device is None else _find_device(device)
    with _on(where):
        xp = _namespace(where)
        steps = _Array(xp.concatenate([xp.arange(0, high), xp.arange(low, 0)]))
    return _cast(steps * (1.0 / (n * d)), float if dtype is None else dtype)


def fftfreq(n: int, d: Any = 1.0, *, dtype: Any = None, device: Any = None) -> Any:
    """Frequencies of the elements of `fft`, in cycles per unit of the spacing ``d``."""
    return _frequencies(-(n // 2), (n + 1) // 2, n, d, dtype, device)


def rfftfreq(n: int, d: Any = 1.0, *, dtype: Any = None, device: Any = None) -> Any:
    """Frequencies of the elements of `rfft`, in cycles per unit of the spacing ``d``."""
    return _frequencies(0, n // 2 + 1, n, d, dtype, device)


__all__ = [
    "fft",
    "fft2",
    "fftfreq",
    "fftn",
    "fftshift",
    "hfft",
    "ifft",
    "ifft2",
    "ifftn",
    "ifftshift",
    "ihfft",
    "irfft",
    "irfft2",
    "irfftn",
    "rfft",
    "rfft2",
    "rfftfreq",
    "rfftn",
]

_dispatch.functions.update({getattr(_np.fft, _name): globals()[_name] for _name in __all__})
