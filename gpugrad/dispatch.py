"""How NumPy's and CuPy's own functions reach ours when they are called on an `Array`.

NumPy asks by ``__array_ufunc__`` and ``__array_function__``, CuPy by the override hooks of its
elementwise and reduction kernels. What has no rule raises an error with its name: nothing turns
silently into a raw array, which would lose the gradient.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from types import FrameType
from typing import Any, NamedTuple, NoReturn

import numpy as np

from gpugrad.calling import translate
from gpugrad.core.abstract import shape_dtype
from gpugrad.core.box import Box
from gpugrad.core.primitive import registry
from gpugrad.device import Device
from gpugrad.ops import complex, folds, matmul, shape
from gpugrad.ops.cast import cast

functions: dict[Any, Callable[..., Any]] = {}
"""Our function for each of NumPy's and CuPy's; ``gpugrad.numpy`` fills it."""

ufuncs: dict[Any, Callable[..., Any]] = {}
"""Our function for each NumPy ufunc."""

by_name: dict[str, Callable[..., Any]] = {}
"""Our function for each name in ``gpugrad.numpy``."""


def array_ufunc(self: Any, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
    """``Array.__array_ufunc__``: a NumPy ufunc, or a method of one, was called."""
    for i in inputs:
        if isinstance(i, np.ndarray) and not i.ndim:
            # NumPy makes its scalar on the left of a comparison an array: with a device.
            inputs = tuple(
                [v[()] if isinstance(v, np.ndarray) and not v.ndim else v for v in inputs]
            )
            break
    if not options and method == "__call__" and ufunc in ufuncs:  # such as array * self
        return ufuncs[ufunc](*inputs)
    if options.get("out") is not None:
        refuse_out(options["out"], ufunc.__name__)
    options.pop("out", None)
    dtype = options.pop("dtype", None)
    if method == "__call__" and options.pop("where", True) is not True:
        raise TypeError(f"{ufunc.__name__}: where= is not supported; use where(mask, a, b)")
    for silent in ("casting", "order", "subok"):  # these change no value
        options.pop(silent, None)
    if method == "__call__":
        rule = ufuncs.get(ufunc) or _special_ufunc(ufunc) or missing(ufunc.__name__)
        inputs = tuple([cast(i, dtype) for i in inputs]) if dtype is not None else inputs
        if options and set(options) != {"axis"}:  # which vecdot takes
            raise TypeError(f"{ufunc.__name__}: {', '.join(options)}= is not supported in gpugrad")
        return rule(*inputs, **options)
    return _ufunc_method(ufunc, method, inputs, dtype, options)


def array_function(self: Any, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
    """``Array.__array_function__``: another function of NumPy's was called."""
    return answer(func, functions.get(func) or missing(_named(func)), args, kwargs, self.device)


def answer(
    func: Any, rule: Callable[..., Any], args: Any, kwargs: Any, where: Device | None = None
) -> Any:
    """A call of ``func``, which is NumPy's or CuPy's, as one of ours.

    Functions that make an array make it at ``where``.
    """
    if "out" in kwargs:
        if kwargs["out"] is not None:
            refuse_out(kwargs["out"], func.__name__)
        kwargs = {k: v for k, v in kwargs.items() if k != "out"}
    args, kwargs = translate(func, rule, args, kwargs)
    if func in _NEW and where is not None:  # NumPy asks because of like=, which is self
        with where:
            return rule(*args, **kwargs)
    return rule(*args, **kwargs)


def _named(func: Any) -> str:
    """The name of a function of NumPy's, with its room where that is a lesser known one."""
    name = str(func.__name__)
    return f"numpy.emath.{name}" if "scimath" in func.__module__ else name


_NEW = {
    *(np.arange, np.array, np.asanyarray, np.asarray, np.ascontiguousarray, np.empty, np.eye),
    *(np.fromfunction, np.full, np.identity, np.ones, np.tri, np.zeros),
}


