"""Primitives with HIPS autograd's rules, and reverse and forward mode for one argument."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Sequence
from types import FunctionType
from typing import Any

import numpy as np

import gpugrad as gg
from gpugrad.compat.autograd import deprecated
from gpugrad.compat.autograd.boxes import (
    any_registered,
    fitting,
    getval,
    is_registered,
    new_box,
)
from gpugrad.compat.autograd.nodes import Node, notrace_primitives
from gpugrad.compat.autograd.vector_space import (
    Opaque,
    SparseObject,
    VSpace,
    is_number,
    vspace,
)
from gpugrad.core.abstract import shape_dtype
from gpugrad.core.batching import Batch
from gpugrad.core.box import BOX_TYPES, Box, any_box, box
from gpugrad.core.primitive import Primitive
from gpugrad.core.tape import Leaf, Tape, backward
from gpugrad.core.trace import deeper
from gpugrad.device import HOST_TYPES, common_device, on
from gpugrad.ops.complex import real
from gpugrad.ops.indexing import getitem
from gpugrad.ops.join import stack
from gpugrad.transforms.extend import UserPrimitive
from gpugrad.transforms.kinds import below, flatten, unflatten, zero
from gpugrad.transforms.reverse import seed, transpose

__all__ = [
    "JVPNode",
    "SparseObject",
    "VJPNode",
    "VSpace",
    "def_linear",
    "defjvp",
    "defjvp_argnum",
    "defjvp_argnums",
    "defvjp",
    "defvjp_argnum",
    "defvjp_argnums",
    "make_jvp",
    "make_vjp",
    "primitive",
    "primitive_jvps",
    "primitive_vjps",
    "vspace",
]

Rule = Callable[..., Any]

primitive_vjps: dict[Any, Rule] = {}
"""``rule(argnums, ans, args, kwargs)(g)``: a cotangent for each of ``argnums``."""

primitive_jvps: dict[Any, Rule] = {}
"""``rule(argnums, tangents, ans, args, kwargs)``: the output's tangent."""


class VJPNode(Node):
    """Stands for reverse mode in `register_notrace`."""


class JVPNode(Node):
    """Stands for forward mode in `register_notrace`."""


class _Call:
    """One call: how arguments and result are made of the operands and outputs.

    ``tree`` is the structure of the arguments; None where each is one operand.
    """

    __slots__ = ("kwargs", "out", "tree")

    def __init__(self, tree: Any, kwargs: dict[str, Any]) -> None:
        self.tree = tree
        self.kwargs = kwargs
        self.out: Any = None

    def args(self, values: Sequence[Any]) -> Any:
        """The arguments, made of the operands."""
        return tuple(values) if self.tree is None else unflatten(self.tree, values)

    def argnums(self, wanted: Sequence[bool]) -> tuple[int, ...]:
        """The arguments with a wanted operand in them."""
        if self.tree is None:
            return _marked(tuple(wanted))
        rest = iter(wanted)
        return tuple(
            [
                n
                for n, part in enumerate(self.tree.children())
                if any(list(itertools.islice(rest, part.num_leaves)))
            ]
        )

    def spread(self, argnums: Sequence[int], given: Iterable[Any], count: int) -> list[Any]:
        """An entry for each of ``count`` operands from what ``argnums`` have; None elsewhere."""
        if self.tree is None:
            return _place(argnums, given, count)
        by_argument = dict(zip(argnums, given))
        out: list[Any] = []
        for n, part in enumerate(self.tree.children()):
            c = by_argument.get(n)
            out += [None] * part.num_leaves if c is None else part.flatten_up_to(c)
        return out


