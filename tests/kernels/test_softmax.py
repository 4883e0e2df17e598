"""Softmax and cross-entropy of rows against NumPy in float64, and PyTorch's options."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from gpugrad.kernels import softmax as module
from gpugrad.kernels import source
from gpugrad.kernels.softmax import (
    cross_entropy,
    cross_entropy_backward,
    softmax,
    softmax_backward,
)

from gpugrad.device import CPU, to_device

EPS = {"float16": 2**-11, "bfloat16": 2**-8, "float32": 2**-23, "float64": 2**-52}
SHAPES = [(1, 1), (3, 10), (5, 64), (2, 1000), (40, 33), (3, 5000), (2, 20000), (2, 17001)]
POINTS = [(s, "float32") for s in SHAPES]
POINTS += [(s, d) for s in [(3, 10), (2, 5000)] for d in ("float16", "bfloat16", "float64")]
each_point = pytest.mark.parametrize(("shape", "dtype"), POINTS, ids=str)


def dtype_of(name):
    return np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)


def host(a):
    return np.asarray(to_device(a, CPU))


def wide(a):
    return host(a).astype(np.float64)


def make(seed, shape, dtype, device, scale=2.0):
    x = np.random.default_rng(seed).standard_normal(shape) * scale
    return to_device(x.astype(dtype_of(dtype)), device)


def reference(x, log=False):
    with np.errstate(all="ignore"):
        e = x - x.max(1, keepdims=True)
        total = np.exp(e).sum(1, keepdims=True)
        return e - np.log(total) if log else np.exp(e) / total


def close(got, want, dtype, scale=0.0):
    """Within two units in the last place of the result and of the terms that it is a sum of."""
    assert host(got).dtype == dtype_of(dtype)
    eps = EPS[dtype]
    tiny = 1e-37 if dtype in ("float32", "float64") else 1e-7  # of numbers with fewer digits
    away, most = abs(wide(got) - want), 2 * (eps * abs(want) + min(eps, 2**-23) * scale) + tiny
    same = (away <= most) | (np.isnan(want) & np.isnan(wide(got))) | (want == wide(got))
    assert same.all(), np.nanmax(away / most)


def exponent(x):
    """How far below the row's largest: the rounding of that is an error of its exponential."""
    return x.max(1, keepdims=True) - x


@each_point
def test_forward(device, dtype, shape):
    x = make(0, shape, dtype, device)
    want, far = reference(wide(x)), exponent(wide(x))
    close(softmax(x), want, dtype, want * far)
    y = softmax(x, log=True)
    close(y, reference(wide(x), log=True), dtype, far + np.log(shape[1]))
    assert host(y).tobytes() == host(softmax(x, log=True)).tobytes()


@each_point
def test_backward(device, dtype, shape):
    g, x = make(1, shape, dtype, device), make(2, shape, dtype, device)
    y = softmax(x)
    a, b = wide(g), wide(y)
    terms = b * (abs(a) + abs(a * b).sum(1, keepdims=True))
    close(softmax_backward(g, y), b * (a - (a * b).sum(1, keepdims=True)), dtype, terms)
    y = softmax(x, log=True)
    b = wide(y)
    want = a - np.exp(b) * a.sum(1, keepdims=True)
    terms = np.exp(b) * (1 + abs(b)) * abs(a).sum(1, keepdims=True)
    close(softmax_backward(g, y, log=True), want, dtype, abs(a) + terms)


SPECIAL = np.array(
    [
        [1e30, -1e30, 0.0, 5.0],
        [np.inf, 0.0, 1.0, 2.0],
        [-np.inf, 0.0, 1.0, 2.0],
        [np.nan, 0.0, 1.0, 2.0],
        [-np.inf] * 4,
        [0.0, 1.0, -np.nan, np.inf],
        [-3e38, -3.2e38, -3.3e38, -3.4e38],
        [0.0, -0.0, 0.0, -0.0],
    ],
    np.float32,
)


@pytest.mark.parametrize("repeat", [1, 3, 1025, 5000])
def test_special_values(device, xp, repeat):
    x = np.tile(SPECIAL, (1, repeat))
    got = to_device(x, device)
    for log in (False, True):
        want = reference(x.astype(np.float64), log)
        y = host(softmax(got, log=log))
        np.testing.assert_allclose(y, want, rtol=1e-6, atol=1e-30)
    labels = xp.zeros(len(x), "i8") + 2
    with np.errstate(all="ignore"):
        found = host(cross_entropy(got, labels, reduction="none").loss)
        np.testing.assert_allclose(found, -reference(x.astype("f8"), True)[:, 2], rtol=1e-6)


def test_unaligned_rows_and_strides(device, xp):
    base = make(3, 4 * 1001 + 7, "float32", device)
    for x in (
        base[1:4001].reshape(4, 1000),
        base[3:4003].reshape(1000, 4).T,
        base[: 4 * 1001].reshape(4, 1001)[:, ::7],
        xp.broadcast_to(base[:50], (3, 50)),
    ):
        a = wide(x)
        close(softmax(x), reference(a), "float32", reference(a) * exponent(a))
        total = (a * a).sum(1, keepdims=True)
        close(softmax_backward(x, x), a * (a - total), "float32", abs(a) * (abs(a) + total))


