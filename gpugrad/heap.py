"""Memory of the host that is freed stays with the process, as CuPy's pool keeps a GPU's.

Without this, glibc hands what is freed at the end of the heap back to the system. A tape frees its
residuals in every backward pass, so the next forward pass would be given new pages, each of which
the system must clear: more than half of the time of a program with many arrays of a megabyte. The
figures are in docs/performance.md.
"""

from __future__ import annotations

import ctypes
import os

from gpugrad.device import host_total

VARIABLE = "GPUGRAD_HOST_MEMORY_KEPT"

_LARGEST = 32 << 20
"""Larger arrays are mapped for themselves and go back at once: glibc's own upper limit."""

_STEP = 64 << 20
"""By how much the heap grows, in address space; its pages are taken when they are used."""

# What mallopt(3) calls M_TRIM_THRESHOLD, M_TOP_PAD and M_MMAP_THRESHOLD, and how users set them.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_USERS = ("trim_threshold", "top_pad", "mmap_threshold")


def keep_freed() -> int:
    """Have the C library keep what is freed, up to a limit, for the arrays that come next.

    The limit is `GPUGRAD_HOST_MEMORY_KEPT` in bytes, at most 2 GiB; by default 1 GiB, or an eighth
    of the machine's memory where that is less. 0 leaves the C library as it is, and so do the
    user's own settings of it (``MALLOC_TRIM_THRESHOLD_`` and the like, or ``GLIBC_TUNABLES``) and
    any C library but glibc.

    Returns
    -------
    int
        The limit in bytes; 0 where nothing was changed.

    Raises
    ------
    ValueError
        If the variable is no number of bytes.

    Notes
    -----
    The variables are described in mallopt(3) of the Linux manual.

    Examples
    --------
    >>> from gpugrad.heap import keep_freed
    >>> keep_freed() >= 0
    True
    """
    limit = _limit()
    if not limit or not _is_glibc() or _set_by_user():
        return 0
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(_TRIM_THRESHOLD, limit)
    mallopt(_TOP_PAD, min(_STEP, limit))
    mallopt(_MMAP_THRESHOLD, _LARGEST)
    return limit


def _limit() -> int:
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return min(1 << 30, host_total() // 8)
    if not text.isascii() or not text.isdigit():
        raise ValueError(f"{VARIABLE}={text!r}: expected a number of bytes, 0 to keep nothing")
    return min(int(text), (1 << 31) - 1)  # a C int


def _is_glibc() -> bool:
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except (AttributeError, ValueError, OSError):  # not POSIX, or a C library without the name
        return False


def _set_by_user() -> bool:
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    return any(
        f"MALLOC_{name.upper()}_" in os.environ or f"glibc.malloc.{name}=" in tunables
        for name in _USERS
    )
