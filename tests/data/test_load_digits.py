"""The bundled digits: how they are divided and scaled, and the error without scikit-learn."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from gpugrad.data.digits import load_digits


def test_a_seed_decides_what_is_held_out():
    first, again, other = load_digits(0), load_digits(0), load_digits(1)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.images, b.images)
        np.testing.assert_array_equal(a.labels, b.labels)
    assert not np.array_equal(first.held_out.labels, other.held_out.labels)


def test_every_digit_is_in_one_part():
    from sklearn.datasets import load_digits as bundled

    parts = load_digits(5)
    assert [len(p.labels) for p in parts] == [1437, 360]
    rows = np.concatenate([np.column_stack([16 * p.images, p.labels]) for p in parts])
    images, labels = bundled(return_X_y=True)
    expected = np.column_stack([images, labels])
    np.testing.assert_array_equal(rows[np.lexsort(rows.T)], expected[np.lexsort(expected.T)])


def test_types_and_scale():
    for part in load_digits(0):
        assert part.images.dtype == np.float32
        assert part.labels.dtype == np.int64
        assert (part.images.min(), part.images.max()) == (0, 1)
        assert set(part.labels.tolist()) == set(range(10))


def test_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "gpugrad\[train\]"'):
        load_digits()
