"""What goes in comes out: raw arrays for raw arrays, ``Array`` for ``Array``, floats for floats."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import optree

from gpugrad.core.abstract import ShapeDtype, shape_dtype
from gpugrad.core.box import BOX_TYPES, Box, box, constant, strip
from gpugrad.core.trace import Trace
from gpugrad.cotangents import one_like, own
from gpugrad.device import common_device
from gpugrad.ops.cast import cast, is_inexact
from gpugrad.ops.creation import raw_of, zeros_near

LEAF = optree.treespec_leaf()


def flatten(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> tuple[list[Any], Any]:
    """The leaves of a pytree and its structure; None is a node without leaves."""
    if type(tree) is np.ndarray or type(tree) in BOX_TYPES:
        return [tree], LEAF
    return optree.tree_flatten(tree, is_leaf)


def unflatten(structure: Any, leaves: Iterable[Any]) -> Any:
    """The pytree of ``structure`` with these leaves."""
    if structure is LEAF:
        (leaf,) = leaves
        return leaf
    return optree.tree_unflatten(structure, leaves)


def enter(value: Any, trace: Trace, payload: Any = None) -> Any:
    """A box of ``trace`` around one input; a constant box is unwrapped first."""
    return box(strip(value), trace, payload)


def below(value: Any, trace: Trace) -> Any:
    """What ``value`` is once ``trace`` has ended."""
    return value._value if isinstance(value, Box) and value._trace is trace else value


def leave(value: Any, as_array: bool) -> Any:
    """An output as the caller wants it."""
    value = strip(value)
    return constant(value) if as_array and hasattr(value, "shape") else value


def check_differentiable(leaves: Sequence[Any], what: str, argnum: int) -> bool:
    """Refuse to differentiate with respect to integers, booleans and things that are no arrays.

    Returns whether all are plain NumPy arrays, for which much can be skipped.
    """
    plain = True
    for leaf in leaves:
        if type(leaf) is np.ndarray and leaf.dtype.kind in "fc":
            continue
        plain = False
        if not (hasattr(leaf, "shape") or isinstance(leaf, int | float | complex)):
            raise TypeError(
                f"{what}: argument {argnum} holds a {type(leaf).__name__}; a gradient is with "
                "respect to arrays and numbers. Pass it another way, or choose argnums."
            )
        dtype = shape_dtype(leaf).dtype
        if not is_inexact(dtype):
            raise TypeError(
                f"{what}: argument {argnum} has dtype {dtype}, and a gradient needs floating-point "
                "or complex numbers: convert it with astype(float), or write 3.0 for 3"
            )
    return plain


def as_input(g: Any, x: Any) -> Any:
    """A gradient in the kind of the input ``x`` that it belongs to."""
    raw = strip(g)
    if isinstance(x, Box):
        return constant(raw)
    if isinstance(raw, Box):
        return raw
    if isinstance(x, np.ndarray):
        return np.asarray(raw)
    if isinstance(x, float | complex) and not isinstance(x, np.generic):
        return type(x)(raw) if not (type(x) is float and np.iscomplexobj(raw)) else complex(raw)
    return raw


def like(value: Any, x: Any, what: str) -> Any:
    """``value``, raw, in the dtype of ``x``; a number also on its device. Else they must agree."""
    value = strip(value)
    if type(value) is type(raw_of(x)) is np.ndarray and value.dtype == x.dtype:
        return value
    if shape_dtype(value).weak:
        value = one_like(strip(x)) * value
    raw = [r for r in (raw_of(x), raw_of(value)) if not isinstance(r, ShapeDtype)]
    common_device(raw, what)
    return cast(value, shape_dtype(x).dtype)


def zero(x: Any) -> Any:
    """A raw zero of the shape, dtype and device of ``x``."""
    shape, dtype, _ = shape_dtype(x)
    return zeros_near([x], shape, dtype)


def with_zeros(ts: Iterable[Any | None], xs: Iterable[Any]) -> list[Any]:
    """``ts`` with zeros in place of None, each like its partner in ``xs``."""
    return [zero(x) if t is None else t for t, x in zip(ts, xs, strict=True)]


def gradients(
    found: Iterable[Any | None], inputs: Sequence[Any], seeds: Sequence[Any], plain: bool = False
) -> list[Any]:
    """Cotangents of the inputs, zeros where none arrived, each in its input's kind.

    None shares memory with another or with ``seeds``, the cotangents of the outputs. ``plain``:
    the inputs are NumPy arrays.
    """
    if plain:  # mostly there is nothing to copy
        out = list(found)
        if len({*map(id, out), *map(id, seeds)}) == len(out) + len(seeds):
            for g in out:
                if type(g) is not np.ndarray or g.base is not None:
                    break
            else:
                return out
        found = out
    out = []
    seen = set(map(id, seeds))
    for g, x in zip(found, inputs):
        g = own(zero(x) if g is None else g, seen)
        out.append(g if plain and type(g) is np.ndarray else as_input(g, x))
    return out


def spread(at: Sequence[int], values: Sequence[Any], count: int) -> list[Any]:
    """``count`` entries with ``values`` at the positions ``at`` and None elsewhere."""
    out: list[Any] = [None] * count
    for i, v in zip(at, values, strict=True):
        out[i] = v
    return out


def named(f: Callable[..., Any], wrapper: Callable[..., Any], what: str) -> Callable[..., Any]:
    """Give ``wrapper`` the name and documentation of ``f`` under ``what``."""
    name = getattr(f, "__name__", type(f).__name__)
    wrapper.__name__ = f"{what}({name})"
    wrapper.__doc__ = f"{what} of {name}.\n\n{getattr(f, '__doc__', None) or ''}"
    wrapper.__wrapped__ = f  # type: ignore[attr-defined]
    return wrapper


def one_output(out: Any, what: str) -> Any:
    """The single array that a scalar loss must be."""
    if not (hasattr(out, "shape") or isinstance(out, int | float | complex)):
        got = "None (is a return missing?)" if out is None else f"a {type(out).__name__}"
        raise TypeError(f"{what}: the function must return one array, it returned {got}")
    return out


def select(argnums: int | Sequence[int], count: int, what: str) -> tuple[int, ...]:
    """Normal positions of the arguments to differentiate."""
    if isinstance(argnums, int) and 0 <= argnums < count:
        return (argnums,)
    wanted = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    for n in wanted:
        if not -count <= n < count:
            raise ValueError(f"{what}: argnums={argnums} for a call with {count} arguments")
    return tuple(n % count for n in wanted)
