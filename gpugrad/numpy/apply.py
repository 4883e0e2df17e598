"""Functions of slices and of elements, mapped over an array by ``vmap``."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from gpugrad.core.abstract import shape_dtype
from gpugrad.ops.broadcast import broadcast_to
from gpugrad.ops.operands import as_array, as_arrays
from gpugrad.ops.shape import expand_dims, moveaxis, normal_axis, reshape
from gpugrad.transforms.batch import vmap


def apply_along_axis(
    func1d: Callable[..., Any], axis: int, arr: Any, *args: Any, **kwargs: Any
) -> Any:
    """``func1d`` of every slice along ``axis``, whose place the axes of its result take.

    All slices are computed at once, as by ``vmap``: ``func1d`` is made of array functions and does
    not decide by an element's value.
    """
    x = as_array(arr)
    shape = shape_dtype(x).shape
    at = normal_axis(axis, len(shape))
    rest = shape[:at] + shape[at + 1 :]
    rows = reshape(moveaxis(x, at, -1), (math.prod(rest), shape[at]))
    y = vmap(lambda row: func1d(row, *args, **kwargs))(rows)
    inner = shape_dtype(y).shape[1:]
    y = reshape(y, (*rest, *inner))
    places = tuple(range(len(rest), len(rest) + len(inner)))
    return moveaxis(y, places, tuple(range(at, at + len(inner))))


def apply_over_axes(func: Callable[..., Any], a: Any, axes: Any) -> Any:
    """``func(a, axis)`` over one axis after the other, each kept with length 1."""
    x = as_array(a)
    ndim = shape_dtype(x).ndim
    for axis in axes if isinstance(axes, list | tuple) else (axes,):
        at = normal_axis(axis, ndim)
        y = func(x, at)
        x = y if shape_dtype(y).ndim == ndim else expand_dims(y, at)
        if shape_dtype(x).ndim != ndim:
            raise ValueError("apply_over_axes: func does not give an array of the right shape")
    return x


def _core_axes(signature: str) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    """The names of the axes that ``"(m,n),(n)->(m)"`` gives each operand and result."""
    one = r"\([\w\s,]*\)"
    if not re.fullmatch(rf"\s*{one}(\s*,\s*{one})*\s*->\s*{one}(\s*,\s*{one})*\s*", signature):
        raise ValueError(f"vectorize: signature {signature!r} is not like '(m,n),(n)->(m)'")
    sides = [re.findall(one, side) for side in signature.split("->")]
    return tuple(  # type: ignore[return-value]
        [tuple(re.findall(r"\w+", group)) for group in side] for side in sides
    )


class vectorize:
    """A function of numbers (or of what ``signature`` says) as one of arrays that broadcast.

    The function is mapped by ``vmap``: all elements at once and differentiable, on any device. It
    is made of array functions, so that a choice by value is ``where`` and not ``if``.

    Parameters
    ----------
    pyfunc
        The function.
    otypes, doc, cache
        Have no effect: a function's result has the type that its operations give.
    excluded
        Positions and names of arguments that are passed as they are.
    signature
        Axes of operands and results that belong to the function, such as ``"(m,n),(n)->(m)"``.

    Examples
    --------
    >>> import numpy as np, gpugrad as gg, gpugrad.numpy as gnp
    >>> f = gnp.vectorize(lambda a, b: gnp.where(a > b, a - b, a + b))
    >>> f(np.array([1.0, 2.0, 3.0]), 2.0)
    array([3., 4., 1.])
    """

    def __init__(
        self,
        pyfunc: Callable[..., Any],
        otypes: Any = None,
        doc: str | None = None,
        excluded: Collection[int | str] = (),
        cache: bool = False,
        signature: str | None = None,
    ) -> None:
        self.pyfunc = pyfunc
        self.excluded = set(excluded)
        self.signature = signature
        self.__doc__ = doc or pyfunc.__doc__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Map the function over all arguments that are not excluded."""
        names: list[int | str] = [i for i in range(len(args)) if i not in self.excluded]
        names += [k for k in kwargs if k not in self.excluded]
        operands = as_arrays(*[args[n] if isinstance(n, int) else kwargs[n] for n in names])
        if self.signature is None:
            cores = [0] * len(operands)
        else:
            axes, _ = _core_axes(self.signature)
            if len(axes) != len(operands):
                raise TypeError(
                    f"vectorize: {len(operands)} operands for signature {self.signature!r}"
                )
            self._check(axes, operands)
            cores = [len(a) for a in axes]
        shapes = [shape_dtype(x).shape for x in operands]
        loops = [s[: len(s) - c] for s, c in zip(shapes, cores, strict=True)]
        loop = np.broadcast_shapes(*loops)
        rows = [
            reshape(broadcast_to(x, (*loop, *s[len(part) :])), (math.prod(loop), *s[len(part) :]))
            for x, s, part in zip(operands, shapes, loops, strict=True)
        ]

        def call(*mapped: Any) -> Any:
            full, named = list(args), dict(kwargs)
            for n, x in zip(names, mapped, strict=True):
                if isinstance(n, int):
                    full[n] = x
                else:
                    named[n] = x
            return self.pyfunc(*full, **named)

        out = vmap(call)(*rows)
        whole = [reshape(y, (*loop, *shape_dtype(y).shape[1:])) for y in _several(out)]
        return tuple(whole) if isinstance(out, tuple) else whole[0]

    def _check(self, axes: list[tuple[str, ...]], operands: tuple[Any, ...]) -> None:
        sizes: dict[str, int] = {}
        for names, x in zip(axes, operands, strict=True):
            shape = shape_dtype(x).shape
            if len(shape) < len(names):
                raise ValueError(
                    f"vectorize: an operand of shape {shape} has no axes for {names} of "
                    f"{self.signature!r}"
                )
            for name, n in zip(names, shape[len(shape) - len(names) :], strict=True):
                if sizes.setdefault(name, n) != n:
                    raise ValueError(
                        f"vectorize: axis {name!r} of {self.signature!r} has lengths "
                        f"{sizes[name]} and {n}"
                    )


def _several(out: Any) -> tuple[Any, ...]:
    return out if isinstance(out, tuple) else (out,)
