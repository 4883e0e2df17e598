"""Adafactor's step, whose second moments are kept by rows and columns."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from gpugrad.kernels.many import CHUNK, addresses, by_dtype, dense, here, layout, module, wide
from gpugrad.kernels.operands import together, writable
from gpugrad.kernels.optimizer import Common, check_common, check_step, on_device, scale_of
from gpugrad.kernels.source import C_NAMES, function, resident


def adafactor(
    params: Sequence[Any],
    grads: Sequence[Any],
    row_vars: Sequence[Any],
    col_vars: Sequence[Any],
    variances: Sequence[Any],
    step: Any,
    *,
    beta2_decay: float = -0.8,
    eps: tuple[float | None, float] = (None, 1e-3),
    d: float = 1.0,
    weight_decay: float = 0.0,
    **common: Any,
) -> None:
    """Adafactor, by the rules of `torch.optim.Adafactor`. ``lr`` is 0.01.

    A parameter (..., R, C) has a row variance (..., R, 1) and a column variance (..., 1, C), and
    None among ``variances``; a vector or a number has one of its own shape there and None among
    the others. They begin as zeros. `gpugrad.kernels.optimizer` says the rest.

    Notes
    -----
    Bytes it must move, for N elements of ``s`` bytes with V variances of ``w``, if a tensor stayed
    on the chip between its sums: ``3*N*s + 2*V*w``. It moves ``7*N*s`` (``6*N*s`` of vectors):
    a parameter is read twice and written once, a gradient is read four times (three), and variances
    are read again from the cache. One launch, a block for each 16384 elements of a tensor, at most
    512: each of the sums over a tensor waits for the last. Loads are of one element for each
    thread, side by side: a gradient is read by rows and by columns.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.kernels.adafactor import adafactor
    >>> w, v = np.array([1.0, 2.0]), np.zeros(2)
    >>> adafactor([w], [np.array([1.0, -3.0])], [None], [None], [v], np.zeros(1, np.int64), lr=0.1)
    >>> w.round(6)
    array([0.841886, 2.158114])
    """
    if not len(params) == len(grads) == len(row_vars) == len(col_vars) == len(variances):
        raise ValueError("adafactor: a gradient and three variances, or None, for each parameter")
    check_common("adafactor", common)
    check_step("adafactor", step)
    if not params:
        return
    lists = [
        [p, g, *((v, v) if p.ndim < 2 else (r, c))]
        for p, g, r, c, v in zip(params, grads, row_vars, col_vars, variances)
    ]
    for t, (p, g, r, c) in enumerate(lists):
        _check(t, p, g, r, c)
    variances = [v for arrays in lists for v in arrays[2:]]
    writable("adafactor", parameters=params, variances=variances)
    together("adafactor", [*lists, [params[0], step]])
    groups = by_dtype(params, "adafactor")
    before = step.copy() if len(groups) > 1 else step  # each launch counts it
    numbers = (beta2_decay, weight_decay, *eps, d)
    for n, at in enumerate(groups):
        counter = step if n == len(groups) - 1 else before.copy()
        mine = [lists[t] for t in at]
        whole = [[dense(a) for a in arrays] for arrays in mine]
        run = _host if isinstance(mine[0][0], np.ndarray) else _cuda
        run(whole, counter, numbers, common)
        for arrays, copies in zip(mine, whole):
            for a, copy in zip((arrays[0], *arrays[2:]), (copies[0], *copies[2:])):
                if a is not copy:
                    a[...] = copy


def _check(t: int, p: Any, g: Any, r: Any, c: Any) -> None:
    wanted = {"gradient": (p.shape, p.dtype)}
    if p.ndim < 2:
        wanted["variance"] = (p.shape, wide(p.dtype))
    else:
        wanted["row variance"] = ((*p.shape[:-1], 1), wide(p.dtype))
        wanted["column variance"] = ((*p.shape[:-2], 1, p.shape[-1]), wide(p.dtype))
    for (what, (shape, dtype)), a in zip(wanted.items(), (g, r, c)):
        if a is None or a.shape != shape or a.dtype != dtype:
            given = None if a is None else f"{a.dtype}{a.shape}"
            raise ValueError(f"adafactor: {what} {t} must be {dtype}{shape}, got {given}")


def _least(eps: float | None, dtype: Any) -> float:
    if eps is not None:
        return eps
    return 2.0**-7 if dtype.name == "bfloat16" else float(np.finfo(dtype).eps)


@np.errstate(all="ignore")
def _host(lists: list[list[Any]], step: Any, numbers: tuple[Any, ...], common: Common) -> None:
    beta2_decay, weight_decay, eps1, eps2, d = numbers
    scale = scale_of(common)
    if scale is None:
        return
    count = int(step.reshape(())) + 1
    lr = float(np.asarray(common.get("lr", 1e-2)).reshape(()))
    fresh = count**beta2_decay
    for p, g, r, c in lists:
        if not p.size:
            continue
        a = wide(p.dtype)
        least = a.type(_least(eps1, p.dtype))
        x, up = p.astype(a), g.astype(a) * a.type(scale)
        root = float(np.linalg.norm(x)) / math.sqrt(x.size)
        alpha = np.maximum(eps2, root) * min(lr, 1 / math.sqrt(count))
        square = up * up
        if p.ndim < 2:
            r += a.type(fresh) * (square - r)
            v = r
        else:
            r += a.type(fresh) * (square.mean(-1, keepdims=True) - r)
            c += a.type(fresh) * (square.mean(-2, keepdims=True) - c)
            v = r * c / np.maximum(r.mean(-2, keepdims=True), least)
        update = up / np.sqrt(np.maximum(v, least * least))
        norm = float(np.linalg.norm(update)) / (math.sqrt(x.size) * d)
        p[...] = a.type(1 - lr * weight_decay) * x - a.type(alpha / np.maximum(1.0, norm)) * update
    step += 1


@lru_cache(maxsize=256)
def _dims(shapes: tuple[tuple[int, ...], ...], where: int) -> Any:
    import cupy

    if any(math.prod(s) > (1 << 31) - 2 * THREADS for s in shapes):  # a block's next are counted
        raise ValueError("adafactor: on CUDA a parameter has less than 2**31 - 1024 elements")
    rows = []
    for s in shapes:
        size = math.prod(s)
        rows.append((math.prod(s[:-2]), s[-2], s[-1]) if len(s) > 1 and size else (1, 0, size))
    return cupy.asarray(np.array(rows, np.int64))


PART, THREADS = 16384, 512
"""Elements of a part of a tensor, and the most parts: as many as a block has threads."""


def _parts(p: Any) -> int:
    return min(THREADS, -(-int(p.size) // PART))


@lru_cache(maxsize=256)
def _scratch(parts: int, tensors: int, dtype: Any, where: Hashable) -> tuple[Any, Any]:
    """Partial sums, and zeros by which blocks find their parts and wait for each other's."""
    import cupy

    return cupy.empty(2 * parts, dtype), cupy.zeros(tensors + 1, np.int32)


def _cuda(lists: list[list[Any]], step: Any, numbers: tuple[Any, ...], common: Common) -> None:
    beta2_decay, weight_decay, eps1, eps2, d = numbers
    dtype = lists[0][0].dtype
    xp = module(lists[0][0])
    where = xp.cuda.runtime.getDevice()
    run = function("optimizer", f"adafactor<{C_NAMES[dtype.name]}>")
    table = layout([p for p, *_ in lists], lambda p: CHUNK * _parts(p))
    run(
        (max(1, min(table.chunks, resident(THREADS))),),
        (THREADS,),
        (
            addresses(list(zip(*lists))),
            _dims(tuple([p.shape for p, *_ in lists]), where),
            *table[1:3],
            np.int32(table.chunks),
            np.int32(len(lists)),
            *_scratch(table.chunks, len(lists), wide(dtype), here()),
            step,
            table.ticket,
            *on_device(common, 1e-2, dtype, xp),
            *map(np.float64, (beta2_decay, weight_decay, _least(eps1, dtype), eps2, d)),
        ),
    )
