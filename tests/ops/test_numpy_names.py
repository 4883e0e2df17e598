"""NumPy's names: each is here or says what answers, and NumPy's own functions reach ours."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import gpugrad as gg
import gpugrad.numpy as gnp
from gpugrad.device import CPU, to_device
from gpugrad.numpy.absent import ABSENT

# ------------------------------------------------------------------------------ completeness


def test_every_name_of_numpy_is_here_or_says_what_answers():
    for name in np.__all__:
        if name in ABSENT:
            with pytest.raises(AttributeError, match=f"no '{name}'; in its place: ."):
                getattr(gnp, name)
        else:
            assert name in gnp.__all__ or name.startswith("__"), name
            assert hasattr(gnp, name), name


def test_every_function_that_hips_autograd_differentiates_is_here():
    core = pytest.importorskip("autograd.core")
    pytest.importorskip("autograd.numpy")
    wrapped = {f.__name__ for f in core.primitive_vjps} | {f.__name__ for f in core.primitive_jvps}
    theirs = [np, np.fft, np.linalg]
    names = [n for n in wrapped if any(hasattr(room, n) for room in theirs)]
    assert len(names) > 100
    for name in names:
        assert any(hasattr(room, name) for room in (gnp, gnp.fft, gnp.linalg)), name


def test_names_that_answer_are_not_here_too():
    assert not set(ABSENT) & set(gnp.__all__)


# ------------------------------------------------------------------------------ NumPy's own calls

A = np.array([[1.0, 2.0, 4.0], [0.5, 3.0, -1.0]])
V = np.array([3.0, 1.0, 2.0])
UP = np.array([0.5, 1.5, 2.5])
I = np.array([2, 0, 1])  # noqa: E741
B = np.array([True, False, True])

CALLS: dict[str, Any] = {
    **dict.fromkeys(("sort", "argsort", "sort_complex", "unique", "cumprod", "diff"), (V,)),
    **dict.fromkeys(("ediff1d", "gradient", "trapezoid", "unwrap", "median", "nanmedian"), (V,)),
    **dict.fromkeys(("average", "ptp", "nansum", "nanmean", "nanmax", "nanmin", "nanprod"), (V,)),
    **dict.fromkeys(("nanvar", "nanstd", "nanargmax", "nanargmin", "nancumsum"), (V,)),
    **dict.fromkeys(("nancumprod", "histogram", "diag", "diagflat", "atleast_1d"), (V,)),
    **dict.fromkeys(("atleast_2d", "atleast_3d", "trim_zeros", "argwhere", "flatnonzero"), (V,)),
    **dict.fromkeys(("nonzero", "polyder", "polyint", "poly", "vander", "roots", "modf"), (V,)),
    **dict.fromkeys(("frexp", "angle", "real_if_close", "nan_to_num", "fix", "i0"), (V,)),
    **dict.fromkeys(("iscomplex", "isreal", "isposinf", "isneginf", "around"), (V,)),
    **dict.fromkeys(("cov", "corrcoef", "trace", "diagonal", "tril", "triu", "rot90"), (A,)),
    **dict.fromkeys(("fliplr", "flipud", "tril_indices_from", "triu_indices_from"), (A,)),
    **dict.fromkeys(("union1d", "intersect1d", "setxor1d", "isclose", "allclose"), (V, V + 1)),
    **dict.fromkeys(("array_equal", "array_equiv", "cross", "kron", "polyadd"), (V, V + 1)),
    **dict.fromkeys(("polysub", "polymul", "divmod", "append", "histogram2d"), (V, V + 1)),
    **dict.fromkeys(("polyval", "isin", "setdiff1d"), (V, V + 1)),
    **dict.fromkeys(("gcd", "lcm"), (I, I + 1)),
    **dict.fromkeys(("bincount", "bitwise_count", "ix_"), (I,)),
    **dict.fromkeys(("partition", "argpartition", "delete"), (V, 1)),
    **dict.fromkeys(("quantile", "nanquantile"), (V, 0.3)),
    **dict.fromkeys(("percentile", "nanpercentile"), (V, [20, 60])),
    **dict.fromkeys(("linspace", "logspace", "geomspace"), (V, V + 1, 4)),
    "where": (B,),
    "packbits": (B,),
    "extract": (B, V),
    "compress": (B, V),
    "select": ([B], [V]),
    "choose": (I, [V, V + 1, V + 2]),
    "piecewise": (V, [B, ~B], [1.0, lambda x: x * x]),
    "lexsort": ((V, V),),
    "searchsorted": (UP, V),
    "digitize": (V, UP),
    "interp": (V, UP, V),
    "histogramdd": (A.T, 2),
    "ldexp": (V, I),
    "insert": (V, 1, 5.0),
    "resize": (V, (5,)),
    "rollaxis": (A, 1),
    "hsplit": (V, 3),
    "vsplit": (A, 2),
    "block": ([V, V],),
    "apply_over_axes": (np.sum, A, [0]),
    "apply_along_axis": (lambda x: np.cumsum(x) * 2, 1, A),
    "unravel_index": (I, (3, 2)),
    "ravel_multi_index": ((I, I), (3, 3)),
    "matvec": (A, V),
    "vecmat": (V[:2], A),
    "polydiv": (V, V[:2]),
    "polyfit": (UP, V, 1),
    "einsum": ("i,ij->j", V[:2], A),
    "unpackbits": (np.array([7, 130], np.uint8),),
}


def placed(x: Any, device: Any) -> Any:
    if isinstance(x, np.ndarray):
        return gg.Array(to_device(x, device))
    return type(x)(placed(v, device) for v in x) if isinstance(x, list | tuple) else x


def parts(y: Any) -> list[Any]:
    return [p for v in y for p in parts(v)] if isinstance(y, list | tuple) else [y]


@pytest.mark.parametrize("name", CALLS)
def test_numpys_function_on_an_array_is_ours(name, device):
    f = getattr(np, name)
    got = parts(f(*placed(list(CALLS[name]), device)))
    want = parts(f(*CALLS[name]))
    assert len(got) == len(want)
    for g, w in zip(got, want, strict=True):
        assert isinstance(g, gg.Array)
        assert g.device == device
        assert g.shape == np.shape(w)
        np.testing.assert_allclose(g.numpy(), w, rtol=1e-12, atol=1e-14)


METHODS: dict[str, Any] = {
    "argsort": (A, 1),
    "argpartition": (V, 1),
    "searchsorted": (UP, V),
    "cumprod": (A, 1),
    "diagonal": (A, 1),
    "trace": (A, -1),
    "compress": (V, B),
    "choose": (I, [V, V + 1, V + 2]),
}


@pytest.mark.parametrize("name", METHODS)
def test_methods(name, device):
    x, *args = METHODS[name]
    got = getattr(placed(x, device), name)(*placed(args, device))
    assert got.device == device
    np.testing.assert_allclose(got.numpy(), getattr(x, name)(*args))


@pytest.mark.parametrize("name", ["fill_diagonal", "copyto", "put", "place", "putmask"])
def test_what_writes_in_place_says_what_to_write(name):
    with pytest.raises(TypeError, match=r"where|diag"):
        getattr(np, name)(gg.Array(A), V[0], V[0])


# ------------------------------------------------------------------------------ by the values

TIED = np.array([3.0, 1.0, 3.0, 2.0, 1.0])
BY_VALUE: dict[str, Any] = {
    "unique": (lambda m, x: m.unique(x), (TIED,)),
    "unique, all outputs": (lambda m, x: m.unique(x, True, True, True), (TIED,)),
    "unique rows": (lambda m, x: m.unique(x, axis=0), (np.array([[2.0, 1], [0, 1], [2, 1]]),)),
    "unique_counts": (lambda m, x: tuple(m.unique_counts(x)), (TIED,)),
    "unique_inverse": (lambda m, x: tuple(m.unique_inverse(x)), (TIED,)),
    "unique_all": (lambda m, x: tuple(m.unique_all(x)), (TIED,)),
    "unique_values": (lambda m, x: m.unique_values(x), (TIED,)),
    "intersect1d": (lambda m, a, b: m.intersect1d(a, b, return_indices=True), (TIED, TIED[:3])),
    "union1d": (lambda m, a, b: m.union1d(a, b), (TIED, V)),
    "setdiff1d": (lambda m, a, b: m.setdiff1d(a, b), (TIED, V[:1])),
    "setdiff1d, unsorted": (lambda m, a, b: m.setdiff1d(a, b, True), (TIED, V[:1])),
    "setxor1d": (lambda m, a, b: m.setxor1d(a, b), (TIED, V * 2)),
    "isin, inverted": (lambda m, a, b: m.isin(a, b, invert=True), (TIED, V[:1])),
    "isin of nothing": (lambda m, a: m.isin(a, []), (TIED,)),
    "trim_zeros": (lambda m, x: m.trim_zeros(x), (np.array([0, 0, 1.0, 0, 2, 0]),)),
    "trim_zeros, front": (lambda m, x: m.trim_zeros(x, "f"), (np.array([0, 1.0, 0]),)),
    "trim_zeros of zeros": (lambda m, x: m.trim_zeros(x), (np.zeros(3),)),
    "extract": (lambda m, c, x: m.extract(c, x), (A > 1, A)),
    "argwhere": (lambda m, x: m.argwhere(x > 1), (A,)),
    "bincount": (lambda m, i, w: m.bincount(i, w, 5), (np.array([0, 2, 2]), V)),
    "histogram by rule": (lambda m, x: m.histogram(x, "auto"), (TIED,)),
    "histogram of one value": (lambda m, x: m.histogram(x, 3), (np.ones(4),)),
    "insert at a mask": (lambda m, x: m.insert(x, np.array([True, False, True]), 9.0), (V,)),
    "delete by a mask": (lambda m, x: m.delete(x, np.array([True, False, True])), (V,)),
}


@pytest.mark.parametrize("name", BY_VALUE)
def test_values_that_decide_a_shape(name, device):
    f, operands = BY_VALUE[name]
    got = parts(f(gnp, *[to_device(x, device) for x in operands]))
    for g, w in zip(got, parts(f(np, *operands)), strict=True):
        assert g.shape == w.shape
        np.testing.assert_allclose(to_device(g, CPU), w, rtol=1e-12)


def test_gradients_gather_from_what_was_selected(device):
    x = to_device(TIED, device)
    w = to_device(np.array([1.0, 10.0, 100.0]), device)

    def slope(f: Any) -> Any:
        return to_device(gg.grad(lambda x: gnp.sum(f(x)))(x), CPU).tolist()

    assert slope(lambda x: w * gnp.unique(x)) == [100, 1, 0, 10, 0]
    assert slope(lambda x: w[:2] * gnp.unique(x[x < 3])) == [0, 1, 0, 10, 0]
    assert slope(lambda x: gnp.intersect1d(x, gg.stop_gradient(x[2:3])) ** 2) == [6, 0, 0, 0, 0]
    assert slope(lambda x: gnp.setdiff1d(x, gg.stop_gradient(x[2:3])) ** 2) == [0, 2, 0, 4, 0]
    assert slope(lambda x: gnp.compress(x > 1.5, x) ** 2) == [6, 0, 6, 4, 0]
    assert slope(lambda x: gnp.extract(x > 2, x)) == [1, 0, 1, 0, 0]


@pytest.mark.parametrize(
    "f",
    [
        gnp.unique,
        lambda x: gnp.intersect1d(x, x),
        lambda x: gnp.setdiff1d(x, x),
        gnp.trim_zeros,
        lambda x: gnp.extract(x > 0, x),
        lambda x: gnp.compress(x > 0, x),
        gnp.argwhere,
        lambda x: gnp.where(x > 0),
        lambda x: gnp.bincount(gnp.astype(x, int)),
        lambda x: gnp.histogram(x, "auto"),
        lambda x: gnp.delete(x, gnp.astype(x, int)),
    ],
)
def test_shapes_that_values_decide_are_refused_under_vmap(f):
    with pytest.raises((TypeError, IndexError), match="shape"):
        gg.vmap(f)(np.ones((2, 3)))


# ------------------------------------------------------------------------------ kinds of operands

NARROW = np.array([3, 1, 2, 1], np.uint8)
M = np.arange(6.0).reshape(2, 3)
OPERANDS: dict[str, Any] = {
    "sort everything": lambda m: m.sort(M[::-1], axis=None),
    "lists to search": lambda m: m.searchsorted([1, 2, 3], [2, 5], side="right"),
    "a number to search": lambda m: m.searchsorted(np.array([1, 2, 3]), 2.5),
    "a NaN to search": lambda m: m.searchsorted(np.array([1.0, np.nan]), np.array([np.nan, 0])),
    "differences of booleans": lambda m: m.diff(np.array([True, False, False])),
    "more differences than elements": lambda m: m.diff(V, n=9),
    "gradient of float32": lambda m: m.gradient(V.astype(np.float32), 2),
    "gradient of integers": lambda m: m.gradient(NARROW.astype(int), [0, 1, 3, 4]),
    "unwrap integers": lambda m: m.unwrap(np.array([0, 1, 2, -1, 0]), period=4),
    "running product of bytes": lambda m: m.cumprod(NARROW),
    "quantiles of float32": lambda m: m.quantile(V.astype(np.float32), 0.3),
    "several quantiles of float32": lambda m: m.quantile(V.astype(np.float32), [0.3, 0.4]),
    "percentile of a list": lambda m: m.percentile([1, 2, 3, 4], [25, 75]),
    "median beside infinity": lambda m: m.median(np.array([-np.inf, 1, np.inf])),
    "weights with zeros": lambda m: m.quantile(
        M[0], [0.0, 1.0], weights=[0, 1, 1], method="inverted_cdf"
    ),
    "average with integers": lambda m: m.average([1, 2, 3], weights=[1, 2, 1], returned=True),
    "covariance of one observation": lambda m: m.cov(np.array([[1.0, 2.0]]).T),
    "histogram of a list": lambda m: m.histogram([1, 2, 1], bins=[0, 1, 2, 3]),
    "histogram of nothing": lambda m: m.histogram(np.zeros(0), 3),
    "histogram of float32": lambda m: m.histogram(V.astype(np.float32), 3),
    "histogram weighed by integers": lambda m: m.histogram(NARROW, 3, weights=I[[0, 1, 2, 0]]),
    "histogramdd of lists": lambda m: m.histogramdd([V, V + 1], (2, 3))[0],
    "histogram2d in edges for both": lambda m: m.histogram2d(V, V, np.array([0.0, 1, 2, 4])),
    "bincount of bytes": lambda m: m.bincount(NARROW),
    "bincount of nothing": lambda m: m.bincount(np.zeros(0, int)),
    "interp of lists": lambda m: m.interp([-1, 0.5, 9], [0, 1, 2], [3, 4, 5], left=-7, right=8),
    "interp at NaN": lambda m: m.interp(np.array([np.nan, 0.5]), [0.0, 1], [0.0, 1]),
    "a far diagonal": lambda m: m.diag(M, 9),
    "append of lists": lambda m: m.append([1, 2], [[3], [4]]),
    "insert at a slice": lambda m: m.insert(V, slice(0, 2), [7, 8]),
    "insert nothing": lambda m: m.insert(V, [], []),
    "delete nothing": lambda m: m.delete(V, []),
    "resize nothing": lambda m: m.resize(np.zeros(0), (2,)),
    "block of numbers": lambda m: m.block([1, 2, 3]),
    "r_ of matrices": lambda m: m.r_["-1", M, M],
    "r_ of rows": lambda m: m.r_["1,2,0", [1, 2], [3, 4]],
    "choose a number": lambda m: m.choose(np.array([[0, 1]]), [V[:2], 5.0]),
    "piecewise of integers": lambda m: m.piecewise(NARROW, [NARROW > 1], [lambda x: x / 2, 0]),
    "piecewise of a number": lambda m: m.piecewise(2.5, [True], [lambda x: x * 2]),
    "overlapping pieces": lambda m: m.piecewise(V, [V > 0, V > 1], [10, 20]),
    "where of lists": lambda m: m.where([True, False], [1, 2], [3, 4]),
    "close infinities": lambda m: m.isclose([1.0, np.inf, np.nan], [1 + 1e-9, np.inf, np.nan]),
    "close NaN": lambda m: m.isclose([np.nan], [np.nan], equal_nan=True),
    "equal NaN": lambda m: m.array_equal([np.nan], [np.nan], equal_nan=True),
    "polynomial at a number": lambda m: m.polyval([1, 2, 3], 5),
    "division with a remainder": lambda m: m.polydiv([1.0, 2, 3, 5], [1.0, 0, 2]),
    "division by more": lambda m: m.polydiv([1.0], [1.0, 2]),
    "no derivative left": lambda m: m.polyder([1, 2], 3),
    "antiderivative of integers": lambda m: m.polyint([6, 2]),
    "vander of bytes": lambda m: m.vander(NARROW + np.uint8(100)),
    "modf at the ends": lambda m: m.modf(np.array([np.inf, -0.5, -np.inf, -0.0, 3])),
    "frexp at the ends": lambda m: m.frexp(np.array([0.0, 1e-310, 3, -8])),
    "nan_to_num of complex": lambda m: m.nan_to_num(np.array([np.inf + 1j * np.nan]), nan=2.0),
    "indices in columns": lambda m: m.unravel_index([22, 41], (7, 6), order="F"),
    "positions in columns": lambda m: m.ravel_multi_index([[3, 6], [4, 5]], (7, 6), order="F"),
    "kron of a list": lambda m: m.kron([1, 10], M),
    "ranges of integers": lambda m: m.linspace(np.array([0, 1]), 9, 4, dtype=int),
    "steps of ranges": lambda m: m.linspace(V, V + 1, 3, retstep=True, axis=-1),
    "geomspace below 0": lambda m: m.geomspace(-1, -1000, 4),
    "zeros around a matrix": lambda m: m.trim_zeros(np.pad(M + 1, 1)),
    "the last bits left out": lambda m: m.unpackbits(np.array([5], np.uint8), count=-2),
    "windows of one point and of none": lambda m: [m.kaiser(n, 4.0) for n in (0, 1)],
    "largest of nothing": lambda m: m.max(np.zeros(0), initial=3.0),
    "product of nothing": lambda m: m.prod(np.zeros((0, 3)), axis=0, keepdims=True),
}


@pytest.mark.parametrize("name", OPERANDS)
def test_lists_numbers_narrow_types_and_empty_arrays(name):
    with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
        got, want = (parts(OPERANDS[name](m)) for m in (gnp, np))
    for g, w in zip(got, want, strict=True):
        value = np.asarray(g.numpy() if isinstance(g, gg.Array) else g)
        assert (value.shape, value.dtype) == (np.shape(w), np.asarray(w).dtype)
        np.testing.assert_allclose(value, w, rtol=1e-12 if value.dtype.itemsize > 4 else 1e-6)


# ------------------------------------------------------------------------------ one by one


def directional(f: Any, x: np.ndarray[Any, Any], v: np.ndarray[Any, Any]) -> Any:
    h = 1e-5
    return (f(x + h * v) - f(x - h * v)) / (2 * h)


def test_distributions_and_generators(device):
    with device:
        gnp.random.seed(0)
        for name, parameters in {
            "exponential": (2.0,),
            "gamma": (2.0, 1.0),
            "poisson": (3.0,),
        }.items():
            draw = getattr(gnp.random, name)(*parameters, size=(2, 3))
            assert isinstance(draw, gg.Array)
            assert (draw.shape, draw.device) == ((2, 3), device)
        assert gnp.random.RandomState(0).randn(2).shape == (2,)
        assert gnp.random.default_rng(0).random(3).shape == (3,)
        with pytest.raises(AttributeError, match="permutation"):
            gnp.random.shuffle
        with pytest.raises(AttributeError, match="'no_such'"):
            gnp.random.no_such


def test_roots_and_their_gradient(device):
    p = np.array([1.0, -3.0, 1.0, 2.0])
    v = np.array([0.3, -1.0, 0.5, 2.0])
    x = to_device(p, device)
    roots = to_device(gnp.roots(x), CPU)
    np.testing.assert_allclose(np.sort(roots.real), np.sort(np.roots(p)), rtol=1e-10)
    got = to_device(gg.grad(lambda p: gnp.sum(gnp.abs(gnp.roots(p)) ** 2))(x), CPU)
    want = directional(lambda p: np.sum(np.abs(np.roots(p)) ** 2), p, v)
    np.testing.assert_allclose(got @ v, want, rtol=1e-6)
    assert gnp.roots(to_device(np.array([2.0]), device)).shape == (0,)


def test_polyfit_and_its_gradient(device):
    x, y = np.linspace(0, 1, 6), np.array([1.0, 0.5, 0.75, 2, 1, 3])
    w = np.array([1.0, 2, 1, 1, 3, 1])
    u, v = np.array([0.3, -1, 0.5]), np.array([0.5, 1, -1, 0.25, 2, -0.5])
    ours = [to_device(a, device) for a in (x, y, w)]
    fit, cov = gnp.polyfit(*ours[:2], 2, w=ours[2], cov=True)
    for got, want in zip((fit, cov), np.polyfit(x, y, 2, w=w, cov=True), strict=True):
        np.testing.assert_allclose(to_device(got, CPU), want, rtol=1e-9)
    np.testing.assert_allclose(
        to_device(gnp.polyfit(*ours[:2], 2, full=True)[1], CPU),
        np.polyfit(x, y, 2, full=True)[1],
        rtol=1e-9,
    )
    for i in (0, 1):

        def loss(a: Any, m: Any = gnp, i: int = i, xs: Any = ours, u: Any = None) -> Any:
            xs = [a if k == i else b for k, b in enumerate(xs[:2])]
            return m.sum(u * m.polyfit(*xs, 2))

        g = gg.grad(lambda a, i=i: loss(a, i=i, u=to_device(u, device)))(ours[i])
        want = directional(lambda a, i=i: loss(a, np, i, [x, y], u), (x, y)[i], v)
        np.testing.assert_allclose(to_device(g, CPU) @ v, want, rtol=1e-6)


def test_apply_along_axis(device):
    x = np.arange(24.0).reshape(2, 3, 4)
    for axis in (0, 1, -1):
        for f, g in [
            (lambda r: gnp.cumsum(r)[::-1], lambda r: np.cumsum(r)[::-1]),
            (gnp.sum, np.sum),
            (lambda r: gnp.outer(r, r)[:2], lambda r: np.outer(r, r)[:2]),
        ]:
            got = gnp.apply_along_axis(f, axis, to_device(x, device))
            np.testing.assert_allclose(to_device(got, CPU), np.apply_along_axis(g, axis, x))
    grad = gg.grad(lambda x: gnp.sum(gnp.apply_along_axis(lambda r: r @ r, 1, x)))
    np.testing.assert_allclose(to_device(grad(to_device(x, device)), CPU), 2 * x)


def test_vectorize(device):
    a, b = np.array([[1.0], [2.0]]), np.array([3.0, -1.0, 2.0])
    put = [to_device(v, device) for v in (a, b)]

    def smaller(m: Any) -> Any:
        return lambda x, y, k=1.0: m.where(x < y, x * k, y)

    for args in [(), (2.0,)]:
        got = gnp.vectorize(smaller(gnp))(*put, *args)
        want = np.vectorize(smaller(np))(a, b, *args)
        np.testing.assert_allclose(to_device(got, CPU), want)
    f = gnp.vectorize(lambda m, v: (m @ v, v[0]), signature="(n,k),(k)->(n),()")
    m, v = np.arange(12.0).reshape(2, 2, 3), np.arange(3.0)
    product, first = f(to_device(m, device), to_device(v, device))
    np.testing.assert_allclose(to_device(product, CPU), m @ v)
    assert first.shape == (2,)
    power = gnp.vectorize(lambda x, p: x**p, excluded={"p"})
    np.testing.assert_allclose(to_device(power(put[1], p=2), CPU), b**2)
    grad = gg.grad(lambda x: gnp.sum(gnp.vectorize(smaller(gnp))(x, put[1])))(put[0])
    np.testing.assert_allclose(to_device(grad, CPU), [[2], [1]])
    with pytest.raises(ValueError, match=r"axis 'k' .* lengths 3 and 2"):
        f(m, v[:2])
    with pytest.raises(ValueError, match="signature"):
        gnp.vectorize(lambda x: x, signature="n->n")(v)


def test_each_piece_sees_its_own_elements(device):
    """So a logarithm beside 0 gives no NaN, not even in the gradient; under vmap it's guarded."""
    x = np.array([-1.0, 0.0, 2.0])

    def f(x: Any) -> Any:
        return gnp.piecewise(x, [x > 0, x <= 0], [gnp.log, lambda t: t * 3])

    with np.errstate(all="raise"):
        grad = gg.grad(lambda x: gnp.sum(f(x)))(to_device(x, device))
    np.testing.assert_allclose(to_device(grad, CPU), [3, 3, 0.5])

    def smooth(x: Any) -> Any:
        return gnp.piecewise(x, [x > 1, x < 0], [gnp.exp, -1.0, lambda t: t * t])

    rows = np.stack([x, x / 2])
    got = gg.vmap(smooth)(to_device(rows, device))
    want = [np.piecewise(r, [r > 1, r < 0], [np.exp, -1.0, lambda t: t * t]) for r in rows]
    np.testing.assert_allclose(to_device(got, CPU), want)


