"""Pictures of computations: what was computed, from what, and how the gradient flows back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gpugrad.core.box import Box
from gpugrad.viz.model import SMALL, Edge, Graph, Node, Pull, writable
from gpugrad.viz.record import graph_of_function, graph_of_loss

__all__ = ["Edge", "Graph", "Node", "Pull", "explore", "graph"]

EXPLORED = 64
"""A page lists the elements of values that have at most this many."""


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
    found = _recorded(f, args, argnums, names)
    if path is not None:
        found.save(path)
    return found


def explore(
    f: Callable[..., Any] | Any,
    *args: Any,
    argnums: int | Sequence[int] | None = None,
    names: Sequence[str] | Mapping[str, Any] | None = None,
    path: str | Path = "graph.html",
    title: str | None = None,
) -> Path:
    """Write a page on which a person steps through the forward pass and the backward pass.

    The page is one HTML file that needs no network. It shows the graph as `graph` draws it. Each
    step lights a node with its values, or with the gradient that arrives and, at each edge that
    carries it on, the local derivative and their product. Arrow keys step, Home and End jump, the
    space bar plays.

    Parameters
    ----------
    f, *args, argnums, names
        As for `graph`.
    path : str or Path
        The ``.html`` file to write.
    title : str, optional
        The page's heading; by default the function's name.

    Returns
    -------
    Path
        Where the page is. Of arrays with more than 64 elements it shows shape, dtype, and the
        smallest, mean and largest element.

    Raises
    ------
    TypeError, TapeError
        As from `graph`.
    ValueError
        If ``path`` does not end in ``.html``.

    Examples
    --------
    >>> import gpugrad as gg, numpy as np
    >>> def loss(w, x, y):
    ...     return np.mean((np.tanh(x @ w) - y) ** 2)
    >>> gg.viz.explore(loss, np.zeros(2), np.eye(2), np.ones(2), argnums=0, path="loss.html").name
    'loss.html'
    """
    target = writable(path, (".html",))
    found = _recorded(f, args, argnums, names, EXPLORED, True)
    from gpugrad.viz.page import render

    called = "an array" if isinstance(f, Box) else getattr(f, "__name__", type(f).__name__)
    page = render(found, title or f"The computational graph of {called}")
    target.write_text(page, encoding="utf-8")
    return target


def _recorded(
    f: Any, args: tuple[Any, ...], argnums: Any, names: Any, few: int = SMALL, pulls: bool = False
) -> Graph:
    if isinstance(f, Box):
        if args or argnums is not None:
            raise TypeError("viz.graph: an array's graph takes no arguments, only a function's")
        return graph_of_loss(f, names, few, pulls)
    if callable(f):
        return graph_of_function(f, args, argnums, names, few, pulls)
    raise TypeError(
        f"viz.graph draws a function with its arguments or a gg.Array, not a {type(f).__name__}"
    )
