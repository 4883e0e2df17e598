"""Fixed points, differentiated by the implicit function theorem."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gpugrad.compat.autograd.core import defvjp, make_vjp, primitive, vspace


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

    The first step from zero would give g, so g is where it starts.
    """
    add = vspace(ans).add

    def adjoint(parameters: Any) -> Callable[[Any], Any]:
        a, x, g = parameters
        pull_x, _ = make_vjp(f(a), x)
        return lambda c: add(pull_x(c), g)

    pull_a, _ = make_vjp(lambda a: f(a)(ans), a)
    return lambda g: pull_a(fixed_point(adjoint, (a, ans, g), g, distance, tol))


defvjp(fixed_point, None, _vjp, None)
