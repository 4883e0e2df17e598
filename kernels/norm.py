"""Layer, RMS, group and batch normalisation, forward and backward.

Statistics are kept in the dtype of sums, float32 for float16 and bfloat16. ``weight`` and ``bias``
have the dtype of ``x`` and may be None. Each function has a note of the bytes that it must move,
for ``N`` elements of ``s`` bytes; parameters and statistics come on top, which are few beside
many rows.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from gpugrad.kernels.many import FLOATS, NARROW, dense, module, wide, widened
from gpugrad.kernels.operands import fit, floats
from gpugrad.kernels.softmax import Form
from gpugrad.kernels.source import C_NAMES, function, resident

MOST_CHANNELS = 1024
"""In a group, whose factors a block of threads keeps in shared memory."""

LEAST_BYTES = 160
"""Of a column of rows for each partial sum: these then cost a few hundredths more."""


class Normalised(NamedTuple):
    """What a forward function gives.

    Parameters
    ----------
    y
        The normalised array.
    mean
        Of each row, group of a sample, or channel; None for RMS.
    rstd
        One over the square root of the variance plus ``eps``.
    variance
        Of each channel, without Bessel's correction; None but for `batch_norm`.
    """

    y: Any
    mean: Any
    rstd: Any
    variance: Any = None


# ------------------------------------------------------------------------------ rows


def norm_rows(
    x: Any, weight: Any = None, bias: Any = None, *, eps: float = 1e-5, center: bool = True
) -> Normalised:
    """Layer normalisation of the rows of a matrix; without ``center``, RMS normalisation.

    Notes
    -----
    One launch. ``2*N*s``, for rows that fit the registers of a block: 8192 columns, half as many
    where rows do not begin at multiples of 16 bytes, a quarter in float64. Longer ones are read
    twice: ``3*N*s``. The weight and the bias are read by each group of threads, for longer rows by
    each row: from the cache, up to ``2*N*s`` where rows are few.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.kernels.norm import norm_rows
    >>> norm_rows(np.array([[1.0, 3.0]]), eps=0).y
    array([[-1.,  1.]])
    """
    x, weight, bias = _operands("norm_rows", x, weight, bias, 2, 1)
    xp, a = module(x), wide(x.dtype)
    count, cols = x.shape
    y, rstd = xp.empty_like(x), xp.empty(count, a)
    mean = xp.empty(count, a) if center else None
    if x.size == 0:
        rstd[...] = np.nan
        mean = rstd.copy() if center else None
        return Normalised(y, mean, rstd)
    if isinstance(x, np.ndarray):
        means = np.empty(count, a) if mean is None else mean
        out = y.astype(a, copy=False)
        w, b = _factors(weight, cols, a, 1), _factors(bias, cols, a, 0)
        args = (widened(x), w, b, out, means, rstd, bool(center), float(eps))
        _host("rows", count, 0.5 * x.size, *args)
        return Normalised(_written(y, out), mean, rstd)
    shape = _form(cols, x.dtype.name, _aligned(x, y, weight, bias))
    blocks = min(-(-count // (max(shape.threads, 256) // shape.threads)), resident(256))
    args = (x, _or_null(weight), _or_null(bias), y, _or_null(mean), rstd, *_sizes(count, cols))
    _rows("norm_rows", x.dtype, shape, center, False, blocks, *args, np.float64(eps))
    return Normalised(y, mean, rstd)


def norm_rows_backward(
    g: Any, x: Any, weight: Any, mean: Any, rstd: Any, *, params: bool = True
) -> tuple[Any, Any, Any]:
    """Cotangents of x, weight and bias; the latter two None without ``params``.

    ``mean`` and ``rstd`` are what `norm_rows` gave.

    Notes
    -----
    One launch, two with ``params``: partial sums of 40 rows or more, 80 in 16 bits, which are then
    added in order. ``3*N*s`` for rows that fit as in `norm_rows`. Longer ones are read twice,
    ``5*N*s``, and the weight twice for each, from the cache; for the parameters a third time,
    ``7*N*s`` in three launches.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.kernels.norm import norm_rows, norm_rows_backward
    >>> x, g = np.array([[1.0, 3.0, 5.0]]), np.array([[1.0, 0.0, 0.0]])
    >>> _, mean, rstd, _ = norm_rows(x, eps=0)
    >>> norm_rows_backward(g, x, None, mean, rstd)[0].round(6)
    array([[ 0.102062, -0.204124,  0.102062]])
    """
    name, rows = "norm_rows_backward", x.shape[:1]
    x, weight, _ = _operands(name, x, weight, None, 2, 1)
    g, mean, rstd = _kept(name, g, x, mean, rstd, rows)
    xp, a = module(x), wide(x.dtype)
    count, cols = x.shape
    center = mean is not None
    dx = xp.empty_like(x)
    if x.size == 0:
        none = xp.zeros(cols, x.dtype)
        return dx, none, none.copy()
    if isinstance(x, np.ndarray):
        # Parts by the shape alone, so that the sums do not depend on the threads.
        height = max(32, -(-count // 64))
        parts = -(-count // height)
        parts_of: Any = np.empty((parts, 2, cols), a)
        out = dx.astype(a, copy=False)
        means = rstd if mean is None else mean
        means = np.zeros_like(rstd) if mean is None else means
        w = _factors(weight, cols, a, 1)
        args = (widened(g), widened(x), w, means, rstd, out, parts_of, center, height)
        _host("rows_backward", parts, x.size, *args)
        sums = parts_of.sum(0) if params else None
        return _written(dx, out), *_split(sums, x.dtype)
    shape = _form(cols, x.dtype.name, _aligned(g, x, dx, weight))
    groups = max(shape.threads, 256) // shape.threads
    blocks = max(
        1, min(count // (groups * LEAST_BYTES // x.itemsize), resident(max(shape.threads, 256)))
    )
    if not params or not shape.held:
        blocks = min(-(-count // groups), resident(256))
    held = params and shape.held
    partials: Any = xp.empty((blocks * groups, 2, cols), a) if held else None
    given = (g, x, _or_null(weight), _or_null(mean), rstd, dx, _or_null(partials))
    _rows("norm_rows_backward", x.dtype, shape, center, False, blocks, *given, *_sizes(count, cols))
    if not params:
        return dx, None, None
    if partials is None:
        partials = _channel_sums(g, x, mean, rstd, (count, cols, 1), 1, cols)
    return dx, *_added(partials, x.dtype)


# ------------------------------------------------------------------------------ groups


def group_norm(
    x: Any, groups: int, weight: Any = None, bias: Any = None, *, eps: float = 1e-5
) -> Normalised:
    """Group normalisation of (N, C, S): each sample's groups of C / groups channels.

    Notes
    -----
    One launch. ``2*N*s`` where a group of a sample fits as a row does in `norm_rows`; larger ones
    are read twice.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.kernels.norm import group_norm
    >>> group_norm(np.array([[[1.0], [3.0], [5.0], [5.0]]]), 2, eps=1e-9).y[0].T.round(6)
    array([[-1.,  1.,  0.,  0.]])
    """
    x, weight, bias = _operands("group_norm", x, weight, bias, 3, 1)
    count, channels, inner = x.shape
    _check_groups("group_norm", groups, channels)
    own = channels // groups
    xp, a = module(x), wide(x.dtype)
    y, mean, rstd = xp.empty_like(x), *[xp.empty(count * groups, a) for _ in range(2)]
    if x.size == 0:
        mean[...] = rstd[...] = np.nan
        return Normalised(y, mean, rstd)
    if isinstance(x, np.ndarray):
        out = y.astype(a, copy=False)
        w, b = _factors(weight, channels, a, 1), _factors(bias, channels, a, 0)
        seen = (count * groups, own, inner)
        args = (widened(x).reshape(seen), w, b, out.reshape(seen), mean, rstd, float(eps))
        _host("groups", count * groups, 0.5 * x.size, *args)
        return Normalised(_written(y, out), mean, rstd)
    rows, cols = count * groups, own * inner
    if own > MOST_CHANNELS:
        plain = norm_rows(x.reshape(rows, cols).astype(a, copy=False), eps=eps)
        y = plain.y.reshape(x.shape)
        y = y if weight is None else y * weight.astype(a, copy=False)[:, None]
        y = y if bias is None else y + bias.astype(a, copy=False)[:, None]
        return plain._replace(y=y.astype(x.dtype, copy=False))
    shape = _form(cols, x.dtype.name, _aligned(x, y), 256)
    args = (x, _or_null(weight), _or_null(bias), y, mean, rstd, *_sizes(rows, cols, groups, inner))
    blocks = min(rows, resident(256))
    _rows("norm_rows", x.dtype, shape, True, True, blocks, *args, np.float64(eps))
    return Normalised(y, mean, rstd)


def group_norm_backward(
    g: Any, x: Any, groups: int, weight: Any, mean: Any, rstd: Any, *, params: bool = True
) -> tuple[Any, Any, Any]:
    """Cotangents of x, weight and bias; the latter two None without ``params``.

    Notes
    -----
    One launch and ``3*N*s`` as in `group_norm`; for the parameters two more, and ``2*N*s``, since
    a channel's elements lie in all samples.
    """
    name = "group_norm_backward"
    x, weight, _ = _operands(name, x, weight, None, 3, 1)
    count, channels, inner = x.shape
    _check_groups(name, groups, channels)
    g, mean, rstd = _kept(name, g, x, mean, rstd, (count * groups,), centred=True)
    own = channels // groups
    xp, a = module(x), wide(x.dtype)
    dx = xp.empty_like(x)
    if x.size == 0:
        none = xp.zeros(channels, x.dtype)
        return dx, none, none.copy()
    rows, cols = count * groups, own * inner
    if isinstance(x, np.ndarray):
        out = dx.astype(a, copy=False)
        partials = np.empty((rows, 2, own), a)
        seen = (rows, own, inner)
        w = _factors(weight, channels, a, 1)
        args = (widened(g).reshape(seen), widened(x).reshape(seen), w, mean, rstd)
        _host("groups_backward", rows, x.size, *args, out.reshape(seen), partials)
        sums = None
        if params:
            sums = partials.reshape(count, groups, 2, own).sum(0).swapaxes(0, 1).reshape(2, -1)
        return _written(dx, out), *_split(sums, x.dtype)
    if own > MOST_CHANNELS:
        up = (
            g if weight is None else g.astype(a, copy=False) * weight.astype(a, copy=False)[:, None]
        )
        flat: Any = [v.reshape(rows, cols).astype(a, copy=False) for v in (up, x)]
        dx = norm_rows_backward(flat[0], flat[1], None, mean, rstd, params=False)[0]
        dx = dx.reshape(x.shape).astype(x.dtype, copy=False)
    else:
        shape = _form(cols, x.dtype.name, _aligned(g, x, dx), 256)
        given = (g, x, _or_null(weight), mean, rstd, dx, np.uint64(0))
        sizes = _sizes(rows, cols, groups, inner)
        blocks = min(rows, resident(256))
        _rows("norm_rows_backward", x.dtype, shape, True, True, blocks, *given, *sizes)
    if not params:
        return dx, None, None
    partials = _channel_sums(g, x, mean, rstd, x.shape, groups, own)
    return dx, *_added(partials, x.dtype)


# ------------------------------------------------------------------------------ channels


def batch_norm(x: Any, weight: Any = None, bias: Any = None, *, eps: float = 1e-5) -> Normalised:
    """Batch normalisation of (N, C, S): each channel, by its own moments.

    Notes
    -----
    Two launches, of which the second reads x again: ``3*N*s``. Loads are of 16 bytes where S is a
    multiple of that; with S = 1 of one element.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.kernels.norm import batch_norm
    >>> batch_norm(np.array([[[1.0]], [[3.0]]]), eps=0).y.ravel()
    array([-1.,  1.])
    """
    x, weight, bias = _operands("batch_norm", x, weight, bias, 3, 1)
    channels = x.shape[1]
    xp, a = module(x), wide(x.dtype)
    y, stats = xp.empty_like(x), xp.empty((3, channels), a)
    if x.size == 0:
        stats[...] = np.nan
    elif isinstance(x, np.ndarray):
        out = y.astype(a, copy=False)
        w, b = _factors(weight, channels, a, 1), _factors(bias, channels, a, 0)
        args = (widened(x), w, b, out, stats, float(eps))
        _by_channels("", x.shape, 0.5, (0, 3), *args)
        y = _written(y, out)
    else:
        walk, grid, kinds = _walk(x.shape, x.dtype, _aligned(x, y))
        partials = xp.empty((walk.parts, 3, channels), a)
        run = function("norm", f"channel_moments<{kinds}>")
        run(*grid, (x, partials, *walk.args))
        run = function("norm", f"channel_norm<{kinds}>")
        args = (x, _or_null(weight), _or_null(bias), partials, y, stats, *walk.args)
        run(*grid, (*args, np.int32(walk.parts), np.float64(eps)))
    return Normalised(y, stats[0], stats[2], stats[1])


def batch_norm_backward(g: Any, x: Any, weight: Any, mean: Any, rstd: Any) -> tuple[Any, Any, Any]:
    """Cotangents of x, weight and bias, where y was normalised by its own moments.

    Notes
    -----
    Two launches, each of which reads g and x: ``5*N*s``.
    """
    name, channels = "batch_norm_backward", x.shape[1]
    x, weight, _ = _operands(name, x, weight, None, 3, 1)
    g, mean, rstd = _kept(name, g, x, mean, rstd, (channels,), centred=True)
    xp, a = module(x), wide(x.dtype)
    dx = xp.empty_like(x)
    if x.size == 0:
        none = xp.zeros(channels, x.dtype)
        return dx, none, none.copy()
    if isinstance(x, np.ndarray):
        out, totals = dx.astype(a, copy=False), np.empty((2, channels), a)
        w = _factors(weight, channels, a, 1)
        args = (widened(g), widened(x), w, mean, rstd, out, totals)
        _by_channels("_backward", x.shape, 1, (0, 1, 5), *args)
        return _written(dx, out), *_split(totals, x.dtype)
    walk, grid, kinds = _walk(x.shape, x.dtype, _aligned(g, x, dx))
    partials = _channel_sums(g, x, mean, rstd, x.shape, 0, 1)
    totals = xp.empty((2, channels), x.dtype)
    run = function("norm", f"channel_norm_backward<{kinds}>")
    args = (g, x, _or_null(weight), mean, rstd, partials, dx, totals, *walk.args)
    run(*grid, (*args, np.int32(walk.parts)))
    return dx, totals[0], totals[1]


# ------------------------------------------------------------------------------ checks


def _operands(
    name: str, x: Any, weight: Any, bias: Any, ndim: int, axis: int
) -> tuple[Any, Any, Any]:
    floats(name, x, ndim)
    own = (x.shape[axis],)
    fit(name, x, weight=(weight, own, x.dtype), bias=(bias, own, x.dtype))
    return dense(x), *[p if p is None else dense(p) for p in (weight, bias)]


def _kept(
    name: str,
    g: Any,
    x: Any,
    mean: Any,
    rstd: Any,
    shape: tuple[int, ...],
    *,
    centred: bool = False,
) -> tuple[Any, Any, Any]:
    """A backward function's cotangent and statistics, which are ``shape``; a mean if centred."""
    a = wide(x.dtype)
    if rstd is None or (centred and mean is None):
        raise ValueError(f"{name}: mean and rstd are what the forward function gave, not None")
    fit(name, x, cotangent=(g, x.shape, x.dtype), mean=(mean, shape, a), rstd=(rstd, shape, a))
    return dense(g), None if mean is None else dense(mean), dense(rstd)


