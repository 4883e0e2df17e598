"""Pictures as SVG text."""

from __future__ import annotations

from itertools import groupby
from xml.sax.saxutils import escape, quoteattr

from gpugrad.viz.picture import Box, Line, Picture, Text

_FONT = "'DejaVu Sans', Verdana, 'Helvetica Neue', Arial, sans-serif"


def render(picture: Picture) -> str:
    """The picture as an SVG document."""
    w, h = round(picture.width), round(picture.height)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{w}" height="{h}" '
        f'viewBox="0 0 {w} {h}" font-family="{_FONT}">',
        f'<rect width="{w}" height="{h}" fill="#ffffff"/>',
    ]
    return "\n".join([*lines, *map(_shape, picture.shapes), "</svg>\n"])


def inline(picture: Picture, name: str) -> str:
    """The picture as part of a page, which styles it: shapes of a role are a group of that class.

    ``name`` is what a screen reader says.
    """
    w, h = round(picture.width), round(picture.height)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h}" width="{w}" height="{h}" '
        f'font-family="{_FONT}" role="img" aria-label={quoteattr(name)}>'
    ]
    for role, shapes in groupby(picture.shapes, key=lambda shape: shape.role):
        lines += [f'<g class="{role}">', *map(_shape, shapes), "</g>"]
    return "\n".join([*lines, "</svg>"])


def _shape(shape: Box | Line | Text) -> str:
    if isinstance(shape, Box):
        return _box(shape)
    return _line(shape) if isinstance(shape, Line) else _text(shape)


def _box(box: Box) -> str:
    style = box.style
    rect = (
        f'<rect x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" '
        f'height="{box.height:.1f}" rx="{style.radius:g}" fill="{style.fill}" '
        f'stroke="{style.stroke}" stroke-width="{style.line:g}"'
    )
    return f"{rect}><title>{escape(box.hint)}</title></rect>" if box.hint else f"{rect}/>"


def _line(line: Line) -> str:
    points = line.shaft
    x, y = points[0]
    steps = [f"M{x:.1f} {y:.1f}"]
    for i, (x, y) in enumerate(points[1:]):
        if i in line.curves:
            bend = line.curves[i]
            steps.append(f"C{bend:.1f} {points[i][1]:.1f} {bend:.1f} {y:.1f} {x:.1f} {y:.1f}")
        else:
            steps.append(f"L{x:.1f} {y:.1f}")
    dash = ' stroke-dasharray="6 4"' if line.dashed else ""
    path = (
        f'<path d="{" ".join(steps)}" fill="none" stroke="{line.colour}" '
        f'stroke-width="{line.width:.2f}"{dash}/>'
    )
    if not line.arrow:
        return path
    corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in line.head)
    return f'{path}<polygon points="{corners}" fill="{line.colour}"/>'


def _text(text: Text) -> str:
    weight = ' font-weight="700"' if text.bold else ""
    return (
        f'<text x="{text.x:.1f}" y="{text.y:.1f}" font-size="{text.size:g}" '
        f'fill="{text.colour}" text-anchor="{text.anchor}"{weight}>{escape(text.text)}</text>'
    )
