"""Batches: each record once an epoch, the same order everywhere, continued at any point."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

import gpugrad as gg
from gpugrad.data import Arrays, DataError, Loader
from gpugrad.random import Generator

X = np.arange(22 * 3, dtype="float32").reshape(22, 3)
Y = np.arange(22)


def loader(device, where="host", **options):
    data = (X, Y) if where == "host" else [gg.Array(a, device=device) for a in (X, Y)]
    options = {"batch_size": 8, "generator": Generator(3), "device": device} | options
    return Loader(Arrays(*data), **options)


def numbers(batches):
    return [y.numpy().tolist() for _, y in batches]


@pytest.mark.parametrize("where", ["host", "device"])
@pytest.mark.parametrize("prefetch", [0, 2])
def test_each_record_once_an_epoch(where, prefetch, device):
    batches = loader(device, where, prefetch=prefetch)
    assert len(batches) == 3
    epochs = []
    for _ in range(2):
        found = list(batches)
        assert [len(x) for x, _ in found] == [8, 8, 6]
        for x, y in found:
            assert x.device == y.device == device
            np.testing.assert_array_equal(x.numpy(), X[y.numpy()])
        epochs.append(np.concatenate(numbers(found)))
        assert sorted(epochs[-1]) == Y.tolist()
    assert batches.epoch == 2
    assert epochs[0].tolist() != epochs[1].tolist()
    # The same on every device, from wherever, fetched ahead or not.
    assert epochs[0].tolist() == np.concatenate(numbers(loader("cpu", prefetch=0))).tolist()


@pytest.mark.parametrize("where", ["host", "device"])
@pytest.mark.parametrize("taken", [0, 1, 2, 3, 4, 6])
def test_it_continues_where_it_was(taken, where, device):
    def endless(batches):
        while True:
            yield from batches

    whole = endless(loader(device, where))
    expected = numbers(next(whole) for _ in range(9))
    first = loader(device, where)
    begun = endless(first)
    numbers(next(begun) for _ in range(taken))
    second = loader(device, where, generator=Generator(77))
    second.load_state_dict(first.state_dict())
    rest = endless(second)
    assert numbers(next(rest) for _ in range(9 - taken)) == expected[taken:]


def test_its_order_is_its_own():
    # What else is drawn from the generator between batches changes nothing.
    g = Generator(3)
    batches = loader("cpu", generator=g)
    found = []
    for _, y in batches:
        g.uniform(size=3)
        found.append(y.numpy().tolist())
    assert found == numbers(loader("cpu"))


def test_in_order_and_without_the_rest(device):
    batches = loader(device, shuffle=False, drop_last=True)
    assert numbers(batches) == [list(range(8)), list(range(8, 16))]
    with pytest.raises(ValueError, match="22 records give no batch of 23"):
        loader(device, batch_size=23, drop_last=True)


def test_the_thread_ends_with_the_loop():
    before = set(threading.enumerate())
    for _ in loader("cpu", batch_size=1):
        break
    assert set(threading.enumerate()) <= before
    list(loader("cpu", batch_size=1))
    assert set(threading.enumerate()) <= before


def test_the_thread_fetches_ahead_and_no_further():
    taken = []

    class Slow(Arrays):
        def take(self, rows):
            taken.append(len(taken))
            return super().take(rows)

    batches = iter(Loader(Slow(X, Y), 2, prefetch=3, device="cpu"))
    next(batches)
    end = time.monotonic() + 10
    while len(taken) < 5 and time.monotonic() < end:
        time.sleep(0.001)
    time.sleep(0.02)
    # One is used, three wait, and one waits for room.
    assert len(taken) == 5
    batches.close()


def test_an_error_in_the_thread_is_the_callers():
    class Bad(Arrays):
        def take(self, rows):
            if 5 in rows:
                raise DataError("record 5 is broken")
            return super().take(rows)

    seen = []
    with pytest.raises(DataError, match="record 5 is broken"):
        seen.extend(Loader(Bad(X, Y), 4, shuffle=False, device="cpu"))
    assert len(seen) == 1


@pytest.mark.cuda
def test_batches_come_through_pinned_memory_and_are_not_overwritten(cuda, counters):
    batches = loader("cuda:0", batch_size=4)
    with counters() as r:
        kept = list(batches)  # more than there are buffers
    assert r["d2h"] == 0
    assert r["h2d_bytes"] == X.nbytes + Y.nbytes
    for x, y in kept:
        np.testing.assert_array_equal(x.numpy(), X[y.numpy()])


@pytest.mark.cuda
def test_batches_on_the_device_cross_nothing(cuda, counters):
    batches = loader("cuda:0", "device")
    list(batches)
    with counters() as r:
        list(batches)
    assert r["d2h"] == 0
    assert r["h2d_bytes"] == 16  # the state of the generator


def test_labels_out_of_range_are_named(device):
    labels = gg.Array(np.array([0, 1, 7, 2, -1]), device=device)
    with pytest.raises(DataError, match=r"label 7 of record 2 is out of range: .* 0 to 2, and 1"):
        Arrays(labels, classes=3)
    with pytest.raises(DataError, match="labels are whole numbers, got float64"):
        Arrays(np.ones(3), classes=3)
    Arrays(labels, classes=None)
    rows = gg.Array(np.array([[0, 1], [0, 1], [0, 9], [8, 0]]), device=device)
    with pytest.raises(DataError, match=r"label 9 of record 2 is out of range: .* and 1 more"):
        Arrays(rows, classes=2)


def test_arrays_that_do_not_go_together():
    with pytest.raises(DataError, match=r"one length is needed, got \[22, 5\]"):
        Arrays(X, Y[:5])
    with pytest.raises(DataError, match="there are no records"):
        Arrays(X[:0])
    with pytest.raises(ValueError, match="batch_size is at least 1 and prefetch at least 0"):
        Loader(Arrays(X), 0)
