"""Lists and tuples in the place of arrays, as NumPy takes them: of numbers, of recorded arrays."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import gpugrad as gg
import gpugrad.numpy as gnp
from gpugrad.device import CPU, to_device

MATRIX = [[2.0, 1.0, 0.5], [1.0, 3.0, 0.2], [0.5, 0.2, 4.0]]
VECTOR = [0.2, 0.3, 0.5]
ROOMS = {"": (np, gnp), "linalg.": (np.linalg, gnp.linalg), "fft.": (np.fft, gnp.fft)}

OTHERWISE = {
    "bincount": "takes integers",
    "cross": "of vectors in the plane NumPy warns",
    "poly": "of a matrix it says what to call",
    "polyadd": "coefficients have one axis",
    "polysub": "coefficients have one axis",
    "polydiv": "keeps leading zeros, so that its shape does not depend on values",
    "polymul": "keeps leading zeros, so that its shape does not depend on values",
    "linalg.norm": "a list is no order",
    "linalg.matrix_rank": "a tolerance is a number or an array",
    "linalg.svd": "vectors have a sign of their own on each device",
    "linalg.cond": "infinite but for rounding",
    "take": "an index is an integer",
    "roots": "always complex",
    "trim_zeros": "an array, not a list",
    "repeat": "counts are integers",
    "roll": "distances are integers",
    "block": "lists of blocks",
    "cumulative_prod": "a number has no axes",
    "cumulative_sum": "a number has no axes",
}
"""Functions that take a list otherwise than NumPy, or not."""

NO_ARRAYS = {"empty", "empty_like", "result_type", "can_cast", "einsum_path", "broadcast_shapes"}
"""Functions whose result is not to be compared."""

ARGUMENTS = [
    lambda: (1.5,),
    lambda: (VECTOR,),
    lambda: (tuple(VECTOR),),
    lambda: (MATRIX,),
    lambda: (VECTOR, [1.5, 2.5, 0.5]),
    lambda: (MATRIX, [1.5, 2.5, 0.5]),
    lambda: (VECTOR, [0, 2]),
    lambda: (MATRIX, [0, 2], 0),
]

NAMES = [
    prefix + name
    for prefix, (theirs, ours) in ROOMS.items()
    for name in ours.__all__
    if callable(getattr(ours, name))
    and not isinstance(getattr(ours, name), type)
    and callable(getattr(theirs, name, None))
    and getattr(ours, name) is not getattr(theirs, name)
    and prefix + name not in OTHERWISE | dict.fromkeys(NO_ARRAYS)
]


def parts(value: Any) -> list[np.ndarray]:
    """The arrays of a result on the host."""
    if isinstance(value, tuple | list):
        return [a for v in value for a in parts(v)]
    value = value.numpy() if isinstance(value, gg.Array) else value
    return [np.asarray(value.get() if hasattr(value, "get") else value)]


def numpys(name: str, arguments: Any) -> Any:
    """What NumPy's function gives, or None where it takes no such arguments."""
    prefix, _, last = name.rpartition(".")
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return getattr(ROOMS[prefix + "." * bool(prefix)][0], last)(*arguments)
        except Exception:
            return None


def mine(name: str) -> Any:
    prefix, _, last = name.rpartition(".")
    return getattr(ROOMS[prefix + "." * bool(prefix)][1], last)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("make", ARGUMENTS)
def test_lists_of_numbers(name, make):
    want = numpys(name, make())
    if want is None or (make() == (1.5,) and name in ("argsort", "finfo", "flip", "tri")):
        return  # what a number without axes is to these, NumPy itself hardly knows
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        got = mine(name)(*make())
    for g, w in zip(parts(got), parts(want), strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_a_list_of_recorded_arrays(device, name):
    """``[x, [x[0], 1.5, x[1]]]`` is the matrix of these."""
    want = numpys(name, ([VECTOR, [VECTOR[0], 1.5, VECTOR[1]]],))
    if want is None or isinstance(want, str | bool | np.dtype | type):
        return
    x = gg.Array(gg.asarray(np.array(VECTOR), device=device), requires_grad=True)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        got = mine(name)([x * 1.0, [x[0], 1.5, x[1]]])
    for g, w in zip(parts(got), parts(want), strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-10, atol=1e-10)


def test_none_is_left_out():
    assert set(OTHERWISE) <= {
        p + n for p, (_, ours) in ROOMS.items() for n in ours.__all__ if callable(getattr(ours, n))
    }
    assert len(NAMES) > 250


X = np.array([0.5, 1.5, 2.0])
FUNCTIONS = {
    "multiply": lambda np, x: np.multiply(x, [x[0], 2.0, x[1]]),
    "maximum": lambda np, x: np.maximum([1.0, 1.0, 3.0], x),
    "dot": lambda np, x: np.dot(x, [1.0, 2.0, 3.0]),
    "mean": lambda np, x: np.mean([x[0], x[1] * x[2]]),
    "where": lambda np, x: np.where([True, False, True], x, [x[1], x[0], x[2]]),
    "solve": lambda np, x: np.linalg.solve([[2.0, 0.0], [1.0, 1.0]], [x[0], x[2]]),
    "fft": lambda np, x: abs(np.fft.fft([x[0], x[1], 1.0])),
    "convolve": lambda np, x: np.convolve(x, [x[0], 1.0]),
    "take": lambda np, x: np.take(x, [0, 2]),
    "concatenate": lambda np, x: np.concatenate([[x[0], 1.0], x]),
}


def test_a_list_of_raw_arrays_of_a_device(device):
    x = to_device(X, device)
    assert type(gnp.mean([x, 2 * x])) is type(gnp.mean(x))
    np.testing.assert_allclose(to_device(gnp.add([x, x], 1.0), CPU), np.stack([X, X]) + 1)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivatives_flow_through_lists(device, name):
    def ours(x: Any) -> Any:
        return FUNCTIONS[name](gnp, x)

    def central(t: np.ndarray) -> np.ndarray:
        wide = lambda x: FUNCTIONS[name](np, x)  # noqa: E731
        return (wide(X + 1e-6 * t) - wide(X - 1e-6 * t)) / 2e-6

    x = gg.asarray(X, device=device)
    want = np.stack([central(e) for e in np.eye(3)], axis=-1)
    for jacobian in (gg.jacrev, gg.jacfwd):
        np.testing.assert_allclose(jacobian(ours)(x).numpy(), want, atol=1e-7)
    second = gg.jacfwd(gg.jacrev(ours))(x)
    other = gg.jacrev(gg.jacfwd(ours))(x)
    np.testing.assert_allclose(second.numpy(), other.numpy(), atol=1e-12)
    rows = gg.vmap(ours)(gnp.stack([x, 2 * x]))
    np.testing.assert_allclose(rows[1].numpy(), FUNCTIONS[name](np, 2 * X), atol=1e-12)
