"""What an operation's rules send back along its edges, and the factors they multiply by."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpugrad.core.abstract import shape_dtype
from gpugrad.core.primitive import residual_names
from gpugrad.core.tape import Node
from gpugrad.core.under import device_under
from gpugrad.cotangents import one_like
from gpugrad.device import on
from gpugrad.ops.batching import pointwise
from gpugrad.ops.matmul import matmul_p, vector_p
from gpugrad.viz.model import Pull
from gpugrad.viz.numbers import numbers

ROWS, TERM = 6, 12
"""The terms of a sum are noted for at most so many rows, of so many elements each."""


def pulls_of(node: Node, gradient: Any, few: int) -> dict[int, Pull]:
    """What the node sends to each operand when ``gradient`` arrives at it."""
    plan: Any = node.plan
    if plan is None:
        return {}
    if not hasattr(plan, "rules"):  # it picks one output of several
        return {0: Pull("", numbers(gradient, few))}
    saved = node.saved
    while type(saved) is not tuple:  # set aside by a checkpoint
        saved = saved.recompute()
    found = {}
    with on(device_under(gradient)):
        for i, sent in plan.pull(gradient, saved):
            if sent is None:
                continue
            factor = product = terms = None
            if not isinstance(gradient, tuple):
                factor, product = _factor(plan, i, saved, gradient)
                if product is not None and shape_dtype(product).shape == shape_dtype(sent).shape:
                    product = None
                terms = _terms(plan, i, saved, gradient, product, sent)
            found[i] = Pull(
                plan.primitive.name,
                numbers(sent, few),
                None if factor is None else numbers(factor, few),
                None if product is None else numbers(product, few),
                terms,
            )
    return found


def _factor(plan: Any, i: int, saved: Any, gradient: Any) -> tuple[Any, Any]:
    """The local derivative as an array, and the gradient times it; None where it is none."""
    one = one_like(gradient)
    if plan.joint is None and plan.primitive.batch is pointwise:
        rule, residuals = _rule(plan, i, saved)
        if residual_names(rule)[-1:] and residual_names(rule)[-1].endswith("_fit"):
            residuals[-1] = None  # not summed to the operand's shape
        return rule(one, *residuals), rule(gradient, *residuals)
    if shape_dtype(gradient).size == 1:
        return dict(plan.pull(one, saved)).get(i), None
    return None, None


def _rule(plan: Any, i: int, saved: Any) -> tuple[Any, list[Any]]:
    rule, at = next((rule, at) for j, rule, at in plan.rules if j == i)
    return rule, list(saved) if at is None else [saved[j] for j in at]


def _terms(
    plan: Any, i: int, saved: Any, gradient: Any, product: Any, sent: Any
) -> np.ndarray[Any, Any] | None:
    """What each row adds to what is sent, where rows are summed and they are few and small."""
    g, like = shape_dtype(gradient), shape_dtype(sent)
    if not g.shape or not 1 < g.shape[0] <= ROWS or like.size > TERM:
        return None
    if product is not None:
        terms = _host(product)
    elif i == 1 and g.ndim <= 2 and plan.primitive in (matmul_p, vector_p):
        _, (a, *_) = _rule(plan, i, saved)
        if shape_dtype(a).ndim != 2:
            return None
        rows, arriving = _host(a), _host(gradient)
        if rows is None or arriving is None:
            return None
        terms = np.einsum("ni,n...->ni...", rows, arriving)
    else:
        return None
    fits = terms is not None and terms.shape == (g.shape[0], *like.shape)
    return terms if fits else None


def _host(value: Any) -> np.ndarray[Any, Any] | None:
    return numbers(value, ROWS * 64).values
