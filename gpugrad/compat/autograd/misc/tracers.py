"""A function recorded as its operations, to run again from them or to look at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from operator import getitem
from typing import Any

from gpugrad.compat.autograd.boxes import new_box
from gpugrad.compat.autograd.nodes import Node, Recorder, found
from gpugrad.compat.autograd.wrap_util import wraps
from gpugrad.core.box import Box, box
from gpugrad.core.primitive import Primitive
from gpugrad.core.trace import Trace, check_level, deeper
from gpugrad.transforms.kinds import flatten, unflatten


class _Graph(Trace):
    """Records operations; a box's payload is the place of its value among all values."""

    __slots__ = ("count", "steps")

    def __init__(self, level: int, inputs: int) -> None:
        super().__init__(level)
        self.count = inputs
        self.steps: list[tuple[Primitive, list[tuple[bool, Any]], dict[str, Any]]] = []

    def apply(self, primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        values, places = [], []
        for a in args:
            mine = isinstance(a, Box) and a._trace is self
            if not mine and isinstance(a, Box) and a._trace is not None:
                check_level(a._trace, self, primitive)
            values.append(a._value if mine else a)
            places.append((mine, a._payload if mine else a))
        y = primitive(*values, **params)
        self.steps.append((primitive, places, params))
        outputs = y if primitive.multiple else (y,)
        boxes = [box(o, self, self.count + i) for i, o in enumerate(outputs)]
        self.count += len(boxes)
        return tuple(boxes) if primitive.multiple else boxes[0]

    def run(self, inputs: Sequence[Any]) -> list[Any]:
        """All values, from other inputs."""
        values = list(inputs)
        for primitive, places, params in self.steps:
            y = primitive(*[values[v] if mine else v for mine, v in places], **params)
            values += y if primitive.multiple else (y,)
        return values


def const_graph(fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Callable[..., Any]:
    """``fun`` with its first arguments set, run once and from then on by its recorded operations.

    For functions whose operations do not depend on the values of the arguments.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.compat.autograd.misc import const_graph
    >>> f = const_graph(lambda x: np.sin(x) * 2)
    >>> float(f(0.0)), round(float(f(1.0)), 6)
    (0.0, 1.682942)
    """
    recorded: list[Any] = []

    @wraps(fun)
    def wrapped(*inputs: Any) -> Any:
        leaves, tree = flatten(inputs)
        if not recorded:
            with deeper() as level:
                graph = _Graph(level, len(leaves))
                boxes = [box(v, graph, i) for i, v in enumerate(leaves)]
                out = partial(fun, *args, **kwargs)(*unflatten(tree, boxes))
            ys, out_tree = flatten(out)
            places = [
                (True, y._payload) if isinstance(y, Box) and y._trace is graph else (False, y)
                for y in ys
            ]
            recorded.append((graph, places, out_tree))
            return unflatten(
                out_tree, [y._value if mine else y for (mine, _), y in zip(places, ys)]
            )
        graph, places, out_tree = recorded[0]
        values = graph.run(leaves)
        return unflatten(out_tree, [values[v] if mine else v for mine, v in places])

    return wrapped  # type: ignore[no-any-return]


class FullGraphNode(Node):
    """A node with its value and how that was computed.

    Attributes
    ----------
    value
        The operation's result.
    recipe
        ``(fun, args, kwargs, parents)``, where ``parents`` has pairs of an argument's number and
        its node.
    """

    __slots__ = ("recipe", "value")

    value: Any
    recipe: tuple[Any, ...]

    def __init__(
        self, value: Any, fun: Any, args: Any, kwargs: Any, parent_argnums: Any, parents: Any
    ) -> None:
        self.value = value
        self.recipe = (fun, args, kwargs, tuple(zip(parent_argnums, parents, strict=True)))

    def initialize_root(self) -> None:
        """The node of the tuple of arguments."""
        self.value = None
        self.recipe = (lambda x: x, (), {}, ())


def full_graph(fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """The node of ``fun(*args, **kwargs)``, from which all that was computed can be walked.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.compat.autograd.misc.tracers import full_graph
    >>> node = full_graph(lambda x: np.sin(x) * 2, 0.5)
    >>> fun, _, _, parents = node.recipe
    >>> fun.__name__, [parent.recipe[0].__name__ for _, parent in parents]
    ('multiply', ['sin'])
    """
    leaves, tree = flatten(args)
    root = FullGraphNode.new_root()
    with deeper() as level:
        recorder = Recorder(level, FullGraphNode)
        boxes = [
            new_box(v, recorder, FullGraphNode(v, getitem, (args, i), {}, (0,), (root,)))
            for i, v in enumerate(leaves)
        ]
        end = fun(*unflatten(tree, boxes), **kwargs)
    return found(end, recorder)[1]
