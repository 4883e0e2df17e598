"""A graph as a list of shapes on a sheet, which `svg` and `png` draw alike."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from matplotlib.font_manager import FontProperties, findfont, get_font

from gpugrad.viz.layout import PORT, Layout, Point, place
from gpugrad.viz.model import SMALL, Edge, Graph, Kind, Node

INK = "#1f2933"
QUIET = "#66727f"
FORWARD = "#2f6db5"
BACKWARD = "#c8372d"

MARGIN = 28.0
PADDING = 10.0
APART = 4.5  # half the distance between an edge's two directions
ARROW = 8.0

TITLE, NUMBER, NOTE = 13.0, 11.5, 10.5  # font sizes
COLUMN_SPACE = 10.0
MINUS = "\N{MINUS SIGN}"


class Style(NamedTuple):
    """How a kind of node is drawn."""

    fill: str
    stroke: str
    line: float
    radius: float
    name: str


STYLES: dict[Kind, Style] = {
    "input": Style("#e3eefb", "#2f6db5", 1.4, 14.0, "input"),
    "constant": Style("#f1f3f5", "#b3bcc5", 1.0, 14.0, "constant"),
    "operation": Style("#ffffff", "#4a5561", 1.2, 4.0, "operation"),
    "output": Style("#ffefc9", "#c98a0c", 2.4, 4.0, "result"),
}


@dataclass(frozen=True)
class Box:
    """A rectangle with round corners."""

    x: float
    y: float
    width: float
    height: float
    style: Style
    hint: str = ""
    role: str = ""
    """What a page's style and steps find the shape by; so have lines and texts one."""


@dataclass(frozen=True)
class Line:
    """A way through ``points``: straight, or where ``curves`` holds the step's number, cubic.

    A curve from one point to the next bends about the given x.
    """

    points: tuple[Point, ...]
    curves: dict[int, float]
    colour: str
    width: float
    dashed: bool
    arrow: bool = True
    role: str = ""

    @property
    def head(self) -> tuple[Point, ...]:
        """The corners of the arrow's head, none without one; lines with a head end level."""
        if not self.arrow:
            return ()
        (a, _), (x, y) = self.points[-2:]
        back = x - math.copysign(ARROW, x - a)
        return (x, y), (back, y - ARROW * 0.42), (back, y + ARROW * 0.42)

    @property
    def shaft(self) -> tuple[Point, ...]:
        """The points without what the head covers."""
        if not self.arrow:
            return self.points
        (x, y), (back, _), _ = self.head
        return (*self.points[:-1], ((x + back) / 2, y))


@dataclass(frozen=True)
class Text:
    """One line of text; ``y`` is its baseline."""

    x: float
    y: float
    text: str
    size: float = NOTE
    colour: str = INK
    bold: bool = False
    anchor: str = "start"
    role: str = ""


@dataclass(frozen=True)
class Picture:
    """Shapes in the order they are drawn, and the sheet's size in pixels."""

    width: float
    height: float
    shapes: tuple[Box | Line | Text, ...]
    layout: Layout
    sizes: tuple[tuple[float, float], ...]


@lru_cache(maxsize=4096)
def text_width(text: str, size: float, bold: bool = False) -> float:
    """Pixels that a text takes in the picture's font."""
    font = get_font(findfont(FontProperties(family="DejaVu Sans", weight=700 if bold else 400)))
    font.set_size(size, 72)
    font.set_text(text)
    return float(font.get_width_height()[0]) / 64


def compose(graph: Graph) -> Picture:
    """Lay the graph out and draw it."""
    cards, sizes, layout = _place(graph)
    thickness = _thickness(graph)
    shapes: list[Box | Line | Text] = []
    there: set[tuple[Point, Point]] = set()
    back: set[tuple[Point, Point]] = set()
    for edge, route in zip(graph.edges, layout.routes):
        points = [(x + MARGIN, y + MARGIN) for x, y in route.points]
        shapes.append(_line(points, _branch(points, there), -APART, FORWARD, 1.4))
        if edge.backward:
            width = thickness[edge.source]
            shapes.append(_line(points, _branch(points, back), APART, BACKWARD, width))
    for card, (x, y), (w, h) in zip(cards, layout.corners, sizes):
        shapes += card.draw(x + MARGIN, y + MARGIN, w, h)
    legend, across = _legend(graph, MARGIN, layout.height + 2 * MARGIN + 14)
    width = max(layout.width + 2 * MARGIN, across + MARGIN)
    return Picture(width, layout.height + 3 * MARGIN + 18, (*shapes, *legend), layout, sizes)


