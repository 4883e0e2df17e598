"""einops on `gpugrad.Array`: ``import gpugrad.interop.einops`` is all it takes.

`einops.rearrange`, `reduce`, `repeat`, `pack`, `unpack` and `einsum` then also take arrays that are
being differentiated or batched. (`einops.array_api` does without this module.)

Examples
--------
>>> import einops, numpy as np, gpugrad as gg, gpugrad.interop.einops
>>> def energy(x):
...     return np.sum(einops.reduce(x, "(h h2) w -> h w", "mean", h2=2) ** 2)
>>> gg.grad(energy)(np.array([[1.0], [3.0]]))
array([[2.],
       [2.]])
"""

from __future__ import annotations

from typing import Any

import gpugrad.numpy as gnp
from gpugrad.array import Array
from gpugrad.interop.extra import need

_backends: Any = need("einops._backends", "einops")


class GpugradBackend(_backends.NumpyBackend):  # type: ignore[misc]
    """How einops computes with `Array`; it looks for subclasses of its backends by itself."""

    framework_name = "gpugrad"

    def __init__(self) -> None:
        self.np = gnp

    def is_appropriate_type(self, tensor: Any) -> bool:
        """Whether this backend is for ``tensor``."""
        return isinstance(tensor, Array)

    def from_numpy(self, x: Any) -> Array:
        """An array of einops' own, such as a mask."""
        return Array(x)

    def to_numpy(self, x: Array) -> Any:
        """The elements on the host."""
        return x.numpy()
