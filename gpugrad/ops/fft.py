"""Discrete Fourier transforms. They are linear: the JVP is the transform of the tangent.

With ``w = exp(-2 pi i / n)`` the transform is ``y[k] = sum_j x[j] w^(j k)``. Its matrix is
symmetric, so it is its own transpose, and the VJP of `fft_p` is `fft_p`. A real transform keeps
the first ``n // 2 + 1`` of those elements, the others being their conjugates; the transposes of
`rfft_p` and `irfft_p` are therefore each other, conjugated and with the elements that stand for
two counted twice (`interior_p`).
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import Any

import numpy as np

from gpugrad.core.abstract import ShapeDtype, shape_dtype
from gpugrad.core.primitive import LINEAR, Primitive
from gpugrad.ops.batching import over_axis
from gpugrad.ops.broadcast import unbroadcast
from gpugrad.ops.cast import cast
from gpugrad.ops.complex import conj, is_complex
from gpugrad.ops.indexing import getitem
from gpugrad.ops.join import pad_p
from gpugrad.ops.shape import normal_axis, roll

Axes = tuple[int, ...]

SWAPPED = {"backward": "forward", "ortho": "ortho", "forward": "backward"}
"""The normalisation by which the transform the other way has the same factor."""


def _complex_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """NumPy's: the complex type of that precision, double for integers."""
    found: np.dtype[Any] = np.fft.fft(np.zeros(1, dtype)).dtype
    return found


def _real_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    found: np.dtype[Any] = _complex_dtype(dtype).type(0).real.dtype
    return found


def _resized(shape: tuple[int, ...], axis: int, n: int) -> tuple[int, ...]:
    return (*shape[:axis], n, *shape[axis + 1 :])


def _fft(xp: Any, x: Any, *, axis: Axes, inverse: bool, norm: str) -> Any:
    if len(axis) == 1:
        return (xp.fft.ifft if inverse else xp.fft.fft)(x, axis=axis[0], norm=norm)
    return (xp.fft.ifftn if inverse else xp.fft.fftn)(x, axes=axis, norm=norm)


fft_p: Primitive = Primitive(
    "fft",
    _fft,
    shape=lambda x, *, axis, inverse, norm: ShapeDtype(x.shape, _complex_dtype(x.dtype)),
    vjp=lambda g, x_like, axis, inverse, norm: unbroadcast(
        fft_p(g, axis=axis, inverse=inverse, norm=norm), x_like
    ),
    jvp=LINEAR,
    batch=over_axis,
)
"""The transform over one or more axes, each once; the inverse one if ``inverse``."""


def _rfft(xp: Any, x: Any, *, axis: Axes, norm: str) -> Any:
    if len(axis) == 1:
        return xp.fft.rfft(x, axis=axis[0], norm=norm)
    return xp.fft.rfftn(x, axes=axis, norm=norm)


