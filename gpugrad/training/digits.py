"""The main job: a network that reads handwritten digits."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from gpugrad import nn, optim
from gpugrad.array import Array
from gpugrad.data import Arrays, Loader
from gpugrad.data.digits import CLASSES, SIDE, Digits, load_digits, warped
from gpugrad.device import Device
from gpugrad.numpy import argmax, mean
from gpugrad.random import Generator
from gpugrad.training.pictures import draw_curve, draw_misclassified
from gpugrad.training.recipe import rebuildable
from gpugrad.training.record import Record
from gpugrad.training.trainer import Trainer

LEFT_BEHIND = (
    "metrics.jsonl",
    "checkpoints",
    "best.safetensors",
    "model.safetensors",
    "curve.png",
    "misclassified.png",
)
"""What a run leaves in its folder."""


class Settings(NamedTuple):
    """What a model is trained with if nothing else is asked for."""

    epochs: int
    batch_size: int
    lr: float


SETTINGS = {"mlp": Settings(30, 32, 0.05), "cnn": Settings(8, 64, 0.003)}

# In float32 the last bits of two devices' sums grow within some hundred steps to a difference
# that a curve shows; in float64 it stays under 1e-10, and the network is too small for speed to
# depend on it. The convolutional one is not.
DTYPES = {"mlp": "float64", "cnn": "float32"}

MOMENTUM = 0.9
WARPED = 9  # copies of each image that the convolutional network sees besides the image itself


@rebuildable
def mlp(
    widths: tuple[int, ...] = (SIDE * SIDE, 256, 128, CLASSES),
    dtype: Any = DTYPES["mlp"],
    *,
    device: Device | None = None,
    generator: Generator | None = None,
) -> nn.Sequential:
    """Fully connected layers with ReLU between them, for images as rows of pixels."""
    layers: list[Any] = []
    for inputs, outputs in pairwise(widths):
        given = {"device": device, "dtype": dtype, "generator": generator}
        layers += [nn.Linear(inputs, outputs, **given), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


@rebuildable
def cnn(
    channels: tuple[int, int] = (32, 64),
    hidden: int = 128,
    dtype: Any = DTYPES["cnn"],
    *,
    device: Device | None = None,
    generator: Generator | None = None,
) -> nn.Sequential:
    """Two convolutions, pooling and two fully connected layers, for images as rows of pixels."""
    given: dict[str, Any] = {"device": device, "dtype": dtype, "generator": generator}
    first, second = channels
    return nn.Sequential(
        nn.Lambda(as_images),
        nn.Conv2d(1, first, 3, padding=1, **given),
        nn.ReLU(),
        nn.Conv2d(first, second, 3, padding=1, **given),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.3, generator=generator),
        nn.Linear(second * (SIDE // 2) ** 2, hidden, **given),
        nn.ReLU(),
        nn.Linear(hidden, CLASSES, **given),
    )


def as_images(rows: Any) -> Any:
    """Rows of pixels as images with one channel."""
    return rows.reshape(-1, 1, SIDE, SIDE)


def loss(model: Any, images: Any, labels: Any) -> Any:
    """The mean loss over the images."""
    return nn.cross_entropy(model(images), labels)


def judge(model: Any, images: Array, labels: Array) -> dict[str, Any]:
    """Mean loss and share of right answers."""
    given = model(images)
    return {
        "held_out_loss": nn.cross_entropy(given, labels),
        "accuracy": mean(argmax(given, axis=1) == labels),
    }


def trainer(
    digits: Digits,
    kind: Literal["mlp", "cnn"] = "mlp",
    *,
    device: Device,
    seed: int,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    **options: Any,
) -> Trainer:
    """The trainer of a network that reads digits.

    Parameters
    ----------
    digits : Digits
        What to train on, and to judge by.
    kind : {"mlp", "cnn"}
        Fully connected layers, or convolutions.
    device : Device
        Where to train.
    seed : int
        Decides the first weights and the order of the samples: the same on every device.
    epochs, batch_size, lr
        As in `SETTINGS` if not given.
    **options
        More for `gpugrad.training.Trainer`.
    """
    usual = SETTINGS[kind]
    asked = Settings(epochs or usual.epochs, batch_size or usual.batch_size, lr or usual.lr)
    random = Generator(seed)
    train, held_out = digits.train, digits.held_out
    if kind == "cnn":
        train = warped(train, WARPED, seed)
    data, (images, labels) = (
        (Array(part.images, DTYPES[kind], device=device), Array(part.labels, device=device))
        for part in (train, held_out)
    )
    loader = Loader(Arrays(*data, classes=CLASSES), asked.batch_size, generator=random)
    make: Callable[..., nn.Sequential] = mlp if kind == "mlp" else cnn
    model = make(device=device, generator=random)
    optimizer: Any
    schedule: Any = None
    config = {"job": "digits", "model": kind, **asked._asdict(), "seed": seed}
    if kind == "mlp":
        optimizer = optim.SGD(model.parameters(), lr=asked.lr, momentum=MOMENTUM)
        del config["epochs"]  # a finished run can go on
    else:
        optimizer = optim.AdamW(model.parameters(), lr=asked.lr)
        schedule = optim.OneCycleLR(
            optimizer, asked.lr, asked.epochs * len(loader), cycle_momentum=False
        )
    return Trainer(
        model,
        optimizer,
        loss,
        loader,
        epochs=asked.epochs,
        schedule=schedule,
        evaluate=lambda model: judge(model, images, labels),
        watch="held_out_loss",
        config=config,
        **options,
    )


def train_digits(
    kind: Literal["mlp", "cnn"] = "mlp",
    *,
    device: Device,
    seed: int,
    out: Path,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    resume: bool = False,
    patience: int | None = None,
    callbacks: tuple[Callable[[Record], object], ...] = (),
) -> list[Record]:
    """Train on the digits and leave weights, pictures and metrics in a folder.

    Parameters
    ----------
    kind, device, epochs, batch_size, lr
        As for `trainer`.
    seed : int
        Decides what is held out too.
    out : Path
        The folder; gets `LEFT_BEHIND`. What an earlier run left stays until this one has its own.
    resume : bool
        Go on from the folder's newest checkpoint, if it has one.
    patience : int, optional
        Stop after so many epochs without a better held-out loss.
    callbacks : tuple of callable
        Each is given each epoch's record.

    Returns
    -------
    list of Record
        One an epoch.

    Raises
    ------
    FloatingPointError
        If the loss is no longer a number, as happens when ``lr`` is too large.
    """
    digits = load_digits(np.random.default_rng(seed).spawn(1)[0])
    from threadpoolctl import threadpool_limits  # scikit-learn has brought it

    run = trainer(
        digits,
        kind,
        device=device,
        seed=seed,
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        patience=patience,
        folder=out,
        callbacks=callbacks,
    )
    if resume:
        run.resume()
    # Matrices this small gain nothing from a second thread, and lose much by waiting for it
    # where the cores are busy. It also makes the run the same for any number of cores.
    with threadpool_limits(1, user_api="blas"):
        records = run.fit()
    images, labels = digits.held_out
    predicted = argmax(run.model.eval()(Array(images, DTYPES[kind], device=device)), axis=1)
    draw_curve(records, out / "curve.png")
    pictures = images.reshape(-1, SIDE, SIDE)
    draw_misclassified(pictures, predicted.numpy(), labels, out / "misclassified.png")
    return records
