"""CuPy's functions that ask nobody, made to ask: on an `Array` ours answers.

CuPy looks for other kinds of arrays in its elementwise kernels and reductions alone. Its other
functions (``cupy.concatenate``, ``cupy.einsum``, ``cupy.linalg.solve``, ``cupy.fft.rfft``, ...)
refuse an `Array`, most of them with an error that does not say which function it was. So when
gpugrad meets the first CuPy array, the functions of ``cupy``, ``cupy.linalg``, ``cupy.fft`` and
``cupy.lib.stride_tricks`` are replaced by ones that look at their arguments: with an `Array` among
these, our function of that name answers, or an error that has the name; else CuPy's, as before.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from gpugrad import dispatch
from gpugrad.core.box import BOX_TYPES
from gpugrad.ops.creation import device_near

_SEARCHED = 1000
"""How many elements of a list of arguments are looked at."""


def _holds(values: Iterable[Any]) -> bool:
    for v in values:
        kind = type(v)
        if kind in BOX_TYPES or ((kind is list or kind is tuple) and _holds(v[:_SEARCHED])):
            return True
    return False


def _asking(name: str, theirs: Callable[..., Any], rule: Callable[..., Any] | None) -> Any:
    """``theirs``, and ``rule`` where an argument is an `Array`."""

    @functools.wraps(theirs)
    def ask(*args: Any, **kwargs: Any) -> Any:
        if _holds(args) or (kwargs and _holds(kwargs.values())):
            if rule is None:
                dispatch.missing(name)
            return dispatch.answer(theirs, rule, args, kwargs)
        return theirs(*args, **kwargs)

    return ask


def _module_of(cupy: Any) -> Any:
    theirs = cupy.get_array_module

    @functools.wraps(theirs)
    def get_array_module(*args: Any) -> Any:
        boxes = [a for a in args if type(a) in BOX_TYPES]
        on_cuda = bool(boxes) and device_near(boxes).kind == "cuda"
        return cupy if on_cuda else theirs(*args)

    return get_array_module


def ask_first(cupy: Any) -> None:
    """Replace CuPy's functions in its namespaces."""
    get_array_module = _module_of(cupy)
    for room, numpys in (
        (cupy, np),
        (cupy.linalg, np.linalg),
        (cupy.fft, np.fft),
        (cupy.lib.stride_tricks, np.lib.stride_tricks),
    ):
        for name, theirs in list(vars(room).items()):
            module = getattr(theirs, "__module__", None) or ""
            if (
                name.startswith("_")
                or name == "from_dlpack"  # an Array exports itself, or says why not
                or not callable(theirs)
                or isinstance(theirs, type | cupy.ufunc)
                or not module.startswith("cupy")
            ):
                continue
            numpys_own = getattr(numpys, name, None)
            rule = dispatch.functions.get(numpys_own) or dispatch.ufuncs.get(numpys_own)
            if rule is None and room is cupy:
                rule = dispatch.by_name.get(name)
            setattr(room, name, _asking(f"{room.__name__}.{name}", theirs, rule))
    cupy.get_array_module = get_array_module