rfft_p: Primitive = Primitive(
    "rfft",
    _rfft,
    shape=lambda x, *, axis, norm: ShapeDtype(
        _resized(x.shape, axis[-1], x.shape[axis[-1]] // 2 + 1), _complex_dtype(x.dtype)
    ),
    vjp=lambda g, x_like, axis, norm: cast(
        irfft_p(
            interior_p(conj(g), n=x_like.shape[axis[-1]], axis=axis[-1], factor=0.5),
            n=x_like.shape[axis[-1]],
            axis=axis,
            norm=SWAPPED[norm],
        ),
        x_like.dtype,
    ),
    jvp=LINEAR,
    batch=over_axis,
)
"""The transform of real elements; of the last of ``axis`` half the elements are kept."""


def _irfft(xp: Any, x: Any, *, n: int, axis: Axes, norm: str) -> Any:
    # One axis after another, as NumPy: what cuFFT's transform of many axes makes of elements that
    # are no real array's transform is not defined.
    if len(axis) > 1:
        x = xp.fft.ifftn(x, axes=axis[:-1], norm=norm)
    if xp is not np:  # nor is what it makes of imaginary parts at the ends, which NumPy ignores
        x = x if len(axis) > 1 else x.copy()
        for at in _ends(n, axis[-1]):
            x.imag[at] = 0
    return xp.fft.irfft(x, n, axis=axis[-1], norm=norm)


def _ends(n: int, axis: int) -> list[tuple[Any, ...]]:
    """Where in half a spectrum of ``n`` are the elements that are their own conjugates."""
    return [(*(slice(None),) * axis, end) for end in ((0, n // 2) if n % 2 == 0 else (0,))]


irfft_p: Primitive = Primitive(
    "irfft",
    _irfft,
    shape=lambda x, *, n, axis, norm: ShapeDtype(
        _resized(x.shape, axis[-1], n), _real_dtype(x.dtype)
    ),
    vjp=lambda g, x_like, n, axis, norm: cast(
        interior_p(conj(rfft_p(g, axis=axis, norm=SWAPPED[norm])), n=n, axis=axis[-1], factor=2.0),
        x_like.dtype,
    ),
    jvp=LINEAR,
    batch=over_axis,
)
"""The inverse of `rfft_p`, real of length ``n``, from ``n // 2 + 1`` complex elements."""


def _interior(xp: Any, x: Any, *, n: int, axis: int, factor: float) -> Any:
    y = x * factor
    for at in _ends(n, axis):
        y[at] = x[at]
    return y


interior_p: Primitive = Primitive(
    "interior",
    _interior,
    shape=lambda x, *, n, axis, factor: x,
    vjp=lambda g, n, axis, factor: interior_p(g, n=n, axis=axis, factor=factor),
    jvp=LINEAR,
    batch=over_axis,
)
"""Half a spectrum, those elements times ``factor`` that stand for two of all ``n``."""


def _norm(norm: str | None) -> str:
    if norm is None:
        return "backward"
    if norm not in SWAPPED:
        raise ValueError(f"norm {norm!r} is none of 'backward', 'ortho', 'forward'")
    return norm


def _length(x: Any, axis: int, n: int) -> Any:
    """``x`` cropped, or padded with zeros, to ``n`` elements along ``axis``."""
    shape = shape_dtype(x).shape
    have = shape[axis]
    if n < have:
        return getitem(x, (*(slice(None),) * axis, slice(0, n)))
    if n == have:
        return x
    width = tuple((0, n - have if a == axis else 0) for a in range(len(shape)))
    return pad_p(x, width=width, value=0)


def _sizes(x: Any, s: Any, axes: Any, default: Axes | None) -> tuple[list[int | None], list[int]]:
    """Lengths and axes of a transform over several; None for a length that stays."""
    ndim = shape_dtype(x).ndim
    if axes is None:
        axes = default
    if axes is None:
        axes = range(ndim) if s is None else range(-len(s), 0)
    at = [normal_axis(a, ndim) for a in axes]
    lengths: list[int | None] = [None] * len(at)
    if s is not None:
        if len(s) != len(at):
            raise ValueError(f"s {tuple(s)} has {len(s)} lengths for {len(at)} axes")
        lengths = [None if n is None or index(n) == -1 else _positive(n) for n in s]
    return lengths, at


def _positive(n: Any) -> int:
    if index(n) < 1:
        raise ValueError(f"a transform needs at least one point, got length {n}")
    return index(n)


def _over(x: Any, s: Any, axes: Any, norm: str | None, inverse: bool, default: Any = None) -> Any:
    lengths, at = _sizes(x, s, axes, default)
    if len(set(at)) < len(at):  # NumPy transforms over an axis as often as it is named
        for a, n in zip(reversed(at), reversed(lengths), strict=True):
            x = _over(x, [-1 if n is None else n], (a,), norm, inverse)
        return x
    for a, n in zip(at, lengths, strict=True):
        if n is not None:
            x = _length(x, a, n)
    if not at:
        return cast(x, _complex_dtype(shape_dtype(x).dtype))
    return fft_p(x, axis=tuple(at), inverse=inverse, norm=_norm(norm))


def fft(x: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Any:
    """Discrete Fourier transform over ``axis``, cropped or padded with zeros to ``n`` points.

    ``norm`` says which direction carries the factor ``1 / n``: "backward" (the default) the
    inverse, "forward" this one, "ortho" its root each.
    """
    return _over(x, None if n is None else (_positive(n),), (axis,), norm, False)


def ifft(x: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Any:
    """The inverse of `fft`."""
    return _over(x, None if n is None else (_positive(n),), (axis,), norm, True)


def fftn(x: Any, s: Any = None, axes: Any = None, norm: str | None = None) -> Any:
    """Discrete Fourier transform over ``axes``: the last ``len(s)`` or all by default."""
    return _over(x, s, axes, norm, False)


def ifftn(x: Any, s: Any = None, axes: Any = None, norm: str | None = None) -> Any:
    """The inverse of `fftn`."""
    return _over(x, s, axes, norm, True)


def fft2(x: Any, s: Any = None, axes: Any = (-2, -1), norm: str | None = None) -> Any:
    """Discrete Fourier transform over two axes."""
    return _over(x, s, axes, norm, False, (-2, -1))


def ifft2(x: Any, s: Any = None, axes: Any = (-2, -1), norm: str | None = None) -> Any:
    """The inverse of `fft2`."""
    return _over(x, s, axes, norm, True, (-2, -1))


def _halved(at: Sequence[int], what: str) -> Axes:
    if not at:
        raise ValueError(f"{what} needs at least one axis")
    if len(set(at)) < len(at):
        raise ValueError(f"{what}: axes {tuple(at)} name an axis twice")
    return tuple(at)


def rfft(x: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Any:
    """Transform of real elements over ``axis``: the first ``n // 2 + 1`` of what `fft` gives."""
    return rfftn(x, None if n is None else (_positive(n),), (axis,), norm)


def rfftn(x: Any, s: Any = None, axes: Any = None, norm: str | None = None) -> Any:
    """Transform of real elements over ``axes``; the last one keeps ``n // 2 + 1`` elements."""
    if is_complex(x):
        raise TypeError(
            f"rfft transforms real elements, got {shape_dtype(x).dtype}: use fft, or x.real"
        )
    lengths, at = _sizes(x, s, axes, None)
    for a, n in zip(at, lengths, strict=True):
        if n is not None:
            x = _length(x, a, n)
    return rfft_p(x, axis=_halved(at, "rfftn"), norm=_norm(norm))


def rfft2(x: Any, s: Any = None, axes: Any = (-2, -1), norm: str | None = None) -> Any:
    """`rfftn` over two axes."""
    return rfftn(x, s, (-2, -1) if axes is None else axes, norm)


def irfft(x: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Any:
    """The inverse of `rfft`: real, of ``n`` points, ``2 (m - 1)`` from ``m`` by default."""
    return irfftn(x, None if n is None else (_positive(n),), (axis,), norm)


def irfftn(x: Any, s: Any = None, axes: Any = None, norm: str | None = None) -> Any:
    """The inverse of `rfftn`; the last axis has ``2 (m - 1)`` points from ``m`` by default."""
    lengths, at = _sizes(x, s, axes, None)
    axis = _halved(at, "irfftn")
    for a, n in zip(at[:-1], lengths[:-1], strict=True):
        if n is not None:
            x = _length(x, a, n)
    n = lengths[-1]
    if n is None:
        n = _positive(2 * (shape_dtype(x).shape[at[-1]] - 1))
    x = _length(x, at[-1], n // 2 + 1)
    return irfft_p(cast(x, _complex_dtype(shape_dtype(x).dtype)), n=n, axis=axis, norm=_norm(norm))


def irfft2(x: Any, s: Any = None, axes: Any = (-2, -1), norm: str | None = None) -> Any:
    """`irfftn` over two axes."""
    return irfftn(x, s, (-2, -1) if axes is None else axes, norm)


def hfft(x: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Any:
    """Real transform of a signal that is Hermitian, given by its first half."""
    return irfft(conj(x), n, axis, SWAPPED[_norm(norm)])


def ihfft(x: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Any:
    """The inverse of `hfft`."""
    return conj(rfft(x, n, axis, SWAPPED[_norm(norm)]))


def _shifted(x: Any, axes: Any, back: bool) -> Any:
    shape = shape_dtype(x).shape
    if axes is None:
        axes = range(len(shape))
    at = [normal_axis(a, len(shape)) for a in (axes if isinstance(axes, Sequence) else (axes,))]
    by = tuple(-(shape[a] // 2) if back else shape[a] // 2 for a in at)
    return roll(x, by, tuple(at)) if at else x


def fftshift(x: Any, axes: Any = None) -> Any:
    """Frequency zero moved to the middle of ``axes`` (None: of all)."""
    return _shifted(x, axes, False)


def ifftshift(x: Any, axes: Any = None) -> Any:
    """The inverse of `fftshift`."""
    return _shifted(x, axes, True)
