"""Progress on a terminal, live; one plain line a report anywhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gpugrad.training.record import Record

_BAR = 10
"""The bar's length in characters."""


@contextmanager
def progress(total: int, unit: str = "epoch") -> Iterator[Callable[[Record], None]]:
    """Give a function that shows each record as it comes.

    Parameters
    ----------
    total : int
        How many epochs or steps there will be.
    unit : {"epoch", "step"}
        Which of the two is counted.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    console = Console()
    if not console.is_terminal:
        wide = len(str(total))
        yield lambda record: print(
            f"{unit} {getattr(record, unit):>{wide}}/{total}  {_line(record)}", flush=True
        )
        return
    columns = (
        TextColumn(unit),
        MofNCompleteColumn(),
        BarColumn(_BAR),
        TextColumn("{task.fields[line]}"),
    )
    taken = len(unit) + 2 * len(str(total)) + 1 + _BAR + 3
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=total, line="")

        def show(record: Record) -> None:
            # Where the window is narrow the figures' end goes, not the count or the bar.
            line = _line(record)[: max(0, console.width - taken)]
            bar.update(task, completed=getattr(record, unit), line=line)

        yield show


def _line(record: Record) -> str:
    figures = [f"loss {record.loss:.4f}"]
    for name, value in record.held_out.items():
        # Errors are in the target's unit, whatever its size; losses are around 1.
        told = f"{value:.4f}" if name.endswith("loss") else f"{value:.4g}"
        if name.endswith("accuracy"):
            told = f"{value:.2%}"
        figures.append(f"{name.replace('_', ' ')} {told}")
    return "  ".join(
        [*figures, f"{record.samples_per_second:,.0f} samples/s", record.device],
    )
