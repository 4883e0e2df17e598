"""What is noted about a stretch of training."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_OWN = ("epoch", "step", "loss", "samples_per_second", "device")


@dataclass(frozen=True, slots=True)
class Record:
    """The figures of one epoch, or of as many steps as lie between two reports.

    Parameters
    ----------
    epoch : int
        How many epochs were begun, from 1.
    step : int
        How many steps were taken since the start.
    loss : float
        Mean loss over the stretch's samples, each as it was when its batch came up.
    samples_per_second : float
        Training speed; evaluation and checkpoints are not counted.
    device : str
        Where it ran.
    held_out : dict
        What the evaluation gave after the stretch, such as ``held_out_loss`` and ``accuracy``.

    Raises
    ------
    ValueError
        For a held-out figure of the name of another field.
    """

    epoch: int
    step: int
    loss: float
    samples_per_second: float
    device: str
    held_out: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        taken = [name for name in self.held_out if name in _OWN]
        if taken:
            raise ValueError(
                f"a held-out figure is called {taken[0]!r}, as one of the record's own "
                f"{list(_OWN)} is: call it held_out_{taken[0]}"
            )

    def figures(self) -> dict[str, Any]:
        """All of it in one flat dict."""
        return {
            "epoch": self.epoch,
            "step": self.step,
            "loss": self.loss,
            **self.held_out,
            "samples_per_second": self.samples_per_second,
            "device": self.device,
        }

    @classmethod
    def from_figures(cls, figures: Mapping[str, Any]) -> Record:
        """A record from what `figures` gave."""
        rest = dict(figures)
        own = {n: rest.pop(n) for n in _OWN}
        return cls(**own, held_out=rest)

    def to_json(self) -> str:
        """The record as one line of JSON; a figure that is no number is null."""
        finite = {
            k: None if isinstance(v, float) and not math.isfinite(v) else v
            for k, v in self.figures().items()
        }
        return json.dumps(finite, allow_nan=False)