def compose_steps(graph: Graph, factors: Mapping[Edge, str]) -> Picture:
    """The graph for a page that lights it step by step: each edge whole, with its factor.

    Each shape's ``role`` says what it belongs to: ``n3`` is node 3, ``e5`` edge 5.
    """
    labels = [text_width(factors[e], NOTE) + 24 if e in factors else 0.0 for e in graph.edges]
    cards, sizes, layout = _place(graph, labels, 2 * PORT)
    shapes: list[Box | Line | Text] = []
    beside: list[Text] = []  # over all lines
    for i, (edge, route) in enumerate(zip(graph.edges, layout.routes)):
        points = [(x + MARGIN, y + MARGIN) for x, y in route.points]
        there = _line(points, 0, -APART, FORWARD, 1.6)
        shapes.append(replace(there, role=f"forward e{i}"))
        if edge.backward:
            back = _line(points, 0, APART, BACKWARD, 1.6)
            shapes.append(replace(back, dashed=False, role=f"backward e{i}"))
        if edge in factors:
            x, y = points[-1]
            factor = Text(x - 12, y + APART + 12, factors[edge], NOTE, BACKWARD, anchor="end")
            beside.append(replace(factor, role=f"factor e{i}"))
    shapes += beside
    for card, (x, y), (w, h) in zip(cards, layout.corners, sizes):
        shapes += card.draw(x + MARGIN, y + MARGIN, w, h)
    width, height = layout.width + 2 * MARGIN, layout.height + 2 * MARGIN
    return Picture(width, height, tuple(shapes), layout, sizes)


def _place(
    graph: Graph, labels: Sequence[float] | None = None, port: float = PORT
) -> tuple[list[_Card], tuple[tuple[float, float], ...], Layout]:
    usual = graph.output.dtype
    cards = [_Card(node, usual) for node in graph.nodes]
    sizes = _with_room_for_ports(cards, graph, port)
    return cards, sizes, place(sizes, [(e.source, e.target) for e in graph.edges], labels, port)


def _with_room_for_ports(
    cards: list[_Card], graph: Graph, port: float
) -> tuple[tuple[float, float], ...]:
    arriving = [0] * len(cards)
    leaving = [0] * len(cards)
    for edge in graph.edges:
        arriving[edge.target] += 1
        leaving[edge.source] += 1
    return tuple(
        (card.width, max(card.height, 8 + max(port * a, PORT * min(b, 8))))
        for card, a, b in zip(cards, arriving, leaving)
    )


class _Card:
    """What stands in a node's box, and how large that makes it."""

    def __init__(self, node: Node, usual: np.dtype[Any] | None) -> None:
        self.node = node
        small = node.kind == "constant"
        self.title = (_short(node.label, 28), NOTE if small else TITLE, not small)
        self.notes = [_short(note, 28) for note in (_kind_of(node, usual), *node.details) if note]
        self.tables = []
        if node.value is not None and 0 < node.value.size <= SMALL:
            self.tables.append(("value", INK, _rows(node.value)))
        if node.gradient is not None and 0 < node.gradient.size <= SMALL:
            self.tables.append(("grad", BACKWARD, _rows(node.gradient)))
        cells = [cell for *_, rows in self.tables for row in rows for cell in row]
        self.cell = max([text_width(cell, NUMBER) for cell in cells], default=0.0)
        columns = max([len(row) for *_, rows in self.tables for row in rows], default=0)
        self.lead = max([text_width(t[0], NOTE) for t in self.tables], default=0.0)
        table = self.lead + columns * (self.cell + COLUMN_SPACE)
        texts = [text_width(*self.title)] + [text_width(note, NOTE) for note in self.notes]
        self.width = max(64.0, table, *texts) + 2 * PADDING
        lines = sum(len(rows) for *_, rows in self.tables)
        self.height = 2 * PADDING + 13 + 15 * len(self.notes) + 16 * lines + 5 * len(self.tables)

    def draw(self, x: float, y: float, width: float, height: float) -> list[Box | Text]:
        """The shapes, with the box's upper left corner at (x, y)."""
        me = f"n{self.node.id}"
        style = STYLES[self.node.kind]
        box = Box(x, y, width, height, style, self.hint, f"box {self.node.kind} {me}")
        shapes: list[Box | Text] = [box]
        title, size, bold = self.title
        at = y + (height - self.height) / 2 + PADDING + 10.5
        shapes.append(Text(x + width / 2, at, title, size, INK, bold, "middle", f"title {me}"))
        for note in self.notes:
            at += 15
            shapes.append(Text(x + width / 2, at, note, NOTE, QUIET, False, "middle", f"note {me}"))
        for name, colour, rows in self.tables:
            at += 5
            columns = max(len(row) for row in rows)
            inside = self.lead + columns * (self.cell + COLUMN_SPACE)
            start = x + (width - inside) / 2
            role = f"{name} {me}"
            lead = QUIET if colour == INK else colour
            shapes.append(Text(start, at + 16, name, NOTE, lead, role=role))
            for row in rows:
                at += 16
                for i, cell in enumerate(row, 1):
                    end = start + self.lead + i * (self.cell + COLUMN_SPACE)
                    shapes.append(Text(end, at, cell, NUMBER, colour, False, "end", role))
        return shapes

    @property
    def hint(self) -> str:
        """Everything in one line, for the pointer that rests on the node."""
        node = self.node
        parts = [node.label, _kind_of(node), *node.details]
        if node.gradient_rms is not None:
            parts.append(f"root mean square of the gradient {node.gradient_rms:.3g}")
        return ", ".join(part for part in parts if part)


