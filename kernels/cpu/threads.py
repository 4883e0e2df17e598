"""Compiled loops shared out to threads, as many as the work is worth.

Not Numba's own parallel loops: their threads must not meet a fork, two Python threads must not
enter them together, and each must wait for the slowest. Here the caller takes parts of the loop
as the helpers do, and when none is left it waits only for those that are in work.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from time import perf_counter
from typing import Any

import numba

THREADS: int = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined, unused-ignore]
"""How many at most: the cores that this process may use, or the variable of that name."""

GRAIN = 100_000
"""Nanoseconds of work below which another thread costs more than it saves."""


SLOW = 1.0
"""Seconds of compiling after which the user is told what the wait was for."""


def run(loop: Any, items: int, work: float, *args: Any) -> None:
    """Call ``loop(start, stop, *args)`` on parts of ``range(items)`` that cover it.

    Parameters
    ----------
    loop
        Compiled with ``nogil``. Its parts must not depend on each other.
    items
        How many there are to share out.
    work
        Roughly how many nanoseconds one thread takes for all of them.
    """
    known = len(loop.overloads)
    started = perf_counter()
    _share(loop, items, work, *args)
    if len(loop.overloads) > known:
        _tell(loop, perf_counter() - started)


_told = False


def _tell(loop: Any, spent: float) -> None:
    """Say once that a kernel was compiled, if that took long: from disk it comes at once."""
    global _told
    if spent > SLOW and not _told:
        _told = True
        logging.getLogger("gpugrad").warning(
            "gpugrad compiled a kernel, %s, in %.1f s, and keeps it on disk. "
            "`gpugrad doctor --warm` compiles all of them before they are needed.",
            loop.__name__,
            spent,
        )


def _share(loop: Callable[..., Any], items: int, work: float, *args: Any) -> None:
    threads = min(THREADS, items, int(work / GRAIN))
    if threads < 2:
        loop(0, items, *args)
        return
    parts = min(items, 4 * threads, int(2 * work / GRAIN))
    rest = iter(range(parts))

    def take(rest: Iterator[int]) -> None:
        for i in rest:  # each part goes to one thread: a range's iterator is not split by a switch
            loop(items * i // parts, items * (i + 1) // parts, *args)

    helpers = [_pool(os.getpid()).submit(take, rest) for _ in range(threads - 1)]
    take(rest)
    for h in helpers:
        if not h.cancel():  # it has begun
            h.result()


@cache
def _pool(pid: int) -> ThreadPoolExecutor:
    """Threads that wait for work; a forked process has none of its parent's."""
    return ThreadPoolExecutor(THREADS, "gpugrad")
