"""Pictures of computations: what was computed, from what, and how the gradient flows back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gpugrad.core.box import Box
from gpugrad.viz.model import Edge, Graph, Node, writable
from gpugrad.viz.record import graph_of_function, graph_of_loss

__all__ = ["Edge", "Graph", "Node", "graph"]


def graph(
    f: Callable[..., Any] | Any,
    *args: Any,
    argnums: int | Sequence[int] | None = None,
    names: Sequence[str] | Mapping[str, Any] | None = None,
    path: str | Path | None = None,
) -> Graph:
    """The computational graph of a function or of a loss, with values and gradients.

    Parameters
    ----------
    f : callable or Array
        A function, which is run on ``args``; or an `Array` that was computed from
        ``requires_grad`` arrays, of which the tape still holds the graph. Of such an array only
        those values are known that the tape holds, and its graph and every ``.grad`` stay as
        they are.
    *args
        Arguments of the function: arrays, numbers or pytrees of them.
    argnums : int or sequence of int, optional
        Which arguments to differentiate by; by default all that hold floating-point or complex
        numbers. The others are shown as constants.
    names : sequence of str or mapping, optional
        For a function a name for each argument, by default those of its parameters. For an
        `Array` a mapping of names to the arrays (or pytrees of arrays) that they name.
    path : str or Path, optional
        Draw the graph there, to a ``.svg`` or ``.png`` file.

    Returns
    -------
    Graph
        Nodes and edges as data; ``.svg()``, ``.save(path)``, and a picture in a notebook. The
        gradients are those of the result, or of the sum of its elements.

    Raises
    ------
    TypeError
        If no gradient leads from the result to the arguments.
    TapeError
        If the graph of an `Array` was freed, or nothing behind it requires a gradient.
    ValueError
        If ``path`` ends in neither ``.svg`` nor ``.png``.

    Examples
    --------
    >>> import gpugrad as gg, numpy as np
    >>> def loss(w, x, y):
    ...     return np.mean((x @ w - y) ** 2)
    >>> g = gg.viz.graph(loss, np.zeros(2), np.eye(2), np.ones(2), argnums=0, path="loss.svg")
    >>> g
    Graph(7 nodes, 6 edges)
    >>> g["w"].gradient
    array([-1., -1.])
    """
    if path is not None:
        writable(path)
    if isinstance(f, Box):
        if args or argnums is not None:
            raise TypeError("viz.graph: an array's graph takes no arguments, only a function's")
        found = graph_of_loss(f, names)  # type: ignore[arg-type]
    elif callable(f):
        found = graph_of_function(f, args, argnums, names)  # type: ignore[arg-type]
    else:
        raise TypeError(
            f"viz.graph draws a function with its arguments or a gg.Array, not a {type(f).__name__}"
        )
    if path is not None:
        found.save(path)
    return found
