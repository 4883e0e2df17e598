"""Mixed precision: which dtype each operation runs in, against PyTorch's, and derivatives."""

from __future__ import annotations

import importlib
import pkgutil
import sys

import numpy as np
import pytest

import gpugrad as gg
from gpugrad import nn
from gpugrad.amp import NARROW, WIDE, narrowed
from gpugrad.core.primitive import registry

DTYPES = ["float16", "bfloat16"]


def draw(device, *shapes):
    rng = np.random.default_rng(0)
    drawn = [rng.standard_normal(s).astype("f4") for s in shapes]
    return [gg.Array(a, device=device, requires_grad=True) for a in drawn]


def no_cublas_bfloat16(device, dtype):
    """The stand-in's cuBLAS does not know bfloat16, which CuPy hands to a GPU's."""
    if device.kind == "cuda" and dtype == "bfloat16" and "cuda_on_cpu" in sys.modules:
        pytest.skip("the stand-in's cublasGemmEx has no bfloat16")


CASES = {
    "matmul": (lambda a, b: a @ b, [(3, 4), (4, 5)]),
    "rows of a stack": (lambda a, b: a @ b, [(2, 3, 4), (4, 5)]),
    "a stack": (lambda a, b: a @ b, [(2, 3, 4), (2, 4, 5)]),
    "einsum": (lambda a, b: gg.numpy.einsum("ij,kj->ik", a, b), [(3, 4), (5, 4)]),
    "dot": (lambda a, b: gg.numpy.dot(a, b), [(4,), (4,)]),
    "linear": (nn.linear, [(3, 4), (5, 4), (5,)]),
    "conv1d": (nn.conv1d, [(2, 3, 7), (4, 3, 3), (4,)]),
    "conv2d": (nn.conv2d, [(1, 2, 5, 5), (3, 2, 3, 3), (3,)]),
    "conv_transpose1d": (nn.conv_transpose1d, [(1, 2, 5), (2, 3, 3)]),
    "attention": (nn.scaled_dot_product_attention, [(1, 2, 3, 4)] * 3),
    "sum": (lambda a: a.sum(), [(3, 4)]),
    "mean": (lambda a: a.mean(), [(3, 4)]),
    "softmax": (lambda a: nn.softmax(a), [(3, 4)]),
    "log_softmax": (lambda a: nn.log_softmax(a), [(3, 4)]),
    "exp": (lambda a: np.exp(a), [(3, 4)]),
    "square": (lambda a: a**2, [(3, 4)]),
    "layer_norm": (lambda a, w, b: nn.layer_norm(a, (4,), w, b), [(3, 4), (4,), (4,)]),
    "mse_loss": (lambda a, b: nn.mse_loss(a, b), [(3, 4), (3, 4)]),
    "l1_loss": (lambda a, b: nn.l1_loss(a, b), [(3, 4), (3, 4)]),
    "huber_loss": (lambda a, b: nn.huber_loss(a, b), [(3, 4), (3, 4)]),
    "cosine_similarity": (lambda a, b: nn.cosine_similarity(a, b), [(3, 4), (3, 4)]),
    "triplet_margin_loss": (nn.triplet_margin_loss, [(3, 4)] * 3),
    "relu": (nn.relu, [(3, 4)]),
    "reshape": (lambda a: a.reshape(4, 3), [(3, 4)]),
}
STACKS = {"rows of a stack", "a stack"}
PRODUCTS = {*STACKS, "matmul", "einsum", "dot", "linear", "attention"} | {
    n for n in CASES if "conv" in n
}
AS_GIVEN = {"relu", "reshape"}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CASES)
def test_dtypes_and_gradients(name, dtype, device):
    if name in ("matmul", "einsum", "linear", "rows of a stack"):
        no_cublas_bfloat16(device, dtype)
    f, shapes = CASES[name]
    operands = draw(device, *shapes)
    with gg.autocast(dtype):
        y = f(*operands)
    assert y.dtype.name == (dtype if name in PRODUCTS else "float32")
    plain = f(*operands)
    tol = 0.01 if dtype == "float16" else 0.08
    np.testing.assert_allclose(
        y.detach().astype("f4").numpy(), plain.detach().numpy(), rtol=tol, atol=tol
    )
    y.astype("f4").sum().backward()
    got = [p.grad for p in operands]
    for p in operands:
        p.grad = None
    plain.sum().backward()
    for g, p in zip(got, operands, strict=True):
        assert g.dtype == "float32"
        np.testing.assert_allclose(g.numpy(), p.grad.numpy(), rtol=4 * tol, atol=4 * tol)
    # Of what is narrow already: products stay so, what needs the range is float32.
    with gg.autocast(dtype):
        (one,) = narrowed(operands[0].detach())
    short = [p.detach().astype(one.dtype) for p in operands]
    with gg.autocast(dtype):
        again = f(*short)
    assert again.dtype.name == ("float32" if name not in PRODUCTS | AS_GIVEN else dtype)


