"""Reverse mode: ``vjp``, ``grad`` and their kin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpugrad.core.abstract import shape_dtype
from gpugrad.core.box import any_box, strip
from gpugrad.core.tape import Leaf, Pull, Tape, backward, pulls_between
from gpugrad.core.trace import state
from gpugrad.cotangents import one_like
from gpugrad.transforms.kinds import (
    LEAF,
    below,
    check_differentiable,
    flatten,
    gradients,
    leave,
    like,
    named,
    one_output,
    select,
    unflatten,
    zero,
)

_ONE = (LEAF, 1)

_FEW = 4096
"""Elements of all arguments together up to which an operation's price is its call."""


class _Pass:
    """One forward pass under a tape, with what a backward pass needs."""

    __slots__ = ("as_array", "inputs", "leaves", "out", "plain", "pulls", "single", "tape", "trees")

    def __init__(
        self,
        f: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        which: Sequence[int],
        what: str,
    ) -> None:
        depth = state.depth
        state.depth = depth + 1
        try:
            tape = self.tape = Tape(depth + 1)
            self.inputs: list[Any] = []
            self.leaves: list[Leaf] = []
            self.trees = []
            traced = list(args)
            self.plain = True
            self.single = True  # each argument is one array
            for n in which:
                x = args[n]
                if type(x) is np.ndarray and x.dtype.kind in "fc":  # what follows, in short
                    b = traced[n] = tape.leaf(x)
                    self.inputs.append(x)
                    self.leaves.append(b._payload)
                    self.trees.append(_ONE)
                    continue
                self.single = False
                given, tree = flatten(x)
                if not check_differentiable(given, what, n):
                    self.plain = False
                boxes = []
                for v in given:
                    b = tape.leaf(strip(v))
                    boxes.append(b)
                    self.leaves.append(b._payload)
                traced[n] = unflatten(tree, boxes)
                self.inputs += given
                self.trees.append((tree, len(given)))
            self.out = f(*traced, **kwargs)
        finally:
            state.depth = depth
        self.as_array = not self.plain and any_box(self.inputs)
        self.pulls: dict[int, dict[int, Pull] | None] = {}

    def pull(self, roots: Sequence[Any], cotangents: list[Any], retain_graph: bool) -> list[Any]:
        """Gradients for each differentiated argument from the cotangents of ``roots``."""
        reached = backward(roots, cotangents, retain_graph=retain_graph)
        flat = gradients(map(reached.get, self.leaves), self.inputs, cotangents, self.plain)
        if self.single:
            return flat
        out = []
        start = 0
        for tree, count in self.trees:
            out.append(unflatten(tree, flat[start : start + count]))
            start += count
        return out

    def pull_one(self, n: int, roots: Sequence[Any], cotangents: list[Any]) -> Any:
        """The gradient for the differentiated argument number ``n`` alone; keeps the graph.

        Of small arrays the first pull computes all: to find the rules for one takes longer.
        """
        pulls = self.pulls
        if n not in pulls and self.plain:
            pulls[n] = None
            size = 0
            for x in self.inputs:
                size += x.size
            if size < _FEW:
                return self.pull(roots, cotangents, retain_graph=True)[n]
        tree, count = self.trees[n]
        start = sum([before for _, before in self.trees[:n]])
        leaves = self.leaves[start : start + count]
        found = pulls.get(n)
        if found is None:
            found = pulls[n] = pulls_between(roots, leaves)
        reached = backward(roots, cotangents, retain_graph=True, pulls=found)
        inputs = self.inputs[start : start + count]
        return unflatten(tree, gradients(map(reached.get, leaves), inputs, cotangents, self.plain))

    def result(self, out: Any) -> Any:
        """An output of the function as the caller sees it."""
        leaves, tree = flatten(out)
        return unflatten(tree, [leave(below(v, self.tape), self.as_array) for v in leaves])