def test_nothing(device, xp):
    for shape in ((0, 5), (3, 0)):
        x = xp.zeros(shape, "f4")
        assert softmax(x).shape == softmax_backward(x, x).shape == shape
    none = xp.zeros((0, 5), "f4"), xp.zeros(0, "i8")
    assert np.isnan(host(cross_entropy(*none).loss))
    assert host(cross_entropy(*none, reduction="sum").loss) == 0
    assert cross_entropy(*none, reduction="none").loss.shape == (0,)


# ------------------------------------------------------------------------------ cross-entropy


def losses(x, labels, weight, ignore, smoothing):
    """Each row's loss, its weight in the mean, and the losses' slopes, in float64.

    And of the losses and of the slopes the size of what they are sums of.
    """
    classes = x.shape[1]
    logp = reference(x, log=True)
    w = np.ones(classes) if weight is None else weight
    keep = labels != ignore
    at = np.where(keep, labels, 0)
    target = (1 - smoothing) * (np.arange(classes) == at[:, None]) * w + smoothing / classes * w
    target *= keep[:, None]
    each = -(target * logp).sum(1)
    whole = target.sum(1, keepdims=True)
    slope = np.exp(logp) * whole - target
    lse = abs(x - logp)  # which is kept, rounded
    terms = (target * (abs(x) + lse)).sum(1)
    return each, w[at] * keep, slope, terms, np.exp(logp) * (1 + abs(logp) + lse) * whole + target


OPTIONS = [
    {},
    {"label_smoothing": 0.2},
    {"weight": True},
    {"weight": True, "label_smoothing": 0.3, "ignore_index": 1},
]


