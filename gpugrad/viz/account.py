"""The network of the account of backpropagation: one hidden layer, small enough to read.

Two inputs, two hidden units with tanh, one output, and the mean squared loss over three samples:
every number of the forward pass and of the backward pass fits in the picture.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gpugrad.viz import Graph, explore, graph

PARAMETERS = (
    np.array([[0.5, -1.0], [0.8, 0.3]]),
    np.array([0.1, -0.2]),
    np.array([[0.7], [-0.4]]),
    np.array([0.05]),
)
X = np.array([[1.0, 0.0], [0.5, -1.0], [-1.0, 2.0]])
Y = np.array([[1.0], [0.0], [-0.5]])


def loss(w1: Any, b1: Any, w2: Any, b2: Any, x: Any, y: Any) -> Any:
    """The mean squared error of the network's answers for samples ``x`` with targets ``y``.

    Examples
    --------
    >>> import gpugrad as gg
    >>> print(f"{loss(*PARAMETERS, X, Y):.4f}")
    0.2230
    >>> gg.grad(loss, argnums=3)(*PARAMETERS, X, Y).round(4)
    array([0.3987])
    """
    hidden = np.tanh(x @ w1 + b1)
    answer = hidden @ w2 + b2
    return np.mean((answer - y) ** 2)


def draw(path: str | Path) -> Graph:
    """Draw the network's graph to a ``.svg`` or ``.png`` file.

    Examples
    --------
    >>> draw("account.svg")
    Graph(14 nodes, 13 edges)
    """
    return graph(loss, *PARAMETERS, X, Y, argnums=(0, 1, 2, 3), path=path)


def walk(path: str | Path) -> Path:
    """Write a page that steps through the network's graph.

    Examples
    --------
    >>> walk("account.html").name
    'account.html'
    """
    title = "Backpropagation through one hidden layer, step by step"
    return explore(loss, *PARAMETERS, X, Y, argnums=(0, 1, 2, 3), path=path, title=title)
