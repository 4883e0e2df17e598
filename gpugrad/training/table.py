"""A network that predicts one column of a table from the others."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gpugrad import nn, optim
from gpugrad.array import Array
from gpugrad.core.tape import no_grad
from gpugrad.data.arrays import Arrays, DataError
from gpugrad.data.loader import Loader
from gpugrad.data.table import (
    Broken,
    Column,
    Table,
    describe,
    number,
    numbers_of,
    read_table,
    wrong_cells,
)
from gpugrad.device import Device
from gpugrad.numpy import argmax, mean, sqrt
from gpugrad.random import Generator
from gpugrad.training.files import replacing
from gpugrad.training.model_file import save
from gpugrad.training.pictures import draw_curve
from gpugrad.training.recipe import rebuildable
from gpugrad.training.record import Record
from gpugrad.training.state_file import CheckpointError
from gpugrad.training.trainer import Trainer

Task = Literal["classification", "regression"]

LEFT_BEHIND = (
    "metrics.jsonl",
    "checkpoints",
    "best.safetensors",
    "model.safetensors",
    "held_out.json",
    "curve.png",
)
"""What a run leaves in its folder."""

EPOCHS, BATCH_SIZE, LR = 200, 32, 0.003
PATIENCE = 20

HELD_OUT = 0.2
VALIDATION = 0.1

MOST_CLASSES = 20
"""Whole numbers with more different values than this are a quantity, not classes."""

FEWEST_ROWS = 10

# As for the digits: the same curve on every device.
DTYPE = "float64"


class Prepared(NamedTuple):
    """A table as numbers.

    Attributes
    ----------
    task : {"classification", "regression"}
        What the target asks for.
    features : (rows, inputs) array
        The other columns.
    target : (rows,) array
        The target: numbers, or the classes' numbers.
    columns : tuple of Column
        What the features were.
    classes : tuple of str or None
        The classes' names.
    skipped : dict of int to str
        Lines of the file that were left out, and why.
    """

    task: Task
    features: NDArray[np.float64]
    target: NDArray[Any]
    columns: tuple[Column, ...]
    classes: tuple[str, ...] | None
    skipped: dict[int, str]


def prepare(
    table: Table,
    target: str,
    *,
    task: Task | None = None,
    drop: Sequence[str] = (),
    broken: Broken = "raise",
) -> Prepared:
    """Make numbers of a table, and find out what is asked.

    Parameters
    ----------
    table : Table
        What `gpugrad.data.read_table` read.
    target : str
        The column to predict.
    task : {"classification", "regression"}, optional
        What the target is; if not given, texts and up to `MOST_CLASSES` different whole numbers
        are classes, other numbers a quantity.
    drop : sequence of str
        Columns to leave out.
    broken : {"raise", "skip"}
        What to do with rows in which a cell is missing, or is no usable number among numbers.

    Raises
    ------
    DataError
        For columns that do not exist, broken cells, a target that has one value only or is none
        for the task, and too few rows: with the place.
    """
    for name in drop:
        table.column(name)  # raises for one that is not there
        if name == target:
            raise DataError(f"{table.path}: column {name!r} is to be left out and to be predicted")
    goal = describe(table, target)
    used = [n for n in table.names if n != target and n not in drop]
    if not used:
        raise DataError(f"{table.path} has no column besides {target!r} to predict it from")
    columns = [describe(table, name) for name in used]
    if task == "regression" and goal.texts is not None:
        raise DataError(
            f"{table.place(0, target)}: {table.column(target)[0]!r} is not a number, which "
            "regression needs"
        )
    wrong = wrong_cells(table, [goal, *columns])
    if wrong and broken == "raise":
        first, *rest = wrong.values()
        more = f", and {len(rest)} more rows are broken" if rest else ""
        raise DataError(f"{first}{more}; --skip-broken leaves such rows out")
    table = table.without(wrong)
    if len(table.rows) < FEWEST_ROWS:
        raise DataError(
            f"{table.path} has {len(table.rows)} usable rows, at least {FEWEST_ROWS} are needed"
        )
    features = numbers_of(table, columns)
    cells = table.column(target)
    names = [str(cell) if goal.texts is not None else _exactly(cell) for cell in cells]
    if task is None:
        task = _task(goal, set(names))
    if task == "regression":
        numbers = np.array([float(cell) for cell in cells])
        if np.ptp(numbers) == 0:
            raise DataError(f"{table.path}: column {target!r} is {cells[0]} in all rows")
        return Prepared(task, features, numbers, tuple(columns), None, table.skipped)
    counted = Counter(names)
    if len(counted) < 2:
        raise DataError(f"{table.path}: column {target!r} is {names[0]!r} in all rows")
    if 2 * len(counted) > len(names):
        raise DataError(
            f"{table.path}: column {target!r} has {len(counted)} classes in {len(names)} rows, "
            "which are too few of each to learn from"
        )
    ordered = sorted(counted, key=lambda n: (goal.texts is None and number(n), n))
    place = {name: i for i, name in enumerate(ordered)}
    labels = np.array([place[name] for name in names])
    return Prepared(task, features, labels, tuple(columns), tuple(ordered), table.skipped)


def _exactly(cell: Any) -> str:
    """One name for each number, however it is written: all digits of 9007199254740993 too."""
    value = float(cell)
    return str(round(Decimal(cell))) if value.is_integer() else repr(value)


def _task(goal: Column, values: set[str]) -> Task:
    if goal.texts is not None:
        return "classification"
    whole = all(float(value).is_integer() for value in values)
    return "classification" if whole and len(values) <= MOST_CLASSES else "regression"


@rebuildable
class TableNetwork(nn.Module):
    """Two hidden layers; takes the table's numbers as they are, and gives scores or quantities.

    What the features and the quantity are normalised by belongs to it.

    Parameters
    ----------
    inputs : int
        How many features there are.
    classes : int or None
        How many classes; None for a quantity.
    hidden : int
        The layers' width.
    device : str or Device, optional
        Where its weights live.
    generator : gpugrad.random.Generator, optional
        What draws them.
    """

    def __init__(
        self,
        inputs: int,
        classes: int | None,
        hidden: int = 64,
        *,
        device: str | Device | None = None,
        generator: Generator | None = None,
    ) -> None:
        super().__init__()
        given: dict[str, Any] = {"dtype": DTYPE, "device": device, "generator": generator}
        self.classes = classes
        self.layers = nn.Sequential(
            nn.Linear(inputs, hidden, **given),
            nn.ReLU(),
            nn.Linear(hidden, hidden, **given),
            nn.ReLU(),
            nn.Linear(hidden, classes or 1, **given),
        )

        def start(value: float, *shape: int) -> nn.Buffer:
            return nn.Buffer(Array(np.full(shape, value, DTYPE), device=device))

        self.middle, self.spread = start(0, inputs), start(1, inputs)
        self.target_middle, self.target_spread = start(0), start(1)

    def normalise_by(self, features: NDArray[Any], target: NDArray[Any]) -> None:
        """Note the means and the spreads of what it is trained on."""
        found = {"middle": features.mean(axis=0), "spread": _spread(features)}
        if self.classes is None:
            found |= {"target_middle": target.mean(), "target_spread": _spread(target)}
        self.load_state_dict(found, strict=False)

    def forward(self, x: Any) -> Any:
        x = (x - self.middle.value) / self.spread.value
        scores = self.layers(x)
        if self.classes is not None:
            return scores
        return scores[:, 0] * self.target_spread.value + self.target_middle.value


def _spread(values: NDArray[Any]) -> NDArray[Any]:
    found = np.asarray(values.std(axis=0))
    return np.where(found > 0, found, 1.0)  # what is always the same says nothing


def loss(model: TableNetwork, x: Any, y: Any) -> Any:
    """Cross-entropy, or the squared error in units of the target's variance."""
    given = model(x)
    if model.classes is not None:
        return nn.cross_entropy(given, y)
    return mean(((given - y) / model.target_spread.value) ** 2)