class Function(UserPrimitive):
    """A user's function as an operation on all the values in its arguments."""

    def __init__(self, f: Callable[..., Any]) -> None:
        super().__init__(f)
        self.multiple = True
        self.function: Any = None

    def evaluate(self, values: Sequence[Any], params: dict[str, Any]) -> Any:
        """Call the function on raw values, with their device current."""
        call: _Call = params["call"]
        if _SINGLE.issuperset(map(type, values)):  # no box, and all of them on the host
            out = self.__wrapped__(*call.args(values), **call.kwargs)
        elif any_box(values):
            return self(*values, **params)
        else:
            arrays = [v for v in values if hasattr(v, "dtype")]
            with on(common_device(arrays, self.name)):
                out = self.__wrapped__(*call.args(values), **call.kwargs)
        leaves, call.out = flatten(out)
        return tuple(leaves)

    record = evaluate

    def plan(self, tracked: int, count: int) -> Any:
        """As for every primitive; without any rule, say what is missing."""
        if self.function not in primitive_vjps and self.function not in primitive_jvps:
            raise NotImplementedError(
                f"VJP of {self.name} is not defined: give it one with defvjp({self.name}, ...)"
            )
        if self in notrace_primitives.get(VJPNode, ()):
            return None
        return Primitive.plan(self, tracked, count)

    def _pull(self, g: Any, xs: Any, y: Any, needs: Any, call: _Call) -> list[Any]:
        if any_box((*g, *xs, *y)):
            rows = _by_rows(self._pull, (g, xs, y), (needs, call))
            if rows is not None:
                return list(rows)
        at = _marked(tuple(needs))
        rule = primitive_vjps.get(self.function)
        if rule is None:

            def push(*ts: Any) -> Any:
                return self._push(_place(at, ts, len(xs)), xs, y, call)

            full = tuple([zero(o) if c is None else c for c, o in zip(g, y)])
            return _place(at, transpose(push, [xs[i] for i in at], full), len(xs))
        cotangent = [vspace(o).zeros() if c is None else Opaque.open(c) for c, o in zip(g, y)]
        argnums = call.argnums(needs)
        pulled = rule(argnums, unflatten(call.out, y), call.args(xs), call.kwargs)(
            unflatten(call.out, cotangent)
        )
        leaves = call.spread(argnums, map(_dense, pulled), len(xs))
        return _place(at, [_real_for_real(leaves[i], xs[i]) for i in at], len(xs))

    def _push(self, ts: Any, xs: Any, y: Any, call: _Call) -> Any:
        if self in notrace_primitives.get(JVPNode, ()):
            return None
        rows = _by_rows(self._push, (ts, xs, y), (call,))
        if rows is not None:
            return rows
        rule = primitive_jvps.get(self.function)
        if rule is None:
            if self.function not in primitive_vjps:
                raise NotImplementedError(
                    f"JVP of {self.name} is not defined: give it one with defjvp({self.name}, ...)"
                )
            at = [i for i, t in enumerate(ts) if t is not None]

            def pull(*g: Any) -> Any:
                pulled = self._pull(g, xs, y, [i in at for i in range(len(xs))], call)
                return tuple([zero(xs[i]) if pulled[i] is None else pulled[i] for i in at])

            return transpose(pull, list(y), tuple([ts[i] for i in at]))
        argnums = call.argnums([t is not None for t in ts])
        full = [_zero(x) if t is None else t for t, x in zip(ts, xs)]
        args, tangents = call.args(xs), call.args(full)
        out = rule(
            argnums, [tangents[n] for n in argnums], unflatten(call.out, y), args, call.kwargs
        )
        return tuple(call.out.flatten_up_to(_dense(out)))


def _real_for_real(c: Any, x: Any) -> Any:
    """A cotangent as the tape carries it, without the imaginary part that ``x`` does not have."""
    if hasattr(c, "dtype") and c.dtype.kind == "c" and shape_dtype(x).dtype.kind != "c":
        return real(c)
    return Opaque.close(c)


def _zero(x: Any) -> Any:
    """The tangent of an operand that does not move; what is no vector stays as it is."""
    return vspace(x).zeros() if is_number(getval(x)) or is_registered(getval(x)) else x


@functools.cache
def _marked(wanted: tuple[bool, ...]) -> tuple[int, ...]:
    """The places where ``wanted`` is true."""
    return tuple([n for n, want in enumerate(wanted) if want])


def _place(at: Sequence[int], values: Iterable[Any], count: int) -> list[Any]:
    out: list[Any] = [None] * count
    for i, v in zip(at, values):
        out[i] = v
    return out


def _by_rows(rule: Rule, groups: Sequence[Any], rest: Sequence[Any]) -> Any:
    """``rule`` for each example of a batch, since a user's rule knows nothing of batches."""
    traces = [v._trace for group in groups for v in group if isinstance(v, Box) and v._trace]
    top = max(traces, key=lambda trace: trace.level, default=None)
    if not isinstance(top, Batch):
        return None

    def row(v: Any, i: int) -> Any:
        return getitem(v._value, i) if isinstance(v, Box) and v._trace is top else v

    rows = [
        rule(*[tuple([row(v, i) for v in group]) for group in groups], *rest)
        for i in range(top.size)
    ]
    return tuple([None if column[0] is None else box(stack(column), top) for column in zip(*rows)])


def _dense(c: Any) -> Any:
    """A cotangent as a whole: what is given as an addition is added to zeros."""
    if type(c) is np.ndarray:
        return c
    return c.mut_add(c.vs.zeros()) if isinstance(getval(c), SparseObject) else c


_SINGLE = {*HOST_TYPES, FunctionType} - {type(None)}
"""Types besides boxes that are no containers for certain; None is one without elements."""


