"""Numbers taken apart: quotients, fractions, exponents, bits, angles."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from gpugrad.core.abstract import shape_dtype
from gpugrad.core.box import Box
from gpugrad.device import is_cuda
from gpugrad.ops.broadcast import sum_p
from gpugrad.ops.cast import cast, is_inexact
from gpugrad.ops.complex import imag, is_complex, real
from gpugrad.ops.concrete import concrete
from gpugrad.ops.creation import counting
from gpugrad.ops.elementwise import (
    arctan2,
    binary,
    copysign,
    floor_divide,
    isinf,
    isnan,
    left_shift,
    mod,
    rad2deg,
    right_shift,
    trunc,
    unary,
    where,
)
from gpugrad.ops.elementwise import nan_to_num as nan_to_num_p
from gpugrad.ops.indexing import getitem
from gpugrad.ops.join import pad_p
from gpugrad.ops.operands import as_array, as_arrays
from gpugrad.ops.shape import expand_dims, moveaxis, normal_axis, ravel, reshape

exponent = unary("exponent", None, lambda xp, x: xp.frexp(x)[1])
ldexp: Any = binary("ldexp", lambda g, b: ldexp(g, b), None)
gcd = binary("gcd")
lcm = binary("lcm")
bitwise_count = unary("bitwise_count")


def frexp(x: Any) -> tuple[Any, Any]:
    """Mantissa and exponent: ``x = m * 2**e`` with ``0.5 <= abs(m) < 1``."""
    x = as_array(x)
    e = exponent(x)
    return ldexp(x, -e), e


def modf(x: Any) -> tuple[Any, Any]:
    """Fractional and integral part, both with the sign of ``x``."""
    x = as_array(x)
    x = x if is_inexact(shape_dtype(x).dtype) else x * 1.0
    whole = trunc(x)
    return copysign(where(isinf(x), 0, x - whole), x), whole


def divmod(a: Any, b: Any) -> tuple[Any, Any]:
    """Quotient, rounded down, and remainder."""
    return floor_divide(a, b), mod(a, b)


def angle(z: Any, deg: bool = False) -> Any:
    """The argument of complex numbers, in degrees if ``deg``; no gradient flows from a real 0."""
    z = as_array(z)
    if is_complex(z):
        out = arctan2(imag(z), real(z))
    else:
        z = z if is_inexact(shape_dtype(z).dtype) else z * 1.0
        out = arctan2(cast(z != z, shape_dtype(z).dtype), z)
    return rad2deg(out) if deg else out


def isposinf(x: Any) -> Any:
    """Whether elements are positive infinity."""
    return as_array(x) == np.inf


def isneginf(x: Any) -> Any:
    """Whether elements are negative infinity."""
    return as_array(x) == -np.inf


def real_if_close(x: Any, tol: float = 100) -> Any:
    """The real part, if every imaginary part is within ``tol`` machine epsilons (or ``tol``)."""
    x = as_array(x)
    if not is_complex(x):
        return x
    if tol > 1:
        tol = float(np.finfo(shape_dtype(x).dtype).eps) * tol
    return real(x) if bool((abs(concrete(x, "real_if_close").imag) < tol).all()) else x


def nan_to_num(
    x: Any, copy: bool = True, nan: float = 0.0, posinf: Any = None, neginf: Any = None
) -> Any:
    """``x`` with numbers in place of NaN and infinities, through which no gradient flows."""
    x = as_array(x)
    if nan == 0.0 and posinf is None and neginf is None:
        return nan_to_num_p(x)
    if is_complex(x):
        parts = [nan_to_num(p, copy, nan, posinf, neginf) for p in (real(x), imag(x))]
        return parts[0] + 1j * parts[1]
    dtype = shape_dtype(x).dtype
    if not is_inexact(dtype):
        return x
    limits = ml_dtypes.finfo(dtype)  # type: ignore[no-untyped-call]
    x = where(isnan(x), nan, x)
    x = where(x == np.inf, float(limits.max) if posinf is None else posinf, x)
    return where(x == -np.inf, float(limits.min) if neginf is None else neginf, x)


def packbits(x: Any, axis: int | None = None, bitorder: str = "big") -> Any:
    """Eight booleans as one byte along ``axis`` (None: of the flattened array)."""
    x = as_array(x)
    x, axis = (ravel(x), 0) if axis is None else (x, normal_axis(axis, shape_dtype(x).ndim))
    x = moveaxis(x != 0, axis, -1)
    *rest, n = shape_dtype(x).shape
    x = pad_p(x, width=(*((0, 0),) * len(rest), (0, -n % 8)), value=False)
    x = reshape(x, (*rest, -(-n // 8), 8))
    bits = left_shift(cast(x, np.uint8), _places(x, bitorder))
    return moveaxis(cast(sum_p(bits, axis=(len(rest) + 1,), keepdims=False), np.uint8), -1, axis)


def unpackbits(
    x: Any, axis: int | None = None, count: int | None = None, bitorder: str = "big"
) -> Any:
    """The bits of bytes as 0 and 1 along ``axis`` (None: of the flattened array)."""
    x = as_array(x)
    if shape_dtype(x).dtype != np.uint8:
        raise TypeError(f"unpackbits: bytes are needed, got {shape_dtype(x).dtype}")
    x, axis = (ravel(x), 0) if axis is None else (x, normal_axis(axis, shape_dtype(x).ndim))
    x = moveaxis(x, axis, -1)
    bits = right_shift(expand_dims(x, -1), _places(x, bitorder)) & 1
    *rest, n = shape_dtype(x).shape
    bits = reshape(bits, (*rest, 8 * n))
    if count is not None and count > 8 * n:
        bits = pad_p(bits, width=(*((0, 0),) * len(rest), (0, count - 8 * n)), value=0)
    return moveaxis(getitem(bits, (..., slice(0, count))), -1, axis)


def _places(x: Any, bitorder: str) -> Any:
    if bitorder not in ("big", "little"):
        raise ValueError(f"bitorder {bitorder!r} is neither 'big' nor 'little'")
    at = cast(counting([x], 8), np.uint8)
    return at if bitorder == "little" else 7 - at


def unravel_index(indices: Any, shape: Any, order: str = "C") -> tuple[Any, ...]:
    """The index along each axis of an array of ``shape`` for positions in it when flattened."""
    (at,) = as_arrays(indices)
    sizes = tuple(shape) if isinstance(shape, tuple | list) else (shape,)
    out = []
    for n in reversed(sizes) if order == "C" else sizes:
        out.append(at % n)
        at = at // n
    return tuple(reversed(out)) if order == "C" else tuple(out)


def ravel_multi_index(multi_index: Any, dims: Any, mode: Any = "raise", order: str = "C") -> Any:
    """Positions in a flattened array of shape ``dims`` for an index along each axis.

    ``mode`` is ``"wrap"`` or ``"clip"`` for indices outside; ``"raise"`` checks those that are on
    the host, since a look at the device's would wait for it.
    """
    from gpugrad.ops.elementwise import maximum, minimum

    parts = as_arrays(*[multi_index[i] for i in range(len(multi_index))])
    modes = (mode,) * len(parts) if isinstance(mode, str) else tuple(mode)
    out: Any = 0
    rows = list(zip(parts, dims, modes, strict=True))
    for i, n, how in rows if order == "C" else reversed(rows):
        if how == "wrap":
            i = i % n
        elif how == "clip":
            i = minimum(maximum(i, 0), n - 1)
        elif not isinstance(i, Box) and not is_cuda(i) and bool(np.any((i < 0) | (i >= n))):
            raise ValueError(f"ravel_multi_index: an index is outside of an axis of length {n}")
        out = out * n + i
    return out
