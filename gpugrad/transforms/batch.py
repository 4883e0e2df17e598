"""Batching: ``vmap`` and what is one line on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import optree

from gpugrad.core.abstract import shape_dtype
from gpugrad.core.batching import Batch
from gpugrad.core.box import Box, any_box, strip
from gpugrad.core.trace import deeper
from gpugrad.cotangents import settle
from gpugrad.ops.batching import lead
from gpugrad.ops.shape import moveaxis, normal_axis
from gpugrad.transforms.kinds import enter, leave, named, one_output
from gpugrad.transforms.reverse import grad


def vmap(f: Callable[..., Any], in_axes: Any = 0, out_axes: Any = 0) -> Callable[..., Any]:
    """Map ``f`` over an axis of its arguments, in single calls of the array operations.

    Parameters
    ----------
    f
        Written for one example.
    in_axes
        For each argument the axis to map over, or None to use it whole in every call; an int for
        all of them; pytrees of ints and None go with pytree arguments. Keyword arguments are
        used whole.
    out_axes
        Where the mapped axis is put in each output.

    Returns
    -------
    callable

    Raises
    ------
    ValueError
        If no argument is mapped, or mapped axes differ in length.

    Examples
    --------
    >>> import gpugrad as gg, numpy as np
    >>> gg.vmap(np.dot, in_axes=(0, None))(np.eye(2), np.array([3.0, 4.0]))
    array([3., 4.])
    """

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        leaves: list[Any]
        leaves, tree = optree.tree_flatten(args, none_is_leaf=True)  # type: ignore[arg-type]
        given = _axes(in_axes, args)
        axes = [None if v is None else a for v, a in zip(leaves, given, strict=True)]
        size = _common_size(leaves, axes)
        with deeper() as level:
            trace = Batch(level, size)
            mapped = [
                v if axis is None else enter(_to_front(v, axis), trace)
                for v, axis in zip(leaves, axes, strict=True)
            ]
            out = f(*optree.tree_unflatten(tree, mapped), **kwargs)
        ys, out_tree = optree.tree_flatten(out, none_is_leaf=True)
        places = _prefix(out_axes, out, "out_axes")
        done = [
            None if y is None else _finish(y, trace, place)
            for y, place in zip(ys, places, strict=True)
        ]
        # Settled: outputs may share memory with each other, with inputs, or among their rows.
        settled = settle(done, [strip(v) for v in leaves])
        as_array = any_box(leaves)
        return optree.tree_unflatten(out_tree, [leave(y, as_array) for y in settled])

    return named(f, wrapped, "vmap")


def _axes(in_axes: Any, args: tuple[Any, ...]) -> list[int | None]:
    if isinstance(in_axes, list):
        in_axes = tuple(in_axes)
    if isinstance(in_axes, tuple) and len(in_axes) != len(args):
        raise ValueError(
            f"vmap: in_axes={in_axes} has {len(in_axes)} entries for {len(args)} arguments"
        )
    return _prefix(in_axes, args, "in_axes")


def _prefix(axes: Any, tree: Any, what: str) -> list[int | None]:
    try:
        found: list[int | None] = optree.broadcast_prefix(axes, tree, none_is_leaf=True)
    except ValueError as error:
        raise ValueError(f"vmap: {what}={axes} does not fit the structure: {error}") from error
    return found


def _common_size(leaves: Sequence[Any], axes: Sequence[int | None]) -> int:
    sizes = []
    for v, axis in zip(leaves, axes, strict=True):
        if axis is None:
            continue
        shape = shape_dtype(one_output(v, "vmap")).shape
        if not shape:
            raise ValueError("vmap: a number has no axis to map over: give it in_axes=None")
        sizes.append(shape[normal_axis(axis, len(shape))])
    if not sizes:
        raise ValueError("vmap: no argument is mapped: give one of in_axes an axis")
    if len(set(sizes)) > 1:
        raise ValueError(f"vmap: the mapped axes have different lengths, {sizes}")
    return sizes[0]


def _to_front(value: Any, axis: int) -> Any:
    return moveaxis(strip(value), axis, 0)


def _finish(y: Any, trace: Batch, place: int | None) -> Any:
    mine = isinstance(y, Box) and y._trace is trace
    if place is None:
        if mine:
            raise ValueError("vmap: out_axes=None for an output that depends on a mapped argument")
        return y
    value = lead(y._value if mine else strip(one_output(y, "vmap")), trace.size, mine)
    return moveaxis(value, 0, place)


def per_sample_grad(
    f: Callable[..., Any], argnums: int | Sequence[int] = 0, in_axes: Any = (None, 0, 0)
) -> Callable[..., Any]:
    """The gradient of each sample's loss; their mean is the gradient of the mean loss.

    Parameters
    ----------
    f
        The loss of one sample, ``f(parameters, x, y)``.
    argnums
        What to differentiate by.
    in_axes
        Which arguments hold samples and along which axis.

    Examples
    --------
    >>> import gpugrad as gg, numpy as np
    >>> loss = lambda w, x, y: (x @ w - y) ** 2
    >>> x, y = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([1.0, 2.0])
    >>> each = gg.per_sample_grad(loss)(np.zeros(2), x, y)
    >>> each
    array([[ -2.,  -4.],
           [-12., -16.]])
    >>> each.mean(axis=0)
    array([ -7., -10.])
    """
    return vmap(grad(f, argnums), in_axes)
