"""Progress on a terminal, live; one plain line an epoch anywhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gpugrad.training.record import Record


@contextmanager
def progress(epochs: int) -> Iterator[Callable[[Record], None]]:
    """Give a function that shows each epoch's record as it comes.

    Parameters
    ----------
    epochs : int
        How many there will be.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    console = Console()
    if not console.is_terminal:
        yield lambda record: print(f"epoch {record.epoch:>3}/{epochs}  {_line(record)}", flush=True)
        return
    columns = (
        TextColumn("epoch"),
        MofNCompleteColumn(),
        BarColumn(20),
        TextColumn("{task.fields[line]}"),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=epochs, line="")
        yield lambda record: bar.update(task, completed=record.epoch, line=_line(record))


def _line(record: Record) -> str:
    return (
        f"loss {record.loss:.4f}  accuracy {record.accuracy:.2%}  "
        f"{record.samples_per_second:,.0f} samples/s  {record.device}"
    )
