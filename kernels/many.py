"""Many arrays in one launch: tables that say where each is and who works on which part."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np
from gpugrad.kernels.source import resident

CHUNK = 4096
"""Elements in a chunk, the part of an array that one block or one call works on at a time."""

NARROW = ("float16", "bfloat16")
"""Dtypes that are summed, and whose optimizer state is kept, in float32."""

FLOATS = (*NARROW, "float32", "float64")

PLAIN = (np.dtype(np.float32), np.dtype(np.float64))
"""Dtypes in which loops on the CPU compute. Dtypes are found sooner among dtypes than by class."""


class Layout(NamedTuple):
    """The chunks of arrays of given sizes; tables on the host, or on the current device.

    Parameters
    ----------
    sizes
        Elements of each array.
    first
        The number of each array's first chunk.
    owner
        For each chunk the array it is of.
    chunks
        How many there are.
    total
        Elements of all arrays.
    ticket
        On CUDA a zero with which blocks find out who is the last; else None.
    """

    sizes: Any
    first: Any
    owner: Any
    chunks: int
    total: int
    ticket: Any


@lru_cache(maxsize=256)
def _host_layout(sizes: tuple[int, ...]) -> Layout:
    lengths = np.array(sizes, np.int64)
    counts = -(-lengths // CHUNK)
    first = np.cumsum(counts) - counts
    owner = np.repeat(np.arange(len(sizes), dtype=np.int32), counts)
    return Layout(lengths, first, owner, len(owner), sum(sizes), None)


@lru_cache(maxsize=256)
def _cuda_layout(sizes: tuple[int, ...], where: Hashable) -> Layout:
    import cupy

    host = _host_layout(sizes)
    lengths, first, owner = [cupy.asarray(table) for table in host[:3]]
    return Layout(lengths, first, owner, host.chunks, host.total, cupy.zeros(1, np.int32))


def layout(arrays: Sequence[Any], each: Callable[[Any], int] = lambda a: int(a.size)) -> Layout:
    """The layout of arrays by ``each`` one's size, made when the sizes are first seen."""
    sizes = tuple([each(a) for a in arrays])
    if isinstance(arrays[0], np.ndarray):
        return _host_layout(sizes)
    return _cuda_layout(sizes, here())


def host_layout(sizes: Any) -> Layout:
    """The layout on the host, by an array of the sizes."""
    return _host_layout(tuple(sizes.tolist()))


def here() -> Hashable:
    """The current device and stream: kernels on two streams must not share a ticket."""
    import cupy

    return cupy.cuda.runtime.getDevice(), cupy.cuda.get_current_stream().ptr


@lru_cache(maxsize=256)
def _table(data: bytes, where: Hashable) -> Any:
    import cupy

    return cupy.asarray(np.frombuffer(data, np.uint64))


def addresses(lists: Sequence[Sequence[Any]]) -> Any:
    """A table of (list, array) to the array's address, on the arrays' device.

    The same addresses give the same table again, which stays where it is: a training step whose
    arrays stay in place copies nothing to the device.
    """
    if isinstance(lists[0][0], np.ndarray):
        found = [[a.__array_interface__["data"][0] for a in arrays] for arrays in lists]
        return np.array(found, np.uint64)
    found = [[a.data.ptr for a in arrays] for arrays in lists]
    return _table(np.array(found, np.uint64).tobytes(), here())


@lru_cache(maxsize=256)
def _ticket(where: Hashable) -> Any:
    import cupy

    return cupy.zeros(1, np.int32)


def ticket() -> Any:
    """A zero by which blocks of one kernel on the current stream find out which is the last."""
    return _ticket(here())


def blocks(chunks: int) -> tuple[tuple[int], tuple[int]]:
    """Grid and block for a loop over chunks."""
    return (max(1, min(chunks, 2 * resident(256))),), (256,)


def dense(array: Any) -> Any:
    """``array`` itself if its elements lie in C order and aligned, else a copy that does."""
    flags = array.flags
    if flags.c_contiguous and getattr(flags, "aligned", True):
        return array
    return array.copy(order="C")


def contiguous(array: Any) -> Any:
    """``array`` itself if its elements lie in C order, else a copy that does."""
    return module(array).ascontiguousarray(array)


def module(array: Any) -> Any:
    """NumPy or CuPy, whichever ``array`` is of."""
    if isinstance(array, np.ndarray | np.generic):
        return np
    import cupy

    return cupy


@lru_cache(maxsize=64)
def name_of(dtype: Any) -> str:
    """The dtype's name, which NumPy puts together anew each time it is asked."""
    return str(dtype.name)


@cache  # a dtype's name is slow to make
def wide(dtype: Any) -> np.dtype[Any]:
    """The dtype in which elements of ``dtype`` are summed."""
    dtype = np.dtype(dtype)
    return np.dtype(np.float32) if dtype.name in NARROW else dtype


def widened(a: Any) -> Any:
    """An array on the host in the dtype of its sums and in C order; itself if it is so."""
    return np.ascontiguousarray(a, wide(a.dtype))


@cache
def summed(dtype: Any) -> np.dtype[Any]:
    """The dtype of sums of any length: wide enough that a million roundings do not show."""
    return np.dtype(np.float64) if dtype == np.float32 else wide(dtype)


def norm_limit(name: str, limit: float | None) -> float:
    """A limit to a norm as kernels take it, where a negative one is none."""
    if limit is None:
        return -1.0
    if not limit >= 0:
        raise ValueError(
            f"{name}: a limit to the gradients' norm is a number from 0 on, or None for no limit; "
            f"got {limit}"
        )
    return float(limit)


def by_dtype(arrays: Sequence[Any], name: str) -> list[list[int]]:
    """Positions of arrays of one dtype each, in order of appearance."""
    groups: dict[str, list[int]] = {}
    for i, a in enumerate(arrays):
        groups.setdefault(name_of(a.dtype), []).append(i)
    odd = [dtype for dtype in groups if dtype not in FLOATS]
    if odd:
        raise TypeError(f"{name} is for floats ({', '.join(FLOATS)}), not {odd[0]}")
    return list(groups.values())