def test_the_same_dtypes_as_torch():
    torch = pytest.importorskip("torch")
    from torch.nn import functional as F

    peers = {
        "matmul": torch.matmul,
        "linear": F.linear,
        "conv2d": F.conv2d,
        "conv1d": F.conv1d,
        "conv_transpose1d": F.conv_transpose1d,
        "attention": F.scaled_dot_product_attention,
        "mse_loss": F.mse_loss,
        "l1_loss": F.l1_loss,
        "huber_loss": F.huber_loss,
        "relu": F.relu,
    }
    for name, peer in peers.items():
        f, shapes = CASES[name]
        ours = draw("cpu", *shapes)
        theirs = [torch.tensor(p.detach().numpy()) for p in ours]
        with gg.autocast("bfloat16"), torch.autocast("cpu", torch.bfloat16):
            a, b = f(*ours), peer(*theirs)
        assert str(b.dtype) == f"torch.{a.dtype.name}", name
        np.testing.assert_allclose(
            a.detach().astype("f4").numpy(), b.float().numpy(), rtol=0.05, atol=0.05
        )


def test_where_it_is_in_force(device):
    (a,) = draw(device, (4, 4))
    with gg.autocast("float16"):
        with gg.autocast(enabled=False):
            assert (a @ a).dtype == "float32"
        with gg.autocast("bfloat16"):
            assert gg.eval_shape(lambda a: a @ a, a).dtype.name == "bfloat16"
        assert (a @ a).dtype == "float16"
        assert (a.astype("f8") @ a.astype("f8")).dtype == "float64"
    assert (a @ a).dtype == "float32"

    @gg.autocast("float16")
    def product(a):
        return a @ a

    assert product(a).dtype == "float16"
    with pytest.raises(ZeroDivisionError), gg.autocast():
        raise ZeroDivisionError
    assert (a @ a).dtype == "float32"


@pytest.mark.parametrize("dtype", DTYPES)
def test_transforms_inside_and_outside(dtype, device):
    no_cublas_bfloat16(device, dtype)
    a, b = draw(device, (3, 4), (4, 3))

    def loss(a, b):
        return nn.softmax(nn.relu(a @ b) @ a)[:, 0].sum()

    def cast_loss(a, b):
        with gg.autocast(dtype):
            return loss(a, b)

    a, b = a.detach(), b.detach()
    outside = gg.grad(cast_loss, (0, 1))(a, b)
    with gg.autocast(dtype):
        inside = gg.grad(loss, (0, 1))(a, b)
        _, pushed = gg.jvp(loss, (a, b), (a, b))
    checkpointed = gg.grad(gg.checkpoint(cast_loss), (0, 1))(a, b)
    with gg.autocast(dtype):
        value, pull = gg.vjp(gg.checkpoint(loss), a, b)
    late = pull(gg.numpy.ones_like(value))  # runs it again, where autocast has ended
    for g in (*outside, *inside, *checkpointed, *late):
        assert g.dtype == "float32"
    for other in (inside, checkpointed, late):
        for g, h in zip(outside, other, strict=True):
            np.testing.assert_array_equal(g.numpy(), h.numpy())
    wished = sum((g * x).sum() for g, x in zip(outside, (a, b), strict=True))
    assert pushed.dtype == "float32"
    tol = 0.02 if dtype == "float16" else 0.2
    np.testing.assert_allclose(pushed.numpy(), wished.numpy(), rtol=tol, atol=tol)
    with gg.autocast(dtype):
        many = gg.vmap(loss)(gg.numpy.stack([a, a]), gg.numpy.stack([b, b]))
    assert many.dtype == "float32"
    assert gg.eval_shape(gg.autocast(dtype)(lambda a: a @ a.T), a).dtype.name == dtype


