"""Means of gradients: of many lists of many tensors, and of the samples of each tensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gpugrad.kernels.many import (
    PLAIN,
    addresses,
    blocks,
    by_dtype,
    dense,
    host_layout,
    layout,
    module,
    norm_limit,
    wide,
)
from gpugrad.kernels.operands import together, writable
from gpugrad.kernels.source import C_NAMES, function


def average(
    lists: Sequence[Sequence[Any]],
    out: Sequence[Any] | None = None,
    *,
    add: bool = False,
    unscale: Any = None,
    summary: Any = None,
) -> list[Any]:
    """The means over lists (replicas, micro-batches) of tensors of any sizes, in one launch.

    Parameters
    ----------
    lists : sequence of sequences of arrays
        ``lists[k][t]`` is gradient ``t`` of replica ``k``: NumPy or CuPy arrays, of the same shape
        and dtype for all ``k``. Float16 and bfloat16 are summed in float32, float32 in float64
        by eight lists.
    out : sequence of arrays, optional
        Where the means go; may be one of the lists. New arrays if left out.
    add : bool
        Add the means to ``out`` instead.
    unscale : number or array of one element, optional
        The loss scale, by which the means are divided; an array is read where it is.
    summary : (2,) array, optional
        Receives the L2 norm of all that is written together, and 1 if an element of it is not
        finite, else 0: what the optimizers of `gpugrad.kernels.optimizer` clip and skip by. Of
        the dtype of the sums, float32 or float64, which all tensors must share.

    Returns
    -------
    list of arrays
        ``out``.

    Notes
    -----
    Sums are taken in the order of the lists, so the bits are the same on every run. One launch for
    each dtype among the tensors. Bytes it must move, for K lists of N elements of ``s`` bytes in
    all: ``(K + 1)*N*s``, with ``add`` ``(K + 2)*N*s``. It moves these, and some 100 bytes for each
    4096 elements.

    The same function packs a flat bucket for an all-reduce and unpacks it: see `bucket`.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.kernels.average import average
    >>> average([[np.array([1.0, 2.0]), np.array(5.0)], [np.array([3.0, 6.0]), np.array(7.0)]])
    [array([2., 4.]), array(6.)]
    """
    if not lists:
        raise ValueError("average: there is no list of gradients")
    lists = [list(arrays) for arrays in lists]
    if out is None:
        if add:
            raise ValueError("average: add=True needs the arrays to add to as out")
        out = [_empty_like(a) for a in lists[0]]
    out = list(out)
    if out and _quick(lists, out, add, unscale, summary):
        return out
    _check(lists, out)
    if not out:
        return out
    groups = by_dtype(out, "average")
    if summary is not None:
        _check_summary(summary, out)
    parts = []
    for at in groups:
        targets = [out[t] for t in at]
        whole = [dense(a) for a in targets]
        sources = [[dense(arrays[t]) for t in at] for arrays in lists]
        partials = _launch(sources, whole, len(lists), False, add, None, unscale, summary)
        parts.append(partials)
        _write_back(targets, whole)
    if summary is not None and (len(groups) > 1 or isinstance(out[0], np.ndarray)):
        _summarise(parts, summary)
    return out


def find_norm(arrays: Sequence[Any], summary: Any) -> None:
    """Fill ``summary`` as `average` does, with the norm of ``arrays``: they are only read.

    Notes
    -----
    One launch for each dtype. Bytes it must move, for N elements of ``s`` bytes in all: ``N*s``.
    It moves these, and some 100 bytes for each 4096 elements.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.kernels.average import find_norm
    >>> summary = np.empty(2)
    >>> find_norm([np.array([3.0]), np.array([4.0, np.inf])], summary)
    >>> summary
    array([inf,  1.])
    """
    arrays = list(arrays)
    if not arrays:
        summary[...] = 0
        return
    if _quick([arrays], None, False, None, summary):
        return
    groups = by_dtype(arrays, "find_norm")
    _check_summary(summary, arrays)
    parts = []
    for at in groups:
        found = [dense(arrays[t]) for t in at]
        parts.append(_launch([found], None, 1, False, False, None, None, summary))
    if len(groups) > 1 or isinstance(summary, np.ndarray):
        _summarise(parts, summary)


def average_samples(
    gradients: Sequence[Any],
    out: Sequence[Any] | None = None,
    *,
    limit: float | None = None,
    add: bool = False,
    unscale: Any = None,
    summary: Any = None,
) -> list[Any]:
    """The means of per-sample gradients over the samples, each clipped to a norm on request.

    Parameters
    ----------
    gradients : sequence of (B, ...) arrays
        Each tensor's gradient for each of B samples, all of one dtype.
    out, add, unscale, summary
        As in `average`.
    limit : float, optional
        Scale each sample's gradient, all tensors together, by ``min(1, limit / (norm + 1e-6))``
        first, with its L2 norm: the clipping of differentially private training. From 0 on.

    Returns
    -------
    list of (...) arrays
        ``out``.

    Notes
    -----
    Bytes it must move, for B samples of N elements of ``s`` bytes: ``(B + 1)*N*s`` in one launch;
    with ``limit`` each sample's norm must be known before its first element is added, and a sample
    does not fit on the chip: ``(2*B + 1)*N*s`` in two.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.kernels.average import average_samples
    >>> (mean,) = average_samples([np.array([[3.0, 4.0], [0.3, 0.4]])], limit=1.0)
    >>> mean.round(4)
    array([0.45, 0.6 ])
    """
    gradients = [dense(g) for g in gradients]
    if not gradients:
        return []
    if any(g.ndim == 0 or len(g) != len(gradients[0]) or not len(g) for g in gradients):
        shapes = ", ".join([str(g.shape) for g in gradients])
        raise ValueError(f"average_samples: one sample or more along the first axis: {shapes}")
    groups = by_dtype(gradients, "average_samples")
    if len(groups) > 1:
        raise TypeError("average_samples: the gradients must all be of one dtype")
    if out is None:
        if add:
            raise ValueError("average_samples: add=True needs the arrays to add to as out")
        out = [_empty_like(g[0]) for g in gradients]
    out = list(out)
    _check([[g[0] for g in gradients]], out)
    if summary is not None:
        _check_summary(summary, out)
    most = norm_limit("average_samples", limit)
    factors = _clip_factors(gradients, most) if most >= 0 else None
    whole = [dense(a) for a in out]
    count = len(gradients[0])
    partials = _launch([gradients], whole, count, True, add, factors, unscale, summary)
    _write_back(out, whole)
    if summary is not None and isinstance(out[0], np.ndarray):
        _summarise([partials], summary)
    return out


def bucket(arrays: Sequence[Any]) -> tuple[Any, list[Any]]:
    """A flat array with room for ``arrays``, and the views of it that have their shapes.

    ``average([gradients], views)`` packs, an all-reduce works on the flat array, and
    ``average([views], gradients, unscale=replicas)`` unpacks, each in one launch. Every view
    begins at a multiple of 16 bytes; what lies between is zero.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.kernels.average import average, bucket
    >>> flat, views = bucket([np.ones(3), np.ones((2, 1))])
    >>> _ = average([[np.ones(3), np.full((2, 1), 2.0)]], views)
    >>> flat
    array([1., 1., 1., 0., 2., 2.])
    """
    if len(by_dtype(arrays, "bucket")) != 1:
        raise TypeError("bucket: the arrays must be one or more, all of one dtype")
    like = arrays[0]
    pack = max(1, 16 // like.itemsize)
    ends = np.cumsum([-(-a.size // pack) * pack for a in arrays])
    flat = module(like).zeros(int(ends[-1]), like.dtype)
    starts = [0, *ends[:-1].tolist()]
    return flat, [flat[i : i + a.size].reshape(a.shape) for i, a in zip(starts, arrays)]


def _empty_like(a: Any) -> Any:
    return module(a).empty(a.shape, a.dtype)


def _check(lists: Sequence[Sequence[Any]], out: Sequence[Any]) -> None:
    """See that each list has the arrays of ``out``, and where they are."""
    for k, arrays in enumerate(lists):
        if len(arrays) != len(out):
            raise ValueError(f"average: list {k} has {len(arrays)} arrays, out has {len(out)}")
        for t, (a, o) in enumerate(zip(arrays, out)):
            if a.shape != o.shape or a.dtype != o.dtype:
                raise ValueError(
                    f"average: array {t} of list {k} is {a.dtype}{a.shape}, but out has "
                    f"{o.dtype}{o.shape} there"
                )
    writable("average", out=out)
    if out:
        together("average", [out, *lists])


def _check_summary(summary: Any, out: Sequence[Any]) -> None:
    together("average", [[*out[:1], summary]])
    writable("average", summary=[summary])
    if not summary.flags.c_contiguous:
        raise ValueError(
            f"average: the elements of summary lie side by side; got a view with the strides "
            f"{summary.strides}: give a new array, or a slice without a step"
        )
    kinds = {wide(a.dtype) for a in out}
    if summary.shape != (2,) or kinds != {summary.dtype}:
        names = " and ".join(sorted(map(str, kinds)))
        raise ValueError(
            f"average: summary is a (2,) array of the dtype of the sums, {names}; got "
            f"{summary.dtype}{summary.shape}"
        )


def _write_back(targets: Sequence[Any], whole: Sequence[Any]) -> None:
    for target, a in zip(targets, whole):
        if a is not target:
            target[...] = a


def _launch(
    sources: list[list[Any]],
    out: list[Any] | None,
    count: int,
    samples: bool,
    add: bool,
    weights: Any,
    unscale: Any,
    summary: Any,
) -> Any:
    """Average dense arrays of one dtype; the partial sums for a summary, one row a chunk.

    Without ``out`` the means go nowhere.
    """
    run = _host if isinstance(sources[0][0], np.ndarray) else _cuda
    return run(sources, out, count, samples, add, weights, unscale, summary)


def _quick(
    lists: Sequence[Sequence[Any]], out: list[Any] | None, add: bool, unscale: Any, summary: Any
) -> bool:
    """The common case on the CPU, looked at array by array in compiled code; or False."""
    first = lists[0][0] if out is None else out[0]
    dtype = getattr(first, "dtype", None)
    if type(first) is not np.ndarray or dtype not in PLAIN:
        return False
    from gpugrad.kernels.cpu import headers

    everything = [*lists] if out is None else [*lists, out]
    found = headers.read(everything, dtype, range(len(lists)))
    if found is None:
        return False
    if summary is not None:
        _check_summary(summary, [first])
    table, sizes = found
    weights, count = np.empty(0, dtype), len(lists)
    partials = _loop(
        table[:count], table[count:], sizes, count, False, add, weights, unscale, summary
    )
    if summary is not None:
        _summarise([partials], summary)
    return True


def _host(
    sources: list[list[Any]],
    out: list[Any] | None,
    count: int,
    samples: bool,
    add: bool,
    weights: Any,
    unscale: Any,
    summary: Any,
) -> Any:
    like = sources[0] if out is None else out
    a = wide(like[0].dtype)
    targets = out
    if a != like[0].dtype:
        sources = [[x.astype(a) for x in arrays] for arrays in sources]
        targets = out and [o.astype(a) for o in out]
    sizes = np.array([o.size for o in like], np.int64)
    weights = np.empty(0, a) if weights is None else weights
    to = np.empty((0, len(like)), np.uint64) if targets is None else addresses([targets])
    partials = _loop(addresses(sources), to, sizes, count, samples, add, weights, unscale, summary)
    if out is not None and targets is not None and targets is not out:
        with np.errstate(over="ignore"):
            for o, wider in zip(out, targets):
                o[...] = wider
        if summary is not None:  # of what is written, rounded
            first = host_layout(sizes).first
            for t, o in enumerate(out):
                _narrow_partials(partials[int(first[t]) :], o.astype(a).ravel())
    return partials


def _loop(
    sources: Any,
    to: Any,
    sizes: Any,
    count: int,
    samples: bool,
    add: bool,
    weights: Any,
    unscale: Any,
    summary: Any,
) -> Any:
    """Average by tables of addresses; ``weights`` has the dtype of the elements."""
    from gpugrad.kernels.cpu import average as loops
    from gpugrad.kernels.cpu import threads

    a = weights.dtype
    table = host_layout(sizes)
    divisor = a.type(count) if unscale is None else a.type(count) * _number(unscale, a)
    partials = np.empty((table.chunks, 2) if summary is not None else (0, 0), a)
    # Seen: 0.03 ns for each byte that is read.
    work = 0.03 * a.itemsize * (count + 1) * table.total
    args = (weights[:0], sources, to, *table[:3], count, samples, add, weights, divisor, partials)
    threads.run(loops.average, table.chunks, work, *args)
    return partials


def _narrow_partials(partials: Any, x: Any) -> None:
    from gpugrad.kernels.many import CHUNK

    for c in range(-(-x.size // CHUNK)):
        part = x[c * CHUNK : (c + 1) * CHUNK]
        partials[c] = part @ part, 0 if np.isfinite(part).all() else np.nan


def _number(value: Any, dtype: Any) -> Any:
    return np.asarray(value, dtype).reshape(())[()]


def _cuda(
    sources: list[list[Any]],
    out: list[Any] | None,
    count: int,
    samples: bool,
    add: bool,
    weights: Any,
    unscale: Any,
    summary: Any,
) -> Any:
    import cupy

    like = sources[0] if out is None else out
    dtype = like[0].dtype
    a = wide(dtype)
    table = layout(like)
    null = np.uint64(0)
    partials = null if summary is None else cupy.empty((table.chunks, 2), a)
    if table.chunks == 0:
        if summary is not None:
            summary[...] = 0
        return partials
    by, by_at = 1.0, null
    if isinstance(unscale, cupy.ndarray):  # read where it is
        by_at = unscale.astype(a, copy=False)
    elif unscale is not None:
        by = float(_number(unscale, np.float64))
    kernel = function("average", expression("average", dtype.name))
    kernel(
        *blocks(table.chunks),
        (
            addresses(sources),
            null if out is None else addresses([out]),
            *table[:3],
            np.int32(table.chunks),
            np.int32(len(like)),
            np.int32(count),
            np.int32(samples),
            np.int32(add),
            null if weights is None else weights,
            np.float64(by),
            by_at,
            partials,
            table.ticket,
            null if summary is None else summary,
        ),
    )
    return partials


def _clip_factors(gradients: list[Any], limit: float) -> Any:
    """By which factor each sample's gradient is multiplied to clip it, in the dtype of sums."""
    count = len(gradients[0])
    dtype = gradients[0].dtype
    a = wide(dtype)

    def size(g: Any) -> int:
        return int(g.size) // count

    if isinstance(gradients[0], np.ndarray):
        from gpugrad.kernels.cpu import average as loops
        from gpugrad.kernels.cpu import threads

        if a != dtype:
            gradients = [g.astype(a) for g in gradients]
        table = layout(gradients, size)
        partials = np.empty((count, table.chunks), a)
        work = 0.03 * a.itemsize * sum([g.size for g in gradients])
        args = (np.empty(0, a), addresses([gradients]), *table[:3], count, partials)
        threads.run(loops.squares, table.chunks, work, *args)
        norms = np.sqrt(partials.sum(1, dtype=np.float64))
        return np.minimum(limit / (norms + 1e-6), 1).astype(a)
    import cupy

    table = layout(gradients, size)
    factors = cupy.ones(count, a) if table.chunks == 0 else cupy.empty(count, a)
    if table.chunks:
        partials = cupy.empty((count, table.chunks), a)
        kernel = function("average", expression("clip_factors", dtype.name))
        kernel(
            *blocks(table.chunks * count),
            (
                addresses([gradients]),
                *table[:3],
                np.int32(table.chunks),
                np.int32(count),
                np.float64(limit),
                partials,
                table.ticket,
                factors,
            ),
        )
    return factors


def _summarise(parts: Sequence[Any], summary: Any) -> None:
    """The summary from the partial sums of every dtype."""
    xp = module(summary)
    rows = xp.concatenate(parts)
    summary[0] = xp.sqrt(rows[:, 0].sum(dtype=np.float64))
    summary[1] = (~(rows[:, 1] == 0)).any()


def expression(kernel: str, dtype: str) -> str:
    """A kernel's name for a dtype, with as many elements in a load as fill 16 bytes."""
    return f"{kernel}<{C_NAMES[dtype]}, {16 // np.dtype(_host_dtype(dtype)).itemsize}>"


def _host_dtype(dtype: str) -> Any:
    return np.float16 if dtype == "bfloat16" else dtype


VARIANTS = [
    expression(kernel, dtype)
    for kernel in ("average", "clip_factors")
    for dtype in ("float16", "bfloat16", "float32", "float64")
]
"""The kernels that the report compiles."""
