"""Bring your own operation, with HIPS autograd's three calls: primitive, defvjp, defjvp."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

from gpugrad.core.abstract import ShapeDtype, shape_dtype
from gpugrad.core.box import any_box
from gpugrad.core.errors import explain
from gpugrad.core.primitive import Primitive, registry
from gpugrad.device import common_device, on
from gpugrad.ops.indexing import getitem
from gpugrad.ops.join import stack
from gpugrad.transforms.kinds import flatten, spread, unflatten
from gpugrad.transforms.reverse import transpose

Maker = Callable[..., Callable[[Any], Any]]


class UserPrimitive(Primitive):
    """A function of raw arrays that transforms treat as one operation."""

    def __init__(self, f: Callable[..., Any]) -> None:
        self.__wrapped__ = f
        self.__name__ = getattr(f, "__name__", type(f).__name__)
        self.__doc__ = f.__doc__
        self.makers: dict[int, Maker | None] = {}
        self.jvp_rules: dict[int, Callable[..., Any] | str | None] = {}
        before = registry.get(self.__name__)
        super().__init__(
            self.__name__,
            lambda xp: None,
            "*xs",
            shape=self._no_shape,
            joint_vjp=self._pull,
            joint_jvp=self._push,
            batch=_one_by_one,
        )
        if before is not None:  # the registry names gpugrad's own operations
            registry[self.__name__] = before
        else:
            del registry[self.__name__]

    def evaluate(self, values: Sequence[Any], params: dict[str, Any]) -> Any:
        """Call the function on raw arrays, with their device current."""
        if any_box(values):
            return self(*values, **params)
        arrays = [v for v in values if hasattr(v, "dtype")]
        where = common_device(arrays, self.name)
        try:
            with on(where):
                return self.__wrapped__(*values, **params)
        except MemoryError as error:
            raise explain(self, arrays, error) from error

    record = evaluate

    def plan(self, tracked: int, count: int) -> Any:
        """As for every primitive; without a rule for a tracked operand, say what is missing."""
        for i in range(count):
            if tracked >> i & 1:
                self._check_rule(i)
        return super().plan(tracked, count)

    def _check_rule(self, i: int) -> None:
        """An argument without a rule is an oversight; None says that its derivative is zero."""
        if i not in self.makers and i not in self.jvp_rules:
            raise TypeError(
                f"{self.name} has no derivative for argument {i}: give it one with "
                f"gg.defvjp({self.name}, ...) or gg.defjvp, or None if the derivative is zero"
            )

    def _pull(self, g: Any, xs: Any, y: Any, needs: Any, params: Any) -> list[Any]:
        """By the VJP of each argument; for those with a JVP alone, its transpose."""
        at = [
            i
            for i, n in enumerate(needs)
            if n and i not in self.makers and self.jvp_rules[i] is not None
        ]
        for i in at:
            if self.jvp_rules[i] == "same":
                raise TypeError(
                    f'{self.name} has for argument {i} only the JVP "same", which says nothing of '
                    f"its transpose: give it a VJP with gg.defvjp({self.name}, ...)"
                )
        out: list[Any] = [None] * len(xs)
        if at:

            def push(*ts: Any) -> Any:
                return self._push(spread(at, ts, len(xs)), xs, y, params)

            out = spread(at, transpose(push, [xs[i] for i in at], g), len(xs))
        for i, need in enumerate(needs):
            maker = self.makers.get(i)
            if need and maker is not None:
                out[i] = maker(y, *xs, **params)(g)
                self._check_shape(out[i], xs[i], f"the VJP for argument {i}", "an argument")
        return out

    def _push(self, ts: Sequence[Any], xs: Any, y: Any, params: Any) -> Any:
        """By the JVP of each argument; for those with a VJP alone, its transpose."""
        moving = [i for i, t in enumerate(ts) if t is not None]
        for i in moving:
            self._check_rule(i)
        at = [i for i in moving if i not in self.jvp_rules and self.makers[i] is not None]
        terms = []
        if at:

            def pull(g: Any) -> Any:
                return tuple(self._pull(g, xs, y, [i in at for i in range(len(xs))], params))

            terms.append(transpose(pull, [y], tuple(spread(at, [ts[i] for i in at], len(xs))))[0])
        for i in moving:
            rule = self.jvp_rules.get(i)
            if rule == "same":
                terms.append(self(*xs[:i], ts[i], *xs[i + 1 :], **params))
            elif callable(rule):
                terms.append(rule(ts[i], y, *xs, **params))
                self._check_shape(terms[-1], y, f"the JVP for argument {i}", "an output")
        return functools.reduce(operator.add, terms) if terms else None

    def _check_shape(self, given: Any, like: Any, what: str, of: str) -> None:
        if given is not None and shape_dtype(given).shape != shape_dtype(like).shape:
            raise ValueError(
                f"{self.name}: {what} returned shape {shape_dtype(given).shape} for {of} of shape "
                f"{shape_dtype(like).shape}"
            )

    def source(self, name: str, count: int, tracked: tuple[int, ...]) -> Any:
        """As for every primitive; ``params`` stands for all keyword arguments."""
        if name == "params":
            return lambda values, params: params
        return super().source(name, count, tracked)

    def _no_shape(self, *likes: ShapeDtype, **params: Any) -> Any:
        raise TypeError(
            f"{self.name} has no shape rule, so its shape is not known without running it"
        )


def _one_by_one(
    primitive: Primitive, size: int, batched: Sequence[bool], values: Any, params: Any
) -> Any:
    """A user's kernel knows nothing of batches: call it for each example."""
    if size == 0:
        raise ValueError(f"{primitive.name}: vmap over an axis of length 0 needs a batching rule")
    rows = [
        primitive(
            *[getitem(v, i) if b else v for v, b in zip(values, batched, strict=True)], **params
        )
        for i in range(size)
    ]
    leaves = [flatten(r) for r in rows]
    tree = leaves[0][1]
    return unflatten(tree, [stack(column) for column in zip(*[r for r, _ in leaves], strict=True)])


