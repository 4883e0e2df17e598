"""Training: the loop, checkpoints that lose nothing, and what a run leaves on disk."""

from gpugrad.training.checkpoint import (
    CheckpointError,
    Checkpoints,
    load,
    read_state,
    save,
    write_state,
)
from gpugrad.training.recipe import rebuildable
from gpugrad.training.record import Record
from gpugrad.training.trainer import Trainer

__all__ = [
    "CheckpointError",
    "Checkpoints",
    "Record",
    "Trainer",
    "load",
    "read_state",
    "rebuildable",
    "save",
    "write_state",
]
