"""Compiled loops that several threads share on the CPU, and where these run."""

from __future__ import annotations

import ctypes
import gc
import itertools
import os
import subprocess
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import pytest
from gpugrad.kernels.cpu import shared, threads
from gpugrad.kernels.cpu.words import look, pause, put, swap

ITEMS = 1000


@pytest.fixture
def four(monkeypatch):
    """Four threads, whatever the machine has, and much work."""
    monkeypatch.setattr(threads, "THREADS", 4)
    pools = {}
    make = threads._pool.__wrapped__
    monkeypatch.setattr(
        threads,
        "_pool",
        lambda pid: pools[pid] if pid in pools else pools.setdefault(pid, make(pid)),
    )


def run(loop, *args):
    threads.run(loop, ITEMS, 1e9, *args)


@shared.loop()
def count(start, stop, x, by):
    for i in range(start, stop):
        x[i] += by


@shared.loop()
def fail_at(start, stop, which, seen):
    for i in range(start, stop):
        if i == which:
            raise ValueError("this one")
        seen[i] = 1


@numba.njit
def all_come(start, wanted, here):
    """Whether so many parts are in work at once: each waits for the others, with an end to it."""
    swap(here + 8 * (start + 1), 1)
    for _ in range(2_000_000_000):
        met = 0
        for k in range(1, wanted + 1):
            met += look(here + 8 * k)
        if met == wanted:
            return True
        pause()
    return False


@shared.loop()
def meet(start, stop, wanted, here):
    if all_come(start, wanted, here):
        put(here, 1)


def test_every_item_is_taken_once(four):
    x = np.zeros(ITEMS)
    for _ in range(300):
        run(count, x, 1.0)
    assert (x == 300).all()


@pytest.mark.parametrize("items", [1, 2, 3, 5, 997])
def test_any_number_of_items(four, items):
    x = np.zeros(items + 1)
    threads.run(count, items, 1e9, x, 2)
    assert x.tolist() == [2.0] * items + [0.0]


def test_helpers_work_beside_their_caller(four):
    """Parts that go on only together: each is another thread's."""
    here = np.zeros(5, np.int64)
    threads.run(meet, 4, 1e9, 4, here.ctypes.data)
    assert here.tolist() == [1] * 5


def test_arguments_of_every_kind(four):
    @shared.loop()
    def several(start, stop, x, none, flag, pair, number):
        for i in range(start, stop):
            if none is None and flag:
                x[i] = pair[0] + pair[1][0] * number

    x = np.zeros(ITEMS, np.float32)
    run(several, x, None, True, (1, (2.5, "text")), np.float32(2))
    assert (x == 6).all()


def test_helpers_that_were_woken_for_nothing_sleep_again(four):
    x = np.zeros(ITEMS)
    for _ in range(100):
        threads.expect(1e9)
    run(count, x, 1)
    assert x.all()


def test_little_work_wakes_nobody(monkeypatch):
    monkeypatch.setattr(threads, "_pool", lambda pid: pytest.fail("helpers were asked for"))
    threads.expect(2 * threads.GRAIN - 1)
    x = np.zeros(ITEMS)
    threads.run(count, ITEMS, 2 * threads.GRAIN - 1, x, 1)
    assert x.all()


def test_callers_in_several_threads(four):
    def call(k):
        x = np.zeros(ITEMS)
        for _ in range(200):
            run(count, x, k)
        return (x == 200 * k).all()

    run(count, np.zeros(ITEMS), 1)
    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(call, range(1, 7)))


