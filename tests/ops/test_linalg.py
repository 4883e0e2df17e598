"""Linear algebra beyond its cases: NumPy's calls, errors, degenerate and empty matrices."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import op_checks as checks
import pytest
import scipy.linalg
from cases_linalg import LINALG
from op_case import CASES
from op_draw import by_seed

import gpugrad as gg
import gpugrad.numpy as gnp
import gpugrad.scipy.linalg as gsl
from gpugrad.device import CPU, to_device
from gpugrad.ops import solve as solve_module

A = np.array([[4.0, 1.0, 0.5], [1.0, 3.0, -0.5], [0.5, -0.5, 2.0]])
B = np.array([[1.0, 2.0], [0.5, -1.0], [3.0, 0.0]])


def host(x: Any) -> Any:
    return to_device(x._value if isinstance(x, gg.Array) else x, CPU)


def near(got: Any, want: Any, rtol: float = 1e-9, atol: float = 1e-12) -> None:
    np.testing.assert_allclose(host(got), want, rtol=rtol, atol=atol)


# ------------------------------------------------------------------ NumPy's own functions

CALLS: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("inv", "det", "slogdet", "cholesky", "eigh", "eigvalsh", "eig"), (A,)),
    **dict.fromkeys(("eigvals", "svdvals", "cond", "matrix_rank", "norm", "matrix_norm"), (A,)),
    **dict.fromkeys(("vector_norm", "trace", "diagonal", "matrix_transpose", "pinv"), (A,)),
    **dict.fromkeys(("solve", "matmul", "lstsq"), (A, B)),
    **dict.fromkeys(("cross", "vecdot"), (A, B.T[:1])),
    **dict.fromkeys(("qr", "svd"), (B,)),
    "outer": (A[0], A[1]),
    "tensordot": (A, A),
    "matrix_power": (A, 3),
    "tensorsolve": (A, A[0]),
    "tensorinv": (A, 1),
    "multi_dot": ([A, B, B.T],),
}


def test_every_function_of_numpy_linalg_is_called_here():
    theirs = {n for n in dir(np.linalg) if callable(getattr(np.linalg, n)) and n[0] != "_"}
    theirs -= {"LinAlgError", "test"}
    assert theirs == set(CALLS) == set(gnp.linalg.__all__) - {"LinAlgError"}


@pytest.mark.parametrize("name", CALLS)
def test_numpys_function_on_an_array(name, device):
    function = getattr(np.linalg, name)
    want = function(*CALLS[name])
    args = [
        [gg.Array(to_device(x, device)) for x in a]
        if isinstance(a, list)
        else gg.Array(to_device(a, device))
        if isinstance(a, np.ndarray)
        else a
        for a in CALLS[name]
    ]
    got = function(*args)
    if not isinstance(want, tuple):
        got, want = (got,), (want,)
    else:
        assert [*type(got).__dict__.get("_fields", ())] == [*getattr(want, "_fields", ())]
    for g, w in zip(got, want, strict=True):
        assert isinstance(g, gg.Array)
        assert (g.shape, g.dtype.kind, g.device) == (np.shape(w), np.asarray(w).dtype.kind, device)
        near(abs(host(g)), np.abs(w))  # but for the signs of vectors


@pytest.mark.parametrize("name", CALLS)
def test_numpys_parameters_are_taken(name):
    theirs = inspect.signature(getattr(np.linalg, name)).parameters
    function = gg.dispatch.functions[getattr(np.linalg, name)]
    ours = inspect.signature(function).parameters
    assert set(theirs) - {"a", "A", "x", "b", "x1", "x2", "out"} <= set(ours)
    if name != "pinv":  # whose default says that nothing was given
        for n, p in theirs.items():
            assert n not in ours or ours[n].default == p.default


def test_a_scipy_function_has_an_error():
    with pytest.raises(TypeError, match="gradient would be lost"):
        gg.grad(lambda x: scipy.linalg.expm(x)[0, 0])(A)


def test_eigenvalues_are_real_where_numpys_are():
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    for x in (A, turn):
        assert np.linalg.eigvals(gg.Array(x)).dtype == np.linalg.eigvals(x).dtype
        assert [y.dtype for y in np.linalg.eig(gg.Array(x))] == [y.dtype for y in np.linalg.eig(x)]
        assert gnp.linalg.eigvals(gg.Array(x)).dtype == np.complex128
    g = gg.grad(lambda x: np.max(np.linalg.eigvals(x)))(A)
    near(g, gg.grad(lambda x: np.linalg.eigvalsh(x)[-1])(A))
    assert gg.vmap(np.linalg.eigvals)(np.stack([A, A])).dtype == np.complex128


def test_pinv_has_numpys_cutoff_for_numpy_and_the_standards_for_ours():
    small = np.diag([1.0, 4e-16])
    assert host(np.linalg.pinv(gg.Array(small)))[1, 1] == 0
    assert np.linalg.pinv(np.diag([1.0, 1e-14]))[1, 1] > 1e13
    for x in (np.diag([1.0, 1.2e-15]), np.diag([1.0, 3e-16])):
        near(np.linalg.pinv(gg.Array(x)), np.linalg.pinv(x))
        near(np.linalg.pinv(gg.Array(x), rtol=None), np.linalg.pinv(x, rtol=None))
        near(gnp.linalg.pinv(gg.Array(x)), np.linalg.pinv(x, rtol=None))


def test_pinv_with_a_cutoff_for_each_matrix(device):
    x = to_device(np.stack([np.diag([1.0, 0.1]), np.diag([1.0, 0.1])]), device)
    cutoff = to_device(np.array([0.5, 0.01]), device)
    want = np.stack([np.diag([1.0, 0.0]), np.diag([1.0, 10.0])])
    near(gnp.linalg.pinv(x, rtol=cutoff), want)
    near(gg.vmap(lambda x, c: gnp.linalg.pinv(x, rtol=c))(x, cutoff), want)
    both = gg.vmap(lambda c: gnp.linalg.pinv(x, rtol=c))(cutoff)
    near(both, np.stack([want[[0, 0]], want[[1, 1]]]))


def test_derivative_by_a_cutoff_of_equal_singular_values(device):
    """The kept ones and the cut ones meet only each other; the default pays for no cut."""
    rng = np.random.default_rng(0)
    u, v = (np.linalg.qr(rng.normal(size=(n, n)))[0] for n in (5, 4))
    x, t, w = u[:, :4] * [1.0, 1.0, 0.1, 0.1] @ v, rng.normal(size=(5, 4)), rng.normal(size=(4, 5))

    def along(s):
        return np.sum(w * np.linalg.pinv(x + s * t, 0.2))

    put = [to_device(a, device) for a in (x, t, w)]

    def ours(x, rcond=0.2):
        return gnp.sum(put[2] * gnp.linalg.pinv(x, rcond))

    def slope(x):
        return gnp.sum(put[1] * gg.grad(ours)(x))

    want = (8 * (along(1e-4) - along(-1e-4)) - (along(2e-4) - along(-2e-4))) / 12e-4
    near(slope(put[0]), want, rtol=1e-8)
    near(gg.jvp(ours, put[:1], put[1:2])[1], want, rtol=1e-8)
    second = (along(1e-3) - 2 * along(0) + along(-1e-3)) / 1e-6
    near(gnp.sum(put[1] * gg.grad(slope)(put[0])), second, rtol=1e-4)
    near(gg.grad(ours)(put[0] * 0), np.zeros((5, 4)))


@pytest.mark.parametrize(("rcond", "times"), [(None, 0), (1e-15, 0), (0.1, 2)])
def test_a_cutoff_of_rounding_takes_no_decomposition_more(rcond, times, monkeypatch):
    svd, calls = np.linalg.svd, []
    monkeypatch.setattr(np.linalg, "svd", lambda *a, **k: calls.append(1) or svd(*a, **k))
    gg.grad(lambda x: gnp.linalg.pinv(x, rcond).sum())(A)
    assert len(calls) == times


# ------------------------------------------------------------------ wrong arguments

SHAPES = {
    "solve": ((2, 3), (3,)),
    "inv": ((2, 3),),
    "det": ((3,),),
    "slogdet": ((2, 3),),
    "cholesky": ((2, 4, 3),),
    "eigh": ((2, 3),),
    "eig": ((2, 3),),
    "eigvals": ((5,),),
    "qr": ((5,),),
    "svd": ((5,),),
    "svdvals": ((5,),),
    "pinv": ((5,),),
    "matrix_norm": ((5,),),
    "lstsq": ((3, 2), (4,)),
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_wrong_shape_is_a_linalg_error_with_that_shape(name, device):
    operands = [gg.Array(to_device(np.zeros(s), device)) for s in SHAPES[name]]
    text = str(SHAPES[name][0]).replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(np.linalg.LinAlgError, match=text):
        getattr(gnp.linalg, name)(*operands)


X = gg.Array(A)
WRONG = {
    "solve": (lambda: gnp.linalg.solve(X, gg.Array(B[:2])), ValueError, r"\(3, 3\).*\(2, 2\)"),
    "solve stacks": (
        lambda: gnp.linalg.solve(gnp.zeros((2, 3, 3)), gnp.zeros((3, 3, 1))),
        ValueError,
        r"\(2, 3, 3\).*\(3, 3, 1\)",
    ),
    "solve a number": (lambda: gnp.linalg.solve(X, 1.0), ValueError, r"shape \(\)"),
    "float16": (lambda: gnp.linalg.inv(X.astype("float16")), TypeError, "float16.*float32"),
    "mode": (lambda: gnp.linalg.qr(X, "raw"), ValueError, "'raw' is none of 'reduced'"),
    "UPLO": (lambda: gnp.linalg.eigh(X, "M"), ValueError, "'M' is neither"),
    "order": (lambda: gnp.linalg.norm(X, 3), ValueError, "order 3 is none of a matrix"),
    "order of a vector": (lambda: gnp.linalg.norm(X[0], "fro"), ValueError, "'fro'"),
    "axes": (lambda: gnp.linalg.norm(X, axis=(0, 0)), ValueError, "twice"),
    "three axes": (lambda: gnp.linalg.norm(gnp.zeros((1, 2, 3)), 2), ValueError, r"3 axes"),
    "trans": (lambda: gsl.solve_triangular(X, X, "H"), ValueError, "trans 'H'"),
    "cross": (lambda: gnp.linalg.cross(X[:, :2], X), ValueError, r"\(3, 2\).*length 3"),
    "outer": (lambda: gnp.linalg.outer(X, X), ValueError, r"\(3, 3\)"),
    "factors": (
        lambda: gnp.linalg.multi_dot([X, X[0], X]),
        np.linalg.LinAlgError,
        r"\(3, 3\), \(3,\), \(3, 3\)",
    ),
    "one factor": (lambda: gnp.linalg.multi_dot([X]), ValueError, "got 1"),
    "ind": (lambda: gnp.linalg.tensorinv(X, 0), ValueError, "ind 0"),
    "tensorinv": (lambda: gnp.linalg.tensorinv(X, 2), np.linalg.LinAlgError, "9 by 1"),
    "tensorsolve": (
        lambda: gnp.linalg.tensorsolve(X, X[0, :2]),
        np.linalg.LinAlgError,
        r"\(3, 3\) and \(2,\)",
    ),
    "rcond and rtol": (lambda: gnp.linalg.pinv(X, 0.1, rtol=0.1), ValueError, "not both"),
    "tol and rtol": (lambda: gnp.linalg.matrix_rank(X, 0.1, rtol=0.1), ValueError, "not both"),
    "power": (lambda: gnp.linalg.matrix_power(X, 0.5), TypeError, "float"),
    "cond of nothing": (lambda: gnp.linalg.cond(gnp.zeros((0, 0))), ValueError, r"\(0, 0\)"),
}


@pytest.mark.parametrize(("f", "kind", "text"), WRONG.values(), ids=WRONG.keys())
def test_wrong_argument(f, kind, text):
    with pytest.raises(kind, match=text):
        f()


SINGULAR = np.array([[1.0, 2.0], [2.0, 4.0]])
STACKED = np.stack([np.eye(2), SINGULAR])


@pytest.mark.parametrize("x", [SINGULAR, STACKED], ids=["one", "stack"])
def test_singular_and_indefinite_matrices_raise(x):
    for f in (
        lambda x: gnp.linalg.solve(x, np.ones(2)),
        gnp.linalg.inv,
        lambda x: gnp.linalg.cholesky(-x),
        lambda x: gsl.solve_triangular(x - x, np.ones(2)),
    ):
        for run in (f, gg.Array(x).__class__ and (lambda x, f=f: f(gg.Array(x)))):
            with pytest.raises(np.linalg.LinAlgError):
                run(x)
        with pytest.raises(np.linalg.LinAlgError):
            gg.grad(lambda x, f=f: gnp.sum(f(x)))(x)


def test_a_singular_matrix_on_cuda_gives_no_number_and_no_error(cuda):
    with np.errstate(all="ignore"):
        assert not cuda.isfinite(gnp.linalg.solve(cuda.asarray(SINGULAR), cuda.ones(2))).any()
        assert not cuda.isfinite(gnp.linalg.inv(cuda.asarray(SINGULAR))).any()


# ------------------------------------------------------------------ degenerate matrices


def cofactors(x: np.ndarray) -> np.ndarray:
    n = len(x)
    minors = [
        [np.linalg.det(np.delete(np.delete(x, i, 0), j, 1)) for j in range(n)] for i in range(n)
    ]
    return np.array(minors) * (-1.0) ** np.add.outer(np.arange(n), np.arange(n))


RANKS = {
    "1": np.array([[5.0]]),
    "0 of 1": np.array([[0.0]]),
    "1 of 2": SINGULAR,
    "2 of 3": np.arange(1.0, 10.0).reshape(3, 3),
    "1 of 3": np.outer([1.0, 2.0, 3.0], [1.0, -1.0, 2.0]),
    "0 of 3": np.zeros((3, 3)),
    "3 of 4": np.diag([1.0, 0.0, -2.0, 3.0]),
    "nilpotent": np.diag([1.0, 1.0], 1),
    "small": SINGULAR * 1e-80,
    "3": A,
}


@pytest.mark.parametrize("name", RANKS)
def test_the_gradient_of_det_is_the_cofactors(name, device):
    x = RANKS[name]
    g = gg.grad(gnp.linalg.det)(to_device(x, device))
    scale = np.max(np.abs(x)) ** (len(x) - 1) or 1e-12
    near(g, cofactors(x), rtol=1e-10, atol=1e-11 * scale)
    stack = to_device(np.stack([x, x + np.eye(len(x)) * 3]), device)
    g = gg.grad(lambda x: gnp.sum(gnp.linalg.det(x)))(stack)
    near(g[0], cofactors(x), rtol=1e-10, atol=1e-11 * scale)
    assert host(gg.jvp(gnp.linalg.det, [to_device(x, device)], [to_device(x, device)])[1]) == (
        pytest.approx(np.sum(cofactors(x) * x), abs=1e-10 * max(scale, 1e-3))
    )


def test_second_derivatives_of_det_at_the_unit_matrix():
    hessian = gg.hessian(gnp.linalg.det)(np.eye(2))
    want = np.zeros((2, 2, 2, 2))
    want[0, 0, 1, 1] = want[1, 1, 0, 0] = 1
    want[0, 1, 1, 0] = want[1, 0, 0, 1] = -1
    near(hessian, want)


@pytest.mark.parametrize("order", [None, 1, 2, 3, 0.5, np.inf, -np.inf, 0])
def test_the_norm_of_zeros_has_gradient_0(order, device):
    g = gg.grad(lambda x: gnp.linalg.norm(x, order))(to_device(np.zeros(3), device))
    assert host(g).tolist() == [0, 0, 0]
    x = to_device(np.zeros(2, complex), device)
    assert host(gg.grad(lambda x: gnp.linalg.norm(x, order))(x)).tolist() == [0, 0]
    hessian = gg.hessian(lambda x: gnp.linalg.norm(x, order))(np.zeros(2))
    assert np.isfinite(hessian).all()


def test_elements_that_are_0_have_gradient_0_in_a_norm():
    for order in (1, 1.5, 3):
        g = gg.grad(lambda x, o=order: gnp.linalg.norm(x, o))(np.array([0.0, 2.0]))
        near(g, [0, 1])
    near(gg.grad(lambda x: gnp.linalg.norm(x, "fro"))(np.zeros((2, 2))), np.zeros((2, 2)))


def test_norms_share_ties():
    near(gg.grad(lambda x: gnp.linalg.norm(x, np.inf))(np.array([2.0, -2.0])), [0.5, -0.5])
    near(gg.grad(lambda x: gnp.linalg.norm(x, 2))(np.eye(2)), np.eye(2) / 2)


def test_equal_eigenvalues():
    """Functions of the eigenvalues have a gradient, of the vectors none: NaN, as in JAX."""
    near(gg.grad(lambda x: gnp.sum(gnp.linalg.eigvalsh(x) ** 2))(np.eye(3)), 2 * np.eye(3))
    near(gg.grad(lambda x: gnp.sum(gnp.linalg.eigh(x)[0] ** 2))(np.eye(3)), 2 * np.eye(3))
    near(gg.grad(lambda x: gnp.sum(gnp.linalg.svdvals(x) ** 2))(np.eye(3)), 2 * np.eye(3))
    near(gg.grad(lambda x: gnp.linalg.norm(x, "nuc"))(2 * np.eye(3)), np.eye(3))
    with np.errstate(all="ignore"):
        assert not np.isfinite(gg.grad(lambda x: gnp.linalg.eigh(x)[1][0, 0])(np.eye(3))).all()


def test_a_zero_singular_value_leaves_the_other_vectors_their_gradient():
    x = np.diag([3.0, 2.0, 0.0])

    def first(x: Any) -> Any:
        u, s, vh = gnp.linalg.svd(x)
        return gnp.sum(np.arange(9.0).reshape(3, 3) * (s[0] * u[:, :1] @ vh[:1]))

    def outer(x: np.ndarray) -> float:
        u, s, vh = np.linalg.svd(x)
        return float(np.sum(np.arange(9.0).reshape(3, 3) * (s[0] * u[:, :1] @ vh[:1])))

    v = np.linspace(-1, 1, 9).reshape(3, 3)
    slope = (outer(x + 1e-5 * v) - outer(x - 1e-5 * v)) / 2e-5
    assert np.sum(gg.grad(first)(x) * v) == pytest.approx(slope, rel=1e-8)


def test_cond_of_singular_matrices_is_infinite(device):
    x = to_device(STACKED * 1.0, device)
    for p in ("fro", 1, np.inf):
        y = host(gnp.linalg.cond(x, p))
        assert np.isfinite(y[0])
        assert y[1] == np.inf
    near(gnp.linalg.cond(to_device(np.diag([2.0, 0.0]), device)), np.inf)


def test_derivatives_take_hermitian_matrices_by_their_triangle():
    """The other triangle is not read, and the gradient is Hermitian."""
    mixed = np.tril(A) + np.triu(np.full((3, 3), np.nan), 1)
    for f in (gnp.linalg.cholesky, gnp.linalg.eigvalsh):
        near(f(mixed), f(A))
        g = gg.grad(lambda x, f=f: gnp.sum(gnp.sin(f(x))))(mixed)
        near(g, g.T)
    near(gnp.linalg.cholesky(mixed.T, upper=True), np.linalg.cholesky(A, upper=True))
    near(gnp.linalg.svd(mixed, compute_uv=False, hermitian=True), np.linalg.svdvals(A))
    near(gnp.linalg.pinv(mixed, hermitian=True), np.linalg.inv(A))
    assert gnp.linalg.matrix_rank(mixed, hermitian=True) == 3


# ------------------------------------------------------------------ shapes and types


@pytest.mark.parametrize("name", LINALG)
def test_float32(name):
    p = checks.Point(CASES[name], *by_seed(2), CPU)
    with np.errstate(all="ignore"):
        checks.check_narrow(p)
        checks.check_gradient_dtype(p, checks.NARROW)


EMPTY = {
    "solve": ((0, 0), (0, 2)),
    "solve no columns": ((3, 3), (3, 0)),
    "inv": ((0, 0),),
    "det": ((2, 0, 0),),
    "slogdet": ((0, 0),),
    "cholesky": ((0, 2, 2),),
    "qr": ((3, 0),),
    "eigh": ((0, 0),),
    "eigvalsh": ((2, 0, 0),),
    "eig": ((0, 0),),
    "svd": ((0, 2),),
    "svdvals": ((0, 2),),
    "pinv": ((0, 2),),
    "norm": ((0,),),
    "matrix_power": ((0, 0), 2),
}


@pytest.mark.parametrize("name", EMPTY)
def test_empty_matrices(name, device):
    plain = name.split()[0]
    args = [
        np.broadcast_to(np.eye(s[-2], s[-1]) if len(s) > 1 else np.zeros(s), s).copy()
        if isinstance(s, tuple)
        else s
        for s in EMPTY[name]
    ]
    want = getattr(np.linalg, plain)(*args)
    raw = [to_device(a, device) if isinstance(a, np.ndarray) else a for a in args]
    y = getattr(gnp.linalg, plain)(*raw)
    want, y = (checks.flat(want), checks.flat(y))
    assert [(v.shape, host(v).tolist()) for v in y] == [
        (np.shape(v), np.asarray(v).tolist()) for v in want
    ]

    def total(x: Any) -> Any:
        ys = checks.flat(getattr(gnp.linalg, plain)(x, *raw[1:]))
        return sum(gnp.sum(gnp.real(v)) for v in ys)

    g = gg.grad(total)(raw[0])
    assert g.shape == raw[0].shape
    assert not host(g).any()


def test_integers_become_float64(device):
    x = to_device(np.array([[2, 1], [1, 3]]), device)
    for f in (gnp.linalg.inv, gnp.linalg.det, gnp.linalg.norm, gnp.linalg.svdvals):
        assert f(x).dtype == np.float64
    assert gnp.linalg.matrix_power(x, 2).dtype == np.int64
    assert gnp.linalg.solve(x, to_device(np.ones(2, "float32"), device)).dtype == np.float64
    assert gnp.linalg.solve([[2.0, 0.0], [0.0, 4.0]], [2.0, 4.0]).tolist() == [1, 1]


def test_ranks(device):
    x = to_device(np.stack([np.eye(3), RANKS["2 of 3"], np.zeros((3, 3))]), device)
    assert host(gnp.linalg.matrix_rank(x)).tolist() == [3, 2, 0]
    assert host(gnp.linalg.matrix_rank(x, tol=2.0)).tolist() == [0, 1, 0]
    tols = to_device(np.array([2.0, 0.1, 0.1]), device)
    assert host(gnp.linalg.matrix_rank(x, tol=tols)).tolist() == [0, 2, 0]
    assert host(gnp.linalg.matrix_rank(x, rtol=tols)).tolist() == [0, 1, 0]
    assert int(gnp.linalg.matrix_rank(to_device(np.zeros(3), device))) == 0
    assert int(gnp.linalg.matrix_rank(to_device(np.ones(3), device))) == 1


def test_lstsq_of_deficient_rank(device):
    a = np.array([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])
    want = np.linalg.lstsq(a, B, rcond=None)
    got = gnp.linalg.lstsq(to_device(a, device), to_device(B, device))
    for g, w in zip(got, want, strict=True):
        near(g, w)
    assert got[1].shape == (0,)
    x, residuals, rank, _ = gg.vmap(gnp.linalg.lstsq)(
        to_device(np.stack([a, a]), device), to_device(np.stack([B, B]), device)
    )
    near(x[1], want[0])
    assert residuals.shape == (2, 2)
    assert host(rank).tolist() == [1, 1]
    near(gnp.linalg.lstsq(to_device(A, device), to_device(B, device), -1)[0], np.linalg.solve(A, B))


# ------------------------------------------------------------------ what is reused, what is kept


def test_the_backward_pass_of_solve_reuses_the_factors(monkeypatch):
    """One factorization for the value, the gradient and the gradient's own gradient."""
    count = 0
    lapack = solve_module.lapack

    def counted(routine: str, char: str) -> Any:
        nonlocal count
        count += routine == "gesv"
        return lapack(routine, char)

    monkeypatch.setattr(solve_module, "lapack", counted)
    monkeypatch.setattr(np.linalg, "solve", None)
    gg.hessian(lambda b: gnp.sum(gnp.linalg.solve(A, b) ** 3))(B[:, 0])
    x, b = gg.Array(A, requires_grad=True), gg.Array(B, requires_grad=True)
    count = 0
    y = gnp.sum(gnp.linalg.solve(x, b) ** 2)
    y.backward(create_graph=True)
    gnp.sum(x.grad**2).backward()
    assert count == 1