def _plain(args: Sequence[Any]) -> bool:
    """Whether there is no box in the arguments for certain, nor in tuples among them."""
    for a in args:
        kind = type(a)
        if kind not in _SINGLE and not (kind is tuple and _plain(a)):
            return False
    return True


def primitive(f: Callable[..., Any]) -> Any:
    """Make a function one operation that transforms do not look into.

    Arguments and result may be containers. Give it derivatives with `defvjp` and `defjvp`; with
    one of them the other mode follows by transposition.

    Examples
    --------
    >>> from gpugrad.compat.autograd import grad
    >>> from gpugrad.compat.autograd.extend import defvjp, primitive
    >>> @primitive
    ... def scaled(x, factor):
    ...     return x * factor
    >>> defvjp(scaled, lambda ans, x, factor: lambda g: g * factor, None)
    >>> grad(scaled)(2.0, 5.0)
    5.0
    """
    operation = Function(f)

    @functools.wraps(f)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if _plain(args):
            return f(*args, **kwargs)
        leaves: Sequence[Any] = args
        tree = None
        for a in args:
            kind = type(a)
            if kind not in BOX_TYPES and kind not in _SINGLE:  # it may be a container
                leaves, tree = flatten(args)
                if not any_box(leaves):
                    return f(*args, **kwargs)
                break
        call = _Call(tree, kwargs)
        out = operation.bind(leaves, {"call": call})
        return unflatten(call.out, map(fitting, out))

    wrapped.__name__ = operation.__name__
    wrapped.fun = f  # type: ignore[attr-defined]
    wrapped.operation = operation  # type: ignore[attr-defined]
    deprecated.add_methods(wrapped)
    operation.function = wrapped
    return wrapped


def _check(fun: Any, what: str) -> None:
    if not isinstance(getattr(fun, "operation", None), Function):
        raise TypeError(
            f"{what}: the first argument is a function made with primitive, got {fun!r}"
        )


def defvjp_argnums(fun: Any, vjpmaker: Rule) -> None:
    """Set the VJP of a primitive by one rule for several arguments.

    Parameters
    ----------
    fun
        What `primitive` returned.
    vjpmaker
        ``vjpmaker(argnums, ans, args, kwargs)`` returns a function from the output's cotangent to
        those of the arguments ``argnums``.
    """
    _check(fun, "defvjp_argnums")
    primitive_vjps[fun] = vjpmaker
    fun.operation._plans.clear()


def defvjp_argnum(fun: Any, vjpmaker: Rule) -> None:
    """Set the VJP of a primitive by one rule for any argument.

    ``vjpmaker(argnum, ans, args, kwargs)`` returns a function from the output's cotangent to the
    argument's.
    """

    def rule(argnums: Sequence[int], ans: Any, args: Any, kwargs: Any) -> Any:
        pulls = [vjpmaker(n, ans, args, kwargs) for n in argnums]
        return lambda g: [pull(g) for pull in pulls]

    defvjp_argnums(fun, rule)


def defvjp(fun: Any, *vjpmakers: Rule | None, argnums: Sequence[int] | None = None) -> None:
    """Set the VJPs of a primitive, one for each argument.

    Parameters
    ----------
    fun
        What `primitive` returned.
    *vjpmakers
        ``vjpmaker(ans, *args, **kwargs)`` returns the function from the output's cotangent to the
        argument's; None where the derivative is zero.
    argnums
        The arguments that they belong to; by default the first ones in order.
    """
    makers = _by_argnum(vjpmakers, argnums, "VJP", fun)

    def of_one(argnum: int, ans: Any, args: Any, kwargs: Any) -> Any:
        maker = makers.get(argnum) or _found(makers, argnum, "VJP", fun)
        if maker is None:
            return lambda g: vspace(args[argnum]).zeros()
        return maker(ans, *args, **kwargs)

    defvjp_argnum(fun, of_one)


def defjvp_argnums(fun: Any, jvpmaker: Rule) -> None:
    """Set the JVP of a primitive by one rule for several arguments.

    ``jvpmaker(argnums, tangents, ans, args, kwargs)`` returns the output's tangent.
    """
    _check(fun, "defjvp_argnums")
    primitive_jvps[fun] = jvpmaker


def defjvp_argnum(fun: Any, jvpmaker: Rule) -> None:
    """Set the JVP of a primitive by one rule for any argument.

    ``jvpmaker(argnum, tangent, ans, args, kwargs)`` returns what that argument adds to the
    output's tangent.
    """

    def rule(argnums: Sequence[int], tangents: Any, ans: Any, args: Any, kwargs: Any) -> Any:
        terms = [_dense(jvpmaker(n, t, ans, args, kwargs)) for n, t in zip(argnums, tangents)]
        return functools.reduce(vspace(ans).add, terms)

    defjvp_argnums(fun, rule)


