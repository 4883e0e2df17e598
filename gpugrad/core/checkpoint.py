"""Recompute residuals in the backward pass instead of keeping them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gpugrad.core.errors import TapeError
from gpugrad.core.trace import Trace, casting, modes, state


class Region:
    """One call of a checkpointed function: its residuals are set aside and made again on demand.

    The function runs as usual and its operations are recorded, so that gradients also flow to
    arrays it closes over; only the residuals are replaced by a reference to this region. The
    first that a backward pass asks for runs the function once more and keeps the residuals of
    that pass until each has been used.
    """

    __slots__ = (
        "_args",
        "_casting",
        "_counts",
        "_depth",
        "_function",
        "_kwargs",
        "_made",
        "_outer",
        "_quiet",
        "_refilling",
    )

    def __init__(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self._function = function
        self._args = args
        self._kwargs = kwargs
        self._counts: dict[Trace, int] = {}
        self._made: dict[Trace, dict[int, Any]] = {}
        self._refilling: Trace | None = None
        self._outer = state.region
        # The second run must nest and record as the first did, wherever it is asked for.
        self._depth = state.depth
        self._quiet = state.quiet
        self._casting = state.casting

    def run(self) -> Any:
        """Call the function with this region in force."""
        before = state.region, state.depth, state.quiet
        state.region = self
        state.depth = max(state.depth, self._depth)
        state.quiet = self._quiet
        modes.append(None)
        try:
            if self._casting is state.casting:
                return self._function(*self._args, **self._kwargs)
            with casting(self._casting):  # as it was the first time
                return self._function(*self._args, **self._kwargs)
        finally:
            modes.pop()
            state.region, state.depth, state.quiet = before

    def set_aside(self, tape: Trace, saved: Any) -> Any:
        """What the node keeps in place of ``saved``."""
        if tape.level > self._depth:
            return saved  # a transform inside the function: it ends before the function does
        index = self._counts.get(tape, 0)
        self._counts[tape] = index + 1
        if tape is self._refilling:
            self._made[tape][index] = saved
            return saved
        kept = Recompute(self, tape, index)
        # An enclosing region makes this one again too: nothing needs to outlive its forward pass.
        return kept if self._outer is None else self._outer.set_aside(tape, kept)

    def take(self, tape: Trace, index: int) -> Any:
        """The residuals of the tape's node number ``index`` in this region."""
        made = self._made.get(tape)
        if made is None or index not in made:
            made = self._refill(tape)
        if index not in made:
            raise TapeError(
                "A checkpointed function recorded other operations when it was run again: it "
                "must do the same each time it is called with the same arguments."
            )
        return made.pop(index)

    def _refill(self, tape: Trace) -> dict[int, Any]:
        again = Region(self._function, self._args, self._kwargs)
        again._refilling = tape
        again._depth, again._quiet, again._outer = self._depth, self._quiet, None
        again._casting = self._casting
        made = again._made[tape] = {}
        again.run()
        # The nodes recorded just now point at nothing that outlives this call: only their
        # residuals are wanted.
        self._made[tape] = made
        return made


class Recompute:
    """Stands where a node's residuals would be."""

    __slots__ = ("index", "region", "tape")

    def __init__(self, region: Region, tape: Trace, index: int) -> None:
        self.region = region
        self.tape = tape
        self.index = index

    def recompute(self) -> Any:
        """The residuals made again, or where an inner region will make them."""
        return self.region.take(self.tape, self.index)