@pytest.mark.parametrize("which", [0, ITEMS // 2, ITEMS - 1])
def test_an_error_reaches_the_caller(four, which):
    for _ in range(50):
        with pytest.raises(ValueError, match="this one"):
            run(fail_at, which, np.zeros(ITEMS))
    x = np.zeros(ITEMS)
    run(count, x, 1)
    assert x.all()


def test_an_error_of_a_helper_reaches_the_caller(four):
    """The part that fails waits for the others, which are the helpers' and the caller's."""

    @shared.loop()
    def fail_together(start, stop, wanted, here, mine):
        all_come(start, wanted, here)
        if start == mine:
            raise ValueError("this one")

    for mine in range(4):
        here = np.zeros(5, np.int64)
        with pytest.raises(ValueError, match="this one"):
            threads.run(fail_together, 4, 1e9, 4, here.ctypes.data, mine)
        assert here[1:].all()


def test_nothing_keeps_arrays_alive(four):
    x = np.zeros(ITEMS)
    end = weakref.ref(x)
    run(count, x, 1)
    del x
    gc.collect()
    assert end() is None


FORKED = """
import os, sys
import numpy as np
from threading import Thread
from gpugrad.kernels.cpu import philox, threads

threads.THREADS = 3
state, stop = np.zeros(4, np.uint32), []
out = np.zeros(1 << 16, np.uint32)
threads.run(philox.bits, len(out) // 4, 1e9, out, state)


def busy():
    mine = np.zeros_like(out)
    while not stop:
        threads.run(philox.bits, len(out) // 4, 1e9, mine, state)


worker = Thread(target=busy)
worker.start()
for _ in range(5):
    child = os.fork()
    if not child:
        again = np.zeros_like(out)
        threads.run(philox.bits, len(out) // 4, 1e9, again, state)
        os._exit(0 if (again == out).all() else 1)
    assert os.waitpid(child, 0)[1] == 0
stop.append(True)
worker.join()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_fork_while_helpers_work():
    run = subprocess.run(
        [sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr


LOADED = """
import sys
import numpy as np

sys.path.insert(0, sys.argv[1])
import some_loops
from gpugrad.kernels.cpu import threads

x = np.zeros(10)
threads.run(some_loops.add, 10, 1.0, x)
assert x.tolist() == [some_loops.BY] * 10
print(sum(some_loops.add.stats.cache_hits.values()))
"""


def test_machine_code_is_kept_until_the_loops_file_changes(tmp_path):
    path = tmp_path / "some_loops.py"

    def write(by):
        path.write_text(
            f"from gpugrad.kernels.cpu import shared\n\nBY = {by}\n\n\n@shared.loop(cache=True)\n"
            f"def add(start, stop, x):\n    for i in range(start, stop):\n        x[i] += BY\n"
        )
        os.utime(path, (by, by))

    def hits():
        argv = [sys.executable, "-c", LOADED, str(tmp_path)]
        run = subprocess.run(argv, capture_output=True, text=True, timeout=300)
        assert run.returncode == 0, run.stderr
        return int(run.stdout)

    write(1)
    assert [hits(), hits()] == [0, 1]
    write(2)
    assert [hits(), hits()] == [0, 1]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a thread its core")
def test_a_helper_leaves_a_core(monkeypatch):
    moves = []

    def move(thread, cores):
        moves.append((thread, cores))
        raise PermissionError  # it stays then, and works

    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2})
    monkeypatch.setattr(os, "sched_setaffinity", move)
    threads._leave(1)
    assert moves == [(0, {0, 2})]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a thread its core")
def test_a_helper_with_one_core_stays(monkeypatch):
    before = os.sched_getaffinity(0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0})
    threads._leave(0)
    monkeypatch.undo()
    assert os.sched_getaffinity(0) == before


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a thread its core")
def test_a_helper_on_its_callers_core_is_told_so_once_and_works(four, monkeypatch):
    """All threads seem to be on one core, which they cannot leave."""
    told = []
    core = ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 5)
    monkeypatch.setattr(threads, "_CORE", threads._address(core))
    monkeypatch.setattr(threads, "_leave", told.append)
    here = np.zeros(5, np.int64)
    threads.run(meet, 4, 1e9, 4, here.ctypes.data)
    assert here.tolist() == [1] * 5
    assert told == [5] * 3


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a thread its core")
def test_a_helper_on_another_core_is_left_there(four, monkeypatch):
    told, cores = [], itertools.count()
    core = ctypes.CFUNCTYPE(ctypes.c_int)(lambda: next(cores))
    monkeypatch.setattr(threads, "_CORE", threads._address(core))
    monkeypatch.setattr(threads, "_leave", told.append)
    here = np.zeros(5, np.int64)
    threads.run(meet, 4, 1e9, 4, here.ctypes.data)
    assert here.tolist() == [1] * 5
    assert told == []
