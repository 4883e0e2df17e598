"""Records that are read one by one, some of which may be broken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from gpugrad.data.arrays import DataError


class Records:
    """Records that a function reads: a file each, a line, a row of a data base.

    Parameters
    ----------
    items : sequence
        What there is to read: paths, offsets.
    read : callable
        ``read(item)`` gives a record: an array, or a tuple of arrays, as every record.
    broken : {"raise", "skip"}
        What to do with a record that cannot be read.

    Attributes
    ----------
    skipped : dict of int to str
        The numbers of records that were left out so far, and why.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.data import Records
    >>> data = Records(["1 2", "3 x", "5 6"], lambda s: np.array(s.split(), float), broken="skip")
    >>> data.take(np.array([2, 1]))
    (array([[5., 6.]]),)
    >>> data.skipped
    {1: "'3 x': could not convert string to float: 'x'"}
    """

    def __init__(
        self,
        items: Sequence[Any],
        read: Callable[[Any], Any],
        *,
        broken: Literal["raise", "skip"] = "raise",
    ) -> None:
        if len(items) == 0:
            raise DataError("Records: there are no records")
        self.items = items
        self.read = read
        self.broken = broken
        self.skipped: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self.items)

    def take(self, rows: Any) -> tuple[Any, ...]:
        good = []
        for row in np.asarray(rows).tolist():
            item = self.items[row]
            try:
                record = self.read(item)
            except Exception as error:  # whatever the reader's libraries raise
                why = f"{item!r:.200}: {error}"
                if self.broken == "raise":
                    raise DataError(f"record {row}, {why}") from error
                self.skipped[row] = why
            else:
                good.append(record if isinstance(record, tuple) else (record,))
        if not good:
            return (np.empty(0),)
        return tuple(np.stack(field) for field in zip(*good, strict=True))
