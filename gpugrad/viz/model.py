"""A computational graph as data, and what can be done with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

Kind = Literal["input", "constant", "operation", "output"]


Range = tuple[float, float, float]
"""Smallest, mean and largest element of a real array."""

SMALL = 6
"""Pictures show the elements of values that have at most this many."""


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
        NumPy copies where they have at most six elements (`explore`: 64), else None.
    value_range, gradient_range
        Smallest, mean and largest element, where there are too many to copy.
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
    value_range: Range | None = None
    gradient_range: Range | None = None


@dataclass(frozen=True)
class Edge:
    """``nodes[target]`` uses ``nodes[source]`` as its operand number ``operand``.

    ``backward`` says that a gradient flows back along it.
    """

    source: int
    target: int
    operand: int
    backward: bool


class Numbers(NamedTuple):
    """What is kept of an array: all elements if they are few, else their range."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    values: np.ndarray[Any, Any] | None
    range: Range | None


@dataclass(frozen=True, eq=False)
class Pull:
    """What an edge carries back: the gradient that arrives, times a factor, summed if need be.

    Parameters
    ----------
    primitive
        Name of the operation whose rule it is.
    sent
        What the operand receives.
    factor
        The local derivative where it is an array: of an elementwise operation or of one whose
        result is a single number. None for other operations.
    product
        The gradient times the factor where that must be summed to fit the operand, which the
        forward pass repeated.
    terms
        What each row (sample) of a small operation adds to ``sent``.
    """

    primitive: str
    sent: Numbers
    factor: Numbers | None = None
    product: Numbers | None = None
    terms: np.ndarray[Any, Any] | None = None


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
    pulls: Mapping[Edge, Pull] = field(default_factory=dict)
    """What each edge carries back, where that was asked for (`explore`)."""

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


def writable(path: str | Path, suffixes: tuple[str, ...] = (".svg", ".png")) -> Path:
    """The path of a file that can be written there, or an error before any work is done."""
    target = Path(path)
    if target.suffix.lower() not in suffixes:
        allowed = " or ".join(suffixes)
        raise ValueError(f"a graph is drawn to a {allowed} file, not to {str(path)!r}")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {str(target.parent)!r} to draw {target} in")
    return target