def cupy_elementwise(self: Any, kernel: Any, *args: Any, **kwargs: Any) -> Any:
    """A kernel of CuPy's that acts on each element was called."""
    name = kernel.name.removeprefix("cupyx_scipy_").removeprefix("cupy_").removeprefix("special_")
    rule = by_name.get(_CUPY_NAMES.get(name, name)) or _special(name)
    if rule is None:
        missing(f"CuPy's kernel {name!r}")
    if len(args) > kernel.nin:  # a += b for CuPy's a calls add(a, b, a)
        refuse_out(args[kernel.nin :], name)
    dtype = kwargs.pop("dtype", None)
    operands = [cast(a, dtype) for a in args] if dtype is not None else args
    return rule(*operands, **_plain(kwargs, name))


def _special(name: str) -> Callable[..., Any] | None:
    """Ours for a function of ``scipy.special``, imported when one is called: SciPy loads slowly."""
    return getattr(import_module("gpugrad.scipy.special"), name, None)


def _special_ufunc(ufunc: Any) -> Callable[..., Any] | None:
    theirs = sys.modules.get("scipy.special")
    name = ufunc.__name__
    return _special(name) if getattr(theirs, name, None) is ufunc else None


def cupy_reduction(self: Any, kernel: Any, axis: Any, dtype: Any, out: Any, keepdims: bool) -> Any:
    """A kernel of CuPy's that reduces over axes was called."""
    name = kernel.name.removeprefix("cupy_")
    rule = by_name.get(name) or missing(f"CuPy's kernel {name!r}")
    if out is not None:
        refuse_out(out, name)
    x = self if dtype is None else cast(self, dtype)
    return rule(x, axis, keepdims=keepdims)


_CUPY_NAMES = {
    "true_divide": "divide",
    "where": "where",
    "invert": "invert",
    "absolute": "abs",
}


class Caller(NamedTuple):
    """A function of another library's, and the room where it is: ``special``, ``linalg``, ..."""

    library: str
    room: str
    function: str

    def __str__(self) -> str:
        return f"{self.library}'s {self.function}"


def met_in() -> Caller | None:
    """The function of another library in which an `Array` was met, for errors to name it.

    None where it is not written in Python, as ``np.asarray``.
    """
    frame: FrameType | None = sys._getframe(2)
    found = None
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        library, *rooms = module.removeprefix("cupyx.").split(".")
        if module.partition(".")[0] in _LIBRARIES:
            # A decorator from a private module is no room of the function's.
            room = next((r for r in rooms if not r.startswith("_")), found.room if found else "")
            name = frame.f_code.co_qualname.removesuffix(".__call__")
            found = Caller(module.partition(".")[0], room, name)
        elif found is not None or library != "gpugrad":
            break
        frame = frame.f_back
    return found


def differentiable(caller: Caller | None) -> str:
    """What to use in the place of a function that would lose a gradient, as part of a sentence."""
    if caller is None:
        return "a @ x for a.dot(x) of a plain array a, else a function of gpugrad.numpy"
    if caller.room == "fft":
        return "gpugrad.numpy.fft"
    if caller.library in ("scipy", "cupyx") and caller.room:
        room = f"gpugrad.scipy.{caller.room}"
        if find_spec(room) is not None:
            return room
    return _OURS.get(caller.function, "a function of gpugrad.numpy")


_OURS = {
    "AxisConcatenator.__getitem__": "gpugrad.numpy.r_ or gpugrad.numpy.c_",
    "vectorize": "gpugrad.numpy.vectorize",
}
"""By the name of a function of NumPy's that is written in Python and asks nobody."""

_LIBRARIES = ("cupy", "cupyx", "numpy", "scipy")


def refuse_out(out: Any, name: str) -> NoReturn:
    """Raise the error for ``out=``."""
    out = out[0] if isinstance(out, tuple) else out
    kind = type(out)
    raise TypeError(
        f"{name}: a result that may carry a gradient cannot be written into out= "
        f"({kind.__module__}.{kind.__name__}); take what it returns"
        + (
            f", as in x = {name}(x, y)."
            if isinstance(out, Box)
            else ". For a += b with a plain array a, write a = a + b."
        )
    )


