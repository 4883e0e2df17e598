"""add_rows on both devices against a plain loop."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from gpugrad.kernels import scatter

import gpugrad as gg
from gpugrad.device import to_device

DTYPES = ["float16", "bfloat16", "float32", "float64", "complex64", "complex128", "int32"]


def random(rng, shape, dtype):
    if dtype == "bfloat16":
        return rng.standard_normal(shape).astype(ml_dtypes.bfloat16)
    dtype = np.dtype(dtype)
    if dtype.kind == "i":
        return rng.integers(-9, 9, shape).astype(dtype)
    x = rng.standard_normal(shape)
    return (x + 1j * rng.standard_normal(shape) if dtype.kind == "c" else x).astype(dtype)


WIDE = {"float16": "f4", "bfloat16": "f4", "float32": "f8", "complex64": "c16"}


def reference(out, rows, values):
    wide = WIDE.get(out.dtype.name, out.dtype)
    sums = out.astype(wide)
    for i, row in enumerate(rows):
        sums[row] = sums[row] + values[i].astype(wide)
    return sums.astype(out.dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("n", "r", "c"), [(1, 1, 1), (40, 7, 1), (40, 7, 3), (40, 5, 16), (700, 5, 128)]
)
def test_bit_for_bit_as_a_loop(device, dtype, n, r, c):
    rng = np.random.default_rng(0)
    out, values = random(rng, (r, c), dtype), random(rng, (n, c), dtype)
    rows = rng.integers(0, r, n)
    want = reference(out, rows, values)
    got = to_device(out.copy(), device)
    scatter.add_rows(got, to_device(rows, device), to_device(values, device))
    np.testing.assert_array_equal(to_device(got, gg.device("cpu")), want)


@pytest.mark.parametrize("index", ["int8", "uint16", "int32", "uint32", "uint64"])
def test_index_dtypes(device, xp, index):
    out = xp.zeros((3, 2), "f4")
    scatter.add_rows(out, xp.array([2, 0, 2], index), xp.ones((3, 2), "f4"))
    assert out.tolist() == [[1, 1], [0, 0], [2, 2]]


def test_unaligned_and_strided_values(device, xp):
    buffer = xp.arange(17, dtype="f4")
    out = xp.zeros((2, 4), "f4")
    scatter.add_rows(out, xp.array([1, 1, 0, 1]), buffer[1:].reshape(4, 4))
    assert out.tolist() == [[9, 10, 11, 12], [19, 22, 25, 28]]
    scatter.add_rows(out, xp.array([0, 0]), xp.ones((4, 2), "f4").T)
    assert out[0].tolist() == [11, 12, 13, 14]


def test_narrow_elements_are_summed_in_float32(device, xp):
    # In float16 2048 + 1 is 2048: a sum in it would stay there.
    out = xp.full((1, 8), 2048, "f2")
    scatter.add_rows(out, xp.zeros(64, "i8"), xp.ones((64, 8), "f2"))
    assert out.tolist() == [[2112] * 8]


@pytest.mark.parametrize("columns", [1, 2, 8, 1200])
def test_runs_over_several_blocks(cuda, columns):
    rng = np.random.default_rng(1)
    out, values = random(rng, (30, columns), "float32"), random(rng, (5000, columns), "float32")
    rows = np.where(rng.random(5000) < 0.5, 7, rng.integers(0, 30, 5000))
    got = cuda.asarray(out)
    scatter.add_rows(got, cuda.asarray(rows), cuda.asarray(values))
    np.testing.assert_array_equal(got.get(), reference(out, rows, values))


def test_rows_out_of_range(device, xp):
    buffer = xp.zeros((6, 2))
    out, rows = buffer[2:4], xp.array([1, 2, -1])
    if device.kind == "cpu":
        with pytest.raises(IndexError, match="row -1 of an array with 2 rows"):
            scatter.add_rows(out, rows, xp.ones((3, 2)))
    else:
        scatter.add_rows(out, rows, xp.ones((3, 2)))
        assert out.tolist() == [[0, 0], [1, 1]]
        assert buffer.sum() == 2  # nothing was written beside it


def test_nothing_to_add(device, xp):
    out = xp.ones((2, 3))
    scatter.add_rows(out, xp.zeros(0, "i8"), xp.ones((0, 3)))
    assert out.tolist() == [[1] * 3] * 2


def test_what_does_not_fit_is_refused(device, xp):
    with pytest.raises(ValueError, match="do not fit out"):
        scatter.add_rows(xp.zeros((2, 3)), xp.zeros(2, "i8"), xp.ones((2, 4)))
    with pytest.raises(ValueError, match="do not fit out"):
        scatter.add_rows(xp.zeros((2, 3)), xp.zeros(2, "i8"), xp.ones((2, 3), "f4"))
    with pytest.raises(ValueError, match="C-contiguous"):
        scatter.add_rows(xp.zeros((3, 2)).T, xp.zeros(2, "i8"), xp.ones((2, 3)))


def test_no_wait_and_no_copy(counters, cuda):
    out, rows, values = cuda.zeros((50, 8), "f4"), cuda.arange(99) % 50, cuda.ones((99, 8), "f4")
    scatter.add_rows(out, rows, values)  # compiles
    with counters() as r:
        scatter.add_rows(out, rows, values)
    assert (r["d2h"], r["h2d"], r["syncs"]) == (0, 0, 0)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize(
    "key",
    [
        np.array([2, 0, 2, -1]),
        (np.array([[0, 1], [1, 1]]), np.array([2, 2])),
        (slice(None), np.array([1, 1, 0])),
        np.array([True, False, True, True]),
        (None, np.array([0, 0]), slice(0, 2)),
        (1, slice(None)),
    ],
    ids=["rows", "pairs", "columns", "mask", "new axis", "basic"],
)
def test_gradient_of_indexing(device, xp, dtype, key):
    rng = np.random.default_rng(2)
    x = random(rng, (4, 3), dtype)
    w = random(rng, x[key].shape, dtype)
    want = np.zeros_like(x)
    np.add.at(want, key, w)

    def move(a):
        return to_device(a, device) if isinstance(a, np.ndarray) else a

    on = tuple([move(k) for k in key]) if isinstance(key, tuple) else move(key)
    _, pull = gg.vjp(lambda x: x[on], move(x))
    (g,) = pull(move(w))
    assert g.dtype == dtype
    np.testing.assert_allclose(to_device(g, gg.device("cpu")), want, rtol=1e-5)


def test_indices_out_of_range_on_cuda_wrap_as_in_cupy(cuda):
    x, at = cuda.arange(4.0), cuda.array([5, -1, 5])
    _, pull = gg.vjp(lambda x: x[at], x)
    assert pull(cuda.ones(3))[0].tolist() == [0, 2, 0, 1]


@pytest.mark.parametrize("index", ["int8", "uint8"])
def test_indices_narrower_than_the_array_is_long(device, xp, index):
    at = xp.array([-1, 5] if index == "int8" else [200, 5], index)
    g = gg.grad(lambda x: x[at].sum())(xp.zeros((300, 2)))
    assert g.sum(1).nonzero()[0].tolist() == ([5, 299] if index == "int8" else [5, 200])
