"""Compiled loops shared out to threads, as many as the work is worth.

Not Numba's own parallel loops: their threads must not meet a fork, two Python threads must not
enter them together, and each must wait for the slowest. Here the caller takes parts of the loop
as the helpers do, and when none is left it waits only for those that are in work.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import sys
from collections.abc import Callable
from functools import cache, lru_cache
from queue import SimpleQueue
from threading import Thread
from time import perf_counter
from typing import Any

import numba

THREADS: int = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined, unused-ignore]
"""How many at most: the cores that this process may use, or the variable of that name."""

GRAIN = 50_000
"""Nanoseconds of work below which another thread costs more than it saves."""

SLOW = 1.0
"""Seconds of compiling, of all kernels together, after which the user is told of the wait."""


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
_compiled: dict[str, float] = {}


def hush() -> None:
    """Say nothing of what is compiled."""
    global _told
    _told = True


def _tell(loop: Any, spent: float) -> None:
    """Say once that kernels were compiled, if that took long: from disk they come at once."""
    if _told or next(reversed(loop.overloads)) in loop.stats.cache_hits:
        return
    _compiled[loop.__name__] = _compiled.get(loop.__name__, 0.0) + spent
    whole = sum(_compiled.values())
    if whole > SLOW:
        hush()
        logging.getLogger("gpugrad").warning(
            "gpugrad compiled kernels for %.1f s (%s), and keeps them on disk. "
            "`gpugrad doctor --warm` compiles all of them before they are needed.",
            whole,
            ", ".join(_compiled),
        )


def _share(loop: Callable[..., Any], items: int, work: float, *args: Any) -> None:
    threads = min(THREADS, items, int(work / GRAIN))
    if threads < 2:
        loop(0, items, *args)
        return
    parts = _cut(items, threads, max(1, round(items * GRAIN / (2 * work))))
    rest = iter(parts)
    ended: SimpleQueue[int | BaseException] = SimpleQueue()

    def take() -> int:
        count = 0
        for (
            start,
            stop,
        ) in rest:  # each goes to one thread: a list's iterator is not split by a switch
            loop(start, stop, *args)
            count += 1
        return count

    jobs, core = _helpers(os.getpid()), _core()
    for _ in range(threads - 1):
        jobs.put((core, take, ended))
    done = take()
    while done < len(parts):  # helpers that have found no part left are not waited for
        found = ended.get()
        if isinstance(found, BaseException):
            raise found
        done += found


@lru_cache(maxsize=256)
def _cut(items: int, threads: int, least: int) -> list[tuple[int, int]]:
    """Parts that get smaller, since the helpers come later and nobody should wait for the last.

    Each takes its share of what is left: guided self-scheduling (Polychronopoulos and Kuck, 1987).
    Not many: a call costs some microseconds.
    """
    parts, start = [], 0
    while start < items:
        stop = min(items, start + max(least, (items - start) // threads))
        parts.append((start, stop))
        start = stop
    return parts


if sys.platform == "linux":
    _core: Callable[[], int] = ctypes.PyDLL(None).sched_getcpu

    def _leave(core: int) -> None:
        """Go to another core than ``core``, where the caller is at work, and stay off it.

        Linux wakes a helper on its caller's core, to take turns there, where it looks for no idle
        core after busy times, or takes one of a virtual machine that sleeps for a busy one.
        """
        if _core() == core:
            with contextlib.suppress(OSError):  # there is no other, or the system forbids it
                os.sched_setaffinity(0, os.sched_getaffinity(os.getpid()) - {core})
else:

    def _core() -> int:
        return -1

    def _leave(core: int) -> None:
        """Stay: it is not known which core this is."""


Jobs = SimpleQueue[tuple[int, Callable[[], int], "SimpleQueue[int | BaseException]"]]


@cache
def _helpers(pid: int) -> Jobs:
    """What threads wait for that then work; a forked process has none of its parent's."""
    jobs: Jobs = SimpleQueue()
    for _ in range(THREADS - 1):
        Thread(target=_help, args=(jobs,), name="gpugrad", daemon=True).start()
    return jobs


def _help(jobs: Jobs) -> None:
    while True:
        _work(*jobs.get())


def _work(core: int, take: Callable[[], int], ended: SimpleQueue[int | BaseException]) -> None:
    """In a function of its own: a thread that waits holds no array."""
    _leave(core)
    try:
        ended.put(take())
    except BaseException as error:
        ended.put(error)