def test_the_backward_pass_of_slogdet_reuses_the_factors(monkeypatch):
    grad = gg.grad(lambda a: gnp.linalg.slogdet(a).logabsdet)
    hessian = gg.hessian(lambda a: gnp.linalg.slogdet(a).logabsdet)(A)
    monkeypatch.setattr(np.linalg, "inv", None)
    monkeypatch.setattr(np.linalg, "slogdet", None)
    near(grad(A), np.linalg.solve(A, np.eye(len(A))).T)
    monkeypatch.undo()
    # A gradient that is itself recorded must not take the factors for constants.
    x = gg.Array(A, requires_grad=True)
    gnp.linalg.slogdet(x).logabsdet.backward(create_graph=True)
    g, x.grad = x.grad, None
    gnp.sum(g * B[:, :1]).backward()
    near(host(x.grad), np.einsum("ij,ijkl->kl", B[:, :1] * np.ones_like(A), hessian))


@pytest.mark.parametrize("x", [np.zeros((3, 3)), np.full((2, 2), np.nan), np.ones((4, 4))])
def test_slogdet_of_what_is_not_regular(x):
    np.testing.assert_array_equal(gnp.linalg.slogdet(x), np.linalg.slogdet(x))


@pytest.mark.parametrize("mapped", [(0, None), (None, 0), (0, 0)])
def test_vmap_of_the_gradient_of_solve(mapped, device):
    def slope(a: Any, b: Any) -> Any:
        return gg.grad(lambda a, b: gnp.sum(gnp.linalg.solve(a, b) ** 2), (0, 1))(a, b)

    operands = [
        np.stack([x, x + 0.1]) if m == 0 else x for x, m in zip((A, B), mapped, strict=True)
    ]
    got = gg.vmap(slope, mapped)(*[to_device(x, device) for x in operands])
    for i in range(2):
        rows = [x[i] if m == 0 else x for x, m in zip(operands, mapped, strict=True)]
        for g, w in zip(got, slope(*rows), strict=True):
            near(g[i], w)


