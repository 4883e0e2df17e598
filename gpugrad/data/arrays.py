"""Records that lie in arrays: in memory, on a device, or in a file that is mapped."""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gpugrad.array import Array
from gpugrad.device import Device

_DIGESTED = 1 << 26
"""Bytes of an array that its fingerprint looks at, about."""


class DataError(ValueError):
    """Data that cannot be used; the message says which, and where."""


class Dataset(Protocol):
    """What a `Loader` reads from: a length, and records by their numbers."""

    def __len__(self) -> int:
        """How many records there are."""
        ...

    def take(self, rows: Any) -> tuple[Any, ...]:
        """The records ``rows``, an array of int64, as one array for each field."""
        ...


class Arrays:
    """Records that are the entries of arrays along their first axis.

    Parameters
    ----------
    *arrays
        NumPy arrays, also memory-mapped ones, stay on the host until a batch is sent to a device.
        `Array` objects stay where they are, and batches are taken there.
    classes : int, optional
        The last array holds labels from 0 to ``classes - 1``, which is checked now.

    Raises
    ------
    DataError
        For different lengths, no records, or a label out of range, with its place.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.data import Arrays
    >>> data = Arrays(np.arange(12.0).reshape(4, 3), np.array([0, 1, 1, 0]), classes=2)
    >>> x, y = data.take(np.array([3, 0]))
    >>> x[:, 0], y
    (array([9., 0.]), array([0, 0]))
    """

    def __init__(self, *arrays: Any, classes: int | None = None) -> None:
        self.arrays = tuple(a if isinstance(a, Array | np.ndarray) else Array(a) for a in arrays)
        lengths = [len(a) for a in self.arrays]
        if len(set(lengths)) != 1:
            raise DataError(f"Arrays: one length is needed, got {lengths}")
        if lengths[0] == 0:
            raise DataError("Arrays: there are no records")
        if classes is not None:
            check_labels(self.arrays[-1], classes)

    def __len__(self) -> int:
        return len(self.arrays[0])

    @property
    def device(self) -> Device | None:
        """Where all arrays are that are `Array` objects; None for NumPy's, and for a mixture."""
        found = {a.device if isinstance(a, Array) else None for a in self.arrays}
        return found.pop() if len(found) == 1 else None

    def take(self, rows: Any) -> tuple[Any, ...]:
        return tuple(a[rows] for a in self.arrays)

    def fingerprint(self) -> list[str]:
        """What tells these records from others, so that a run goes on with the same ones only."""
        return [fingerprint(a) for a in self.arrays]


def fingerprint(array: Any) -> str:
    """An array's dtype, shape, and a digest of its rows; of a large one's, of some all over it."""
    size = array.size * array.dtype.itemsize
    rows = array[:: max(1, size // _DIGESTED)]
    host = np.ascontiguousarray(rows.detach().numpy() if isinstance(rows, Array) else rows)
    digest = sha256(host.reshape(-1).view(np.uint8).data).hexdigest()
    return f"{array.dtype} {array.shape} {digest[:16]}"


def check_labels(labels: Any, classes: int) -> None:
    """See that labels are whole numbers from 0 to ``classes - 1``.

    Raises
    ------
    DataError
        For the first that is not, with its place.
    """
    host: NDArray[Any] = labels.numpy() if isinstance(labels, Array) else np.asarray(labels)
    if host.dtype.kind not in "iu":
        raise DataError(f"labels are whole numbers, got {host.dtype}")
    wrong = np.argwhere((host < 0) | (host >= classes))
    if len(wrong):
        more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise DataError(
            f"label {host[tuple(wrong[0])]} of record {wrong[0][0]} is out of range: allowed are "
            f"0 to {classes - 1}{more}"
        )
