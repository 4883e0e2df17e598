"""Data to train on: arrays, files and tables, in shuffled batches that continue where they were."""

from gpugrad.data.arrays import Arrays, DataError, Dataset, check_labels
from gpugrad.data.files import map_arrays, read_text
from gpugrad.data.loader import Loader
from gpugrad.data.records import Records
from gpugrad.data.table import Column, Table, describe, numbers_of, read_table, wrong_cells
from gpugrad.data.text import Alphabet, Stretches, Text, load_text

__all__ = [
    "Alphabet",
    "Arrays",
    "Column",
    "DataError",
    "Dataset",
    "Loader",
    "Records",
    "Stretches",
    "Table",
    "Text",
    "check_labels",
    "describe",
    "load_text",
    "map_arrays",
    "numbers_of",
    "read_table",
    "read_text",
    "wrong_cells",
]