@pytest.mark.parametrize("side", [True, False])
@pytest.mark.parametrize("n", [3, 40])
def test_a_stack_of_triangles_is_solved_as_each_alone(n, side, device):
    """Small ones by NumPy in one call, larger ones one by one."""
    rng = np.random.default_rng(0)
    a = rng.uniform(-1, 1, (2, n, n)) / n + np.eye(n)
    b = rng.uniform(-1, 1, (2, n, 2))
    for trans in (0, 1):
        for unit in (False, True):
            want = [
                scipy.linalg.solve_triangular(x, y, trans, side, unit)
                for x, y in zip(a, b, strict=True)
            ]
            got = gsl.solve_triangular(
                to_device(a, device), to_device(b, device), trans, side, unit
            )
            near(got, np.stack(want), rtol=1e-10)


def test_the_jacobian_of_solve_with_respect_to_b_is_the_inverse(device):
    b = to_device(B[:, 0], device)
    a = to_device(A, device)
    for mode in (gg.jacrev, gg.jacfwd):
        near(mode(lambda b: gnp.linalg.solve(a, b))(b), np.linalg.inv(A))


def test_nothing_crosses_to_the_host(cuda, counters):
    """Forward and backward on CUDA wait for nothing."""
    a, b = cuda.asarray(A), cuda.asarray(B)

    def f(a: Any, b: Any) -> Any:
        half = gnp.linalg.cholesky(a @ a.mT)
        y = gnp.linalg.solve(a, b) + gsl.solve_triangular(half, b, lower=True)
        w, _ = gnp.linalg.eigh(a)
        q, r = gnp.linalg.qr(a)
        s = gnp.linalg.svdvals(a)
        rest = gnp.linalg.det(a) + gnp.linalg.slogdet(a)[1] + gnp.sum(s) + gnp.linalg.norm(r @ q)
        return gnp.sum(y) + gnp.sum(w) + rest + gnp.sum(gnp.linalg.inv(a))

    step = gg.grad(f, (0, 1))
    step(a, b)
    with counters() as r:
        step(a, b)
    assert r["d2h"] == 0


