"""Drawing operands: shapes from Hypothesis (or from a seed), values from a generator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import hypothesis
import numpy as np
from hypothesis import strategies as st

Maker = Callable[[np.random.Generator], Any]
"""Makes an operand's values; called again it makes another example of the same shape."""


class Draw:
    """Choices of shapes and parameters, all by way of one ``choose(low, high)``."""

    def __init__(self, choose: Callable[[int, int], int], sides: int = 3, rank: int = 3) -> None:
        self.integer = choose
        self.sides = sides
        self.rank = rank

    def pick(self, items: Sequence[Any]) -> Any:
        return items[self.integer(0, len(items) - 1)]

    def flag(self) -> bool:
        return bool(self.integer(0, 1))

    def shape(self, low: int = 0, high: int | None = None, least: int = 1) -> tuple[int, ...]:
        high = max(low, self.rank) if high is None else high
        return tuple(self.integer(least, self.sides) for _ in range(self.integer(low, high)))

    def broadcastable(self, count: int) -> list[tuple[int, ...]]:
        """Shapes that broadcast: each drops leading axes of a common shape and some lengths."""
        full = self.shape()
        out = []
        for _ in range(count):
            cut = full[self.integer(0, len(full)) :]
            out.append(tuple(n if self.integer(0, 2) else 1 for n in cut))
        return out

    def axis(self, ndim: int) -> int:
        return self.integer(-ndim, ndim - 1)

    def axes(self, ndim: int) -> Any:
        """None, an axis, or several in any order."""
        kind = self.integer(0, 2)
        if kind == 0 or ndim == 0:
            return None
        if kind == 1:
            return self.axis(ndim)
        return tuple(
            a - ndim if self.flag() else a for a in self.order(ndim)[: self.integer(0, ndim)]
        )

    def order(self, n: int) -> tuple[int, ...]:
        rest = list(range(n))
        return tuple(rest.pop(self.integer(0, len(rest) - 1)) for _ in range(n))


def by_hypothesis(data: st.DataObject, small: bool) -> tuple[Draw, np.random.Generator]:
    """Draw from Hypothesis; ``small`` shapes for a device whose launches are slow."""

    def choose(low: int, high: int) -> int:
        return data.draw(st.integers(low, high))

    draw = Draw(choose, 2, 2) if small else Draw(choose)
    return draw, np.random.default_rng(choose(0, 2**32 - 1))


def by_seed(seed: int) -> tuple[Draw, np.random.Generator]:
    """Draw from a seed."""
    rng = np.random.default_rng(seed)
    return Draw(lambda low, high: int(rng.integers(low, high + 1))), rng


def examples(count: int) -> hypothesis.settings:
    return hypothesis.settings(
        max_examples=count,
        deadline=None,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )


# ------------------------------------------------------------------------------ values


def real(shape: tuple[int, ...], low: float = -2, high: float = 2) -> Maker:
    return lambda rng: rng.uniform(low, high, shape)


def nonzero(shape: tuple[int, ...]) -> Maker:
    """Of either sign, away from 0."""
    return lambda rng: rng.uniform(0.3, 2, shape) * rng.choice([-1, 1], shape)


def between_integers(shape: tuple[int, ...]) -> Maker:
    """Away from where rounding jumps, at integers and halves."""
    return lambda rng: rng.integers(-3, 3, shape) + rng.choice([0.1, 0.4, 0.6, 0.9], shape)


def distinct(shape: tuple[int, ...]) -> Maker:
    """No two elements closer than 0.1."""
    size = int(np.prod(shape))
    return lambda rng: (
        rng.permutation(size).reshape(shape) * 0.3 + rng.uniform(0, 0.2, shape) - size * 0.15
    )


def on_grid(shape: tuple[int, ...], offset: float) -> Maker:
    """Elements that stay away from those of a grid with another offset."""
    return lambda rng: rng.integers(-4, 4, shape) + offset + rng.uniform(0, 0.1, shape)


def some_zeros(shape: tuple[int, ...]) -> Maker:
    return lambda rng: rng.uniform(0.5, 1.5, shape) * rng.choice([-1, 0, 1], shape)


def complexes(shape: tuple[int, ...], low: float = 0.4, high: float = 1.5) -> Maker:
    """In the right half plane, where the common functions are analytic."""
    return lambda rng: rng.uniform(low, high, shape) + 1j * rng.uniform(-1, 1, shape)


def integers(shape: tuple[int, ...], low: int = 0, high: int = 5) -> Maker:
    return lambda rng: rng.integers(low, high, shape)


def booleans(shape: tuple[int, ...]) -> Maker:
    return lambda rng: rng.integers(0, 2, shape).astype(bool)