def _check_groups(name: str, groups: int, channels: int) -> None:
    if groups < 1 or channels % groups:
        raise ValueError(f"{name}: {channels} channels do not make {groups} even groups")


# ------------------------------------------------------------------------------ the CPU


def _factors(p: Any, size: int, dtype: Any, default: float) -> Any:
    return np.full(size, default, dtype) if p is None else p.astype(dtype, copy=False)


def _written(y: Any, out: Any) -> Any:
    if out is not y:
        with np.errstate(over="ignore"):
            y[...] = out
    return y


def _split(sums: Any, dtype: Any) -> tuple[Any, Any]:
    if sums is None:
        return None, None
    with np.errstate(over="ignore"):
        sums = sums.astype(dtype, copy=False)
    return sums[0], sums[1]


def _host(loop: str, items: int, work: float, *args: Any) -> None:
    from gpugrad.kernels.cpu import norm as loops
    from gpugrad.kernels.cpu import threads

    threads.run(getattr(loops, loop), items, work, *args)


def _by_channels(
    suffix: str, shape: tuple[int, ...], cost: float, flat: tuple[int, ...], *args: Any
) -> None:
    """Run over channels, or where they have one element a sample over tiles of them."""
    count, channels, inner = shape
    work = cost * count * channels * inner
    if inner > 1:
        _host("channels" + suffix, channels, work, *args)
        return
    from gpugrad.kernels.cpu.norm import TILE

    arrays = [a[:, :, 0] if i in flat else a for i, a in enumerate(args)]
    _host("columns" + suffix, -(-channels // TILE), work, *arrays)


# ------------------------------------------------------------------------------ CUDA


def _or_null(array: Any) -> Any:
    return np.uint64(0) if array is None else array


def _aligned(*arrays: Any) -> bool:
    return all(a is None or a.data.ptr % 16 == 0 for a in arrays)


def _sizes(count: int, cols: int, groups: int = 1, inner: int = 1) -> tuple[Any, ...]:
    return np.int64(count), np.int32(cols), np.int32(groups), np.int32(inner)


def _form(cols: int, dtype: str, aligned: bool, least: int = 32) -> Form:
    """Threads for a row and loads that each holds; 8 elements, fewer of them in float64."""
    itemsize = {"float64": 8, "float32": 4}.get(dtype, 2)
    width = 16 // itemsize
    if not aligned or cols % width:
        width = 1
    most = 2 if itemsize == 8 else 4 if width == 1 else 8
    loads = -(-cols // width)
    for threads in (32, 256, 1024):
        per_thread = -(-loads // threads)
        if threads >= least and per_thread <= most // width:
            return Form(width, threads, 1 << (per_thread - 1).bit_length())
    return Form(width, 256, 0)


def _rows(
    kernel: str, dtype: Any, shape: Form, center: bool, grouped: bool, blocks: int, *args: Any
) -> None:
    run = function("norm", _row_kernel(kernel, dtype.name, shape, center, grouped))
    run((max(1, blocks),), (max(shape.threads, 256),), args)


def _row_kernel(kernel: str, dtype: str, shape: Form, center: bool, grouped: bool) -> str:
    flags = f"{str(bool(center)).lower()}, {str(grouped).lower()}"
    return f"{kernel}<{C_NAMES[dtype]}, {shape}, {flags}>"


class _Walk(NamedTuple):
    """The parts into which channels are cut, and what the kernels are told of them."""

    parts: int
    args: tuple[Any, ...]


def _walk(
    shape: tuple[int, ...], dtype: Any, aligned: bool
) -> tuple[_Walk, tuple[tuple[int], tuple[int]], str]:
    count, channels, inner = shape
    planes = inner > 1
    width = 16 // dtype.itemsize if planes and aligned else 1
    if inner % width:
        width = 1
    tiles = channels if planes else -(-channels // 32)
    most = count * inner if planes else count
    parts = max(1, min(-(-2 * resident(256) // tiles), -(-most // (8192 if planes else 256))))
    parts = max(parts, -(-most >> 30))
    length, pieces = inner, 1
    if parts <= count or not planes:
        many = -(-count // parts)
        parts = -(-count // many)
    else:
        many = 1
        length = -(-inner // (-(-parts // count)))
        length = -(-length // width) * width
        pieces = -(-inner // length)
        parts = count * pieces
    args = (np.int64(count), *map(np.int32, (channels, inner, many, pieces, length)))
    kinds = f"{C_NAMES[dtype.name]}, {width}, {str(planes).lower()}"
    return _Walk(parts, args), ((tiles * parts,), (256,)), kinds


def _channel_sums(
    g: Any, x: Any, mean: Any, rstd: Any, shape: tuple[int, ...], by_n: int, by_c: int
) -> Any:
    """Partial sums of g xhat and of g over each channel; see ``cuda/norm.cu``."""
    xp = module(x)
    walk, grid, kinds = _walk(shape, x.dtype, _aligned(g, x))
    partials = xp.empty((walk.parts, 2, shape[1]), wide(x.dtype))
    run = function("norm", f"channel_sums<{kinds}>")
    args = (g, x, _or_null(mean), rstd, partials, *walk.args, np.int32(by_n), np.int32(by_c))
    run(*grid, args)
    return partials


def _added(partials: Any, dtype: Any) -> tuple[Any, Any]:
    """Partial sums added in order."""
    xp = module(partials)
    parts, _, cols = partials.shape
    out = xp.empty((2, cols), dtype)
    run = function("norm", f"sum_partials<{C_NAMES[partials.dtype.name]}, {C_NAMES[dtype.name]}>")
    grid = (-(-2 * cols // 32),), (256,)
    run(*grid, (partials, out[0], out[1], np.int64(parts), np.int64(cols)))
    return out[0], out[1]


def _variants() -> list[str]:
    names = []
    for kernel in ("norm_rows", "norm_rows_backward"):
        for dtype, cols, center in (
            *(("float32", 256, True), ("float32", 2048, True), ("float32", 8192, False)),
            *(("float32", 1001, True), ("float32", 1 << 20, True), ("bfloat16", 2048, False)),
            *(("float16", 8192, True), ("float64", 1024, True), ("float16", 2048, False)),
            *(("bfloat16", 2048, True), ("float64", 1024, False)),
        ):
            shape = _form(cols, dtype, True)
            names.append(_row_kernel(kernel, dtype, shape, center, False))
        for dtype in FLOATS:
            shape = _form(6272, dtype, True, 256)
            names.append(_row_kernel(kernel, dtype, shape, True, True))
    for dtype in FLOATS:
        width = 16 // np.dtype("float16" if dtype in NARROW else dtype).itemsize
        for kernel in ("moments", "sums", "norm", "norm_backward"):
            names += [
                f"channel_{kernel}<{C_NAMES[dtype]}, {kinds}>"
                for kinds in (f"{width}, true", "1, false")
            ]
        a = "double" if dtype == "float64" else "float"
        names.append(f"sum_partials<{a}, {C_NAMES[dtype]}>")
    return names


VARIANTS = _variants()
"""The kernels that the report compiles."""
