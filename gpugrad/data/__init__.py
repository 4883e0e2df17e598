"""Data to train on: arrays, files and tables, in shuffled batches that continue where they were."""

from gpugrad.data.arrays import Arrays, DataError, Dataset, check_labels
from gpugrad.data.loader import Loader
from gpugrad.data.text import Alphabet, Stretches, Text, load_text

__all__ = [
    "Alphabet",
    "Arrays",
    "DataError",
    "Dataset",
    "Loader",
    "Stretches",
    "Text",
    "check_labels",
    "load_text",
]
