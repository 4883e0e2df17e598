"""The checkpoints of a run: the last few, of which the newest whole one is gone on from."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from gpugrad.training.files import names_to_disk, naming, sweep
from gpugrad.training.state_file import (
    CheckpointError,
    OtherFormatError,
    read_state,
    write_state,
)


class Found(NamedTuple):
    """A checkpoint that was read."""

    path: Path
    state: dict[str, Any]


class Checkpoints:
    """The checkpoints of a run: one file each, named by the step, the last few kept.

    Those of an earlier run are put in a folder beside, ``<folder>-earlier``, by `set_aside`, and
    removed when the new run has one of its own.

    Parameters
    ----------
    folder : str or Path
        Where they are; made when the first is saved.
    keep : int
        How many stay.

    Examples
    --------
    >>> from gpugrad.training import Checkpoints
    >>> checkpoints = Checkpoints("checkpoints", keep=2)
    >>> for step in (1, 2, 3):
    ...     _ = checkpoints.save(step, {"step": step})
    >>> [path.name for path in checkpoints.paths()]
    ['step-00000002.safetensors', 'step-00000003.safetensors']
    >>> checkpoints.newest().state
    {'step': 3}
    """

    def __init__(self, folder: str | Path, keep: int = 3) -> None:
        if keep < 1:
            raise ValueError(f"Checkpoints: keep is at least 1, got {keep}")
        self.folder = Path(folder)
        self.keep = keep
        self._earlier = self.folder.with_name(f"{self.folder.name}-earlier")

    def paths(self) -> list[Path]:
        """The files, oldest first."""
        return _paths(self.folder)

    def save(self, step: int, state: Mapping[str, Any]) -> Path:
        """Write one, then remove those that are too old, or set aside; gives its path."""
        if not self.folder.exists():
            self.folder.mkdir(parents=True)
            names_to_disk(self.folder.parent)
        path = self.folder / f"step-{step:08d}.safetensors"
        write_state(path, state)
        # Only now: while the disk is full nothing that was there goes away.
        for old in self.paths()[: -self.keep]:
            old.unlink(missing_ok=True)
        sweep(self.folder)
        self._forget_earlier()
        return path

    def newest(self) -> Found | None:
        """The newest that is whole; None if there is no file at all.

        Damaged ones are named in a warning and passed over.

        Raises
        ------
        CheckpointError
            If there are some, and none is whole; or if another version of gpugrad wrote the
            newest, since going on from an older one would remove it.
        """
        paths = self.paths()
        for path in reversed(paths):
            try:
                return Found(path, read_state(path))
            except OtherFormatError:
                raise
            except CheckpointError as error:
                warnings.warn(f"passed over: {error}", stacklevel=2)
        if paths:
            raise CheckpointError(
                f"none of the {len(paths)} checkpoints in {self.folder} can be used"
            )
        return None

    def set_aside(self) -> None:
        """Begin a new run: those that are there are not gone on from, and stay until its first."""
        if self.paths():
            self._forget_earlier()
            with naming(self._earlier):
                self.folder.rename(self._earlier)  # all at once
            names_to_disk(self.folder.parent)

    def _forget_earlier(self) -> None:
        for path in _paths(self._earlier):
            path.unlink()
        sweep(self._earlier)
        with suppress(OSError):  # none is there, or something of the user's is in it
            self._earlier.rmdir()


def _paths(folder: Path) -> list[Path]:
    named = re.compile(r"step-\d{8,}\.safetensors")
    found = folder.glob("step-*.safetensors")
    return sorted((p for p in found if named.fullmatch(p.name)), key=_step)


def _step(path: Path) -> int:
    return int(path.stem.removeprefix("step-"))
