"""The forward pass and the backward pass as steps in words: what an explorer's page shows."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import replace
from typing import Any

import numpy as np

from gpugrad.core.primitive import registry
from gpugrad.ops.elementwise import Elementwise
from gpugrad.viz.local import WRITTEN
from gpugrad.viz.model import Edge, Graph, Node, Numbers, Pull
from gpugrad.viz.picture import MINUS, number

TIMES = "\N{MULTIPLICATION SIGN}"
COLUMNS = 8
LABEL = 18
"""Factors of at most so many characters stand at their edges in full."""

_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def named_apart(graph: Graph) -> Graph:
    """The graph with numbers under labels that several nodes share: add₁, add₂."""
    count = Counter(node.label for node in graph.nodes)
    met: Counter[str] = Counter()
    nodes = []
    for node in graph.nodes:
        label = node.label
        if count[label] > 1:
            met[label] += 1
            label += str(met[label]).translate(_SUBSCRIPTS)
        nodes.append(replace(node, label=label))
    return replace(graph, nodes=tuple(nodes))


class Walk:
    """Steps through a graph whose labels are apart: each forward step, then each backward step.

    Attributes
    ----------
    graph
        What is walked through.
    factors
        What stands at each edge that carries a gradient, such as 2 times the operand.
    steps
        Dictionaries of ``phase``, ``node``, ``edges``, ``heading`` and ``say``.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.into: dict[int, list[int]] = defaultdict(list)
        self.users: dict[int, list[int]] = defaultdict(list)
        for i, edge in enumerate(graph.edges):
            self.into[edge.target].append(i)
            if edge.backward:
                self.users[edge.source].append(i)
        self.derivatives = {e: self._derivative(e) for e in graph.edges if e.backward}
        self.factors = {e: self._label(e, d) for e, d in self.derivatives.items()}
        self.steps = [*self._forward(), *self._backward()]

    def data(self) -> dict[str, Any]:
        """All of it as JSON has it."""
        at = {(step["phase"], step["node"]): i for i, step in enumerate(self.steps)}
        nodes = []
        for node in self.graph.nodes:
            arrived = [at["backward", self.graph.edges[e].target] for e in self.users[node.id]]
            start = at.get(("backward", node.id))
            nodes.append(
                {
                    "label": node.label,
                    "kind": node.kind,
                    "details": node.details,
                    "value": _array(node, node.value, node.value_range),
                    "gradient": _array(node, node.gradient, node.gradient_range),
                    "value_at": at["forward", node.id],
                    "gradient_at": max(arrived, default=start),
                    "backward_at": start,
                    "samples": self._samples(node),
                }
            )
        edges = [
            {
                "source": edge.source,
                "target": edge.target,
                "forward_at": at["forward", edge.target],
                "backward_at": at["backward", edge.target] if edge.backward else None,
                "pull": self._pull(edge) if edge in self.graph.pulls else None,
            }
            for edge in self.graph.edges
        ]
        return {"nodes": nodes, "edges": edges, "steps": self.steps}

    # ------------------------------------------------------------------ forward

    def _forward(self) -> list[dict[str, Any]]:
        """Each operation after the inputs that it is the first to use."""
        steps: list[dict[str, Any]] = []
        met: set[int] = set()
        for node in self.graph.nodes:
            if node.kind in ("input", "constant"):
                continue
            sources = [self.graph.edges[e].source for e in self.into[node.id]]
            for step in (*sources, node.id):
                if step not in met:
                    met.add(step)
                    steps.append(self._computed(self.graph.nodes[step]))
        left = [node for node in self.graph.nodes if node.id not in met]  # the result is an input
        return steps + [self._computed(node) for node in left]

    def _computed(self, node: Node) -> dict[str, Any]:
        shape = f" It has shape {node.shape}." if node.shape else ""
        if node.kind == "input":
            say = f"{node.label} is an input whose gradient is wanted.{shape}"
        elif node.kind == "constant":
            say = f"{node.label} is data: no gradient is asked for it.{shape}"
        else:
            say = f"{node.label} = {self._formula(node)}.{self._repeated(node)}"
            if node.value is not None and node.value.size == 1:
                say += f" It is {number(node.value.ravel()[0])}."
            elif node.shape:
                say += shape
            if node.kind == "output":
                say += " This is the result, L."
        return _step("forward", node, self.into[node.id], say)

    def _formula(self, node: Node) -> str:
        operands = [self.graph.edges[e] for e in self.into[node.id]]
        written = WRITTEN.get(self._primitive(node))
        if written is None:
            inside = [self.graph.nodes[e.source].label for e in operands]
            return f"{self._primitive(node)}({', '.join([*inside, *node.details])})"
        return self._with_names(written.formula, node)

    def _repeated(self, node: Node) -> str:
        operation = registry.get(self._primitive(node))
        if node.shape is None or not isinstance(operation, Elementwise):
            return ""
        for e in self.into[node.id]:
            source = self.graph.nodes[self.graph.edges[e].source]
            size = None if source.shape is None else int(np.prod(source.shape))
            if size is not None and 0 < size < np.prod(node.shape):
                times = int(np.prod(node.shape)) // size
                return f" {source.label} is repeated {times} times to fit."
        return ""

    def _primitive(self, node: Node) -> str:
        return node.label.rstrip("₀₁₂₃₄₅₆₇₈₉")

    def _with_names(self, text: str, node: Node) -> str:
        """A formula's a, b, x and y as what they are here: nodes, or the numbers in the box."""
        names = {"y": node.label}
        operands = [self.graph.edges[e] for e in self.into[node.id]]
        letters = "x" if len(WRITTEN[self._primitive(node)].derivatives) == 1 else "ab"
        for edge in operands:
            names[letters[edge.operand]] = self.graph.nodes[edge.source].label
        for detail in node.details:
            name, _, value = detail.partition(" = ")
            names.setdefault(name, value)
        return re.sub(r"\b[abxy](?![a-zA-Z])", lambda m: names.get(m[0], m[0]), text)

    # ------------------------------------------------------------------ backward

    def _backward(self) -> list[dict[str, Any]]:
        result = self.graph.output
        many = result.shape not in (None, ())
        seed = "Backward starts at the result: " + (
            f"L is the sum of the elements of {result.label}, so ∂L/∂{result.label} is 1 for each."
            if many
            else f"∂L/∂L is 1. {result.label} is L."
        )
        steps: list[dict[str, Any]] = []
        waiting = {source: len(edges) for source, edges in self.users.items()}
        for node in reversed(self.graph.nodes):
            edges = [e for e in self.into[node.id] if self.graph.edges[e].backward]
            if node.kind == "input" or not (edges or node.gradient_rms is not None):
                continue
            says = [seed] if node is result else []
            for e in edges:
                says.append(self._sent(self.graph.edges[e], waiting))
                waiting[self.graph.edges[e].source] -= 1
            steps.append(_step("backward", node, edges, " ".join(says)))
            for n in dict.fromkeys(self.graph.edges[e].source for e in edges):
                source = self.graph.nodes[n]
                if source.kind == "input" and not waiting[n]:
                    steps.append(_step("backward", source, [], self._complete(source)))
        return steps

    def _sent(self, edge: Edge, waiting: dict[int, int]) -> str:
        """One sentence: the local derivative, and what the operand receives."""
        target, source = (self.graph.nodes[n].label for n in (edge.target, edge.source))
        pull, d = self.graph.pulls.get(edge), self.derivatives[edge]
        arriving = f"∂L/∂{target}"
        name = pull.primitive if pull is not None else ""
        if name in ("matmul", "dot") and d:
            product = f"{arriving} · {d}" if edge.operand == 0 else f"{d} · {arriving}"
            say = f"∂{target}/∂{source} is a product with {d}: {source} receives {product}"
            if pull is not None and pull.terms is not None:
                say += f", a sum of {len(pull.terms)} terms, one a row"
        elif name == "mean" and pull is not None:
            say = (
                f"∂{target}/∂{source} = {d}: each of the {d[2:]} numbers that are averaged "
                f"receives {d} of the gradient"
            )
        elif d == "1":
            say = f"∂{target}/∂{source} = 1: the gradient passes on to {source} as it is"
        elif d == MINUS + "1":
            say = f"∂{target}/∂{source} = {d}: {source} receives the gradient with its sign turned"
        elif d:
            say = (
                f"∂{target}/∂{source} = {d}, so {source} receives {arriving} {TIMES} {_grouped(d)}"
            )
        else:
            say = f"{source} receives what the rule of {name or target} makes of {arriving}"
        if pull is not None and pull.product is not None:
            say += ", summed over what was repeated"
        uses = len(self.users[edge.source])
        if uses > 1:
            say += (
                f"; it is number {uses - waiting[edge.source] + 1} of {uses} gradients that add up"
            )
        return say + "."

    def _complete(self, node: Node) -> str:
        say = f"∂L/∂{node.label} is complete."
        samples = self._samples(node)
        if samples:
            say += (
                f" It is the mean gradient over all {samples} samples: the sum of one term a "
                f"sample, each of which holds its 1/{samples} of the mean."
            )
        return say

    def _samples(self, node: Node) -> int:
        """How many samples' gradients the node's is the mean of, 0 if that is not evident."""
        result = self.graph.output
        edges = [self.graph.edges[e] for e in self.users[node.id]]
        averaged = [self.graph.nodes[self.graph.edges[e].source] for e in self.into[result.id]]
        if self._primitive(result) != "mean" or result.shape != () or len(edges) != 1:
            return 0
        pull = self.graph.pulls.get(edges[0])
        shape = averaged[0].shape
        if pull is None or pull.terms is None or not shape or shape[0] != len(pull.terms):
            return 0
        return len(pull.terms)

    def _derivative(self, edge: Edge) -> str:
        """The local derivative in the nodes' names; empty where it has no written form."""
        pull, node = self.graph.pulls.get(edge), self.graph.nodes[edge.target]
        if pull is None:
            return ""
        if pull.primitive == "mean":
            return f"1/{_size(pull.sent) // max(1, int(np.prod(node.shape or ())))}"
        written = WRITTEN.get(pull.primitive)
        if written is None or self._primitive(node) != pull.primitive:
            return ""
        return self._with_names(written.derivatives[edge.operand], node)

    def _label(self, edge: Edge, derivative: str) -> str:
        pull = self.graph.pulls.get(edge)
        if pull is None:
            return ""
        if pull.primitive in ("matmul", "dot") and len(derivative) < LABEL:
            return f"· {derivative}" if edge.operand == 0 else f"{derivative} ·"
        same = None if pull.factor is None else pull.factor.values
        if not re.fullmatch(r"1/\d+", derivative) and same is not None and same.size:
            first = same.ravel()[0]
            if np.all(same == first):
                return f"{TIMES} {number(first)}"
        return f"{TIMES} {_grouped(derivative) if 0 < len(derivative) <= LABEL else '…'}"

    def _pull(self, edge: Edge) -> dict[str, Any]:
        pull, d = self.graph.pulls[edge], self.derivatives[edge]
        matrix = pull.primitive in ("matmul", "dot") and bool(d)
        factor = _array(pull.factor)
        if matrix:
            others = [self.graph.edges[e] for e in self.into[edge.target]]
            other = next((e.source for e in others if e.operand != edge.operand), None)
            factor = None if other is None else _transposed(self.graph.nodes[other])
        return {
            "derivative": d,
            "left": matrix and edge.operand == 1,
            "sign": "·" if matrix else TIMES,
            "factor": factor,
            "sent": _array(pull.sent),
            "product": _array(pull.product),
            "terms": _terms(pull),
        }


