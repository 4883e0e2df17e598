"""What the special functions share: SciPy's on the CPU, CuPy's of the same name on CUDA.

The functions stand in files of their own: `gamma`, `erf`, `bessel`, `entropy`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, NoReturn

import numpy as np

from gpugrad.core.abstract import ShapeDtype, shape_dtype
from gpugrad.core.primitive import Rule
from gpugrad.device import scipy_for
from gpugrad.ops.elementwise import Elementwise, summed, where, widened


@cache
def library(xp: Any, name: str) -> Callable[..., Any]:
    """The function of that name in SciPy or CuPy, or an error that says that there is none."""
    found: Callable[..., Any] | None = getattr(scipy_for(xp, "special"), name, None)
    if found is None:
        raise NotImplementedError(
            f"cupyx.scipy.special has no {name}, so it is not computed on CUDA: move the operands "
            'to the CPU with x.to("cpu")'
        )
    return found


_COMPLEX_ON_CUDA = {"gamma", "rgamma", "loggamma", "digamma", "xlogy", "xlog1py"}


def refuse_complex(what: str, values: Sequence[Any]) -> None:
    """Say so where there are complex numbers, before the library's own words for it."""
    for v in values:
        if shape_dtype(v).dtype.kind == "c":
            raise TypeError(
                f"{what} takes no complex numbers: on the CPU, x.to('cpu'), SciPy's functions "
                "take them where they are defined"
            )


class Special(Elementwise):
    """A function of ``scipy.special``, element by element.

    ``impl(xp, *operands)`` may take the place of the function called ``name``.
    """

    __slots__ = ()

    def __init__(
        self,
        name: str,
        operands: str,
        derivatives: tuple[Rule | None, ...],
        impl: Callable[..., Any] | None = None,
    ) -> None:
        super().__init__(name, impl or name, operands, derivatives)
        if len(derivatives) == 1:  # of float16 SciPy makes float32, so a cotangent may need a cast
            self.vjp = (summed(derivatives[0], operands),)
            self.jvp = (widened(derivatives[0]),)

    def _bind(self, xp: Any) -> Callable[..., Any]:
        impl = self._impl
        if not isinstance(impl, str):
            return partial(impl, xp)

        def call(*values: Any) -> Any:
            found = library(xp, impl)  # only now: loading SciPy takes long
            if xp is not np and impl not in _COMPLEX_ON_CUDA:
                refuse_complex(f"cupyx.scipy.special.{impl}", values)
            for v in values:
                if not (hasattr(v, "dtype") and v.dtype.char in "dD"):
                    dtype = precision([shape_dtype(v) for v in values])
                    return found(*[in_precision(v, dtype) for v in values])
            return found(*values)

        return call

    def _shape(self, *operands: ShapeDtype, **params: Any) -> ShapeDtype:
        return ShapeDtype(np.broadcast_shapes(*[o.shape for o in operands]), precision(operands))


def precision(operands: Sequence[ShapeDtype]) -> np.dtype[Any]:
    """Single where no operand is wider, else double; numbers of Python's go with arrays.

    SciPy and CuPy each have their own rules for integers, half precision and numbers.
    """
    strong = [o.dtype for o in operands if not o.weak]
    kind = np.result_type(*strong) if strong else np.dtype(float)
    wide = np.dtype(np.float32) if kind.itemsize <= 2 and kind.kind not in "iub" else kind
    wide = wide if wide.kind in "fc" else np.dtype(float)
    return (
        np.result_type(wide, np.complex64) if any(o.dtype.kind == "c" for o in operands) else wide
    )


def in_precision(value: Any, dtype: np.dtype[Any]) -> Any:
    """``value`` in that precision; a real one stays real beside complex ones."""
    like = shape_dtype(value)
    if dtype.kind == "c" and like.dtype.kind != "c":
        dtype = dtype.type(0).real.dtype
    return value.astype(dtype, copy=False) if hasattr(value, "astype") else dtype.type(value)


def beside(number: Any, x: Any) -> Any:
    """A number of Python's in the precision of ``x``, so that functions of it do not widen."""
    if isinstance(number, int | float) and not isinstance(x, int | float):
        return precision([shape_dtype(x)]).type(number)
    return number


def unary(name: str, derivative: Rule | None, impl: Any = None) -> Special:
    """A function of one operand ``x``."""
    return Special(name, "x", (derivative,), impl)


def binary(name: str, operands: str, da: Rule | None, db: Rule | None, impl: Any = None) -> Special:
    """A function of two operands."""
    return Special(name, operands, (da, db), impl)


def no_derivative(name: str, operand: str) -> Rule:
    """A rule that says that there is none: a gradient of zero would be wrong in silence."""

    def rule(g: Any) -> NoReturn:
        raise TypeError(
            f"{name} has no derivative with respect to {operand!r} here, as in SciPy and HIPS "
            f"autograd: pass a constant, such as gg.stop_gradient({operand})"
        )

    return rule


def ratio(x: Any, y: Any) -> Any:
    """``x / y``, and 0 for 0 / 0: the slope of ``x log y`` where that is 0 by convention."""
    return x / where((x == 0) & (y == 0), 1, y)
