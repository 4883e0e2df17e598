"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside ``path`` to write to; at the end it takes ``path``'s place.

    An error in the block leaves ``path`` as it was, and nothing beside it.

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
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
