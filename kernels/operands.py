"""What a kernel's operands must be, looked at once where they come in: a pointer has no shape.

Shapes, dtypes and devices only. What lies in an array on a device is not read for it, since that
would wait for the device: kernels pass over places and labels that are none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gpugrad.kernels.many import FLOATS, name_of

from gpugrad.device import common_device


def floats(name: str, x: Any, ndim: int | None = None) -> None:
    """See that ``x`` is an array of floats, of ``ndim`` axes if that is given."""
    if ndim is not None and x.ndim != ndim:
        raise ValueError(f"{name} is for arrays of {ndim} axes; got the shape {x.shape}")
    if name_of(x.dtype) not in FLOATS:
        raise TypeError(f"{name} is for floats ({', '.join(FLOATS)}), not {x.dtype}")


def fit(name: str, x: Any, **others: tuple[Any, tuple[int, ...], Any]) -> None:
    """See that each other operand has the shape and dtype that go with ``x``, and its device.

    Parameters
    ----------
    name : str
        The kernel's, for errors.
    x : array
        The operand that the others go by.
    others : (array or None, shape, dtype)
        By their names; None is what is not given.

    Raises
    ------
    ValueError
        For the first that does not fit.
    DeviceError
        If they are on two devices.
    """
    given = [x]
    for what, (a, shape, dtype) in others.items():
        if a is None:
            continue
        if a.shape != shape or a.dtype != dtype:
            raise ValueError(
                f"{name}: {what} {a.dtype}{a.shape} does not fit {x.dtype}{x.shape}: expected "
                f"{np.dtype(dtype)}{shape}"
            )
        given.append(a)
    common_device(given, name)


def together(name: str, lists: Sequence[Sequence[Any]]) -> None:
    """See that all arrays of ``lists`` are of the first one's library."""
    kind = type(lists[0][0])
    for arrays in lists:
        for a in arrays:
            if type(a) is not kind:
                common_device([lists[0][0], a], name)


def writable(name: str, **lists: Sequence[Any]) -> None:
    """See that NumPy lets the arrays be written to, before any of them is.

    Raises
    ------
    ValueError
        For the first that is read-only.
    """
    for what, arrays in lists.items():
        for t, a in enumerate(arrays):
            if isinstance(a, np.ndarray) and not a.flags.writeable:
                raise ValueError(
                    f"{name}: {what}[{t}], {a.dtype}{a.shape}, is read-only and would be written "
                    "to: give a copy of it"
                )
