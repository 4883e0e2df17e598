"""Small things that programs import from autograd.util."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from gpugrad.compat.autograd.deprecated import quick_grad_check
from gpugrad.compat.autograd.wrap_util import subvals

__all__ = ["func", "quick_grad_check", "subval", "subvals"]


def func(f: Callable[..., Any]) -> Callable[..., Any]:
    """``f`` as it is: in Python 2 a method's function."""
    return f


def subval(x: Iterable[Any], i: int, v: Any) -> tuple[Any, ...]:
    """``x`` with ``v`` at position ``i``."""
    return subvals(x, [(i, v)])
