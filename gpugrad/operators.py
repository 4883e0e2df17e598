"""The operators of an array: how ``x + y`` becomes an operation's call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpugrad.core.abstract import shape_dtype
from gpugrad.core.primitive import Primitive
from gpugrad.core.trace import autocasting, state
from gpugrad.device import HOST_TYPES, device_of, namespace
from gpugrad.ops import elementwise
from gpugrad.ops.cast import is_inexact
from gpugrad.ops.operands import as_arrays

Op = Callable[[Any, Any], Any]

LISTS = {list, tuple}
"""Operands that are arrays beside an array, on its device."""


def binary(op: Op) -> tuple[Any, Any]:
    """The operator of two operands by ``op``, and the one with the array on the right."""

    def forward(self: Any, other: Any) -> Any:
        return op(self, other if type(other) not in LISTS else as_arrays(self, other)[1])

    def reflected(self: Any, other: Any) -> Any:
        return op(other if type(other) not in LISTS else as_arrays(self, other)[1], self)

    return forward, reflected


def recorded(op: Primitive) -> tuple[Any, Any]:
    """As `binary`; operands of one trace go straight to it, as a primitive's call would end."""
    forward, reflected = binary(op)

    def applied(self: Any, other: Any) -> Any:
        trace, kind = self._trace, type(other)
        if (
            trace is not None
            and (kind in HOST_TYPES or (kind is type(self) and other._trace is trace))
            and trace.level <= state.depth
            and not autocasting
        ):
            return trace.apply(op, (self, other), {})
        return forward(self, other)

    def applied_reflected(self: Any, other: Any) -> Any:
        trace = self._trace
        if (
            trace is not None
            and type(other) in HOST_TYPES
            and trace.level <= state.depth
            and not autocasting
        ):
            return trace.apply(op, (other, self), {})
        return reflected(self, other)

    return applied, applied_reflected


def in_place(op: Op, raw_op: Op) -> Any:
    """The operator that writes to its left side: by ``op`` where recorded, else ``raw_op``."""

    def method(self: Any, other: Any) -> Any:
        return self._write(op, raw_op, other)

    return method


def into(op: Op) -> Op:
    """In place by ``op``, where CuPy has no such operator or by another function than ours."""

    def write(x: Any, other: Any) -> Any:
        y = op(x, other)
        if y.shape != x.shape:
            raise ValueError(f"in place: a result of shape {y.shape} for an array of {x.shape}")
        if isinstance(x, np.generic):
            return y
        namespace(device_of(x)).copyto(x, y, casting="same_kind")
        return x

    return write


def power(x: Any, n: Any) -> Any:
    """``x ** n``, where NumPy itself squares for 2 and takes a root for 0.5."""
    if type(n) in (int, float):
        if n == 2:
            return elementwise.square(x)
        if n == 0.5 and is_inexact(shape_dtype(x).dtype):
            return elementwise.sqrt(x)
        if n == 1:
            return elementwise.positive(x)
    return elementwise.power(x, n)
