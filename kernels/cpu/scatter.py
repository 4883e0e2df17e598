"""Addition of rows at indices."""

from __future__ import annotations

from typing import Any

import numba


@numba.njit(cache=True, nogil=True)  # type: ignore[misc, unused-ignore]
def add_rows(out: Any, rows: Any, values: Any) -> None:
    """``out[rows[i]] += values[i]`` in the order of ``i``; the rows must be in range."""
    for i in range(values.shape[0]):
        row = rows[i]
        for c in range(values.shape[1]):
            out[row, c] += values[i, c]
