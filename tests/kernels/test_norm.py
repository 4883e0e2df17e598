"""Normalisation, forward and backward, against NumPy in float64."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from gpugrad.kernels import norm

from gpugrad.device import CPU, to_device

EPS = {"float16": 2**-11, "bfloat16": 2**-8, "float32": 2**-23, "float64": 2**-52}


def dtype_of(name):
    return np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)


def host(a):
    return np.asarray(to_device(a, CPU))


def wide(a):
    return host(a).astype(np.longdouble)


def make(seed, shape, dtype, device, shift=0.0):
    x = np.random.default_rng(seed).standard_normal(shape) + shift
    return to_device(x.astype(dtype_of(dtype)), device)


def close(got, want, dtype, scale=0.0):
    """Within two units in the last place of the result and of the terms that it is a sum of."""
    assert host(got).dtype == dtype_of(dtype)
    eps = EPS[dtype]
    tiny = 1e-8 if eps > 1e-4 else 1e-37  # of numbers with fewer digits
    ulps = 4 if dtype == "float64" else 2  # whose sums are kept in no wider type
    away, most = abs(wide(got) - want), ulps * (eps * abs(want) + min(eps, 2**-23) * scale) + tiny
    assert (away <= most).all(), (away / most).max()


class Reference:
    """Values and cotangents, and of each the size of the terms that it is a sum of (``*_terms``).

    The mean is a term of ``x - mean``: its error is one of every element.
    """

    def __init__(self, x, axes, w, b, eps, center=True):
        self.axes, self.w, self.center = axes, w, center
        self.mean = x.mean(axes, keepdims=True) * center
        self.variance = ((x - self.mean) ** 2).mean(axes, keepdims=True)
        self.rstd = 1 / np.sqrt(self.variance + eps)
        self.hat = (x - self.mean) * self.rstd
        self.mean_terms = abs(x).mean(axes, keepdims=True) * center
        self.hat_terms = abs(self.hat) + self.mean_terms * self.rstd
        self.y, self.y_terms = self.hat * w + b, self.hat_terms * abs(w) + abs(b)
        self.variance_terms = ((abs(x) + abs(self.mean)) ** 2).mean(axes, keepdims=True)

    def pull(self, g, over):
        h, hat = g * self.w, self.hat
        down, with_hat = (a.mean(self.axes, keepdims=True) for a in (h, h * hat))
        self.dx = self.rstd * (h - down * self.center - hat * with_hat)
        each = abs(h).mean(self.axes, keepdims=True)
        both = (abs(h) * self.hat_terms).mean(self.axes, keepdims=True)
        self.dx_terms = self.rstd * (abs(h) + each + self.hat_terms * both)
        self.dw, self.db = (g * hat).sum(over), g.sum(over)
        self.dw_terms, self.db_terms = (abs(g) * self.hat_terms).sum(over), abs(g).sum(over)
        return self


ROWS = [(1, 1), (7, 3), (5, 64), (70, 33), (130, 256), (9, 2048), (3, 5000), (2, 8192), (3, 9001)]
POINTS = [(s, "float32") for s in ROWS]
POINTS += [(s, d) for s in [(70, 33), (9, 2048)] for d in ("float16", "bfloat16", "float64")]
POINTS += [((2, 20000), "float32")]


@pytest.mark.parametrize("center", [True, False], ids=["layer", "rms"])
@pytest.mark.parametrize(("shape", "dtype"), POINTS, ids=str)
def test_rows(device, shape, dtype, center):
    x, g = make(0, shape, dtype, device, 0.5), make(1, shape, dtype, device)
    w, b = make(2, shape[1], dtype, device, 1), make(3, shape[1], dtype, device)
    want = Reference(wide(x), 1, wide(w), wide(b), 1e-5, center).pull(wide(g), 0)
    found = norm.norm_rows(x, w, b, center=center)
    close(found.y, want.y, dtype, want.y_terms)
    stats = "float64" if dtype == "float64" else "float32"
    close(found.rstd, want.rstd[:, 0], stats)
    if center:
        close(found.mean, want.mean[:, 0], stats, want.mean_terms[:, 0])
    else:
        assert found.mean is None
    got = norm.norm_rows_backward(g, x, w, found.mean, found.rstd)
    close(got[0], want.dx, dtype, want.dx_terms)
    close(got[1], want.dw, dtype, want.dw_terms)
    close(got[2], want.db, dtype, want.db_terms)
    alone = norm.norm_rows_backward(g, x, w, found.mean, found.rstd, params=False)
    assert alone[1:] == (None, None)
    assert host(alone[0]).tobytes() == host(got[0]).tobytes()
    again = norm.norm_rows_backward(g, x, w, found.mean, found.rstd)
    assert all(host(a).tobytes() == host(b).tobytes() for a, b in zip(got, again))


def test_rows_without_parameters(device, xp):
    x, g = make(4, (6, 40), "float32", device), make(5, (6, 40), "float32", device)
    want = Reference(wide(x), 1, 1, 0, 1e-3).pull(wide(g), 0)
    found = norm.norm_rows(x, eps=1e-3)
    close(found.y, want.y, "float32", want.y_terms)
    dx, _, _ = norm.norm_rows_backward(g, x, None, found.mean, found.rstd, params=False)
    close(dx, want.dx, "float32", want.dx_terms)
    w = make(6, 40, "float32", device)
    a = wide(w)
    close(norm.norm_rows(x, w, eps=1e-3).y, want.y * a, "float32", want.y_terms * abs(a))
    close(norm.norm_rows(x, None, w, eps=1e-3).y, want.y + a, "float32", want.y_terms + abs(a))


@pytest.mark.parametrize("cols", [100, 3000, 9004])
def test_a_large_mean_cancels_nothing(device, cols):
    x = make(7, (3, cols), "float32", device, 1000)
    y = Reference(wide(x), 1, 1, 0, 1e-5).y
    np.testing.assert_allclose(wide(norm.norm_rows(x).y), y, atol=2e-3)
    each = host(x)[:, None, :].copy()
    for seen in (each, each.reshape(1, 3, cols)):
        on = to_device(seen, device)
        want = Reference(seen.astype("f8"), (0, 2), 1, 0, 1e-5).y
        np.testing.assert_allclose(wide(norm.batch_norm(on).y), want, atol=2e-3)


def test_special_values(device, xp):
    x = xp.array([[1, np.nan, 3, 4], [np.inf, 1, 2, 3], [1e30, 2e30, 0, 0], [5, 5, 5, 5]], "f4")
    y = host(norm.norm_rows(x).y)
    assert np.isnan(y[:2]).all()
    assert (y[2] == 0).all() or np.isnan(y[2]).all()  # the squares overflow
    assert (y[3] == 0).all()


def test_unaligned_and_strided(device, xp):
    base = make(8, 5000, "float32", device)
    w = base[3:67]
    for x in (
        base[1:641].reshape(10, 64),
        base[:640].reshape(64, 10).T,
        base[:1280].reshape(10, 128)[:, ::2],
    ):
        want = Reference(wide(x), 1, wide(w), wide(w), 1e-5).pull(wide(x), 0)
        found = norm.norm_rows(x, w, w)
        close(found.y, want.y, "float32", want.y_terms)
        dx, dw, _ = norm.norm_rows_backward(x, x, w, found.mean, found.rstd)
        close(dx, want.dx, "float32", want.dx_terms)
        close(dw, want.dw, "float32", want.dw_terms)


GROUPS = [
    ((2, 6, 5), 3),
    ((3, 8, 1), 2),
    ((2, 32, 196), 4),
    ((1, 4, 9001), 2),
    ((2, 2100, 3), 2),
    ((40, 4, 64), 4),
    ((2, 64, 400), 2),
]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize(("shape", "groups"), GROUPS, ids=str)
def test_groups(device, shape, groups, dtype):
    x, g = make(9, shape, dtype, device, 0.5), make(10, shape, dtype, device)
    w, b = make(11, shape[1], dtype, device, 1), make(12, shape[1], dtype, device)
    n, c, s = shape
    split = (n, groups, c // groups, s)
    each = [wide(p).reshape(1, groups, -1, 1) for p in (w, b)]
    want = Reference(wide(x).reshape(split), (2, 3), *each, 1e-5).pull(
        wide(g).reshape(split), (0, 3)
    )
    found = norm.group_norm(x, groups, w, b)
    close(found.y, want.y.reshape(shape), dtype, want.y_terms.reshape(shape))
    close(found.rstd, want.rstd.ravel(), "float64" if dtype == "float64" else "float32")
    dx, dw, db = norm.group_norm_backward(g, x, groups, w, found.mean, found.rstd)
    close(dx, want.dx.reshape(shape), dtype, want.dx_terms.reshape(shape))
    close(dw, want.dw.ravel(), dtype, want.dw_terms.ravel())
    close(db, want.db.ravel(), dtype, want.db_terms.ravel())
    alone = norm.group_norm_backward(g, x, groups, w, found.mean, found.rstd, params=False)
    assert host(alone[0]).tobytes() == host(dx).tobytes()


CHANNELS = [
    (5, 3, 1),
    (300, 70, 1),
    (2, 5, 7),
    (4, 3, 196),
    (1, 2, 40000),
    (70, 2, 256),
    (3, 1, 30001),
    (1, 1, 1),
    (9000, 2, 3),
]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("shape", CHANNELS, ids=str)
def test_channels(device, shape, dtype):
    x, g = make(13, shape, dtype, device, 0.5), make(14, shape, dtype, device)
    w, b = make(15, shape[1], dtype, device, 1), make(16, shape[1], dtype, device)
    each = [wide(p)[:, None] for p in (w, b)]
    want = Reference(wide(x), (0, 2), *each, 1e-5).pull(wide(g), (0, 2))
    found = norm.batch_norm(x, w, b)
    close(found.y, want.y, dtype, want.y_terms)
    stats = "float64" if dtype == "float64" else "float32"
    close(found.mean, want.mean.ravel(), stats, want.mean_terms.ravel())
    close(found.variance, want.variance.ravel(), stats, want.variance_terms.ravel())
    dx, dw, db = norm.batch_norm_backward(g, x, w, found.mean, found.rstd)
    close(dx, want.dx, dtype, want.dx_terms)
    close(dw, want.dw, dtype, want.dw_terms)
    close(db, want.db, dtype, want.db_terms)
    again = norm.batch_norm_backward(g, x, w, found.mean, found.rstd)
    assert all(host(a).tobytes() == host(b).tobytes() for a, b in zip((dx, dw, db), again))


def test_nothing(device, xp):
    for shape in ((0, 4), (3, 0)):
        x = xp.zeros(shape, "f4")
        found = norm.norm_rows(x)
        assert found.y.shape == shape
        dx, dw, _ = norm.norm_rows_backward(x, x, None, found.mean, found.rstd)
        assert (dx.shape, dw.tolist()) == (shape, [0] * shape[1])
    x = xp.zeros((0, 4, 3), "f4")
    found = norm.group_norm(x, 2)
    assert norm.group_norm_backward(x, x, 2, None, found.mean, found.rstd)[0].shape == x.shape
    found = norm.batch_norm(x)
    assert np.isnan(host(found.mean)).all()
    assert norm.batch_norm_backward(x, x, None, found.mean, found.rstd)[1].tolist() == [0] * 4


def test_what_does_not_fit_is_refused(device, xp):
    x = xp.zeros((2, 4), "f4")
    with pytest.raises(ValueError, match="arrays of 2 axes"):
        norm.norm_rows(xp.zeros((2, 3, 4), "f4"))
    with pytest.raises(ValueError, match=r"weight .* expected float32\(4,\)"):
        norm.norm_rows(x, xp.zeros(3, "f4"))
    with pytest.raises(ValueError, match=r"bias .* expected float32\(4,\)"):
        norm.norm_rows(x, None, xp.zeros(4))
    with pytest.raises(TypeError, match="not int32"):
        norm.batch_norm(xp.zeros((2, 3, 4), "i4"))
    with pytest.raises(ValueError, match="3 even groups"):
        norm.group_norm(xp.zeros((2, 4, 1), "f4"), 3)
    with pytest.raises(ValueError, match=r"cotangent float64.* does not fit"):
        norm.norm_rows_backward(xp.zeros((2, 4)), x, None, None, xp.zeros(2, "f4"))


def test_launches(counters, cuda):
    x, w = cuda.ones((64, 256), "f4"), cuda.ones(256, "f4")
    c = x.reshape(8, 8, 256)

    def rows():
        found = norm.norm_rows(x, w, w)
        norm.norm_rows_backward(x, x, w, found.mean, found.rstd)

    def channels():
        found = norm.batch_norm(c)
        norm.batch_norm_backward(c, c, None, found.mean, found.rstd)

    for run, launches in ((rows, 3), (channels, 4)):
        run()
        with counters() as r:
            run()
        assert (r["launches"], r["h2d"], r["d2h"], r["syncs"]) == (launches, 0, 0, 0)


def test_on_several_threads(monkeypatch):
    from gpugrad.kernels.cpu import threads

    x, c = make(17, (300, 64), "float32", CPU), make(18, (9, 30, 20), "float32", CPU)

    def run():
        a = norm.norm_rows(x)
        b = norm.batch_norm(c)
        return [
            *[a.y, *norm.norm_rows_backward(x, x, None, a.mean, a.rstd)],
            *[b.y, *norm.batch_norm_backward(c, c, None, b.mean, b.rstd)],
        ]

    alone = run()
    monkeypatch.setattr(threads, "THREADS", 3)
    monkeypatch.setattr(threads, "GRAIN", 100)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(alone, run()))
