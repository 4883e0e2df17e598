"""Convolution and its gradients against sums of shifted images and against PyTorch."""

from __future__ import annotations

import itertools
import warnings

import ml_dtypes
import numpy as np
import pytest
from gpugrad.kernels import conv
from gpugrad.kernels.conv import Geometry
from gpugrad.kernels.cpu import threads

import gpugrad as gg
from gpugrad import nn
from gpugrad.device import CPU, to_device

WIDE = {"float16": 2e-2, "bfloat16": 1e-1, "float32": 1e-5, "float64": 1e-12}


def reference(x, w, how):
    """The convolution in float64, and the two gradients of its sum weighted with ``g``."""
    (top, bottom), (left, right) = how.padding
    n, c, height, width = x.shape
    padded = np.zeros((n, c, height + top + bottom, width + left + right))
    padded[:, :, top : top + height, left : left + width] = x
    out = how.outputs(x.shape[2:], w.shape[2:])
    y = np.zeros((n, len(w), *out))
    taps = list(itertools.product(*map(range, w.shape[2:])))
    many, wide = w.shape[1], len(w) // how.groups

    def places(i, j):
        return tuple(
            slice(a * d, a * d + (m - 1) * s + 1, s)
            for a, d, m, s in zip((i, j), how.dilation, out, how.stride)
        )

    def parts():
        for k in range(how.groups):
            for i, j in taps:
                yield slice(k * many, (k + 1) * many), slice(k * wide, (k + 1) * wide), i, j

    for a, b, i, j in parts():
        y[:, b] += np.einsum("nchw,oc->nohw", padded[:, a][(..., *places(i, j))], w[b, :, i, j])

    def gradients(g):
        spread, dw = np.zeros_like(padded), np.zeros(w.shape)
        for a, b, i, j in parts():
            at = places(i, j)
            spread[:, a][(..., *at)] += np.einsum("nohw,oc->nchw", g[:, b], w[b, :, i, j])
            dw[b, :, i, j] = np.einsum("nohw,nchw->oc", g[:, b], padded[:, a][(..., *at)])
        return spread[:, :, top : top + height, left : left + width], dw

    return y, gradients


SHAPES = {
    "plain": ((2, 3, 5, 7), (4, 3, 3, 3), Geometry()),
    "padded": ((3, 2, 4, 5), (3, 2, 3, 2), Geometry(padding=((1, 1), (0, 2)))),
    "one wide": ((1, 1, 1, 40), (1, 1, 1, 5), Geometry(padding=((0, 0), (4, 1)))),
    "strided": ((2, 2, 9, 11), (5, 2, 3, 4), Geometry((2, 3), ((1, 0), (2, 3)))),
    "stride beyond the kernel": ((2, 2, 8, 9), (3, 2, 1, 2), Geometry((3, 4))),
    "dilated": ((2, 3, 9, 8), (2, 3, 3, 2), Geometry((2, 1), ((2, 2), (1, 1)), (2, 3))),
    "in groups": ((2, 6, 6, 5), (9, 2, 2, 2), Geometry((1, 2), ((0, 1), (1, 0)), (1, 2), 3)),
    "each channel alone": ((2, 5, 7, 7), (5, 1, 3, 3), Geometry(padding=((1, 1),) * 2, groups=5)),
    "more padding than image": ((1, 2, 2, 1), (2, 2, 3, 3), Geometry(padding=((4, 5), (3, 4)))),
    "columns left over": ((1, 1, 7, 17), (1, 1, 2, 3), Geometry((4, 5))),
    "many samples": ((19, 3, 6, 6), (7, 3, 3, 3), Geometry(padding=((1, 1), (1, 1)))),
}


def near(got, want, dtype):
    scale = max(1.0, np.abs(want).max(initial=0))
    assert str(got.dtype) == dtype
    host = to_device(got, CPU).astype(float)
    np.testing.assert_allclose(host, want, rtol=WIDE[dtype], atol=WIDE[dtype] * scale)


def operands(rng, shapes, dtype):
    kind = ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
    return [rng.uniform(-1, 1, s).astype(kind) for s in shapes]


