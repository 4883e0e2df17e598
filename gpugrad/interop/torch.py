"""Functions shared with PyTorch, both ways, with their gradients and without copies.

Arrays and tensors share memory by DLPack, on the CPU and on CUDA: do not write to them between the
forward and the backward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from gpugrad.conversion import raw_from_dlpack
from gpugrad.core.tape import no_grad
from gpugrad.cotangents import own
from gpugrad.interop.extra import need
from gpugrad.interop.foreign import Flat, Library, adopt, as_number
from gpugrad.nn.checkpoint import Replay
from gpugrad.nn.module import Module
from gpugrad.ops.cast import is_inexact
from gpugrad.ops.creation import raw_of
from gpugrad.transforms.kinds import flatten, named, unflatten
from gpugrad.transforms.reverse import vjp


def as_function(f: Callable[..., Any]) -> Callable[..., Any]:
    """``f``, a function of arrays, as a function of PyTorch's tensors.

    Parameters
    ----------
    f : callable
        Of NumPy or CuPy arrays and of pytrees of them: tensors are handed to it as those.

    Returns
    -------
    callable
        Of tensors, or pytrees of them, on the CPU or CUDA; all else is handed on as it is. A
        `torch.autograd.Function` through which gradients flow to the tensors, to any order with
        ``create_graph=True``, which runs ``f`` again with the same random numbers of
        `gpugrad.random`. (Not under the transforms of ``torch.func``.)

    Raises
    ------
    ModuleNotFoundError
        Without PyTorch.
    """

    def on_tensors(*args: Any, **kwargs: Any) -> Any:
        torch = need("torch", "torch")
        leaves, tree = flatten((args, kwargs))
        where = [i for i, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]
        found: dict[str, Any] = {}

        def flat(*arrays: Any) -> Sequence[Any]:
            full = list(leaves)
            for i, x in zip(where, arrays, strict=True):
                full[i] = x
            given, named_ones = unflatten(tree, full)
            outs, found["tree"] = flatten(f(*given, **named_ones))
            return [as_number("as_function", f, y) for y in outs]

        module = f if isinstance(f, Module) else None
        outs = _function().apply(flat, module, *[leaves[i] for i in where])
        return unflatten(found["tree"], outs)

    return named(f, on_tensors, "torch")


def from_torch(f: Callable[..., Any]) -> Callable[..., Any]:
    """``f``, a function of PyTorch's tensors or a module, as a function of arrays.

    Parameters
    ----------
    f : callable
        A function of tensors and pytrees of them that PyTorch can differentiate.

    Returns
    -------
    callable
        Of NumPy and CuPy arrays and `gpugrad.Array`, or pytrees of them. Gradients of every order
        flow; a module's own parameters get none.

    Notes
    -----
    ``f`` runs once a call, whatever derivatives follow: PyTorch's graph of it is kept for them. So
    it may draw random numbers and update buffers. It must not write to its arguments in place,
    which share memory with the caller's arrays: that is an error.

    For gradients of a module's parameters too, make them an argument::

        apply = from_torch(lambda params, x: torch.func.functional_call(module, params, (x,)))
        gg.grad(lambda params: apply(params, x).sum())(params)
    """
    need("torch", "torch")
    return adopt(f, Library("from_torch", _run, _record, _pull, _record_pull))


def to_tensor(raw: Any) -> Any:
    """A tensor in the memory of an array; a copy of what cannot be shared, such as a number."""
    torch = need("torch", "torch")
    if isinstance(raw, np.ndarray | np.generic | float | complex):
        raw = np.asarray(raw)
        raw = raw if raw.flags.writeable and min(raw.strides, default=0) >= 0 else raw.copy()
    if raw.dtype.name == "bfloat16":
        return torch.from_dlpack(raw.view(np.int16)).view(torch.bfloat16)
    return torch.from_dlpack(raw)


def _run(f: Flat, xs: Sequence[Any]) -> list[Any]:
    torch = need("torch", "torch")
    with torch.no_grad():
        return [_raw(y) for y in _called(f, [to_tensor(raw_of(x)) for x in xs])]


def _called(f: Flat, tensors: Sequence[Any]) -> Sequence[Any]:
    before = [t._version for t in tensors]
    ys = f(*tensors)
    if [t._version for t in tensors] != before:
        raise ValueError(
            "from_torch: the function has written to an argument in place, which is its caller's "
            "array: it must clone() what it writes to"
        )
    return ys


def _raw(tensor: Any) -> Any:
    if not hasattr(tensor, "resolve_conj"):
        raise TypeError(
            f"from_torch: the function returned a {type(tensor).__name__}; it returns tensors"
        )
    return raw_from_dlpack(tensor.detach().resolve_conj().resolve_neg())


def _leaf(x: Any) -> Any:
    tensor = to_tensor(raw_of(x))
    return tensor.requires_grad_(tensor.is_floating_point() or tensor.is_complex())


def _record(f: Flat, xs: Sequence[Any]) -> tuple[list[Any], Any]:
    """Keeps PyTorch's graph: the leaves and what came of them."""
    torch = need("torch", "torch")
    leaves = [_leaf(x) for x in xs]
    with torch.enable_grad():
        ys = _called(f, leaves)
    return [_raw(y) for y in ys], (leaves, ys)


