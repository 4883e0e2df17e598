"""Pooling against PyTorch, and what the kernels promise besides."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from gpugrad.kernels import pool
from gpugrad.kernels.pool import Window

import gpugrad as gg
from gpugrad import nn
from gpugrad.device import CPU, to_device

# name, input's shape, arguments
CASES = {
    "max 2d": ("max_pool2d", (2, 3, 9, 8), {"kernel_size": 2}),
    "max 2d overlapping": ("max_pool2d", (2, 3, 9, 8), {"kernel_size": (3, 2), "stride": (2, 1)}),
    "max 2d padded": ("max_pool2d", (3, 9, 8), {"kernel_size": 3, "stride": 2, "padding": 1}),
    "max 2d ceil": ("max_pool2d", (3, 9, 8), {"kernel_size": 3, "stride": 4, "ceil_mode": True}),
    "max 2d ceil padded": (
        "max_pool2d",
        (3, 6, 7),
        {"kernel_size": 2, "stride": 3, "padding": 1, "ceil_mode": True},
    ),
    "max 2d dilated": ("max_pool2d", (3, 9, 8), {"kernel_size": 3, "dilation": (2, 3)}),
    "max 1d": ("max_pool1d", (2, 3, 9), {"kernel_size": 3, "stride": 2, "padding": 1}),
    "max 1d ceil": ("max_pool1d", (3, 10), {"kernel_size": 3, "ceil_mode": True}),
    "avg 2d": ("avg_pool2d", (2, 3, 9, 8), {"kernel_size": (2, 3)}),
    "avg 2d padded": ("avg_pool2d", (3, 9, 8), {"kernel_size": 3, "stride": 2, "padding": 1}),
    "avg 2d inside": (
        "avg_pool2d",
        (3, 9, 8),
        {"kernel_size": 3, "stride": 2, "padding": 1, "count_include_pad": False},
    ),
    "avg 2d ceil": (
        "avg_pool2d",
        (3, 9, 8),
        {"kernel_size": 3, "stride": 4, "padding": 1, "ceil_mode": True},
    ),
    "avg 2d divided": ("avg_pool2d", (3, 9, 8), {"kernel_size": 3, "divisor_override": -2}),
    "avg 1d": ("avg_pool1d", (2, 3, 9), {"kernel_size": 3, "stride": 2, "padding": 1}),
    "adaptive 2d": ("adaptive_avg_pool2d", (2, 3, 9, 8), {"output_size": (4, 3)}),
    "adaptive 2d more": ("adaptive_avg_pool2d", (3, 2, 3), {"output_size": (5, None)}),
    "adaptive 1d": ("adaptive_avg_pool1d", (2, 3, 9), {"output_size": 4}),
}


@pytest.mark.parametrize("name", CASES)
def test_against_pytorch(device, name):
    torch = pytest.importorskip("torch")
    plain, shape, params = CASES[name]
    rng = np.random.default_rng(0)
    x = rng.integers(-4, 4, shape).astype(float)  # with ties
    leaf = torch.tensor(x, requires_grad=True)
    want = getattr(torch.nn.functional, plain)(leaf, **params)
    g = rng.standard_normal(want.shape)
    want.backward(torch.tensor(g))
    y, pull = gg.vjp(lambda x: getattr(nn, plain)(x, **params), to_device(x, device))
    np.testing.assert_allclose(to_device(y, CPU), want.detach().numpy(), rtol=1e-14)
    (got,) = pull(to_device(g, device))
    np.testing.assert_allclose(to_device(got, CPU), leaf.grad.numpy(), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("axes", [1, 2])
def test_indices_are_pytorchs(device, axes):
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).integers(-4, 4, (2, 3, 9, 8)[: axes + 2]).astype(float)
    name = f"max_pool{axes}d"
    _, want = getattr(torch.nn.functional, name)(torch.tensor(x), 3, 2, 1, 1, False, True)
    _, got = getattr(nn, name)(to_device(x, device), 3, 2, 1, 1, False, True)
    assert got.dtype == np.int64
    np.testing.assert_array_equal(to_device(got, CPU), want.numpy())


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_narrow_elements(device, dtype):
    kind = ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
    rng = np.random.default_rng(1)
    x, g = (rng.standard_normal(s).astype(kind) for s in ((5, 7, 9), (5, 3, 4)))
    how = Window((3, 4), (3, 3), (2, 2))
    xd, gd = to_device(x, device), to_device(g, device)
    for f in (
        lambda x, g: pool.mean(x, how),
        lambda x, g: pool.spread(g, (7, 9), how),
        lambda x, g: pool.put(g, pool.largest(x, how)[1], (7, 9), how),
        lambda x, g: pool.largest(x, how)[0],
    ):
        got, want = to_device(f(xd, gd), CPU), f(x.astype(float), g.astype(float))
        assert str(got.dtype) == dtype
        exact = {"float16": 1e-3, "bfloat16": 8e-3, "float32": 1e-6}[dtype]
        np.testing.assert_allclose(got.astype(float), want, rtol=exact, atol=exact / 4)


def test_nan_is_larger_than_all(device, xp):
    x = xp.arange(16.0).reshape(1, 4, 4)
    x[0, 0, 1] = xp.nan
    y, places = pool.largest(x, Window((2, 2), (2, 2), (2, 2)))
    assert xp.isnan(y).tolist() == [[[True, False], [False, False]]]
    assert places.tolist() == [[[1, 7], [13, 15]]]


def test_nothing_to_pool(device, xp):
    for shape in ((0, 2, 4, 4), (0, 4, 4)):
        x = xp.ones(shape)
        assert nn.max_pool2d(x, 2).shape == (*shape[:-2], 2, 2)
        assert nn.avg_pool2d(x, 2).shape == (*shape[:-2], 2, 2)
        assert gg.grad(lambda x: nn.max_pool2d(x, 2).sum())(x).shape == shape
        assert gg.grad(lambda x: nn.avg_pool2d(x, 2).sum())(x).shape == shape


def test_strided_images(device, xp):
    x = xp.arange(2 * 5 * 6 * 3.0).reshape(5, 3, 6, 2).transpose(3, 1, 0, 2)[..., ::-1]
    how = Window((2, 3), (2, 2), (2, 2))
    for a, b in zip(pool.largest(x, how), pool.largest(x.copy(), how), strict=True):
        assert (a == b).all()
    assert (pool.mean(x, how) == pool.mean(x.copy(), how)).all()
    g = xp.broadcast_to(xp.ones((1, 1, 1)), (2, 3, 2, 3))
    assert (pool.spread(g, (5, 6), how) == pool.spread(g.copy(), (5, 6), how)).all()


TILED = {
    "many small": ((300, 7, 7), Window((3, 3), (3, 3), (2, 2))),
    "overlapping": ((2, 90, 140), Window((45, 70), (3, 3), (2, 2), (1, 1))),
    "dilated": ((3, 70, 60), Window((62, 24), (5, 4), (1, 2), (0, 0), (2, 5))),
    "one row": ((2, 1, 9000), Window((1, 2999), (1, 5), (1, 3), (0, 1))),
    "as wide as marks reach": ((2, 4, 32766), Window((2, 32764), (3, 3), (1, 1))),
    "wider": ((2, 4, 32767), Window((2, 32765), (3, 3), (1, 1))),
    "global": ((5, 80, 90), Window((1, 1), (80, 90), (80, 90))),
}


@pytest.mark.parametrize("name", TILED)
def test_how_the_result_is_cut_into_tiles_changes_no_bit(cuda, monkeypatch, name):
    shape, how = TILED[name]
    x = np.random.default_rng(2).standard_normal(shape).astype("f4")
    g = np.random.default_rng(3).standard_normal((shape[0], *how.out)).astype("f4")

    def run(x, g):
        y, places = pool.largest(x, how)
        back = pool.put(g, places, shape[1:], how)
        if how.dilation != (1, 1):
            return [y, places, back]
        return [y, places, back, pool.mean(x, how), pool.spread(g, shape[1:], how)]

    on_cpu, found, kept = run(x, g), [], []
    for room in (18432, 700, 0):
        monkeypatch.setattr(pool, "KEPT", room)
        found.append([a.get() for a in run(cuda.asarray(x), cuda.asarray(g))])
        kept.append(pool.tiling(how, shape[1:], shape[0], False, room // 4).keep)
    assert kept[1:] == [name != "global", False]
    for arrays in found[1:]:
        assert all(a.tobytes() == b.tobytes() for a, b in zip(found[0], arrays, strict=True))
    for a, b in zip(found[0], on_cpu, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("width", "keeps"), [(32766, True), (32767, False)])
def test_a_gradient_keeps_marks_of_two_bytes_where_they_reach(cuda, monkeypatch, width, keeps):
    kept = []

    def seen(name, expression):
        kept.append(expression)
        return function(name, expression)

    function = pool.function
    monkeypatch.setattr(pool, "function", seen)
    how = Window((2, width - 2), (3, 3), (1, 1))
    g, places = cuda.ones((1, *how.out), "f4"), cuda.full((1, *how.out), 65535, "i4")
    back = pool.put(g, places, (4, width), how)
    assert kept == [f"put<float, {str(keeps).lower()}>"]
    y, x = divmod(65535, width)
    seeing = sum(i <= y < i + 3 and j <= x < j + 3 for i in range(2) for j in range(width - 2))
    assert (float(back.sum()), float(back[0, y, x])) == (seeing, seeing)


@pytest.mark.parametrize("off", [-(1 << 16), 1 << 16, -(1 << 17)])
def test_a_gradient_to_places_outside_of_the_image_goes_nowhere(device, xp, off):
    x = xp.arange(2 * 200 * 300.0).reshape(2, 200, 300)
    how = Window((198, 298), (3, 3), (1, 1))
    y, places = pool.largest(x, how)
    far = (places + off < 0) | (places + off >= 200 * 300)
    back = pool.put(xp.ones_like(y), xp.where(far, places + off, -1), (200, 300), how)
    assert far.any()
    assert not back.any()


def test_adaptive_windows_in_tiles(cuda):
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(4).standard_normal((2, 150, 170))
    leaf = torch.tensor(x, requires_grad=True)
    want = torch.nn.functional.adaptive_avg_pool2d(leaf, (61, 70))
    g = np.random.default_rng(5).standard_normal(want.shape)
    want.backward(torch.tensor(g))
    how = Window((61, 70), adaptive=True)
    np.testing.assert_allclose(pool.mean(cuda.asarray(x), how).get(), want.detach(), rtol=1e-12)
    got = pool.spread(cuda.asarray(g), x.shape[1:], how).get()
    np.testing.assert_allclose(got, leaf.grad, rtol=1e-12, atol=1e-15)


def test_one_launch_the_same_bits_and_no_wait(cuda, counters):
    x = cuda.random.default_rng(0).standard_normal((3, 4, 12, 12)).astype("f4")
    g = cuda.random.default_rng(1).standard_normal((3, 4, 6, 6)).astype("f4")
    how = Window((6, 6), (3, 3), (2, 2), (1, 1))
    places = pool.largest(x, how)[1]
    for f in (
        lambda: pool.largest(x, how)[0],
        lambda: pool.put(g, places, (12, 12), how),
        lambda: pool.mean(x, how),
        lambda: pool.spread(g, (12, 12), how),
    ):
        first = f()  # compiles
        with counters() as r:
            again = f()
        assert (r["launches"], r["d2h"], r["h2d"], r["syncs"]) == (1, 0, 0, 0)
        assert (first == again).all()


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda x: nn.max_pool2d(x, 2, padding=2), ValueError, "more than half of the kernel"),
        (lambda x: nn.max_pool2d(x, 5), ValueError, r"larger than the image of \(4, 4\)"),
        (lambda x: nn.max_pool2d(x, 0), ValueError, "kernel_size must be at least 1"),
        (lambda x: nn.max_pool2d(x, 2, (1, 1, 1)), ValueError, "stride is one number or 2"),
        (lambda x: nn.max_pool2d(x[0, :2], 2), ValueError, "input is"),
        (lambda x: nn.max_pool2d(x > 0, 2), TypeError, "got bool"),
        (
            lambda x: nn.max_pool2d(x[:, :2, :2], 2, padding=1, dilation=3),
            ValueError,
            "has no element of the image",
        ),
        (lambda x: nn.avg_pool2d(x, 2, divisor_override=0), ValueError, "must not be 0"),
        (lambda x: nn.adaptive_avg_pool2d(x, (1, 2, 3)), ValueError, "one number or 2"),
        (lambda x: nn.adaptive_avg_pool2d(x, -1), ValueError, "windows of images"),
    ],
)
def test_what_does_not_fit_is_refused(call, error, match):
    with pytest.raises(error, match=match):
        call(np.ones((2, 4, 4)))


def test_images_too_large_for_their_places():
    x = np.broadcast_to(np.zeros(1, "f4"), (1 << 16, 1 << 15))
    with pytest.raises(ValueError, match="more places than int32 counts"):
        pool.largest(x, Window((1, 1)))