def test_gradients_of_a_gaussian_process(device):
    """The marginal likelihood by the Cholesky factor, by LU, and by the eigenvalues agree."""
    t = to_device(np.linspace(0, 1, 5), device)
    y = to_device(np.sin(np.linspace(0, 3, 5)), device)
    noise = to_device(0.1 * np.eye(5), device)

    def kernel(scale: Any) -> Any:
        return gnp.exp(-(((t[:, None] - t[None, :]) / scale) ** 2)) + noise

    def by_cholesky(scale: Any) -> Any:
        c = gsl.cho_factor(kernel(scale), lower=True)
        return y @ gsl.cho_solve(c, y) / 2 + gnp.sum(gnp.log(gnp.linalg.diagonal(c[0])))

    def by_lu(scale: Any) -> Any:
        k = kernel(scale)
        return y @ gnp.linalg.solve(k, y) / 2 + gnp.linalg.slogdet(k).logabsdet / 2

    def by_eigenvalues(scale: Any) -> Any:
        w, v = gnp.linalg.eigh(kernel(scale))
        return gnp.sum((v.mT @ y) ** 2 / w) / 2 + gnp.sum(gnp.log(w)) / 2

    scale = to_device(np.array(0.4), device)
    want = [host(d(by_cholesky)(scale)) for d in (gg.grad, gg.hessian)]
    for f in (by_lu, by_eigenvalues):
        for d, w in zip((gg.grad, gg.hessian), want, strict=True):
            near(d(f)(scale), w, rtol=1e-8)


