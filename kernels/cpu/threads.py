"""Compiled loops shared out to threads, as many as the work is worth.

Not Numba's own parallel loops: their threads must not meet a fork, two Python threads must not
enter them together, and each must wait for the slowest. Here the caller takes parts of the loop
as the helpers do, and when none is left it waits only for those that are in work.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numba

THREADS: int = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined, unused-ignore]
"""How many at most: the cores that this process may use, or the variable of that name."""

GRAIN = 100_000
"""Nanoseconds of work below which another thread costs more than it saves."""


def run(loop: Callable[..., Any], items: int, work: float, *args: Any) -> None:
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
