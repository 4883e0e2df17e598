"""``gg.debug``: find the operation that made a NaN."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from gpugrad.core.primitive import Primitive

nans = False
"""Whether each result is looked at. A module global, as every operation reads it."""

_LIBRARY = (str(Path(__file__).parents[1]), str(Path(np.__file__).parent), "<__array_function__")


@contextmanager
def debug(*, nans: bool = True) -> Iterator[None]:
    """Check every operation's result and every cotangent for NaN.

    Each check reads the array back from the device, so this is for finding a fault, not for
    training.

    Parameters
    ----------
    nans
        Raise `NonFiniteError`, which names the operation and the line of the user's code that
        recorded it, as soon as a NaN appears that its operands did not have.

    Examples
    --------
    >>> import gpugrad as gg, numpy as np
    >>> with gg.debug(nans=True):
    ...     gg.grad(lambda x: np.sum(np.log(x)))(np.array([1.0, 2.0]))
    array([1. , 0.5])
    """
    module = sys.modules[__name__]
    before = module.nans
    module.nans = nans  # type: ignore[attr-defined]
    try:
        yield
    finally:
        module.nans = before  # type: ignore[attr-defined]


def user_line() -> str:
    """Where the user's code is now: the innermost frame outside the package and NumPy."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith(_LIBRARY):
            return f"{name}:{frame.f_lineno} in {frame.f_code.co_name}"
        frame = frame.f_back  # type: ignore[assignment]
    return "an interactive line"


def has_nan(value: Any) -> bool:
    """Whether a raw array, or a tuple of them, holds a NaN."""
    if isinstance(value, tuple):
        return any(has_nan(v) for v in value)
    if getattr(value, "dtype", None) is None or value.dtype.kind not in "fc":
        return value != value if isinstance(value, float | complex) else False
    return bool((value != value).any())


def check_finite(primitive: Primitive, values: Sequence[Any], y: Any) -> None:
    """Raise if ``y`` has a NaN that no operand had."""
    from gpugrad.core.errors import NonFiniteError, describe

    if has_nan(y) and not any(has_nan(v) for v in values):
        given = ", ".join(describe(v) for v in values)
        raise NonFiniteError(f"{primitive.name}({given}) gave NaN at {user_line()}")
