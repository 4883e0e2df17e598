"""Checks of derivatives against finite differences, in random directions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

from gpugrad.compat.autograd.core import make_jvp, make_vjp
from gpugrad.compat.autograd.vector_space import vspace
from gpugrad.compat.autograd.wrap_util import get_name, unary_to_nary

TOL = RTOL = 1e-6
EPS = 1e-6


def scalar_close(a: Any, b: Any) -> bool:
    """Whether two numbers agree to 1e-6, absolutely or relative to their sum."""
    off = abs(a - b)
    return bool(off < TOL or off / abs(a + b) < RTOL)


def make_numerical_jvp(f: Callable[[Any], Any], x: Any) -> Callable[[Any], Any]:
    """The derivative of ``f`` at ``x`` by central differences, as a function of the tangent."""
    x_vs, y_vs = vspace(x), vspace(f(x))

    def jvp(v: Any) -> Any:
        ahead = f(x_vs.add(x, x_vs.scalar_mul(v, EPS / 2)))
        behind = f(x_vs.add(x, x_vs.scalar_mul(v, -EPS / 2)))
        return y_vs.scalar_mul(y_vs.add(ahead, y_vs.scalar_mul(behind, -1.0)), 1 / EPS)

    return jvp


def check_vjp(f: Callable[[Any], Any], x: Any) -> None:
    """Check the VJP of ``f`` at ``x`` in a random pair of directions."""
    vjp, y = make_vjp(f, x)
    x_vs, y_vs = vspace(x), vspace(y)
    x_v, y_v = x_vs.randn(), y_vs.randn()
    pulled = x_vs.covector(vjp(y_vs.covector(y_v)))
    if vspace(pulled) != x_vs:
        raise AssertionError(
            f"the VJP of {get_name(f)} gives {vspace(pulled)} for an argument in {x_vs}"
        )
    exact = x_vs.inner_prod(x_v, pulled)
    numeric = y_vs.inner_prod(y_v, make_numerical_jvp(f, x)(x_v))
    if not scalar_close(numeric, exact):
        raise AssertionError(
            f"Derivative (VJP) check of {get_name(f)} failed with arg {x}:\n"
            f"analytic: {exact}\nnumeric:  {numeric}"
        )


def check_jvp(f: Callable[[Any], Any], x: Any) -> None:
    """Check the JVP of ``f`` at ``x`` in a random direction."""
    v = vspace(x).randn()
    check_equivalent(make_jvp(f, x)(v)[1], make_numerical_jvp(f, x)(v))


def check_equivalent(x: Any, y: Any) -> None:
    """Check that two values are in one vector space and agree along a random direction."""
    x_vs, y_vs = vspace(x), vspace(y)
    if x_vs != y_vs:
        raise AssertionError(f"VSpace mismatch:\nx: {x_vs}\ny: {y_vs}")
    v = x_vs.randn()
    if not scalar_close(x_vs.inner_prod(x, v), x_vs.inner_prod(y, v)):
        raise AssertionError(f"Value mismatch:\nx: {x}\ny: {y}")


@unary_to_nary
def check_grads(
    f: Callable[[Any], Any], x: Any, modes: Sequence[str] = ("fwd", "rev"), order: int = 2
) -> None:
    """Check derivatives of ``f`` by forward ("fwd") and reverse ("rev") mode up to ``order``.

    Examples
    --------
    >>> import gpugrad.compat.autograd.numpy as np
    >>> from gpugrad.compat.autograd.test_util import check_grads
    >>> check_grads(np.sin, modes=["rev"], order=3)(0.5)
    """
    unknown = set(modes or ()) - {"fwd", "rev"}
    if unknown:
        raise ValueError(f"check_grads: modes are 'fwd' and 'rev', got {sorted(unknown)}")
    for mode in modes or ("fwd", "rev"):
        if mode == "fwd":
            check_jvp(f, x)
        else:
            check_vjp(f, x)
        if order > 1:
            _check_next(f, x, mode, modes, order - 1)


def _check_next(
    f: Callable[[Any], Any], x: Any, mode: str, modes: Sequence[str], order: int
) -> None:
    """Check the first derivative, as a function of the point and the direction."""

    def forward(x: Any, v: Any) -> Any:
        return make_jvp(f, x)(v)[1]

    def reverse(x: Any, v: Any) -> Any:
        return make_vjp(f, x)[0](v)

    derivative = forward if mode == "fwd" else reverse
    derivative.__name__ = f"{'jvp' if mode == 'fwd' else 'vjp'}_{get_name(f)}"
    v = vspace(x if mode == "fwd" else f(x)).randn()
    check_grads(derivative, (0, 1), modes, order)(x, v)


def combo_check(fun: Callable[..., Any], *check_args: Any, **check_kwargs: Any) -> Any:
    """Check every combination of the given arguments and keyword arguments.

    Examples
    --------
    >>> import gpugrad.compat.autograd.numpy as np
    >>> from gpugrad.compat.autograd.test_util import combo_check
    >>> combo_check(np.sum, (0,), order=1)([np.ones(2), np.ones((2, 3))], axis=[None, 0])
    """

    def check(*args: Any, **kwargs: Any) -> None:
        for point in product(*args):
            for chosen in product(*kwargs.values()):
                check_grads(fun, *check_args, **check_kwargs)(*point, **dict(zip(kwargs, chosen)))

    return check
