"""Windows for signals, on the default device unless one is named."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from gpugrad.device import default_device, namespace, on
from gpugrad.device import device as find_device
from gpugrad.numpy.creation import asarray
from gpugrad.ops.bessel import i0
from gpugrad.ops.creation import device_near
from gpugrad.ops.elementwise import sqrt


def _window(formula: Callable[[Any, Any], Any], count: Any, device: Any) -> Any:
    """``formula(xp, x)`` at points from -1 to 1. CuPy's own windows have single precision."""
    where = default_device() if device is None else find_device(device)
    with on(where):
        xp = namespace(where)
        return asarray(formula(xp, xp.arange(1 - count, count, 2) / (count - 1 or 1)))


def bartlett(M: int, *, device: Any = None) -> Any:
    """The triangular window of ``M`` points, 0 at both ends."""
    return _window(lambda xp, x: 1 - abs(x), M, device)


def blackman(M: int, *, device: Any = None) -> Any:
    """The Blackman window of ``M`` points."""
    return _window(
        lambda xp, x: 0.42 + 0.5 * xp.cos(math.pi * x) + 0.08 * xp.cos(2 * math.pi * x), M, device
    )


def hamming(M: int, *, device: Any = None) -> Any:
    """The Hamming window of ``M`` points."""
    return _window(lambda xp, x: 0.54 + 0.46 * xp.cos(math.pi * x), M, device)


def hanning(M: int, *, device: Any = None) -> Any:
    """The Hann window of ``M`` points, 0 at both ends."""
    return _window(lambda xp, x: 0.5 + 0.5 * xp.cos(math.pi * x), M, device)


def kaiser(M: int, beta: Any, *, device: Any = None) -> Any:
    """The Kaiser window of ``M`` points, where ``beta`` is; differentiable in it."""
    if device is None and hasattr(beta, "ndim"):
        device = device_near([beta])
    triangle = bartlett(M, device=device)
    rise = sqrt(triangle * (2 - triangle))  # sqrt(1 - x**2) for x from -1 to 1, 0 at both ends
    beta = asarray(beta, device=device) * 1.0
    return i0(beta * rise) / i0(beta)
