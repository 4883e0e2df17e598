"""Gradient descent for parameters in any container of arrays."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import gpugrad.numpy as gnp
from gpugrad.compat.autograd.misc.flatten import flatten

Gradient = Callable[[Any, int], Any]
Callback = Callable[[Any, int, Any], Any]


def unflatten_optimizer(optimize: Callable[..., Any]) -> Callable[..., Any]:
    """From an optimizer of one vector to one of nested tuples, lists and dicts."""

    @functools.wraps(optimize)
    def of_container(
        grad: Gradient, x0: Any, callback: Callback | None = None, *args: Any, **kwargs: Any
    ) -> Any:
        start, unflatten = flatten(x0)

        def flat_grad(x: Any, i: int) -> Any:
            return flatten(grad(unflatten(x), i))[0]

        def flat_callback(x: Any, i: int, g: Any) -> None:
            if callback:
                callback(unflatten(x), i, unflatten(g))

        return unflatten(optimize(flat_grad, start, flat_callback, *args, **kwargs))

    return of_container


@unflatten_optimizer
def sgd(
    grad: Gradient,
    x: Any,
    callback: Callback,
    num_iters: int = 200,
    step_size: float = 0.1,
    mass: float = 0.9,
) -> Any:
    """Gradient descent with momentum.

    Parameters
    ----------
    grad
        ``grad(x, i)``: the gradient at ``x`` in iteration ``i``.
    x
        Where to start.
    callback
        Called with ``(x, i, gradient)`` before each step.
    num_iters, step_size, mass
        How many steps, how long, and what of the velocity each keeps.

    Examples
    --------
    >>> from gpugrad.compat.autograd.misc.optimizers import sgd
    >>> found = sgd(lambda p, i: {"a": 2 * (p["a"] - 3)}, {"a": 0.0})
    >>> round(float(found["a"]), 3)
    3.0
    """
    velocity = 0 * x
    for i in range(num_iters):
        g = grad(x, i)
        callback(x, i, g)
        velocity = mass * velocity - (1 - mass) * g
        x = x + step_size * velocity
    return x


@unflatten_optimizer
def rmsprop(
    grad: Gradient,
    x: Any,
    callback: Callback,
    num_iters: int = 100,
    step_size: float = 0.1,
    gamma: float = 0.9,
    eps: float = 1e-8,
) -> Any:
    """Steps divided by a running root mean square of the gradient; arguments as for `sgd`."""
    mean_square = 0 * x + 1
    for i in range(num_iters):
        g = grad(x, i)
        callback(x, i, g)
        mean_square = gamma * mean_square + (1 - gamma) * g**2
        x = x - step_size * g / (gnp.sqrt(mean_square) + eps)
    return x


@unflatten_optimizer
def adam(
    grad: Gradient,
    x: Any,
    callback: Callback,
    num_iters: int = 100,
    step_size: float = 0.001,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
) -> Any:
    """Adam (arXiv:1412.6980); arguments as for `sgd`, ``b1`` and ``b2`` weigh the moments."""
    first = second = 0 * x
    for i in range(num_iters):
        g = grad(x, i)
        callback(x, i, g)
        first = b1 * first + (1 - b1) * g
        second = b2 * second + (1 - b2) * g**2
        mean = first / (1 - b1 ** (i + 1))
        spread = second / (1 - b2 ** (i + 1))
        x = x - step_size * mean / (gnp.sqrt(spread) + eps)
    return x
