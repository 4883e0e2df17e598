"""The training loop: steps, reports, checkpoints, and going on as if it had never stopped."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

import gpugrad.numpy as gnp
from gpugrad.amp import GradScaler, autocast
from gpugrad.array import Array
from gpugrad.core.tape import no_grad
from gpugrad.data.arrays import DataError
from gpugrad.data.loader import Batch, Loader
from gpugrad.nn.checkpoint import generators_of
from gpugrad.nn.module import Module
from gpugrad.optim.lbfgs import LBFGS
from gpugrad.optim.optimizer import Optimizer
from gpugrad.training.checkpoints import Checkpoints
from gpugrad.training.files import naming, replacing, sweep
from gpugrad.training.model_file import load_weights, save
from gpugrad.training.recipe import recipe_of
from gpugrad.training.record import Record
from gpugrad.training.state_file import CheckpointError, read_state, write_state
from gpugrad.training.stopping import Stop

_TOLD = 3  # more settings that differ than these are only counted


def _short(value: Any) -> str:
    said = repr(value)
    return said if len(said) <= 40 else f"{said[:36]} ..."


def _check_choice(name: str, given: Any, allowed: Sequence[Any]) -> None:
    if given not in allowed:
        raise ValueError(f"Trainer: {name} is one of {list(allowed)}, got {given!r}")


class Stateful(Protocol):
    """What a checkpoint can hold: an EMA, a loss scaler."""

    def state_dict(self) -> Mapping[str, Any]:
        """All that must not be lost."""
        ...

    def load_state_dict(self, state: Any) -> None:
        """Continue from there."""
        ...


class Trainer:
    """Trains a model, and keeps in its folder what is needed to go on after any interruption.

    A run that was stopped, also by SIGKILL or a power cut, and is resumed gives the same bits as
    one that was not. Ctrl-C finishes the step, saves, and raises KeyboardInterrupt; a second one
    does not wait. So does SIGTERM, which raises SystemExit, if the program does not handle it.

    What an earlier run left in the folder stays until this one has the same of its own: the
    checkpoints until its first, in ``checkpoints-earlier``, where `resume` does not look; the model
    until the end.

    Parameters
    ----------
    model : Module
        What is trained, in place.
    optimizer : Optimizer
        Of the model's parameters.
    loss : callable
        ``loss(model, *batch)``: the mean over the batch.
    loader : Loader
        Gives the batches.
    epochs, steps : int
        How long to train: one of the two.
    every : int, optional
        Steps between reports; an epoch if not given.
    schedule : Schedule, optional
        Steps after each training step; at each report, with ``watch``'s figure, if its ``step``
        takes one (`gpugrad.optim.ReduceLROnPlateau`).
    evaluate : callable, optional
        ``evaluate(model)`` gives the held-out figures of a report by name. The model is in
        evaluation mode, and nothing is recorded for gradients.
    max_norm : float, optional
        Clips the gradient's norm.
    precision : {"float16", "bfloat16"}, optional
        Compute the loss under `gpugrad.autocast`; for float16 with a `gpugrad.amp.GradScaler`.
    watch : str
        The figure that decides what is best.
    better : {"lower", "higher"}
        Which way it becomes better.
    patience : int, optional
        Stop after so many reports without a better one.
    folder : str or Path, optional
        Gets ``metrics.jsonl`` (a line a report), ``checkpoints/``, ``best.safetensors`` (a
        checkpoint too), and at the end ``model.safetensors``. Without it nothing is written.
    checkpoint_every : int, optional
        Steps between checkpoints, which are also written at each report.
    keep : int
        How many checkpoints stay.
    config : mapping
        The run's settings, noted in each checkpoint. One with other settings is refused.
    extras : mapping of str to Stateful
        More whose state belongs to the run: an EMA, a loss scaler.
    callbacks : sequence of callable
        Each is given each `Record`.

    Attributes
    ----------
    step : int
        How many steps were taken.
    records : list of Record
        The reports.
    best : float or None
        The best of the figures watched.

    Examples
    --------
    >>> import numpy as np, gpugrad as gg
    >>> from gpugrad.data import Arrays, Loader
    >>> from gpugrad.training import Trainer
    >>> gg.random.seed(0)
    >>> x = np.linspace(-1, 1, 20, dtype="float32")[:, None]
    >>> model = gg.nn.Linear(1, 1)
    >>> trainer = Trainer(
    ...     model,
    ...     gg.optim.SGD(model.parameters(), lr=0.5),
    ...     lambda model, x, y: gg.nn.mse_loss(model(x), y),
    ...     Loader(Arrays(x, 3 * x), 8),
    ...     epochs=20,
    ... )
    >>> records = trainer.fit()
    >>> round(model.weight.item(), 3)
    3.0
    """

    def __init__(
        self,
        model: Module,
        optimizer: Optimizer,
        loss: Callable[..., Any],
        loader: Loader,
        *,
        epochs: int | None = None,
        steps: int | None = None,
        every: int | None = None,
        schedule: Any = None,
        evaluate: Callable[[Any], Mapping[str, Any]] | None = None,
        max_norm: float | None = None,
        precision: Literal["float16", "bfloat16"] | None = None,
        watch: str = "loss",
        better: Literal["lower", "higher"] = "lower",
        patience: int | None = None,
        folder: str | Path | None = None,
        checkpoint_every: int | None = None,
        keep: int = 3,
        config: Mapping[str, Any] | None = None,
        extras: Mapping[str, Stateful] | None = None,
        callbacks: Sequence[Callable[[Record], object]] = (),
    ) -> None:
        if (epochs is None) == (steps is None):
            raise ValueError(f"Trainer: one of epochs={epochs} and steps={steps} is needed")
        for name, value in (
            ("every", every),
            ("patience", patience),
            ("checkpoint_every", checkpoint_every),
        ):
            if value is not None and value < 1:
                raise ValueError(f"Trainer: {name} is at least 1, or None, got {value}")
        _check_choice("better", better, ("lower", "higher"))
        _check_choice("precision", precision, (None, "float16", "bfloat16"))
        if isinstance(optimizer, LBFGS) and (precision == "float16" or max_norm is not None):
            raise ValueError(
                "Trainer: LBFGS goes with neither max_norm nor precision='float16', as it compares "
                f"the gradients of one step, got max_norm={max_norm} and precision={precision!r}"
            )
        self.model = model
        self.optimizer = optimizer
        self.loss = loss
        self.loader = loader
        self.epochs = epochs
        self.steps = steps
        self.every = every
        self.schedule = schedule
        self.evaluate = evaluate
        self.max_norm = max_norm
        self.precision = precision
        self.scaler = GradScaler(enabled=precision == "float16")
        self.watch = watch
        self.better = better
        self.patience = patience
        self.folder = None if folder is None else Path(folder)
        self.checkpoint_every = checkpoint_every
        self.checkpoints = (
            None if folder is None else Checkpoints(Path(folder) / "checkpoints", keep)
        )
        self.config = dict(config or {})
        self.extras = dict(extras or {})
        self.callbacks = list(callbacks)
        self.step = 0
        self.records: list[Record] = []
        self.best: float | None = None
        self._since_best = 0
        self._total: Any = 0.0  # of the losses since the last report; on the device
        self._samples = 0
        self._seconds = 0.0
        self._stop = Stop()

    # ------------------------------------------------------------------ training

    def fit(self) -> list[Record]:
        """Train to the end; gives the records, also those from before a `resume`.

        Raises
        ------
        FloatingPointError
            If the loss is no longer a number, or with a folder the weights. The checkpoints that
            were there are still good.
        DataError
            If an epoch has no record that is not broken.
        KeyboardInterrupt
            After Ctrl-C. All is saved then.
        SystemExit
            After SIGTERM, with the code 143. All is saved then.
        OSError
            If something cannot be written. The checkpoints that were there are still good.
        """
        if self.folder is not None and self.checkpoints is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            sweep(self.folder)
            if self.step == 0:
                self.checkpoints.set_aside()
            elif self.records:
                self._write_metrics(self.folder)
        self.model.train()
        # What overflows is told at the report, once and with the cause.
        with np.errstate(over="ignore", invalid="ignore"), self._stop.held():
            while not self._finished():
                self._rest_of_epoch()
        if self.folder is not None:
            self._refuse_failure(self._mean_loss())
            save(self.model, self.folder / "model.safetensors", config=self.config)
        return self.records

    def take_step(self, batch: Batch) -> Any:
        """Change the model by one batch; gives the batch's loss. A subclass may do it otherwise."""
        if isinstance(self.optimizer, LBFGS):  # looks again and again
            value = self.optimizer.step(lambda: self._backward(batch))
        else:
            value = self._backward(batch)
            self.scaler.step(self.optimizer, max_norm=self.max_norm)
            self.scaler.update()
        self.optimizer.zero_grad()
        return value.detach()

    def _backward(self, batch: Batch) -> Any:
        self.optimizer.zero_grad()
        with nullcontext() if self.precision is None else autocast(self.precision):
            value = self.loss(self.model, *batch)
        self.scaler.scale(value).backward()
        return value

    def _rest_of_epoch(self) -> None:
        started = time.perf_counter()
        whole, before = self.loader.batch == 0, self.step
        for batch in self.loader:
            value = self.take_step(batch)
            samples = len(batch[0])
            self._total = self._total + value * samples
            self._samples += samples
            self.step += 1
            per_step = self.schedule is not None and not hasattr(self.schedule, "patience")
            if per_step:
                self.schedule.step()
            epoch_over = self.loader.batch == 0
            due = epoch_over if self.every is None else self.step % self.every == 0
            at_end = self.steps is not None and self.step >= self.steps
            if due or at_end:
                self._report(started)
            elif self._stop.by is not None or (
                self.checkpoint_every and self.step % self.checkpoint_every == 0
            ):
                self._seconds += time.perf_counter() - started
                self.save()
            else:
                continue
            self._stop.obey()
            if self._finished():
                return
            started = time.perf_counter()
        if whole and self.step == before:  # and so it would be for ever
            skipped = getattr(self.loader.data, "skipped", {})
            such = "".join(f", such as record {n}, {why}" for n, why in [*skipped.items()][:1])
            raise DataError(f"an epoch had no record that can be used: all were left out{such}")
        # What follows is for an epoch whose last records were all broken.
        if self.every is None and self._samples:
            self._report(started)
        elif self._stop.by is not None:
            self.save()
        self._stop.obey()

    def _finished(self) -> bool:
        if self.patience is not None and self._since_best >= self.patience:
            return True
        if self.steps is not None:
            return self.step >= self.steps
        return self.epochs is not None and self.loader.epoch >= self.epochs

    def _report(self, started: float) -> None:
        value = self._mean_loss()  # waits for the device
        self._seconds += time.perf_counter() - started
        self._refuse_failure(value)
        record = Record(
            epoch=self._epoch(),
            step=self.step,
            loss=value,
            samples_per_second=self._samples / self._seconds,
            device=str(self.loader.device),
            held_out=self._evaluated(),
        )
        self.records.append(record)
        self._total, self._samples, self._seconds = 0.0, 0, 0.0
        improved = self._judge(record)
        if self.folder is not None and self.checkpoints is not None:
            if len(self.records) == 1:  # until now they were an earlier run's
                self._write_metrics(self.folder)
            else:
                self._append(self.folder, record)
            state = self.state_dict()
            if improved:  # first: what stops between the two is done again, and this with it
                write_state(self.folder / "best.safetensors", state)
            self.checkpoints.save(self.step, state)
        for callback in self.callbacks:
            callback(record)

    def _mean_loss(self) -> float:
        """Of the samples since the last report."""
        return float(self._total) / max(1, self._samples)

    def _epoch(self) -> int:
        return self.loader.epoch + (self.loader.batch > 0)

    def _refuse_failure(self, loss: float) -> None:
        """See that all is finite: what is not would push the good checkpoints out."""
        failed = "" if math.isfinite(loss) else f"loss became {loss}"
        if not failed and self.folder is not None:
            with no_grad():
                trained = [p for group in self.optimizer.param_groups for p in group["params"]]
                if not all(gnp.isfinite(p).all() for p in trained):
                    failed = "weights became infinite or no numbers"
        if failed:
            raise FloatingPointError(
                f"the {failed} in epoch {self._epoch()}, by step {self.step}: the learning "
                f"rate {self.optimizer.param_groups[0]['lr']:g} is too large"
            )

    def _evaluated(self) -> dict[str, float]:
        if self.evaluate is None:
            return {}
        self.model.eval()
        try:
            with no_grad():
                return {name: float(v) for name, v in self.evaluate(self.model).items()}
        finally:
            self.model.train()

    def _judge(self, record: Record) -> bool:
        figures = record.figures()
        if self.watch not in figures:
            raise ValueError(f"Trainer: watch={self.watch!r} is none of {sorted(figures)}")
        value = figures[self.watch]
        if hasattr(self.schedule, "patience"):
            self.schedule.step(value)
        best = self.best
        improved = not math.isnan(value) and (
            best is None or (value < best if self.better == "lower" else value > best)
        )
        self._since_best = 0 if improved else self._since_best + 1
        if improved:
            self.best = value
        return improved

    # ------------------------------------------------------------------ what is kept

    def state_dict(self) -> dict[str, Any]:
        """All that a run consists of."""
        return {
            "recipe": recipe_of(self.model),
            "config": self.config,
            "settings": self._settings(),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": None if self.schedule is None else self.schedule.state_dict(),
            "scaler": self.scaler.state_dict(),
            "loader": self.loader.state_dict(),
            "extras": {name: extra.state_dict() for name, extra in self.extras.items()},
            "random": [g.state_dict() for g in generators_of(self.model)],
            "step": self.step,
            "records": [record.figures() for record in self.records],
            "best": self.best,
            "since_best": self._since_best,
            "total": self._total,
            "samples": self._samples,
            "seconds": self._seconds,
        }

    def _settings(self) -> dict[str, Any]:
        """What decides how the run goes on, besides the user's config."""
        return {
            "optimizer": type(self.optimizer).__name__,
            "schedule": None if self.schedule is None else type(self.schedule).__name__,
            "precision": self.precision,
            "max_norm": self.max_norm,
            "watch": self.watch,
            "better": self.better,
        }

    def load_state_dict(self, state: Mapping[str, Any], source: str | Path = "the state") -> None:
        """Stand where another trainer of the same run stood.

        Parameters
        ----------
        state : mapping
            What `state_dict` gave, or `gpugrad.training.read_state` read.
        source : str or Path
            What the errors call it.

        Raises
        ------
        CheckpointError
            If it is that of another model or other settings; nothing has been changed then.
        """
        if "optimizer" not in state:
            raise CheckpointError(f"{source} holds a model, not a run that can go on")
        self._refuse_other_settings(state, source)
        generators = generators_of(self.model)
        if len(generators) != len(state["random"]) or state["extras"].keys() != self.extras.keys():
            raise CheckpointError(
                f"{source} is of another run: {len(state['random'])} random generators and extras "
                f"{sorted(state['extras'])}, expected {len(generators)} and {sorted(self.extras)}"
            )
        parts: dict[str, Any] = {"loader": self.loader, "optimizer": self.optimizer, **self.extras}
        parts["scaler"] = self.scaler
        if self.schedule is not None:
            parts["schedule"] = self.schedule
        before = {name: part.state_dict() for name, part in parts.items()}
        weights = {name: value.copy() for name, value in self.model.state_dict().items()}
        given = {**state["extras"], **state}
        name = "model"
        try:
            load_weights(self.model, state, source)
            for name, part in parts.items():
                part.load_state_dict(given[name])
        except (ValueError, KeyError, TypeError) as error:
            self.model.load_state_dict(weights)
            for each, part in parts.items():
                part.load_state_dict(before[each])
            if isinstance(error, CheckpointError):
                raise
            raise CheckpointError(f"{source} is of another {name}: {error.args[0]}") from error
        for generator, where in zip(generators, state["random"], strict=True):
            generator.load_state_dict(where)
        self.step = state["step"]
        self.records = [Record.from_figures(figures) for figures in state["records"]]
        self.best = state["best"]
        self._since_best = state["since_best"]
        total = state["total"]
        self._total = total if isinstance(total, float) else Array(total, device=self.loader.device)
        self._samples = state["samples"]
        self._seconds = state["seconds"]

    def _refuse_other_settings(self, state: Mapping[str, Any], source: str | Path) -> None:
        pairs = (state["settings"], self._settings()), (state["config"], self.config)
        differing = [
            f"{n}={_short(theirs.get(n))}, not {_short(ours.get(n))}"
            for theirs, ours in pairs
            for n in {**ours, **theirs}
            if theirs.get(n) != ours.get(n)
        ]
        if differing:
            told = ", ".join(differing[:_TOLD])
            if len(differing) > _TOLD:
                told += f", and {len(differing) - _TOLD} more"
            raise CheckpointError(
                f"{source} is of a run with other settings, {told}: "
                "use the same, or start anew in another folder"
            )

    def save(self) -> Path | None:
        """Write a checkpoint now; gives its path, or None without a folder.

        Raises
        ------
        FloatingPointError
            If the loss or the weights are no longer numbers.
        """
        if self.checkpoints is None:
            return None
        self._refuse_failure(self._mean_loss())
        return self.checkpoints.save(self.step, self.state_dict())

    def resume(self) -> bool:
        """Go to the newest good checkpoint of the folder; False if there is none to go on from.

        Raises
        ------
        CheckpointError
            If it is of another model or other settings, or all are damaged.
        """
        found = None if self.checkpoints is None else self.checkpoints.newest()
        if found is None:
            return False
        self.load_state_dict(found.state, found.path)
        return True

    def restore_best(self) -> None:
        """Give the model the weights of the best report."""
        if self.folder is not None and self.best is not None:
            path = self.folder / "best.safetensors"
            load_weights(self.model, read_state(path), path)

    def _write_metrics(self, folder: Path) -> None:
        with replacing(folder / "metrics.jsonl") as unfinished:
            unfinished.write_text("".join(f"{r.to_json()}\n" for r in self.records))

    def _append(self, folder: Path, record: Record) -> None:
        path = folder / "metrics.jsonl"
        with naming(path), path.open("a", encoding="utf-8") as metrics:
            print(record.to_json(), file=metrics)
