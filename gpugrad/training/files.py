"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import re
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

if sys.platform != "win32":
    import fcntl

# Nobody else's files are named so.
_UNFINISHED = re.compile(r"\.gpugrad-[0-9a-f]{16}(\..+)?")


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
    unfinished = path.with_name(f".gpugrad-{secrets.token_hex(8)}{path.suffix}")
    try:
        with naming(path), _held(unfinished):
            yield unfinished
            _to_disk(unfinished, os.O_RDWR)
            unfinished.replace(path)
            names_to_disk(path.parent)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def _held(unfinished: Path) -> Iterator[None]:
    """Make a file and lock it: the system lets go of it when this process ends, in any way."""
    if sys.platform == "win32":  # which renames no open files
        yield
        return
    with unfinished.open("xb") as file:
        with suppress(OSError):  # some network file systems have no locks
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def sweep(folder: Path) -> None:
    """Remove what processes that were killed within `replacing` have left in a folder.

    What a living process writes to is locked, and stays. On Windows, and where there are no locks,
    all stays.
    """
    if sys.platform == "win32":
        return
    for path in folder.glob(".gpugrad-*"):
        if _UNFINISHED.fullmatch(path.name):
            with suppress(OSError), path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Say in errors of writing which file it was, which the system does not for a full disk."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}: could not write", str(path)) from error


def names_to_disk(folder: Path) -> None:
    """See that a power cut does not undo what was named, renamed or removed in a folder."""
    if sys.platform != "win32":  # Windows opens no folders, and does this by itself
        _to_disk(folder, os.O_RDONLY)


def _to_disk(path: Path, how: int) -> None:
    handle = os.open(path, how)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
