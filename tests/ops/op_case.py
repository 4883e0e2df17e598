"""A case: an operation with NumPy's function and how to draw operands from its domain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from op_draw import Draw, Maker, real

import gpugrad.numpy as gnp

Sample = tuple[list[Maker], dict[str, Any]]


@dataclass(frozen=True)
class Case:
    """``f(*operands, **params)`` of gpugrad, ``ref`` of NumPy.

    ``low``: NumPy has it for float16 too, and float32 computes it to 1e-3. ``cuda``: CuPy has it.
    ``smooth``: it is differentiable where it is drawn.
    """

    name: str
    f: Callable[..., Any]
    ref: Callable[..., Any]
    sample: Callable[[Draw], Sample]
    low: bool = True
    cuda: bool = True
    smooth: bool = True

    def __str__(self) -> str:
        return self.name


CASES: dict[str, Case] = {}


def case(
    name: str,
    sample: Callable[[Draw], Sample],
    f: Callable[..., Any] | None = None,
    ref: Callable[..., Any] | None = None,
    **options: Any,
) -> None:
    """Add a case; the part of ``name`` before a space names the functions if none are given."""
    plain = name.split()[0]
    assert name not in CASES
    CASES[name] = Case(name, f or getattr(gnp, plain), ref or getattr(np, plain), sample, **options)


def one(make: Callable[..., Maker], *args: Any) -> Callable[[Draw], Sample]:
    return lambda d: ([make(d.shape(), *args)], {})


def two(make_a: Any, make_b: Any = None) -> Callable[[Draw], Sample]:
    def sample(d: Draw) -> Sample:
        a, b = d.broadcastable(2)
        return [make_a(a), (make_b or make_a)(b)], {}

    return sample


def within(low: float, high: float) -> Callable[..., Maker]:
    return lambda shape: real(shape, low, high)


def over_axes(make: Callable[..., Maker], least: int = 0, **more: Any) -> Callable[[Draw], Sample]:
    def sample(d: Draw) -> Sample:
        shape = d.shape(least)
        return [make(shape)], {"axis": d.axes(len(shape)), "keepdims": d.flag(), **more}

    return sample


def over_axis(make: Callable[..., Maker], keep: bool = True) -> Callable[[Draw], Sample]:
    def sample(d: Draw) -> Sample:
        shape = d.shape(1)
        params: dict[str, Any] = {"axis": d.pick([None, d.axis(len(shape))])}
        return [make(shape)], {**params, "keepdims": d.flag()} if keep else params

    return sample
