"""Compiled loops shared out to threads, as many as the work is worth.

Not Numba's own parallel loops: their threads must not meet a fork, two Python threads must not
enter them together, and each must wait for the slowest. Here the caller takes parts of the loop
as the helpers do, and when none is left it waits only for those that are in work; see shared.py.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import sys
from collections.abc import Callable
from functools import cache
from threading import Thread
from time import perf_counter
from typing import Any

import numba
import numpy as np
from gpugrad.kernels.cpu.shared import (
    ACQUIRE,
    BLOCK,
    CORE,
    COUNT,
    ENDED,
    FROM,
    RELEASE,
    WAKE,
    rouse,
    serve,
)
from numba import types

THREADS: int = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined, unused-ignore]
"""How many at most: the cores that this process may use, or the variable of that name."""

GRAIN = 50_000
"""Nanoseconds of work below which another thread costs more than it saves."""

SLOW = 1.0
"""Seconds of compiling, of all kernels together, after which the user is told of the wait."""


def run(loop: Any, items: int, work: float, *args: Any) -> None:
    """Run ``loop(start, stop, *args)`` on parts of ``range(items)`` that cover it.

    Parameters
    ----------
    loop
        Made by `shared.loop`. Its parts must not depend on each other.
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


def expect(work: float) -> None:
    """Wake helpers for work of so many nanoseconds that begins in some 50 us.

    To wake takes as long. Where no work comes they sleep again.
    """
    shares = min(THREADS, int(work / GRAIN))
    if shares > 1:
        rouse(_pool(os.getpid()), shares - 1)


def _share(loop: Callable[..., Any], items: int, work: float, *args: Any) -> None:
    shares = min(THREADS, items, int(work / GRAIN))
    if shares < 2:
        loop(0, items, items, 1, *args)
        return
    least = max(1, round(items * GRAIN / (4 * work)))  # the others wait as long for the last part
    loop(_pool(os.getpid()), items, least, shares, *args)


@cache
def _pool(pid: int) -> int:
    """Where the helpers of a process wait for jobs; a forked process has none of its parent's."""
    serve.compile((types.int64,) * 3)  # here: a thread at work in LLVM would crash an exit
    rouse.compile((types.int64,) * 2)
    api = ctypes.pythonapi
    words = np.zeros((THREADS, BLOCK), np.int64)
    words[0, COUNT] = THREADS - 1
    words[0, ACQUIRE] = _address(api.PyThread_acquire_lock)
    words[0, RELEASE] = _address(api.PyThread_release_lock)
    words[0, CORE] = _CORE
    for helper in words[1:]:
        helper[FROM], helper[WAKE], helper[ENDED] = -1, _taken_lock(), _taken_lock()
    for k in range(1, THREADS):
        Thread(target=_help, args=(words, k), name="gpugrad", daemon=True).start()
    return int(words.ctypes.data)


def _address(function: Any) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def _taken_lock() -> int:
    """A lock of CPython's, for threads that do not hold the GIL."""
    allocate = ctypes.PYFUNCTYPE(ctypes.c_void_p)(("PyThread_allocate_lock", ctypes.pythonapi))
    take = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)
    lock = allocate()
    take(("PyThread_acquire_lock", ctypes.pythonapi))(lock, 1)
    return int(lock)


def _help(words: Any, k: int) -> None:
    pool, helper, stays = words.ctypes.data, words[k].ctypes.data, -1
    while True:
        stays = serve(pool, helper, stays)
        _leave(stays)


if sys.platform == "linux":
    _CORE = _address(ctypes.CDLL(None).sched_getcpu)

    def _leave(core: int) -> None:
        """Stay off a core from now on, where a caller is at work.

        Linux wakes a helper on its caller's core, to take turns there, where it looks for no idle
        core after busy times, or takes one of a virtual machine that sleeps for a busy one.
        """
        with contextlib.suppress(OSError):  # there is no other, or the system forbids it
            os.sched_setaffinity(0, os.sched_getaffinity(os.getpid()) - {core})
else:
    _CORE = 0  # it is not known there

    def _leave(core: int) -> None:
        """Stay."""
