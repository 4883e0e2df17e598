"""Matrix products: matmul, and dot, tensordot and einsum by way of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from operator import index
from string import ascii_letters
from typing import Any

import numpy as np

from gpugrad.core.abstract import ShapeDtype, rank, shape_dtype
from gpugrad.core.loose import beside
from gpugrad.core.primitive import Primitive
from gpugrad.device import is_cuda
from gpugrad.kernels.many import NARROW, name_of
from gpugrad.ops.broadcast import broadcast_to, sum_p, unbroadcast
from gpugrad.ops.cast import cast
from gpugrad.ops.creation import counting
from gpugrad.ops.indexing import HOLE, index_p
from gpugrad.ops.shape import (
    expand_dims,
    moveaxis,
    normal_axes,
    permute,
    reshape_p,
    squeeze,
)


def product(a: Any, b: Any) -> Any:
    """``a @ b``; of BLAS matrices and vectors by ``dot``, at half the price for small ones."""
    if (
        type(a) is type(b) is np.ndarray
        and 1 <= a.ndim <= 2
        and 1 <= b.ndim <= 2
        and a.dtype.char in "fdFD"
    ):
        return a.dot(b)
    if type(a) is type(b) is np.ndarray and a.ndim > 2 and b.ndim == 2 and a.dtype.char in "fdFD":
        # One matrix for a stack is one product over all rows: NumPy would make one for each.
        rows = a.reshape(math.prod(a.shape[:-1]), a.shape[-1])
        return rows.dot(b).reshape(*a.shape[:-1], b.shape[1])
    if type(a) is type(b) is np.ndarray and a.dtype == b.dtype and name_of(a.dtype) in NARROW:
        # Neither the BLAS nor NumPy has these: summed in float32 and rounded, as on CUDA.
        y = product(a.astype(np.float32), b.astype(np.float32))
        with np.errstate(over="ignore"):
            return y.astype(a.dtype)
    if is_cuda(a) and is_cuda(b) and a.dtype == b.dtype and name_of(a.dtype) in NARROW:
        return _narrow_on_cuda(a, b)
    return a @ b


def _narrow_on_cuda(a: Any, b: Any) -> Any:
    """CuPy multiplies two matrices in their dtype, but stacks of float16 in float32, bfloat16 not.

    (https://github.com/cupy/cupy/pull/10317)
    """
    if a.ndim > 2 and b.ndim == 2:
        rows = a.reshape(math.prod(a.shape[:-1]), a.shape[-1])
        return (rows @ b).reshape(*a.shape[:-1], b.shape[1])
    if max(a.ndim, b.ndim) > 2 and a.dtype != np.float16:
        return (a.astype(np.float32) @ b.astype(np.float32)).astype(a.dtype)
    return a @ b


def _dtype(a: np.dtype[Any], b: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype of a product, an error where NumPy has none."""
    if a == b and name_of(a) in NARROW:
        return a
    found: np.dtype[Any] = np.matmul(np.empty((0, 0), a), np.empty((0, 0), b)).dtype
    return found


def _matmul_shape(a: ShapeDtype, b: ShapeDtype) -> ShapeDtype:
    if a.shape[-1] != b.shape[-2]:
        raise ValueError(f"matmul: shapes {a.shape} and {b.shape} do not multiply")
    stack = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return ShapeDtype((*stack, a.shape[-2], b.shape[-1]), _dtype(a.dtype, b.dtype))


def _left_vjp(g: Any, b: Any, a_like: ShapeDtype) -> Any:
    return unbroadcast(product(g, b.mT), a_like)


def _right_vjp(g: Any, a: Any, b_like: ShapeDtype) -> Any:
    if b_like.ndim == 2 and g.ndim > 2 and a.ndim == g.ndim:
        # One matrix for a stack: a single product over all rows, not a stack of products summed.
        a = reshape_p(a, shape=(math.prod(a.shape[:-1]), a.shape[-1]))
        g = reshape_p(g, shape=(math.prod(g.shape[:-1]), g.shape[-1]))
    return unbroadcast(product(a.mT, g), b_like)


def _fit(t: Any, y_like: ShapeDtype) -> Any:
    return cast(broadcast_to(t, y_like.shape), y_like.dtype)


def _matmul_batch(
    primitive: Primitive, size: int, batched: Sequence[bool], values: Any, params: Any
) -> Any:
    a, b = values
    if batched[0] and not batched[1] and b.ndim == 2 and a.ndim > 2:
        return primitive(a, b)
    ranks = [shape_dtype(v).ndim - mine for v, mine in zip(values, batched, strict=True)]
    most = max(ranks)
    out = []
    for v, mine, r in zip(values, batched, ranks, strict=True):
        if mine and r < most:
            v = reshape_p(v, shape=(size, *(1,) * (most - r), *v.shape[1:]))
        out.append(v)
    return primitive(*out)


matmul_p: Primitive = Primitive(
    "matmul",
    lambda xp, a, b: product(a, b),
    "a b",
    shape=_matmul_shape,
    vjp=(_left_vjp, _right_vjp),
    jvp=(
        lambda t, b, y_like: _fit(matmul_p(t, b), y_like),
        lambda t, a, y_like: _fit(matmul_p(a, t), y_like),
    ),
    batch=_matmul_batch,
)
"""Matrix product of operands of at least two dimensions; the leading ones broadcast."""


def _vector_shape(a: ShapeDtype, b: ShapeDtype) -> ShapeDtype:
    row = a if a.ndim == 2 else ShapeDtype((1, *a.shape), a.dtype)
    column = b if b.ndim == 2 else ShapeDtype((*b.shape, 1), b.dtype)
    y = _matmul_shape(row, column)
    return ShapeDtype(y.shape[2 - a.ndim : 1 if b.ndim == 1 else 2], y.dtype)


def _vector_left(g: Any, b: Any, a_like: ShapeDtype) -> Any:
    if a_like.ndim == 2:
        return unbroadcast(g[:, None] * b, a_like)
    return unbroadcast(g * b if b.ndim == 1 else vector_p(b, g), a_like)


def _vector_right(g: Any, a: Any, b_like: ShapeDtype) -> Any:
    if b_like.ndim == 2:
        return unbroadcast(a[:, None] * g, b_like)
    return unbroadcast(g * a if a.ndim == 1 else vector_p(g, a), b_like)


def _vector_batch(
    primitive: Primitive, size: int, batched: Sequence[bool], values: Any, params: Any
) -> Any:
    a, b = values
    row = shape_dtype(a).ndim - batched[0] == 1
    column = shape_dtype(b).ndim - batched[1] == 1
    y = matmul_p(expand_dims(a, -2) if row else a, expand_dims(b, -1) if column else b)
    return squeeze(y, (-2,) * row + (-1,) * column)


vector_p: Primitive = Primitive(
    "dot",
    lambda xp, a, b: product(a, b),
    "a b",
    shape=_vector_shape,
    vjp=(_vector_left, _vector_right),
    jvp=(
        lambda t, b, y_like: _fit(vector_p(t, b), y_like),
        lambda t, a, y_like: _fit(vector_p(a, t), y_like),
    ),
    batch=_vector_batch,
)
"""Product of two vectors, or of a vector and a matrix."""


def matmul(a: Any, b: Any) -> Any:
    """Matrix product; a 1-D operand is a row on the left and a column on the right.

    Raises
    ------
    ValueError
        For a scalar operand or lengths that do not match.
    """
    if rank(a) > 1 and rank(b) > 1:
        return matmul_p(a, b)
    left, right = shape_dtype(a), shape_dtype(b)
    if left.ndim == 0 or right.ndim == 0:
        raise ValueError(
            f"matmul: shapes {left.shape} and {right.shape}: scalars do not multiply as matrices; "
            "use *"
        )
    if left.shape[-1] != right.shape[-2 if right.ndim > 1 else 0]:
        raise ValueError(f"matmul: shapes {left.shape} and {right.shape} do not multiply")
    if left.ndim <= 2 and right.ndim <= 2:
        return vector_p(a, b)
    row = expand_dims(a, 0) if left.ndim == 1 else a
    column = expand_dims(b, 1) if right.ndim == 1 else b
    y = matmul_p(row, column)
    return squeeze(y, tuple(-2 + i for i, s in enumerate((left, right)) if s.ndim == 1))


def dot(a: Any, b: Any) -> Any:
    """NumPy's dot: the last axis of ``a`` with the last but one of ``b``; scalars multiply."""
    left, right = rank(a), rank(b)
    if left == 0 or right == 0:
        return a * b
    if left <= 2 and right <= 2:
        return matmul(a, b)
    return tensordot(a, b, ((left - 1,), (max(right - 2, 0),)))


def vdot(a: Any, b: Any) -> Any:
    """Dot product of the flattened operands, the first one conjugated."""
    from gpugrad.ops.complex import conj
    from gpugrad.ops.shape import ravel

    a, b = beside(a, b)
    return matmul(ravel(conj(a)), ravel(b))


def vecdot(a: Any, b: Any, axis: int = -1) -> Any:
    """Dot products along ``axis``, the first operand conjugated; the other axes broadcast."""
    from gpugrad.ops.complex import conj

    a, b = beside(a, b)
    a, b = moveaxis(a, axis, -1), moveaxis(b, axis, -1)
    if a.shape[-1] != b.shape[-1]:
        raise ValueError(f"vecdot: lengths {a.shape[-1]} and {b.shape[-1]} along axis {axis}")
    if a.ndim == b.ndim == 1:
        return matmul(conj(a), b)
    return squeeze(matmul_p(expand_dims(conj(a), -2), expand_dims(b, -1)), (-2, -1))


def inner(a: Any, b: Any) -> Any:
    """Sum over the last axes of both operands."""
    a, b = beside(a, b)
    left, right = shape_dtype(a), shape_dtype(b)
    if left.ndim == 0 or right.ndim == 0:
        return a * b
    if left.ndim == right.ndim == 1:
        return matmul(a, b)
    return tensordot(a, b, ((left.ndim - 1,), (right.ndim - 1,)))


def outer(a: Any, b: Any) -> Any:
    """Every product of an element of ``a`` with one of ``b``."""
    from gpugrad.ops.shape import ravel

    a, b = beside(a, b)
    return contract_p(ravel(a), ravel(b), spec=("i", "j", "ij"))


def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    """Sum of products over pairs of axes: the last and first ``axes``, or two lists of axes."""
    a, b = beside(a, b)
    left, right = shape_dtype(a).shape, shape_dtype(b).shape
    if isinstance(axes, int | np.integer):
        n = index(axes)
        if not 0 <= n <= min(len(left), len(right)):
            raise ValueError(f"tensordot: {n} axes for shapes {left} and {right}")
        pairs = (tuple(range(len(left) - n, len(left))), tuple(range(n)))
    else:
        pairs = (normal_axes(axes[0], len(left)), normal_axes(axes[1], len(right)))
    if [left[i] for i in pairs[0]] != [right[j] for j in pairs[1]]:
        raise ValueError(f"tensordot: axes {axes} of shapes {left} and {right} differ in length")
    keep_a = [i for i in range(len(left)) if i not in pairs[0]]
    keep_b = [j for j in range(len(right)) if j not in pairs[1]]
    n = math.prod([left[i] for i in pairs[0]])
    rows, columns = [left[i] for i in keep_a], [right[j] for j in keep_b]
    a = reshape_p(permute(a, (*keep_a, *pairs[0])), shape=(math.prod(rows), n))
    b = reshape_p(permute(b, (*pairs[1], *keep_b)), shape=(n, math.prod(columns)))
    return reshape_p(matmul_p(a, b), shape=(*rows, *columns))


def einsum(subscripts: Any, *operands: Any, optimize: Any = True) -> Any:
    """Sum of products by subscripts, pair by pair in the order `opt_einsum` finds.

    Each pair is one batched matrix product, so that its derivatives of every order are too.

    Parameters
    ----------
    subscripts
        Like ``"bij,bjk->bik"``, with ``...`` allowed; or the first operand, followed by lists of
        integers, as in NumPy.
    optimize
        Anything that `opt_einsum.contract_path` takes; False: from left to right.
    """
    if len(operands) == 2 and type(subscripts) is str:
        a, b = operands
        spec = _pair(subscripts, shape_dtype(a).shape, shape_dtype(b).shape)
        if spec is not None:
            return contract_p(a, b, spec=spec)
    text, arrays = _spell(subscripts, operands)
    terms, out = _parse(text, [shape_dtype(a).shape for a in arrays])
    sizes: dict[str, int] = {}
    for term, a in zip(terms, arrays, strict=True):
        for c, n in zip(term, shape_dtype(a).shape, strict=True):
            if n != sizes.setdefault(c, n):
                if 1 not in (n, sizes[c]):
                    raise ValueError(
                        f"einsum: subscript {c!r} has lengths {sizes[c]} and {n} in {terms}"
                    )
                sizes[c] = max(n, sizes[c])
    work = [_diagonal(t, a, sizes) for t, a in zip(terms, arrays, strict=True)]
    for pair in _path(work, out, sizes, optimize):
        chosen = [work[i] for i in pair]
        work = [w for i, w in enumerate(work) if i not in pair]
        wanted = set(out).union(*(t for t, _ in work))
        first = chosen[0]
        for i, second in enumerate(chosen[1:], 2):
            first = _contract(first, second, wanted.union(*(t for t, _ in chosen[i:])))
        work.append(first)
    ((term, x),) = work
    x, term = _sum_lone(x, term, set(out))
    if missing := [c for c in out if c not in term]:
        raise ValueError(f"einsum: subscript {missing[0]!r} is in the output only")
    return permute(x, tuple(term.index(c) for c in out))


def _path(work: list[tuple[str, Any]], out: str, sizes: dict[str, int], optimize: Any) -> Any:
    if len(work) == 1:
        return []
    if len(work) == 2 or optimize is False:
        return [(0, 1), *[(0, len(work) - 2 - i) for i in range(len(work) - 2)]]
    import opt_einsum

    if isinstance(optimize, list | tuple) and optimize and optimize[0] == "einsum_path":
        optimize = optimize[1:]
    shapes = [tuple(sizes[c] for c in t) for t, _ in work]
    spelled = ",".join(t for t, _ in work) + "->" + out
    path, _ = opt_einsum.contract_path(
        spelled, *shapes, shapes=True, optimize="auto" if optimize is True else optimize
    )
    return path


def einsum_path(subscripts: Any, *operands: Any, optimize: Any = "greedy") -> tuple[Any, str]:
    """The order in which `einsum` contracts, for its ``optimize=``, and its costs as a text.

    ``optimize`` is a rule of `opt_einsum`: ``"greedy"``, ``"optimal"``, ``"auto"`` and others.
    """
    import opt_einsum

    text, arrays = _spell(subscripts, operands)
    shapes = [shape_dtype(a).shape for a in arrays]
    terms, out = _parse(text, shapes)
    spelled = ",".join(terms) + "->" + out
    rule = "auto" if optimize is True else optimize
    path, costs = opt_einsum.contract_path(spelled, *shapes, shapes=True, optimize=rule)
    return ["einsum_path", *path], str(costs)


def _spell(subscripts: Any, operands: Sequence[Any]) -> tuple[str, list[Any]]:
    """Subscripts as a text, where they are lists of integers between the operands."""
    if isinstance(subscripts, str):
        return subscripts, list(operands)
    items = [subscripts, *operands]
    lists = [*items[1::2], *(items[-1:] if len(items) % 2 else [])]
    spell = ["".join("..." if s is ... else ascii_letters[s] for s in part) for part in lists]
    count = len(items) // 2
    text = ",".join(spell[:count]) + ("->" + spell[-1] if len(items) % 2 else "")
    return text, items[0 : 2 * count : 2]


def _parse(subscripts: str, shapes: Sequence[tuple[int, ...]]) -> tuple[list[str], str]:
    """Terms and output as plain letters, with ``...`` spelled out."""
    text = subscripts.replace(" ", "")
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    if len(terms) != len(shapes):
        raise ValueError(
            f"einsum: {subscripts!r} has {len(terms)} terms for {len(shapes)} operands"
        )
    free = [c for c in ascii_letters if c not in text]
    for t, s in zip(terms, shapes, strict=True):
        named = len(t.replace("...", ""))
        if named > len(s) or ("..." not in t and named != len(s)):
            raise ValueError(f"einsum: term {t!r} does not fit shape {s}")
    ranks = [
        len(s) - len(t.replace("...", "")) if "..." in t else 0
        for t, s in zip(terms, shapes, strict=True)
    ]
    dots = "".join(free[: max(ranks, default=0)])
    spelled = [t.replace("...", dots[len(dots) - r :]) for t, r in zip(terms, ranks, strict=True)]
    if arrow:
        out = right.replace("...", dots)
        if twice := [c for c in out if out.count(c) > 1]:
            raise ValueError(f"einsum: subscript {twice[0]!r} is in the output of {text!r} twice")
    else:
        once = sorted(c for c in set(left) if c.isalpha() and left.count(c) == 1)
        out = dots + "".join(once)
    return spelled, out


def _diagonal(term: str, x: Any, sizes: dict[str, int]) -> tuple[str, Any]:
    """Take the diagonal of repeated subscripts and broadcast axes of length 1."""
    shape = shape_dtype(x).shape
    full = tuple(sizes[c] if n == 1 and len(shape) else n for c, n in zip(term, shape, strict=True))
    if full != shape:
        x = broadcast_to(x, full)
    for c in dict.fromkeys(term):
        while term.count(c) > 1:
            i = term.index(c)
            j = term.index(c, i + 1)
            x = moveaxis(x, (i, j), (0, 1))
            n = x.shape[0]
            where = counting([x], n)
            x = index_p(x, where, where, spec=(HOLE, HOLE))
            term = c + term[:i] + term[i + 1 : j] + term[j + 1 :]
    return term, x


def _sum_lone(x: Any, term: str, wanted: set[str]) -> tuple[Any, str]:
    lone = tuple(i for i, c in enumerate(term) if c not in wanted)
    if lone:
        x = sum_p(x, axis=lone, keepdims=False)
    return x, "".join(c for c in term if c in wanted)


def _contract(first: tuple[str, Any], second: tuple[str, Any], wanted: set[str]) -> tuple[str, Any]:
    """One pair, with batch axes, rows and columns left in this order."""
    (left, a), (right, b) = first, second
    a, left = _sum_lone(a, left, wanted | set(right))
    b, right = _sum_lone(b, right, wanted | set(left))
    batch = [c for c in left if c in right and c in wanted]
    rows = [c for c in left if c not in right]
    columns = [c for c in right if c not in left]
    out = "".join((*batch, *rows, *columns))
    return out, contract_p(a, b, spec=(left, right, out))


Spec = tuple[str, str, str]
"""Subscripts of two operands and of the result, each letter of one in another."""


@lru_cache(maxsize=512)
def _pair(subscripts: str, left_shape: tuple[int, ...], right_shape: tuple[int, ...]) -> Any:
    """The `Spec` of an einsum that is one contraction as it stands; else None."""
    (left, right), out = _parse(subscripts, [left_shape, right_shape])
    sizes = dict(zip(left, left_shape))
    whole = (
        all(len(set(term)) == len(term) for term in (left, right, out))
        and all(sizes.setdefault(c, n) == n for c, n in zip(right, right_shape))
        and set(left) <= {*right, *out}
        and set(right) <= {*left, *out}
        and set(out) <= {*left, *right}
    )
    return (left, right, out) if whole else None


@lru_cache(maxsize=512)
def _as_product(spec: Spec) -> tuple[bool, bool, bool] | None:
    """Which of both operands and the result to transpose, where it is one of two matrices at most;
    else None.
    """  # noqa: D205
    left, right, out = spec
    summed = {*left} & {*right}
    if len(summed) != 1 or summed & {*out} or max(len(left), len(right)) > 2:
        return None
    (c,) = summed
    return left[-1] != c, right[0] != c, out != (left + right).replace(c, "")


def _contraction(xp: Any, a: Any, b: Any, *, spec: Spec) -> Any:
    left, right, out = spec
    a, b = [v if hasattr(v, "dtype") else xp.asarray(v) for v in (a, b)]  # a number of Python's
    turns = _as_product(spec)
    if turns is not None:
        a, b = a.T if turns[0] else a, b.T if turns[1] else b
        return product(b.T, a.T) if turns[2] else product(a, b)
    if xp is np and a.size * b.size <= 1 << 12 and a.dtype.char in "fdFD":
        return np.einsum(f"{left},{right}->{out}", a, b, optimize=False)
    # Batch axes, then (rows, summed) @ (summed, columns).
    summed = [c for c in left if c in right and c not in out]
    batch = [c for c in left if c in right and c in out]
    rows = [c for c in left if c not in right]
    columns = [c for c in right if c not in left]
    a = xp.transpose(a, [left.index(c) for c in (*batch, *rows, *summed)])
    b = xp.transpose(b, [right.index(c) for c in (*batch, *summed, *columns)])
    k, m = len(batch), len(batch) + len(rows)
    found = "".join((*batch, *rows, *columns))
    if not summed:  # an outer product: broadcast and multiply
        a = a.reshape((*a.shape, *(1,) * len(columns)))
        y = a * b.reshape((*b.shape[:k], *(1,) * len(rows), *b.shape[k:]))
    else:
        ends, n = (*a.shape[:m], *b.shape[k + len(summed) :]), math.prod(a.shape[m:])
        a = a.reshape((*a.shape[:k], math.prod(a.shape[k:m]), n))
        b = b.reshape((*b.shape[:k], n, math.prod(b.shape[k + len(summed) :])))
        y = product(a, b).reshape(ends)
    return xp.transpose(y, [found.index(c) for c in out]) if found != out else y


def _contract_shape(a: ShapeDtype, b: ShapeDtype, *, spec: Spec) -> ShapeDtype:
    sizes = {**dict(zip(spec[0], a.shape)), **dict(zip(spec[1], b.shape))}
    apart = set(spec[0]) | set(spec[1]) == set(spec[2])  # nothing is summed: a product
    dtype = np.result_type(a.dtype, b.dtype) if apart else _dtype(a.dtype, b.dtype)
    return ShapeDtype(tuple(sizes[c] for c in spec[2]), dtype)


def _contract_left(g: Any, b: Any, a_like: ShapeDtype, spec: Spec) -> Any:
    left, right, out = spec
    return unbroadcast(contract_p(g, b, spec=(out, right, left)), a_like)


def _contract_right(g: Any, a: Any, b_like: ShapeDtype, spec: Spec) -> Any:
    left, right, out = spec
    return unbroadcast(contract_p(a, g, spec=(left, out, right)), b_like)


def _contract_batch(
    primitive: Primitive, size: int, batched: Sequence[bool], values: Any, params: Any
) -> Any:
    left, right, out = params["spec"]
    new = next(c for c in ascii_letters if c not in left and c not in right)
    terms = [new + term if mine else term for term, mine in zip((left, right), batched)]
    return primitive(*values, spec=(*terms, new + out))


contract_p: Primitive = Primitive(
    "einsum",
    _contraction,
    "a b",
    shape=_contract_shape,
    vjp=(_contract_left, _contract_right),
    jvp=(
        lambda t, b, y_like, spec: _fit(contract_p(t, b, spec=spec), y_like),
        lambda t, a, y_like, spec: _fit(contract_p(a, t, spec=spec), y_like),
    ),
    batch=_contract_batch,
)
"""Sum of products over the letters of both operands that the result has not."""
