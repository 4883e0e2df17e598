"""Tables: named columns of cells, with the place of each row in its file."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpugrad.data.arrays import DataError
from gpugrad.data.files import read_text

Broken = Literal["raise", "skip"]

_DELIMITERS = ",;\t|"


class Table(NamedTuple):
    """A table as it stands in a file.

    Attributes
    ----------
    path : Path
        The file.
    names : tuple of str
        The columns.
    rows : list of list
        The cells: strings from a CSV file, also numbers and None from others.
    lines : list of int
        Where each row is in the file, from 1; the first of its lines.
    skipped : dict of int to str
        Lines that were left out, and why.
    """

    path: Path
    names: tuple[str, ...]
    rows: list[list[Any]]
    lines: list[int]
    skipped: dict[int, str]

    def column(self, name: str) -> list[Any]:
        """The cells of a column.

        Raises
        ------
        DataError
            For one that the table does not have.
        """
        if name not in self.names:
            raise DataError(
                f"{self.path} has no column {name!r}: its columns are {', '.join(self.names)}"
            )
        at = self.names.index(name)
        return [row[at] for row in self.rows]

    def place(self, row: int, name: str) -> str:
        """Where a cell is, for people."""
        return f"{self.path}, line {self.lines[row]}, column {name!r}"

    def without(self, wrong: dict[int, str]) -> Table:
        """The table without some rows, which are counted as skipped with the reasons given."""
        rest = [n for n in range(len(self.rows)) if n not in wrong]
        reasons = {
            line: why.removeprefix(f"{self.path}, line {line}, ")
            for line, why in ((self.lines[n], why) for n, why in wrong.items())
        }
        return self._replace(
            rows=[self.rows[n] for n in rest],
            lines=[self.lines[n] for n in rest],
            skipped=dict(sorted((self.skipped | reasons).items())),
        )


def read_table(path: str | Path, *, broken: Broken = "raise") -> Table:
    r"""Read a CSV file, or a Parquet file through pyarrow.

    Parameters
    ----------
    path : str or Path
        The file. Text is UTF-8, its first line has the columns' names, and the first of comma,
        semicolon, tab and bar that is most frequent there divides them.
    broken : {"raise", "skip"}
        What to do with a line that has more or fewer cells than there are columns.

    Raises
    ------
    DataError
        For a file that is empty or not UTF-8, has two columns of one name, or a broken line: with
        the place.
    ModuleNotFoundError
        For a Parquet file without pyarrow; the message says what to install.

    Examples
    --------
    >>> from pathlib import Path
    >>> from gpugrad.data import read_table
    >>> _ = Path("t.csv").write_text("height,name\n1.5,Ann\n1.8,Bo,b\n")
    >>> read_table("t.csv")
    Traceback (most recent call last):
        ...
    gpugrad.data.arrays.DataError: t.csv, line 3: 3 cells for 2 columns
    >>> read_table("t.csv", broken="skip").column("height")
    ['1.5']
    """
    path = Path(path)
    if path.suffix == ".parquet" or _begins(path, b"PAR1"):
        return _read_parquet(path)
    text = read_text(path, "a line of names and lines of cells")
    head = text.partition("\n")[0]
    reader = csv.reader(
        # Its lines end as in files; str.splitlines knows more ends than that.
        io.StringIO(text, newline=""),
        delimiter=max(_DELIMITERS, key=head.count),
        strict=True,
    )
    table = Table(path, (), [], [], {})
    begin = 1
    try:
        names = [name.strip() for name in next(reader)]
        _check_names(path, names)
        table = table._replace(names=tuple(names))
        begin = reader.line_num + 1  # a row of several lines is known by its first
        for cells in reader:
            line, begin = begin, reader.line_num + 1
            if not cells:
                continue  # an empty line
            if len(cells) == len(names):
                table.rows.append([cell.strip() for cell in cells])
                table.lines.append(line)
                continue
            what = f"{len(cells)} cell{'s' * (len(cells) != 1)} for {len(names)} columns"
            if broken == "raise":
                raise DataError(f"{path}, line {line}: {what}")
            table.skipped[line] = what
    except csv.Error as error:
        raise DataError(f"{path}, line {begin}: {_told(error, begin, reader.line_num)}") from None
    if not table.rows:
        raise DataError(f"{path} has names of columns, and no usable line after them")
    return table


def _told(error: csv.Error, begin: int, end: int) -> str:
    """What the reader says; where a quote is not closed, it reads on and says it far below."""
    if end == begin:
        return f"{error}: are quotes within a cell in quotes written twice?"
    return f"a quote that opens in this row is not closed ({error} in line {end})"


def _begins(path: Path, mark: bytes) -> bool:
    if not path.is_file():  # what comes through a pipe is read once
        return False
    with path.open("rb") as file:
        return file.read(len(mark)) == mark


def _check_names(path: Path, names: Sequence[str]) -> None:
    if not any(names):
        raise DataError(f"{path}, line 1 is empty: the names of the columns are needed")
    for n, name in enumerate(names):
        if not name:
            raise DataError(f"{path}, line 1: column {n + 1} has no name")
        if name in names[:n]:
            raise DataError(f"{path}, line 1: two columns are named {name!r}")


def _read_parquet(path: Path) -> Table:
    try:
        from pyarrow import ArrowInvalid
        from pyarrow.parquet import read_table as read
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "Parquet files are read by pyarrow, which is not installed: "
            'pip install "gpugrad[parquet]"'
        ) from error
    try:
        columns = read(path).to_pydict()
    except ArrowInvalid as error:
        raise DataError(f"{path} is no Parquet file: {error}") from None
    rows = [list(cells) for cells in zip(*columns.values(), strict=True)]
    if not rows:
        raise DataError(f"{path} has no rows")
    return Table(path, tuple(columns), rows, list(range(1, len(rows) + 1)), {})


# ------------------------------------------------------------------------------ cells as numbers

_MOST_TEXTS = 100

# 0,5 and 1,250,000.75: a number to people, and to nothing that reads numbers.
_COMMAS = re.compile(r"[+-]?\d+(,\d+)+(\.\d*)?(e[+-]?\d+)?", re.IGNORECASE)


class Column(NamedTuple):
    """How a column's cells become numbers.

    Attributes
    ----------
    name : str
        Its name.
    texts : tuple of str or None
        The different cells of a column of texts, each of which has a number of its own; None for
        a column of numbers.
    """

    name: str
    texts: tuple[str, ...] | None


LARGEST = 1e150
"""Numbers above this have no finite square, and so a column of them no spread."""


def number(cell: Any) -> float | None:
    """A cell's finite number, or None; Python's ``1_000`` is none to anybody else."""
    if isinstance(cell, str) and "_" in cell:
        return None
    try:
        value = float(cell)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def describe(table: Table, name: str) -> Column:
    """Whether a column is one of numbers, as most of its cells are, or of texts.

    Raises
    ------
    DataError
        For a column that the table does not have, one of numbers with commas, or of lists.
    """
    cells = table.column(name)
    given = [cell for cell in cells if not _missing(cell)]
    for n, cell in enumerate(cells):
        if isinstance(cell, list | dict):
            raise DataError(
                f"{table.place(n, name)}: {cell!r:.80} is neither a number nor a text: leave the "
                "column out"
            )
    numbers = sum(number(cell) is not None for cell in given)
    if given and 2 * numbers > len(given):
        return Column(name, None)
    commas = [n for n, cell in enumerate(cells) if _COMMAS.fullmatch(str(cell))]
    if 2 * (numbers + len(commas)) > len(given) and commas:
        raise DataError(
            f"{table.place(commas[0], name)}: {cells[commas[0]]!r} has a comma, as most of the "
            "column: numbers have a point before decimals, and nothing between thousands"
        )
    texts = tuple(sorted({str(cell) for cell in given}))
    return Column(name, texts)


def wrong_cells(table: Table, columns: Sequence[Column]) -> dict[int, str]:
    """The rows that have a cell which is missing, or no usable number among numbers; and why."""
    wrong: dict[int, str] = {}
    for column in columns:
        for n, cell in enumerate(table.column(column.name)):
            why = _why_wrong(cell, column)
            if why is not None:
                wrong.setdefault(n, f"{table.place(n, column.name)}: {why}")
    return dict(sorted(wrong.items()))


def _why_wrong(cell: Any, column: Column) -> str | None:
    if _missing(cell):
        return "the cell is empty"
    if column.texts is not None:
        return None
    value = number(cell)
    if value is None:
        return f"{cell!r} is not a number"
    if abs(value) > LARGEST:
        return f"{cell!r} is too large: numbers go up to {LARGEST:g}, in another unit it may fit"
    return None


def numbers_of(table: Table, columns: Sequence[Column]) -> NDArray[np.float64]:
    """Cells as numbers: one column for numbers, one for each text with 1 where it stands.

    Raises
    ------
    DataError
        For a column of too many different texts.
    """
    parts = []
    for column in columns:
        cells = table.column(column.name)
        if column.texts is None:
            parts.append(np.array([[float(cell)] for cell in cells]))
            continue
        if len(column.texts) > _MOST_TEXTS:
            raise DataError(
                f"{table.path}: column {column.name!r} holds {len(column.texts)} different texts, "
                f"such as {column.texts[0]!r}; more than {_MOST_TEXTS} are no categories: leave "
                "the column out"
            )
        known = {text: i for i, text in enumerate(column.texts)}
        parts.append(np.eye(len(known))[[known[str(cell)] for cell in cells]])
    return np.concatenate(parts, axis=1)


def _missing(cell: Any) -> bool:
    return cell is None or cell == "" or (isinstance(cell, float) and math.isnan(cell))
