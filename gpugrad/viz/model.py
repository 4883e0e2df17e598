"""A computational graph as data, and what can be done with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

Kind = Literal["input", "constant", "operation", "output"]


@dataclass(frozen=True, eq=False)
class Node:
    """An input, a constant, an operation or the output.

    Parameters
    ----------
    id
        Its position in `Graph.nodes`; parents come before children.
    kind
        ``"output"`` is the operation (rarely: the input) whose gradient is taken.
    label
        Name of the operation or of the input.
    details
        Scalar operands and parameters of the operation, such as ``axis=0``.
    shape, dtype
        Of the value; None where the tape does not hold it and no gradient tells.
    value, gradient
        NumPy copies where they have at most six elements, else None.
    gradient_rms
        Root mean square of the gradient's elements, None where no gradient arrives.
    """

    id: int
    kind: Kind
    label: str
    details: tuple[str, ...] = ()
    shape: tuple[int, ...] | None = None
    dtype: np.dtype[Any] | None = None
    value: np.ndarray[Any, Any] | None = None
    gradient: np.ndarray[Any, Any] | None = None
    gradient_rms: float | None = None


@dataclass(frozen=True)
class Edge:
    """``nodes[target]`` uses ``nodes[source]`` as its operand number ``operand``.

    ``backward`` says that a gradient flows back along it.
    """

    source: int
    target: int
    operand: int
    backward: bool


@dataclass(frozen=True, eq=False)
class Graph:
    """What `graph` returns: nodes in order of computation, edges, and pictures of them.

    Examples
    --------
    >>> import gpugrad as gg, numpy as np
    >>> g = gg.viz.graph(lambda w, x: np.sum(np.tanh(w * x)), np.ones(2), np.zeros(2))
    >>> [node.label for node in g.nodes]
    ['w', 'x', 'multiply', 'tanh', 'sum']
    >>> g["x"].gradient
    array([1., 1.])
    """

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    @property
    def output(self) -> Node:
        """The node whose gradient is taken."""
        return next(node for node in self.nodes if node.kind == "output")

    def __getitem__(self, label: str) -> Node:
        """The first node of that label."""
        for node in self.nodes:
            if node.label == label:
                return node
        known = ", ".join(dict.fromkeys(node.label for node in self.nodes))
        raise KeyError(f"no node is called {label!r}; there are {known}")

    def __repr__(self) -> str:
        return f"Graph({len(self.nodes)} nodes, {len(self.edges)} edges)"

    def svg(self) -> str:
        """The picture as SVG text."""
        from gpugrad.viz.picture import compose
        from gpugrad.viz.svg import render

        return render(compose(self))

    _repr_svg_ = svg

    def save(self, path: str | Path) -> None:
        """Write the picture; the suffix, ``.svg`` or ``.png``, says what kind."""
        target = writable(path)
        if target.suffix.lower() == ".svg":
            target.write_text(self.svg(), encoding="utf-8")
            return
        from gpugrad.viz.picture import compose
        from gpugrad.viz.png import write

        write(compose(self), target)


def writable(path: str | Path) -> Path:
    """The path of a picture that can be written there, or an error before any work is done."""
    target = Path(path)
    if target.suffix.lower() not in (".svg", ".png"):
        raise ValueError(f"a graph is drawn to a .svg or .png file, not to {str(path)!r}")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {str(target.parent)!r} to draw {target} in")
    return target
