"""A function of another library as a function of ours that differentiates to any order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpugrad.core.abstract import shape_dtype
from gpugrad.core.batching import Batch
from gpugrad.core.box import Box, any_box, box
from gpugrad.ops.cast import cast, is_inexact
from gpugrad.ops.join import stack
from gpugrad.transforms.custom import custom_vjp
from gpugrad.transforms.kinds import flatten, named, unflatten

Flat = Callable[..., Sequence[Any]]
"""Of arrays one by one to a list of arrays."""


def is_number(leaf: Any) -> bool:
    """Whether a leaf is handed over as an array: all else stays as it is."""
    return hasattr(leaf, "dtype") or isinstance(leaf, float | complex)


def as_number(what: str, f: Callable[..., Any], y: Any) -> Any:
    """A leaf of what ``f`` returns as an array, or an error that says what it is."""
    if hasattr(y, "dtype"):
        return y
    if isinstance(y, bool | int | float | complex):
        return np.asarray(y)
    raise TypeError(
        f"{what}: {getattr(f, '__name__', type(f).__name__)} returned a {type(y).__name__}; it "
        "returns arrays, numbers, or lists, tuples and dicts of them"
    )


def adopt(
    f: Callable[..., Any],
    what: str,
    run: Callable[[Flat, Sequence[Any]], list[Any]],
    pull: Callable[[Flat, tuple[int, ...], int], Flat],
) -> Callable[..., Any]:
    """``f`` of another library on our arrays.

    ``run(flat, raw)`` calls a flat foreign function on raw arrays. ``pull(flat, at, count)`` is
    the foreign function from ``count`` inputs of ``flat`` and the outputs' cotangents to those of
    the inputs ``at``; adopted in its turn it gives the derivatives of every order.
    """

    def adopted(*args: Any, **kwargs: Any) -> Any:
        leaves, tree = flatten((args, kwargs))
        where = [i for i, leaf in enumerate(leaves) if is_number(leaf)]
        found: dict[str, Any] = {}

        def flat(*numbers: Any) -> Sequence[Any]:
            full = list(leaves)
            for i, x in zip(where, numbers, strict=True):
                full[i] = x
            given, named_ones = unflatten(tree, full)
            outs, found["tree"] = flatten(f(*given, **named_ones))
            return [as_number(what, f, y) for y in outs]

        outs = _flat(flat, what, run, pull)(*[leaves[i] for i in where])
        return unflatten(found["tree"], outs)

    return named(f, adopted, what)


def _flat(
    flat: Flat,
    what: str,
    run: Callable[[Flat, Sequence[Any]], list[Any]],
    pull: Callable[[Flat, tuple[int, ...], int], Flat],
) -> Callable[..., Any]:
    def ours(*xs: Any) -> Any:
        return _each(ours, what, xs) if any_box(xs) else run(flat, xs)

    ours.__name__ = what

    def forward(*xs: Any) -> tuple[Any, Any]:
        return rule(*xs), xs

    def backward(xs: Any, gs: Any) -> tuple[Any, ...]:
        likes = [shape_dtype(x) for x in xs]
        at = tuple(i for i, like in enumerate(likes) if is_inexact(like.dtype))
        pulled = _flat(pull(flat, at, len(xs)), what, run, pull)(*xs, *gs)
        out: list[Any] = [None] * len(xs)
        for i, g in zip(at, pulled, strict=True):
            out[i] = g if likes[i].weak else cast(g, likes[i].dtype)
        return tuple(out)

    rule = custom_vjp(ours)
    rule.defvjp(forward, backward)
    return rule


def _each(f: Callable[..., Any], what: str, xs: Sequence[Any]) -> list[Any]:
    """``f`` under `gpugrad.vmap`, example by example: other libraries know nothing of our boxes."""
    top = max([x._trace for x in xs if isinstance(x, Box) and x._trace], key=lambda t: t.level)
    if not isinstance(top, Batch):
        raise TypeError(
            f"{what}: the shapes of what another library's function returns are known only when "
            "it runs, so not under eval_shape"
        )
    rows = [
        f(*[x._value[i] if isinstance(x, Box) and x._trace is top else x for x in xs])
        for i in range(top.size)
    ]
    return [box(stack(column), top) for column in zip(*rows, strict=True)]
