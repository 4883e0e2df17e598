"""The options of the command ``gpugrad``: what they take, and what their help says.

A wrong value is answered in one line.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from gpugrad.device import Device, DeviceError
from gpugrad.device import device as find_device

# ------------------------------------------------------------------ values


def count(text: str) -> int:
    """A whole number from 1 up."""
    return _whole(text, 1)


def seed(text: str) -> int:
    """A whole number from 0 up."""
    return _whole(text, 0)


def _whole(text: str, least: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        raise typer.BadParameter(f"allowed are whole numbers from {least} up, got {text!r}")
    return value


def rate(text: str) -> float:
    """A number above 0."""
    return _real(text, lambda value: 0 < value < math.inf, "above 0, such as 0.05")


def part(text: str) -> float:
    """A number from 0 to below 1."""
    return _real(text, lambda value: 0 <= value < 1, "from 0 to below 1, such as 0.1")


def temperature(text: str) -> float:
    """A number from 0 up."""
    return _real(text, lambda value: 0 <= value < math.inf, "from 0 up, such as 0.8")


def _real(text: str, fits: Callable[[float], bool], allowed: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not fits(value):
        raise typer.BadParameter(f"allowed are numbers {allowed}, got {text!r}")
    return value


def one_of(kind: type[StrEnum]) -> Callable[[str], StrEnum]:
    """What parses the words of an enumeration."""

    def parse(text: str) -> StrEnum:
        try:
            return kind(text)
        except ValueError:
            raise typer.BadParameter(f"allowed are {', '.join(kind)}, got {text!r}") from None

    return parse


def device(name: str) -> Device:
    """A device that there is."""
    try:
        return find_device(name)
    except DeviceError as error:
        raise typer.BadParameter(str(error)) from None


def picture(name: str) -> Path:
    """The name of a file that can be drawn."""
    path = Path(name)
    if path.suffix not in (".svg", ".png", ".html"):
        allowed = "names that end in .svg, .png or .html"
        raise typer.BadParameter(f"allowed are {allowed}, got {name!r}")
    return path


def make_folder(path: Path) -> None:
    """Make the folder of ``--out`` if it is not there; not while other options may be wrong."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise typer.BadParameter(
            f"allowed is a folder that can be written to, got {str(path)!r}: {error.strerror}",
            param_hint="'--out'",
        ) from None


# ------------------------------------------------------------------ options


def number(what: str, usual: str | bool = True, parser: Any = count, name: str = "N") -> Any:
    """An option with a number; ``usual`` is what holds without it, as the command knows."""
    return typer.Option(parser=parser, metavar=name, help=what, show_default=usual)


def flag(name: str, what: str) -> Any:
    """An option without a value."""
    return typer.Option(name, metavar="", help=what)


def epochs(usual: str) -> Any:
    """``--epochs`` of a command."""
    return number("How often to see each sample.", usual)


def batch_size(usual: str) -> Any:
    """``--batch-size`` of a command."""
    return number("Samples a step.", usual)


def lr(usual: str) -> Any:
    """``--lr`` of a command."""
    return number("Learning rate.", usual, rate, "RATE")


def patience(reports: str, loss: str, usual: str | bool = True) -> Any:
    """``--patience`` of a command, which reports so often, and watches this loss."""
    return number(f"Stop after N {reports} without a better {loss} loss.", usual)


DeviceOption = Annotated[
    Device | None,
    typer.Option(
        "--device",
        parser=device,
        metavar="NAME",
        envvar="GPUGRAD_DEVICE",
        help="cpu, cuda or cuda:N; the best there is if not given.",
    ),
]
ResumeOption = Annotated[
    bool, flag("--resume", "Go on from the newest checkpoint in the folder, if it has one.")
]
SeedOption = Annotated[int, number("The same seed gives the same run.", parser=seed)]
OutOption = Annotated[Path, typer.Option(metavar="FOLDER", help="Where to leave the results.")]
TensorBoardOption = Annotated[bool, flag("--tensorboard", "Write event files for TensorBoard too.")]