def defjvp(fun: Any, *jvpmakers: Rule | str | None, argnums: Sequence[int] | None = None) -> None:
    """Set the JVPs of a primitive, one for each argument.

    Parameters
    ----------
    fun
        What `primitive` returned.
    *jvpmakers
        ``jvpmaker(tangent, ans, *args, **kwargs)`` returns the output's tangent; ``"same"`` where
        the function is linear in the argument; None where the derivative is zero.
    argnums
        The arguments that they belong to; by default the first ones in order.
    """
    makers = _by_argnum(jvpmakers, argnums, "JVP", fun)

    def of_one(argnum: int, t: Any, ans: Any, args: Any, kwargs: Any) -> Any:
        maker = _found(makers, argnum, "JVP", fun)
        if maker is None:
            return vspace(ans).zeros()
        if maker == "same":
            return _linear(fun, argnum, t, args, kwargs)
        return maker(t, ans, *args, **kwargs)

    defjvp_argnum(fun, of_one)


def def_linear(fun: Any) -> None:
    """Say that a primitive is linear in each of its arguments."""
    defjvp_argnum(fun, lambda argnum, t, ans, args, kwargs: _linear(fun, argnum, t, args, kwargs))


def _linear(fun: Any, argnum: int, t: Any, args: Any, kwargs: Any) -> Any:
    return fun(*args[:argnum], t, *args[argnum + 1 :], **kwargs)


def _by_argnum(makers: Any, argnums: Any, what: str, fun: Any) -> dict[int, Any]:
    for maker in makers:
        if not (maker is None or callable(maker) or (what == "JVP" and maker == "same")):
            raise TypeError(f"Bad {what} {maker!r} for {fun.__name__}")
    return dict(zip(itertools.count() if argnums is None else argnums, makers))


def _found(makers: dict[int, Any], argnum: int, what: str, fun: Any) -> Any:
    if argnum not in makers:
        raise NotImplementedError(f"{what} of {fun.__name__} for argument {argnum} is not defined")
    return makers[argnum]


def holds_registered(x: Any) -> bool:
    """Whether objects of a type that a user registered are among the leaves of ``x``."""
    return any_registered() and any(is_registered(getval(v)) for v in flatten(x)[0])


def make_vjp(fun: Callable[[Any], Any], x: Any) -> tuple[Callable[[Any], Any], Any]:
    """The function that pulls cotangents back through ``fun`` at ``x``, and its value there."""
    if holds_registered(x):
        return _make_vjp_of_objects(fun, *flatten(x))  # type: ignore[no-any-return]
    out, pull = gg.vjp(fun, x)
    return lambda g: pull(g)[0], out


def make_vjp_of_two(fun: Callable[[Any, Any], Any], x: Any, y: Any) -> Callable[..., Any]:
    """The function that pulls a cotangent back through ``fun``: to both arguments or to one."""
    if not holds_registered((x, y)):
        return gg.vjp(fun, x, y)[1]  # type: ignore[no-any-return]
    vjp, _ = make_vjp(lambda both: fun(*both), (x, y))
    return lambda g, argnum=None: vjp(g) if argnum is None else vjp(g)[argnum]


def _make_vjp_of_objects(fun: Callable[[Any], Any], leaves: list[Any], tree: Any) -> Any:
    """As `make_vjp`, where objects of registered types are among the leaves."""
    with deeper() as level:
        tape = Tape(level)
        nodes = [Leaf() for _ in leaves]
        out = fun(unflatten(tree, [new_box(v, tape, n) for v, n in zip(leaves, nodes)]))
    ys, out_tree = flatten(out)
    values = [below(y, tape) for y in ys]
    roots = [tape.node_of(y) for y in ys]

    def vjp(g: Any) -> Any:
        cotangents = [
            None
            if root is None
            else Opaque.close(c)
            if is_registered(getval(y))
            else seed(y, c, "make_vjp")
            for root, y, c in zip(roots, values, out_tree.flatten_up_to(g))
        ]
        reached = backward(roots, cotangents, retain_graph=True)
        return unflatten(
            tree,
            [
                Opaque.open(reached[n]) if n in reached else vspace(v).zeros()
                for n, v in zip(nodes, leaves)
            ],
        )

    return vjp, unflatten(out_tree, values)


def make_jvp(fun: Callable[[Any], Any], x: Any) -> Callable[[Any], tuple[Any, Any]]:
    """The function from a tangent of ``x`` to the value of ``fun`` and its tangent."""

    def jvp(t: Any) -> tuple[Any, Any]:
        value, tangent = gg.jvp(fun, (x,), (t,))
        return value, tangent

    return jvp
