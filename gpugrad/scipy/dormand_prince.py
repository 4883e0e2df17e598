"""An explicit Runge-Kutta method in array code, for devices that SciPy does not reach.

Order 5 with an embedded estimate of order 4 (Dormand & Prince 1980, "A family of embedded
Runge-Kutta formulae"). The step follows the root mean square of the error estimate relative to
``atol + rtol abs(y)``: one number a step comes to the host.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

_C = (1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
_A = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
_E = (71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)
"""The difference of the two formulae."""


def solve(
    xp: Any,
    f: Callable[[Any, float], Any],
    y: Any,
    times: list[float],
    rtol: float,
    atol: float,
    steps: int,
) -> Any:
    """``y`` at each of ``times``, one row a time, from ``y`` at the first one."""
    out = [y]
    slope = f(y, times[0])
    h = 0.0
    for start, end in pairwise(times):
        y, slope, h = _advance(xp, f, y, slope, (start, end), h, (rtol, atol, steps))
        out.append(y)
    return xp.stack(out)


def _advance(
    xp: Any,
    f: Callable[[Any, float], Any],
    y: Any,
    slope: Any,
    span: tuple[float, float],
    h: float,
    limits: tuple[float, float, int],
) -> tuple[Any, Any, float]:
    """``y`` and its slope at the end of ``span``, and the length of the step to go on with."""
    t, end = span
    rtol, atol, steps = limits
    if end == t:
        return y, slope, h
    sign = 1.0 if end > t else -1.0
    h = abs(h) or _first_step(xp, f, y, slope, (t, sign), (rtol, atol))
    for _ in range(steps):
        left = abs(end - t)
        last = h >= left * (1 - 1e-12)
        step = sign * (left if last else h)
        k = [slope]
        stage = y
        for c, row in zip(_C, _A):
            stage = y + step * sum(a * s for a, s in zip(row, k) if a)
            k.append(f(stage, end if last and c == 1 else t + c * step))
        error = step * sum(e * s for e, s in zip(_E, k) if e)
        size = _size(xp, error, atol + rtol * xp.maximum(abs(y), abs(stage)))
        if not np.isfinite(size):
            if not np.isfinite(_size(xp, slope, 1.0)):
                break
            size = 1e5  # the step left the domain of f
        factor = min(5.0, max(0.2, 0.9 * size**-0.2)) if size else 5.0
        if size <= 1:
            y, slope = stage, k[-1]  # the last stage is the slope at the step's end
            if last:
                return y, slope, max(h, left) if factor > 1 else left * factor
            t += step
        elif abs(step) <= 1e-14 * max(abs(t), abs(end)):
            break
        h = abs(step) * factor
    raise RuntimeError(
        f"odeint stopped at t = {t} on the way to {end}: the steps became too many or too small. "
        f"Raise mxstep (now {steps}), loosen rtol and atol, or solve a stiff problem on the CPU, "
        "where SciPy's LSODA does"
    )


def _size(xp: Any, error: Any, scale: Any) -> float:
    return float(xp.sqrt(xp.mean(xp.square(error / scale)))) if error.size else 0.0


def _first_step(
    xp: Any,
    f: Callable[[Any, float], Any],
    y: Any,
    slope: Any,
    at: tuple[float, float],
    limits: tuple[float, float],
) -> float:
    """Hairer, Nørsett & Wanner, "Solving ordinary differential equations I", II.4."""
    (t, sign), (rtol, atol) = at, limits
    scale = atol + rtol * abs(y)
    d0, d1 = _size(xp, y, scale), _size(xp, slope, scale)
    h = 0.01 * d0 / d1 if min(d0, d1) > 1e-5 else 1e-6
    d2 = _size(xp, f(y + sign * h * slope, t + sign * h) - slope, scale) / h
    top = max(d1, d2)
    return float(min(100 * h, (0.01 / top) ** 0.2 if top > 1e-15 else max(1e-6, h * 1e-3)))
