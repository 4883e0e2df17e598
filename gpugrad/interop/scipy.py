"""SciPy's optimizers, with gradients and Hessian-vector products from gpugrad."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import optimize

from gpugrad.core.abstract import shape_dtype
from gpugrad.device import CPU, device_of, to_device
from gpugrad.ops.cast import is_inexact
from gpugrad.ops.creation import raw_of
from gpugrad.transforms.jacobians import hvp
from gpugrad.transforms.kinds import as_input, flatten, one_output, unflatten
from gpugrad.transforms.reverse import value_and_grad

GRADIENT_FREE = ("nelder-mead", "powell", "cobyla", "cobyqa")
PRODUCTS = ("newton-cg", "trust-ncg", "trust-krylov", "trust-constr")
"""Methods that ask for products of the Hessian with vectors."""
WHOLE = ("dogleg", "trust-exact")
"""Methods that ask for the Hessian itself."""


class _Vector:
    """A pytree of arrays as SciPy's one vector of float64 on the CPU, and back."""

    def __init__(self, x0: Any) -> None:
        self.leaves, self.tree = flatten(x0)
        self.likes = [shape_dtype(leaf) for leaf in self.leaves]
        for like in self.likes:
            if not is_inexact(like.dtype) or like.dtype.kind == "c":
                raise TypeError(
                    f"minimize: x0 holds an array of {like.dtype}; real floating-point numbers "
                    "are needed: convert it with astype(float)"
                )
        if not sum(like.size for like in self.likes):
            raise ValueError("minimize: x0 has no elements")

    def ravel(self, tree: Any) -> np.ndarray[Any, Any]:
        """One copy to the host for each leaf."""
        parts = [np.ravel(to_device(raw_of(v), CPU)) for v in flatten(tree)[0]]
        return np.concatenate(parts).astype(np.float64)

    def unravel(self, vector: Any) -> Any:
        """Arrays of the kind, dtype and device of the first ones."""
        out, at = [], 0
        for leaf, like in zip(self.leaves, self.likes, strict=True):
            part = vector[at : at + like.size].reshape(like.shape).astype(like.dtype)
            at += like.size
            out.append(as_input(to_device(part, device_of(raw_of(leaf))), leaf))
        return unflatten(self.tree, out)


def minimize(
    f: Callable[..., Any],
    x0: Any,
    args: Sequence[Any] = (),
    method: str | None = None,
    *,
    callback: Callable[[Any], Any] | None = None,
    **options: Any,
) -> optimize.OptimizeResult:
    """`scipy.optimize.minimize` with derivatives from gpugrad.

    The function and its derivatives run where ``x0`` is; SciPy's own work is done on the CPU in
    float64, so each evaluation on CUDA copies a vector there and back.

    Parameters
    ----------
    f : callable
        ``f(x, *args)``, a real number to make small. Methods that use second derivatives also
        differentiate its gradient.
    x0 : array or pytree of arrays
        Where to begin, on the CPU or CUDA: NumPy and CuPy arrays, `gpugrad.Array`, numbers.
    args : sequence
        More arguments of ``f``.
    method : str, optional
        As in SciPy, which chooses BFGS, L-BFGS-B or SLSQP by the constraints. Gradients, products
        of the Hessian with vectors and Hessians are handed to the methods that use them.
    callback : callable, optional
        Called with ``x``, a pytree like ``x0``, after each iteration. If its one parameter is named
        ``intermediate_result``, with an ``OptimizeResult`` of such an ``x``, as in SciPy.
    **options
        ``bounds``, ``constraints``, ``tol`` and ``options`` as in SciPy, for the elements of
        ``x0`` in order.

    Returns
    -------
    scipy.optimize.OptimizeResult
        SciPy's, whose ``x`` and gradient, where there is one, are pytrees like ``x0``.

    Raises
    ------
    TypeError
        For an ``x0`` of integers or complex numbers, or an ``f`` that returns no real number.

    Examples
    --------
    >>> import numpy as np, gpugrad as gg
    >>> def rosenbrock(p):
    ...     return (1 - p["x"]) ** 2 + 100 * (p["y"] - p["x"] ** 2) ** 2
    >>> found = gg.interop.scipy.minimize(rosenbrock, {"x": -1.0, "y": 2.0}, method="Newton-CG")
    >>> found.success, round(found.x["x"], 3), round(found.x["y"], 3)
    (True, 1.0, 1.0)
    """
    vector = _Vector(x0)
    name = "" if method is None else method.lower()
    for ours in ("jac", "hess", "hessp"):
        if ours in options:
            raise TypeError(f"minimize: {ours} comes from gpugrad, so it is not given")

    def value(v: Any) -> float:
        return _number(f(vector.unravel(v), *args))

    def both(v: Any) -> tuple[float, Any]:
        y, g = value_and_grad(f)(vector.unravel(v), *args)
        return _number(y), vector.ravel(g)

    def product(v: Any, p: Any) -> Any:
        return vector.ravel(hvp(f)(vector.unravel(v), *args, vector.unravel(p)))

    def whole(v: Any) -> Any:
        return np.stack([product(v, p) for p in np.eye(len(v))])

    if name in PRODUCTS:
        options["hessp"] = product
    elif name in WHOLE:
        options["hess"] = whole
    if callback is not None:
        options["callback"] = _calling(callback, vector)
    plain = name in GRADIENT_FREE
    found = optimize.minimize(
        value if plain else both,
        vector.ravel(x0),
        method=method,
        jac=None if plain else True,
        **options,
    )
    return _as_given(found, vector)


def _as_given(found: optimize.OptimizeResult, vector: _Vector) -> optimize.OptimizeResult:
    """With pytrees in place of vectors."""
    gradient = "grad" if "grad" in found else "jac"  # trust-constr: jac is the constraints'
    for key in ("x", gradient):
        if key in found:
            found[key] = vector.unravel(np.asarray(found[key]))
    return found


def _calling(callback: Callable[..., Any], vector: _Vector) -> Callable[..., Any]:
    """The callback for SciPy, which looks at the name of the parameter."""

    def by_result(intermediate_result: Any) -> Any:
        if isinstance(intermediate_result, np.ndarray):  # of methods that have no result yet
            return callback(vector.unravel(intermediate_result))
        copy = optimize.OptimizeResult(intermediate_result)
        return callback(intermediate_result=_as_given(copy, vector))

    named = set(inspect.signature(callback).parameters) == {"intermediate_result"}
    return by_result if named else lambda v, *state: callback(vector.unravel(v))


def _number(y: Any) -> float:
    like = shape_dtype(one_output(y, "minimize"))
    if math.prod(like.shape) != 1 or like.dtype.kind == "c":
        raise TypeError(
            f"minimize: the function must return one real number, it returned shape {like.shape}, "
            f"{like.dtype}"
        )
    return float(to_device(raw_of(y), CPU))
