"""Arrays and text in files."""

from __future__ import annotations

import zipfile
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
        For a file that is neither, is cut short, or holds Python objects.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.data import Arrays, map_arrays
    >>> np.savez("data.npz", x=np.ones((5, 2)), y=np.arange(5))
    >>> found = map_arrays("data.npz")
    >>> data = Arrays(found["x"], found["y"])
    """
    path = Path(path)
    try:
        if path.suffix != ".npz":
            return {path.stem: np.load(path, mmap_mode="r", allow_pickle=False)}
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            return {m.filename.removesuffix(".npy"): _member(archive, m) for m in members}
    except (ValueError, EOFError, zipfile.BadZipFile, SyntaxError) as error:
        raise DataError(f"{path} is no file of NumPy arrays that can be used: {error}") from error


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    with archive.open(member) as file:
        if member.compress_type != zipfile.ZIP_STORED:
            found: NDArray[Any] = npy.read_array(file, allow_pickle=False)
            return found
        version = npy.read_magic(file)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read(file)
        header = file.tell()
    if dtype.hasobject:
        raise ValueError(f"{member.filename} holds Python objects")
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
