"""Event files for TensorBoard."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from gpugrad.training.files import naming
from gpugrad.training.record import Record


class EventFiles:
    """Writes each record's figures to an event file, when called with it.

    They are on the disk when that returns, and an error of writing is the caller's. (tensorboardX's
    SummaryWriter has a thread that dies of one, after which its callers wait for ever.)

    Parameters
    ----------
    folder : Path
        Where the file is made at the first record; ``tensorboard --logdir FOLDER`` shows it.
    resumed : bool
        The run may go on from an earlier one: its event files stay, and TensorBoard forgets what
        they say about steps from the first record's on. Else they are removed.

    Raises
    ------
    ModuleNotFoundError
        Without tensorboardX; the message says what to install.
    """

    def __init__(self, folder: Path, *, resumed: bool = False) -> None:
        try:
            import tensorboardX  # noqa: F401
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "event files are written by tensorboardX, which is not installed: "
                'pip install "gpugrad[tensorboard]"'
            ) from error
        self.folder = folder
        self.resumed = resumed
        self._file: Any = None

    def __call__(self, record: Record) -> None:
        from tensorboardX.proto.event_pb2 import SessionLog
        from tensorboardX.summary import scalar

        with naming(self.folder / "events.out.tfevents"):
            if self._file is None:
                self._begin()
                self._add(record, session_log=SessionLog(status=SessionLog.START))
            for name, value in record.figures().items():
                if isinstance(value, float):
                    self._add(record, summary=scalar(name, value))
            self._file.flush()

    def _begin(self) -> None:
        from tensorboardX.event_file_writer import EventsWriter

        if not self.resumed:
            for old in self.folder.glob("events.out.tfevents.*"):
                old.unlink()
        # tensorboardX names files by the second, and a run may go on within that.
        self._file = EventsWriter(str(self.folder / "events"), f".{time.time_ns()}")

    def _add(self, record: Record, **what: Any) -> None:
        from tensorboardX.proto.event_pb2 import Event

        self._file.write_event(Event(wall_time=time.time(), step=record.step, **what))
