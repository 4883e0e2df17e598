"""Arrays and text in files."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from gpugrad.data.arrays import DataError


def map_arrays(path: str | Path) -> dict[str, NDArray[Any]]:
    """The arrays of a ``.npy`` or ``.npz`` file, mapped into memory: read when they are used.

    Parameters
    ----------
    path : str or Path
        The file. Of a ``.npz`` that was written with ``savez_compressed`` the arrays are read now.

    Returns
    -------
    dict of str to array
        By their names in a ``.npz``; the array of a ``.npy`` is named by the file.

    Raises
    ------
    DataError
        For a file that is neither, is cut short or damaged, or holds Python objects; in a
        ``.npz`` with the name of the array.
    OSError
        For one that cannot be opened.

    Notes
    -----
    What is mapped has not been read, so a byte of its numbers that has changed goes unnoticed.
    ``zipfile.ZipFile(path).testzip()`` reads all of a ``.npz``, and names an array whose checksum
    is another. Compressed arrays are checked.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.data import Arrays, map_arrays
    >>> np.savez("data.npz", x=np.ones((5, 2)), y=np.arange(5))
    >>> found = map_arrays("data.npz")
    >>> data = Arrays(found["x"], found["y"])
    """
    path = Path(path)
    with path.open("rb"):  # the errors of opening are Python's
        pass
    if path.suffix != ".npz":
        with _usable(path):
            return {path.stem: np.load(path, mmap_mode="r", allow_pickle=False)}
    with _usable(path):
        archive = zipfile.ZipFile(path)
    found = {}
    with archive:
        for member in archive.infolist():
            with _usable(path, f"{member.filename}: "):
                found[member.filename.removesuffix(".npy")] = _member(archive, member)
    return found


@contextmanager
def _usable(path: Path, part: str = "") -> Iterator[None]:
    """A DataError of whatever damage makes NumPy and zipfile raise."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        told = str(error) or type(error).__name__
        raise DataError(
            f"{path} is no file of NumPy arrays that can be used: {part}{told}"
        ) from error


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    with archive.open(member) as file:
        version = npy.read_magic(file)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read(file)
        header = file.tell()
        if dtype.hasobject:
            raise ValueError("it holds Python objects")
        size, given = math.prod(shape) * dtype.itemsize, member.file_size - header
        if size != given:
            raise ValueError(f"{dtype}{shape} has {size} bytes, and here are {given}")
        if member.compress_type != zipfile.ZIP_STORED:
            file.seek(0)
            found: NDArray[Any] = npy.read_array(file, allow_pickle=False)
            return found
    with Path(str(archive.filename)).open("rb") as raw:
        raw.seek(member.header_offset + 26)  # where the lengths of name and extra field are
        name, extra = np.frombuffer(raw.read(4), "<u2").tolist()
    start = member.header_offset + 30 + name + extra + header
    if 0 in shape:  # nothing to map
        return np.empty(shape, dtype)
    return np.memmap(str(archive.filename), dtype, "r", start, shape, order="F" if fortran else "C")


def read_text(path: str | Path, needed: str) -> str:
    """The text of a file in UTF-8.

    Parameters
    ----------
    path : str or Path
        The file.
    needed : str
        What should be in it, for the error about an empty one.

    Raises
    ------
    DataError
        For a file that is empty or not UTF-8, with the place.
    OSError
        For one that cannot be read.
    """
    path = Path(path)
    raw = path.read_bytes()
    if not raw:
        raise DataError(f"{path} is empty: {needed} is needed")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        likely = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "latin1"
        raise DataError(
            f"{path} is not text in UTF-8: byte {error.start} (line {line}) is "
            f"0x{raw[error.start]:02x}; convert it, as by iconv -f {likely} -t utf-8"
        ) from None