def test_grids_are_on_the_device_that_is_asked(device):
    for name, args in {
        "indices": ((2, 3),),
        "tri": (3, 4, 1),
        "tril_indices": (3, 1),
        "triu_indices": (3, -1, 4),
        "diag_indices": (3, 3),
        "hanning": (5,),
        "hamming": (5,),
        "blackman": (5,),
        "bartlett": (5,),
        "kaiser": (5, 4.0),
        "logspace": (0, 2, 5),
        "geomspace": (1, 8, 4),
        "linspace": (0, 2, 5),
    }.items():
        got = parts(getattr(gnp, name)(*args, device=device))
        for g, w in zip(got, parts(getattr(np, name)(*args)), strict=True):
            assert g.device == device
            np.testing.assert_allclose(g.numpy(), w, atol=1e-14)
    got = gnp.fromfunction(lambda i, j: i - j, (2, 3), device=device)
    np.testing.assert_allclose(got.numpy(), [[0, -1, -2], [1, 0, -1]])
    for ours, theirs in ((gnp.mgrid, np.mgrid), (gnp.ogrid, np.ogrid)):
        for g, w in zip(ours[0:2, 0:1:3j], theirs[0:2, 0:1:3j], strict=True):
            np.testing.assert_array_equal(g.numpy(), w)
    rows, columns = gnp.ix_(to_device(np.array([True, False, True]), device), [1, 0])
    assert rows.shape == (2, 1)
    assert columns.shape == (1, 2)


