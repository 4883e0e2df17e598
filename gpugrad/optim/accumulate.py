"""Mean gradients over micro-batches."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpugrad.array import Array
from gpugrad.core.box import strip
from gpugrad.device import on
from gpugrad.kernels.average import average
from gpugrad.kernels.many import wide
from gpugrad.transforms.kinds import flatten, unflatten


class Accumulator:
    """The mean of gradients that come one after the other: a large batch in small parts.

    ``add`` is one launch for all parameters, and only one set of sums is kept; that of gradients in
    float16 or bfloat16 is in float32, for which each is cast. (With
    ``backward()``, which adds up in ``.grad`` by itself, divide each loss by the number of parts.)

    Examples
    --------
    >>> import gpugrad as gg, numpy as np
    >>> model, parts = gg.nn.Linear(3, 1), np.ones((4, 8, 3), "float32")
    >>> optimizer, gradients = gg.optim.SGD(model.parameters(), lr=0.1), gg.optim.Accumulator()
    >>> for x in parts:
    ...     gradients.add(gg.grad(lambda model, x: (model(x) ** 2).mean())(model, x))
    >>> optimizer.step(gradients.take())
    """

    def __init__(self) -> None:
        self.count = 0
        self._sums: list[Any] = []
        self._dtypes: list[Any] = []
        self._structure: Any = None
        self._boxed: list[bool] = []

    def add(self, grads: Any) -> None:
        """Take one part's gradients, a pytree of arrays, into the mean.

        Raises
        ------
        ValueError
            If they are not arrays of the same shapes and dtypes as before.
        """
        leaves, structure = flatten(grads)
        raw = [strip(g.detach()) if isinstance(g, Array) else g for g in leaves]
        raw = [g if hasattr(g, "flags") and g.ndim else _plain(g) for g in raw]
        dtypes = [g.dtype for g in raw]
        if not self.count:
            self._structure, self._boxed = structure, [isinstance(g, Array) for g in leaves]
            self._dtypes = dtypes
            self._sums = [g.astype(wide(g.dtype)) for g in raw]
        elif structure != self._structure:
            raise ValueError(f"Accumulator: gradients {structure}, but before {self._structure}")
        elif dtypes != self._dtypes:
            raise ValueError(
                f"Accumulator: gradients of {', '.join(map(str, dtypes))}, but before of "
                f"{', '.join(map(str, self._dtypes))}"
            )
        elif raw:
            with on(Array(raw[0]).device):
                same = [g.astype(s.dtype, copy=False) for g, s in zip(raw, self._sums, strict=True)]
                average([same], self._sums, add=True)
        self.count += 1

    def take(self) -> Any:
        """The mean of what was added, and begin anew."""
        if not self.count:
            raise RuntimeError("Accumulator.take: nothing was added since the last time")
        if self._sums and self.count > 1:
            with on(Array(self._sums[0]).device):
                average([self._sums], self._sums, unscale=self.count)
        means = [s.astype(d, copy=False) for s, d in zip(self._sums, self._dtypes, strict=True)]
        leaves = [Array(m) if b else m for m, b in zip(means, self._boxed, strict=True)]
        self.count, self._sums = 0, []
        return unflatten(self._structure, leaves)


def _plain(g: Any) -> Any:
    """Arrays without axes stay; numbers, which a kernel cannot write to, become such."""
    return np.asarray(g) if isinstance(g, np.generic | float) else g
