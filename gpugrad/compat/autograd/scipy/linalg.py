"""The names of scipy.linalg: gpugrad's functions, else SciPy's for plain arrays.

``sqrtm``, ``solve_sylvester`` and ``solve_banded`` are SciPy's, on the CPU, with their derivatives.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

import gpugrad.numpy as gnp
from gpugrad.compat.autograd.core import defvjp, defvjp_argnum, primitive
from gpugrad.core.abstract import shape_dtype


def _scipy(name: str) -> Any:
    return getattr(import_module("scipy.linalg"), name)


@primitive
def sqrtm(a: Any) -> Any:
    """The principal square root of a matrix."""
    return _scipy("sqrtm")(a)


@primitive
def solve_sylvester(a: Any, b: Any, q: Any) -> Any:
    """The solution ``x`` of ``a x + x b = q``."""
    return _scipy("solve_sylvester")(a, b, q)


@primitive
def solve_banded(l_and_u: tuple[int, int], ab: Any, b: Any, **options: Any) -> Any:
    """The solution of a banded system, the diagonals of whose matrix are the rows of ``ab``."""
    return _scipy("solve_banded")(l_and_u, ab, b, **options)


def _turn(a: Any) -> Any:
    return gnp.matrix_transpose(a)


# The square root y of a: y dy + dy y = da, and a cotangent solves the transposed equation.
defvjp(sqrtm, lambda y, a: lambda g: solve_sylvester(_turn(y), _turn(y), g))


def _sylvester_vjp(argnum: int, x: Any, args: Any, kwargs: Any) -> Callable[[Any], Any]:
    a, b, _ = args

    def pull(g: Any) -> Any:
        s = solve_sylvester(_turn(a), _turn(b), g)
        return (-s @ _turn(x), -_turn(x) @ s, s)[argnum]

    return pull


defvjp_argnum(solve_sylvester, _sylvester_vjp)


def _banded_turn(l_and_u: tuple[int, int], ab: Any) -> Any:
    """The diagonals of the transposed matrix: each one moved along by its distance."""
    low, up = l_and_u
    return gnp.stack([gnp.roll(ab[up + d], d) for d in range(low, -up - 1, -1)])


def _banded_vjp(argnum: int, x: Any, args: Any, kwargs: Any) -> Callable[[Any], Any]:
    (low, up), ab, _ = args
    n = shape_dtype(ab).shape[1]

    def pull(g: Any) -> Any:
        s = solve_banded((up, low), _banded_turn((low, up), ab), g, **kwargs)
        if argnum == 2:
            return s
        rows = []
        for d in range(-up, low + 1):  # the element in row j + d and column j
            products = -gnp.roll(s, -d, axis=0) * x
            if products.ndim == 2:
                products = gnp.sum(products, axis=1)
            inside = np.array([0 <= j + d < n for j in range(n)])
            rows.append(products * inside)
        return gnp.stack(rows)

    return pull


defvjp_argnum(solve_banded, _banded_vjp)


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    ours = import_module("gpugrad.scipy.linalg")
    return getattr(ours, name) if hasattr(ours, name) else _scipy(name)
