"""The Dirichlet distribution: ``prod(x**(alpha - 1)) gamma(sum(alpha)) / prod(gamma(alpha))``."""

from __future__ import annotations

from typing import Any

from gpugrad.core.abstract import shape_dtype
from gpugrad.ops.elementwise import exp
from gpugrad.ops.entropy import xlogy
from gpugrad.ops.gamma import digamma, gammaln
from gpugrad.ops.join import concatenate
from gpugrad.ops.shape import expand_dims, reshape
from gpugrad.scipy.stats.standard import takes_lists


def _log_beta(alpha: Any) -> Any:
    return gammaln(alpha).sum() - gammaln(alpha.sum())


def pdf(x: Any, alpha: Any) -> Any:
    """Probability density."""
    return exp(logpdf(x, alpha))


@takes_lists
def logpdf(x: Any, alpha: Any) -> Any:
    """Logarithm of the density at ``x``, whose first axis counts the components.

    The last component may be left out: it is 1 minus the others. Nothing checks that they sum to
    1, so that the gradient by ``x`` is that of the formula.
    """
    components, count = shape_dtype(x).shape[0], shape_dtype(alpha).size
    if components == count - 1:
        x = concatenate([x, expand_dims(1 - x.sum(0), 0)])
    elif components != count:
        raise ValueError(
            f"dirichlet: x of shape {shape_dtype(x).shape} has {components} components along axis "
            f"0, alpha has {count}"
        )
    powers = reshape(alpha - 1, (count, *(1,) * (shape_dtype(x).ndim - 1)))
    return xlogy(powers, x).sum(0) - _log_beta(alpha)


@takes_lists
def entropy(alpha: Any) -> Any:
    """Differential entropy."""
    total = alpha.sum()
    inner = ((alpha - 1) * digamma(alpha)).sum()
    return _log_beta(alpha) + (total - shape_dtype(alpha).size) * digamma(total) - inner
