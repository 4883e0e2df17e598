"""CuPy's own functions on an `Array`: ours answers by CuPy's hooks, or there is an error."""

from __future__ import annotations

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


# These tell which elements are real, or where a triangle is: there is no gradient to lose.
CONSTANT = {"iscomplex", "isreal", "tril_indices_from", "triu_indices_from"}


def test_no_function_gives_a_raw_array(cuda):
    """All of CuPy's public functions: what has no hook raises, and nothing turns raw."""

    def traced() -> Any:
        return gg.Array(cuda.asarray(X), requires_grad=True) * 1.0

    quiet = {"show_config", "show_runtime", "test", "clear_memo", "seterr", *CONSTANT}
    answered, refused = set(), set()
    for room in (cuda, cuda.linalg, cuda.fft):
        for name in dir(room):
            f = getattr(room, name, None)
            if name.startswith("_") or name in quiet or not callable(f) or isinstance(f, type):
                continue
            for arguments in [(traced(),), (traced(), traced()), ([traced(), traced()],)]:
                try:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        out = f(*arguments)
                except Exception:
                    refused.add(name)
                    continue
                assert not holds((cuda.ndarray, np.ndarray), out), f"{name} gave {out!r}"
                answered.add(name)
    assert len(answered) > 80
    assert {"concatenate", "einsum", "cumsum", "median"} <= refused


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda cp, x: cp.cov(x), "cov"),
        (lambda cp, x: cp.average(x), "average"),
        (lambda cp, x: cp.zeros_like(x), "zeros_like"),
        (lambda cp, x: cp.fft.fft2(x), "fft2"),
        (lambda cp, x: cp.atleast_1d(x), "atleast_1d"),
    ],
)
def test_the_error_names_the_function(cuda, call, name):
    with pytest.raises((TypeError, AttributeError), match=rf"cupy's {name}"):
        call(cuda, gg.Array(cuda.asarray(X), requires_grad=True))
