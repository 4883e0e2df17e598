"""The main job: a network that reads handwritten digits."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from gpugrad.array import Array
from gpugrad.data.digits import CLASSES, SIDE, load_digits
from gpugrad.device import Device
from gpugrad.nn import cross_entropy, init_linear, linear, relu
from gpugrad.numpy import argmax, mean, stack
from gpugrad.training.loop import train
from gpugrad.training.pictures import draw_curve, draw_misclassified
from gpugrad.training.record import Record
from gpugrad.training.weights import save_weights

WIDTHS = (SIDE * SIDE, 256, 128, CLASSES)

# In float32 the last bits of two devices' sums grow within some hundred steps to a difference
# that a curve shows; in float64 it stays under 1e-10, and the network is too small for speed to
# depend on it.
DTYPE = "float64"

MOMENTUM = 0.9

LEFT_BEHIND = ("metrics.jsonl", "model.safetensors", "curve.png", "misclassified.png")
"""The files of a run."""


def init_network(
    generator: np.random.Generator, widths: Sequence[int] = WIDTHS, *, device: Device
) -> list[dict[str, Array]]:
    """First parameters of a network of fully connected layers, each as `init_linear` gives it."""
    return [
        init_linear(generator, inputs, outputs, DTYPE, device=device)
        for inputs, outputs in pairwise(widths)
    ]


def scores(parameters: Any, images: Any) -> Any:
    """The network's score of each class for images of shape (N, 64): shape (N, 10)."""
    *hidden, last = parameters
    x = images
    for layer in hidden:
        x = relu(linear(x, **layer))
    return linear(x, **last)


def loss(parameters: Any, images: Any, labels: Any) -> Any:
    """The mean loss over the images."""
    return cross_entropy(scores(parameters, images), labels)


def train_digits(
    *,
    device: Device,
    epochs: int,
    batch_size: int,
    lr: float,
    seed: int,
    out: Path,
    show: Callable[[Record], None] = lambda record: None,
) -> list[Record]:
    """Train on the digits and leave weights, pictures and metrics in a folder.

    Parameters
    ----------
    device : Device
        Where to train.
    epochs, batch_size, lr
        As for `gpugrad.training.loop.train`.
    seed : int
        Decides what is held out, the first weights and the order of the samples: the same on
        every device.
    out : Path
        A folder that exists. Gets ``metrics.jsonl`` line by line, and at the end
        ``model.safetensors``, ``curve.png`` and ``misclassified.png``; those of an earlier run
        are removed at the start.
    show : callable
        Is given each epoch's record.

    Returns
    -------
    list of Record
        One an epoch.

    Raises
    ------
    FloatingPointError
        If the loss is no longer a number, as happens when ``lr`` is too large.
    """
    splitting, drawing, shuffling = np.random.default_rng(seed).spawn(3)
    digits = load_digits(splitting)
    from threadpoolctl import threadpool_limits  # scikit-learn has brought it

    (x, y), (images, labels) = (
        (Array(part.images, DTYPE, device=device), Array(part.labels, device=device))
        for part in digits
    )
    parameters = init_network(drawing, device=device)
    for name in LEFT_BEHIND:
        (out / name).unlink(missing_ok=True)
    records: list[Record] = []
    run = train(
        loss,
        parameters,
        x,
        y,
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        momentum=MOMENTUM,
        generator=shuffling,
    )
    with (
        (out / "metrics.jsonl").open("w", encoding="utf-8") as metrics,
        np.errstate(over="ignore", invalid="ignore"),  # told below, once and with the cause
        # Matrices this small gain nothing from a second thread, and lose much by waiting for it
        # where the cores are busy. It also makes the run the same for any number of cores.
        threadpool_limits(1, user_api="blas"),
    ):
        started = time.perf_counter()
        for epoch in run:
            value = epoch.loss.item()  # waits for the device, so that the time is the epoch's
            seconds = time.perf_counter() - started
            if not math.isfinite(value):
                raise FloatingPointError(
                    f"the loss became {value} in epoch {epoch.number}: the learning rate {lr:g} "
                    "is too large"
                )
            parameters = epoch.parameters
            held_out_loss, accuracy = judge(parameters, images, labels)
            record = Record(
                epoch=epoch.number,
                loss=value,
                held_out_loss=held_out_loss,
                accuracy=accuracy,
                samples_per_second=x.shape[0] / seconds,
                device=str(device),
            )
            records.append(record)
            print(record.to_json(), file=metrics, flush=True)
            show(record)
            started = time.perf_counter()
    save_weights(parameters, out / "model.safetensors")
    draw_curve(records, out / "curve.png")
    draw_misclassified(
        digits.held_out.images.reshape(-1, SIDE, SIDE),
        argmax(scores(parameters, images), axis=1).numpy(),
        digits.held_out.labels,
        out / "misclassified.png",
    )
    return records


def judge(parameters: Any, images: Array, labels: Array) -> tuple[float, float]:
    """Mean loss and share of right answers, in one read from the device."""
    given = scores(parameters, images)
    right = mean(argmax(given, axis=1) == labels)
    both = stack([cross_entropy(given, labels), right]).numpy()
    return float(both[0]), float(both[1])
