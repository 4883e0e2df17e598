"""Attention, ``softmax(scale * q @ k.T + mask) @ v``, without the matrix of scores.

By tiles of queries and keys with a running softmax: memory grows with the length of the sequences,
not with its square. The forward pass keeps its result and one number for each query, the logarithm
of the softmax's denominator, from which the backward pass computes the scores again. Sums run in a
fixed order: the same bits on every run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from gpugrad.kernels.many import contiguous, wide, widened
from gpugrad.kernels.operands import fit, floats
from gpugrad.kernels.source import C_NAMES, function

WIDTHS = (32, 64, 128, 256)
"""Elements of a query or value that there are CUDA kernels for; smaller ones are filled up."""


def forward(q: Any, k: Any, v: Any, mask: Any, *, causal: bool, scale: float) -> tuple[Any, Any]:
    """Attention, and for each query the logarithm of the sum of its weights.

    Parameters
    ----------
    q : (B, H, L, D) array
        NumPy or CuPy array of floats: float16 and bfloat16 are computed with in float32.
    k : (B, H / shared, S, D) array
        Keys, which that many heads in a row share, of q's dtype.
    v : (B, H / shared, S, E) array
        Values, of q's dtype.
    mask : (B or 1, H or 1, L or 1, S or 1) array or None
        Added to the scores, of q's dtype: minus infinity hides a key.
    causal : bool
        Whether query i sees the keys up to the i-th only.
    scale : float
        What scores are multiplied by.

    Returns
    -------
    out : (B, H, L, E) array
        Zeros for a query that sees no key.
    lse : (B, H, L) array
        In float32 at least; infinity for a query that sees no key.

    Notes
    -----
    Bytes it must move, for elements of ``s`` bytes: ``s`` times the sizes of q, k, v, mask and
    out, and 4 (or 8) a query for lse. On CUDA a block has 64 queries (32 in float64 or beyond 128
    elements), reads its own again for each tile of 64 keys (32 in float64), and reads keys and
    values once: ``s*B*H*ceil(L/64)*S*(2*D + E)`` bytes in all, which the cache serves but for the
    first time. There are no tensor cores in it.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.kernels.attention import forward
    >>> q, k, v = np.zeros((1, 1, 2, 4)), np.ones((1, 1, 2, 4)), np.eye(2)[None, None]
    >>> forward(q, k, v, None, causal=True, scale=0.5)[0][0, 0]
    array([[1. , 0. ],
           [0.5, 0.5]])
    """
    shape = _check("attention.forward", q, k, v, mask)
    if isinstance(q, np.ndarray):
        out, lse = np.empty(shape, q.dtype), np.empty(shape[:3], wide(q.dtype))
        if 0 in (out.size, v.size):
            out[...], lse[...] = 0, np.inf
            return out, lse
        from gpugrad.kernels.cpu import attention

        into = widened(out)
        attention.forward(*_given(widened, q, k, v, mask), into, lse, causal, scale)
        return into.astype(q.dtype, copy=False), lse
    import cupy

    out, lse = cupy.empty(shape, q.dtype), cupy.empty(shape[:3], wide(q.dtype))
    q, k, v, mask = _given(contiguous, q, k, v, mask)
    if out.size:
        kernel, rows = _kernel("attend", q, k, v)
        blocks = lse.size // shape[2] * -(-shape[2] // rows)
        kernel(
            (blocks,),
            (256,),
            (out, lse, q, k, v, _some(mask, q), _problem(q, k, v, mask, causal, scale)),
        )
    return out, lse


def backward(
    g: Any, q: Any, k: Any, v: Any, mask: Any, out: Any, lse: Any, *, causal: bool, scale: float
) -> tuple[Any, Any, Any]:
    """The gradients with respect to q, k and v.

    Parameters
    ----------
    g : (B, H, L, E) array
        The gradient of ``out``, of its dtype.
    q, k, v, mask, causal, scale
        What `forward` was given.
    out, lse : array
        What `forward` returned.

    Returns
    -------
    dq, dk, dv : array
        Of the shapes and the dtype of q, k and v.

    Notes
    -----
    Bytes it must move, for elements of ``s`` bytes: ``s`` times the sizes of g, out, mask and
    twice those of q, k and v, and 4 (or 8) a query for lse. On CUDA there are two kernels, one for
    queries and one for keys and values, each of which computes the scores again: together
    ``s*B*H*ceil(L/64)*S*(3*D + 2*E) + s*B*H*ceil(S/64)*L*(3*D + 3*E)`` bytes with tiles of 64,
    from the cache but for the first time.
    """
    name = "attention.backward"
    shape = _check(name, q, k, v, mask)
    kept = (lse, shape[:3], wide(q.dtype))
    fit(name, q, g=(g, shape, q.dtype), out=(out, shape, q.dtype), lse=kept)
    if isinstance(q, np.ndarray):
        dq, dk, dv = (np.empty(x.shape, q.dtype) for x in (q, k, v))
        if 0 in (out.size, v.size):
            dq[...], dk[...], dv[...] = 0, 0, 0
            return dq, dk, dv
        from gpugrad.kernels.cpu import attention

        into = [widened(x) for x in (dq, dk, dv)]
        attention.backward(*_given(widened, g, q, k, v, mask, out, lse), *into, causal, scale)
        dq, dk, dv = (x.astype(q.dtype, copy=False) for x in into)
        return dq, dk, dv
    import cupy

    dq, dk, dv = (cupy.empty(x.shape, q.dtype) for x in (q, k, v))
    g, q, k, v, mask, out, lse = _given(contiguous, g, q, k, v, mask, out, lse)
    if 0 in (out.size, v.size):
        dq[...], dk[...], dv[...] = 0, 0, 0
        return dq, dk, dv
    share = cupy.empty(lse.shape, lse.dtype)
    problem, hidden = _problem(q, k, v, mask, causal, scale), _some(mask, q)
    kernel, rows = _kernel("pull_queries", q, k, v, g, out)
    blocks = lse.size // q.shape[2] * -(-q.shape[2] // rows)
    kernel((blocks,), (256,), (dq, share, g, q, k, v, hidden, out, lse, problem))
    kernel, rows = _kernel("pull_keys", q, k, v, g)
    blocks = k.shape[0] * k.shape[1] * -(-k.shape[2] // rows)
    kernel((blocks,), (256,), (dk, dv, share, g, q, k, v, hidden, lse, problem))
    return dq, dk, dv


def _check(name: str, q: Any, k: Any, v: Any, mask: Any) -> tuple[int, ...]:
    """The shape of the result, if the operands go together."""
    floats(name, q, 4)
    if k.ndim != 4 or v.ndim != 4 or not k.shape[1] or q.shape[1] % k.shape[1]:
        raise ValueError(
            f"{name}: q {q.shape}, k {k.shape} and v {v.shape}: expected (B, H, L, D), "
            "(B, H / shared, S, D) and (B, H / shared, S, E)"
        )
    batch, heads, queries, width = q.shape
    keys = (batch, *k.shape[1:3])
    scores = (batch, heads, queries, keys[2])
    beside: Any = scores
    if mask is not None and mask.ndim == 4:
        beside = tuple([1 if m == 1 else n for m, n in zip(mask.shape, scores)])
    given = {"k": (k, (*keys, width), q.dtype), "v": (v, (*keys, v.shape[3]), q.dtype)}
    fit(name, q, **given, mask=(mask, beside, q.dtype))
    return (*q.shape[:3], v.shape[3])


def _given(make: Callable[[Any], Any], *arrays: Any) -> list[Any]:
    return [None if a is None else make(a) for a in arrays]


_PROBLEM = np.dtype(
    [(n, np.int64) for n in ("queries", "keys", "batch", "head", "query", "key")]
    + [("scale", np.float64)]
    + [(n, np.int32) for n in ("heads", "shared", "width", "deep", "causal", "masked")]
)
"""The kernels' argument of that name."""


