"""Where the threads run that share a compiled loop on the CPU."""

from __future__ import annotations

import os
import sys
from threading import Event

import numba
import pytest
from gpugrad.kernels.cpu import threads


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a thread its core")
def test_a_helper_leaves_its_callers_core(monkeypatch):
    moves = []

    def move(thread, cores):
        moves.append((thread, cores))
        raise PermissionError  # it stays then, and works

    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2})
    monkeypatch.setattr(os, "sched_setaffinity", move)
    monkeypatch.setattr(threads, "_core", lambda: 1)
    threads._leave(2)
    assert moves == []
    threads._leave(1)
    assert moves == [(0, {0, 2})]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a thread its core")
def test_a_helper_with_one_core_stays(monkeypatch):
    before = os.sched_getaffinity(0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {threads._core()})
    monkeypatch.setattr(threads, "_core", lambda: 0)
    threads._leave(0)
    monkeypatch.undo()
    assert os.sched_getaffinity(0) == before


def test_a_helper_is_told_its_callers_core(monkeypatch):
    @numba.njit(nogil=True)
    def nothing(start, stop):
        return None

    told, called = [], Event()
    monkeypatch.setattr(threads, "THREADS", 2)
    monkeypatch.setattr(threads, "_helpers", threads._helpers.__wrapped__)
    monkeypatch.setattr(threads, "_core", lambda: 5)
    monkeypatch.setattr(threads, "_leave", lambda core: (told.append(core), called.set()))
    threads.run(nothing, 100, 1e6)
    assert called.wait(60)
    assert told == [5]
