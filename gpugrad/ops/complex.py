"""Real and imaginary parts and the conjugate.

Convention: that of HIPS autograd and JAX. For a real function of ``z = x + iy`` the gradient is
``df/dx - i df/dy``; a VJP is the transpose of the derivative as a linear map, not its adjoint.
"""

from __future__ import annotations

from typing import Any

from gpugrad.core.abstract import ShapeDtype, shape_dtype
from gpugrad.core.loose import array_of
from gpugrad.core.primitive import LINEAR, Primitive
from gpugrad.ops.batching import pointwise
from gpugrad.ops.cast import cast


def _part(x: ShapeDtype) -> ShapeDtype:
    return ShapeDtype(x.shape, x.dtype.type(0).real.dtype)


real_p = Primitive(
    "real",
    "real",
    shape=_part,
    vjp=lambda g, x_like: cast(g, x_like.dtype),
    jvp=LINEAR,
    batch=pointwise,
)
imag_p = Primitive(
    "imag",
    "imag",
    shape=_part,
    vjp=lambda g, x_like: cast(-1j * g, x_like.dtype),
    jvp=LINEAR,
    batch=pointwise,
)
conj_p = Primitive(
    "conj", "conj", shape=lambda x: x, vjp=lambda g: conj(g), jvp=LINEAR, batch=pointwise
)


def is_complex(x: Any) -> bool:
    """Whether ``x`` has complex elements."""
    return shape_dtype(x).dtype.kind == "c"


def real(x: Any) -> Any:
    """Real part."""
    return real_p(x) if is_complex(x) else array_of(x)


def imag(x: Any) -> Any:
    """Imaginary part; zeros for a real ``x``."""
    return imag_p(x)


def conj(x: Any) -> Any:
    """Complex conjugate."""
    return conj_p(x) if is_complex(x) else array_of(x)
