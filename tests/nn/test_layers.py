"""Layers with PyTorch's weights give its outputs and every gradient."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import gpugrad as gg
from gpugrad import nn

torch = pytest.importorskip("torch")
STAND_IN = "cuda_on_cpu" in sys.modules

# name: how it is made, on both sides alike, and the input's shape
LAYERS = {
    "Linear": ((3, 4), {}, (5, 3)),
    "Linear of sequences": ((3, 4), {"bias": False}, (2, 5, 3)),
    "Conv1d": ((2, 4, 3), {"stride": 2, "padding": 1}, (2, 2, 9)),
    "Conv2d": ((2, 4, 3), {"padding": 1}, (2, 2, 6, 5)),
    "Conv2d grouped": (
        (4, 6, (3, 2)),
        {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2), "groups": 2, "bias": False},
        (2, 4, 7, 6),
    ),
    "Conv2d same": ((2, 2, 3), {"padding": "same"}, (1, 2, 5, 5)),
    "ConvTranspose1d": ((2, 4, 3), {"stride": 2, "output_padding": 1}, (2, 2, 5)),
    "ConvTranspose2d": (
        (4, 2, 3),
        {"stride": 2, "padding": 1, "groups": 2, "dilation": 1},
        (2, 4, 4, 3),
    ),
    "Conv1d reflect": ((2, 4, 3), {"padding": 2, "padding_mode": "reflect"}, (2, 2, 9)),
    "Conv2d circular": (
        (2, 2, (3, 2)),
        {"padding": (1, 2), "padding_mode": "circular", "stride": 2},
        (2, 2, 5, 6),
    ),
    "Conv2d replicate": (
        (2, 2, (4, 3)),
        {"padding": "same", "padding_mode": "replicate", "dilation": (1, 2)},
        (2, 2, 6, 6),
    ),
    "MaxPool1d": ((2,), {}, (2, 3, 7)),
    "MaxPool1d wide": ((3, 2, 1, 2), {"ceil_mode": True}, (2, 3, 8)),
    "MaxPool2d": ((3,), {"stride": 2, "padding": 1}, (2, 3, 7, 6)),
    "AvgPool1d": ((2,), {"ceil_mode": True}, (2, 3, 7)),
    "AvgPool2d": (((2, 3),), {"padding": 1, "count_include_pad": False}, (2, 3, 6, 6)),
    "AvgPool2d by 5": ((2,), {"divisor_override": 5, "stride": 1}, (2, 3, 6, 6)),
    "AdaptiveAvgPool1d": ((3,), {}, (2, 3, 7)),
    "AdaptiveAvgPool2d": (((2, 3),), {}, (2, 3, 7, 5)),
    "AdaptiveMaxPool1d": ((3,), {}, (2, 3, 7)),
    "AdaptiveMaxPool1d more": ((5,), {}, (3, 3)),
    "AdaptiveMaxPool2d": (((3, None),), {}, (2, 3, 7, 5)),
    "Flatten": ((), {}, (2, 3, 4)),
    "Unflatten": ((1, (2, -1, 3)), {}, (2, 12, 2)),
    "Softmax2d": ((), {}, (2, 3, 4, 2)),
    "ReLU": ((), {}, (4, 5)),
    "LeakyReLU": ((0.2,), {}, (4, 5)),
    "ELU": ((0.7,), {}, (4, 5)),
    "SELU": ((), {}, (4, 5)),
    "GELU": ((), {}, (4, 5)),
    "GELU tanh": (("tanh",), {}, (4, 5)),
    "SiLU": ((), {}, (4, 5)),
    "Mish": ((), {}, (4, 5)),
    "Hardswish": ((), {}, (4, 5)),
    "Sigmoid": ((), {}, (4, 5)),
    "Tanh": ((), {}, (4, 5)),
    "Softplus": ((2.0, 5.0), {}, (4, 5)),
    "GLU": ((1,), {}, (4, 6)),
    "CELU": ((0.7,), {}, (4, 5)),
    "Hardshrink": ((0.3,), {}, (4, 5)),
    "Hardsigmoid": ((), {}, (4, 5)),
    "Hardtanh": ((-0.3, 0.5), {}, (4, 5)),
    "LogSigmoid": ((), {}, (4, 5)),
    "LogSoftmax": ((0,), {}, (4, 5)),
    "PReLU": ((), {}, (4, 5)),
    "PReLU of channels": ((3, 0.4), {}, (2, 3, 4, 2)),
    "RReLU": ((), {}, (4, 5)),
    "ReLU6": ((), {}, (4, 5)),
    "Softmax": ((1,), {}, (4, 5)),
    "Softmin": ((0,), {}, (4, 5)),
    "Softshrink": ((0.3,), {}, (4, 5)),
    "Softsign": ((), {}, (4, 5)),
    "Tanhshrink": ((), {}, (4, 5)),
    "Threshold": ((0.1, 3.0), {}, (4, 5)),
    "Identity": ((), {}, (4, 5)),
}


@pytest.mark.parametrize("case", LAYERS)
def test_they_agree_with_pytorch(case, device):
    name = case.split()[0]
    args, options, shape = LAYERS[case]
    torch.manual_seed(0)
    theirs = getattr(torch.nn, name)(*args, **options).double()
    mine = getattr(nn, name)(*args, **options).to(device, "float64")
    mine.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    if name == "RReLU":  # which draws its slopes while training
        mine.eval()
        theirs.eval()
    rng = np.random.default_rng(1)
    x = rng.standard_normal(shape)
    given = torch.tensor(x, requires_grad=True)
    want = theirs(given)
    u = rng.standard_normal(want.shape)
    want.backward(torch.tensor(u))

    y, pull = gg.vjp(lambda m, x: m(x), mine, gg.Array(x, device=device))
    assert y.device == device
    # PyTorch's constants 1/6 and 1/alpha have single precision.
    rtol = 1e-7 if name in ("Hardsigmoid", "CELU") else 1e-9
    np.testing.assert_allclose(y.numpy(), want.detach().numpy(), rtol=rtol, atol=1e-12)
    slopes, slope = pull(gg.Array(u, device=device))
    np.testing.assert_allclose(slope.numpy(), given.grad.numpy(), rtol=rtol, atol=1e-12)
    found = dict(slopes.named_parameters())
    for key, p in theirs.named_parameters():
        np.testing.assert_allclose(
            found[key].numpy(), p.grad.numpy(), rtol=1e-9, atol=1e-12, err_msg=key
        )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("case", LAYERS)
def test_narrow_models_stay_narrow(case, dtype, device):
    """Layers whose weights are narrow, without autocast: outputs and gradients are too."""
    name = case.split()[0]
    args, options, shape = LAYERS[case]
    if (name, dtype, device.kind) == ("Linear", "bfloat16", "cuda") and STAND_IN:
        pytest.skip("the stand-in's cublasGemmEx has no bfloat16")
    theirs = getattr(torch.nn, name)(*args, **options).to(getattr(torch, dtype)).eval()
    mine = getattr(nn, name)(*args, **options).to(device, dtype).eval()
    mine.load_state_dict(theirs.state_dict())
    given = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(getattr(torch, dtype))
    x = gg.Array(given).to(device)
    x.requires_grad = True
    y = mine(x)
    y.astype("float32").sum().backward()
    got = [y, x.grad, *[p.grad for p in mine.parameters()]]
    assert {str(a.dtype) for a in got} == {dtype}
    given.requires_grad_()
    want = theirs(given)
    want.float().sum().backward()
    tol = 0.01 if dtype == "float16" else 0.08
    for a, b in zip(got, (want, given.grad, *[p.grad for p in theirs.parameters()]), strict=True):
        b = b.detach().float().numpy()
        a = a.detach().astype("float32").numpy()
        np.testing.assert_allclose(a, b, rtol=tol, atol=tol * max(1, np.abs(b).max()))


@pytest.mark.parametrize("case", [c for c in LAYERS if c.startswith(("Linear", "Conv"))])
def test_first_weights_spread_as_those_of_pytorch(case):
    args, options, _ = LAYERS[case]
    theirs = getattr(torch.nn, case.split()[0])(*args, **options)
    gg.random.seed(0)
    mine = getattr(nn, case.split()[0])(*args, **options)
    for (name, p), (other, q) in zip(
        mine.named_parameters(), theirs.named_parameters(), strict=True
    ):
        assert (name, p.shape) == (other, tuple(q.shape))
        fan = np.prod(theirs.weight.shape[1:])
        assert np.abs(p.numpy()).max() <= 1 / np.sqrt(fan)
        assert p.dtype == np.float32


def test_dropout_drops_while_training(device):
    x = gg.Array(np.ones(10_000, "f4"), device=device)
    layer = nn.Dropout(0.3, generator=gg.random.Generator(0))
    y, pull = gg.vjp(layer, x)
    kept = y.numpy() != 0
    assert abs(kept.mean() - 0.7) < 0.02
    np.testing.assert_allclose(y.numpy()[kept], 1 / 0.7, rtol=1e-6)
    np.testing.assert_array_equal(pull(y)[0].numpy() != 0, kept)
    assert (layer(x).numpy() != y.numpy()).any()  # another mask each time
    again = nn.Dropout(0.3, generator=gg.random.Generator(0))
    np.testing.assert_array_equal(again(x).numpy(), y.numpy())
    np.testing.assert_array_equal(layer.eval()(x).numpy(), x.numpy())


def test_random_slopes(device):
    x = gg.Array(np.linspace(-2, 2, 1000, dtype="f4"), device=device)
    layer = nn.RReLU(0.1, 0.4, generator=gg.random.Generator(0))
    slopes = gg.grad(lambda x: layer(x).sum())(x).numpy()
    np.testing.assert_array_equal(slopes[x.numpy() > 0], 1)
    drawn = slopes[x.numpy() < 0]
    assert 0.1 <= drawn.min() < 0.11
    assert 0.39 < drawn.max() <= 0.4


def test_places_of_the_largest(device):
    x = np.random.default_rng(0).standard_normal((2, 3, 6, 6))
    options = {"stride": 2, "return_indices": True}
    want = torch.nn.MaxPool2d(3, **options)(torch.tensor(x))
    got = nn.MaxPool2d(3, **options)(gg.Array(x, device=device))
    for g, w in zip(got, want, strict=True):
        np.testing.assert_array_equal(g.numpy(), w.numpy())


def test_places_of_the_largest_of_so_many_windows(device):
    x = np.random.default_rng(0).integers(0, 3, (2, 3, 7, 5)).astype("f8")  # with ties
    given = torch.tensor(x, requires_grad=True)
    want = torch.nn.AdaptiveMaxPool2d((3, 4), return_indices=True)(given)
    want[0].sum().backward()
    mine = gg.Array(x, device=device)
    for g, w in zip(nn.AdaptiveMaxPool2d((3, 4), True)(mine), want, strict=True):
        np.testing.assert_array_equal(g.numpy(), w.detach().numpy())
    slope = gg.grad(lambda x: nn.adaptive_max_pool2d(x, (3, 4)).sum())(mine)
    np.testing.assert_array_equal(slope.numpy(), given.grad.numpy())
    line = gg.Array(x[0, :, :, 0], device=device)
    got = nn.adaptive_max_pool1d(line, 4, return_indices=True)
    want = torch.nn.functional.adaptive_max_pool1d(torch.tensor(x[0, :, :, 0]), 4, True)
    for g, w in zip(got, want, strict=True):
        np.testing.assert_array_equal(g.numpy(), w.numpy())


@pytest.mark.parametrize("size", [(9, 4), (10, 5), (1, 2, 10, 4)])
def test_a_transposed_convolution_of_a_size(size):
    options = {"stride": 2, "padding": (1, 0)}
    theirs = torch.nn.ConvTranspose2d(2, 2, (3, 2), **options).double()
    mine = nn.ConvTranspose2d(2, 2, (3, 2), **options, dtype="float64")
    mine.load_state_dict(theirs.state_dict())
    x = np.random.default_rng(0).standard_normal((1, 2, 5, 2))
    want = theirs(torch.tensor(x), output_size=size).detach().numpy()
    np.testing.assert_allclose(mine(x, output_size=size).numpy(), want, rtol=1e-12)
    with pytest.raises(ValueError, match=r"output_size=\(11, 4\).*from \[9, 4\] to \[10, 5\]"):
        mine(x, output_size=(11, 4))


def test_swiglu():
    x = np.random.default_rng(0).standard_normal((3, 8))
    a, b = np.split(x, 2, axis=-1)
    np.testing.assert_allclose(nn.SwiGLU()(x), a * b / (1 + np.exp(-b)))


def test_errors():
    with pytest.raises(ValueError, match="3 and 4 channels are no multiples of 2"):
        nn.Conv2d(3, 4, 3, groups=2)
    with pytest.raises(ValueError, match="kernel_size"):
        nn.Conv2d(3, 4, (3, 3, 3))
    with pytest.raises(ValueError, match=r"got 1\.5"):
        nn.Dropout(1.5)
    with pytest.raises(ValueError, match="'mirror'"):
        nn.Conv2d(3, 4, 3, padding_mode="mirror")
    with pytest.raises(ValueError, match=r"3 slopes for an input of shape \(2, 4\)"):
        nn.PReLU(3)(np.ones((2, 4)))
    with pytest.raises(ValueError, match="min_val=2"):
        nn.hardtanh(np.ones(2), 2, 1)
    with pytest.raises(ValueError, match="got -1"):
        nn.softshrink(np.ones(2), -1)
    with pytest.raises(ValueError, match=r"axis 1 of shape \(2, 5\) is not \(2, 3\)"):
        nn.Unflatten(1, (2, 3))(np.ones((2, 5)))
    with pytest.raises(ValueError, match=r"axis 1 of shape \(2, 0\) is not \(0, -1\)"):
        nn.Unflatten(1, (0, -1))(np.ones((2, 0)))
    with pytest.raises(ValueError, match=r"got \(2, 3\)"):
        nn.Softmax2d()(np.ones((2, 3)))


NORMS = {
    "LayerNorm": (((4, 5),), {}, (3, 2, 4, 5)),
    "LayerNorm plain": ((5,), {"elementwise_affine": False, "eps": 1e-3}, (3, 5)),
    "RMSNorm": ((5,), {}, (3, 2, 5)),
    "GroupNorm": ((2, 6), {}, (3, 6, 4)),
    "BatchNorm1d": ((4,), {}, (6, 4)),
    "BatchNorm1d of sequences": ((4,), {"momentum": None}, (3, 4, 5)),
    "BatchNorm2d": ((3,), {"eps": 1e-3}, (2, 3, 4, 5)),
    "BatchNorm2d without a bias": ((3,), {"bias": False, "momentum": 0.3}, (2, 3, 4, 5)),
    "GroupNorm without a bias": ((3, 6), {"bias": False, "eps": 0.1}, (3, 6, 4)),
    "LayerNorm without a bias": ((5,), {"bias": False}, (3, 5)),
    "RMSNorm plain": (((2, 5),), {"elementwise_affine": False, "eps": 0.1}, (3, 2, 5)),
    "BatchNorm2d without moments": ((3,), {"track_running_stats": False}, (2, 3, 4, 5)),
}


@pytest.mark.parametrize("mode", ["training", "evaluating"])
@pytest.mark.parametrize("case", NORMS)
def test_norms_agree_with_pytorch(case, mode, device):
    name = case.split()[0]
    args, options, shape = NORMS[case]
    theirs = getattr(torch.nn, name)(*args, **options).double()
    mine = getattr(nn, name)(*args, **options).to(device, "float64")
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for p in theirs.parameters():
            p.copy_(torch.tensor(rng.standard_normal(p.shape)))
    mine.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    for _ in range(2):  # training first: running moments
        x = rng.standard_normal(shape) * 2 + 1
        theirs(torch.tensor(x))
        mine(gg.Array(x, device=device))
    for model in (mine, theirs):
        model.train(mode == "training")
    given = torch.tensor(x, requires_grad=True)
    want = theirs(given)
    u = rng.standard_normal(want.shape)
    want.backward(torch.tensor(u))
    y, pull = gg.vjp(lambda m, x: m(x), mine, gg.Array(x, device=device))
    np.testing.assert_allclose(y.numpy(), want.detach().numpy(), rtol=1e-9, atol=1e-11)
    slopes, slope = pull(gg.Array(u, device=device))
    np.testing.assert_allclose(slope.numpy(), given.grad.numpy(), rtol=1e-8, atol=1e-11)
    found = dict(slopes.named_parameters())
    for key, p in theirs.named_parameters():
        np.testing.assert_allclose(found[key].numpy(), p.grad.numpy(), rtol=1e-8, atol=1e-11)
    for key, value in theirs.state_dict().items():
        got = mine.state_dict()[key].numpy()
        np.testing.assert_allclose(got, value.numpy(), rtol=1e-9, err_msg=key)


def test_embedding_agrees_with_pytorch(device):
    theirs = torch.nn.Embedding(7, 3, padding_idx=2).double()
    mine = nn.Embedding(7, 3, padding_idx=2).to(device, "float64")
    assert not mine.weight.numpy()[2].any()
    mine.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    at = np.array([[1, 2, 1], [6, 0, 2]])
    want = theirs(torch.tensor(at))
    u = np.random.default_rng(0).standard_normal(want.shape)
    want.backward(torch.tensor(u))
    y, pull = gg.vjp(lambda m: m(gg.Array(at, device=device)), mine)
    np.testing.assert_array_equal(y.numpy(), want.detach().numpy())
    slope = pull(gg.Array(u, device=device))[0].weight
    np.testing.assert_allclose(slope.numpy(), theirs.weight.grad.numpy())
