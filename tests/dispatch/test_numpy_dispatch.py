"""NumPy's own functions on an `Array`: ours answers, or an error names the function."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import scipy
import scipy.fft
import scipy.linalg
import scipy.ndimage
import scipy.special
import scipy.stats
from numpy.testing import overrides

import gpugrad as gg
import gpugrad.numpy as gnp
from gpugrad import dispatch
from gpugrad.calling import translate
from gpugrad.device import to_device
from gpugrad.numpy import absent

FUNCTIONS = sorted(
    overrides.get_overridable_numpy_array_functions(), key=lambda f: (f.__module__, f.__name__)
)
UFUNCS = sorted(overrides.get_overridable_numpy_ufuncs(), key=lambda f: f.__name__)


def traced(value: Any) -> Any:
    """An array in the middle of a recorded computation."""
    return gg.Array(np.asarray(value), requires_grad=True) * 1.0


def matrix() -> Any:
    return traced([[2.0, 1.0, 0.5], [1.0, 3.0, 0.2], [0.5, 0.2, 4.0]])


def vector() -> Any:
    return traced([0.3, 0.5, 0.7])


ARGUMENTS: list[Callable[[], tuple[Any, ...]]] = [
    lambda: (matrix(),),
    lambda: (vector(),),
    lambda: (matrix(), matrix()),
    lambda: (vector(), vector()),
    lambda: ([matrix(), matrix()],),
    lambda: (vector(), 1),
    lambda: (matrix(), 1),
    lambda: (matrix(), (3, 3)),
    lambda: (matrix(), 0, 1),
    lambda: (vector(), vector(), vector()),
    lambda: (vector(), vector(), 1),
    lambda: (matrix(), np.array([[0]]), 0),
    lambda: ([0, 1], [vector(), vector()]),
    lambda: ([True, False, True], vector()),
    lambda: ("ij->i", matrix()),
    lambda: (gnp.sum, 0, matrix()),
    lambda: (gnp.sum, matrix(), 0),
    lambda: (vector(), [vector() > 0.4], [lambda v: v]),
    lambda: ([vector() > 0.4], [vector()]),
    lambda: (matrix(), [1], matrix()[:1]),
    lambda: (traced(np.ones((2, 2, 2))), 2),
]


def holds(kind: type, value: Any) -> bool:
    """Whether an array of a kind is in what a function gave."""
    if isinstance(value, tuple | list):
        return any(holds(kind, v) for v in value)
    return isinstance(value, kind)


def outcomes(f: Any, arguments: Any) -> Iterator[Any]:
    """What a function gives, or the error it raises, for one choice of arguments after another."""
    for make in arguments:
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                yield f(*make())
        except Exception as error:
            yield error


def is_raw(argument: Any) -> bool:
    """Whether it stands for an array and is none of ours."""
    loose = isinstance(argument, list | tuple | str | np.ndarray) or callable(argument)
    return loose and not holds(gg.Array, argument)


def is_named(error: Any, name: str) -> bool:
    return isinstance(error, Exception) and (name in str(error) or "has no rule" in str(error))


@pytest.mark.parametrize("f", FUNCTIONS, ids=lambda f: f"{f.__module__}.{f.__name__}")
def test_a_function_has_a_rule_or_is_named(f):
    x = vector()
    if f in dispatch.functions:
        assert callable(dispatch.functions[f])
    else:
        with pytest.raises(TypeError, match=rf"^(numpy.emath.)?{f.__name__} has no rule"):
            x.__array_function__(f, (gg.Array,), (x,), {})


CREATION = {
    *("arange", "array", "asanyarray", "asarray", "ascontiguousarray", "empty", "eye"),
    *("fromfunction", "full", "identity", "ones", "tri", "zeros"),
}
"""Functions that NumPy lets be overridden by ``like=`` alone."""

ABOUT = {"shape", "ndim", "size", "iscomplexobj", "isrealobj", "result_type", "einsum_path"}
"""Functions that answer about an array and not with one."""


@pytest.mark.parametrize(
    "f", [f for f in FUNCTIONS if f in dispatch.functions], ids=lambda f: f.__name__
)
def test_no_function_gives_a_raw_array(f, monkeypatch):
    asked = []

    def noting(self: Any, *call: Any) -> Any:
        asked.append(call)
        return dispatch.array_function(self, *call)

    monkeypatch.setattr(gg.Array, "__array_function__", noting)
    seen = []
    for make in ARGUMENTS:
        (out,) = outcomes(f, [make])
        if not asked:  # NumPy did not take the arrays for operands
            continue
        asked.clear()
        if f.__name__ not in ABOUT and not any(map(is_raw, make())):
            assert holds(gg.Array, out) or not holds(np.ndarray, out), f"{f.__name__} gave {out!r}"
        seen.append(out)
    good = [out for out in seen if not isinstance(out, Exception)]
    assert good or any(is_named(e, f.__name__) for e in seen) or f.__name__ in CREATION, seen


def test_other_public_functions_do_not_lose_the_gradient():
    """Functions that NumPy does not let be overridden: none takes a traced array and gives raw."""
    rooms = [np, np.linalg, np.fft]
    known = set(FUNCTIONS) | set(UFUNCS)
    looks_at_shapes = {"empty_like"}
    for room, name in itertools.chain.from_iterable(((r, n) for n in r.__all__) for r in rooms):
        f = getattr(room, name)
        if not callable(f) or isinstance(f, type) or f in known or name in looks_at_shapes:
            continue
        for make in ARGUMENTS[:4]:  # those with nothing but traced arrays
            if name in ("show_config", "show_runtime", "test", "info", "seterr", "setbufsize"):
                continue
            for out in outcomes(f, [make]):
                assert not holds(np.ndarray, out), f"{name} gave {out!r}"


@pytest.mark.parametrize("name", sorted(CREATION))
def test_new_arrays_like_ours(device, name):
    x = gg.asarray([1.0], device=device)
    arguments = {"full": (2, 1.0), "fromfunction": (lambda i: i, (2,))}.get(name, (2,))
    out = getattr(np, name)(*arguments, like=x)
    assert isinstance(out, gg.Array)
    assert out.device == device


# ------------------------------------------------------------------------------ ufuncs


@pytest.mark.parametrize("f", UFUNCS, ids=lambda f: f.__name__)
def test_a_ufunc_has_a_rule_or_is_named(f):
    operands = [matrix() for _ in range(f.nin)]
    for out in outcomes(f, [lambda: tuple(operands)]):
        assert not holds(np.ndarray, out)
        assert holds(gg.Array, out) or is_named(out, f.__name__)


METHODS = {
    "reduce": lambda f, x: f.reduce(x),
    "accumulate": lambda f, x: f.accumulate(x),
    "reduceat": lambda f, x: f.reduceat(x, [0, 1]),
    "outer": lambda f, x: f.outer(x, x),
    "at": lambda f, x: f.at(x, [0], x[:1]),
    "at a raw array": lambda f, x: f.at(np.ones(3), [0], x[:1]),
}


@pytest.mark.parametrize("method", METHODS)
def test_methods_of_ufuncs(method):
    count = 0
    for f in UFUNCS:
        if f.nin != 2 or f.nout != 1 or f.signature is not None:
            continue
        (out,) = outcomes(METHODS[method], [lambda f=f: (f, vector())])
        assert not holds(np.ndarray, out)
        assert holds(gg.Array, out) or is_named(out, f.__name__), (f, out)
        count += holds(gg.Array, out)
    assert (count > 10) == (method in ("reduce", "accumulate", "reduceat", "outer"))


X = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.5]])
MASK = np.array([[True, False, True], [True, True, False]])
CALLS = {
    "a by name": lambda np, x: np.mean(a=x, axis=1),
    "positions up to dtype": lambda np, x: np.sum(x, 0, "f4"),
    "positions with out": lambda np, x: np.sum(x, 0, None, None, True),
    "ddof by position": lambda np, x: np.var(x, 0, None, None, 1),
    "column-major": lambda np, x: np.reshape(x, (3, 2), order="F"),
    "ravel by columns": lambda np, x: np.ravel(x, order="F"),
    "bounds by their old names": lambda np, x: np.clip(x, a_min=0, a_max=None),
    "bounds by their new names": lambda np, x: np.clip(x, min=0, max=1),
    "where alone": lambda np, x: np.where(x > 0)[1],
    "where=": lambda np, x: np.sum(x, axis=1, where=MASK),
    "where= and initial=": lambda np, x: np.max(x, axis=1, where=MASK, initial=-3.0),
    "initial= of a ufunc": lambda np, x: np.add.reduce(x, axis=1, initial=2.0),
    "where= of a ufunc's method": lambda np, x: np.add.reduce(x, axis=1, where=MASK),
    "accumulate": lambda np, x: np.multiply.accumulate(x, axis=1),
    "axis of a gufunc": lambda np, x: np.vecdot(x, x, axis=0),
    "casting says nothing": lambda np, x: np.concatenate([x, x], axis=1, casting="same_kind"),
    "dtype of a stack": lambda np, x: np.stack([x, x], dtype="f4"),
    "keywords of pad": lambda np, x: np.pad(x, 1, mode="constant", constant_values=2),
    "shape of a like": lambda np, x: np.full_like(x, 2, shape=(2,)),
    "sparse coordinates": lambda np, x: np.meshgrid(x[0], x[1], sparse=True)[1],
    "linalg's own outer": lambda np, x: np.linalg.outer(x[0], x[1]),
    "linalg by name": lambda np, x: np.linalg.norm(x=x, ord="fro", axis=(0, 1)),
}


@pytest.mark.parametrize("name", CALLS)
def test_arguments_mean_what_they_mean_to_numpy(device, name):
    x = gg.asarray(X, device=device)
    if device.kind == "cuda" and "where=" in name:
        f = CALLS[name]
        globals_ = dict(f.__globals__, MASK=gg.asarray(MASK, device=device))
        f = type(f)(f.__code__, globals_)
    else:
        f = CALLS[name]
    out, want = f(np, x), CALLS[name](np, X)
    assert out.dtype == np.asarray(want).dtype
    np.testing.assert_allclose(out.numpy(), want, rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: np.einsum_path("ij", x, einsum_call=True), "einsum_path: .*'einsum_call'"),
        (lambda x: np.add(x, x, where=MASK), "add: where="),
        (lambda x: np.matmul(x, x.T, axes=[(0, 1)] * 3), "matmul: axes="),
        (lambda x: np.sum(x, out=np.zeros(())), "sum: .*out="),
        (lambda x: np.add.at(x, 0, 1.0), "add.at writes into .*bincount"),
        (lambda x: np.reshape(x, 6, order="K"), "'K'"),
        (lambda x: np.kaiser(3, x), "kaiser|numpy's"),
    ],
)
def test_an_argument_is_never_dropped(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call(gg.Array(X, requires_grad=True))


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda x: scipy.linalg.expm(x), "scipy's expm"),
        (lambda x: scipy.stats.norm.logpdf(x), "scipy's rv_continuous.logpdf"),
        (lambda x: np.vectorize(abs)(x), "numpy's vectorize"),
        (lambda x: np.emath.sqrt(x), "numpy.emath.sqrt has no rule.*complex"),
        (lambda x: np.asarray(x), "np.asarray"),
        (lambda x: np.array([x[0, 0], 1.0]), "np.asarray"),
        (lambda x: math.sin(x[0, 0]), "float of an array"),
        (lambda x: scipy.special.ellipk(x), "ellipk has no rule"),
    ],
)
def test_what_knows_nothing_of_arrays_is_named(call, name):
    with pytest.raises(TypeError, match=name):
        call(gg.Array(X, requires_grad=True) * 1.0)


def test_every_ufunc_of_scipy_answers_or_is_named():
    answered = set()
    for name in dir(scipy.special):
        f = getattr(scipy.special, name)
        if isinstance(f, np.ufunc) and f.signature is None:
            (out,) = outcomes(f, [lambda f=f: tuple(vector() for _ in range(f.nin))])
            assert holds(gg.Array, out) or is_named(out, f.__name__), (name, out)
            answered |= {name} if holds(gg.Array, out) else set()
    assert len(answered) > 50


def test_integers_have_no_gradient_to_lose():
    x = gg.Array(X, requires_grad=True) * 1.0
    np.testing.assert_array_equal(np.asarray(x, dtype=int), X.astype(int))
    assert np.int64(x[0, 2]) == 2
    with pytest.raises(TypeError, match="gradient would be lost"):
        np.asarray(x, dtype=np.float32)
    with pytest.raises(TypeError, match="under vmap"):
        gg.vmap(lambda r: np.asarray(r, dtype=int))(X)


def test_translation_by_name_and_place():
    def theirs(a, axis=None, out=None, order="C", keepdims=False):
        """Something like NumPy's."""

    def ours(x, axis=None, *, keepdims=False):
        """Something like ours."""

    assert translate(theirs, ours, (1, 2), {}) == ((1, 2), {})
    assert translate(theirs, ours, (), {"a": 1, "axis": 2}) == ([1], {"axis": 2})
    assert translate(theirs, ours, (1, 0, None, "F", True), {}) == (
        [1],
        {"axis": 0, "keepdims": True},
    )
    with pytest.raises(TypeError, match="'out'"):
        translate(theirs, ours, (1, 0, 3), {})


