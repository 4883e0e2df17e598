"""A table of a model's layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import optree

from gpugrad.core.tape import no_grad
from gpugrad.nn.module import Module, is_parameter


class Row(NamedTuple):
    """A layer: its name and class, how deep it lies, what it returned, and its parameters."""

    name: str
    kind: str
    depth: int
    output: str
    parameters: int


@dataclass(frozen=True)
class Summary:
    """What `summary` found; printed, it is a table."""

    rows: list[Row]
    parameters: int
    size: int

    def __str__(self) -> str:
        cells = [("layer", "output", "parameters")]
        for row in self.rows:
            name = f"{row.name}: {row.kind}" if row.name else row.kind
            count = f"{row.parameters:,}" if row.parameters else "-"
            cells.append(("  " * row.depth + name, row.output, count))
        cells.append(("total", "", f"{self.parameters:,}"))
        first, second, third = (max(len(row[i]) for row in cells) for i in range(3))
        lines = [f"{a:<{first}}  {b:<{second}}  {c:>{third}}" for a, b, c in cells]
        rule = "-" * len(lines[0])
        foot = f"{self.size:,} bytes of parameters"
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1], foot])

    def __repr__(self) -> str:
        return str(self)


def summary(model: Module, *inputs: Any, **named: Any) -> Summary:
    """Run a model once and tell what each layer returned and how many parameters it has.

    It runs in evaluation mode and records nothing. A layer that is called several times is told of
    by its last call; shared parameters count where they come up first.

    Parameters
    ----------
    model : Module
        What is run.
    *inputs, **named
        What its ``forward`` takes.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad import nn
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.relu, nn.Linear(8, 2))
    >>> nn.summary(model, np.ones((5, 4), "float32"))
    layer        output  parameters
    -------------------------------
    Sequential   (5, 2)           -
      0: Linear  (5, 8)          40
      1: Lambda  (5, 8)           -
      2: Linear  (5, 2)          18
    -------------------------------
    total                        58
    232 bytes of parameters
    """
    for shape in inputs:
        if isinstance(shape, tuple) and shape and all(isinstance(n, int) for n in shape):
            raise TypeError(
                f"summary: the model is run on arrays, got the shape {shape}: give an array of "
                f"that shape, such as numpy.zeros({shape}, 'float32')"
            )
    outputs: dict[int, str] = {}
    layers = list(model.named_modules())
    modes = [layer.training for _, layer in layers]

    def noting(layer: Module) -> Any:
        forward = layer.forward

        def run(*args: Any, **kwargs: Any) -> Any:
            out = forward(*args, **kwargs)
            outputs[id(layer)] = _shapes(out)
            return out

        return run

    try:
        for _, layer in layers:
            vars(layer)["forward"] = noting(layer)
        model.eval()
        with no_grad():
            model(*inputs, **named)
    finally:
        for (_, layer), mode in zip(layers, modes, strict=True):
            vars(layer).pop("forward", None)
            layer.training = mode
    seen: set[int] = set()
    rows, size = [], 0
    for path, layer in layers:
        own = [p for _, p in layer._made_of() if is_parameter(p) and id(p) not in seen]
        own = list({id(p): p for p in own}.values())
        seen.update(map(id, own))
        size += sum(p.size * p.dtype.itemsize for p in own)
        count = sum(p.size for p in own)
        depth = len(path.split(".")) if path else 0
        found = outputs.get(id(layer), "not called")
        rows.append(Row(path.rpartition(".")[2], type(layer).__name__, depth, found, count))
    return Summary(rows, sum(row.parameters for row in rows), size)


def _shapes(out: Any) -> str:
    shapes = [str(leaf.shape) for leaf in optree.tree_leaves(out) if hasattr(leaf, "shape")]
    return ", ".join(shapes) or type(out).__name__
