"""CuPy's own functions on an `Array`: ours answers by CuPy's hooks, or there is an error."""

from __future__ import annotations

import importlib
import itertools
import re
import warnings
from typing import Any

import numpy as np
import pytest

import gpugrad as gg
import gpugrad.numpy as gnp

X = np.array([[2.0, 1.0, 0.5], [1.0, 3.0, 0.2], [0.5, 0.2, 4.0]])

ONE = [
    *("absolute", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctanh", "cbrt", "ceil"),
    *("conjugate", "cos", "cosh", "deg2rad", "degrees", "exp", "exp2", "expm1", "fabs", "floor"),
    *("i0", "isfinite", "isinf", "isnan", "log", "log10", "log1p", "log2", "logical_not"),
    *("negative", "positive", "rad2deg", "radians", "reciprocal", "rint", "sign", "signbit"),
    *("sin", "sinc", "sinh", "sqrt", "square", "tan", "tanh", "trunc", "angle"),
]
TWO = [
    *("add", "arctan2", "copysign", "divide", "equal", "float_power", "floor_divide", "fmax"),
    *("fmin", "fmod", "greater", "greater_equal", "heaviside", "hypot", "less", "less_equal"),
    *("logaddexp", "logaddexp2", "logical_and", "logical_or", "logical_xor", "maximum"),
    *("minimum", "mod", "multiply", "nextafter", "not_equal", "power", "remainder", "subtract"),
    *("true_divide",),
]
REDUCTIONS = ["sum", "prod", "max", "min", "amax", "amin", "mean", "var", "std"]


@pytest.mark.parametrize("name", ONE + TWO)
def test_ufuncs_reach_ours(cuda, name):
    values = X / 5 if name.startswith("arc") else X
    raw = cuda.asarray(values + (5 if name == "arccosh" else 0))
    x = gg.Array(raw, requires_grad=True)
    operands = (x,) if name in ONE else (x, 1.5)
    out = getattr(cuda, name)(*operands)
    assert isinstance(out, gg.Array)
    want = getattr(gnp, name)(*(raw, 1.5)[: len(operands)])
    np.testing.assert_allclose(out.numpy(), want.get())


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions_reach_ours(cuda, name):
    x = gg.Array(cuda.asarray(X), requires_grad=True)
    for axis in (None, 0, (0, 1)):
        out = getattr(cuda, name)(x, axis=axis, keepdims=True)
        assert isinstance(out, gg.Array)
        np.testing.assert_allclose(out.numpy(), getattr(np, name)(X, axis=axis, keepdims=True))
    getattr(cuda, name)(x).backward()
    assert x.grad.shape == X.shape


def holds(kind: Any, value: Any) -> bool:
    if isinstance(value, tuple | list):
        return any(holds(kind, v) for v in value)
    return isinstance(value, kind)


FLAT = np.array([0.2, 0.3, 0.5])
ARGUMENTS: list[Any] = [
    lambda t: (t(X),),
    lambda t: (t(FLAT),),
    lambda t: (t(X), t(X)),
    lambda t: (t(FLAT), t(FLAT)),
    lambda t: (t(X), t(FLAT)),
    lambda t: (t(FLAT), t(FLAT), t(FLAT)),
    lambda t: ([t(X), t(X)],),
    lambda t: (t(X), 1),
    lambda t: (t(FLAT), 2),
    lambda t: (t(X), 0, 1),
    lambda t: (t(FLAT), t(FLAT), 1),
    lambda t: ("ij->i", t(X)),
    lambda t: ("ij->i", t(X)),
    lambda t: (t(X), (9,)),
    lambda t: (t(X) > 1, t(X), t(X)),
]
QUIET = {"show_config", "show_runtime", "test", "clear_memo", "seterr", "get_array_module"}
QUIET |= {"printoptions", "result_type", "size", "from_dlpack"}


def outcome(f: Any, arguments: Any) -> Any:
    """What a function gives, or the error that it raises."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return f(*arguments)
    except Exception as error:
        return error


def recorded(cuda: Any, value: Any) -> Any:
    return gg.Array(cuda.asarray(value), requires_grad=True) * 1.0


def test_every_function_answers_or_is_named(cuda):
    """All of CuPy's public functions, with each choice of arguments that it and NumPy take."""
    answered, refused = set(), set()
    gg.asarray(cuda.asarray(X))
    for room, theirs in ((cuda, np), (cuda.linalg, np.linalg), (cuda.fft, np.fft)):
        for name, make in itertools.product(dir(room), ARGUMENTS):
            f = getattr(room, name, None)
            if name[0] == "_" or name in QUIET or not callable(f) or isinstance(f, type):
                continue
            if isinstance(make(np.array)[0], str) and name != "einsum":
                continue  # it might be taken for the name of a file
            want = outcome(f, make(cuda.asarray))
            numpys = outcome(getattr(theirs, name, f), make(np.array))
            if isinstance(want, Exception) or isinstance(numpys, Exception):
                continue
            arguments = make(lambda v: recorded(cuda, v))
            out = outcome(f, arguments)
            if isinstance(out, Exception):
                words = set(re.findall(r"\w+", str(out)))
                assert {name, f.__name__.removeprefix("cupy_")} & words, f"{name} raised {out!r}"
                refused.add(name)
                continue
            plain = [a for a in arguments if not holds(gg.Array, a)]
            raw = holds((cuda.ndarray, np.ndarray), out)
            assert holds(gg.Array, out) if plain else not raw, f"{name} gave {out!r}"
            answered.add(name)
    assert len(answered) > 280
    assert {"concatenate", "einsum", "cumsum", "median", "solve", "rfft"} <= answered
    assert "put" in refused


@pytest.mark.parametrize(
    "call",
    [
        lambda np, x: np.concatenate([x, x[:1]], axis=0),
        lambda np, x: np.einsum("ij,jk->ik", x, x),
        lambda np, x: np.linalg.solve(a=x, b=x[0]),
        lambda np, x: abs(np.fft.rfft(x, axis=0, norm="ortho")),
        lambda np, x: np.cumsum(x, 1),
        lambda np, x: np.meshgrid(x[0], x[1], indexing="ij")[1],
        lambda np, x: np.linalg.norm(x, axis=1),
        lambda np, x: np.where(x > 1, x, 0) @ np.eye(3),
    ],
)
def test_what_answers_is_numpys(cuda, call):
    x = gg.Array(cuda.asarray(X), requires_grad=True)
    out = call(cuda, x)
    np.testing.assert_allclose(out.numpy(), call(np, X))
    gnp.sum(out).backward()
    assert gnp.any(x.grad != 0)


def test_every_special_function_answers_or_is_named(cuda):
    special = importlib.import_module("cupyx.scipy.special")
    answered = set()
    for name in dir(special):
        f = getattr(special, name)
        if not isinstance(f, cuda.ufunc):
            continue
        out = outcome(f, [recorded(cuda, FLAT) for _ in range(f.nin)])
        kernel = f.name.removeprefix("cupyx_scipy_special_")
        known = {"yn": "yv"}.get(name, name)
        assert holds(gg.Array, out) or known in str(out) or kernel in str(out), (name, out)
        answered |= {name} if holds(gg.Array, out) else set()
    assert len(answered) > 30


def test_plain_arrays_stay_cupys(cuda):
    raw = cuda.asarray(X)
    gg.asarray(raw)
    assert type(cuda.concatenate([raw, raw])) is cuda.ndarray
    assert cuda.concatenate.__wrapped__.__module__.startswith("cupy")
    with pytest.raises(TypeError, match=r"cupy.put has no rule.*writes into"):
        cuda.put(gg.asarray(raw), 0, 1.0)
    with pytest.raises(TypeError, match=r"cupy.asnumpy has no rule.*x.numpy\(\)"):
        cuda.asnumpy(gg.asarray(raw))


def test_the_module_of_an_array(cuda):
    assert cuda.get_array_module(gg.asarray(cuda.asarray(X))) is cuda
    assert cuda.get_array_module(gg.asarray(X)) is np
    assert cuda.get_array_module(cuda.asarray(X)) is cuda


def test_windows_of_an_array(device, xp):
    window = xp.lib.stride_tricks.sliding_window_view
    x = xp.asarray([1.0, 2.0, 4.0])
    assert gg.grad(lambda x: (window(x, 2) ** 2).sum())(x).tolist() == [2, 8, 8]
    assert window(gg.Array(x), (2,), 0).tolist() == [[1, 2], [2, 4]]
    assert type(window(x, 2)) is type(x)
    with pytest.raises(TypeError, match="as_strided"):
        gg.grad(lambda x: xp.lib.stride_tricks.as_strided(x, (2,), (8,)))(x)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((4,), "windows of 4 along an axis of length 3"), (((1, 1),), "along 1 axes; as many")],
)
def test_windows_that_do_not_fit(arguments, message, xp):
    with pytest.raises(ValueError, match=message):
        gnp.lib.stride_tricks.sliding_window_view(xp.ones(3), *arguments)


def test_what_stride_tricks_has_not():
    with pytest.raises(AttributeError, match="in its place: sliding_window_view"):
        gnp.lib.stride_tricks.as_strided
