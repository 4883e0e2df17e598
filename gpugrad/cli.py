"""The command ``gpugrad``: train, look at the machine, draw the graph of backpropagation.

What is heavy (rich, matplotlib, scikit-learn, CuPy) is imported by the command that needs it, so
that ``gpugrad --help`` answers at once. A wrong value is answered in one line.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from gpugrad import __version__
from gpugrad import cli_options as options
from gpugrad.device import DeviceError, best_device

app = typer.Typer(
    add_completion=False,
    help="Gradients of NumPy and CuPy code, on the CPU and on NVIDIA GPUs.",
)
training = typer.Typer(help="Train a model.")
app.add_typer(training, name="train")

# typer exports no name for the error that all wrong usage is.
_UsageError: Any = typer.BadParameter.__base__


def _tell_version(wanted: bool) -> None:
    if wanted:
        print(f"gpugrad {__version__}")
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[
        bool,
        typer.Option(
            "--version", metavar="", callback=_tell_version, is_eager=True, help="Say the version."
        ),
    ] = False,
) -> None:
    pass


# ------------------------------------------------------------------ commands

_SHOWN = 5  # more rows that were left out, or columns, are only counted


class _Network(StrEnum):
    MLP = "mlp"
    CNN = "cnn"


@training.command("digits")
def train_digits(
    model: Annotated[
        _Network,
        typer.Option(
            parser=options.one_of(_Network),
            metavar="mlp|cnn",
            help="Fully connected layers, or convolutions.",
        ),
    ] = _Network.MLP,
    device: options.DeviceOption = None,
    epochs: Annotated[int | None, options.epochs("30, cnn 8")] = None,
    batch_size: Annotated[int | None, options.batch_size("32, cnn 64")] = None,
    lr: Annotated[float | None, options.lr("0.05, cnn 0.003")] = None,
    seed: options.SeedOption = 0,
    out: options.OutOption = Path("runs/digits"),
    resume: options.ResumeOption = False,
    patience: Annotated[int | None, options.patience("epochs", "held-out")] = None,
    tensorboard: options.TensorBoardOption = False,
) -> None:
    """Train a network on handwritten digits; leave weights, pictures and metrics in a folder."""
    from gpugrad.training import digits
    from gpugrad.training.progress import progress

    options.make_folder(out)
    started = time.perf_counter()
    where = device or best_device()
    with _told(out), progress(epochs or digits.SETTINGS[model].epochs) as show:
        records = digits.train_digits(
            model.value,
            device=where,
            epochs=epochs,
            batch_size=batch_size,
            lr=lr,
            seed=seed,
            out=out,
            resume=resume,
            patience=patience,
            callbacks=(show, *_event_files(tensorboard, out, resume)),
        )
    print(
        f"{records[-1].held_out['accuracy']:.2%} of the held-out digits are read correctly, "
        f"{_after(len(records), 'epoch', started)} on {where}"
    )
    print(f"{out}: {', '.join(digits.LEFT_BEHIND)}")


class _Task(StrEnum):
    CLASSIFICATION = "classification"
    REGRESSION = "regression"


@training.command("csv")
def train_csv(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="A CSV file with names in its first line, or a Parquet file."
        ),
    ],
    target: Annotated[str, typer.Option(metavar="COLUMN", help="The column to predict.")],
    task: Annotated[
        _Task | None,
        typer.Option(
            parser=options.one_of(_Task),
            metavar="TASK",
            help="classification or regression; decided from the target if not given.",
        ),
    ] = None,
    drop: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="A column to leave out; may be given several times."),
    ] = None,
    skip_broken: Annotated[
        bool, options.flag("--skip-broken", "Leave out broken rows, and count them.")
    ] = False,
    device: options.DeviceOption = None,
    epochs: Annotated[int | None, options.epochs("200")] = None,
    batch_size: Annotated[int | None, options.batch_size("32")] = None,
    lr: Annotated[float | None, options.lr("0.003")] = None,
    seed: options.SeedOption = 0,
    out: options.OutOption = Path("runs/csv"),
    resume: options.ResumeOption = False,
    patience: Annotated[int | None, options.patience("epochs", "validation", "20")] = None,
    tensorboard: options.TensorBoardOption = False,
) -> None:
    """Train a network that predicts a column of a table; leave it and its figures in a folder."""
    from gpugrad.training import table
    from gpugrad.training.progress import progress

    options.make_folder(out)
    started = time.perf_counter()
    where = device or best_device()
    with _told(out), progress(epochs or table.EPOCHS) as show:
        prepared, records, held_out = table.train_table(
            file,
            target,
            task=None if task is None else task.value,
            drop=drop or (),
            broken="skip" if skip_broken else "raise",
            device=where,
            epochs=epochs or table.EPOCHS,
            batch_size=batch_size or table.BATCH_SIZE,
            lr=lr or table.LR,
            seed=seed,
            out=out,
            resume=resume,
            patience=patience or table.PATIENCE,
            prepared_as=lambda prepared: _tell_columns(target, prepared),
            callbacks=(show, *_event_files(tensorboard, out, resume)),
        )
    told = ", ".join(f"{n.replace('_', ' ')} {v:.4g}" for n, v in held_out.items())
    print(
        f"{prepared.task} of {target!r}: {told}, {_after(len(records), 'epoch', started)} "
        f"on {where}"
    )
    print(f"{out}: {', '.join(table.LEFT_BEHIND)}")


def _tell_columns(target: str, prepared: Any) -> None:
    for line, why in list(prepared.skipped.items())[:_SHOWN]:
        print(f"left out line {line}: {why}")
    if prepared.skipped:
        left_out = _counted(len(prepared.skipped), "row")
        print(f"{left_out} left out, {len(prepared.target)} used")
    numbers = [column.name for column in prepared.columns if column.texts is None]
    texts = [f"{c.name} ({len(c.texts)})" for c in prepared.columns if c.texts is not None]
    read = [
        f"{kind} {', '.join(names[:_SHOWN])}{f' and {more} more' if more > 0 else ''}"
        for kind, names in (("numbers", numbers), ("categories", texts))
        if names
        for more in (len(names) - _SHOWN,)
    ]
    what = f" ({len(prepared.classes)} classes)" if prepared.classes is not None else ""
    print(f"{prepared.task} of {target!r}{what} from {'; '.join(read)}", flush=True)


@training.command("text")
def train_text(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE", help="A text in UTF-8; Python's documentation topics if not given."
        ),
    ] = None,
    as_bytes: Annotated[
        bool, options.flag("--bytes", "Learn the bytes of any file, not characters.")
    ] = False,
    device: options.DeviceOption = None,
    steps: Annotated[int | None, options.number("How many steps to train.", "6000")] = None,
    batch_size: Annotated[int | None, options.number("Stretches of text a step.", "8")] = None,
    lr: Annotated[float | None, options.lr("0.003")] = None,
    context: Annotated[
        int | None, options.number("Characters or bytes that the model sees at once.", "128")
    ] = None,
    width: Annotated[
        int | None, options.number("Numbers for each of them inside the model.", "128")
    ] = None,
    layers: Annotated[int | None, options.number("Layers of the model.", "4")] = None,
    heads: Annotated[
        int | None, options.number("Heads of attention in each layer; divides the width.", "4")
    ] = None,
    dropout: Annotated[
        float | None,
        options.number(
            "Which part of what a layer gives is dropped while training.", "0", options.part, "PART"
        ),
    ] = None,
    seed: options.SeedOption = 0,
    out: options.OutOption = Path("runs/text"),
    resume: options.ResumeOption = False,
    patience: Annotated[int | None, options.patience("reports", "held-out")] = None,
    tensorboard: options.TensorBoardOption = False,
) -> None:
    """Train a GPT on a text; leave the model, a curve, a sample and metrics in a folder."""
    from gpugrad.training import text
    from gpugrad.training.progress import progress

    asked: dict[str, Any] = {
        "context": context,
        "width": width,
        "layers": layers,
        "heads": heads,
        "dropout": dropout,
        "steps": steps,
        "batch_size": batch_size,
        "lr": lr,
    }
    settings = text.USUAL._replace(**{n: v for n, v in asked.items() if v is not None})
    if settings.width % settings.heads:
        raise typer.BadParameter(
            f"allowed are divisors of the width {settings.width}, got {settings.heads}",
            param_hint="'--heads'",
        )
    options.make_folder(out)
    started = time.perf_counter()
    where = device or best_device()
    with _told(out), progress(settings.steps, "step") as show:
        records = text.train_text(
            file,
            settings,
            unit="bytes" if as_bytes else "characters",
            device=where,
            seed=seed,
            out=out,
            resume=resume,
            patience=patience,
            callbacks=(show, *_event_files(tensorboard, out, resume)),
        )
    best = min(r.held_out["held_out_loss"] for r in records)
    print(
        f"{best:.4f} nats a {'byte' if as_bytes else 'character'} on the held-out end of the "
        f"text, {_after(records[-1].step, 'step', started)} on {where}"
    )
    print(f"{out}: {', '.join(text.LEFT_BEHIND)}")


@app.command()
def sample(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="The folder of a run of `gpugrad train text`, or a file in it."
        ),
    ],
    prompt: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="The text to continue; a new line if not given."),
    ] = None,
    length: Annotated[int, options.number("How many characters or bytes to write.")] = 500,
    temperature: Annotated[
        float,
        options.number(
            "The lower, the likelier what it writes; 0: always what is likeliest.",
            parser=options.temperature,
            name="NUMBER",
        ),
    ] = 0.8,
    top_k: Annotated[
        int | None, options.number("Draw from the K likeliest only.", name="K")
    ] = None,
    seed: Annotated[
        int | None, options.number("The same seed gives the same text.", parser=options.seed)
    ] = None,
    device: options.DeviceOption = None,
) -> None:
    """Let a model that `gpugrad train text` made continue a text."""
    from gpugrad.random import Generator
    from gpugrad.training.text import continued

    if prompt == "":
        raise typer.BadParameter("a model needs at least one character", param_hint="'--prompt'")
    with _told():
        parts = continued(
            checkpoint,
            prompt,
            length,
            temperature=temperature,
            top_k=top_k,
            generator=Generator(seed),
            device=device or best_device(),
        )
        for part in parts:
            print(part, end="", flush=True)
    print()


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def _after(count: int, what: str, started: float) -> str:
    return f"after {_counted(count, what)} in {time.perf_counter() - started:.1f} s"


def _event_files(wanted: bool, out: Path, resumed: bool) -> tuple[Any, ...]:
    if not wanted:
        return ()
    from gpugrad.training.tensorboard import EventFiles

    return (EventFiles(out, resumed=resumed),)


@contextmanager
def _told(out: Path | None = None) -> Iterator[None]:
    """What can go wrong in a command in one line, and what a stop has left of a run."""
    from gpugrad.data import DataError
    from gpugrad.training import CheckpointError

    kept = f"{out} has all of it, --resume goes on"
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            yield
    except KeyboardInterrupt:
        if out is not None and any(out.glob("checkpoints/step-*.safetensors")):
            raise KeyboardInterrupt(kept) from None
        raise
    except SystemExit as error:
        print(f"gpugrad: stopped by SIGTERM: {kept}", file=sys.stderr)
        raise typer.Exit(128 + signal.SIGTERM) from error
    except FloatingPointError as error:
        raise _UsageError(f"{error}; try a smaller --lr") from None
    except BrokenPipeError:
        raise
    except (
        CheckpointError, DataError, DeviceError, ModuleNotFoundError, MemoryError, OSError
    ) as error:  # fmt: skip
        _fail(error)


def _warn(message: Any, *args: Any, **kwargs: Any) -> None:
    print(f"gpugrad: {message}", file=sys.stderr)


@app.command()
def doctor(
    warm: Annotated[
        bool, options.flag("--warm", "Compile all kernels now; they are kept on disk.")
    ] = False,
) -> None:
    """Say what there is to work with, and check a gradient on each device."""
    from gpugrad.doctor import examine, warm_up

    healthy = examine()
    if warm:
        warm_up()
    if not healthy:
        raise typer.Exit(1)


@app.command()
def graph(
    out: Annotated[
        Path,
        typer.Option(
            parser=options.picture,
            metavar="FILE",
            help="The .svg or .png to draw, with a page beside it; or the .html page alone.",
        ),
    ] = Path("graph.svg"),
) -> None:
    """Draw the graph of a small network, and write a page that steps through both passes."""
    from gpugrad.training.files import replacing
    from gpugrad.viz import account

    options.make_folder(out.parent)
    page = out.with_suffix(".html")
    with _told():
        for path in dict.fromkeys((out, page)):
            with replacing(path) as unfinished:
                (account.walk if path == page else account.draw)(unfinished)
            print(path)


def _fail(error: Exception) -> None:
    said = str(error)
    if isinstance(error, OSError) and error.strerror:  # its number says nothing to people
        said = error.strerror if error.filename is None else f"{error.strerror}: {error.filename}"
    print(f"gpugrad: {said}", file=sys.stderr)
    raise typer.Exit(1)


# ------------------------------------------------------------------ the entry point


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give the exit code: docs/training.md has a list.

    Parameters
    ----------
    arguments : sequence of str, optional
        What follows ``gpugrad``; by default this process's own arguments.

    Examples
    --------
    >>> from gpugrad.cli import main
    >>> main(["train", "digits", "--epochs", "0"])  # says why on stderr
    2
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    # The process is the command's: what a terminal cannot show is no error.
    if arguments is None and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    # Not command.main(), which answers wrong usage with a box of several lines.
    try:
        command = typer.main.get_command(app)
        with command.make_context("gpugrad", given) as context:
            command.invoke(context)
    except _UsageError as error:
        print(_one_line(error), file=sys.stderr)
        return 2
    except typer.Exit as error:
        return int(error.exit_code)
    except KeyboardInterrupt as error:
        print(": ".join(["gpugrad: stopped by Ctrl-C", *error.args]), file=sys.stderr)
        return 130
    except BrokenPipeError:  # as by `| head`
        print("gpugrad: stopped, as nobody reads what it prints", file=sys.stderr)
        # What is still to be printed at the exit goes nowhere, instead of failing again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def _one_line(error: Any) -> str:
    message = error.format_message().replace("\n", " ").rstrip(".")
    if error.ctx is None:
        return f"gpugrad: {message}"
    command = error.ctx.command
    allowed = list(getattr(command, "commands", ()))
    if hasattr(error, "possibilities") and hasattr(error, "option_name"):  # no such option
        allowed = [name for option in command.get_params(error.ctx) for name in option.opts]
    if allowed:
        message += f": allowed are {', '.join(allowed)}"
    return f"{error.ctx.command_path}: {message}"


if __name__ == "__main__":
    sys.exit(main())
