"""Rows by number and sums over segments against loops, JAX and PyTorch."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from gpugrad.kernels import segment
from gpugrad.kernels.cpu import threads

import gpugrad as gg
from gpugrad import nn
from gpugrad.device import CPU, to_device
from gpugrad.ops.segment import segment_max, segment_mean, segment_min, segment_sum

DTYPES = ("float16", "bfloat16", "float32", "float64", "complex64", "complex128", "int8", "int32")

EXACT = {"float16": 2e-3, "bfloat16": 2e-2, "float32": 1e-6, "complex64": 1e-6}


def draw(rng, shape, dtype):
    if dtype == "bfloat16":
        return rng.standard_normal(shape).astype(ml_dtypes.bfloat16)
    if np.dtype(dtype).kind == "i":
        return rng.integers(-3, 4, shape).astype(dtype)  # whose sums int8 holds
    x = rng.standard_normal(shape)
    return (x + 1j * rng.standard_normal(shape) if dtype[0] == "c" else x).astype(dtype)


def wide(a):
    return a.astype(complex if a.dtype.kind == "c" else float)


def looped(values, rows, count, op=np.add, start=0):
    out = np.full((count, *values.shape[1:]), start, wide(values).dtype)
    for row, value in zip(rows, wide(values), strict=True):
        if 0 <= row < count:
            out[row] = op(out[row], value)
    return out


@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("n", "count", "columns"), [(1, 1, ()), (40, 7, (3,)), (500, 3, (16,)), (90, 200, (2, 8))]
)
def test_total(device, dtype, n, count, columns, small, monkeypatch):
    monkeypatch.setattr(segment, "SMALL", 1 << 16 if small else 0)
    rng = np.random.default_rng(0)
    values, rows = draw(rng, (n, *columns), dtype), rng.integers(-1, count + 1, n)
    on, at = to_device(values, device), to_device(rows, device)
    got = to_device(segment.total(on, at, count), CPU)
    assert got.dtype == values.dtype
    want = looped(values, rows, count)
    exact = EXACT.get(dtype, 1e-13)
    np.testing.assert_allclose(wide(got), want, rtol=exact, atol=exact * 10)
    order = np.argsort(rows, kind="stable")
    sorted_on, grown = to_device(values[order], device), to_device(rows[order], device)
    again = segment.total(sorted_on, grown, count, ordered=True)
    np.testing.assert_array_equal(to_device(again, CPU), got)
    if dtype[0] != "c":
        least = -np.inf if np.dtype(values.dtype).kind in "fV" else np.iinfo(dtype).min
        got = to_device(segment.largest(on, at, count), CPU)
        assert got.dtype == values.dtype
        np.testing.assert_array_equal(wide(got), looped(values, rows, count, np.maximum, least))


@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize("dtype", [*DTYPES, "bool"])
@pytest.mark.parametrize("columns", [(), (3,), (2, 8)])
def test_take(device, dtype, columns, small, monkeypatch):
    monkeypatch.setattr(segment, "SMALL", 1 << 16 if small else 0)
    monkeypatch.setattr(threads, "GRAIN", 100)
    rng = np.random.default_rng(1)
    table = draw(rng, (7, *columns), "int8" if dtype == "bool" else dtype)
    if dtype == "bool":
        table = table > 0
    rows = rng.integers(-2, 9, 40)
    got = to_device(segment.take(to_device(table, device), to_device(rows, device)), CPU)
    assert got.dtype == table.dtype
    want = table[np.clip(rows, 0, 6)]
    want[(rows < 0) | (rows > 6)] = 0
    np.testing.assert_array_equal(got, want)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # NumPy's own, on the CPU
def test_nan_is_larger_than_all(device, xp):
    x = xp.asarray([1.0, xp.nan, 2.0, 3.0])
    got = segment.largest(x, xp.asarray([0, 0, 0, 1]), 2)
    assert xp.isnan(got).tolist() == [True, False]
    assert got[1] == 3


def test_narrow_elements_are_summed_in_float32(device, xp):
    # In float16 2048 + 1 is 2048: a sum in it would stay there.
    x = xp.ones((4096, 8), "f2")
    assert segment.total(x, xp.zeros(4096, "i8"), 1).tolist() == [[4096] * 8]


def test_nothing_to_add(device, xp):
    none = xp.zeros(0, "i8")
    assert segment.total(xp.ones((0, 3)), none, 2).tolist() == [[0] * 3] * 2
    assert (segment.largest(xp.ones((0, 3)), none, 2) == -xp.inf).all()
    assert segment.total(xp.ones((2, 3)), xp.zeros(2, "i8"), 0).shape == (0, 3)
    assert segment.total(xp.ones((2, 0)), xp.zeros(2, "i8"), 4).shape == (4, 0)
    assert segment.take(xp.ones((2, 3)), none).shape == (0, 3)


def test_unaligned_and_strided(device, xp):
    x = xp.arange(41, dtype="f4")[1:].reshape(10, 4)
    rows = xp.arange(20)[::2] % 3
    for values in (x, x.T.copy().T, x[:, ::2]):
        want = looped(to_device(values, CPU), to_device(rows, CPU), 3)
        assert segment.total(values, rows, 3).tolist() == want.tolist()
        taken = segment.take(values, rows)
        assert (taken == values[rows]).all()


def test_the_same_bits_for_any_number_of_threads(monkeypatch):
    rng = np.random.default_rng(2)
    values, rows = rng.standard_normal((4000, 128)).astype("f4"), rng.integers(0, 9, 4000)
    found = []
    for count in (1, 2, 3):
        monkeypatch.setattr(threads, "THREADS", count)
        found.append(segment.total(values, rows, 9))
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)


def test_the_same_bits_and_no_wait(cuda, counters):
    rng = np.random.default_rng(3)
    x = cuda.asarray(rng.standard_normal((3000, 8)).astype("f4"))
    rows, ordered = cuda.asarray(rng.integers(0, 5, 3000)), cuda.arange(3000) // 700
    for f, launches in (
        (lambda: segment.total(x, rows, 5), None),
        (lambda: segment.total(x, ordered, 5, ordered=True), 3),
        (lambda: segment.take(x, rows), 1),
    ):
        first = f()  # compiles
        with counters() as r:
            again = f()
        assert (r["d2h"], r["h2d"], r["syncs"]) == (0, 0, 0)
        assert launches in (None, r["launches"])
        assert (first == again).all()


# ------------------------------------------------------------------------------ gpugrad.ops, nn


@pytest.mark.parametrize("f", [segment_sum, segment_max, segment_min])
def test_against_jax(device, f):
    jax = pytest.importorskip("jax")
    rng = np.random.default_rng(4)
    x, ids = rng.standard_normal((20, 3)).astype("f4"), rng.integers(-1, 6, 20)
    want = getattr(jax.ops, f.__name__)(x, ids, 6)
    got = f(to_device(x, device), to_device(ids, device), 6)
    np.testing.assert_allclose(to_device(got, CPU), want, rtol=1e-6)


def test_the_number_of_segments_is_found(device, xp):
    x, ids = xp.arange(4.0), xp.asarray([0, 3, 1, 0])
    assert segment_sum(x, ids).tolist() == [3, 2, 0, 1]
    assert gg.grad(lambda x: (segment_sum(x, ids) ** 2).sum())(x).tolist() == [6, 2, 4, 6]
    assert segment_mean(xp.asarray([1, 2, 4]), xp.asarray([1, 0, 1])).tolist() == [2, 2.5]
    assert segment_sum(x[:0], ids[:0]).shape == (0,)
    with pytest.raises(ValueError, match="say num_segments"):
        gg.eval_shape(segment_sum, x, ids)


def test_ties_share_the_gradient(device, xp):
    x, ids = xp.asarray([1.0, 3.0, 3.0, 2.0]), xp.asarray([0, 0, 0, 2])
    g = gg.grad(lambda x: segment_max(x, ids, 4)[0] + segment_max(x, ids, 4)[2])(x)
    assert g.tolist() == [0, 0.5, 0.5, 1]


@pytest.mark.parametrize("padding", [None, 2, -1])
def test_embedding_against_pytorch(device, padding):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(5)
    w, ids = rng.standard_normal((7, 3)), rng.integers(0, 7, (4, 5))
    leaf = torch.tensor(w, requires_grad=True)
    want = torch.nn.functional.embedding(torch.tensor(ids), leaf, padding)
    g = rng.standard_normal(want.shape)
    want.backward(torch.tensor(g))
    on = to_device(ids, device)
    y, pull = gg.vjp(lambda w: nn.embedding(on, w, padding), to_device(w, device))
    np.testing.assert_array_equal(to_device(y, CPU), want.detach().numpy())
    (got,) = pull(to_device(g, device))
    np.testing.assert_allclose(to_device(got, CPU), leaf.grad.numpy(), rtol=1e-13, atol=1e-15)


def test_the_padding_has_no_tangent(device, xp):
    w, ids = xp.ones((3, 2)), xp.asarray([0, 2])
    _, t = gg.jvp(lambda w: nn.embedding(ids, w, 2), (w,), (w,))
    assert t.tolist() == [[1, 1], [0, 0]]


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: nn.embedding(np.array([0.0]), np.ones((2, 2))), TypeError, "got float64"),
        (lambda: nn.embedding(np.array([0]), np.ones(2)), ValueError, r"weight is \(V, D\)"),
        (lambda: nn.embedding(np.array([2]), np.ones((2, 2))), IndexError, "number 2 for a weight"),
        (lambda: nn.embedding(np.array([-1]), np.ones((2, 2))), IndexError, "number -1 for"),
        (lambda: nn.embedding(np.array([0]), np.ones((2, 2)), 2), ValueError, "padding_idx=2"),
        (lambda: segment_sum(np.ones(2), np.ones(2)), TypeError, "got float64"),
        (lambda: segment_sum(np.ones(2) > 0, np.array([0, 1])), TypeError, "got bool"),
        (lambda: segment_sum(np.ones(2), np.array([0])), ValueError, "number the rows"),
        (lambda: segment_sum(np.ones(1), np.array([0]), -1), ValueError, "negative, got -1"),
        (lambda: segment_max(np.ones(1) + 0j, np.array([0])), TypeError, "no order"),
        (lambda: segment_min(np.array([1]), np.array([0])), TypeError, "got int64"),
    ],
)
def test_what_does_not_fit_is_refused(call, error, match):
    with pytest.raises(error, match=match):
        call()