def vjp(f: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """The value of ``f`` and the function that pulls cotangents back through it.

    Parameters
    ----------
    f
        A function of arrays or pytrees of arrays.
    *primals
        Where to evaluate it.
    has_aux
        ``f`` returns a pair of which only the first part is differentiated.

    Returns
    -------
    tuple
        ``(out, pull)`` or ``(out, pull, aux)``. ``pull(cotangent)`` takes a pytree like ``out``
        and returns a tuple with a cotangent for each primal; it may be called again.
        ``pull(cotangent, argnum)`` returns that of one primal, without computing others where
        these are large or it is asked for again.

    Examples
    --------
    >>> import gpugrad as gg, numpy as np
    >>> out, pull = gg.vjp(np.multiply, np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    >>> out
    array([3., 8.])
    >>> pull(np.ones(2))
    (array([3., 4.]), array([1., 2.]))
    >>> pull(np.ones(2), 1)
    array([1., 2.])
    """
    run = _Pass(f, primals, {}, range(len(primals)), "vjp")
    out, aux = pair(run.out, "vjp") if has_aux else (run.out, None)
    outputs, tree = flatten(out)
    roots, values = [], []
    for y in outputs or [out]:
        root = run.tape.node_of(y)
        roots.append(root)
        values.append(one_output(y, "vjp") if root is None else y._value)

    def pull(cotangent: Any, argnum: int | None = None) -> Any:
        given, got = flatten(cotangent)
        if got is not tree and got != tree:
            raise ValueError(f"vjp: a cotangent of structure {got} for an output of {tree}")
        cotangents = list(map(seed, values, given))
        if argnum is not None:
            n = argnum if 0 <= argnum < len(primals) else select(argnum, len(primals), "vjp")[0]
            return run.pull_one(n, roots, cotangents)
        return tuple(run.pull(roots, cotangents, retain_graph=True))

    if run.plain and tree is LEAF and type(values[0]) is np.ndarray:  # what follows, in short
        value = values[0]
    else:
        value = unflatten(tree, [leave(v, run.as_array) for v in values])
    return (value, pull, run.result(aux)) if has_aux else (value, pull)


def seed(y: Any, g: Any, what: str = "vjp") -> Any:
    """A cotangent that fits the output ``y``, taken from its trace, or an error."""
    if type(g) is type(y) is np.ndarray and g.dtype is y.dtype and g.shape == y.shape:
        return g
    want, got = shape_dtype(y), shape_dtype(g)
    if want.shape != got.shape:
        raise ValueError(
            f"{what}: a cotangent of shape {got.shape} for an output of shape {want.shape}"
        )
    return like(g, y, f"{what}: the output and its cotangent")


def transpose(linear: Callable[..., Any], likes: Sequence[Any], given: Any) -> tuple[Any, ...]:
    """Apply the transpose of ``linear``, a function of arrays like ``likes``, to ``given``."""
    _, pull = vjp(linear, *[zero(x) for x in likes])
    pulled: tuple[Any, ...] = pull(given)
    return pulled


def pair(out: Any, what: str) -> tuple[Any, Any]:
    """The value and the rest of what a function with ``has_aux`` returned."""
    if not (isinstance(out, tuple | list) and len(out) == 2):
        raise TypeError(f"{what}: with has_aux=True the function must return (value, aux)")
    return out[0], out[1]


def value_and_grad(
    f: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    *,
    holomorphic: bool = False,
) -> Callable[..., Any]:
    """A function that returns ``f``'s value and its gradient.

    Parameters
    ----------
    f
        A function whose value is one number.
    argnums
        Which argument to differentiate by, or several.
    has_aux
        ``f`` returns ``(value, aux)``; ``aux`` comes back as it is.
    holomorphic
        ``f`` is complex-differentiable: its complex derivative is wanted.

    Returns
    -------
    callable
        Returns ``(value, gradient)`` or ``((value, aux), gradient)``; the gradient has the
        structure, shapes, dtypes and kind of the argument, and is a tuple of such for several.

    Raises
    ------
    TypeError
        For integer arguments, and if ``f`` returns no single real number.

    Examples
    --------
    >>> import gpugrad as gg, numpy as np
    >>> gg.value_and_grad(lambda x: np.sum(x**2))(np.array([1.0, 2.0]))
    (np.float64(5.0), array([2., 4.]))
    """

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return value_and_grad_at(f, args, kwargs, argnums, has_aux, holomorphic)

    return named(f, wrapped, "value_and_grad")


def value_and_grad_at(
    f: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
) -> Any:
    """What `value_and_grad` returns for these arguments."""
    what = "grad"
    run = _Pass(f, args, kwargs, select(argnums, len(args), what), what)
    loss, aux = pair(run.out, what) if has_aux else (run.out, None)
    root = run.tape.node_of(loss)
    y = one_output(loss, what) if root is None else loss._value
    if not isinstance(y, np.floating):  # what a sum is
        _check_loss(y, holomorphic, what)
    grads = run.pull([root], [] if root is None else [one_like(y)], retain_graph=False)
    g = grads[0] if isinstance(argnums, int) else tuple(grads)
    value = leave(y, run.as_array)
    return ((value, run.result(aux)), g) if has_aux else (value, g)


def _check_loss(y: Any, holomorphic: bool, what: str) -> None:
    like = shape_dtype(y)
    if like.shape and like.size != 1:
        raise TypeError(
            f"{what}: the function must return one number, it returned shape {like.shape}. "
            "Reduce it with np.mean or np.sum, or use vjp, jacobian or elementwise_grad."
        )
    _check_real(like.dtype, holomorphic, what)


def _check_real(dtype: np.dtype[Any], holomorphic: bool, what: str) -> None:
    if dtype.kind == "c" and not holomorphic:
        raise TypeError(
            f"{what}: the function must return a real number, it returned {dtype}. Take its real "
            "part or absolute value; for a holomorphic function use holomorphic_grad, or pass "
            "holomorphic=True."
        )


def grad(
    f: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    *,
    holomorphic: bool = False,
) -> Callable[..., Any]:
    """The gradient of ``f``, a function whose value is one number.

    Parameters
    ----------
    f, argnums, has_aux, holomorphic
        As for `value_and_grad`.

    Returns
    -------
    callable
        Takes the arguments of ``f`` and returns the gradient, or ``(gradient, aux)``.

    Examples
    --------
    The code differentiated is plain NumPy, and raw arrays come back for raw arrays:

    >>> import gpugrad as gg, numpy as np
    >>> def loss(w, x, y):
    ...     return np.mean((np.tanh(x @ w) - y) ** 2)
    >>> gg.grad(loss)(np.zeros(2), np.eye(2), np.array([1.0, -1.0]))
    array([-1.,  1.])
    """

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        value, g = value_and_grad_at(f, args, kwargs, argnums, has_aux, holomorphic)
        return (g, value[1]) if has_aux else g

    return named(f, wrapped, "grad")


def holomorphic_grad(f: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """The complex derivative of a holomorphic function.

    Examples
    --------
    >>> import gpugrad as gg
    >>> gg.holomorphic_grad(lambda z: z**2)(1.0 + 2.0j)
    (2+4j)
    """
    return grad(f, argnums, holomorphic=True)


def elementwise_grad(
    f: Callable[..., Any], argnums: int = 0, *, holomorphic: bool = False
) -> Callable[..., Any]:
    """The sum of each column of the Jacobian: the derivative, for an elementwise ``f``.

    Complex values are refused unless ``f`` is said to be ``holomorphic``, as by `grad`.

    Examples
    --------
    >>> import gpugrad as gg, numpy as np
    >>> gg.elementwise_grad(np.square)(np.array([1.0, 2.0]))
    array([2., 4.])
    """

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        run = _Pass(
            f, args, kwargs, select(argnums, len(args), "elementwise_grad"), "elementwise_grad"
        )
        y = one_output(run.out, "elementwise_grad")
        _check_real(shape_dtype(y).dtype, holomorphic, "elementwise_grad")
        root = run.tape.node_of(y)
        seeds = [] if root is None else [one_like(y._value)]
        return run.pull([root], seeds, retain_graph=False)[0]

    return named(f, wrapped, "elementwise_grad")


def make_vjp(f: Callable[..., Any], argnum: int = 0) -> Callable[..., Any]:
    """HIPS autograd's spelling of `vjp`: a function that returns ``(pull, value)``.

    Examples
    --------
    >>> import gpugrad as gg, numpy as np
    >>> pull, value = gg.make_vjp(np.sin)(0.0)
    >>> pull(2.0), float(value)
    (2.0, 0.0)
    """

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        n = select(argnum, len(args), "make_vjp")[0]

        def of_one(x: Any) -> Any:
            return f(*args[:n], x, *args[n + 1 :], **kwargs)

        out, pull = vjp(of_one, args[n])
        return (lambda g: pull(g)[0]), out

    return named(f, wrapped, "make_vjp")