def primitive(f: Callable[..., Any]) -> UserPrimitive:
    """Make a function of raw arrays one operation that transforms do not look into.

    Inside, arguments are raw ``numpy`` or ``cupy`` arrays, so it may launch a kernel. Give it a
    derivative with `defvjp`, `defjvp` or both.

    Parameters
    ----------
    f
        A function of positional arrays (and whatever else, not differentiated) and keyword
        parameters, that returns one array.

    Examples
    --------
    >>> import gpugrad as gg, numpy as np
    >>> @gg.primitive
    ... def cube(x):
    ...     return x**3
    >>> gg.defvjp(cube, lambda ans, x: lambda g: g * 3 * x**2)
    >>> gg.grad(cube)(2.0)
    12.0
    """
    return UserPrimitive(f)


def _user(p: Any, what: str) -> UserPrimitive:
    if not isinstance(p, UserPrimitive):
        raise TypeError(
            f"{what}: the first argument is a function made with gg.primitive, got {p!r}"
        )
    return p


def defvjp(p: Any, *makers: Maker | None, argnums: Sequence[int] | None = None) -> None:
    """Set the VJPs of a primitive, one for each argument.

    Parameters
    ----------
    p
        What `primitive` returned.
    *makers
        ``maker(ans, *args, **kwargs)`` returns the function from the output's cotangent to the
        argument's; None where the gradient is zero. Written with ``gpugrad.numpy`` they can be
        differentiated again.
    argnums
        The arguments that ``makers`` belong to; by default the first ones in order.

    Examples
    --------
    >>> import gpugrad as gg, numpy as np
    >>> @gg.primitive
    ... def scale(x, factor):
    ...     return x * factor
    >>> gg.defvjp(scale, lambda ans, x, factor: lambda g: g * factor, None)
    >>> gg.grad(scale)(2.0, 5.0)
    5.0
    """
    numbers = range(len(makers)) if argnums is None else argnums
    _user(p, "defvjp").makers.update(zip(numbers, makers, strict=True))
    p._plans.clear()


def defjvp(
    p: Any, *rules: Callable[..., Any] | str | None, argnums: Sequence[int] | None = None
) -> None:
    """Set the JVPs of a primitive, one for each argument.

    Parameters
    ----------
    p
        What `primitive` returned.
    *rules
        ``rule(tangent, ans, *args, **kwargs)`` returns the output's tangent; ``"same"`` where
        the primitive is linear in that argument; None where the derivative is zero.
    argnums
        The arguments that ``rules`` belong to; by default the first ones in order.

    Examples
    --------
    >>> import gpugrad as gg, numpy as np
    >>> @gg.primitive
    ... def cube(x):
    ...     return x**3
    >>> gg.defjvp(cube, lambda t, ans, x: t * 3 * x**2)
    >>> gg.jvp(cube, (2.0,), (1.0,))[1]
    12.0
    """
    numbers = range(len(rules)) if argnums is None else argnums
    _user(p, "defjvp").jvp_rules.update(zip(numbers, rules, strict=True))
    p._plans.clear()
