"""What the array API standard adds to NumPy's names, and triangles of matrices."""

from __future__ import annotations

import numpy as np
from op_case import Sample, case
from op_draw import Draw, real

import gpugrad.numpy as gnp


def _matrices(d: Draw) -> Sample:
    return [real(d.shape(2), -2, 2)], {"k": d.pick([-2, -1, 0, 1])}


case("tril", _matrices)
case("triu", _matrices)


def _unstacked(d: Draw) -> Sample:
    shape = d.shape(1)
    return [real(shape, -2, 2)], {"axis": d.axis(len(shape))}


case(
    "unstack",
    _unstacked,
    lambda x, axis: gnp.unstack(x, axis=axis)[-1],
    lambda x, axis: np.take(x, -1, axis),
)
