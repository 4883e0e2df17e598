"""A function recorded once as its operations and run again from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

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
