"""From a name of NumPy to the function that serves arrays, boxes and lists of boxes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

import gpugrad.numpy as gnp
from gpugrad.core.box import BOX_TYPES
from gpugrad.dispatch import functions, ufuncs
from gpugrad.device import default_device, namespace, on

_NEW = {"arange", "empty", "eye", "full", "geomspace", "identity", "indices"}
_NEW |= {"linspace", "logspace", "ones", "tri", "zeros"}
"""Functions that make an array out of numbers."""

_GATHER = {"array", "asarray", "asanyarray", "ascontiguousarray"}
"""Functions that make an array out of nested lists."""

_SEQUENCES = {"append", "block", "broadcast_arrays", "column_stack", "concat", "concatenate"}
_SEQUENCES |= {"dstack", "hstack", "meshgrid", "piecewise", "row_stack", "select", "stack"}
_SEQUENCES |= {"unstack", "vstack"}
"""Functions that take several arrays as one list."""


def find(module: ModuleType, name: str) -> Any:
    """What the name means here; what is no function is the module's own."""
    theirs = getattr(module, name)
    if name in _GATHER:
        return _gathering(theirs)
    if name in _NEW:
        return _new(theirs)
    if isinstance(theirs, np.ufunc | FunctionType) or type(theirs) is type(np.sum):
        return _serving(theirs, functions.get(theirs) or ufuncs.get(theirs) or theirs)
    return theirs


def _new(theirs: Any) -> Callable[..., Any]:
    name = theirs.__name__

    @functools.wraps(theirs)
    def make(*args: Any, **kwargs: Any) -> Any:
        if any(holds_box(a) for a in args):
            return functions.get(theirs, theirs)(*args, **kwargs)
        where = default_device()
        with on(where):
            return getattr(namespace(where), name)(*args, **kwargs)

    return make


def _gathering(theirs: Any) -> Callable[..., Any]:
    name = theirs.__name__

    @functools.wraps(theirs)
    def gather(value: Any, dtype: Any = None, **kwargs: Any) -> Any:
        if holds_box(value):
            return gnp.array(value, dtype)
        where = default_device()
        with on(where):
            return getattr(namespace(where), name)(value, dtype, **kwargs)

    return gather


def _serving(theirs: Any, ours: Any) -> Callable[..., Any]:
    """``ours`` for boxes, ``theirs`` for all else."""
    several = theirs.__name__ in _SEQUENCES

    @functools.wraps(theirs)
    def serve(*args: Any, **kwargs: Any) -> Any:
        for a in args:
            if type(a) in BOX_TYPES:
                return ours(*args, **kwargs)
        if any(holds_box(a) for a in (*args, *kwargs.values())):
            if not several:
                args = tuple([_joined(a) for a in args])
                kwargs = {key: _joined(a) for key, a in kwargs.items()}
            return ours(*args, **kwargs)
        return theirs(*args, **kwargs)

    return serve


def holds_box(value: Any) -> bool:
    """Whether a value is a box or a list with one in it."""
    kind = type(value)
    if kind is list or kind is tuple:
        return any(holds_box(v) for v in value)
    return kind in BOX_TYPES


def _joined(value: Any) -> Any:
    """A list that holds boxes as one array."""
    return gnp.array(value) if isinstance(value, list | tuple) and holds_box(value) else value
