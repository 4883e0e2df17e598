"""Copies that overlap with computing, on a device that does its work late and in any order.

The stand-in runs streams in order, so a missing wait would not be seen there. Here CuPy's names
stand for streams whose work is done later, at random but for the order within a stream and for
events, and for memory pools that give a block again as soon as it is free, as CuPy's do.
"""

from __future__ import annotations

import random
import threading
import weakref
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import numpy as np
import pytest

from gpugrad.data import Arrays, Loader, upload
from gpugrad.device import Device
from gpugrad.random import Generator

X = np.random.default_rng(0).normal(size=(60, 3)).astype("float32")
Y = np.arange(60)


class Pool:
    """Blocks by their size; the one that was freed last is given first."""

    def __init__(self):
        self.free = {}

    def take(self, owner, shape, dtype):
        size = int(np.prod(shape, dtype=int)) * np.dtype(dtype).itemsize
        free = self.free.setdefault(size, [])
        block = free.pop() if free else np.zeros(size, np.uint8)
        array = block.view(dtype).reshape(shape).view(owner)
        weakref.finalize(array, free.append, block)
        array.block = block
        return array


class OnDevice(np.ndarray):
    def set(self, host, stream):
        assert stream is stream.device.current()
        block, source = self.block.view(self.dtype).reshape(self.shape), np.asarray(host)
        stream.add(lambda: np.copyto(block, source), "copy")


class Pinned(np.ndarray):
    @property
    def mem(self):
        return SimpleNamespace(size=self.nbytes)


class Stream:
    def __init__(self, device):
        self.device = device
        self.pool = Pool()
        self.queue = []
        self.kinds = set()

    def add(self, do, kind, waits_for=None):
        with self.device.lock:
            self.queue.append((do, waits_for))
            self.kinds.add(kind)

    def record(self):
        event = Event(self.device)
        self.add(event.reach, "record")
        return event

    def wait_event(self, event):
        self.add(lambda: None, "wait", event)

    def __enter__(self):
        self.before, self.device.threads.stream = self.device.current(), self

    def __exit__(self, *error):
        self.device.threads.stream = self.before


class Event:
    def __init__(self, device):
        self.device = device
        self.reached = False

    def reach(self):
        self.reached = True

    def synchronize(self):
        self.device.waiting.append(threading.current_thread().name)
        while not self.reached:
            self.device.work(1)


class Lazy:
    """A device that works when it is made to."""

    def __init__(self, seed):
        self.lock = threading.RLock()
        self.draw = random.Random(seed)
        self.threads = threading.local()
        self.default = Stream(self)
        self.streams = [self.default]
        self.waiting = []  # the threads that waited for it
        pinned = Pool()
        self.cuda = SimpleNamespace(
            Stream=self.new_stream,
            get_current_stream=self.current,
            alloc_pinned_memory=lambda size: pinned.take(Pinned, (size,), np.uint8),
        )

    def new_stream(self, non_blocking):
        assert non_blocking
        self.streams.append(Stream(self))
        return self.streams[-1]

    def current(self):
        return getattr(self.threads, "stream", self.default)

    def empty(self, shape, dtype):
        return self.current().pool.take(OnDevice, shape, dtype)

    def work(self, count):
        with self.lock:
            for _ in range(count):
                ready = [
                    s for s in self.streams
                    if s.queue and (s.queue[0][1] is None or s.queue[0][1].reached)
                ]  # fmt: skip
                if not ready:
                    assert not any(s.queue for s in self.streams)
                    return
                self.draw.choice(ready).queue.pop(0)[0]()


@contextmanager
def lazy(monkeypatch, seed):
    device = Lazy(seed)
    with monkeypatch.context() as patch:
        patch.setattr(upload, "namespace", lambda _: device)
        patch.setattr(upload, "on", lambda _: nullcontext())
        patch.setattr(upload, "Array", lambda a: a)
        yield device


def trained(device, prefetch, epochs, sizes):
    """What a kernel sees of each batch, when the device comes to it."""
    data = Arrays(X, Y)
    seen = []
    for size in sizes:
        loader = Loader(data, size, device="cpu", prefetch=prefetch, generator=Generator(0))
        loader.device = Device("cuda", 0)
        for _ in range(epochs):
            for x, y in loader:
                blocks = [a.block.view(a.dtype).reshape(a.shape) for a in (x, y)]
                del x, y  # the pool may give them again; the kernel is in the queue by then
                device.default.add(
                    lambda blocks=blocks: seen.append([b.copy() for b in blocks]), "kernel"
                )
                del blocks
                device.work(device.draw.randrange(8))
    while any(s.queue for s in device.streams):
        device.work(1)
    return seen


@pytest.mark.parametrize("prefetch", [0, 2])
@pytest.mark.parametrize("seed", range(5))
def test_every_kernel_sees_its_own_batch(prefetch, seed, monkeypatch):
    with lazy(monkeypatch, seed) as device:
        found = trained(device, prefetch, 3, [8, 8, 20])
    assert len(found) == 3 * (8 + 8 + 3)
    for x, y in found:
        np.testing.assert_array_equal(x, X[y])
    at = 0
    for size, count in [(8, 8), (8, 8), (20, 3)]:
        for _ in range(3):
            numbers = np.concatenate([y for _, y in found[at : at + count]])
            assert sorted(numbers) == Y.tolist()
            at += count
        assert len(found[at - 1][1]) == (60 % size or size)


def test_copies_have_a_stream_of_their_own(monkeypatch):
    with lazy(monkeypatch, 0) as device:
        trained(device, 2, 3, [8])
    using, copying = device.streams  # one for all epochs
    assert copying.kinds == {"wait", "copy", "record"}
    assert using.kinds == {"wait", "kernel", "record"}


def test_who_uses_the_batches_does_not_wait_for_the_device(monkeypatch):
    with lazy(monkeypatch, 0) as device:
        trained(device, 2, 3, [8])
    # The thread does, before a buffer is filled again; and whoever gives the memory back.
    assert device.waiting.count("gpugrad-loader") == 3 * 8 - 2
    assert len(device.waiting) == 3 * 8