LOST = {
    "scipy.special.logsumexp": (lambda x: scipy.special.logsumexp(x), "Use gpugrad.scipy.special,"),
    "scipy.linalg.solve": (lambda x: scipy.linalg.solve(x, x), "Use gpugrad.scipy.linalg,"),
    "scipy.stats": (lambda x: scipy.stats.norm.logpdf(x), "Use gpugrad.scipy.stats,"),
    "scipy.fft": (lambda x: scipy.fft.fft(x), "Use gpugrad.numpy.fft,"),
    "scipy.ndimage": (lambda x: scipy.ndimage.sobel(x), "Use a function of gpugrad.numpy,"),
    "r_": (lambda x: np.r_[x, x], "gpugrad.numpy.r_ or gpugrad.numpy.c_"),
    "vectorize": (lambda x: np.vectorize(abs)(x), "gpugrad.numpy.vectorize"),
    "dot": (lambda x: np.eye(2).dot(x), "Use a @ x for a.dot"),
}


@pytest.mark.parametrize("name", LOST)
def test_what_would_lose_a_gradient_says_what_does_not(name):
    f, message = LOST[name]
    with pytest.raises(TypeError, match=f"its gradient would be lost.*{message}"):
        gg.grad(lambda x: f(x))(np.eye(2))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sort", r"writes into an array.* x = sort\(x\)"),
        ("view", r"x.astype\(dtype\)"),
        ("get", r"in its place: x.numpy\(\)"),
        ("strides", "left to the operations"),
        ("sorrt", "$"),
    ],
)
def test_an_attribute_that_an_array_has_not(name, message, device):
    x = gg.Array(to_device(np.ones(2), device))
    assert not hasattr(x, name)
    with pytest.raises(
        AttributeError, match=f"gpugrad.Array has no attribute '{name}'(;.*)?{message}"
    ):
        getattr(x, name)


def test_an_array_has_or_names_every_attribute_of_numpys():
    x = gg.Array(np.eye(2))
    public = {name for name in dir(np.ndarray) if not name.startswith("_")}
    assert {n for n in public if not hasattr(x, n)} <= set(absent.ATTRIBUTES)
    assert not [n for n in absent.ATTRIBUTES if hasattr(x, n)]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("float_", "Use `np.float64`"),
        ("Inf", "Use `np.inf`"),
        ("asscalar", r"x.item\(\)"),
        ("find_common_type", "result_type"),
        ("sun", "did you mean sum"),
        ("qwertyuiop", "$"),
    ],
)
def test_a_name_that_is_not_here(name, message):
    with pytest.raises(AttributeError, match=f"gpugrad.numpy has no '{name}'(.*[:;].*)?{message}"):
        getattr(gnp, name)


def test_running_sums_that_need_an_axis_are_named():
    for name in ("cumulative_sum", "cumulative_prod"):
        with pytest.raises(ValueError, match=rf"^{name} of an array of shape \(2, 2\)"):
            getattr(gnp, name)(np.ones((2, 2)))