def _step(phase: str, node: Node, edges: list[int], say: str) -> dict[str, Any]:
    return {"phase": phase, "node": node.id, "edges": edges, "heading": node.label, "say": say}


def _grouped(formula: str) -> str:
    return f"({formula})" if " " in formula and not formula.startswith("(") else formula


def _size(numbers: Numbers) -> int:
    return int(np.prod(numbers.shape))


def _terms(pull: Pull) -> list[list[list[Any]]] | None:
    if pull.terms is None:
        return None
    return [_cells(np.reshape(term, pull.sent.shape)) for term in pull.terms]


def _transposed(node: Node) -> dict[str, Any] | None:
    if node.value is None or node.value.ndim != 2:
        return _array(node, node.value, node.value_range)
    shape = node.value.shape[::-1]
    return _array(replace(node, shape=shape), node.value.T, None)


def _array(
    like: Node | Numbers | None,
    values: np.ndarray[Any, Any] | None = None,
    span: tuple[float, float, float] | None = None,
) -> dict[str, Any] | None:
    """Shape, dtype, and all elements or their range."""
    if isinstance(like, Numbers):
        values, span = like.values, like.range
    if like is None or like.shape is None or like.dtype is None:
        return None
    if values is None and span is None:
        return None
    return {
        "shape": like.shape,
        "dtype": str(like.dtype),
        "cells": None if values is None else _cells(values),
        "range": None if span is None else [_plain(v) for v in span],
    }


def _cells(values: np.ndarray[Any, Any]) -> list[list[Any]]:
    """The elements in rows; more than two dimensions below one another."""
    flat = [_plain(v) for v in np.asarray(values).ravel().tolist()]
    columns = values.shape[-1] if values.ndim > 1 else COLUMNS
    return [flat[i : i + columns] for i in range(0, len(flat), columns)] if columns else []


def _plain(value: Any) -> Any:
    """What JSON can hold: numbers that are finite, else text."""
    if isinstance(value, bool | complex) or not np.isfinite(value):
        return number(value)
    return value
