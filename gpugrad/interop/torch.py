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
from gpugrad.interop.foreign import Flat, adopt, as_number
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
        ``create_graph=True``. (Not under the transforms of ``torch.func``.)

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

        outs = _function().apply(flat, *[leaves[i] for i in where])
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
        Of NumPy and CuPy arrays and `gpugrad.Array`, or pytrees of them. The backward pass runs
        ``f`` again, so that gradients of every order flow; a module's own parameters get none.

    Notes
    -----
    For gradients of a module's parameters too, make them an argument::

        apply = from_torch(lambda params, x: torch.func.functional_call(module, params, (x,)))
        gg.grad(lambda params: apply(params, x).sum())(params)
    """
    need("torch", "torch")
    return adopt(f, "from_torch", _run, _pull)


def to_tensor(raw: Any) -> Any:
    """A tensor in the memory of an array; a copy of what cannot be shared, such as a number."""
    torch = need("torch", "torch")
    if isinstance(raw, np.ndarray | np.generic | float | complex):
        raw = np.asarray(raw)
        raw = raw if raw.flags.writeable and min(raw.strides, default=0) >= 0 else raw.copy()
    if raw.dtype.name == "bfloat16":
        return torch.from_dlpack(raw.view(np.int16)).view(torch.bfloat16)
    return torch.from_dlpack(raw)


def _run(flat: Flat, xs: Sequence[Any]) -> list[Any]:
    torch = need("torch", "torch")
    with torch.no_grad():
        return [_raw(y) for y in flat(*[to_tensor(raw_of(x)) for x in xs])]


def _raw(tensor: Any) -> Any:
    if not hasattr(tensor, "resolve_conj"):
        raise TypeError(
            f"from_torch: the function returned a {type(tensor).__name__}; it returns tensors"
        )
    return raw_from_dlpack(tensor.detach().resolve_conj().resolve_neg())


def _pull(flat: Flat, at: tuple[int, ...], count: int) -> Flat:
    torch = need("torch", "torch")

    def pulled(*tensors: Any) -> Sequence[Any]:
        xs, gs = list(tensors[:count]), tensors[count:]
        again = torch.is_grad_enabled()
        with torch.enable_grad():
            for i in at:
                xs[i] = xs[i] if again and xs[i].requires_grad else xs[i].detach().requires_grad_()
            ys = flat(*xs)
            some = [(y, g) for y, g in zip(ys, gs, strict=True) if y.requires_grad]
            if not some:
                return [torch.zeros_like(xs[i]) for i in at]
            found = torch.autograd.grad(
                [y for y, _ in some],
                [xs[i] for i in at],
                [_conjugate(g) for _, g in some],
                create_graph=again,
                materialize_grads=True,
            )
        return [_conjugate(g) for g in found]

    return pulled


def _conjugate(g: Any) -> Any:
    """PyTorch's gradient is the conjugate of ours."""
    return g.conj().resolve_conj() if g.is_complex() else g


@cache
def _function() -> Any:
    torch = need("torch", "torch")

    class Function(torch.autograd.Function):  # type: ignore[misc, name-defined]
        """A flat function of arrays."""

        @staticmethod
        def forward(ctx: Any, flat: Flat, *tensors: Any) -> tuple[Any, ...]:
            arrays = [_raw(t) for t in tensors]
            at = [i for i, needed in enumerate(ctx.needs_input_grad[1:]) if needed]
            ctx.flat, ctx.at = flat, at
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

                def pulled(*arrays: Any) -> Sequence[Any]:
                    xs, us = arrays[:count], arrays[count:]
                    return _differentiated(flat, xs, at)[1](list(us))

                found = Function.apply(pulled, *ctx.saved_tensors, *gs)
            else:
                with no_grad():
                    found = [to_tensor(raw_of(g)) for g in ctx.pull([_raw(g) for g in gs])]
            out: list[Any] = [None] * len(ctx.needs_input_grad)
            for i, g in zip(ctx.at, found, strict=True):
                out[1 + i] = _conjugate(g)
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
