"""The explorer's page: its text, style and script are files beside this one."""

from __future__ import annotations

import json
import re
from html import escape
from importlib.resources import files

from gpugrad.viz.model import Graph
from gpugrad.viz.picture import compose_steps
from gpugrad.viz.svg import inline
from gpugrad.viz.walk import Walk, named_apart


def render(graph: Graph, title: str) -> str:
    """One HTML document that needs nothing else."""
    graph = named_apart(graph)
    walk = Walk(graph)
    name = f"Computational graph of {len(graph.nodes)} nodes that ends in {graph.output.label}"
    data = json.dumps(walk.data(), ensure_ascii=False, allow_nan=False)
    parts = {
        "title": escape(title),
        "style": _file("page.css"),
        "script": _file("page.js"),
        "svg": inline(compose_steps(graph, walk.factors), name),
        "data": data.replace("<", "\\u003c"),  # so that no text in it ends the script element
    }
    return re.sub("@(title|style|script|svg|data)@", lambda m: parts[m[1]], _file("page.html"))


def _file(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
