"""Records that are read one by one, some of which may be broken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cached_property
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
        ``read(item)`` gives a record: an array, or a tuple of arrays. All records have as many,
        of the same shapes, as the first that can be read.
    broken : {"raise", "skip"}
        What to do with a record that cannot be read, or is not like the first.

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
            try:
                record = self._record(row)
                self._compare(record)
            except Exception as error:  # whatever the reader's libraries raise
                why = f"{self.items[row]!r:.200}: {error}"
                if self.broken == "raise":
                    raise DataError(f"record {row}, {why}") from error
                self.skipped[row] = why
            else:
                good.append(record)
        if not good:
            return (np.empty(0),)
        return tuple(np.stack(field) for field in zip(*good, strict=True))

    def _record(self, row: int) -> tuple[Any, ...]:
        found = self.read(self.items[row])
        fields = found if isinstance(found, tuple) else (found,)
        return tuple(_numbers(field) for field in fields)

    def _compare(self, record: tuple[Any, ...]) -> None:
        row, expected = self._first
        shapes = tuple(field.shape for field in record)
        if shapes != expected:
            raise ValueError(f"its shapes are {_told(shapes)}, record {row} has {_told(expected)}")

    @cached_property
    def _first(self) -> tuple[int, tuple[Any, ...]]:
        """The first record that can be read, in the order of the items, and its shapes.

        It is not the first that is asked for: a run that goes on elsewhere would have another.
        """
        for row in range(len(self)):
            with suppress(Exception):
                return row, tuple(field.shape for field in self._record(row))
        raise ValueError("no record can be read a second time, to compare the shapes of others")


def _numbers(field: Any) -> Any:
    found = field if hasattr(field, "shape") else np.asarray(field)
    if np.dtype(found.dtype).kind in "OSU":
        raise TypeError(f"a record is an array of numbers or a tuple of such, got {field!r:.80}")
    return found


def _told(shapes: tuple[Any, ...]) -> str:
    return ", ".join(map(str, shapes))
