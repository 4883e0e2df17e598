"""Logarithms weighted by their arguments, with ``0 log 0 = 0``, and the logistic function."""

from __future__ import annotations

from typing import Any

from gpugrad.core import loose
from gpugrad.core.abstract import shape_dtype
from gpugrad.core.primitive import Primitive
from gpugrad.ops import reductions
from gpugrad.ops.broadcast import reduced
from gpugrad.ops.complex import real
from gpugrad.ops.elementwise import absolute, exp, isfinite, log, log1p, sign, where
from gpugrad.ops.reductions import logsumexp_p
from gpugrad.ops.shape import normal_axes, reshape
from gpugrad.ops.special import binary, ratio, unary

xlogy: Primitive = binary("xlogy", "x w", lambda g, w: g * log(w), lambda g, x, w: g * ratio(x, w))
xlog1py: Primitive = binary(
    "xlog1py", "x w", lambda g, w: g * log1p(w), lambda g, x, w: g * ratio(x, 1 + w)
)
entr = unary("entr", lambda g, x: -g * (log(x) + 1))
rel_entr = binary(
    "rel_entr",
    "x w",
    lambda g, x, w: g * (log(ratio(x, w)) + 1),
    lambda g, x, w: -g * ratio(x, w),
)
kl_div = binary(
    "kl_div",
    "x w",
    lambda g, x, w: g * log(ratio(x, w)),
    lambda g, x, w: g * (1 - ratio(x, w)),
)

expit: Primitive = unary("expit", lambda g, y: g * (y * (1 - y)))
logit = unary("logit", lambda g, x: g / (x * (1 - x)))
log_expit = unary("log_expit", lambda g, x: g * expit(-x))


def logsumexp(
    a: Any, axis: Any = None, b: Any = None, keepdims: bool = False, return_sign: bool = False
) -> Any:
    """``log(sum(b * exp(a)))`` over ``axis`` without overflow.

    Parameters
    ----------
    b
        Factors, which broadcast with ``a``; 1 by default. Where one is 0 its ``a`` has no effect.
    return_sign
        Give the logarithm of the sum's absolute value, and its sign (a complex number of modulus
        1 for complex ones); otherwise a negative sum has the logarithm NaN.
    """
    if b is None:
        y = reductions.logsumexp(a, axis, keepdims=keepdims)
        return (real(y), sign(exp(y))) if return_sign else y
    a, b = loose.beside(a, b)
    a = where(b == 0, -float("inf"), a)
    axes = normal_axes(axis, shape_dtype(a).ndim)
    top = real(logsumexp_p(a, axis=axes, keepdims=True))
    top = where(isfinite(top), top, 0)
    total = (b * exp(a - top)).sum(axes, keepdims=True)
    y = log(absolute(total) if return_sign else total) + top
    signs = sign(total)
    if not keepdims:
        left = reduced(shape_dtype(a).shape, axes, False)
        y, signs = reshape(y, left), reshape(signs, left)
    return (y, signs) if return_sign else y


def softmax(x: Any, axis: Any = None) -> Any:
    """``exp(x)`` scaled to the sum 1 over ``axis`` (None: over all)."""
    return exp(log_softmax(x, axis))


def log_softmax(x: Any, axis: Any = None) -> Any:
    """The logarithm of `softmax`."""
    return x - reductions.logsumexp(x, axis, keepdims=True)
