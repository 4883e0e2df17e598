"""Whole Jacobians and Hessians, and products with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gpugrad.core.abstract import shape_dtype
from gpugrad.core.box import any_box
from gpugrad.device import namespace, on
from gpugrad.ops.creation import device_near
from gpugrad.ops.shape import reshape
from gpugrad.transforms.batch import vmap
from gpugrad.transforms.forward import jvp
from gpugrad.transforms.kinds import flatten, leave, named, select, unflatten
from gpugrad.transforms.reverse import grad, vjp


def _basis(leaves: Sequence[Any]) -> list[Any]:
    """For each leaf, all unit vectors of the joint space along a leading axis."""
    likes = [shape_dtype(v) for v in leaves]
    total = sum(like.size for like in likes)
    where = device_near(leaves)
    out, start = [], 0
    with on(where):
        xp = namespace(where)
        for like in likes:
            unit = xp.eye(total, like.size, -start, dtype=like.dtype)
            out.append(unit.reshape(total, *like.shape))
            start += like.size
    return out


def _cut(rows: Any, likes: Sequence[Any], axis: int, as_array: bool) -> list[Any]:
    """Along the axis of the joint space, each leaf's part in that leaf's shape."""
    out, start = [], 0
    for like in likes:
        at = (slice(None),) * axis + (slice(start, start + like.size),)
        part = rows[at]
        part = reshape(part, (*part.shape[:axis], *like.shape, *part.shape[axis + 1 :]))
        out.append(leave(part, as_array))
        start += like.size
    return out


def _check_complex(inputs: Any, outputs: Any, what: str, holomorphic: bool) -> None:
    """Refuse what one complex number for each pair of elements cannot tell.

    Between complex numbers that is all of the derivative for holomorphic functions alone; between
    real and complex ones only one mode has unit vectors that span it.
    """

    def some_complex(tree: Any) -> bool:
        return any(shape_dtype(v).dtype.kind == "c" for v in flatten(tree)[0])

    def some_real(tree: Any) -> bool:
        return any(shape_dtype(v).dtype.kind != "c" for v in flatten(tree)[0])

    if holomorphic:
        if some_real(inputs) or some_real(outputs):
            raise TypeError(f"{what}: holomorphic=True is for complex inputs and complex outputs")
        return
    real, imaginary = (inputs, outputs) if what == "jacrev" else (outputs, inputs)
    if some_complex(imaginary) and some_real(real):
        ends = ("inputs", "outputs") if what == "jacrev" else ("outputs", "inputs")
        instead = "jacfwd" if what == "jacrev" else "jacrev"
        raise TypeError(
            f"{what}: with real {ends[0]} and complex {ends[1]} it would give a part of the "
            f"derivative only: use {instead}, or take real and imaginary parts"
        )
    if some_complex(inputs) and some_complex(outputs):
        raise TypeError(
            f"{what}: from complex inputs to complex outputs only a holomorphic function has one "
            "complex derivative. Pass holomorphic=True if this is one; else differentiate its "
            "real and imaginary parts (the gradient of a real function is complex, so this also "
            "stops its Hessian: write it as a function of real and imaginary parts, or use hvp)"
        )


def jacrev(
    f: Callable[..., Any], argnums: int | Sequence[int] = 0, *, holomorphic: bool = False
) -> Callable[..., Any]:
    """The Jacobian by reverse mode: one VJP for each output element, as one batch.

    Parameters
    ----------
    f
        A function of arrays or pytrees of arrays.
    argnums
        Which argument to differentiate by, or several.
    holomorphic
        ``f`` is complex-differentiable: its complex derivative is wanted. From complex inputs to
        complex outputs nothing else is one complex number for each pair of elements.

    Returns
    -------
    callable
        Returns, for each output array and each input array, an array of the output's shape
        followed by the input's; pytrees nest as outputs, then inputs.

    Examples
    --------
    >>> import gpugrad as gg, numpy as np
    >>> gg.jacrev(lambda x: x[0] * x)(np.array([2.0, 3.0]))
    array([[4., 0.],
           [3., 2.]])
    """

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        which = select(argnums, len(args), "jacrev")

        def of_chosen(*chosen: Any) -> Any:
            full = list(args)
            for n, x in zip(which, chosen, strict=True):
                full[n] = x
            return f(*full, **kwargs)

        out, pull = vjp(of_chosen, *[args[n] for n in which])
        ys, tree = flatten(out)
        likes = [shape_dtype(y) for y in ys]
        _check_complex([args[n] for n in which], ys, "jacrev", holomorphic)
        rows = vmap(pull)(unflatten(tree, _basis(ys)))
        as_array = any_box(flatten([args[n] for n in which])[0])
        cut = []
        for row in rows:
            leaves, in_tree = flatten(row)
            parts = [_cut(r, likes, 0, as_array) for r in leaves]
            cut.append([unflatten(in_tree, list(p)) for p in zip(*parts, strict=True)])
        if isinstance(argnums, int):
            return unflatten(tree, cut[0])
        return unflatten(tree, [tuple(c) for c in zip(*cut, strict=True)])

    return named(f, wrapped, "jacrev")


def jacfwd(
    f: Callable[..., Any], argnums: int | Sequence[int] = 0, *, holomorphic: bool = False
) -> Callable[..., Any]:
    """The Jacobian by forward mode: one JVP for each input element, as one batch.

    Parameters, result and structure are those of `jacrev`; this is the cheaper one for functions
    with more outputs than inputs.

    Examples
    --------
    >>> import gpugrad as gg, numpy as np
    >>> gg.jacfwd(np.sin)(np.zeros(2))
    array([[1., 0.],
           [0., 1.]])
    """

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        which = select(argnums, len(args), "jacfwd")
        chosen = tuple(args[n] for n in which)
        xs, in_tree = flatten(chosen)
        likes = [shape_dtype(x) for x in xs]

        def along(*units: Any) -> Any:
            def of_chosen(*inputs: Any) -> Any:
                full = list(args)
                for n, x in zip(which, inputs, strict=True):
                    full[n] = x
                return f(*full, **kwargs)

            out, pushed = jvp(of_chosen, chosen, unflatten(in_tree, list(units)))
            _check_complex(xs, out, "jacfwd", holomorphic)
            return pushed

        columns = vmap(along, out_axes=-1)(*_basis(xs))
        leaves, tree = flatten(columns)
        out = []
        for y in leaves:
            parts = unflatten(in_tree, _cut(y, likes, y.ndim - 1, any_box(xs)))
            out.append(parts[0] if isinstance(argnums, int) else parts)
        return unflatten(tree, out)

    return named(f, wrapped, "jacfwd")


jacobian = jacrev


def hessian(
    f: Callable[..., Any], argnums: int | Sequence[int] = 0, *, holomorphic: bool = False
) -> Callable[..., Any]:
    """The Hessian of ``f``, forward over reverse.

    Parameters
    ----------
    f, argnums, holomorphic
        As for `jacrev`.

    Returns
    -------
    callable
        Returns an array of the argument's shape twice (behind the shape of a non-scalar output);
        pytrees nest twice.

    Examples
    --------
    >>> import gpugrad as gg, numpy as np
    >>> gg.hessian(lambda x: np.prod(x))(np.array([2.0, 3.0]))
    array([[0., 1.],
           [1., 0.]])
    """
    inner = jacrev(f, argnums, holomorphic=holomorphic)
    return jacfwd(inner, argnums, holomorphic=holomorphic)


def hvp(f: Callable[..., Any], argnum: int = 0) -> Callable[..., Any]:
    """The product of the Hessian with a vector, without the Hessian: forward over reverse.

    Returns
    -------
    callable
        Takes the arguments of ``f`` followed by the vector, a pytree like argument ``argnum``.

    Examples
    --------
    >>> import gpugrad as gg, numpy as np
    >>> gg.hvp(lambda x: np.sum(x**3))(np.array([1.0, 2.0]), np.array([1.0, 1.0]))
    array([ 6., 12.])
    """

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        *inputs, vector = args
        n = select(argnum, len(inputs), "hvp")[0]

        def gradient(x: Any) -> Any:
            return grad(f, n)(*inputs[:n], x, *inputs[n + 1 :], **kwargs)

        return jvp(gradient, (inputs[n],), (vector,))[1]

    return named(f, wrapped, "hvp")


hessian_vector_product = hvp
