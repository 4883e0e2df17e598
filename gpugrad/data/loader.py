"""Batches of a data set: shuffled, fetched ahead, and continued where a checkpoint left off."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, suppress
from typing import Any

import numpy as np

from gpugrad import random
from gpugrad.array import Array
from gpugrad.data.arrays import Dataset
from gpugrad.data.upload import Upload
from gpugrad.device import Device
from gpugrad.device import device as find_device

Batch = tuple[Array, ...]


class Loader:
    """Goes through a data set in batches.

    Iterating gives what is left of the current epoch. Where it stands is a handful of numbers,
    also in the middle of an epoch, however far ahead it has fetched.

    Parameters
    ----------
    data : Dataset
        Such as `Arrays`. If its arrays are on ``device`` already, batches are taken there and
        nothing is fetched ahead. By a method ``fingerprint()``, which gives a list of strings,
        `load_state_dict` knows whether the records are the same.
    batch_size : int
        Records in a batch; the last of an epoch takes what is left.
    shuffle : bool
        Whether each epoch has an order of its own.
    drop_last : bool
        Leave out the last batch if it is smaller.
    device : str or Device, optional
        Where the batches shall be; where the data are, or the default device.
    prefetch : int
        How many batches a thread fetches ahead; 0 for none. For CUDA they pass through pinned
        memory and are copied on a stream of their own while the device computes.
    generator : gpugrad.random.Generator, optional
        Decides the order, by a stream of its own that is drawn from this one now; the default
        generator if none is given.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.data import Arrays, Loader
    >>> from gpugrad.random import Generator
    >>> loader = Loader(Arrays(np.arange(5)), 2, generator=Generator(0))
    >>> [x.numpy().tolist() for x, in loader]
    [[1, 3], [2, 0], [4]]
    >>> x, = next(iter(loader))  # of the second epoch
    >>> loader.state_dict()["epoch"], loader.state_dict()["batch"]
    (1, 1)
    """

    def __init__(
        self,
        data: Dataset,
        batch_size: int,
        *,
        shuffle: bool = True,
        drop_last: bool = False,
        device: str | Device | None = None,
        prefetch: int = 2,
        generator: random.Generator | None = None,
    ) -> None:
        if batch_size < 1 or prefetch < 0:
            raise ValueError(
                f"Loader: batch_size is at least 1 and prefetch at least 0, got {batch_size} and "
                f"{prefetch}"
            )
        self.data = data
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.drop_last = drop_last
        at: Device | None = getattr(data, "device", None)
        self.device = at if device is None and at is not None else find_device(device)
        self.prefetch = 0 if at == self.device else prefetch
        self.generator = (random.default_generator if generator is None else generator).spawn()
        self.epoch = 0
        self.batch = 0
        self._start = self.generator.state_dict()
        self._send: Upload | None = None
        self._fingerprint: list[str] | None = None
        if len(self) == 0:
            raise ValueError(f"Loader: {len(data)} records give no batch of {batch_size}")

    def __len__(self) -> int:
        whole, rest = divmod(len(self.data), self.batch_size)
        return whole + bool(rest and not self.drop_last)

    def __iter__(self) -> Iterator[Batch]:
        order = self._order()
        first = self.batch
        chunks = (
            order[n * self.batch_size : (n + 1) * self.batch_size] for n in range(first, len(self))
        )
        with closing(self._batches(chunks)) as batches:  # ends the thread
            for batch in batches:
                # Before it is given away: who has the batch finds the place after it.
                self._count()
                if len(batch[0]):  # not if all of its records were broken
                    yield batch

    def _count(self) -> None:
        self.batch += 1
        if self.batch == len(self):
            self.epoch += 1
            self.batch = 0
            self._start = self.generator.state_dict()

    def _order(self) -> Any:
        """The order of this epoch: on the device if the data are there, else on the host."""
        resident = getattr(self.data, "device", None) == self.device
        where = self.device if resident else find_device("cpu")
        if not self.shuffle:
            order = Array(np.arange(len(self.data)), device=where)
        else:
            self.generator.load_state_dict(self._start)
            order = self.generator.permutation(len(self.data), device=where)
        return order if resident else order.numpy()

    def _batches(self, chunks: Iterator[Any]) -> Generator[Batch]:
        if getattr(self.data, "device", None) == self.device:
            yield from (self.data.take(rows) for rows in chunks)
            return
        # Kept from epoch to epoch, with its stream, memory and copies that may be under way.
        self._send = send = self._send or Upload(self.device)
        made = (send(self.data.take(rows)) for rows in chunks)
        with closing(_ahead(made, self.prefetch) if self.prefetch else made) as sent:
            yield from map(send.arrived, sent)

    def state_dict(self) -> dict[str, Any]:
        """Where it is: the epoch, the batch within it, how its order was drawn, what was broken.

        And of what: the records, by their fingerprint, and how they are put in batches.
        """
        return {
            "epoch": self.epoch,
            "batch": self.batch,
            "generator": dict(self._start),
            **self._settings(),
            "skipped": dict(getattr(self.data, "skipped", {})),
        }

    def _settings(self) -> dict[str, Any]:
        if self._fingerprint is None:
            found = getattr(self.data, "fingerprint", list)
            self._fingerprint = [type(self.data).__name__, *found()]
        return {
            "records": len(self.data),
            "batch_size": self.batch_size,
            "shuffle": self.shuffle,
            "drop_last": self.drop_last,
            "data": self._fingerprint,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where another was.

        Raises
        ------
        ValueError
            If it had other records, or other settings.
        """
        theirs, ours = (state["records"], state["batch_size"]), (len(self.data), self.batch_size)
        if theirs != ours:
            raise ValueError(
                f"{theirs[0]} records in batches of {theirs[1]}, here are {ours[0]} in batches of "
                f"{ours[1]}"
            )
        for name, mine in self._settings().items():
            if state[name] != mine:
                raise ValueError(f"{name}={state[name]}, here is {name}={mine}")
        if state.get("skipped"):
            self.data.skipped.update(state["skipped"])  # type: ignore[attr-defined]
        self.generator.load_state_dict(state["generator"])
        self._start = self.generator.state_dict()
        self.epoch, self.batch = int(state["epoch"]), int(state["batch"])


class _Failed:
    """What the thread met, to be raised where the batches are used."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


_END: Any = object()


def _ahead(made: Iterator[Any], count: int) -> Generator[Any]:
    """The same items, up to ``count`` of them made before they are asked for, by a thread."""
    ready: queue.Queue[Any] = queue.Queue(count)
    stop = threading.Event()

    def work() -> None:
        last = _END
        try:
            for item in made:
                ready.put(item)
                if stop.is_set():
                    return
        except BaseException as error:
            last = _Failed(error)
        ready.put(last)

    thread = threading.Thread(target=work, name="gpugrad-loader", daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not _END:
            if isinstance(item, _Failed):
                raise item.error
            yield item
    finally:
        stop.set()
        while thread.is_alive():  # it may wait for room
            with suppress(queue.Empty):
                ready.get(timeout=0.01)