def test_every_name_is_an_operation():
    for module in pkgutil.iter_modules(importlib.import_module("gpugrad.ops").__path__):
        importlib.import_module(f"gpugrad.ops.{module.name}")
    import gpugrad.scipy.special  # noqa: F401

    assert sorted((NARROW | WIDE) - registry.keys()) == []


def test_another_dtype_is_refused():
    with pytest.raises(ValueError, match="float32"):
        gg.autocast("float32")


def make(device):
    rng = gg.random.Generator(0)
    layers = [nn.Linear(8, 16, device=device, generator=rng), nn.relu]
    return nn.Sequential(*layers, nn.Linear(16, 3, device=device, generator=rng))


@pytest.mark.parametrize("dtype", DTYPES)
def test_training_in_mixed_precision_follows_float32(dtype, device):
    no_cublas_bfloat16(device, dtype)
    rng = np.random.default_rng(1)
    x = gg.Array(rng.standard_normal((32, 8)).astype("f4"), device=device)
    y = gg.Array(rng.integers(0, 3, 32), device=device)
    losses = []
    for mixed in (False, True):
        model = make(device)
        optimizer = gg.optim.AdamW(model.parameters(), lr=0.01)
        scaler = gg.amp.GradScaler(enabled=mixed and dtype == "float16")
        seen = []
        for _ in range(15):
            optimizer.zero_grad()
            with gg.autocast(dtype, enabled=mixed):
                loss = nn.cross_entropy(model(x), y)
            scaler.scale(loss).backward()
            scaler.step(optimizer, max_norm=5.0)
            scaler.update()
            seen.append(loss.item())
        assert {p.dtype.name for p in model.parameters()} == {"float32"}
        losses.append(seen)
    assert losses[0][-1] < 0.9 * losses[0][0]
    np.testing.assert_allclose(losses[1], losses[0], rtol=0.01 if dtype == "float16" else 0.05)


def test_the_scale_falls_and_grows_as_torchs(device):
    torch = pytest.importorskip("torch")
    settings = {"init_scale": 1024.0, "growth_interval": 3, "backoff_factor": 0.25}
    w = gg.Array(np.ones(2, "f4"), device=device, requires_grad=True)
    peer = torch.ones(2, requires_grad=True)
    ours, theirs = gg.amp.GradScaler(**settings), torch.amp.GradScaler("cpu", **settings)
    one, two = gg.optim.SGD([w], 0.5), torch.optim.SGD([peer], 0.5)
    for t in range(12):
        factor = np.inf if t in (4, 5) else 0.1
        for scaler, optimizer, p in ((ours, one, w), (theirs, two, peer)):
            optimizer.zero_grad()
            scaler.scale((p * factor).sum()).backward()
            scaler.step(optimizer)
            scaler.update()
        assert ours.get_scale() == theirs.get_scale()
        np.testing.assert_allclose(w.numpy(), peer.detach().numpy(), rtol=1e-6)
    saved = ours.state_dict()
    other = gg.amp.GradScaler()
    other.load_state_dict(saved)
    assert other.get_scale() == ours.get_scale()
    with pytest.raises(RuntimeError, match="no step"):
        other.update()
    with pytest.raises(ValueError, match="backoff_factor"):
        gg.amp.GradScaler(backoff_factor=2.0)


