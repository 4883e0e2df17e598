"""Functions shared with JAX, both ways, with their gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpugrad.conversion import raw_from_dlpack
from gpugrad.core.abstract import ShapeDtype
from gpugrad.core.tape import no_grad
from gpugrad.device import CPU, to_device
from gpugrad.interop.extra import need
from gpugrad.interop.foreign import Flat, Library, adopt, as_number
from gpugrad.ops.cast import is_inexact
from gpugrad.ops.creation import raw_of
from gpugrad.transforms.forward import eval_shape
from gpugrad.transforms.kinds import flatten, named, unflatten
from gpugrad.transforms.reverse import vjp


def as_function(f: Callable[..., Any]) -> Callable[..., Any]:
    """``f``, a function of arrays, as a function of JAX's arrays.

    Parameters
    ----------
    f : callable
        Of NumPy arrays and of pytrees of them; `gpugrad.eval_shape` must be able to tell the shapes
        of what it returns. It runs on the host, where JAX calls it, and the backward pass runs it
        again: like JAX's own functions it must be pure, and draw no random numbers.

    Returns
    -------
    callable
        Of JAX's arrays, or pytrees of them; all else is handed on as it is. It works under
        ``jax.jit``, ``jax.grad`` (to any order) and ``jax.vmap``, which calls it for each example.

    Raises
    ------
    ModuleNotFoundError
        Without JAX.
    """

    def on_jax(*args: Any, **kwargs: Any) -> Any:
        jax = need("jax", "jax")
        leaves, tree = flatten((args, kwargs))
        where = [i for i, leaf in enumerate(leaves) if isinstance(leaf, jax.Array | np.ndarray)]
        found: dict[str, Any] = {}

        def flat(*arrays: Any) -> Sequence[Any]:
            full = list(leaves)
            for i, x in zip(where, arrays, strict=True):
                full[i] = x
            given, named_ones = unflatten(tree, full)
            outs, found["tree"] = flatten(f(*given, **named_ones))
            return [as_number("as_function", f, y) for y in outs]

        outs = _called(flat)(*[leaves[i] for i in where])
        return unflatten(found["tree"], outs)

    return named(f, on_jax, "jax")


def from_jax(f: Callable[..., Any]) -> Callable[..., Any]:
    """``f``, a function of JAX's arrays, as a function of ours.

    Parameters
    ----------
    f : callable
        A function of arrays and pytrees of them that JAX can differentiate, such as a jitted one.

    Returns
    -------
    callable
        Of NumPy and CuPy arrays and `gpugrad.Array`, or pytrees of them, which share memory with
        JAX's by DLPack. Gradients of every order flow.

    Raises
    ------
    TypeError
        When called with float64 while JAX has not ``jax_enable_x64``: it would compute in float32.
    """
    need("jax", "jax")
    return adopt(f, Library("from_jax", _run, _record, _pull, _record_pull))


def _run(flat: Flat, xs: Sequence[Any]) -> list[Any]:
    return [_raw(y) for y in flat(*[_to_jax(raw_of(x)) for x in xs])]


def _raw(y: Any) -> Any:
    return raw_from_dlpack(y)


def _to_jax(raw: Any) -> Any:
    jax = need("jax", "jax")
    if isinstance(raw, float | complex) and not isinstance(raw, np.generic):
        return jax.numpy.asarray(raw)
    dtype = np.dtype(raw.dtype)
    if is_inexact(dtype) and jax.dtypes.canonicalize_dtype(dtype) != dtype:
        raise TypeError(
            f"from_jax: JAX would take these {dtype} as {jax.dtypes.canonicalize_dtype(dtype)}: "
            'jax.config.update("jax_enable_x64", True), or convert them with astype'
        )
    if isinstance(raw, np.ndarray | np.generic):
        return jax.numpy.asarray(raw)
    return jax.dlpack.from_dlpack(raw)


def _record(f: Flat, xs: Sequence[Any]) -> tuple[list[Any], Any]:
    jax = need("jax", "jax")
    arrays = [_to_jax(raw_of(x)) for x in xs]
    at = [i for i, x in enumerate(arrays) if is_inexact(np.dtype(x.dtype))]

    def of(*moving: Any) -> list[Any]:
        full = list(arrays)
        for i, x in zip(at, moving, strict=True):
            full[i] = x
        return list(f(*full))

    ys, back = jax.vjp(of, *[arrays[i] for i in at])

    def pull(*gs: Any) -> dict[int, Any]:
        found = back([_cotangent(jax, y, g) for y, g in zip(ys, gs, strict=True)])
        return dict(zip(at, found, strict=True))

    return [_raw(y) for y in ys], (f, xs, pull)


def _pull(held: Any, at: tuple[int, ...], gs: Sequence[Any]) -> list[Any]:
    found = held[2](*[_to_jax(raw_of(g)) for g in gs])
    return [_raw(found[i]) for i in at]


def _record_pull(held: Any, at: tuple[int, ...], gs: Sequence[Any]) -> tuple[list[Any], Any]:
    """JAX's functions are pure: to be differentiated, the VJP runs them again."""
    jax = need("jax", "jax")
    f, inputs, _ = held

    def pulled(*arrays: Any) -> list[Any]:
        xs, us = list(arrays[: len(inputs)]), arrays[len(inputs) :]

        def of(*moving: Any) -> list[Any]:
            for i, x in zip(at, moving, strict=True):
                xs[i] = x
            return list(f(*xs))

        ys, back = jax.vjp(of, *[xs[i] for i in at])
        return list(back([_cotangent(jax, y, u) for y, u in zip(ys, us, strict=True)]))

    return _record(pulled, [*inputs, *gs])


