"""Traces that call a class of nodes for each operation."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from operator import getitem
from typing import Any

from gpugrad.compat.autograd.boxes import getval, new_box
from gpugrad.core.box import Box
from gpugrad.core.primitive import Primitive
from gpugrad.core.trace import Trace, check_level, deeper
from gpugrad.transforms.kinds import below


class Node:
    """What a trace notes of each operation; a user's subclass says what that is.

    Notes
    -----
    ``__init__(value, fun, args, kwargs, parent_argnums, parents)`` is called for each operation
    on a traced value, ``initialize_root(*args)`` for the input.
    """

    __slots__ = ()

    def __init__(
        self, value: Any, fun: Any, args: Any, kwargs: Any, parent_argnums: Any, parents: Any
    ) -> None:
        raise NotImplementedError("a subclass of Node defines __init__")

    def initialize_root(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError("a subclass of Node defines initialize_root")

    @classmethod
    def new_root(cls, *args: Any, **kwargs: Any) -> Any:
        """The node of the input."""
        root = cls.__new__(cls)
        root.initialize_root(*args, **kwargs)
        return root


notrace_primitives: dict[Any, set[Any]] = {}
"""For each node class, the functions that its traces look through."""


class Recorder(Trace):
    """Makes a node of a user's class for each operation."""

    __slots__ = ("kind",)

    def __init__(self, level: int, kind: type[Node]) -> None:
        super().__init__(level)
        self.kind = kind

    def apply(self, primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        values, parents, argnums = [], [], []
        for n, a in enumerate(args):
            mine = isinstance(a, Box) and a._trace is self
            if mine:
                parents.append(a._payload)
                argnums.append(n)
            elif isinstance(a, Box) and a._trace is not None:
                check_level(a._trace, self, primitive)
            values.append(a._value if mine or (isinstance(a, Box) and not a._trace) else a)
        y = primitive(*values, **params)
        if primitive in notrace_primitives.get(self.kind, ()):
            return y
        node = self.kind(y, _Step(primitive), tuple(values), params, tuple(argnums), tuple(parents))
        if not primitive.multiple:
            return new_box(y, self, node)
        return tuple(
            [
                new_box(o, self, self.kind(o, getitem, (y, i), {}, (0,), (node,)))
                for i, o in enumerate(y)
            ]
        )


class _Step:
    """An operation as node classes see it: a function with a name."""

    __slots__ = ("__name__", "primitive")

    def __init__(self, primitive: Primitive) -> None:
        self.__name__ = primitive.name
        self.primitive = primitive

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.primitive(*args, **kwargs)


def trace(start_node: Node, fun: Callable[[Any], Any], x: Any) -> tuple[Any, Any]:
    """Run ``fun`` on ``x`` and note each operation in a node of the class of ``start_node``.

    Parameters
    ----------
    start_node
        The node of ``x``, made with ``new_root``.
    fun
        A function of one array, number or object of a registered type.
    x
        Its argument.

    Returns
    -------
    tuple
        The value of ``fun`` and its node, None where it does not depend on ``x``.
    """
    with deeper() as level:
        recorder = Recorder(level, type(start_node))
        end = fun(new_box(x, recorder, start_node))
    return found(end, recorder)


def found(end: Any, recorder: Recorder) -> tuple[Any, Any]:
    """The value and the node of a result; a warning and None where it has no node."""
    if isinstance(end, Box) and end._trace is recorder:
        return below(end, recorder), end._payload
    warnings.warn("Output seems independent of input.", stacklevel=3)
    return end, None


def notrace_primitive(f: Callable[..., Any]) -> Callable[..., Any]:
    """``f`` on the values under the boxes: nothing is differentiated through it."""

    @functools.wraps(f)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return f(*[getval(a) for a in args], **kwargs)

    return wrapped


def register_notrace(trace_type: type, primitive_fun: Any) -> None:
    """Let traces with nodes of class ``trace_type`` look through a user's primitive."""
    notrace_primitives.setdefault(trace_type, set()).add(primitive_fun.operation)
