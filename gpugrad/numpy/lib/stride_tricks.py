"""``numpy.lib.stride_tricks``: windows, differentiable, on any device."""

from __future__ import annotations

from typing import Any

import numpy as _np

from gpugrad import dispatch as _dispatch
from gpugrad.ops.convolve import sliding_window_view

__all__ = ["sliding_window_view"]


def __getattr__(name: str) -> Any:
    if name == "as_strided":
        raise AttributeError(
            "gpugrad.numpy.lib.stride_tricks has no 'as_strided', which reads memory whatever is "
            "there; in its place: sliding_window_view(x, size), x[::step], broadcast_to"
        )
    raise AttributeError(f"gpugrad.numpy.lib.stride_tricks has no {name!r}")


_dispatch.functions[_np.lib.stride_tricks.sliding_window_view] = sliding_window_view
