"""What is noted about an epoch."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Record:
    """The figures of one epoch.

    Parameters
    ----------
    epoch : int
        Which one, from 1.
    loss : float
        Mean loss over the training samples, each as it was when its batch came up.
    held_out_loss, accuracy : float
        Mean loss and share of right answers on the samples held out, after the epoch.
    samples_per_second : float
        Training speed, the held-out part not counted.
    device : str
        Where it ran.
    """

    epoch: int
    loss: float
    held_out_loss: float
    accuracy: float
    samples_per_second: float
    device: str

    def to_json(self) -> str:
        """The record as one line of JSON."""
        return json.dumps(asdict(self), allow_nan=False)