def missing(name: str) -> NoReturn:
    """Raise the error for a function that has no rule."""
    other = import_module("gpugrad.numpy.absent").instead(name)
    raise TypeError(
        f"{name} has no rule in gpugrad, so it cannot be applied to a gpugrad.Array. "
        + (
            f"In its place: {other}"
            if other is not None
            else "Write it with functions of gpugrad.numpy, or bring it as a primitive with "
            "gg.primitive and gg.defvjp."
        )
    )


def no_attribute(x: Any, name: str) -> AttributeError:
    """The error for an attribute of NumPy's or CuPy's arrays that an `Array` has not."""
    if name.startswith("__"):  # a protocol that somebody asks for
        return AttributeError(name, name=name, obj=x)
    absent = import_module("gpugrad.numpy.absent")
    caller, answer = met_in(), absent.ATTRIBUTES.get(name)
    wanted = "" if caller is None else f", which {caller} asks for"
    hint = "" if answer is None else f"; in its place: {answer}"
    return AttributeError(
        f"gpugrad.Array has no attribute {name!r}{wanted}{hint}", name=name, obj=x
    )


def _plain(kwargs: dict[str, Any], name: str) -> dict[str, Any]:
    """Keywords without those that only repeat NumPy's defaults."""
    if kwargs.get("out") is not None:
        refuse_out(kwargs["out"], name)
    return {k: v for k, v in kwargs.items() if k not in ("out", "order", "casting")}


def _ufunc_method(ufunc: Any, method: str, inputs: Any, dtype: Any, options: Any) -> Any:
    called = f"{ufunc.__name__}.{method}"
    if method == "at":
        raise TypeError(f"{called} {_AT}")
    if method == "outer" and ufunc in ufuncs:
        a, b = inputs
        b_ndim = shape_dtype(b).ndim
        return ufuncs[ufunc](shape.reshape(a, (*shape_dtype(a).shape, *(1,) * b_ndim)), b)
    if method not in _PLACES or ufunc.__name__ not in folds.NAMES:
        missing(called)
    (x, *rest) = inputs
    options.update(zip(_PLACES[method], rest))
    given = {k: v for k, v in options.items() if v is not _UNSAID.get(k, ...)}
    known = {*_PLACES[method]} | (set(_UNSAID) if method == "reduce" else set())
    if unknown := set(given) - known:
        raise TypeError(f"{called}: {', '.join(unknown)}= is not supported in gpugrad")
    name = _METHODS.get((ufunc.__name__, method))
    if name is None or (name == "logsumexp" and not set(given) <= {"axis", "keepdims"}):
        fold = getattr(folds, method)
        return fold(ufuncs[ufunc], ufunc, x, dtype=dtype, **given)
    axis = given.pop("axis", 0)
    return by_name[name](x if dtype is None else cast(x, dtype), axis, **given)


_AT = (
    "writes into an array, which the tape may need, so it cannot be applied to a gpugrad.Array. "
    "In its place: x + bincount(indices, values, len(x)), or segment_sum of gpugrad.ops.segment "
    "for rows"
)

_PLACES = {"reduce": ("axis",), "accumulate": ("axis",), "reduceat": ("indices", "axis")}
"""What the arguments after the array mean."""

_UNSAID = {"keepdims": False, "initial": None, "where": True}


_METHODS = {
    ("add", "reduce"): "sum",
    ("multiply", "reduce"): "prod",
    ("maximum", "reduce"): "max",
    ("minimum", "reduce"): "min",
    ("logical_and", "reduce"): "all",
    ("logical_or", "reduce"): "any",
    ("logaddexp", "reduce"): "logsumexp",
    ("add", "accumulate"): "cumsum",
    ("multiply", "accumulate"): "cumprod",
}
"""Our function for a method of a ufunc; the others are in `gpugrad.ops.folds`."""


def _fill_ufuncs() -> None:
    for primitive in registry.values():
        if isinstance(primitive._host, np.ufunc):
            ufuncs[primitive._host] = primitive
    ufuncs[np.matmul] = matmul.matmul
    ufuncs[np.vecdot] = matmul.vecdot
    ufuncs[np.conjugate] = complex.conj


_fill_ufuncs()