@pytest.mark.parametrize("dtype", ["f", "d", "F", "D"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_the_inverse_of_a_large_matrix(device, dtype, order):
    n = solve_module._MANY
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, n)) + 8 * np.eye(n) + 1j * rng.standard_normal((n, n))
    x = np.asarray((x if dtype in "FD" else x.real).astype(dtype), order=order)
    given = to_device(x.copy(order=order), device)
    y = gnp.linalg.inv(given)
    assert y.dtype == x.dtype
    near(host(y) @ x, np.eye(n), atol=1e-5 if dtype in "fF" else 1e-12)
    near(given, x)


def test_a_large_singular_matrix_has_no_inverse():
    with pytest.raises(np.linalg.LinAlgError, match="ingular"):
        gnp.linalg.inv(np.zeros((solve_module._MANY, solve_module._MANY)))


@pytest.mark.parametrize("order", [-1, -2, -0.5])
def test_an_element_of_0_makes_a_norm_of_negative_order_0(order, device):
    """Also for the others: it stays 0 as they move."""
    x = to_device(np.array([0.0, 1.0, 2.0]), device)
    with np.errstate(divide="ignore"):
        assert float(gnp.linalg.norm(x, order)) == 0
        near(gg.grad(lambda x: gnp.linalg.norm(x, order))(x), np.zeros(3))


@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
def test_norms_and_conditions_of_nothing(shape, device):
    x = to_device(np.zeros(shape), device)
    for order in ("fro", "nuc", 1, 2, np.inf):
        assert float(gnp.linalg.norm(x, order)) == 0
        assert gg.grad(lambda x, order=order: gnp.linalg.norm(x, order))(x).shape == shape
    for order in (None, 0, 1, 2, 3, np.inf):
        assert float(gnp.linalg.norm(x.ravel(), order)) == 0
    assert gnp.linalg.cond(to_device(np.zeros((0, 2, 2)), device)).shape == (0,)