def _cotangent(jax: Any, y: Any, g: Any) -> Any:
    if is_inexact(np.dtype(y.dtype)):
        return g.astype(y.dtype)
    return np.zeros(y.shape, jax.dtypes.float0)


def _called(flat: Flat) -> Callable[..., Any]:
    """A flat function of ours, called by JAX, with its derivative."""
    jax = need("jax", "jax")

    def likes(xs: Sequence[Any]) -> list[Any]:
        shapes = [ShapeDtype(tuple(x.shape), np.dtype(x.dtype)) for x in xs]
        return [
            jax.ShapeDtypeStruct(y.shape, jax.dtypes.canonicalize_dtype(y.dtype))
            for y in eval_shape(lambda *arrays: list(flat(*arrays)), *shapes)
        ]

    @jax.custom_vjp  # type: ignore[untyped-decorator]
    def run(*xs: Any) -> Any:
        outs = likes(xs)

        def on_host(*arrays: Any) -> list[Any]:
            with no_grad():  # parameters that the function closes over are constants
                ys = flat(*[np.asarray(a) for a in arrays])
            return [
                np.asarray(to_device(raw_of(y), CPU), like.dtype)
                for y, like in zip(ys, outs, strict=True)
            ]

        return jax.pure_callback(on_host, outs, *xs, vmap_method="sequential")

    def forward(*xs: Any) -> Any:
        return run(*xs), xs

    def backward(xs: Any, gs: Any) -> Any:
        count = len(xs)
        at = [i for i, x in enumerate(xs) if is_inexact(np.dtype(x.dtype))]
        sent = [i for i, like in enumerate(likes(xs)) if is_inexact(np.dtype(like.dtype))]

        def pulled(*arrays: Any) -> Sequence[Any]:
            full, us = list(arrays[:count]), arrays[count:]

            def of(*moving: Any) -> list[Any]:
                for i, x in zip(at, moving, strict=True):
                    full[i] = x
                ys = flat(*full)
                return [ys[i] for i in sent]

            found: Sequence[Any] = vjp(of, *[full[i] for i in at])[1](list(us))
            return found

        found = _called(pulled)(*xs, *[gs[i] for i in sent])
        out = [np.zeros(x.shape, jax.dtypes.float0) for x in xs]
        for i, g in zip(at, found, strict=True):
            out[i] = g
        return tuple(out)

    run.defvjp(forward, backward)
    return run  # type: ignore[no-any-return]