@pytest.mark.parametrize("dtype", WIDE)
@pytest.mark.parametrize("name", SHAPES)
def test_against_sums_of_shifted_images(device, name, dtype):
    x_shape, w_shape, how = SHAPES[name]
    rng = np.random.default_rng(0)
    x, w, b = operands(rng, (x_shape, w_shape, w_shape[:1]), dtype)
    y, gradients = reference(x.astype(float), w.astype(float), how)
    (g,) = operands(rng, (y.shape,), dtype)
    dx, dw = gradients(g.astype(float))
    xd, wd, bd, gd = (to_device(a, device) for a in (x, w, b, g))
    near(conv.forward(xd, wd, None, how), y, dtype)
    near(conv.forward(xd, wd, bd, how), y + b.astype(float)[:, None, None], dtype)
    near(conv.input_gradient(gd, wd, x_shape[2:], how), dx, dtype)
    near(conv.weight_gradient(gd, xd, w_shape[2:], how), dw, dtype)


def test_large_enough_for_several_threads_and_blocks():
    # More vectors than a block of the weights' gradient has, more columns than a tile.
    rng = np.random.default_rng(1)
    how = Geometry(padding=((1, 1), (1, 1)))
    x, w = operands(rng, ((9, 16, 41, 37), (21, 16, 3, 3)), "float32")
    y, gradients = reference(x.astype(float), w.astype(float), how)
    (g,) = operands(rng, (y.shape,), "float32")
    dx, dw = gradients(g.astype(float))
    near(conv.forward(x, w, None, how), y, "float32")
    near(conv.input_gradient(g, w, x.shape[2:], how), dx, "float32")
    near(conv.weight_gradient(g, x, w.shape[2:], how), dw, "float32")


def test_the_same_bits_for_any_number_of_threads(monkeypatch):
    rng = np.random.default_rng(2)
    how = Geometry(padding=((1, 1), (1, 1)))
    x, w, g = operands(rng, ((33, 8, 20, 20), (8, 8, 3, 3), (33, 8, 20, 20)), "float32")
    found = []
    for count in (1, 2, 3, 3):
        monkeypatch.setattr(threads, "THREADS", count)
        found.append(
            (
                conv.forward(x, w, None, how),
                conv.input_gradient(g, w, (20, 20), how),
                conv.weight_gradient(g, x, (3, 3), how),
            )
        )
    for others in found[1:]:
        for a, b in zip(found[0], others, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("shape", "kernel", "how"),
    [
        ((3, 2, 40, 45), (3, 3), Geometry(padding=((1, 1), (1, 1)))),  # several blocks an image
        ((30, 1, 13, 9), (2, 3), Geometry((3, 2))),  # several images a block, lines left over
        ((2, 3, 31, 300), (5, 2), Geometry((2, 3), ((9, 9), (0, 1)), (2, 1))),
        ((190, 2, 3, 3), (3, 3), Geometry(padding=((9, 0), (0, 2)))),  # blocks that begin and end
        ((190, 1, 3, 3), (2, 3), Geometry((2, 1), ((1, 9), (4, 0)))),  # in the padding
        ((2, 1, 3, 9000), (2, 2), Geometry()),  # a line does not fit
    ],
)
def test_what_a_block_keeps_changes_nothing(cuda, monkeypatch, shape, kernel, how):
    x = cuda.random.default_rng(0).standard_normal(shape)
    w = cuda.random.default_rng(1).standard_normal((2, shape[1], *kernel))
    kept = conv.forward(x, w, None, how)
    near(kept, reference(x.get(), w.get(), how)[0], "float64")
    monkeypatch.setattr(conv, "KEPT", 0)
    assert (kept == conv.forward(x, w, None, how)).all()


def test_the_same_bits_in_two_runs_on_cuda(cuda):
    x, w, g = (cuda.random.default_rng(0).standard_normal(s) for s in SIZES)
    how = Geometry()
    for f in (
        lambda: conv.forward(x, w, None, how),
        lambda: conv.input_gradient(g, w, (6, 6), how),
        lambda: conv.weight_gradient(g, x, (3, 3), how),
    ):
        assert (f() == f()).all()