def test_the_scale_stays_finite(device):
    w = gg.Array(np.zeros(2, "f4"), device=device, requires_grad=True)
    optimizer = gg.optim.SGD([w], 0.1)
    scaler = gg.amp.GradScaler(init_scale=2.0**125, growth_interval=1)
    for _ in range(5):
        optimizer.zero_grad()
        scaler.scale((w * 0).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
    assert scaler.get_scale() == 2.0**127


def test_a_step_waits_for_nothing(counters, cuda):
    model = make("cuda:0")
    x = gg.Array(cuda.ones((4, 8), "f4"))
    optimizer, scaler = gg.optim.AdamW(model.parameters()), gg.amp.GradScaler()

    def step():
        optimizer.zero_grad()
        with gg.autocast("float16"):
            loss = (model(x) ** 2).mean()
        scaler.scale(loss).backward()
        scaler.step(optimizer, max_norm=1.0)
        scaler.update()

    for _ in range(2):
        step()
    with counters() as r:
        step()
    assert (r["d2h"], r["syncs"]) == (0, 0)


def test_tf32_is_a_mode_of_cublas(cuda):
    from cupy._core import _routines_linalg as linalg

    try:
        gg.amp.allow_tf32()
        assert linalg.get_compute_type(np.float32) == linalg.COMPUTE_TYPE_TF32
        a = gg.Array(cuda.ones((8, 8), "f4"))
        np.testing.assert_allclose((a @ a).numpy(), 8.0, rtol=1e-3)
    finally:
        gg.amp.allow_tf32(False)
    assert linalg.get_compute_type(np.float32) == linalg.COMPUTE_TYPE_DEFAULT


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_of_many_rows_are_summed_in_float32(dtype, device):
    x = gg.Array(np.ones((5000, 2), "f4"), device=device)
    bias = gg.Array(np.zeros(3, "f4"), device=device, requires_grad=True)
    with gg.autocast(dtype):
        (short,) = narrowed(x)
        y = nn.relu(short[:, :1] + 1) + narrowed(bias)[0]
    assert y.dtype.name == dtype
    y.astype("f4").sum().backward()
    np.testing.assert_allclose(bias.grad.numpy(), 5000, rtol=0.01)


def test_gradients_of_a_weight_used_many_times_are_summed_in_float32(device):
    no_cublas_bfloat16(device, "bfloat16")
    layer = nn.RNN(4, 8, device=device, generator=gg.random.Generator(0))
    x = gg.Array(np.random.default_rng(0).standard_normal((300, 2, 4)).astype("f4") + 1).to(device)

    def gradient():
        layer.zero_grad()
        ((layer(x)[0].mean() - 1) ** 2).backward()
        return layer.weight_hh_l0.grad.numpy()

    want = gradient()
    with gg.autocast("bfloat16"):
        got = gradient()
    assert np.abs(got - want).max() < 0.01 * np.abs(want).max()


def test_gradients_are_unscaled_to_be_clipped(device):
    """PyTorch's loop with `unscale_`, and clipping inside the step: the same weights."""
    torch = pytest.importorskip("torch")
    raw = np.array([3.0, -4.0, 0.5], "f4")
    weights = []
    for way in ("unscale_", "max_norm"):
        w = gg.Array(raw, device=device, copy=True, requires_grad=True)
        optimizer = gg.optim.SGD([w], lr=0.1)
        scaler = gg.amp.GradScaler(init_scale=1024.0)
        for factor in (1.0, np.inf, 2.0):
            optimizer.zero_grad()
            scaler.scale((w * w * float(factor)).sum()).backward()
            if way == "unscale_":
                scaler.unscale_(optimizer)
                if factor == 1:
                    np.testing.assert_allclose(w.grad.numpy(), 2 * raw)
                gg.optim.clip_grad_norm_([w], 1.0)
                scaler.step(optimizer)
            else:
                scaler.step(optimizer, max_norm=1.0)
            scaler.update()
        assert scaler.get_scale() == 512
        weights.append(w.numpy())
    np.testing.assert_allclose(*weights, rtol=1e-5)
    peer = torch.tensor(raw, requires_grad=True)
    for factor in (1.0, 2.0):  # the step between overflows and is left out
        (g,) = torch.autograd.grad((peer * peer * factor).sum(), peer)
        with torch.no_grad():
            peer -= 0.1 * g * min(1.0, 1 / (float(g.norm()) + 1e-6))
    np.testing.assert_allclose(weights[0], peer.detach().numpy(), rtol=1e-5)


def test_gradients_are_unscaled_once():
    w = gg.Array(np.ones(2, "f4"), requires_grad=True)
    optimizer, scaler = gg.optim.SGD([w], 0.1), gg.amp.GradScaler()
    scaler.scale((w * w).sum()).backward()
    scaler.unscale_(optimizer)
    with pytest.raises(RuntimeError, match="twice"):
        scaler.unscale_(optimizer)
