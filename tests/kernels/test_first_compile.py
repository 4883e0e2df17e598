"""A kernel that compiles in a user's step says so, once."""

from __future__ import annotations

import logging

import numpy as np
from gpugrad.kernels.cpu import shared, threads


def loop():
    @shared.loop()
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


def test_short_ones_are_counted_together(monkeypatch, caplog):
    monkeypatch.setattr(threads, "_told", False)
    monkeypatch.setattr(threads, "_compiled", {"sum": 0.7, "product": 0.2})
    monkeypatch.setattr(threads, "perf_counter", iter([0.0, 0.05, 1.0, 1.35]).__next__)
    threads.run(loop(), 5, 1.0, np.zeros(5))
    assert not caplog.messages
    with caplog.at_level(logging.WARNING, "gpugrad"):
        threads.run(loop(), 5, 1.0, np.zeros(5))
    (said,) = caplog.messages
    assert "kernels for 1.3 s (sum, product, add_one)" in said


def test_what_comes_from_disk_is_not_counted(monkeypatch, caplog, tmp_path):
    """The same function from a file, as Numba's cache needs it, in two processes' stead."""
    path = tmp_path / "loops.py"
    path.write_text(
        "from gpugrad.kernels.cpu import shared\n@shared.loop(cache=True)\n"
        "def add_one(start, stop, x):\n    for i in range(start, stop):\n        x[i] += 1\n"
    )

    def fresh():
        space: dict[str, object] = {"__name__": "loops"}
        exec(compile(path.read_text(), str(path), "exec"), space)
        return space["add_one"]

    monkeypatch.setattr(threads, "_told", False)
    monkeypatch.setattr(threads, "_compiled", {})
    monkeypatch.setattr(threads, "SLOW", 1e9)
    threads.run(fresh(), 5, 1.0, np.zeros(5))
    assert list(threads._compiled) == ["add_one"]
    threads._compiled.clear()
    threads.run(fresh(), 5, 1.0, np.zeros(5))
    assert not threads._compiled
