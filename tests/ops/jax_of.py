"""A function of NumPy's or SciPy's, written for a case, as the same function of JAX's.

JAX has NumPy's and SciPy's names: a reference is rebuilt with JAX's modules in the places of
theirs, in globals, defaults and closures, and in the functions that it calls.
"""

from __future__ import annotations

import functools
import importlib
import types
from typing import Any

import numpy as np
import pytest
import scipy
import scipy.linalg
import scipy.signal
import scipy.special

jax = pytest.importorskip("jax")
jnp = jax.numpy
for room in ("linalg", "signal", "special"):
    importlib.import_module(f"jax.scipy.{room}")

MODULES = {
    np: jnp,
    np.linalg: jnp.linalg,
    np.fft: jnp.fft,
    scipy: jax.scipy,
    scipy.special: jax.scipy.special,
    scipy.linalg: jax.scipy.linalg,
    scipy.signal: jax.scipy.signal,
}


def jaxed(thing: Any, made: dict[int, Any] | None = None) -> Any:
    """JAX's in the place of a module, of a function, or of what a function is made of.

    Raises
    ------
    AttributeError
        Where JAX has no such function.
    """
    made = {} if made is None else made
    if isinstance(thing, types.ModuleType):
        return MODULES.get(thing, thing)
    if isinstance(thing, functools.partial):
        return functools.partial(jaxed(thing.func, made), *thing.args, **thing.keywords)
    if not callable(thing) or isinstance(thing, type):
        return thing
    if id(thing) in made:
        return made[id(thing)]
    module = (getattr(thing, "__module__", None) or "numpy").partition(".")[0]
    if module in ("numpy", "scipy"):
        return _of_jax(thing)
    if not isinstance(thing, types.FunctionType) or not module.startswith(("cases_", "op_")):
        return thing
    around: dict[str, Any] = dict(thing.__globals__)
    cells = tuple(types.CellType() for _ in thing.__closure__ or ())
    mine = types.FunctionType(thing.__code__, around, thing.__name__, None, cells)
    made[id(thing)] = mine  # before the functions that it calls, which may call it
    for name in thing.__code__.co_names:
        if name in around:
            around[name] = jaxed(around[name], made)
    for cell, plain in zip(cells, thing.__closure__ or ()):
        cell.cell_contents = jaxed(plain.cell_contents, made)
    mine.__defaults__ = tuple(jaxed(d, made) for d in thing.__defaults__ or ()) or None
    mine.__kwdefaults__ = thing.__kwdefaults__
    return mine


def _of_jax(thing: Any) -> Any:
    for theirs, ours in MODULES.items():
        if getattr(theirs, thing.__name__, None) is thing:
            return getattr(ours, thing.__name__)
    raise AttributeError(f"JAX has no {thing.__name__}")