def _problem(q: Any, k: Any, v: Any, mask: Any, causal: bool, scale: float) -> Any:
    steps = [0] * 4
    if mask is not None:
        steps = [
            0 if n == 1 else s // mask.itemsize
            for n, s in zip(mask.shape, mask.strides, strict=True)
        ]
    heads = (q.shape[1], q.shape[1] // k.shape[1], q.shape[3], v.shape[3])
    fields = (q.shape[2], k.shape[2], *steps, scale, *heads, causal, mask is not None)
    return np.array(fields, _PROBLEM)


def _some(mask: Any, q: Any) -> Any:
    """A pointer for the mask that is not there, and that no one follows."""
    return q if mask is None else mask


def _kernel(name: str, *arrays: Any) -> tuple[Any, int]:
    """The kernel for rows of these arrays, and how many rows a block of it has."""
    double = arrays[0].itemsize == 8
    most = max(a.shape[-1] for a in arrays)
    width = next((w for w in WIDTHS if w >= most), None)
    if width is None:
        raise ValueError(
            f"attention on CUDA: at most {WIDTHS[-1]} elements to a query or value, got {most}"
        )
    pack = 16 // arrays[0].itemsize
    whole = all(a.shape[-1] % pack == 0 and a.data.ptr % 16 == 0 for a in arrays)
    found = function(
        "attention", expression(name, arrays[0].dtype.name, width, pack if whole else 1)
    )
    return found, 32 if double or width > 128 else 64


def expression(name: str, dtype: str, width: int, pack: int) -> str:
    """The kernel's name for a dtype, the greatest width of a row, and elements in a load."""
    return f"{name}<{C_NAMES[dtype]}, {width}, {pack}>"


VARIANTS = [
    expression(name, dtype, width, 16 // np.dtype(size).itemsize)
    for name in ("attend", "pull_queries", "pull_keys")
    for dtype, size, widths in (
        ("float16", "f2", (128,)),
        ("bfloat16", "f2", (128,)),
        ("float32", "f4", (64, 128, 256)),
        ("float64", "f8", (128,)),
    )
    for width in widths
]
"""The kernels that the report compiles: the dtype changes the loads alone, but for float64."""
