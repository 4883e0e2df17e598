"""Interpreters and their nesting."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpugrad.core.checkpoint import Region
    from gpugrad.core.primitive import Primitive


Casting = Callable[["Primitive", Sequence[Any]], Sequence[Any]]
"""What `autocast` does to the operands of a primitive."""


class _State(threading.local):
    depth: int = 0
    """How many transforms are active in this thread; level 0 is the tape of ``requires_grad``."""
    quiet: int = -1
    """Tapes of this level and below do not record (``no_grad``)."""
    region: Region | None = None
    """The checkpointed function that is running, if any."""
    casting: Casting | None = None
    """What is done to operands first (``autocast``)."""


state = _State()


autocasting: list[None] = []
"""As long as in some thread operands are cast: empty, it costs an operation next to nothing."""


modes: list[None] = []
"""As long as some thread is under ``no_grad`` or runs a checkpointed function, in the same way."""


@contextmanager
def casting(cast: Casting | None) -> Iterator[None]:
    """Apply ``cast`` to the operands of what this thread computes inside; None: leave them."""
    before = state.casting
    state.casting = cast
    autocasting.append(None)
    try:
        yield
    finally:
        autocasting.pop()
        state.casting = before


class Trace:
    """An interpreter: it decides what applying a primitive to its boxes means.

    Parameters
    ----------
    level
        Nesting depth. The operand with the highest level chooses the interpreter; boxes of lower
        levels are ordinary values to it.
    """

    __slots__ = ("level",)

    hidden = 0
    """Leading axes of a box's value that the user does not see: 1 under ``vmap``."""

    def __init__(self, level: int) -> None:
        self.level = level

    def apply(self, primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        """Apply ``primitive`` to ``args``, of which at least one is a box of this trace."""
        raise TypeError(f"{type(self).__name__} defines no apply")


@contextmanager
def deeper() -> Iterator[int]:
    """Enter a transform; yields the level of its trace."""
    state.depth += 1
    try:
        yield state.depth
    finally:
        state.depth -= 1


def check_level(trace: Trace, mine: Trace, primitive: Primitive) -> None:
    """Refuse a box that outlived the transform it was made in."""
    if trace.level >= mine.level:
        raise leaked(primitive)


def leaked(primitive: Primitive) -> LeakedBoxError:
    """The error of an operation on an array whose transform is not active."""
    return LeakedBoxError(
        f"{primitive.name} was given an array of a transform that has ended, or that runs in "
        "another thread: it was kept from inside a function under grad, vjp, jvp or vmap. Return "
        "the value from that function instead (value_and_grad(f, has_aux=True) returns more than "
        "the loss). A function with a rule of its own takes such arrays as arguments."
    )


class LeakedBoxError(RuntimeError):
    """An array escaped from the transform that made it."""
