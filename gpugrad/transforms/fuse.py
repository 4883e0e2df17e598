"""``fuse``: an elementwise function as one kernel, and each of its derivatives as one."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpugrad.core.abstract import ShapeDtype, shape_dtype
from gpugrad.core.box import Box, any_box, box, constant
from gpugrad.core.primitive import Primitive, registry
from gpugrad.core.trace import Trace, deeper
from gpugrad.kernels import fused
from gpugrad.kernels.fused import Node, Program
from gpugrad.ops.batching import pointwise
from gpugrad.ops.broadcast import unbroadcast
from gpugrad.ops.cast import cast
from gpugrad.ops.creation import zeros_near
from gpugrad.transforms.forward import jvp
from gpugrad.transforms.kinds import named
from gpugrad.transforms.reverse import vjp

SMALL = 1 << 12
"""Elements below which NumPy's own calls are as fast as a kernel on the CPU."""

_REAL, _TRUTH = np.dtype(float), np.dtype(bool)
_KEPT = ("cast", "stop_gradient")
"""Operations that leave a real number as it is."""


class Symbol(ShapeDtype):
    """A scalar that is not computed yet: the number of its node."""

    node: int

    def __bool__(self) -> bool:
        raise TypeError(
            "fuse: the function asks whether a value is true, but is read without values: choose "
            "with where(condition, a, b) in place of if, and, or, not"
        )


