"""Attention and its gradient against the softmax of the whole matrix of scores."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from gpugrad.kernels import attention, report
from gpugrad.kernels.cpu import threads

import gpugrad as gg
from gpugrad import nn
from gpugrad.device import CPU, to_device

CLOSE = {"float16": 2e-2, "bfloat16": 1e-1, "float32": 2e-6, "float64": 1e-13}


def reference(g, q, k, v, mask, causal, scale):
    """All in float64: the result, its lse, and the gradients."""
    heads = q.shape[1] // k.shape[1]
    wide_k, wide_v = np.repeat(k, heads, 1), np.repeat(v, heads, 1)
    scores = q @ wide_k.swapaxes(2, 3) * scale
    if mask is not None:
        scores = scores + mask
    if causal:
        scores = np.where(np.tri(*scores.shape[2:], dtype=bool), scores, -np.inf)
    top = scores.max(3, keepdims=True, initial=-np.inf)
    e = np.exp(scores - np.where(np.isfinite(top), top, 0))
    total = e.sum(3, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = np.where(total > 0, e / total, 0)
        lse = np.where(total > 0, top + np.log(total), np.inf)[..., 0]
    out = p @ wide_v
    dp = g @ wide_v.swapaxes(2, 3)
    ds = p * (dp - (dp * p).sum(3, keepdims=True)) * scale

    def shared(x):
        return x.reshape(k.shape[0], k.shape[1], heads, *x.shape[2:]).sum(2)

    return out, lse, ds @ wide_k, shared(ds.swapaxes(2, 3) @ q), shared(p.swapaxes(2, 3) @ g)


def draw(rng, shape, dtype):
    return rng.standard_normal(shape).astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)


def wide(a):
    return None if a is None else a.astype(float)


# B, H, heads of keys, L, S, D, E, and whether causal
SHAPES = {
    "several tiles": (2, 2, 2, 70, 133, 32, 16, False),
    "causal": (1, 2, 2, 131, 131, 32, 32, True),
    "causal, more keys": (1, 1, 1, 40, 150, 32, 32, True),
    "causal, more queries": (1, 1, 1, 150, 40, 32, 32, True),
    "shared keys": (2, 6, 2, 65, 33, 16, 32, True),
    "one": (1, 1, 1, 1, 1, 8, 8, True),
}


def check(device, dtype, shape, mask_shape=None, causal=None):
    rng = np.random.default_rng(0)
    b, h, few, n, m, d, e, hides = shape
    causal = hides if causal is None else causal
    g, q, k, v = (
        draw(rng, s, dtype) for s in ((b, h, n, e), (b, h, n, d), (b, few, m, d), (b, few, m, e))
    )
    mask = None
    if mask_shape is not None:
        mask = draw(rng, mask_shape, dtype)
        if mask_shape[3] > 1:
            mask[..., 1] = -np.inf
        if mask_shape[2] > 1:
            mask[:, :, 0] = -np.inf  # a query that sees nothing
    scale = d**-0.5
    want = reference(*map(wide, (g, q, k, v, mask)), causal, scale)
    g, q, k, v, mask = (None if a is None else to_device(a, device) for a in (g, q, k, v, mask))
    out, lse = attention.forward(q, k, v, mask, causal=causal, scale=scale)
    grads = attention.backward(g, q, k, v, mask, out, lse, causal=causal, scale=scale)
    assert lse.dtype == (dtype if dtype == "float64" else "float32")
    for got, like in zip((out, *grads), (q, q, k, v), strict=True):
        assert str(got.dtype) == dtype
        assert got.shape[:3] == like.shape[:3]
    for got, right in zip((out, lse, *grads), want, strict=True):
        scale = max(1.0, np.abs(right[np.isfinite(right)]).max(initial=0))
        tolerance = {"rtol": CLOSE[dtype], "atol": CLOSE[dtype] * scale}
        np.testing.assert_allclose(wide(to_device(got, CPU)), right, **tolerance)


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("name", SHAPES)
def test_against_the_matrix_of_scores(device, name, dtype):
    check(device, dtype, SHAPES[name])


@pytest.mark.parametrize(
    "mask", [(1, 1, 70, 133), (2, 1, 1, 133), (1, 2, 70, 1), (2, 2, 70, 133)], ids=str
)
def test_masks(device, mask):
    check(device, "float32", SHAPES["several tiles"], mask)


def test_widths_that_fill_no_pack(device):
    check(device, "float32", (1, 2, 2, 66, 35, 33, 5, False))
    check(device, "float32", (1, 2, 2, 66, 35, 33, 5, False), (1, 1, 66, 35), causal=True)


@pytest.mark.parametrize("lengths", [(0, 3), (3, 0)])
def test_no_queries_or_no_keys(device, xp, lengths):
    n, m = lengths
    q, k = xp.ones((2, 1, n, 4)), xp.ones((2, 1, m, 4))
    out, lse = attention.forward(q, k, k, None, causal=False, scale=1.0)
    assert (out.shape, lse.shape) == ((2, 1, n, 4), (2, 1, n))
    assert (out == 0).all()
    assert (lse == xp.inf).all()
    dq, dk, dv = attention.backward(out, q, k, k, None, out, lse, causal=False, scale=1.0)
    assert (dq.shape, dk.shape, dv.shape) == (q.shape, k.shape, k.shape)
    for d in (dq, dk, dv):
        assert (d == 0).all()


def test_large_scores_do_not_overflow(device, xp):
    q = xp.asarray([[[[100.0], [-100.0]]]], "f4")
    k = xp.asarray([[[[100.0], [99.0], [-100.0]]]], "f4")
    out, lse = attention.forward(q, k, k, None, causal=False, scale=1.0)
    assert out.ravel().tolist() == [100, -100]
    assert lse.ravel().tolist() == [1e4, 1e4]


def test_nan_reaches_its_own_query_alone(device, xp):
    q, k = xp.ones((1, 1, 3, 4), "f4"), xp.ones((1, 1, 70, 4), "f4")
    q[0, 0, 1, 2] = xp.nan
    out, _ = attention.forward(q, k, k, None, causal=False, scale=1.0)
    assert xp.isnan(out[0, 0]).any(1).tolist() == [False, True, False]


def test_strided_operands(device, xp):
    x = xp.asarray(np.random.default_rng(0).standard_normal((1, 2, 30, 24)).astype("f4"))
    q, k, v = x[..., ::2][:, :, ::3], x[..., 12:], x[..., :12]
    got = attention.forward(q, k, v, None, causal=True, scale=0.5)
    want = attention.forward(q.copy(), k.copy(), v.copy(), None, causal=True, scale=0.5)
    assert (got[0] == want[0]).all()
    g = xp.broadcast_to(xp.ones((1, 1, 1, 12), "f4"), got[0].shape)
    some = attention.backward(g, q, k, v, None, *got, causal=True, scale=0.5)
    rest = (x.copy() for x in (g, q, k, v))
    for a, b in zip(some, attention.backward(*rest, None, *got, causal=True, scale=0.5)):
        assert (a == b).all()


def test_the_same_bits_for_any_number_of_threads(monkeypatch):
    rng = np.random.default_rng(1)
    q, k, v, g = (rng.standard_normal((2, 4, 150, 32)).astype("f4") for _ in range(4))
    found = []
    for count in (1, 2, 3):
        monkeypatch.setattr(threads, "THREADS", count)
        out, lse = attention.forward(q, k, v, None, causal=True, scale=0.2)
        grads = attention.backward(g, q, k, v, None, out, lse, causal=True, scale=0.2)
        found.append((out, lse, *grads))
    for others in found[1:]:
        for a, b in zip(found[0], others, strict=True):
            np.testing.assert_array_equal(a, b)


def test_one_launch_forward_two_back_and_no_wait(cuda, counters):
    x = cuda.random.default_rng(0).standard_normal((2, 2, 70, 32)).astype("f4")

    def run():
        out, lse = attention.forward(x, x, x, None, causal=True, scale=0.2)
        return [out, lse, *attention.backward(x, x, x, x, None, out, lse, causal=True, scale=0.2)]

    first = run()  # compiles
    with counters() as r:
        again = run()
    assert (r["launches"], r["d2h"], r["h2d"], r["syncs"]) == (3, 0, 0, 0)
    for a, b in zip(first, again, strict=True):
        assert (a == b).all()


def test_memory_is_linear_in_the_length(cuda, counters):
    def peak(n):
        x = cuda.ones((1, 1, n, 32), "f4")
        cuda.get_default_memory_pool().free_all_blocks()
        with counters() as r:
            out, lse = attention.forward(x, x, x, None, causal=True, scale=1.0)
            attention.backward(x, x, x, x, None, out, lse, causal=True, scale=1.0)
        return r["peak_bytes"]

    peak(64)
    assert peak(1024) - peak(512) <= 512 * 32 * 4 * 8


def test_what_is_too_wide_for_a_kernel(cuda):
    x = cuda.ones((1, 1, 2, 300), "f4")
    with pytest.raises(ValueError, match="at most 256 elements to a query or value, got 300"):
        attention.forward(x, x, x, None, causal=False, scale=1.0)
    q = cuda.random.default_rng(0).standard_normal((2, 300)).astype("f4")
    got = gg.grad(lambda q: nn.scaled_dot_product_attention(q, q, q).sum())(q)
    want = gg.grad(lambda q: nn.scaled_dot_product_attention(q, q, q).sum())(q.get())
    np.testing.assert_allclose(got.get(), want, rtol=1e-5, atol=1e-5)


def test_every_dtype_is_reported():
    assert {v.split("<")[1].split(",")[0] for v in report.KERNELS["attention"]} == {
        *("__half", "__nv_bfloat16", "float", "double")
    }


# ------------------------------------------------------------------------------ gpugrad.nn


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("shape", [(9, 4), (3, 9, 4), (2, 3, 9, 4), (2, 1, 3, 9, 4)], ids=str)
def test_against_pytorch(device, shape, causal):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(2)
    arrays = [rng.standard_normal(s) for s in (shape, shape, (*shape[:-1], 5))]
    leaves = [torch.tensor(a, requires_grad=True) for a in arrays]
    want = torch.nn.functional.scaled_dot_product_attention(*leaves, is_causal=causal)
    g = rng.standard_normal(want.shape)
    want.backward(torch.tensor(g))
    on = [to_device(a, device) for a in arrays]
    y, pull = gg.vjp(lambda *a: nn.scaled_dot_product_attention(*a, is_causal=causal), *on)
    np.testing.assert_allclose(to_device(y, CPU), want.detach().numpy(), rtol=1e-12)
    for got, leaf in zip(pull(to_device(g, device)), leaves, strict=True):
        np.testing.assert_allclose(to_device(got, CPU), leaf.grad.numpy(), rtol=1e-9, atol=1e-12)


def test_masks_of_five_axes(device, xp):
    rng = np.random.default_rng(3)
    q = to_device(rng.standard_normal((2, 2, 3, 4, 8)), device)
    for shape in ((1, 1, 3, 4, 4), (2, 1, 1, 4, 4), (2, 2, 3, 1, 4)):
        mask = to_device(rng.standard_normal(shape), device)
        full = xp.broadcast_to(mask, (2, 2, 3, 4, 4))
        got = nn.scaled_dot_product_attention(q, q, q, mask)
        for i in range(2):
            each = nn.scaled_dot_product_attention(q[i], q[i], q[i], full[i])
            np.testing.assert_allclose(to_device(got[i], CPU), to_device(each, CPU), rtol=1e-12)


def test_dropout_of_weights(device):
    q, k = (np.random.default_rng(i).standard_normal((2, 40, 8)) for i in range(2))
    v = np.eye(40)[None].repeat(2, 0)  # the result is the weights themselves
    on = [to_device(a, device) for a in (q, k, v)]
    whole = to_device(nn.scaled_dot_product_attention(*on), CPU)
    thin = to_device(nn.scaled_dot_product_attention(*on, dropout_p=0.25, dropout_key=7), CPU)
    again = nn.scaled_dot_product_attention(*on, dropout_p=0.25, dropout_key=7)
    np.testing.assert_array_equal(to_device(again, CPU), thin)
    kept = thin != 0
    assert 0.65 < kept.mean() < 0.85
    np.testing.assert_allclose(thin[kept], whole[kept] / 0.75, rtol=1e-12)
    g = gg.grad(
        lambda v: nn.scaled_dot_product_attention(*on[:2], v, dropout_p=0.25, dropout_key=7).sum()
    )(on[2])
    np.testing.assert_allclose(to_device(g, CPU)[..., 0], thin.sum(1), rtol=1e-12)


@pytest.mark.parametrize(
    ("shapes", "params", "error", "match"),
    [
        (((3, 4), (3, 5), (3, 4)), {}, ValueError, "do not go together"),
        (((3, 4), (3, 4), (2, 4)), {}, ValueError, "do not go together"),
        (((2, 3, 4), (1, 3, 4), (1, 3, 4)), {}, ValueError, "unless enable_gqa=True"),
        (((3, 3, 4), (2, 3, 4), (2, 3, 4)), {"enable_gqa": True}, ValueError, "divisor"),
        (((3,), (3,), (3,)), {}, ValueError, r"query is \(..., H, L, E\)"),
        (((1, 3, 4), (3, 4), (3, 4)), {}, ValueError, r"query is \(..., H, L, E\)"),
        (((3, 4),) * 3, {"dropout_p": 1.5, "dropout_key": 1}, ValueError, "1.5"),
        (((3, 4),) * 3, {"attn_mask": np.ones((2, 3))}, ValueError, "does not broadcast"),
        (((3, 4),) * 3, {"attn_mask": np.ones((2, 3, 3))}, ValueError, "does not broadcast"),
        (
            ((3, 4),) * 3,
            {"attn_mask": np.ones((3, 3)), "is_causal": True},
            ValueError,
            "put the causal part into the mask",
        ),
    ],
)
def test_what_does_not_fit_is_refused(shapes, params, error, match):
    with pytest.raises(error, match=match):
        nn.scaled_dot_product_attention(*map(np.ones, shapes), **params)


def test_integers_are_refused():
    with pytest.raises(TypeError, match="got int64"):
        nn.scaled_dot_product_attention(*[np.ones((2, 2), int)] * 3)
