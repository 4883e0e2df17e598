"""From a name of NumPy to the function that serves arrays, boxes and lists of boxes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

import gpugrad.numpy as gnp
from gpugrad.calling import match
from gpugrad.core.box import BOX_TYPES, any_box, strip
from gpugrad.core.loose import LISTS
from gpugrad.device import default_device, is_cuda, namespace, on
from gpugrad.dispatch import functions, ufuncs
from gpugrad.ops.operands import as_arrays

_NEW = {"arange", "empty", "eye", "full", "geomspace", "identity", "indices"}
_NEW |= {"linspace", "logspace", "ones", "tri", "zeros"}
"""Functions that make an array out of numbers."""

_GATHER = {"array", "asarray", "asanyarray", "ascontiguousarray"}
"""Functions that make an array out of nested lists."""

_SEQUENCES = {"block", "broadcast_arrays", "column_stack", "concat", "concatenate", "dstack"}
_SEQUENCES |= {"hstack", "meshgrid", "row_stack", "select", "stack", "unstack", "vstack"}
"""Functions that take several arrays as one list."""

_OPERANDS = {"allclose": 2, "append": 2, "array_equal": 2, "clip": 3, "convolve": 2}
_OPERANDS |= {"cross": 2, "dot": 2, "inner": 2, "interp": 3, "isclose": 2, "kron": 2}
_OPERANDS |= {"outer": 2, "solve": 2, "tensordot": 2, "vdot": 2, "where": 3}
"""How many of a function's first arguments are arrays, where it is more than one."""


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
        if gathers(value):
            return strip(gnp.array(value, dtype))
        where = default_device()
        with on(where):
            return getattr(namespace(where), name)(value, dtype, **kwargs)

    return gather


def _serving(theirs: Any, ours: Any) -> Callable[..., Any]:
    """``ours`` for boxes, ``theirs`` for all else.

    NumPy's own function reaches ours too, and translates NumPy's options on the way; where there
    is nothing to translate ours is called at once, which saves the way.
    """
    name = theirs.__name__
    several = name in _SEQUENCES
    plain: frozenset[str] = frozenset()
    if isinstance(theirs, np.ufunc):
        count, most = theirs.nin, float(theirs.nin)
    else:
        count = _OPERANDS.get(name, 1)
        found = match(theirs, ours)
        most, plain = (found.aligned, found.same - {"out"}) if ours is not theirs else (0, plain)

    @functools.wraps(theirs)
    def serve(*args: Any, **kwargs: Any) -> Any:
        if len(args) == 1:  # what follows, in short
            kind = type(args[0])
            if kind is np.ndarray:
                return theirs(*args, **kwargs)
            if kind in BOX_TYPES and most and plain.issuperset(kwargs):
                return ours(*args, **kwargs)
        boxed = lists = False
        for a in args:
            kind = type(a)
            if kind in BOX_TYPES:
                boxed = True
            elif kind is list or kind is tuple:
                lists = True
        if several and lists and type(args[0]) in LISTS and _ARRAYS.issuperset(map(type, args[0])):
            boxed = any_box(args[0])
        elif lists and (boxed or any(gathers(a) for a in args)):
            if several:
                boxed = holds_box(args[0])
                args = (as_arrays(*[_joined(v) for v in args[0]]), *args[1:])
            elif name != "einsum":
                args = (*as_arrays(*[_joined(v) for v in args[:count]]), *args[count:])
            elif isinstance(args[0], str):  # else the lists are subscripts
                args = (args[0], *as_arrays(*args[1:]))
        if boxed and len(args) <= most and plain.issuperset(kwargs):
            return ours(*args, **kwargs)
        return theirs(*args, **kwargs)

    if count != 1 or not isinstance(theirs, np.ufunc):
        return serve

    @functools.wraps(theirs)
    def serve_one(x: Any, /, *args: Any, **kwargs: Any) -> Any:
        if not args and not kwargs:  # what serve would come to, sooner
            kind = type(x)
            if kind in BOX_TYPES:
                return ours(x)
            if kind is np.ndarray:
                return theirs(x)
        return serve(x, *args, **kwargs)

    return serve_one


_ARRAYS = {*BOX_TYPES, np.ndarray}


def holds_box(value: Any) -> bool:
    """Whether a value is a box or a list with one in it."""
    kind = type(value)
    if kind is list or kind is tuple:
        return any(holds_box(v) for v in value)
    return kind in BOX_TYPES


def gathers(value: Any) -> bool:
    """Whether a value is an array of a device, a box or a list with one of them in it."""
    if isinstance(value, list | tuple):
        return any(gathers(v) for v in value)
    return type(value) in BOX_TYPES or is_cuda(value)


def _joined(value: Any) -> Any:
    """A list with boxes or arrays of a device in it as one array; anything else as it is."""
    if isinstance(value, list | tuple) and gathers(value):
        return strip(gnp.array(value))
    return value
