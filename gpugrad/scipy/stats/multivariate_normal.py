"""The normal distribution of vectors: ``exp(-v @ inv(cov) @ v / 2) / sqrt(det(2 pi cov))``.

``v = x - mean``. The covariance is factored by Cholesky; one that is singular, with
``allow_singular``, by its pseudoinverse, on whose range the density then is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from numpy import finfo

from gpugrad.core.abstract import shape_dtype
from gpugrad.ops.creation import counting
from gpugrad.ops.eigen import eigvalsh
from gpugrad.ops.elementwise import absolute, exp, log, where
from gpugrad.ops.factor import cholesky
from gpugrad.ops.least_squares import pinv
from gpugrad.ops.matrices import diagonal
from gpugrad.ops.shape import expand_dims, matrix_transpose, reshape
from gpugrad.ops.solve import left_divide
from gpugrad.ops.special import precision
from gpugrad.scipy.stats.standard import takes_lists

_LOG_TWO_PI = math.log(2 * math.pi)


def pdf(x: Any, mean: Any = None, cov: Any = 1, allow_singular: bool = False) -> Any:
    """Probability density of the vectors along the last axis of ``x``."""
    return exp(logpdf(x, mean, cov, allow_singular))


@takes_lists
def logpdf(x: Any, mean: Any = None, cov: Any = 1, allow_singular: bool = False) -> Any:
    """Logarithm of the density of the vectors along the last axis of ``x``.

    Parameters
    ----------
    mean
        A vector, or a number for every component; 0 by default.
    cov
        A matrix; a vector of variances; or one variance.

    Notes
    -----
    How many components there are, ``mean`` and ``cov`` say. Where both are numbers there is one,
    and each element of ``x`` is a vector, as in SciPy.
    """
    d = _dimension(mean, cov)
    v = x if mean is None else x - mean
    if d == 1 and (shape_dtype(v).ndim == 0 or shape_dtype(v).shape[-1] != 1):
        v = expand_dims(v, -1)  # numbers are vectors of one component
    cov = _matrix(cov, d, [v, cov])
    columns = matrix_transpose(reshape(v, (-1, d)))
    if allow_singular:
        value = _singular(columns, cov)
    else:
        half = cholesky(cov)
        w = left_divide(half, columns, lower=True)
        value = -0.5 * ((w * w).sum(0) + d * _LOG_TWO_PI) - log(diagonal(half)).sum()
    return reshape(value, shape_dtype(v).shape[:-1])


@takes_lists
def entropy(mean: Any = None, cov: Any = 1) -> Any:
    """Differential entropy."""
    d = _dimension(mean, cov)
    half = cholesky(_matrix(cov, d, [cov] if mean is None else [mean, cov]))
    return log(diagonal(half)).sum(-1) + 0.5 * d * (1 + _LOG_TWO_PI)


def _dimension(mean: Any, cov: Any) -> int:
    for value in (cov, mean):
        shape = () if value is None else shape_dtype(value).shape
        if shape:
            return shape[-1]
    return 1


def _matrix(cov: Any, d: int, near: Sequence[Any]) -> Any:
    like = shape_dtype(cov)
    if like.ndim >= 2:
        if like.shape != (d, d):
            raise ValueError(
                f"multivariate_normal: cov of shape {like.shape} is not a ({d}, {d}) matrix"
            )
        return cov
    count = counting(near, d)
    dtype = precision([shape_dtype(v) for v in near])
    return (expand_dims(count, 0) == expand_dims(count, 1)).astype(dtype) * cov


def _singular(columns: Any, cov: Any) -> Any:
    w = eigvalsh(cov)
    like = shape_dtype(w)
    eps = float(finfo(like.dtype).eps)
    large = w > 1e3 * like.size * eps * absolute(w).max()  # as SciPy counts the rank
    rank = large.astype(like.dtype).sum()
    log_det = log(where(large, w, 1)).sum()
    whitened = pinv(cov, hermitian=True) @ columns
    value = -0.5 * (rank * _LOG_TWO_PI + log_det + (columns * whitened).sum(0))
    off = absolute(columns - cov @ whitened).max(0)  # what lies off the range has density 0
    return where(off <= math.sqrt(eps) * absolute(columns).max(0), value, -math.inf)
