"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside ``path`` to write to; at the end it takes ``path``'s place.

    What was written is on the disk before the name changes, and the change is before this
    returns. An error in the block leaves ``path`` as it was, and nothing beside it.

    Examples
    --------
    >>> from pathlib import Path
    >>> from gpugrad.training.files import replacing
    >>> with replacing(Path("notes.txt")) as unfinished:
    ...     _ = unfinished.write_text("all of it")
    >>> Path("notes.txt").read_text()
    'all of it'
    """
    # The ending stays, since writers choose a format by it.
    unfinished = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        with naming(path):
            yield unfinished
            _to_disk(unfinished, os.O_RDWR)
            unfinished.replace(path)
            if os.name != "nt":  # Windows opens no folders, and does this by itself
                _to_disk(path.parent, os.O_RDONLY)
    finally:
        unfinished.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove what processes that were killed within `replacing` have left in a folder."""
    for path in folder.glob(".*"):
        if re.fullmatch(r"\..+\.\d+(\.\w+)?", path.name):
            path.unlink(missing_ok=True)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Say in errors of writing which file it was, which the system does not for a full disk."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}: could not write", str(path)) from error


def _to_disk(path: Path, how: int) -> None:
    handle = os.open(path, how)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
