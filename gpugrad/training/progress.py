"""Progress on a terminal, live; one plain line a report anywhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gpugrad.training.record import Record


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
        BarColumn(20),
        TextColumn("{task.fields[line]}"),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=total, line="")
        yield lambda record: bar.update(task, completed=getattr(record, unit), line=_line(record))


def _line(record: Record) -> str:
    figures = [f"loss {record.loss:.4f}"]
    for name, value in record.held_out.items():
        told = f"{value:.2%}" if name.endswith("accuracy") else f"{value:.4f}"
        figures.append(f"{name.replace('_', ' ')} {told}")
    return "  ".join(
        [*figures, f"{record.samples_per_second:,.0f} samples/s", record.device],
    )
