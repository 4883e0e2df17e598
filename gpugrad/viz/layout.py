"""Places for the boxes of a directed graph, left to right, and routes for its edges.

The classical four steps (Sugiyama's): a layer for each box by its longest path, an order within
each layer that has few crossings, positions near the neighbours' without overlap, and routes that
pass between the boxes of the layers they cross. An edge over several layers holds a lane in each
of them; edges from one box share their lanes and branch off, as a bus does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.optimize import isotonic_regression

BOX_GAP = 22.0  # between boxes of one layer
LANE = 16.0  # height of a lane through a layer
PORT = 20.0  # between the ends of edges at one box
COLUMN_GAP = 48.0
STUB = 12.0  # edges leave and enter boxes level

Point = tuple[float, float]


class Route(NamedTuple):
    """An edge as the points where it enters and leaves the layers: start, …, end.

    From an even point to the next (odd) one it crosses a gap between layers; from an odd one to
    the next it runs straight through a layer. The first and last are on the boxes.
    """

    points: tuple[Point, ...]


class Layout(NamedTuple):
    """Upper left corners of the boxes, routes of the edges, and the size of it all."""

    corners: tuple[Point, ...]
    routes: tuple[Route, ...]
    width: float
    height: float


class _Link(NamedTuple):
    """One step of an edge, from a layer to the next; ``copy`` tells parallel ones apart."""

    tail: int
    head: int
    copy: int


def place(
    sizes: Sequence[tuple[float, float]],
    edges: Sequence[tuple[int, int]],
    labels: Sequence[float] | None = None,
    port: float = PORT,
) -> Layout:
    """Lay out boxes of these (width, height); edges lead from lower numbers to higher ones.

    ``labels`` are widths of what stands at the heads of the edges, which the gaps before them
    leave room for; ``port`` is the distance between the ends of edges at one box.
    """
    layer = _layers(len(sizes), edges)
    heights = [h for _, h in sizes]
    chains = _lanes(layer, heights, edges)
    links = list(dict.fromkeys(link for chain in chains for link in chain))
    layers: list[list[int]] = [[] for _ in range(max(layer) + 1)]
    for v, at in enumerate(layer):
        layers[at].append(v)
    _order(layers, links)
    y = _heights(layers, heights, links, len(sizes))
    left, right = _columns(layers, layer, sizes, links, _gaps(layer, edges, labels))
    tails, heads = _ports(links, y, heights, len(sizes), port)
    corners = []
    for v, (w, h) in enumerate(sizes):
        middle = (left[layer[v]] + right[layer[v]]) / 2
        corners.append((middle - w / 2, y[v] - h / 2))
    routes = []
    for chain in chains:
        first, last = chain[0], chain[-1]
        points = [(corners[first.tail][0] + sizes[first.tail][0], tails[first])]
        for link in chain:
            points.append((right[layer[link.tail]] + STUB, tails[link]))
            points.append((left[layer[link.head]] - STUB, heads[link]))
        points.append((corners[last.head][0], heads[last]))
        routes.append(Route(tuple(points)))
    top = min(y[v] - heights[v] / 2 for v in range(len(heights)))
    bottom = max(y[v] + heights[v] / 2 for v in range(len(heights)))
    return Layout(
        tuple((a, b - top) for a, b in corners),
        tuple(Route(tuple((a, b - top) for a, b in r.points)) for r in routes),
        right[-1],
        bottom - top,
    )


def _layers(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """Longest path from the left; what has no parents stands just before its first use."""
    layer = [0] * count
    has_parents = [False] * count
    for tail, head in sorted(edges, key=lambda e: e[1]):
        layer[head] = max(layer[head], layer[tail] + 1)
        has_parents[head] = True
    first_use: dict[int, int] = {}
    for tail, head in edges:
        first_use[tail] = min(layer[head], first_use.get(tail, layer[head]))
    for v, use in first_use.items():
        if not has_parents[v]:
            layer[v] = use - 1
    return layer


def _lanes(
    layer: list[int], heights: list[float], edges: Sequence[tuple[int, int]]
) -> list[list[_Link]]:
    """The links of each edge; appends the lanes they need to ``layer`` and ``heights``."""
    lane: dict[tuple[int, int], int] = {}
    copies: dict[tuple[int, int], int] = defaultdict(int)
    chains = []
    for tail, head in edges:
        stops = [tail]
        for at in range(layer[tail] + 1, layer[head]):
            if (tail, at) not in lane:
                lane[tail, at] = len(layer)
                layer.append(at)
                heights.append(LANE)
            stops.append(lane[tail, at])
        chain = [_Link(a, b, 0) for a, b in pairwise([*stops, head])]
        copies[chain[-1][:2]] += 1
        chain[-1] = chain[-1]._replace(copy=copies[chain[-1][:2]])
        chains.append(chain)
    return chains


def _order(layers: list[list[int]], links: list[_Link]) -> None:
    """Sort each layer by the mean place of its neighbours, back and forth; keep the best order."""
    before, after = _neighbours(links)
    rank = {v: i for column in layers for i, v in enumerate(column)}
    best = [list(column) for column in layers]
    fewest = _crossings(layers, after, rank)
    for sweep in range(12):
        if fewest == 0:
            break
        rightward = sweep % 2 == 0
        beside = before if rightward else after
        for column in layers if rightward else reversed(layers):
            mean = {v: _mean([rank[u] for u in beside[v]], rank[v]) for v in column}
            column.sort(key=mean.__getitem__)
            rank.update({v: i for i, v in enumerate(column)})
        crossings = _crossings(layers, after, rank)
        if crossings < fewest:
            fewest, best = crossings, [list(column) for column in layers]
    layers[:] = best


def _neighbours(links: list[_Link]) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
    before: dict[int, list[int]] = defaultdict(list)
    after: dict[int, list[int]] = defaultdict(list)
    for link in links:
        before[link.head].append(link.tail)
        after[link.tail].append(link.head)
    return before, after


def _mean(values: list[int], otherwise: int) -> float:
    return sum(values) / len(values) if values else otherwise


def _crossings(layers: list[list[int]], after: dict[int, list[int]], rank: dict[int, int]) -> int:
    count = 0
    for column in layers:
        heads = [h for v in column for h in sorted(rank[u] for u in after[v])]
        for i, h in enumerate(heads):
            count += sum(other < h for other in heads[i + 1 :])
    return count


def _heights(
    layers: list[list[int]], heights: list[float], links: list[_Link], boxes: int
) -> list[float]:
    """The middle of each box and lane: near its neighbours', apart by what they need."""
    fed = {link.head for link in links}
    before: dict[int, list[tuple[int, float]]] = defaultdict(list)
    after: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for tail, head, _ in links:
        # What is computed runs straight on; inputs stand where there is room beside it.
        pull = 1.0 if min(tail, head) < boxes else 8.0
        before[head].append((tail, pull if tail in fed else 0.01))
        after[tail].append((head, pull))
    y = [0.0] * len(heights)
    offsets = []
    for column in layers:
        at = [0.0]
        for a, b in pairwise(column):
            gap = BOX_GAP if min(a, b) < boxes else 0.0
            at.append(at[-1] + (heights[a] + heights[b]) / 2 + gap)
        offsets.append(np.array(at))
        for v, place_of in zip(column, at):
            y[v] = place_of - at[-1] / 2
    weights = [np.array([1.0 if v in fed else 0.01 for v in column]) for column in layers]
    for sweep in range(20):
        rightward = sweep % 2 == 0
        for n in range(len(layers)) if rightward else reversed(range(len(layers))):
            wish = []
            for v in layers[n]:
                # Sides take turns, which carries a place along the whole graph; at last both count.
                near = (before[v] or after[v]) if rightward else (after[v] or before[v])
                if sweep >= 16:
                    near = before[v] + after[v]
                total = sum(w for _, w in near)
                wish.append(sum(y[u] * w for u, w in near) / total if near else y[v])
            # Least squares under a fixed order and least distances is isotonic regression.
            best = isotonic_regression(np.array(wish) - offsets[n], weights=weights[n]).x
            for v, place_of in zip(layers[n], best + offsets[n]):
                y[v] = float(place_of)
    return y


