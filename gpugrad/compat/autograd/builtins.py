"""Python's own types and questions about them, which look at the values under boxes.

Containers of arrays that are being differentiated are Python's own here, so these are too.
"""

from __future__ import annotations

import builtins
from typing import Any

from gpugrad.compat.autograd.boxes import getval

tuple = builtins.tuple  # type: ignore[type-arg]
list = builtins.list
dict = builtins.dict


def isinstance(x: Any, kind: Any) -> bool:
    """Whether ``x``, or the value that is being traced, is of the type or one of the types.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.compat.autograd import grad, isinstance
    >>> grad(lambda x: x * isinstance(x, float))(2.0)
    1.0
    """
    return builtins.isinstance(x, kind) or builtins.isinstance(getval(x), kind)


def type(x: Any) -> builtins.type:
    """The type of ``x``, of its value where that is being traced."""
    return builtins.type(getval(x))