SIZES = ((5, 2, 6, 6), (3, 2, 3, 3), (5, 3, 4, 4))


def test_matrices_of_few_samples(cuda, monkeypatch):
    """What does not fit one matrix of windows is done in parts."""
    rng = np.random.default_rng(3)
    x, w, g = operands(rng, SIZES, "float64")
    y, gradients = reference(x, w, Geometry())
    dx, dw = gradients(g)
    monkeypatch.setattr(conv, "MATRIX", 2 * 2 * 9 * 16 * 8 + 5)  # of two samples
    xd, wd, gd = (cuda.asarray(a) for a in (x, w, g))
    near(conv.forward(xd, wd, None, Geometry()), y, "float64")
    near(conv.input_gradient(gd, wd, (6, 6), Geometry()), dx, "float64")
    near(conv.weight_gradient(gd, xd, (3, 3), Geometry()), dw, "float64")


def test_nothing_waits_for_the_device(cuda, counters):
    x, w, g = (cuda.ones(s) for s in SIZES)
    for f in (
        lambda: conv.forward(x, w, None, Geometry()),
        lambda: conv.input_gradient(g, w, (6, 6), Geometry()),
        lambda: conv.weight_gradient(g, x, (3, 3), Geometry()),
    ):
        f()  # compiles
        with counters() as r:
            f()
        assert (r["d2h"], r["h2d"], r["syncs"]) == (0, 0, 0)


@pytest.mark.parametrize("shape", [(0, 2, 5, 5), (2, 0, 5, 5)])
def test_nothing_to_convolve(device, xp, shape):
    x, w, b = xp.ones(shape), xp.ones((3, shape[1], 2, 2)), xp.ones(3)
    y = conv.forward(x, w, b, Geometry())
    assert y.shape == (shape[0], 3, 4, 4)
    assert (y == 1).all()
    assert (conv.input_gradient(y, w, (5, 5), Geometry()) == 0).all()
    dw = conv.weight_gradient(y, x, (2, 2), Geometry())
    assert dw.shape == w.shape
    assert (dw == 0).all()


def test_strided_operands(device, xp):
    x, w = xp.arange(2 * 6 * 8 * 3.0).reshape(6, 8, 3, 2), xp.arange(36.0).reshape(2, 2, 3, 3)
    x, w = x.transpose(3, 2, 0, 1)[:, :2, ::2], w[:, ::-1].swapaxes(2, 3)
    got = conv.forward(x, w, None, Geometry())
    assert (got == conv.forward(x.copy(), w.copy(), None, Geometry())).all()


def test_nan_and_infinity_go_where_they_are_seen(device, xp):
    x, w = xp.ones((1, 2, 5, 6)), xp.ones((2, 2, 2, 2))
    x[0, 1, 2, 3] = xp.nan
    x[0, 0, 0, 0] = xp.inf
    y = conv.forward(x, w, None, Geometry())
    seen = xp.isnan(y[0, 0])
    assert seen.sum() == 4
    assert seen[1:3, 2:4].all()
    assert y[0, 1, 0, 0] == xp.inf
    g = xp.zeros((1, 2, 4, 5))
    g[0, 0, 1, 1] = xp.nan
    dx = conv.input_gradient(g, w, (5, 6), Geometry())
    assert xp.isnan(dx).sum() == 8
    dw = conv.weight_gradient(g, xp.ones_like(x), (2, 2), Geometry())
    assert xp.isnan(dw[0]).all()
    assert not xp.isnan(dw[1]).any()


# ------------------------------------------------------------------------------ gpugrad.nn

