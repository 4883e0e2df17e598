"""Derivative rules that the user brings: ``custom_vjp``, ``custom_jvp``, ``stop_gradient``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from gpugrad.core.abstract import shape_dtype
from gpugrad.core.box import Box, any_box
from gpugrad.core.checkpoint import Region
from gpugrad.core.primitive import Primitive
from gpugrad.core.tape import BASE
from gpugrad.ops.broadcast import sum_p
from gpugrad.ops.elementwise import Elementwise
from gpugrad.transforms.batch import vmap
from gpugrad.transforms.forward import eval_shape
from gpugrad.transforms.kinds import flatten, named, spread, unflatten, with_zeros
from gpugrad.transforms.reverse import transpose

_stop_p = Elementwise("stop_gradient", lambda xp, x: x, "x", (None,))


def stop_gradient(tree: Any) -> Any:
    """The same values, through which no derivative flows in any mode or order.

    Examples
    --------
    >>> import gpugrad as gg
    >>> gg.grad(lambda x: x * gg.stop_gradient(x))(3.0)
    3.0
    """
    leaves, structure = flatten(tree)
    return unflatten(structure, [_stop_p(v) if isinstance(v, Box) else v for v in leaves])


def checkpoint(f: Callable[..., Any]) -> Callable[..., Any]:
    """``f`` whose residuals are not kept: the backward pass runs it again.

    Saves memory for one more forward pass of ``f``. Gradients also flow to arrays that ``f``
    closes over. ``f`` must do the same each time it is called with the same arguments.

    Examples
    --------
    >>> import gpugrad as gg, numpy as np
    >>> gg.grad(lambda x: np.sum(gg.checkpoint(np.sin)(x)))(np.zeros(2))
    array([1., 1.])
    """

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return Region(f, args, kwargs).run()

    return named(f, wrapped, "checkpoint")


class _Call(NamedTuple):
    """One call of a function with a rule of its own: what to run and how arguments are packed."""

    name: str
    tree: Any
    run: Callable[..., Any]
    forward: Callable[..., Any]
    rule: Callable[..., Any]
    found: dict[str, Any]
    """The structures of the output and of the residuals, once known."""

    def outputs(self, out: Any) -> tuple[Any, ...]:
        leaves, self.found["out"] = flatten(out)
        return tuple(leaves)

    def fwd(self, values: Sequence[Any]) -> tuple[Any, Any]:
        """What the forward rule returns, checked."""
        both = self.forward(*unflatten(self.tree, values))
        if not (isinstance(both, tuple | list) and len(both) == 2):
            raise TypeError(f"{self.name}: fwd must return (out, residuals), it returned {both!r}")
        return both[0], both[1]


class _Custom(Primitive):
    """Applies the function of the call."""

    __slots__ = ()

    def evaluate(self, values: Sequence[Any], params: dict[str, Any]) -> Any:
        if any_box(values):
            return self(*values, **params)
        call: _Call = params["call"]
        return call.outputs(call.run(*unflatten(call.tree, list(values))))

    record = evaluate


class _CustomVJP(_Custom):
    """A tape runs ``fwd`` in place of the function and keeps what that returns."""

    __slots__ = ()

    def record(self, values: Sequence[Any], params: dict[str, Any]) -> Any:
        call: _Call = params["call"]
        out, residuals = call.fwd(values)
        kept, call.found["residuals"] = flatten(residuals)
        return (*call.outputs(out), *kept)


def _flat_cotangents(call: _Call, cotangents: Any) -> list[Any]:
    """What ``bwd`` returned as one entry an array argument, None where there is no gradient."""
    parts = call.tree.children()
    if not isinstance(cotangents, tuple | list) or len(cotangents) != len(parts):
        raise TypeError(
            f"{call.name}: bwd must return a tuple with a cotangent (or None) for each of the "
            f"{len(parts)} arguments, it returned {cotangents!r}"
        )
    flat: list[Any] = []
    for n, (given, part) in enumerate(zip(cotangents, parts, strict=True)):
        try:
            flat += [None] * part.num_leaves if given is None else part.flatten_up_to(given)
        except ValueError as error:
            raise ValueError(
                f"{call.name}: the cotangent that bwd returned for argument {n} does not have that "
                f"argument's structure: {error}"
            ) from error
    return flat


def _check_shapes(call: _Call, cotangents: list[Any], xs: Any) -> list[Any]:
    for g, x in zip(cotangents, xs, strict=True):
        if g is not None and shape_dtype(g).shape != shape_dtype(x).shape:
            raise ValueError(
                f"{call.name}: bwd returned a cotangent of shape {shape_dtype(g).shape} for an "
                f"argument of shape {shape_dtype(x).shape}"
            )
    return cotangents


def _pull_custom(gs: Any, xs: Any, y: Any, needs: Any, call: _Call) -> list[Any]:
    count = call.found["out"].num_leaves
    kept = y[count:]
    if any(isinstance(x, Box) and x._trace is BASE for x in xs):
        # The backward pass itself is being recorded: residuals must depend on the inputs.
        kept, _ = flatten(call.fwd(xs)[1])
    full = with_zeros(gs[:count], y[:count])
    residuals = unflatten(call.found["residuals"], list(kept))
    cotangents = call.rule(residuals, unflatten(call.found["out"], full))
    wanted = [
        g if n else None for g, n in zip(_flat_cotangents(call, cotangents), needs, strict=True)
    ]
    return _check_shapes(call, wanted, xs)


def _push_custom(ts: Any, xs: Any, call: _Call) -> Any:
    """The JVP of a function that has only a VJP: the transpose of that VJP."""
    out, residuals = call.fwd(xs)
    ys, tree = flatten(out)
    at = [i for i, t in enumerate(ts) if t is not None]

    def pull(*gs: Any) -> list[Any]:
        flat = _flat_cotangents(call, call.rule(residuals, unflatten(tree, gs)))
        moving = [xs[i] for i in at]
        return with_zeros(_check_shapes(call, [flat[i] for i in at], moving), moving)

    return transpose(pull, ys, [ts[i] for i in at])


def _custom_batch(
    primitive: Primitive, size: int, batched: Sequence[bool], values: Any, params: Any
) -> Any:
    """The rule of a batched call is the batched rule."""
    call: _Call = params["call"]
    axes = unflatten(call.tree, [0 if b else None for b in batched])

    def rule(residuals: Any, g: Any) -> Any:
        out = vmap(call.rule)(residuals, g)
        summed = []
        at = 0
        for given, part in zip(out, call.tree.children(), strict=True):
            mine = batched[at : at + part.num_leaves]
            at += part.num_leaves
            if given is not None:
                leaves = [
                    v if b or v is None else sum_p(v, axis=(0,), keepdims=False)
                    for v, b in zip(part.flatten_up_to(given), mine, strict=True)
                ]
                given = unflatten(part, leaves)
            summed.append(given)
        return tuple(summed)

    inner = _Call(
        call.name, call.tree, vmap(call.run, axes), vmap(call.forward, axes), rule, call.found
    )
    return primitive(*values, call=inner)


def _call_shape(*likes: Any, call: _Call) -> Any:
    out = eval_shape(call.run, *unflatten(call.tree, list(likes)))
    leaves, call.found["out"] = flatten(out, is_leaf=lambda v: hasattr(v, "weak"))
    return leaves


_custom_vjp_p = _CustomVJP(
    "custom_vjp",
    lambda xp: None,
    "*xs",
    shape=_call_shape,
    joint_vjp=_pull_custom,
    joint_jvp=_push_custom,
    batch=_custom_batch,
    multiple=True,
)


class custom_vjp:
    """A function with a VJP of its own, as in JAX.

    Parameters
    ----------
    f
        The function, of positional arrays or pytrees of arrays.

    Notes
    -----
    ``f.defvjp(fwd, bwd)`` sets the rule: ``fwd(*args)`` returns ``(out, residuals)`` and
    ``bwd(residuals, cotangent)`` a tuple with a cotangent (or None) for each argument. Both are
    given raw arrays where nothing else is being traced, so that they may call a kernel.

    Examples
    --------
    >>> import gpugrad as gg, numpy as np
    >>> @gg.custom_vjp
    ... def log1pexp(x):
    ...     return np.log(1 + np.exp(x))
    >>> def fwd(x):
    ...     return log1pexp(x), x
    >>> def bwd(x, g):
    ...     return (g * (1 - 1 / (1 + np.exp(x))),)
    >>> log1pexp.defvjp(fwd, bwd)
    >>> gg.grad(log1pexp)(100.0)
    1.0
    """

    def __init__(self, f: Callable[..., Any]) -> None:
        self._f = f
        self._fwd: Callable[..., Any] | None = None
        self._bwd: Callable[..., Any] | None = None
        self.__name__ = getattr(f, "__name__", type(f).__name__)
        self.__doc__ = f.__doc__
        self.__wrapped__ = f

    def defvjp(self, fwd: Callable[..., Any], bwd: Callable[..., Any]) -> None:
        """Set the forward rule and the backward rule."""
        self._fwd, self._bwd = fwd, bwd

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._fwd is None or self._bwd is None:
            raise TypeError(
                f"{self.__name__} has no rule yet: call {self.__name__}.defvjp(fwd, bwd)"
            )
        return _apply(_custom_vjp_p, self, self._f, self._fwd, self._bwd, args, kwargs)


def _apply(
    primitive: Primitive,
    owner: Any,
    f: Callable[..., Any],
    forward: Callable[..., Any],
    rule: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    if kwargs:
        bound = inspect.signature(f).bind(*args, **kwargs)
        bound.apply_defaults()
        if bound.kwargs:
            raise TypeError(
                f"{owner.__name__}: arguments that are keyword-only cannot be differentiated "
                f"({', '.join(bound.kwargs)}): make them positional, or close over them"
            )
        args = bound.args
    leaves, tree = flatten(args)
    call = _Call(owner.__name__, tree, f, forward, rule, {})
    out = primitive(*leaves, call=call)
    structure = call.found["out"]
    return unflatten(structure, list(out[: structure.num_leaves]))


def _push_by_rule(ts: Any, xs: Any, call: _Call) -> Any:
    primals = unflatten(call.tree, list(xs))
    tangents = unflatten(call.tree, with_zeros(ts, xs))
    both = call.rule(primals, tangents)
    if not (isinstance(both, tuple | list) and len(both) == 2):
        raise TypeError(
            f"{call.name}: the JVP rule must return (out, tangent_out), it returned {both!r}"
        )
    out, tree = flatten(both[0])
    pushed, given = flatten(both[1])
    if given != tree:
        raise ValueError(
            f"{call.name}: the JVP rule returned a tangent of structure {given} for an output of "
            f"{tree}"
        )
    for y, t in zip(out, pushed, strict=True):
        if shape_dtype(t).shape != shape_dtype(y).shape:
            raise ValueError(
                f"{call.name}: the JVP rule returned a tangent of shape {shape_dtype(t).shape} for "
                f"an output of shape {shape_dtype(y).shape}"
            )
    return tuple(pushed)


def _pull_by_rule(gs: Any, xs: Any, y: Any, needs: Any, call: _Call) -> Any:
    """The VJP of a function that has only a JVP: the transpose of that JVP."""
    at = [i for i, n in enumerate(needs) if n]

    def push(*moving: Any) -> Any:
        return _push_by_rule(spread(at, moving, len(xs)), xs, call)

    pulled = transpose(push, [xs[i] for i in at], tuple(with_zeros(gs, y)))
    return spread(at, pulled, len(xs))


def _custom_jvp_batch(
    primitive: Primitive, size: int, batched: Sequence[bool], values: Any, params: Any
) -> Any:
    call: _Call = params["call"]
    axes = unflatten(call.tree, [0 if b else None for b in batched])

    def rule(primals: Any, tangents: Any) -> Any:
        return vmap(call.rule, (axes, axes))(primals, tangents)

    run = vmap(call.run, axes)
    return primitive(*values, call=_Call(call.name, call.tree, run, run, rule, call.found))


_custom_jvp_p = _Custom(
    "custom_jvp",
    lambda xp: None,
    "*xs",
    shape=_call_shape,
    joint_vjp=_pull_by_rule,
    joint_jvp=_push_by_rule,
    batch=_custom_jvp_batch,
    multiple=True,
)


class custom_jvp:
    """A function with a JVP of its own, as in JAX; its VJP is the transpose.

    Parameters
    ----------
    f
        The function, of positional arrays or pytrees of arrays.

    Notes
    -----
    ``f.defjvp(rule)`` sets it: ``rule(primals, tangents)`` returns ``(out, tangent_out)`` and is
    linear in the tangents.

    Examples
    --------
    >>> import gpugrad as gg, numpy as np
    >>> @gg.custom_jvp
    ... def safe_sqrt(x):
    ...     return np.sqrt(x)
    >>> @safe_sqrt.defjvp
    ... def rule(primals, tangents):
    ...     y = safe_sqrt(*primals)
    ...     return y, tangents[0] / (2 * np.maximum(y, 1e-3))
    >>> gg.grad(safe_sqrt)(0.0)
    500.0
    """

    def __init__(self, f: Callable[..., Any]) -> None:
        self._f = f
        self._rule: Callable[..., Any] | None = None
        self.__name__ = getattr(f, "__name__", type(f).__name__)
        self.__doc__ = f.__doc__
        self.__wrapped__ = f

    def defjvp(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """Set the rule; usable as a decorator."""
        self._rule = rule
        return rule

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._rule is None:
            raise TypeError(f"{self.__name__} has no rule yet: call {self.__name__}.defjvp(rule)")
        return _apply(_custom_jvp_p, self, self._f, self._f, self._rule, args, kwargs)
