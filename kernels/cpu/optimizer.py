"""Steps of optimizers over many tensors: the rules of ``cuda/optimizer.cu``, chunk by chunk.

Each takes the table of addresses by (parameter, gradient, states...; tensor) and the numbers that
`gpugrad.kernels.optimizer` has worked out for this step, all in the dtype of ``numbers``.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from gpugrad.kernels.cpu import shared
from gpugrad.kernels.cpu.pointers import elements
from gpugrad.kernels.many import CHUNK

_loop = shared.loop(cache=True, error_model="numpy", fastmath={"contract"})


@numba.njit(inline="always")  # type: ignore[misc, unused-ignore]
def _part(c: int, sizes: Any, first: Any, owner: Any) -> Any:
    t = owner[c]
    start = (c - first[t]) * CHUNK
    return t, start, min(start + CHUNK, sizes[t])


@_loop
def sgd(begin: int, end: int, table: Any, sizes: Any, first: Any, owner: Any, numbers: Any) -> None:
    """Without momentum."""
    factor, rate, decay = numbers
    for c in range(begin, end):
        t, start, stop = _part(c, sizes, first, owner)
        p = elements(table[0, t], start, stop, numbers)
        g = elements(table[1, t], start, stop, numbers)
        for i in range(stop - start):
            p[i] -= rate * (factor * g[i] + decay * p[i])


@_loop
def momentum(
    begin: int, end: int, table: Any, sizes: Any, first: Any, owner: Any, numbers: Any
) -> None:
    """SGD with momentum."""
    factor, rate, decay, keep, fresh, ahead, current = numbers
    for c in range(begin, end):
        t, start, stop = _part(c, sizes, first, owner)
        p = elements(table[0, t], start, stop, numbers)
        g = elements(table[1, t], start, stop, numbers)
        s = elements(table[2, t], start, stop, numbers)
        for i in range(stop - start):
            d = factor * g[i] + decay * p[i]
            s[i] = keep * s[i] + fresh * d
            p[i] -= rate * (current * d + ahead * s[i])


@_loop
def adam(
    begin: int, end: int, table: Any, sizes: Any, first: Any, owner: Any, numbers: Any
) -> None:
    """Adam and AdamW."""
    factor, rate, fresh1, keep2, fresh2, root, epsilon, decay, shrink = numbers
    for c in range(begin, end):
        t, start, stop = _part(c, sizes, first, owner)
        p = elements(table[0, t], start, stop, numbers)
        g = elements(table[1, t], start, stop, numbers)
        m = elements(table[2, t], start, stop, numbers)
        v = elements(table[3, t], start, stop, numbers)
        for i in range(stop - start):
            d = factor * g[i] + decay * p[i]
            m[i] += fresh1 * (d - m[i])
            v[i] = keep2 * v[i] + fresh2 * (d * d)
            p[i] = shrink * p[i] - rate * m[i] / (np.sqrt(v[i]) * root + epsilon)


@_loop
def amsgrad(
    begin: int, end: int, table: Any, sizes: Any, first: Any, owner: Any, numbers: Any
) -> None:
    """Adam and AdamW by the largest second moment so far."""
    factor, rate, fresh1, keep2, fresh2, root, epsilon, decay, shrink = numbers
    for c in range(begin, end):
        t, start, stop = _part(c, sizes, first, owner)
        p = elements(table[0, t], start, stop, numbers)
        g = elements(table[1, t], start, stop, numbers)
        m = elements(table[2, t], start, stop, numbers)
        v = elements(table[3, t], start, stop, numbers)
        largest = elements(table[4, t], start, stop, numbers)
        for i in range(stop - start):
            d = factor * g[i] + decay * p[i]
            m[i] += fresh1 * (d - m[i])
            v[i] = keep2 * v[i] + fresh2 * (d * d)
            if v[i] > largest[i] or v[i] != v[i]:
                largest[i] = v[i]
            p[i] = shrink * p[i] - rate * m[i] / (np.sqrt(largest[i]) * root + epsilon)


@_loop
def adagrad(
    begin: int, end: int, table: Any, sizes: Any, first: Any, owner: Any, numbers: Any
) -> None:
    """Adagrad."""
    factor, rate, epsilon, decay = numbers
    for c in range(begin, end):
        t, start, stop = _part(c, sizes, first, owner)
        p = elements(table[0, t], start, stop, numbers)
        g = elements(table[1, t], start, stop, numbers)
        s = elements(table[2, t], start, stop, numbers)
        for i in range(stop - start):
            d = factor * g[i] + decay * p[i]
            s[i] += d * d
            p[i] -= rate * d / (np.sqrt(s[i]) + epsilon)


@_loop
def rmsprop(
    begin: int,
    end: int,
    table: Any,
    sizes: Any,
    first: Any,
    owner: Any,
    numbers: Any,
    mean_at: int,
    velocity_at: int,
) -> None:
    """RMSprop; the rows of the table with the means and the velocities, 0 where there are none."""
    factor, rate, keep, fresh, epsilon, decay, momentum = numbers
    for c in range(begin, end):
        t, start, stop = _part(c, sizes, first, owner)
        p = elements(table[0, t], start, stop, numbers)
        g = elements(table[1, t], start, stop, numbers)
        s = elements(table[2, t], start, stop, numbers)
        mean = elements(table[mean_at, t], start, stop, numbers)
        velocity = elements(table[velocity_at, t], start, stop, numbers)
        for i in range(stop - start):
            d = factor * g[i] + decay * p[i]
            s[i] = keep * s[i] + fresh * (d * d)
            v = s[i]
            if mean_at:
                mean[i] += fresh * (d - mean[i])
                v -= mean[i] * mean[i]
            d = d / (np.sqrt(v) + epsilon)
            if velocity_at:
                velocity[i] = momentum * velocity[i] + d
                d = velocity[i]
            p[i] -= rate * d


@_loop
def lion(
    begin: int, end: int, table: Any, sizes: Any, first: Any, owner: Any, numbers: Any
) -> None:
    """Lion."""
    factor, rate, shrink, keep1, fresh1, keep2, fresh2 = numbers
    zero = numbers.dtype.type(0)
    for c in range(begin, end):
        t, start, stop = _part(c, sizes, first, owner)
        p = elements(table[0, t], start, stop, numbers)
        g = elements(table[1, t], start, stop, numbers)
        m = elements(table[2, t], start, stop, numbers)
        for i in range(stop - start):
            d = factor * g[i]
            u = keep1 * m[i] + fresh1 * d
            m[i] = keep2 * m[i] + fresh2 * d
            move = rate if u > zero else (-rate if u < zero else rate * u)
            p[i] = shrink * p[i] - move
