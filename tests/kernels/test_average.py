"""Averaging of gradient lists and of per-sample gradients, against NumPy in float64."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from gpugrad.kernels.average import average, average_samples, bucket, find_norm

from gpugrad.device import CPU, to_device

DTYPES = ["float16", "bfloat16", "float32", "float64"]
SHAPES = [(5,), (), (0,), (4096,), (3, 1365), (130, 65), (1,)]


def dtype_of(name):
    return np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)


def host(a):
    return np.asarray(to_device(a, CPU))


def wide(a):
    return host(a).astype(np.float64)


def make(rng, shape, dtype, device):
    return to_device(rng.standard_normal(shape).astype(dtype_of(dtype)), device)


def tolerance(dtype):
    return {"float16": 2**-11, "bfloat16": 2**-8, "float32": 3e-7, "float64": 3e-16}[dtype]


def close(got, want, dtype, scale=1.0):
    assert host(got).dtype == dtype_of(dtype)
    eps = tolerance(dtype)
    np.testing.assert_allclose(wide(got), want, rtol=eps, atol=4 * min(eps, 3e-7) * scale)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [1, 3, 8])
def test_means_of_lists(device, dtype, count):
    rng = np.random.default_rng(0)
    lists = [[make(rng, s, dtype, device) for s in SHAPES] for _ in range(count)]
    out = average(lists)
    for t, shape in enumerate(SHAPES):
        assert out[t].shape == shape
        close(out[t], np.mean([wide(arrays[t]) for arrays in lists], 0), dtype, 3)
    again = average(lists)
    assert all(host(a).tobytes() == host(b).tobytes() for a, b in zip(out, again))


@pytest.mark.parametrize("dtype", DTYPES)
def test_add_unscale_and_summary(device, xp, dtype):
    rng = np.random.default_rng(1)
    lists = [[make(rng, s, dtype, device) for s in SHAPES] for _ in range(2)]
    out = [make(rng, s, dtype, device) for s in SHAPES]
    before = [wide(o) for o in out]
    summary = xp.full(2, 7, "f8" if dtype == "float64" else "f4")
    scale = to_device(np.array([4.0], summary.dtype), device)
    got = average(lists, out, add=True, unscale=scale, summary=summary)
    assert all(a is b for a, b in zip(got, out))
    for t, o in enumerate(out):
        want = before[t] + np.mean([wide(arrays[t]) for arrays in lists], 0) / 4
        close(o, want, dtype, 4)
    norm = np.sqrt(sum([np.sum(wide(o) ** 2) for o in out]))
    np.testing.assert_allclose(host(summary), [norm, 0], rtol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("at", [0, 4095, 4096, 8449])
def test_what_is_not_finite_is_seen(device, xp, value, at):
    x = xp.ones(8450, "f4")
    x[at] = value
    summary = xp.zeros(2, "f4")
    (out,) = average([[x], [xp.ones(8450, "f4")]], summary=summary)
    assert host(summary)[1] == 1
    np.testing.assert_array_equal(host(out), (host(x) + 1) / 2)
    average([[xp.ones(8450, "f4")]], summary=summary)
    assert host(summary)[1] == 0


def test_overflow_of_what_is_written_is_seen(device, xp):
    summary = xp.zeros(2, "f4")
    average([[xp.full(3, 60000, "f2")]], unscale=0.5, summary=summary)
    assert host(summary)[1] == 1


def test_huge_elements_are_finite(device, xp):
    summary = xp.zeros(2, "f4")
    (out,) = average([[xp.full(3, 1e30, "f4")]], summary=summary)
    assert host(summary)[1] == 0  # though the norm is not
    np.testing.assert_allclose(host(out), 1e30, rtol=1e-6)


def test_mixed_dtypes_and_views(device, xp):
    rng = np.random.default_rng(2)
    base = [make(rng, 9001, "float32", device) for _ in range(3)]
    square = [make(rng, (70, 70), "float32", device) for _ in range(3)]
    half = [make(rng, 4999, "float16", device) for _ in range(3)]
    lists = [[b[1:], s.T, h[3:], b[::2]] for b, s, h in zip(base, square, half)]
    summary = xp.zeros(2, "f4")
    target = xp.zeros((70, 140), "f4")
    out = [xp.zeros(9002, "f4")[2:], target[:, ::2], xp.zeros(4997, "f2")[1:], xp.zeros(4501, "f4")]
    average(lists, out, summary=summary)
    for t, dtype in enumerate(["float32", "float32", "float16", "float32"]):
        close(out[t], np.mean([wide(arrays[t]) for arrays in lists], 0), dtype, 3)
    assert host(target)[:, 1::2].max() == 0
    norm = np.sqrt(sum([np.sum(wide(o) ** 2) for o in out]))
    np.testing.assert_allclose(host(summary), [norm, 0], rtol=1e-6)


def test_out_may_be_one_of_the_lists(device, xp):
    a, b = [xp.full(5000, 1, "f4")], [xp.full(5000, 5, "f4")]
    average([a, b], a)
    assert host(a[0]).min() == host(a[0]).max() == 3


def test_nothing_at_all(device, xp):
    assert average([[], []]) == []
    summary = xp.ones(2, "f4")
    average([[xp.zeros((0, 3), "f4")]], summary=summary)
    assert host(summary).tolist() == [0, 0]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("limit", [None, 20.0])
def test_samples(device, dtype, limit):
    rng = np.random.default_rng(3)
    gradients = [make(rng, (6, *s), dtype, device) for s in SHAPES]
    out = average_samples(gradients, limit=limit)
    x = [wide(g) for g in gradients]
    norms = np.sqrt(sum([np.sum(g.reshape(6, -1) ** 2, 1) for g in x]))
    factor = np.ones(6) if limit is None else np.minimum(1, limit / (norms + 1e-6))
    for t, shape in enumerate(SHAPES):
        want = np.mean(x[t] * factor.reshape(6, *(1,) * len(shape)), 0)
        close(out[t], want, dtype, 3)


def test_only_long_samples_are_clipped(device, xp):
    g = xp.zeros((4, 3), "f4")
    g[0, 0], g[1, 1], g[2] = 30, 0.5, xp.nan
    (out,) = average_samples([g[:2]], limit=3)
    np.testing.assert_allclose(host(out), [1.5, 0.25, 0], rtol=1e-6)
    (out,) = average_samples([g], limit=3)
    assert np.isnan(host(out)).all()


def test_samples_added_with_a_summary(device, xp):
    out, summary = [xp.ones(2)], xp.zeros(2)
    average_samples([xp.array([[2.0, 4.0], [4.0, 8.0]])], out, add=True, unscale=3, summary=summary)
    np.testing.assert_allclose(host(out[0]), [2, 3])
    np.testing.assert_allclose(host(summary), [13**0.5, 0])


def test_a_bucket_packs_and_unpacks(device, xp):
    rng = np.random.default_rng(4)
    gradients = [make(rng, s, "float32", device) for s in SHAPES]
    flat, views = bucket(gradients)
    assert flat.size % 4 <= 1
    average([gradients], views)
    assert [host(v).tolist() for v in views] == [host(g).tolist() for g in gradients]
    flat *= 3  # three replicas' sum
    average([views], gradients, unscale=3)
    np.testing.assert_allclose(host(gradients[3]), host(views[3]) / 3, rtol=1e-6)


def test_what_does_not_fit_is_refused(device, xp):
    a, b = xp.zeros(3, "f4"), xp.zeros(4, "f4")
    with pytest.raises(ValueError, match=r"array 0 of list 1 is float32\(4,\)"):
        average([[a], [b]])
    with pytest.raises(ValueError, match="list 1 has 0 arrays"):
        average([[a], []])
    with pytest.raises(ValueError, match="no list"):
        average([])
    with pytest.raises(ValueError, match="add=True needs"):
        average([[a]], add=True)
    with pytest.raises(TypeError, match="not int32"):
        average([[a.astype("i4")]])
    with pytest.raises(ValueError, match="dtype of the sums, float32"):
        average([[a]], summary=xp.zeros(2))
    with pytest.raises(ValueError, match="first axis"):
        average_samples([xp.zeros((2, 3)), xp.zeros((3, 3))])
    with pytest.raises(TypeError, match="one dtype"):
        average_samples([xp.zeros((2, 3)), xp.zeros((2, 3), "f4")])
    with pytest.raises(TypeError, match="one dtype"):
        bucket([a, b.astype("f8")])


def test_one_launch_and_no_copy(counters, cuda):
    """The bytes are counted in test_bytes_of_training.py."""
    lists = [[cuda.ones(n, "f4") for n in (1 << 18, 5, 70000, 0)] for _ in range(4)]
    out = average(lists)  # compiles, makes the tables
    summary = cuda.zeros(2, "f4")
    for call in (
        lambda: average(lists, out, summary=summary),
        lambda: average(lists, out, add=True, unscale=summary[:1]),
        lambda: find_norm(out, summary),
    ):
        call()
        with counters() as r:
            call()
        assert (r["launches"], r["h2d"], r["d2h"]) == (1, 0, 0)


def test_more_lists_and_samples_than_shared_memory_holds(device, xp):
    """A block of CUDA's has room for the addresses of 6144 lists, or the factors of 12,288."""
    a = [xp.full(5, 2, "f4")]
    assert host(average([a] * 7001)[0]).tolist() == [2] * 5
    samples = xp.ones((13_000, 1), "f4")
    (out,) = average_samples([samples], limit=0.5)
    np.testing.assert_allclose(host(out), 0.5, rtol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_norm_only_reads(device, xp, dtype):
    rng = np.random.default_rng(6)
    arrays = [make(rng, s, dtype, device) for s in SHAPES]
    arrays.append(make(rng, (50, 90), dtype, device).T)
    before = [host(a).tobytes() for a in arrays]
    summary = xp.full(2, 7, "f8" if dtype == "float64" else "f4")
    find_norm(arrays, summary)
    want = np.sqrt(sum([np.sum(wide(a) ** 2) for a in arrays]))
    np.testing.assert_allclose(host(summary), [want, 0], rtol=1e-6)
    arrays[3][17] = xp.nan
    find_norm(arrays, summary)
    assert host(summary)[1] == 1
    arrays[3][17] = 1
    find_norm([a for a in arrays if a.size != 4096], summary)
    assert host(summary)[1] == 0
    assert [host(a).tobytes() for a in arrays[:3]] == before[:3]
    find_norm([], summary)
    assert host(summary).tolist() == [0, 0]


def test_the_norm_of_mixed_dtypes(device, xp):
    summary = xp.zeros(2, "f4")
    find_norm([xp.full(3, 2, "f4"), xp.full(4, 1, "f2")], summary)
    assert host(summary).tolist() == [4, 0]


def test_numbers_cost_no_launch(counters, cuda):
    a, out = [cuda.ones(5000, "f4")], [cuda.zeros(5000, "f4")]
    average([a], out)
    with counters() as r:
        average([a], out, unscale=np.float32(4))
    assert (r["launches"], r["h2d"], r["d2h"]) == (1, 0, 0)
    assert out[0].tolist() == [0.25] * 5000


def test_on_several_threads(monkeypatch):
    from gpugrad.kernels.cpu import threads

    rng = np.random.default_rng(5)
    lists = [[rng.standard_normal(n) for n in (100_000, 7, 50_000)] for _ in range(3)]
    alone = average(lists)
    monkeypatch.setattr(threads, "THREADS", 3)
    monkeypatch.setattr(threads, "GRAIN", 1000)
    for _ in range(5):
        together = average(lists)
        assert all(a.tobytes() == b.tobytes() for a, b in zip(alone, together))