def _kind_of(node: Node, usual: np.dtype[Any] | None = None) -> str:
    """Shape and dtype, without the dtype if it is the usual one."""
    if node.shape is None:
        return ""
    shape = str(node.shape) if node.shape else "scalar"
    return shape if node.dtype == usual else f"{node.dtype} {shape}"


def _short(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _rows(values: np.ndarray[Any, Any]) -> list[list[str]]:
    """Up to six numbers in rows of at most three."""
    if values.ndim >= 2 and values.shape[-1] <= 3:
        table = values.reshape(-1, values.shape[-1])
        return [[number(v) for v in row] for row in table]
    flat = [number(v) for v in values.ravel()]
    step = 3 if len(flat) != 4 else 2
    return [flat[i : i + step] for i in range(0, len(flat), step)]


def number(value: Any) -> str:
    """A number in three significant digits.

    Examples
    --------
    >>> [number(v) for v in (0.0, 1.25, 1234.5, 3e8, 7, True)]
    ['0', '1.25', '1230', '3e8', '7', 'True']
    """
    if isinstance(value, bool | np.bool_ | int | np.integer):
        text = str(value)
    elif np.iscomplexobj(value):
        text = f"{complex(value):.3g}"
    else:
        number = float(value)
        size = abs(number)
        if 1000 <= size < 1e6:
            text = f"{float(f'{number:.3g}'):.0f}"
        else:
            text = f"{number:.3g}"
            if "e" in text:
                digits, exponent = text.split("e")
                text = f"{digits}e{int(exponent)}"
    return "0" if text == "-0" else text.replace("-", MINUS)


def _thickness(graph: Graph) -> list[float]:
    """Widths of the backward edges: from the smallest gradient to the largest, up to 4 decades."""
    sizes = [node.gradient_rms for node in graph.nodes]
    logs = [math.log10(s) if s and math.isfinite(s) else None for s in sizes]
    known = [v for v in logs if v is not None]
    high = max(known, default=0.0)
    low = max(min(known, default=0.0), high - 4)
    span = high - low or 1.0
    return [1.0 if v is None else 1.0 + 1.8 * max(0.0, (v - low) / span) for v in logs]


def _branch(points: list[Point], drawn: set[tuple[Point, Point]]) -> int:
    """Where an edge leaves the lanes that it shares with one already drawn, as a point's number."""
    gaps = [(points[i], points[i + 1]) for i in range(1, len(points) - 1, 2)]
    shared = next((n for n, gap in enumerate(gaps) if gap not in drawn), len(gaps))
    drawn.update(gaps)
    return 2 * shared + 1 if shared else 0


def _line(points: list[Point], start: int, shift: float, colour: str, width: float) -> Line:
    """One direction of an edge from point ``start`` on, beside the middle of its route.

    Steep parts are shifted sideways too, so that both directions stay apart.
    """
    curves = {}
    for i in range(start | 1, len(points) - 1, 2):
        (x0, y0), (x1, y1) = points[i], points[i + 1]
        drop = max(-1.0, min(1.0, (y1 - y0) / 30))
        curves[i - start] = (x0 + x1) / 2 - shift * drop
    moved = [(x, y + shift) for x, y in points[start:]]
    backward = colour == BACKWARD  # from the loss to the inputs
    if backward:
        last = len(moved) - 2
        moved.reverse()
        curves = {last - i: x for i, x in curves.items()}
    return Line(tuple(moved), curves, colour, width, backward, arrow=not (backward and start))


def _legend(graph: Graph, x: float, y: float) -> tuple[list[Box | Line | Text], float]:
    """A row of samples; also returns where it ends."""
    shapes: list[Box | Line | Text] = []
    kinds = {node.kind for node in graph.nodes}
    for kind, style in STYLES.items():
        if kind in kinds:
            shapes.append(Box(x, y - 10, 22, 14, style._replace(radius=min(style.radius, 7))))
            shapes.append(Text(x + 29, y + 1, style.name, NOTE, QUIET))
            x += 29 + text_width(style.name, NOTE) + 24
    entries = [("forward: values", FORWARD, False)]
    if any(edge.backward for edge in graph.edges):
        entries.append(("backward: gradients, thicker where larger", BACKWARD, True))
    for name, colour, dashed in entries:
        ends = [(x, y - 3), (x + 38, y - 3)]
        shapes.append(Line(tuple(ends[::-1] if dashed else ends), {}, colour, 1.6, dashed))
        shapes.append(Text(x + 46, y + 1, name, NOTE, colour))
        x += 46 + text_width(name, NOTE) + 24
    if graph.output.dtype is not None:
        note = f"{graph.output.dtype} unless noted"
        shapes.append(Text(x, y + 1, note, NOTE, QUIET))
        x += text_width(note, NOTE) + 24
    return shapes, x - 24
