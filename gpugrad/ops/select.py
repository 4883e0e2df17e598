"""Choosing elements by conditions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpugrad.core.abstract import shape_dtype
from gpugrad.core.box import Box, strip
from gpugrad.ops.broadcast import broadcast_arrays, broadcast_to
from gpugrad.ops.cast import cast
from gpugrad.ops.complex import is_complex
from gpugrad.ops.creation import zeros_near
from gpugrad.ops.elementwise import logical_and, logical_not, maximum, minimum, mod
from gpugrad.ops.elementwise import where as where_p
from gpugrad.ops.indexing import HOLE, getitem, index_add_p, nonzero, take, take_along_axis
from gpugrad.ops.join import stack
from gpugrad.ops.operands import as_array, as_arrays
from gpugrad.ops.shape import expand_dims, normal_axis, ravel, reshape


def where(condition: Any, x: Any = None, y: Any = None, /) -> Any:
    """``x`` where the condition holds, else ``y``; without them, the positions where it holds.

    The gradient goes to the chosen operand only, and is 0 for the other one; what computed the
    other one must be finite all the same: see ``docs/conventions.md``.
    """
    if x is not None and y is not None:
        if not {list, tuple}.isdisjoint([type(condition), type(x), type(y)]):
            condition, x, y = as_arrays(condition, x, y)
        return where_p(condition, x, y)
    if x is not None or y is not None:
        raise ValueError("where takes a condition alone, or with both x and y")
    return nonzero(condition)


def argwhere(x: Any) -> Any:
    """The positions of the elements that are not zero, one a row."""
    x = as_array(x)
    found = nonzero(x if shape_dtype(x).ndim else reshape(x, (1,)))
    out = stack(found, 1)
    return out if shape_dtype(x).ndim else getitem(out, (slice(None), slice(0, 0)))


def flatnonzero(x: Any) -> Any:
    """The positions in the flattened array of the elements that are not zero."""
    return nonzero(ravel(as_array(x)))[0]


def extract(condition: Any, x: Any) -> Any:
    """The elements of the flattened ``x`` where the condition holds."""
    condition, x = as_arrays(condition, x)
    return take(ravel(x), flatnonzero(condition), 0)


def compress(condition: Any, x: Any, axis: int | None = None) -> Any:
    """The slices along ``axis`` (None: elements of the flattened array) where it holds."""
    condition, x = as_arrays(condition, x)
    if axis is None:
        x, axis = ravel(x), 0
    return take(x, flatnonzero(condition), normal_axis(axis, shape_dtype(x).ndim))


def select(condlist: Sequence[Any], choicelist: Sequence[Any], default: Any = 0) -> Any:
    """For each element the choice of the first condition that holds, else ``default``."""
    if len(condlist) != len(choicelist) or not condlist:
        raise ValueError(
            f"select: {len(condlist)} conditions for {len(choicelist)} choices; as many are needed"
        )
    n = len(condlist)
    found = as_arrays(*condlist, *choicelist)
    out = default
    for condition, choice in reversed(list(zip(found[:n], found[n:], strict=True))):
        if shape_dtype(condition).dtype.kind != "b":
            raise TypeError(f"select: conditions are boolean, got {shape_dtype(condition).dtype}")
        out = where_p(condition, choice, out)
    return out


def choose(a: Any, choices: Any, mode: str = "raise") -> Any:
    """For each element of ``a`` the element there of the choice with that number."""
    parts = [choices[i] for i in range(len(choices))]
    a, *parts = broadcast_arrays(*as_arrays(a, *parts))
    n = len(parts)
    if mode == "wrap":
        a = mod(a, n)
    elif mode == "clip":
        a = minimum(maximum(a, 0), n - 1)
    elif mode != "raise":
        raise ValueError(f"choose: mode {mode!r} is none of 'raise', 'wrap', 'clip'")
    return getitem(take_along_axis(stack(parts), expand_dims(a, 0), 0), 0)


def piecewise(x: Any, condlist: Any, funclist: Sequence[Any], *args: Any, **kw: Any) -> Any:
    """A function given by pieces: where a condition holds, its function of those elements.

    Each function sees only the elements of its piece, so that none is asked outside its domain.
    Under ``vmap``, where pieces have no fixed size, each function sees all of them.

    Parameters
    ----------
    x
        Where to evaluate.
    condlist
        A boolean array for each piece; of several that hold, the last one counts.
    funclist
        A function or a number for each piece, and perhaps one more for the rest (else 0).
    *args, **kw
        More arguments of the functions.
    """
    x = as_array(x)
    like = shape_dtype(x)
    if not isinstance(condlist, list | tuple):
        condlist = [condlist]
    conditions = list(as_arrays(*condlist))
    if len(funclist) == len(conditions) + 1:
        rest = logical_not(conditions[0])
        for c in conditions[1:]:
            rest = logical_and(rest, logical_not(c))
        conditions.append(rest)
    if len(funclist) != len(conditions):
        raise ValueError(f"piecewise: {len(funclist)} functions for {len(conditions)} conditions")
    if not like.ndim:
        shaped = [reshape(c, (1,)) for c in conditions]
        return getitem(piecewise(reshape(x, (1,)), shaped, funclist, *args, **kw), 0)
    out: Any = zeros_near([x], like.shape, like.dtype)
    taken: Any = None
    for condition, f in reversed(list(zip(conditions, funclist, strict=True))):
        mask = broadcast_to(condition, like.shape)
        if taken is not None:
            mask = logical_and(mask, logical_not(taken))
        taken = mask if taken is None else taken | mask
        if not callable(f):
            out = cast(where_p(mask, f, out), like.dtype)
        elif isinstance(strip(mask), Box):
            out = cast(where_p(mask, f(x, *args, **kw), out), like.dtype)
        else:
            out = _with_piece(out, mask, f(getitem(x, mask), *args, **kw))
    return out


def _with_piece(out: Any, mask: Any, values: Any) -> Any:
    like = shape_dtype(out)
    where_at = nonzero(mask)
    (values,) = as_arrays(values)
    values = broadcast_to(cast(values, like.dtype), shape_dtype(where_at[0]).shape)
    spec = (HOLE,) * like.ndim
    return out + index_add_p(values, *[strip(i) for i in where_at], shape=like.shape, spec=spec)


def isclose(a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Any:
    """Whether elements are equal within ``atol + rtol * abs(b)``."""
    a, b = as_arrays(a, b)
    near = abs(a * 1.0 - b) <= atol + rtol * abs(b)
    same = (a == b) | (near & _finite(b) & _finite(a))
    return same | ((a != a) & (b != b)) if equal_nan else same


def _finite(x: Any) -> Any:
    return abs(x) < np.inf


def allclose(
    a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Any:
    """Whether all elements are equal within ``atol + rtol * abs(b)``, as an array's truth."""
    from gpugrad.ops.reductions import all

    return all(isclose(a, b, rtol, atol, equal_nan))


def array_equal(a: Any, b: Any, equal_nan: bool = False) -> Any:
    """Whether both have the same shape and elements."""
    from gpugrad.ops.reductions import all

    a, b = as_arrays(a, b)
    if shape_dtype(a).shape != shape_dtype(b).shape:
        return False
    same = a == b
    return all(same | ((a != a) & (b != b)) if equal_nan else same)


def array_equiv(a: Any, b: Any) -> Any:
    """Whether both have the same elements, broadcast to one shape."""
    from gpugrad.ops.reductions import all

    a, b = as_arrays(a, b)
    try:
        np.broadcast_shapes(shape_dtype(a).shape, shape_dtype(b).shape)
    except ValueError:
        return False
    return all(a == b)


def iscomplex(x: Any) -> Any:
    """Whether elements have an imaginary part that is not 0."""
    x = as_array(x)
    return x.imag != 0 if is_complex(x) else logical_and(x == x, False)


def isreal(x: Any) -> Any:
    """Whether elements have no imaginary part, or 0 for one."""
    return logical_not(iscomplex(x))
