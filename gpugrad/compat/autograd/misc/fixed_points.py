"""Fixed points, differentiated by the implicit function theorem."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from gpugrad.compat.autograd.core import defvjp, make_vjp_of_two, primitive, vspace


@primitive
def fixed_point(
    f: Callable[[Any], Callable[[Any], Any]],
    a: Any,
    x0: Any,
    distance: Callable[[Any, Any], Any],
    tol: float,
) -> Any:
    """The fixed point of ``f(a)``, from ``x0`` until a step is shorter than ``tol``.

    Its derivative by ``a`` costs another fixed point and keeps no intermediate step.

    Examples
    --------
    >>> from gpugrad.compat.autograd import grad
    >>> from gpugrad.compat.autograd.misc.fixed_points import fixed_point
    >>> newton = lambda a: lambda x: (x + a / x) / 2
    >>> root = lambda a: fixed_point(newton, a, 1.0, lambda x, y: abs(x - y), 1e-12)
    >>> round(grad(root)(4.0), 6)
    0.25
    """
    step = f(a)
    x, before = step(x0), x0
    while distance(x, before) > tol:
        x, before = step(x), x
    return x


def _vjp(ans: Any, f: Any, a: Any, x0: Any, distance: Any, tol: float) -> Callable[[Any], Any]:
    """At the fixed point x = f(a)(x): the cotangent solves c = g + c·∂f/∂x, again a fixed point.

    The first step from zero would give g, so g is where it starts. One trace of the step by both
    ``a`` and ``x`` serves the iteration and the end.
    """
    add = operator.add if type(ans) is np.ndarray else vspace(ans).add

    def trace(a: Any, x: Any) -> Callable[..., Any]:
        return make_vjp_of_two(lambda a, x: f(a)(x), a, x)

    pull = trace(a, ans)

    def adjoint(parameters: Any) -> Callable[[Any], Any]:
        at, x, g = parameters
        back = pull if at is a and x is ans else trace(at, x)  # others to differentiate again
        return lambda c: add(back(c, 1), g)

    return lambda g: pull(fixed_point(adjoint, (a, ans, g), g, distance, tol), 0)


defvjp(fixed_point, None, _vjp, None)