@each_point
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_cross_entropy(device, dtype, shape, options):
    rng = np.random.default_rng(4)
    x = make(5, shape, dtype, device)
    labels = rng.integers(0, shape[1], shape[0])
    if shape[1] > 2:
        labels[-1] = 1
    options = dict(options)
    weight = None
    if options.pop("weight", False):
        weight = to_device(rng.uniform(0.5, 2, shape[1]).astype(dtype_of(dtype)), device)
    w = None if weight is None else wide(weight)
    ignore, smooth = options.get("ignore_index", -100), options.get("label_smoothing", 0)
    each, parts, slope, terms, tall = losses(wide(x), labels, w, ignore, smooth)
    on = to_device(labels, device)
    g = make(6, shape[0], dtype, device)
    for reduction in ("none", "sum", "mean"):
        found = cross_entropy(x, on, weight, reduction=reduction, **options)
        with np.errstate(invalid="ignore"):
            want, scale = (
                {"none": e, "sum": e.sum(), "mean": e.sum() / parts.sum()}[reduction]
                for e in (each, terms)
            )
        close(found.loss, want, dtype, scale)
        lse = np.log(np.exp(wide(x)).sum(1))
        close(found.lse, lse, found.lse.dtype.name, abs(wide(x)).max(1) + abs(lse))
        up = g if reduction == "none" else g[0]
        args = (up, x, on, found.lse, weight, found.divisor)
        got = cross_entropy_backward(*args, **options)
        with np.errstate(invalid="ignore"):
            factor = 1 if reduction != "mean" else 1 / parts.sum()
            factor = wide(g)[:, None] if reduction == "none" else wide(g)[0] * factor
            close(got, slope * factor, dtype, tall * abs(factor))
        again = cross_entropy_backward(*args, **options)
        assert host(got).tobytes() == host(again).tobytes()


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_cross_entropy_as_torch(device, reduction, options):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(7)
    x, labels = rng.standard_normal((7, 5)), np.array([0, 1, 2, 3, 4, 1, 1])
    options = dict(options)
    weight = rng.uniform(0.5, 2, 5) if options.pop("weight", False) else None
    leaf = torch.tensor(x, requires_grad=True)
    w = None if weight is None else torch.tensor(weight)
    loss = torch.nn.functional.cross_entropy(
        leaf, torch.tensor(labels), w, reduction=reduction, **options
    )
    loss.sum().backward()
    on = [to_device(a, device) for a in (x, labels)]
    weight = None if weight is None else to_device(weight, device)
    found = cross_entropy(*on, weight, reduction=reduction, **options)
    np.testing.assert_allclose(host(found.loss), loss.detach().numpy(), rtol=1e-12)
    g = to_device(np.ones(7 if reduction == "none" else ()), device)
    dx = cross_entropy_backward(g, *on, found.lse, weight, found.divisor, **options)
    np.testing.assert_allclose(host(dx), leaf.grad.numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("index", ["int8", "uint8", "int32", "uint64"])
def test_label_dtypes(device, xp, index):
    x = xp.array([[0.0, 1.0, 2.0], [3.0, 1.0, 0.0]])
    labels = xp.array([2, 0], index)
    want = cross_entropy(x, xp.array([2, 0]))
    found = cross_entropy(x, labels)
    assert host(found.loss) == host(want.loss)
    one = x[0, 0] + 1
    a = cross_entropy_backward(one, x, labels, found.lse, None, found.divisor)
    b = cross_entropy_backward(one, x, xp.array([2, 0]), want.lse, None, want.divisor)
    np.testing.assert_array_equal(host(a), host(b))


def test_labels_out_of_range(device, xp):
    x, labels = xp.zeros((3, 4), "f4"), xp.array([0, 4, -1])
    if device.kind == "cpu":
        said = "the label 4 of sample 1 is out of range: allowed are 0 to 3"
        with pytest.raises(IndexError, match=said):
            cross_entropy(x, labels)
    else:
        found = host(cross_entropy(x, labels, reduction="none").loss)
        assert np.isnan(found).tolist() == [False, True, True]
    assert np.isfinite(host(cross_entropy(x[:1], labels[:1], ignore_index=-1).loss))


def test_all_rows_ignored(device, xp):
    found = cross_entropy(xp.zeros((2, 3)), xp.array([1, 1]), ignore_index=1)
    assert np.isnan(host(found.loss))
    found = cross_entropy(xp.zeros((2, 3)), xp.array([1, 1]), ignore_index=1, reduction="sum")
    assert host(found.loss) == 0
    assert (
        host(
            cross_entropy_backward(
                xp.ones(()), xp.full((2, 3), np.nan), xp.array([1, 1]), found.lse, ignore_index=1
            )
        ).tolist()
        == [[0] * 3] * 2
    )


def test_one_row_with_its_own_g(device, xp):
    x, labels = xp.zeros((1, 2)), xp.array([0])
    lse = cross_entropy(x, labels).lse
    for g in (xp.array([2.0]), xp.array(2.0)):
        assert host(cross_entropy_backward(g, x, labels, lse)).tolist() == [[-1, 1]]


def test_what_does_not_fit_is_refused(device, xp):
    x = xp.zeros((2, 3), "f4")
    with pytest.raises(ValueError, match="arrays of 2 axes"):
        softmax(xp.zeros(3, "f4"))
    with pytest.raises(TypeError, match="not int32"):
        softmax(xp.zeros((2, 3), "i4"))
    with pytest.raises(ValueError, match=r"g float64\(2, 3\) does not fit float32"):
        softmax_backward(xp.zeros((2, 3)), x)
    with pytest.raises(ValueError, match=r"labels are \(2,\) integers"):
        cross_entropy(x, xp.zeros(3, "i8"))
    with pytest.raises(ValueError, match=r"labels are \(2,\) integers"):
        cross_entropy(x, xp.zeros(2, "f4"))
    with pytest.raises(ValueError, match=r"weight .* expected float32\(3,\)"):
        cross_entropy(x, xp.zeros(2, "i8"), xp.zeros(2, "f4"))


def test_one_launch_each(counters, cuda):
    x, labels = cuda.ones((70, 1000), "f4"), cuda.zeros(70, "i8")
    g = cuda.ones((), "f4")

    def run():
        found = cross_entropy(x, labels, label_smoothing=0.1)
        dx = cross_entropy_backward(
            g, x, labels, found.lse, None, found.divisor, label_smoothing=0.1
        )
        return softmax_backward(dx, softmax(x))

    run()
    with counters() as r:
        run()
    assert (r["launches"], r["h2d"], r["d2h"], r["syncs"]) == (4, 0, 0, 0)


def test_more_rows_than_blocks(cuda, monkeypatch):
    monkeypatch.setattr(module, "resident", lambda block: 1)
    x = make(8, (300, 40), "float32", CPU)
    y = reference(wide(x))
    close(softmax(cuda.asarray(x)).get(), y, "float32", y * exponent(wide(x)))
    labels = np.arange(300) % 40
    found = cross_entropy(cuda.asarray(x), cuda.asarray(labels))
    each, _, slope, terms, tall = losses(wide(x), labels, None, -100, 0)
    close(found.loss.get(), each.mean(), "float32", terms.mean())
    args = (cuda.ones((), "f4"), cuda.asarray(x), cuda.asarray(labels), found.lse, None)
    close(cross_entropy_backward(*args, found.divisor).get(), slope / 300, "float32", tall / 300)


def test_rows_are_found_by_64_bits():
    code = source.text("softmax")
    assert code.count("const int64 row = base + rows.group;") == 4
    assert code.count("int64 c = rows.lane * V;") == code.count("c = rows.lane * V;") == 6


def test_on_several_threads(monkeypatch):
    from gpugrad.kernels.cpu import threads

    x = make(9, (200, 300), "float32", CPU)
    alone = softmax(x)
    monkeypatch.setattr(threads, "THREADS", 3)
    monkeypatch.setattr(threads, "GRAIN", 100)
    assert softmax(x).tobytes() == alone.tobytes()
