"""Forward mode: ``jvp``, ``linearize`` and shapes alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gpugrad.core.abstract import ShapeDtype, ShapeTrace, shape_dtype
from gpugrad.core.box import Box, any_box, box, strip
from gpugrad.core.forward import Forward
from gpugrad.core.trace import deeper
from gpugrad.cotangents import settle
from gpugrad.ops.cast import is_inexact
from gpugrad.transforms.kinds import (
    as_input,
    below,
    check_differentiable,
    enter,
    flatten,
    leave,
    like,
    named,
    one_output,
    select,
    spread,
    unflatten,
    with_zeros,
    zero,
)
from gpugrad.transforms.reverse import pair, vjp


def jvp(
    f: Callable[..., Any],
    primals: Sequence[Any],
    tangents: Sequence[Any],
    has_aux: bool = False,
) -> Any:
    """The value of ``f`` and its derivative along ``tangents``, in one pass.

    Parameters
    ----------
    f
        A function of arrays or pytrees of arrays.
    primals, tangents
        Tuples or lists of the same structure, shapes and dtypes.
    has_aux
        ``f`` returns a pair of which only the first part is differentiated.

    Returns
    -------
    tuple
        ``(out, tangent_out)`` or ``(out, tangent_out, aux)``.

    Examples
    --------
    >>> import gpugrad as gg, numpy as np
    >>> out, t = gg.jvp(np.square, (np.array([1.0, 2.0]),), (np.array([1.0, 0.5]),))
    >>> t
    array([2., 2.])
    """
    if not (isinstance(primals, tuple | list) and isinstance(tangents, tuple | list)):
        raise TypeError("jvp: primals and tangents are tuples or lists, one item an argument")
    xs, tree = flatten(tuple(primals))
    ts, other = flatten(tuple(tangents))
    if tree != other:
        raise ValueError(f"jvp: tangents of structure {other} for primals of {tree}")
    for n, x in enumerate(primals):
        check_differentiable(flatten(x)[0], "jvp", n)
    with deeper() as level:
        trace = Forward(level)
        boxes = [enter(x, trace, _tangent(x, t)) for x, t in zip(xs, ts, strict=True)]
        out = f(*unflatten(tree, boxes))
    out, aux = pair(out, "jvp") if has_aux else (out, None)
    as_array = any_box(xs) or any_box(ts)
    ys, out_tree = flatten(out)
    for y in ys or [out]:
        one_output(y, "jvp")
    values = [leave(below(y, trace), as_array) for y in ys]
    pushed = [y._payload if isinstance(y, Box) and y._trace is trace else zero(y) for y in ys]
    settled = settle(pushed, [strip(t) for t in ts])
    both = unflatten(out_tree, values), unflatten(out_tree, [leave(t, as_array) for t in settled])
    if not has_aux:
        return both
    parts, aux_tree = flatten(aux)
    return *both, unflatten(aux_tree, [leave(below(v, trace), as_array) for v in parts])


def _tangent(x: Any, t: Any) -> Any:
    want, got = shape_dtype(x), shape_dtype(t)
    if want.shape != got.shape:
        raise ValueError(f"jvp: a tangent of shape {got.shape} for a primal of shape {want.shape}")
    return strip(t) if want.weak else like(t, x, "jvp: the primal and its tangent")


def make_jvp(f: Callable[..., Any], argnum: int = 0) -> Callable[..., Any]:
    """HIPS autograd's spelling of `jvp`: ``make_jvp(f)(x)(v)`` is ``(value, tangent)``.

    Examples
    --------
    >>> import gpugrad as gg, numpy as np
    >>> value, tangent = gg.make_jvp(np.square)(3.0)(1.0)
    >>> float(tangent)
    6.0
    """

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        n = select(argnum, len(args), "make_jvp")[0]

        def of_one(x: Any) -> Any:
            return f(*args[:n], x, *args[n + 1 :], **kwargs)

        return lambda v: jvp(of_one, (args[n],), (v,))

    return named(f, wrapped, "make_jvp")


def linearize(f: Callable[..., Any], *primals: Any) -> Any:
    """The value of ``f`` and its derivative as a linear function, evaluated once and reused.

    The derivative is the transpose of the VJP: the VJP is itself linear in the cotangent, so
    differentiating it by the cotangent gives the JVP without running ``f`` again.

    Parameters
    ----------
    f
        A function of arrays or pytrees of arrays.
    *primals
        Where to linearise it.

    Returns
    -------
    tuple
        ``(out, push)``; ``push(*tangents)`` is the derivative along the tangents.

    Examples
    --------
    >>> import gpugrad as gg, numpy as np
    >>> out, push = gg.linearize(np.square, np.array([1.0, 2.0]))
    >>> push(np.array([1.0, 1.0])), push(np.array([0.0, 0.5]))
    (array([2., 4.]), array([0., 2.]))
    """
    out, pull = vjp(f, *primals)
    ys, tree = flatten(out)
    at = [i for i, y in enumerate(ys) if is_inexact(shape_dtype(y).dtype)]

    def pull_some(*gs: Any) -> Any:
        return pull(unflatten(tree, with_zeros(spread(at, gs, len(ys)), ys)))

    _, transpose = vjp(pull_some, *[as_input(zero(ys[i]), ys[i]) for i in at])
    xs, in_tree = flatten(primals)

    def push(*tangents: Any) -> Any:
        ts, got = flatten(tangents)
        if got != in_tree:
            raise ValueError(f"linearize: tangents of structure {got} for primals of {in_tree}")
        along = [_tangent(x, t) for x, t in zip(xs, ts, strict=True)]
        pushed = spread(at, transpose(unflatten(in_tree, along)), len(ys))
        return unflatten(
            tree,
            [as_input(zero(y), y) if t is None else t for t, y in zip(pushed, ys, strict=True)],
        )

    return out, push


def eval_shape(f: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Shapes and dtypes of what ``f`` returns, computing nothing.

    Parameters
    ----------
    f
        A function of arrays or pytrees of arrays.
    *args, **kwargs
        Arrays, numbers or `ShapeDtype`.

    Returns
    -------
    pytree of ShapeDtype

    Examples
    --------
    >>> import gpugrad as gg, gpugrad.numpy as gnp, numpy as np
    >>> gg.eval_shape(gnp.sum, gg.ShapeDtype((1000000, 1000000), np.dtype("f4")), axis=0)
    ShapeDtype(shape=(1000000,), dtype=dtype('float32'), weak=False)
    """

    def is_shape(x: Any) -> bool:
        return isinstance(x, ShapeDtype)

    leaves, tree = flatten(args, is_leaf=is_shape)
    with deeper() as level:
        trace = ShapeTrace(level)
        boxes = [
            box(shape_dtype(v), trace) if is_shape(v) or hasattr(v, "shape") else v for v in leaves
        ]
        out = f(*unflatten(tree, boxes), **kwargs)
    ys, out_tree = flatten(out)
    return unflatten(out_tree, [shape_dtype(below(y, trace)) for y in ys])
