"""Arrays that NumPy lets nobody write to are refused before anything is written."""

from __future__ import annotations

import numpy as np
import pytest
from gpugrad.kernels import optimizer
from gpugrad.kernels.adafactor import adafactor
from gpugrad.kernels.average import average, average_samples, find_norm

SHAPES = {"vector": (8,), "matrix": (3, 4)}


def arrays(shape, count, whole=True):
    """Two parameters and what goes with them, side by side in memory or not."""
    made = [[np.full((*shape, 2), 1.0 + k), np.full((*shape, 2), 2.0 + k)] for k in range(count)]
    return [[np.ascontiguousarray(a[..., 0]) if whole else a[..., 0] for a in r] for r in made]


def variances(lists):
    params, grads = lists
    rows = [np.ones((*p.shape[:-1], 1)) if p.ndim > 1 else None for p in params]
    columns = [np.ones((1, p.shape[-1])) if p.ndim > 1 else None for p in params]
    return params, grads, rows, columns, [p + 1 if p.ndim < 2 else None for p in params]


STEPS = {
    "adam": (4, lambda a, step: optimizer.adam(*a, step)),
    "sgd": (3, lambda a, step: optimizer.sgd(*a, step, momentum=0.9)),
    "adafactor": (2, lambda a, step: adafactor(*variances(a), step)),
}


@pytest.mark.parametrize("whole", [True, False], ids=["side by side", "strided"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("name", STEPS)
def test_optimizers(name, shape, whole):
    count, run = STEPS[name]
    for k in range(count):
        lists, step = arrays(shape, count, whole), np.zeros(1, np.int64)
        lists[k][1].flags.writeable = False
        before = [a.copy() for r in lists for a in r]
        if k == 1:  # gradients are only read
            run(lists, step)
            assert (lists[0][1] != before[1]).all()
            continue
        with pytest.raises(ValueError, match=r"\[1\], float64\(.*\), is read-only"):
            run(lists, step)
        assert step == 0
        assert all(map(np.array_equal, [a for r in lists for a in r], before))


@pytest.mark.parametrize("name", STEPS)
def test_counts_of_steps(name):
    count, run = STEPS[name]
    lists, step = arrays((8,), count), np.zeros(1, np.int64)
    step.flags.writeable = False
    with pytest.raises(ValueError, match=rf"^{name}: step\[0\], int64\(1,\), is read-only"):
        run(lists, step)
    assert (lists[0][0] == 1).all()


def test_means():
    (a, b), summary = arrays((8,), 2), np.zeros(2)
    b[1].flags.writeable = False
    with pytest.raises(ValueError, match=r"^average: out\[1\], float64\(8,\), is read-only"):
        average([a], b)
    with pytest.raises(ValueError, match=r"out\[0\].* is read-only"):
        average_samples([np.ones((2, 8))], [b[1]])
    assert (b[0] == 2).all()
    assert (average([b], a)[1] == 3).all()  # what is only read may be read-only
    summary.flags.writeable = False
    with pytest.raises(ValueError, match=r"summary\[0\], float64\(2,\), is read-only"):
        find_norm(a, summary)
