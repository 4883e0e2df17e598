"""Event files for TensorBoard."""

from __future__ import annotations

from pathlib import Path

from gpugrad.training.record import Record


class EventFiles:
    """Writes each record's figures to an event file, when called with it.

    Parameters
    ----------
    folder : Path
        Where the file is made; ``tensorboard --logdir FOLDER`` shows it.

    Raises
    ------
    ModuleNotFoundError
        Without tensorboardX; the message says what to install.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "event files are written by tensorboardX, which is not installed: "
                'pip install "gpugrad[tensorboard]"'
            ) from error
        self._writer = SummaryWriter(str(folder), flush_secs=5)

    def __call__(self, record: Record) -> None:
        for name, value in record.figures().items():
            if isinstance(value, float):
                self._writer.add_scalar(name, value, record.step)

    def close(self) -> None:
        """Write what still waits to be written, as the end of the program does too."""
        self._writer.close()
