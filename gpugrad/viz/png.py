"""Pictures as PNG files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, PathPatch, Polygon
from matplotlib.path import Path as Way

from gpugrad.viz.picture import Box, Line, Picture, Text

DPI = 72.0  # so that a pixel of the picture is a point, in which fonts and lines are measured
MOST_PIXELS = 4e7
LONGEST_SIDE = 60_000


def write(picture: Picture, path: Path) -> None:
    """Draw the picture at twice its size, less where that would be too large an image."""
    w, h = picture.width, picture.height
    scale = min(2.0, LONGEST_SIDE / max(w, h), (MOST_PIXELS / (w * h)) ** 0.5)
    figure = Figure(figsize=(w / DPI, h / DPI), dpi=DPI * scale, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, w)
    axes.set_ylim(h, 0)
    axes.axis("off")
    for order, shape in enumerate(picture.shapes):
        if isinstance(shape, Box):
            _box(axes, shape, order)
        elif isinstance(shape, Line):
            _line(axes, shape, order)
        else:
            _text(axes, shape, order)
    figure.savefig(path, format="png")


def _box(axes: Any, box: Box, order: int) -> None:
    style = box.style
    axes.add_patch(
        FancyBboxPatch(
            (box.x, box.y),
            box.width,
            box.height,
            boxstyle=f"round,pad=0,rounding_size={style.radius}",
            facecolor=style.fill,
            edgecolor=style.stroke,
            linewidth=style.line,
            zorder=order,
        )
    )


def _line(axes: Any, line: Line, order: int) -> None:
    points = line.shaft
    vertices, codes = [points[0]], [Way.MOVETO]
    for i, (x, y) in enumerate(points[1:]):
        if i in line.curves:
            bend = line.curves[i]
            vertices += [(bend, points[i][1]), (bend, y), (x, y)]
            codes += [Way.CURVE4] * 3
        else:
            vertices.append((x, y))
            codes.append(Way.LINETO)
    axes.add_patch(
        PathPatch(
            Way(vertices, codes),
            fill=False,
            edgecolor=line.colour,
            linewidth=line.width,
            linestyle=(0, (6 / line.width, 4 / line.width)) if line.dashed else "-",
            capstyle="butt",
            zorder=order,
        )
    )
    if line.arrow:
        axes.add_patch(Polygon(line.head, facecolor=line.colour, edgecolor="none", zorder=order))


def _text(axes: Any, text: Text, order: int) -> None:
    axes.text(
        text.x,
        text.y,
        text.text,
        fontsize=text.size,
        color=text.colour,
        fontweight=700 if text.bold else 400,
        fontfamily="DejaVu Sans",
        horizontalalignment={"start": "left", "middle": "center", "end": "right"}[text.anchor],
        verticalalignment="baseline",
        parse_math=False,
        zorder=order,
    )