def test_nothing_but_nan(device):
    x = to_device(np.full((2, 2), np.nan), device)
    with np.errstate(all="ignore"):
        for f in (gnp.nanmax, gnp.nanmin, gnp.nanmean, gnp.nanvar, gnp.nanmedian):
            assert np.isnan(to_device(f(x), CPU))
        for f in (gnp.median, gnp.nanmedian):
            assert np.isnan(to_device(f(x[:0], axis=0), CPU)).tolist() == [True, True]
        assert to_device(gnp.nansum(x), CPU) == 0
        assert to_device(gnp.nanprod(x), CPU) == 1


def test_nan_in_quantiles_and_sorts(device):
    x = np.array([2.0, np.nan, 1.0])
    put = to_device(x, device)
    np.testing.assert_array_equal(to_device(gnp.sort(put), CPU), [1, 2, np.nan])
    np.testing.assert_array_equal(to_device(gnp.argsort(put), CPU), [2, 0, 1])
    assert np.isnan(to_device(gnp.quantile(put, 0.5), CPU))
    assert to_device(gnp.nanquantile(put, 0.5), CPU) == 1.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gnp.quantile(V, 1.5), "between 0 and 1"),
        (lambda: gnp.quantile(V, 0.5, method="best"), "none of inverted_cdf"),
        (lambda: gnp.quantile(V, 0.5, weights=V), "inverted_cdf"),
        (lambda: gnp.quantile(V + 1j, 0.5), "complex"),
        (lambda: gnp.quantile(np.zeros(0), 0.5), "no elements"),
        (lambda: gnp.average(A, 0, V), "weights of shape"),
        (lambda: gnp.interp(V, V, V[:2]), "xp of shape"),
        (lambda: gnp.searchsorted(A, V), "1-D"),
        (lambda: gnp.cross(V[:1], V[:2]), "2 or 3 are needed"),
        (lambda: gnp.diag(np.zeros((1, 1, 1))), "1 or 2 axes"),
        (lambda: gnp.gradient(V[:1]), "2 are needed"),
        (lambda: gnp.histogram(V, 0), "at least 1"),
        (lambda: gnp.bincount(V), "integers"),
        (lambda: gnp.bincount(np.array([-1])), "negative"),
        (lambda: gnp.select([B], [V, V]), "1 conditions for 2"),
        (lambda: gnp.where(B, V), "alone, or with both"),
        (lambda: gnp.block([V, [V]]), "nested unevenly"),
        (lambda: gnp.polyder(V, -1), "polyint"),
        (lambda: gnp.poly(A[None]), "square matrix are needed, got shape"),
        (lambda: gnp.choose(I, [V], mode="up"), "none of"),
        (lambda: gnp.ravel_multi_index((I, I), (2, 2)), "outside"),
        (lambda: gnp.max(I, where=B), "initial"),
        (lambda: gnp.partition(V, 7), "out of bounds"),
    ],
)
def test_errors_say_what_is_needed(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()


def test_long_sorts_are_stable():
    """A sort that is not stable is taken only where nothing ties."""
    rng = np.random.default_rng(0)
    some = rng.uniform(size=2000)
    some[some > 0.5] = np.nan
    for x in (rng.permutation(2000) * 1.0, rng.integers(0, 50, 2000), some):
        np.testing.assert_array_equal(gnp.argsort(x), np.argsort(x, kind="stable"))
    table = rng.permutation(3000).reshape(2, 1500) * 1.0
    table[1, :2] = 7.0
    for axis in (0, 1):
        order = np.argsort(table, axis, kind="stable")
        np.testing.assert_array_equal(gnp.argsort(table, axis), order)
