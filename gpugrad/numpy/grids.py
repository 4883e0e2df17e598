"""Grids of coordinates and of indices, on the default device unless one is named."""

from __future__ import annotations

from collections.abc import Callable
from operator import index
from typing import Any

import numpy as np

from gpugrad.array import Array
from gpugrad.core.abstract import shape_dtype
from gpugrad.device import default_device
from gpugrad.numpy.creation import arange, linspace, ones
from gpugrad.ops.broadcast import broadcast_to
from gpugrad.ops.cast import cast
from gpugrad.ops.creation import device_near
from gpugrad.ops.elementwise import exp, log
from gpugrad.ops.indexing import nonzero
from gpugrad.ops.join import stack
from gpugrad.ops.operands import as_arrays
from gpugrad.ops.shape import moveaxis, reshape
from gpugrad.ops.triangle import tril


def _here(raw: Any, device: Any) -> Array:
    return Array(raw, device=default_device() if device is None else device)


def logspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    base: Any = 10.0,
    dtype: Any = None,
    axis: int = 0,
    *,
    device: Any = None,
) -> Any:
    """``num`` numbers from ``base**start`` to ``base**stop``, whose logarithms are evenly spaced.

    Differentiable in ``start``, ``stop`` and ``base``.
    """
    out = base ** moveaxis(linspace(start, stop, num, endpoint, device=device), 0, axis)
    return out if dtype is None else cast(out, dtype)


def geomspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    dtype: Any = None,
    axis: int = 0,
    *,
    device: Any = None,
) -> Any:
    """``num`` numbers from ``start`` to ``stop``, each the same multiple of the one before.

    Differentiable in ``start`` and ``stop``, which have the same sign.
    """
    given = [v for v in (start, stop) if hasattr(v, "ndim")]
    share = linspace(
        0.0, 1.0, num, endpoint, device=device_near(given) if given and device is None else device
    )
    share, start, stop = as_arrays(share, start, stop)
    rank = max(shape_dtype(start).ndim, shape_dtype(stop).ndim)
    share = reshape(share, (-1, *(1,) * rank))
    out = moveaxis(start * exp(share * log(stop / (start * 1.0))), 0, axis)
    return out if dtype is None else cast(out, dtype)


def tri(
    N: int,
    M: int | None = None,
    k: int = 0,
    dtype: Any = float,
    *,
    device: Any = None,
) -> Any:
    """Ones on and below the ``k``-th diagonal, zeros above it."""
    return tril(ones((N, N if M is None else M), dtype, device=device), k)


def indices(dimensions: Any, dtype: Any = int, sparse: bool = False, *, device: Any = None) -> Any:
    """For each axis of an array of shape ``dimensions``, the index along it of every element.

    One array with a leading axis for them; ``sparse``: a tuple of arrays that broadcast.
    """
    shape = tuple(map(index, dimensions))
    rank = len(shape)
    thin = [
        reshape(arange(n, dtype=dtype, device=device), (1,) * i + (n,) + (1,) * (rank - i - 1))
        for i, n in enumerate(shape)
    ]
    return tuple(thin) if sparse else stack([broadcast_to(a, shape) for a in thin])


def fromfunction(
    function: Callable[..., Any],
    shape: Any,
    *,
    dtype: Any = float,
    device: Any = None,
    **kwargs: Any,
) -> Any:
    """``function`` of the indices along each axis of an array of that shape."""
    return function(*indices(shape, dtype, device=device), **kwargs)


class _Grid:
    """``mgrid[0:2, 0:1:5j]`` and ``ogrid``: slices as NumPy takes them."""

    def __init__(self, sparse: bool) -> None:
        self.sparse = sparse

    def __getitem__(self, key: Any) -> Any:
        found = (np.ogrid if self.sparse else np.mgrid)[key]
        if isinstance(found, tuple | list):
            return tuple([_here(a, None) for a in found])
        return _here(found, None)


mgrid, ogrid = _Grid(False), _Grid(True)


def ix_(*args: Any) -> tuple[Any, ...]:
    """Index arrays for the elements at all combinations of positions along each axis."""
    out = []
    for i, a in enumerate(as_arrays(*args)):
        if shape_dtype(a).ndim != 1:
            raise ValueError(f"ix_: 1-D positions are needed, got shape {shape_dtype(a).shape}")
        a = nonzero(a)[0] if shape_dtype(a).dtype.kind == "b" else a
        a = cast(a, np.intp) if not shape_dtype(a).size else a
        out.append(reshape(a, (1,) * i + (-1,) + (1,) * (len(args) - i - 1)))
    return tuple(out)


def _placed(raw: tuple[Any, ...], device: Any) -> tuple[Array, ...]:
    return tuple([_here(a, device) for a in raw])


def tril_indices(n: int, k: int = 0, m: int | None = None, *, device: Any = None) -> Any:
    """The positions of a matrix on and below its ``k``-th diagonal."""
    return _placed(np.tril_indices(n, k, m), device)


def triu_indices(n: int, k: int = 0, m: int | None = None, *, device: Any = None) -> Any:
    """The positions of a matrix on and above its ``k``-th diagonal."""
    return _placed(np.triu_indices(n, k, m), device)


def _matrix_shape(x: Any, what: str) -> tuple[int, int]:
    shape = shape_dtype(x).shape
    if len(shape) != 2:
        raise ValueError(f"{what}: a matrix is needed, got shape {shape}")
    return shape[0], shape[1]


def tril_indices_from(arr: Any, k: int = 0) -> Any:
    """The positions of the matrix ``arr`` on and below its ``k``-th diagonal."""
    n, m = _matrix_shape(arr, "tril_indices_from")
    return tril_indices(n, k, m, device=device_near([arr]))


def triu_indices_from(arr: Any, k: int = 0) -> Any:
    """The positions of the matrix ``arr`` on and above its ``k``-th diagonal."""
    n, m = _matrix_shape(arr, "triu_indices_from")
    return triu_indices(n, k, m, device=device_near([arr]))


def diag_indices(n: int, ndim: int = 2, *, device: Any = None) -> Any:
    """The positions on the diagonal of an array with ``ndim`` axes of length ``n``."""
    return (arange(n, device=device),) * ndim


def diag_indices_from(arr: Any) -> Any:
    """The positions on the diagonal of ``arr``, whose axes have one length."""
    shape = shape_dtype(arr).shape
    if len(shape) < 2 or len(set(shape)) != 1:
        raise ValueError(
            f"diag_indices_from: at least 2 axes of one length are needed, got {shape}"
        )
    return diag_indices(shape[0], len(shape), device=device_near([arr]))


def mask_indices(n: int, mask_func: Callable[..., Any], k: Any = 0, *, device: Any = None) -> Any:
    """The positions of an n by n matrix that ``mask_func(matrix, k)`` leaves nonzero."""
    return nonzero(mask_func(ones((n, n), int, device=device), k))
