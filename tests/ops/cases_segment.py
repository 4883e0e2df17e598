"""Segments and embedding against loops over rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from op_case import Sample, case
from op_draw import Draw, complexes, distinct, integers, real

from gpugrad import nn
from gpugrad.ops import segment


def _rows(make: Callable[..., Any]) -> Callable[[Draw], Sample]:
    def sample(d: Draw) -> Sample:
        n = d.integer(1, 5)
        return [make((n, *d.shape(high=2))), integers((n,), -1, 4)], {}

    return sample


def _sum(x: Any, ids: Any) -> Any:
    out = np.zeros((3, *x.shape[1:]), x.dtype)
    for i, row in zip(ids, x):
        if 0 <= i < 3:
            out[i] += row
    return out


def _max(x: Any, ids: Any) -> Any:
    out = np.full((3, *x.shape[1:]), -np.inf, x.dtype)
    for i, row in zip(ids, x):
        if 0 <= i < 3:
            out[i] = np.maximum(out[i], row)
    return out


def _mean(x: Any, ids: Any) -> Any:
    many = np.maximum(_sum(np.ones(len(x), x.dtype), ids), 1)
    return _sum(x, ids) / many.reshape(3, *(1,) * (x.ndim - 1))


case("segment_sum", _rows(real), lambda x, i: segment.segment_sum(x, i, 3), _sum)
case("segment_sum complex", _rows(complexes), lambda x, i: segment.segment_sum(x, i, 3), _sum)
case("segment_sum of integers", _rows(integers), lambda x, i: segment.segment_sum(x, i, 3), _sum)
case("segment_mean", _rows(real), lambda x, i: segment.segment_mean(x, i, 3), _mean)
case(
    "segment_sum sorted",
    lambda d: ([real((6, 2))], {}),
    lambda x: segment.segment_sum(x, _beside(x), 3, indices_are_sorted=True),
    lambda x: _sum(x, SORTED),
)


SORTED = np.array([-1, 0, 0, 2, 2, 3])


def _beside(x: Any) -> Any:
    import gpugrad.numpy as gnp

    return gnp.asarray(SORTED, device=x.device)


def _full(d: Draw) -> Sample:
    n = d.integer(3, 5)

    def ids(rng: np.random.Generator) -> Any:
        return np.concatenate([rng.permutation(3), rng.integers(-1, 4, n - 3)])

    return [distinct((n, *d.shape(high=2))), ids], {}


case("segment_max", _full, lambda x, i: segment.segment_max(x, i, 3), _max)
case("segment_min", _full, lambda x, i: segment.segment_min(x, i, 3), lambda x, i: -_max(-x, i))
case(
    "embedding",
    lambda d: ([real((3, 2)), integers(d.shape(high=2), 0, 3)], {}),
    lambda w, i: nn.embedding(i, w),
    lambda w, i: w[i],
)
case(
    "embedding of rows that are there",
    lambda d: ([real((3, *d.shape(high=2))), integers((4,), -1, 4)], {}),
    lambda w, i: segment.take_rows_p(w, i),
    lambda w, i: np.where(
        ((i >= 0) & (i < 3)).reshape(4, *(1,) * (w.ndim - 1)), w[np.clip(i, 0, 2)], 0
    ),
    low=False,
)
