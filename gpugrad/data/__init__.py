"""Data to train on: arrays, files and tables, in shuffled batches that continue where they were."""

from gpugrad.data.arrays import Arrays, DataError, Dataset, check_labels
from gpugrad.data.loader import Loader

__all__ = [
    "Arrays",
    "DataError",
    "Dataset",
    "Loader",
    "check_labels",
]
