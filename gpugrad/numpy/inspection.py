"""Questions about dtypes and shapes."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from gpugrad.core.abstract import shape_dtype
from gpugrad.ops.cast import cast

_KINDS = {
    "bool": "b",
    "signed integer": "i",
    "unsigned integer": "u",
    "integral": "iu",
    "real floating": "f",
    "complex floating": "c",
    "numeric": "iufc",
}


def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Any:
    """``x`` with elements of ``dtype``; casts between floats carry the gradient.

    Complex elements become real by ``real(x)`` or ``abs(x)`` alone, as the standard has it; the
    method ``x.astype`` drops the imaginary part.
    """
    like, wanted = shape_dtype(x).dtype, np.dtype(dtype)
    if like.kind == "c" and wanted.kind not in "cb":
        raise TypeError(
            f"astype: {wanted} of {like} would drop the imaginary part: use real(x), imag(x) or "
            "abs(x) first"
        )
    out = cast(x, dtype)
    out = out.copy() if out is x and copy else out
    return out if device is None else out.to(device)


def _type_of(x: Any) -> Any:
    """What NumPy's promotion takes: a dtype, or the value of a Python scalar."""
    if isinstance(x, np.dtype | type | str):
        return x
    like = shape_dtype(x)
    return like.dtype.type(0).item() if like.weak else like.dtype


def result_type(*arrays_and_dtypes: Any) -> np.dtype[Any]:
    """The dtype that an operation on these gives."""
    return np.result_type(*[_type_of(x) for x in arrays_and_dtypes])


def can_cast(from_: Any, to: Any, /) -> bool:
    """Whether a cast loses nothing."""
    return bool(np.can_cast(_type_of(from_), _type_of(to)))


class FloatInfo:
    """What `finfo` gives: NumPy's attributes, the values among them as Python numbers."""

    def __init__(self, info: Any) -> None:
        self._info = info

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._info, name)
        return value.item() if isinstance(value, np.generic) else value

    def __repr__(self) -> str:
        return repr(self._info)


def _dtype_of(x: Any) -> np.dtype[Any]:
    found: np.dtype[Any] = np.dtype(x if isinstance(x, np.dtype | type | str) else x.dtype)
    return found


def finfo(type: Any, /) -> FloatInfo:
    """The limits of a floating-point dtype, of that of an array, or of a complex one's parts.

    Examples
    --------
    >>> import gpugrad.numpy as gnp
    >>> gnp.finfo(gnp.ones(3, dtype=gnp.float32)).eps
    1.1920928955078125e-07
    """
    dtype = _dtype_of(type)
    return FloatInfo(np.finfo(dtype) if dtype.kind in "fc" else ml_dtypes.finfo(dtype))  # type: ignore[no-untyped-call]


def iinfo(type: Any, /) -> np.iinfo[Any]:
    """The limits of an integer dtype, or of that of an array."""
    return np.iinfo(_dtype_of(type))


def isdtype(dtype: Any, kind: Any) -> bool:
    """Whether a dtype is of a kind: its name in the array API standard, a dtype or a tuple."""
    if isinstance(kind, tuple):
        return any(isdtype(dtype, k) for k in kind)
    if isinstance(kind, str) and kind in _KINDS:
        return str(np.dtype(dtype).kind) in _KINDS[kind]
    return bool(np.dtype(dtype) == np.dtype(kind))


def shape(x: Any) -> tuple[int, ...]:
    """Length of each axis."""
    return shape_dtype(x).shape


def ndim(x: Any) -> int:
    """Number of axes."""
    return shape_dtype(x).ndim


def size(x: Any, axis: int | None = None) -> int:
    """Number of elements, or the length of one axis."""
    like = shape_dtype(x)
    return like.size if axis is None else like.shape[axis]


def iscomplexobj(x: Any) -> bool:
    """Whether the elements are complex."""
    return shape_dtype(x).dtype.kind == "c"


def isrealobj(x: Any) -> bool:
    """Whether the elements are not complex."""
    return not iscomplexobj(x)


def isscalar(x: Any) -> bool:
    """Whether ``x`` is a number and not an array."""
    return bool(np.isscalar(x))