def _gaps(
    layer: list[int], edges: Sequence[tuple[int, int]], labels: Sequence[float] | None
) -> dict[int, float]:
    """The least gap before each layer that its edges' labels ask for."""
    gaps: dict[int, float] = {}
    for (_, head), label in zip(edges, labels or ()):
        gaps[layer[head]] = max(label, gaps.get(layer[head], 0.0))
    return gaps


def _columns(
    layers: list[list[int]],
    layer: list[int],
    sizes: Sequence[tuple[float, float]],
    links: list[_Link],
    gaps: dict[int, float],
) -> tuple[list[float], list[float]]:
    """Left and right side of each layer; a gap that many edges cross is wider."""
    crossing = [0] * len(layers)
    for link in links:
        crossing[layer[link.tail]] += 1
    left, right = [], []
    x = 0.0
    for column, crowd in zip(layers, crossing):
        left.append(x)
        right.append(x + max((sizes[v][0] for v in column if v < len(sizes)), default=0.0))
        x = right[-1] + max(gaps.get(len(left), 0.0), COLUMN_GAP + min(80.0, 4.0 * crowd))
    return left, right


def _ports(
    links: list[_Link], y: list[float], heights: list[float], boxes: int, port: float
) -> tuple[dict[_Link, float], dict[_Link, float]]:
    """Where each link starts and ends, in the order of its other ends, so that none cross."""
    tails: dict[_Link, float] = {}
    heads: dict[_Link, float] = {}
    for ends, here, there in ((tails, 0, 1), (heads, 1, 0)):
        at: dict[int, list[_Link]] = defaultdict(list)
        for link in links:
            at[link[here]].append(link)
        for v, mine in at.items():
            mine.sort(key=lambda link: (y[link[there]], link.copy))
            step = min(port, (heights[v] - 8) / len(mine)) if v < boxes else 0.0
            for i, link in enumerate(mine):
                ends[link] = y[v] + (i - (len(mine) - 1) / 2) * step
    return tails, heads