def _pull(held: Any, at: tuple[int, ...], gs: Sequence[Any]) -> list[Any]:
    return [_raw(g) for g in _gradients(held, at, [to_tensor(raw_of(g)) for g in gs], False)]


def _record_pull(held: Any, at: tuple[int, ...], gs: Sequence[Any]) -> tuple[list[Any], Any]:
    seeds = [_leaf(g) for g in gs]
    found = _gradients(held, at, seeds, True)
    return [_raw(g) for g in found], ([*held[0], *seeds], found)


def _gradients(held: Any, at: tuple[int, ...], seeds: Sequence[Any], again: bool) -> Sequence[Any]:
    torch = need("torch", "torch")
    leaves, ys = held
    inputs = [leaves[i] for i in at]
    some = [(y, _conjugate(g)) for y, g in zip(ys, seeds, strict=True) if y.requires_grad]
    if not some:
        return [torch.zeros_like(x) for x in inputs]
    outputs, cotangents = zip(*some, strict=True)
    with torch.enable_grad():
        found = torch.autograd.grad(
            outputs,
            inputs,
            cotangents,
            retain_graph=True,  # a pull may be called again
            create_graph=again,
            materialize_grads=True,
        )
        return [_conjugate(g) for g in found]


def _conjugate(g: Any) -> Any:
    """PyTorch's gradient is the conjugate of ours."""
    return g.conj().resolve_conj() if g.is_complex() else g


@cache
def _function() -> Any:
    torch = need("torch", "torch")

    class Function(torch.autograd.Function):  # type: ignore[misc, name-defined]
        """A flat function of arrays."""

        @staticmethod
        def forward(ctx: Any, flat: Flat, module: Any, *tensors: Any) -> tuple[Any, ...]:
            arrays = [_raw(t) for t in tensors]
            at = [i for i, needed in enumerate(ctx.needs_input_grad[2:]) if needed]
            ctx.flat, ctx.module, ctx.at = flat, module, at
            ctx.replay = Replay(module)
            ctx.save_for_backward(*tensors)
            with no_grad():  # parameters that the function closes over are constants
                outs, ctx.pull, ctx.smooth = _differentiated(flat, arrays, at)
            seen = {id(a) for a in arrays}
            made = tuple([to_tensor(own(raw_of(y), seen)) for y in outs])
            ctx.mark_non_differentiable(*[y for i, y in enumerate(made) if i not in ctx.smooth])
            return made

        @staticmethod
        def backward(ctx: Any, *gs: Any) -> tuple[Any, ...]:
            gs = tuple([_conjugate(gs[i]) for i in ctx.smooth])
            if torch.is_grad_enabled():  # create_graph: as a function of inputs and cotangents
                count, flat, at = len(ctx.saved_tensors), ctx.flat, ctx.at
                replay = ctx.replay

                def pulled(*arrays: Any) -> Sequence[Any]:
                    xs, us = arrays[:count], arrays[count:]
                    with replay.again():
                        return _differentiated(flat, xs, at)[1](list(us))

                found = Function.apply(pulled, ctx.module, *ctx.saved_tensors, *gs)
            else:
                with no_grad():
                    found = [to_tensor(raw_of(g)) for g in ctx.pull([_raw(g) for g in gs])]
            out: list[Any] = [None] * len(ctx.needs_input_grad)
            for i, g in zip(ctx.at, found, strict=True):
                out[2 + i] = _conjugate(g)
            return tuple(out)

    return Function


def _differentiated(
    flat: Flat, arrays: Sequence[Any], at: Sequence[int]
) -> tuple[list[Any], Callable[[list[Any]], Sequence[Any]], list[int]]:
    """Outputs, the VJP to the inputs ``at``, and which outputs have a gradient."""
    smooth: list[int] = []

    def of(*moving: Any) -> tuple[list[Any], list[Any]]:
        full = list(arrays)
        for i, x in zip(at, moving, strict=True):
            full[i] = x
        ys = flat(*full)
        smooth[:] = [i for i, y in enumerate(ys) if is_inexact(np.dtype(y.dtype))]
        return [ys[i] for i in smooth], list(ys)

    if not at:
        return of()[1], lambda gs: (), smooth
    _, pull, outs = vjp(of, *[arrays[i] for i in at], has_aux=True)
    return outs, pull, smooth