torch_cases = {
    "conv1d": ((2, 4, 9), (6, 2, 3), {"stride": 2, "padding": 1, "groups": 2}),
    "conv1d one": ((4, 9), (6, 4, 3), {"padding": "same", "dilation": 2}),
    "conv2d": ((2, 4, 9, 8), (6, 4, 3, 2), {"stride": (2, 1), "padding": (0, 2)}),
    "conv2d one": ((4, 9, 8), (6, 4, 4, 2), {"padding": "same"}),
    "conv_transpose1d": ((2, 4, 9), (4, 3, 3), {"stride": 2, "output_padding": 1}),
    "conv_transpose2d": (
        (2, 4, 5, 4),
        (4, 3, 3, 2),
        {"stride": (2, 3), "padding": (2, 1), "output_padding": (1, 2), "groups": 2},
    ),
    "conv_transpose2d dilated": (
        (4, 5, 4),
        (4, 3, 3, 2),
        {"stride": 2, "padding": 1, "output_padding": 2, "dilation": 3},
    ),
}


@pytest.mark.parametrize("name", torch_cases)
@pytest.mark.parametrize("biased", [False, True])
def test_against_pytorch(device, name, biased):
    torch = pytest.importorskip("torch")
    x_shape, w_shape, params = torch_cases[name]
    plain = name.split()[0]
    rng = np.random.default_rng(4)
    outputs = w_shape[1] * params.get("groups", 1) if "transpose" in plain else w_shape[0]
    arrays = [rng.standard_normal(s) for s in (x_shape, w_shape, (outputs,))[: 2 + biased]]
    leaves = [torch.tensor(a, requires_grad=True) for a in arrays]
    with warnings.catch_warnings():  # of a copy that PyTorch makes
        warnings.simplefilter("ignore")
        want = getattr(torch.nn.functional, plain)(*leaves, **params)
    g = rng.standard_normal(want.shape)
    want.backward(torch.tensor(g))
    on = [to_device(a, device) for a in arrays]
    y, pull = gg.vjp(lambda *a: getattr(nn, plain)(*a, **params), *on)
    near(y, want.detach().numpy(), "float64")
    for got, leaf in zip(pull(to_device(g, device)), leaves, strict=True):
        near(got, leaf.grad.numpy(), "float64")


def test_operands_of_several_dtypes():
    y = nn.conv2d(np.ones((1, 1, 3, 3), "f4"), np.ones((1, 1, 2, 2)), np.ones(1, "f2"))
    assert y.dtype == np.float64


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda x, w: nn.conv2d(x, w[:, :1]), ValueError, "2 channels and weight of shape"),
        (lambda x, w: nn.conv2d(x, w, groups=2), ValueError, "2 channels and weight of shape"),
        (lambda x, w: nn.conv2d(x[0, 0], w), ValueError, r"\(5, 5\) and \(3, 2, 3, 3\)"),
        (lambda x, w: nn.conv2d(x, w, np.ones(2)), ValueError, "each of the 3 output channels"),
        (lambda x, w: nn.conv2d(x, w, dilation=3), ValueError, "larger than the image"),
        (lambda x, w: nn.conv2d(x, w, stride=0), ValueError, "stride must be at least 1"),
        (lambda x, w: nn.conv2d(x, w, padding=(1, 1, 1)), ValueError, "one number or 2"),
        (lambda x, w: nn.conv2d(x, w, padding="full"), ValueError, "'full' is neither"),
        (lambda x, w: nn.conv2d(x, w, stride=2, padding="same"), ValueError, "stride of 1"),
        (lambda x, w: nn.conv2d(x > 0, w > 0), TypeError, "got bool"),
        (lambda x, w: nn.conv2d(x + 0j, w), TypeError, "got complex128"),
        (
            lambda x, w: nn.conv_transpose2d(x, w[:2], output_padding=1),
            ValueError,
            r"must be less than the stride \(1, 1\)",
        ),
        (lambda x, w: nn.conv_transpose2d(x, w), ValueError, "weight is .C, O / groups"),
        (lambda x, w: nn.conv_transpose2d(x, w[:2], padding=9), ValueError, "would be of size"),
    ],
)
def test_what_does_not_fit_is_refused(call, error, match):
    with pytest.raises(error, match=match):
        call(np.ones((1, 2, 5, 5)), np.ones((3, 2, 3, 3)))
