"""Training: the loop, checkpoints that lose nothing, and what a run leaves on disk."""

from gpugrad.training.checkpoints import Checkpoints
from gpugrad.training.model_file import load, save
from gpugrad.training.recipe import rebuildable
from gpugrad.training.record import Record
from gpugrad.training.state_file import CheckpointError, read_state, write_state
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
