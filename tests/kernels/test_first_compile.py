"""A kernel that compiles in a user's step says so, once."""

from __future__ import annotations

import logging

import numba
import numpy as np
from gpugrad.kernels.cpu import threads


def loop():
    @numba.njit(nogil=True)
    def add_one(start, stop, x):
        for i in range(start, stop):
            x[i] += 1

    return add_one


def test_a_slow_compilation_is_told_once(monkeypatch, caplog):
    monkeypatch.setattr(threads, "_told", False)
    monkeypatch.setattr(threads, "SLOW", 0.0)
    x = np.zeros(5)
    first = loop()
    with caplog.at_level(logging.WARNING, "gpugrad"):
        for _ in range(2):
            threads.run(first, 5, 1.0, x)
        threads.run(loop(), 5, 1.0, x)
    assert x.tolist() == [3] * 5
    (said,) = caplog.messages
    assert "add_one" in said
    assert "gpugrad doctor --warm" in said


def test_what_is_quick_is_not_told(monkeypatch, caplog):
    monkeypatch.setattr(threads, "_told", False)
    monkeypatch.setattr(threads, "SLOW", 1e9)
    threads.run(loop(), 5, 1.0, np.zeros(5))
    assert not caplog.messages