class Symbolic(Trace):
    """Writes a program of what is applied to its boxes, each operation once."""

    __slots__ = ("nodes", "numbers", "primitives")

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.nodes: list[Node] = []
        self.numbers: dict[Node, int] = {}

    def add(self, node: Node) -> int:
        found = self.numbers.get(node)
        if found is None or node.name == "input":
            found = len(self.nodes)
            self.nodes.append(node)
            self.numbers[node] = found
        return found

    def symbol(self, node: Node) -> Any:
        symbol = Symbol((), _TRUTH if node.name in fused.LOGICAL else _REAL)
        symbol.node = self.add(node)
        return box(symbol, self)

    def number(self, value: Any) -> int:
        """The node of an operand, or of the number that it is."""
        if isinstance(value, Box) and value._trace is self:
            node: int = value._value.node
            return node
        raw = value._value if isinstance(value, Box) and value._trace is None else value
        if isinstance(raw, Box) or np.ndim(raw) != 0 or np.asarray(raw).dtype.kind not in "fiub":
            what = f"an array of shape {raw.shape}" if hasattr(raw, "shape") else f"{raw!r}"
            raise TypeError(
                f"fuse: the function uses {what} that is not among its arguments: pass it as one"
            )
        number = np.asarray(raw).item()
        if isinstance(number, bool):
            return self.add(Node("number", (), number))
        if number == 0 and np.signbit(number):  # equal to 0.0, whose node it must not share
            return self.add(Node("negative", (self.number(0.0),)))
        return self.add(Node("number", (), float(number)))

    def apply(self, primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        if primitive.name in _KEPT and shape_dtype(args[0]).dtype.kind == "f":
            return args[0]
        if isinstance(primitive, Fused):
            out = tuple(replay(primitive.program, args))
            return out if primitive.multiple else out[0]
        numbers = tuple([self.number(a) for a in args])
        if primitive.name == "cast":  # of a truth
            return self.symbol(Node("where", (*numbers, self.number(1.0), self.number(0.0))))
        if primitive.name == "invert" and fused.logical(self, numbers[0]):
            return self.symbol(Node("logical_not", numbers))
        if not fused.known(primitive.name):
            raise TypeError(
                f"fuse: {primitive.name} is no elementwise function that a kernel can hold; "
                "compute it outside of the fused function"
            )
        return self.symbol(Node(primitive.name, numbers))


def trace(f: Callable[..., Any], count: int) -> tuple[Program, bool]:
    """The program of a function of ``count`` scalars, and whether it returns a tuple."""
    with deeper() as level:
        at = Symbolic(level)
        given = [at.symbol(Node("input")) for _ in range(count)]
        out = f(*given)
        several = isinstance(out, tuple | list)
        outputs = tuple([at.number(o) for o in (out if several else [out])])
    program = Program(count, tuple(at.nodes), outputs)
    if any(fused.logical(program, o) for o in outputs):
        raise TypeError("fuse: a result is true or false; return where(it, 1.0, 0.0) instead")
    return program, several


def replay(program: Program, values: Sequence[Any]) -> list[Any]:
    """The program's outputs by its operations one by one, on anything they take."""
    known: list[Any] = list(values)
    for node in program.nodes[program.inputs :]:
        if node.name == "number":
            known.append(node.value)
        else:
            known.append(registry[node.name](*[known[a] for a in node.args]))
    return [known[o] for o in program.outputs]


class Fused(Primitive):
    """A program as a primitive; its derivatives are programs too."""

    __slots__ = ("program", "pulls", "pushes")

    def __init__(self, name: str, program: Program) -> None:
        before = registry.get(name)
        super().__init__(
            name,
            self._compute,
            "*xs",
            shape=self._shape_rule,
            joint_vjp=self._pull,
            joint_jvp=self._push,
            batch=pointwise,
            multiple=len(program.outputs) > 1,
        )
        if before is not None:  # the registry names gpugrad's own operations
            registry[name] = before
        else:
            del registry[name]
        self.program = program
        self.pulls: dict[Any, Any] = {}
        self.pushes: dict[Any, Any] = {}

    def _compute(self, xp: Any, *xs: Any) -> Any:
        shape = np.broadcast_shapes(*[np.shape(x) for x in xs])
        if xp is np and np.prod(shape, dtype=int) < SMALL:
            dtype = fused.result_dtype(xs)
            wide = [np.asarray(x, np.float32 if dtype.itemsize == 2 else dtype) for x in xs]
            with np.errstate(all="ignore"):
                ys = [np.asarray(y, dtype) for y in replay(self.program, wide)]
            ys = [y if y.shape == shape else np.broadcast_to(y, shape).copy() for y in ys]
        else:
            ys = fused.run(self.program, xs)
        return tuple(ys) if self.multiple else ys[0]

    def _shape_rule(self, *xs: ShapeDtype) -> Any:
        out = ShapeDtype(np.broadcast_shapes(*[x.shape for x in xs]), fused.result_dtype(xs))
        return (out,) * len(self.program.outputs) if self.multiple else out

    def _pull(self, g: Any, xs: Any, y_like: Any, needs: Any) -> list[Any]:
        """One kernel for the cotangents of all operands that want one."""
        gs = g if self.multiple else (g,)
        given = tuple([c is not None for c in gs])
        key = (needs, given)
        if key not in self.pulls:
            self.pulls[key] = self._derive_pull(needs, given)
        at, derived = self.pulls[key]
        out: list[Any] = [None] * len(xs)
        if derived is None:
            return out
        found = derived(*[c for c in gs if c is not None], *xs)
        for i, c in zip(at, found if derived.multiple else (found,), strict=True):
            out[i] = unbroadcast(c, shape_dtype(xs[i]))
        return out

    def _derive_pull(self, needs: Sequence[bool], given: Sequence[bool]) -> Any:
        at = [i for i, n in enumerate(needs) if n]
        count = sum(given)

        def pulled(*values: Any) -> Any:
            gs, xs = list(values[:count]), values[count:]

            def f(*some: Any) -> Any:
                full = list(xs)
                for i, x in zip(at, some, strict=True):
                    full[i] = x
                ys = replay(self.program, full)
                return tuple([y for y, n in zip(ys, given, strict=True) if n])

            _, pull = vjp(f, *[xs[i] for i in at])
            return tuple(pull(tuple(gs)))

        return self._derived(f"{self.name}_pull", pulled, count + len(needs), at)

    def _derived(self, name: str, f: Callable[..., Any], count: int, at: Sequence[int]) -> Any:
        """The primitive for those outputs that are not 0 everywhere, and which they are."""
        program, _ = trace(f, count)
        moving = [
            (i, o)
            for i, o in zip(at, program.outputs, strict=True)
            if program.nodes[o] != Node("number", (), 0.0)
        ]
        if not moving:
            return [], None
        program = program._replace(outputs=tuple([o for _, o in moving]))
        return [i for i, _ in moving], Fused(name, program)

    def _push(self, ts: Sequence[Any], xs: Any, y_like: Any) -> Any:
        moving = tuple([t is not None for t in ts])
        if moving not in self.pushes:
            self.pushes[moving] = self._derive_push(moving)
        at, derived = self.pushes[moving]
        count = len(self.program.outputs)
        out: list[Any] = [None] * count
        if derived is not None:
            found = derived(*[t for t in ts if t is not None], *xs)
            for k, t in zip(at, found if derived.multiple else (found,), strict=True):
                out[k] = t
        likes = y_like if self.multiple else (y_like,)
        full = [
            zeros_near(xs, like.shape, like.dtype) if t is None else cast(t, like.dtype)
            for t, like in zip(out, likes, strict=True)
        ]
        return tuple(full) if self.multiple else full[0]

    def _derive_push(self, moving: Sequence[bool]) -> Any:
        count = sum(moving)

        def pushed(*values: Any) -> Any:
            ts, xs = values[:count], values[count:]
            at = [i for i, m in enumerate(moving) if m]

            def f(*some: Any) -> Any:
                full = list(xs)
                for i, x in zip(at, some, strict=True):
                    full[i] = x
                return tuple(replay(self.program, full))

            return tuple(jvp(f, tuple(xs[i] for i in at), tuple(ts))[1])

        outputs = range(len(self.program.outputs))
        return self._derived(f"{self.name}_push", pushed, count + len(moving), outputs)

    def source(self, name: str, count: int, tracked: tuple[int, ...]) -> Any:
        """As for every primitive; of several outputs ``y_like`` is one for each."""
        if name == "y_like" and self.multiple:
            return lambda values, params: tuple([shape_dtype(y) for y in values[count]])
        return super().source(name, count, tracked)


def fuse(f: Callable[..., Any]) -> Callable[..., Any]:
    """A function of scalars, written in Python, as one kernel over arrays.

    The function is read once, at the first call, with symbols for its arguments: numbers, of shape
    ``()`` and size 1. What it computes becomes one kernel, CUDA C++ or Numba, compiled when it is
    first needed. Its derivatives of any order and
    mode are found from the same rules as every derivative, and each is one kernel again: the
    cotangents of all arguments together.

    Parameters
    ----------
    f
        A function of positional arrays that broadcast against each other: arithmetic,
        comparisons, ``where`` and the usual functions of NumPy or `gpugrad.numpy`. It returns one
        result or a tuple of them. Keyword arguments are constants, numbers or tuples, and the
        function is read again for others. A variable around the function keeps the value that it
        has at the first call: pass what changes as an argument.

    Returns
    -------
    callable
        Takes arrays of real numbers or `Array`s; under every transform.

    Raises
    ------
    TypeError
        When it is called: for an operation that is not elementwise, such as a sum or a reshape, an
        ``if`` on a value, an array that is not among the arguments, or a keyword argument that is
        an array or a list.

    Examples
    --------
    >>> import gpugrad as gg, numpy as np
    >>> @gg.fuse
    ... def swish(x, beta):
    ...     return x / (1 + np.exp(-beta * x))
    >>> swish(np.array([0.0, 1.0]), 1.0).round(4)
    array([0.    , 0.7311])
    >>> gg.elementwise_grad(swish)(np.array([0.0, 1.0]), 1.0).round(4)
    array([0.5   , 0.9277])
    """
    made: dict[Any, tuple[Fused, bool]] = {}

    def call(*args: Any, **constants: Any) -> Any:
        for name, value in constants.items():
            if getattr(type(value), "__hash__", None) is None:
                raise TypeError(
                    f"fuse: the keyword argument {name} is a {type(value).__name__}: keyword "
                    "arguments are constants, numbers or tuples; pass arrays by position"
                )
        key = (len(args), tuple(sorted(constants.items())))
        if key not in made:
            program, several = trace(functools.partial(f, **constants), len(args))
            made[key] = (Fused(getattr(f, "__name__", "fused"), program), several)
        primitive, several = made[key]
        for a in args:
            if shape_dtype(a).dtype.kind == "c":
                raise TypeError(f"fuse: {primitive.name} is for real numbers, got complex ones")
        boxed = any_box(args)
        out = primitive(*args)
        if boxed:
            out = tuple(map(constant, out)) if primitive.multiple else constant(out)
        if several and not primitive.multiple:
            return (out,)
        return out

    return named(f, call, "fuse")