def judge(model: TableNetwork, x: Array, y: Array) -> dict[str, Any]:
    """The loss; and the accuracy, or the error's root mean square and R²."""
    if model.classes is not None:
        given = model(x)
        return {"loss": nn.cross_entropy(given, y), "accuracy": mean(argmax(given, axis=1) == y)}
    squared = mean((model(x) - y) ** 2)
    return {
        "loss": squared / model.target_spread.value**2,
        "rmse": sqrt(squared),
        "r2": 1 - squared / mean((y - mean(y)) ** 2),
    }


class Result(NamedTuple):
    """What a run gave.

    Attributes
    ----------
    prepared : Prepared
        The data.
    records : list of Record
        One an epoch; their figures are those of the validation part.
    held_out : dict of str to float
        The figures of the rows that were held out, with the best epoch's weights; with the last
        one's if those were lost before a run went on, which is warned of.
    """

    prepared: Prepared
    records: list[Record]
    held_out: dict[str, float]


def train_table(
    source: Path,
    target: str,
    *,
    device: Device,
    seed: int,
    out: Path,
    task: Task | None = None,
    drop: Sequence[str] = (),
    broken: Broken = "raise",
    epochs: int = EPOCHS,
    batch_size: int = BATCH_SIZE,
    lr: float = LR,
    resume: bool = False,
    patience: int = PATIENCE,
    prepared_as: Callable[[Prepared], object] | None = None,
    callbacks: tuple[Callable[[Record], object], ...] = (),
) -> Result:
    """Train on a table and leave the model and its figures in a folder.

    A fifth of the rows is held out; of the rest a tenth decides when to stop, and which epoch was
    the best.

    Parameters
    ----------
    source, target, task, drop, broken
        As for `gpugrad.data.read_table` and `prepare`.
    device : Device
        Where to train.
    seed : int
        Decides which rows are held out, the first weights and the order.
    out : Path
        The folder; gets `LEFT_BEHIND`. ``gpugrad.load(out / "model.safetensors")`` is the best
        model, and the file's config says what its inputs and outputs mean.
    epochs, batch_size, lr
        How to train.
    resume : bool
        Go on from the folder's newest checkpoint, if it has one.
    patience : int
        Stop after so many epochs without a better validation loss.
    prepared_as : callable, optional
        Is given the table as numbers, before the training.
    callbacks : tuple of callable
        Each is given each epoch's record.

    Raises
    ------
    DataError
        For a table that cannot be used. Nothing in the folder has been changed then.
    """
    prepared = prepare(
        read_table(source, broken=broken), target, task=task, drop=drop, broken=broken
    )
    if prepared_as is not None:
        prepared_as(prepared)
    x, y = prepared.features, prepared.target
    generator = Generator(seed)
    held_out, validation, train = _divided(len(y), generator)
    model = TableNetwork(
        x.shape[1],
        None if prepared.classes is None else len(prepared.classes),
        device=device,
        generator=generator,
    )
    model.normalise_by(x[train], y[train])

    def part(rows: NDArray[Any]) -> tuple[Array, Array]:
        return Array(x[rows], DTYPE, device=device), Array(y[rows], device=device)

    config = {
        "job": "csv",
        "target": target,
        "task": prepared.task,
        "classes": prepared.classes,
        "columns": [tuple(column) for column in prepared.columns],
        "data": hashlib.sha256(x.tobytes() + y.tobytes()).hexdigest(),
        "batch_size": batch_size,
        "lr": lr,
        "seed": seed,
    }
    checked = part(validation)
    run = Trainer(
        model,
        optim.AdamW(model.parameters(), lr=lr),
        loss,
        Loader(Arrays(*part(train)), batch_size, generator=generator),
        epochs=epochs,
        evaluate=lambda model: {f"validation_{n}": v for n, v in judge(model, *checked).items()},
        watch="validation_loss",
        patience=patience,
        folder=out,
        config=config,
        callbacks=callbacks,
    )
    if resume:
        run.resume()
    records = run.fit()
    try:
        run.restore_best()
    except (CheckpointError, FileNotFoundError) as error:  # lost since it was written
        warnings.warn(
            f"{error}: the model has the weights of the last epoch, not of the best; "
            "without --resume both are made anew",
            stacklevel=2,
        )
    save(model, out / "model.safetensors", config=config)
    with no_grad():
        found = judge(model.eval(), *part(held_out))
    figures = {f"held_out_{name}": float(value) for name, value in found.items()}
    with replacing(out / "held_out.json") as unfinished:
        unfinished.write_text(json.dumps({"rows": len(held_out), **figures}) + "\n")
    draw_curve(records, out / "curve.png")
    return Result(prepared, records, figures)


def _divided(count: int, generator: Generator) -> list[NDArray[Any]]:
    """The numbers of the rows held out, of those to validate by, and of the rest."""
    order = generator.permutation(count, device="cpu").numpy()
    first = max(1, round(HELD_OUT * count))
    second = first + max(1, round(VALIDATION * (count - first)))
    return np.split(order, [first, second])
