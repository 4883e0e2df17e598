"""Batches on their way to a device: through pinned memory, on a stream of their own."""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpugrad.array import Array
from gpugrad.device import Device, namespace, on

_BUFFERS = 2  # one is filled while the other is read by the device


class Upload:
    """Sends batches of NumPy arrays to a device, from any thread.

    For CUDA the host's copy lies in pinned memory, which the device reads by itself, and the
    reading is on a stream of its own: it overlaps with what the device computes.

    Parameters
    ----------
    device : Device
        Where to.
    """

    def __init__(self, device: Device) -> None:
        self.device = device
        if device.kind == "cuda":
            self._xp = namespace(device)
            with on(device):
                # Of the thread which makes this and will use the batches, which this follows.
                self._using = self._xp.cuda.get_current_stream()
                self._copying = self._xp.cuda.Stream(non_blocking=True)
            pinned = [_Pinned(self._xp) for _ in range(_BUFFERS)]
            self._pinned = itertools.cycle(pinned)
            self._sending = threading.Lock()
            # Pinned memory goes back to CuPy's pool, which does not ask whether a copy still waits
            # to read it. At the program's end nobody writes there any more.
            weakref.finalize(self, _wait_for, pinned).atexit = False

    def __call__(self, batch: tuple[Any, ...]) -> tuple[tuple[Array, ...], Any]:
        """Begin to send a batch; `arrived` makes it usable."""
        if self.device.kind == "cpu":
            return tuple(Array(a, device=self.device) for a in batch), None
        with self._sending, on(self.device), self._copying:
            pinned = next(self._pinned)
            host = pinned.filled(batch)
            out = [self._xp.empty(a.shape, a.dtype) for a in host]
            # The memory may be that of an earlier batch which kernels in the queue still read.
            self._copying.wait_event(self._using.record())
            for a, b in zip(out, host, strict=True):
                a.set(b, stream=self._copying)
            pinned.read = self._copying.record()
        return tuple(map(Array, out)), pinned.read

    def arrived(self, sent: tuple[tuple[Array, ...], Any]) -> tuple[Array, ...]:
        """The batch; what is computed with it waits on the device until it is there."""
        batch, copied = sent
        if copied is not None:
            with on(self.device):
                self._using = self._xp.cuda.get_current_stream()
            self._using.wait_event(copied)
        return batch


class _Pinned:
    """Pinned host memory for one batch, used again when the device has read it."""

    def __init__(self, xp: Any) -> None:
        self._xp = xp
        self._memory: Any = None
        self.read: Any = None

    def filled(self, batch: tuple[Any, ...]) -> list[Any]:
        if self.read is not None:
            self.read.synchronize()
        arrays = [np.asarray(a) for a in batch]
        places = [0, *itertools.accumulate(-(-a.nbytes // 16) * 16 for a in arrays)]
        if self._memory is None or self._memory.mem.size < places[-1]:
            self._memory = self._xp.cuda.alloc_pinned_memory(max(places[-1], 16))
        out = []
        for a, at in zip(arrays, places, strict=False):
            b = np.frombuffer(self._memory, a.dtype, a.size, at).reshape(a.shape)
            np.copyto(b, a)
            out.append(b)
        return out


def _wait_for(pinned: Sequence[_Pinned]) -> None:
    for each in pinned:
        if each.read is not None:
            each.read.synchronize()
