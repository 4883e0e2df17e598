"""Pictures of a run: how it went, and what the model gets wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpugrad.training.files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gpugrad.training.record import Record

_MOST = 24
"""More misclassified images than this would be too small to see."""


def draw_curve(records: Sequence[Record], path: Path) -> None:
    """Draw the losses in one panel, each other held-out figure in its own, over epochs or steps."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    losses = [name for name in records[-1].held_out if name.endswith("loss")]
    others = [name for name in records[-1].held_out if name not in losses]
    figure = Figure(figsize=(4.6 * (1 + len(others)), 3.8), layout="constrained")
    panels = list(figure.subplots(1, 1 + len(others), squeeze=False).flat)
    unit = "epoch" if len({r.epoch for r in records}) == len(records) else "step"
    at = [getattr(r, unit) for r in records]
    few = "o" if len(at) < 3 else ""  # a line through one point is invisible
    panels[0].plot(at, [r.loss for r in records], marker=few, label="training loss")
    for name in losses:
        values = [r.held_out[name] for r in records]
        panels[0].plot(at, values, marker=few, label=name.replace("_", " "))
    # A text of one letter costs nothing from the first step, which has no place on such a scale.
    scale = "log" if all(min(line.get_ydata()) > 0 for line in panels[0].lines) else "linear"
    panels[0].set(yscale=scale, ylabel="loss", title="Loss")
    panels[0].legend()
    for axes, name in zip(panels[1:], others, strict=True):
        values = [r.held_out[name] for r in records]
        told = f"{values[-1]:.2%}" if name.endswith("accuracy") else f"{values[-1]:.4g}"
        words = name.replace("_", " ")
        axes.plot(at, values, marker=few, color="C1")
        axes.set(ylabel=words, title=f"{words.capitalize()}: {told} at the end")
        if name.endswith("accuracy"):
            axes.yaxis.set_major_formatter(PercentFormatter(1))
    for axes in panels:
        axes.set_xlabel(unit)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
    _save(figure, path)


def draw_misclassified(images: Any, predicted: Any, true: Any, path: Path) -> None:
    """Draw the images that were taken for something else.

    Parameters
    ----------
    images : array
        All that were judged, of shape (N, height, width), on the host.
    predicted, true : array of int
        What each was taken for, and what it is.
    path : Path
        The PNG to write.
    """
    from matplotlib.figure import Figure

    wrong = (predicted != true).nonzero()[0]
    shown = wrong[:_MOST]
    columns = min(max(len(shown), 4), 8)
    rows = max(-(-len(shown) // columns), 1)
    figure = Figure(figsize=(1.3 * columns, 1.7 * rows + 0.6), layout="constrained")
    first = "" if len(shown) == len(wrong) else f", the first {_MOST} of them"
    figure.suptitle(f"{len(wrong)} of {len(true)} held-out digits misclassified{first}")
    cells = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in cells:
        axes.set_axis_off()
    for axes, at in zip(cells, shown, strict=False):
        axes.imshow(images[at], cmap="gray_r", vmin=0, vmax=1)
        axes.set_title(f"predicted {predicted[at]}\ntrue {true[at]}", fontsize=9)
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    with replacing(path) as unfinished:
        figure.savefig(unfinished, dpi=150)
