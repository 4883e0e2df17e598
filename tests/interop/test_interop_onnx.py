"""Exported models run in onnxruntime and give what the function gives."""

from __future__ import annotations

import numpy as np
import optree
import pytest

import gpugrad as gg
import gpugrad.numpy as gnp
from gpugrad import nn
from gpugrad.ops import segment
from gpugrad.scipy import special
from gpugrad.training import digits
from gpugrad.training.gpt import GPT

onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
from gpugrad.interop.onnx import export  # noqa: E402

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 4)).astype("f4")
Y = RNG.normal(size=(3, 4)).astype("f4")
POSITIVE = np.abs(X) + 0.5
IMAGES = RNG.normal(size=(2, 4, 9, 11)).astype("f4")
HOLED = np.where(Y > 0.5, np.nan, X)
WHOLE = np.arange(-6, 6).reshape(3, 4)


def run(model, *inputs):
    session = onnxruntime.InferenceSession(model.SerializeToString())
    names = [i.name for i in session.get_inputs()]
    return session.run(None, dict(zip(names, inputs, strict=True)))


def check(f, *inputs, tol=1e-5, **options):
    model = export(f, *inputs, **options)
    got = run(model, *inputs)
    want = optree.tree_leaves(f(*[gg.Array(x) for x in inputs]))
    assert len(got) == len(want)
    for g, w in zip(got, want, strict=True):
        w = w.numpy()
        assert g.dtype == w.dtype
        assert g.shape == w.shape
        np.testing.assert_allclose(g, w, rtol=tol, atol=tol)
    return model


ELEMENTWISE = {
    name: getattr(gnp, name)
    for name in [
        "abs",
        "arctan",
        "arcsinh",
        "ceil",
        "cos",
        "cosh",
        "deg2rad",
        "exp",
        "exp2",
        "expm1",
        "fabs",
        "floor",
        "isfinite",
        "isinf",
        "isnan",
        "logical_not",
        "negative",
        "positive",
        "rad2deg",
        "rint",
        "round",
        "sign",
        "sin",
        "sinh",
        "square",
        "tan",
        "tanh",
        "trunc",
        "cbrt",
    ]
} | {
    "erf": special.erf,
    "erfc": special.erfc,
    "expit": special.expit,
    "log_expit": special.log_expit,
    "ndtr": special.ndtr,
}


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_functions_of_one_array(name):
    x = X.copy()
    if name.startswith("is"):
        x[0, :3] = np.nan, np.inf, -np.inf
    check(ELEMENTWISE[name], x)


@pytest.mark.parametrize("name", ["sqrt", "log", "log1p", "log2", "log10", "reciprocal", "arccosh"])
def test_functions_of_positive_numbers(name):
    check(getattr(gnp, name), POSITIVE + 1)


@pytest.mark.parametrize(
    "name",
    [
        "add",
        "subtract",
        "multiply",
        "divide",
        "maximum",
        "minimum",
        "equal",
        "not_equal",
        "less",
        "less_equal",
        "greater",
        "greater_equal",
        "logaddexp",
        "hypot",
        "mod",
        "floor_divide",
        "logical_and",
        "logical_or",
        "logical_xor",
    ],
)
def test_functions_of_two_arrays(name):
    f = getattr(gnp, name)
    check(f, X, Y)
    check(lambda x: f(x, 0.5), X)
    check(lambda x: f(2, x), X)
    check(f, WHOLE, X[:1])


own_rule = gg.custom_vjp(lambda x: gnp.log(1 + gnp.exp(x)))
own_rule.defvjp(lambda x: (own_rule(x), x), lambda x, g: (g * special.expit(x),))

CASES = {
    "power": (lambda x: x**3 + x**1.5, POSITIVE),
    "whole numbers": (lambda n: (n // 5, n % 5, n & 3, ~n, n / 2, -n), WHOLE),
    "sum": (lambda x: (x.sum(), x.sum(0), x.sum((0, 1), keepdims=True)), X),
    "mean": (lambda x: (x.mean(1), x.max(0), x.min(), x.var(1, ddof=1), x.std()), X),
    "any": (lambda x: ((x > 0).any(1), (x > -9).all(), (x > 0).sum(0)), X),
    "argmax": (lambda x: (x.argmax(1), x.argmin(), gnp.argmax(x, 0, keepdims=True)), X),
    "cumsum": (lambda x: (x.cumsum(1), special.logsumexp(x, 1)), X),
    "shapes": (lambda x: (x.T, x.reshape(2, -1), x[None].swapaxes(1, 2), gnp.flip(x, 1)), X),
    "broadcast": (
        lambda x: gnp.broadcast_to(x[:, None], (3, 5, 4)) + gnp.roll(x, 1, 1)[:, None],
        X,
    ),
    "join": (lambda x: (gnp.concatenate([x, x * 2], 1), gnp.stack([x, x], 1), gnp.pad(x, 1)), X),
    "split": (lambda x: gnp.split(x, [1, 3], axis=1), X),
    "mixed": (lambda x: gnp.concatenate([x, WHOLE], 0) + gnp.where(x[:1] > 0, x[:1], 7), X),
    "cast": (lambda x: (x.astype("f8") * 2, x.astype("i4"), (x > 0).astype("f4")), X),
    "slices": (lambda x: (x[1], x[:, ::-2], x[-2:, None, 1:3], x[..., -1], x[::-1, 2]), X),
    "gather": (lambda x: (x[[2, 0]], x[:, [1, -1]], x[1, [0, 2]], gnp.take(x, 1, 1)), X),
    "pairs": (lambda x: (x[[0, 2], [1, -1]], x[[[0], [1]], [[2, 3]]]), X),
    "apart": (lambda x: (x[0, :, [1, 2]], x[:, 1, [0, 3], 2], x[:, [0, 1], :, [2, 3]]), IMAGES),
    "along": (lambda x: gnp.take_along_axis(x, x.argmax(1)[:, None], 1), X),
    "product": (lambda x: (x @ x.T, x @ x[0], gnp.einsum("ab,ac->bc", x, x), x[0] @ x[1]), X),
    "triangle": (lambda x: (gnp.tril(x), gnp.triu(x, 1)), X),
    "bool": (lambda x: gnp.where((x > 0) ^ (x < 1), x, -x), X),
    "softmax": (lambda x: (nn.softmax(x, 0), nn.log_softmax(x, 1)), X),
    "rms": (lambda x: nn.rms_norm(x, 4, Y[0]), X),
    "layer": (lambda x: (nn.layer_norm(x, 4), nn.layer_norm(x, (3, 4), Y, X)), X),
    "group": (lambda x: nn.group_norm(x, 2, Y[0], Y[1]), IMAGES),
    "one example": (lambda x: nn.max_pool1d(x, 2), X),
    "norms": (lambda x: (gnp.linalg.norm(x, axis=1), gnp.linalg.norm(x, 3, axis=0)), X),
    "sorted": (lambda x: (gnp.sort(x, 1), gnp.argsort(x, 0), gnp.sort(x.round(), 0)), X),
    "ties": (lambda n: gnp.argsort(n % 3, 1), WHOLE),
    "angles": (lambda x: (gnp.arctan2(x, Y), gnp.arctan2(x * 0, Y), gnp.sinc(x.round())), X),
    "remainder": (lambda x: (gnp.fmod(x, Y), gnp.diff(x, axis=1)), X),
    "not a number": (lambda x: (gnp.nan_to_num(x), gnp.fmax(x, Y), gnp.fmin(Y, x)), HOLED),
    "logit": (lambda x: special.logit(0.3 + 0.1 * gnp.tanh(x)), X),
    "segments": (lambda x, s: segment.segment_sum(x, s, 3), X, np.array([2, -1, 2])),
    "rows": (lambda x, n: segment.take_rows_p(x, n), X, np.array([2, -1, 2, 3])),
    "own rule": (lambda x: own_rule(x) + gg.fuse(lambda x: gnp.tanh(x) * x)(x), X),
    "fused": (lambda x: gg.fuse(lambda x: (gnp.where(x > 0, 1.0, 0.0), x * x))(x), X),
    "stop": (lambda x: gg.stop_gradient(x) * gg.checkpoint(gnp.sin)(x), X),
}


@pytest.mark.parametrize("name", CASES)
def test_operations(name):
    check(*CASES[name])


@pytest.mark.parametrize(
    "name",
    [
        "relu",
        "leaky_relu",
        "sigmoid",
        "tanh",
        "elu",
        "selu",
        "gelu",
        "silu",
        "mish",
        "hardswish",
        "softplus",
    ],
)
def test_activations(name):
    check(getattr(nn, name), 3 * X)


WINDOWS = {
    "max": lambda x: nn.max_pool2d(x, 3, 2, 1),
    "max, places": lambda x: nn.max_pool2d(x, 2, return_indices=True),
    "max, ceil, dilation": lambda x: nn.max_pool2d(x, (2, 3), 2, 1, (2, 1), ceil_mode=True),
    "mean": lambda x: nn.avg_pool2d(x, 3, 2, 1),
    "mean, no padding": lambda x: nn.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
    "mean, ceil": lambda x: nn.avg_pool2d(x, 2, 2, 1, ceil_mode=True),
    "mean, divisor": lambda x: nn.avg_pool2d(x, 2, divisor_override=3),
    "mean, whole": lambda x: nn.adaptive_avg_pool2d(x, 1),
    "mean, uneven": lambda x: nn.adaptive_avg_pool2d(x, (4, 5)),
    "conv": lambda x: nn.conv2d(x, W, BIAS, stride=(2, 1), padding=1, dilation=(1, 2)),
    "conv, groups, same": lambda x: nn.conv2d(x, W[:, :2], padding="same", groups=2),
    "conv, transposed": lambda x: nn.conv_transpose2d(x, W[:4, :3], BIAS[:3], 2, 1, 1),
    "conv, transposed, groups": lambda x: nn.conv_transpose2d(x, W[:4], groups=2, dilation=2),
    "conv1d": lambda x: nn.conv1d(x[:, :, 0], W[:, :, 0], BIAS, padding=1),
}
W = RNG.normal(size=(6, 4, 3, 3)).astype("f4") / 6
BIAS = RNG.normal(size=6).astype("f4")


@pytest.mark.parametrize("name", WINDOWS)
def test_windows(name):
    check(WINDOWS[name], IMAGES)


@pytest.mark.parametrize("causal", [False, True])
def test_attention(causal):
    q, k, v = RNG.normal(size=(3, 2, 4, 5, 8)).astype("f4")
    check(lambda q, k, v: nn.scaled_dot_product_attention(q, k, v, is_causal=causal), q, k, v)
    few = k[:, :2], v[:, :2]
    check(
        lambda q, k, v: nn.scaled_dot_product_attention(
            q, k, v, is_causal=causal, enable_gqa=True
        ),
        q, *few,
    )  # fmt: skip


def test_attention_with_a_mask_that_hides_everything():
    q, k, v = RNG.normal(size=(3, 2, 4, 5, 8)).astype("f4")
    mask = RNG.random((5, 5)) > 0.5
    mask[2] = False
    check(lambda q, k, v, m: nn.scaled_dot_product_attention(q, k, v, m), q, k, v, mask)


def mlp():
    draw = gg.random.Generator(0)
    return nn.Sequential(
        nn.Linear(4, 16, generator=draw), nn.GELU(), nn.LayerNorm(16), nn.Dropout(0.5),
        nn.Linear(16, 3, generator=draw),
    ).eval()  # fmt: skip


def cnn():
    draw = gg.random.Generator(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, generator=draw), nn.BatchNorm2d(8), nn.ReLU(),
        nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, generator=draw), nn.SiLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 10, generator=draw),
    ).eval()  # fmt: skip


def gpt():
    return GPT(11, 16, 32, 2, 4, generator=gg.random.Generator(0)).eval()


MODELS = {
    "mlp": (mlp, X),
    "cnn": (cnn, RNG.normal(size=(3, 1, 8, 8)).astype("f4")),
    "gpt": (gpt, RNG.integers(0, 11, (3, 12))),
    "digits mlp": (lambda: digits.mlp(dtype="float32"), RNG.normal(size=(3, 64)).astype("f4")),
    "digits cnn": (lambda: digits.cnn().eval(), RNG.normal(size=(3, 64)).astype("f4")),
    "lstm": (lambda: nn.LSTM(4, 5, batch_first=True), RNG.normal(size=(3, 6, 4)).astype("f4")),
    "encoder": (
        lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval(),
        RNG.normal(size=(3, 6, 8)).astype("f4"),
    ),
}


@pytest.mark.parametrize("dynamic", [False, True], ids=["fixed", "dynamic"])
@pytest.mark.parametrize("name", MODELS)
def test_models(name, dynamic, tmp_path):
    make, x = MODELS[name]
    model = make()
    file = tmp_path / "model.onnx"
    export(model, x, path=file, dynamic_batch=dynamic)
    session = onnxruntime.InferenceSession(file)
    (given,) = session.get_inputs()
    assert given.shape == ["batch" if dynamic else 3, *x.shape[1:]]
    for batch in (x, x[:1], np.concatenate([x] * 3)) if dynamic else (x,):
        want = optree.tree_leaves(model(batch))
        for g, w in zip(session.run(None, {given.name: batch}), want, strict=True):
            np.testing.assert_allclose(g, w.numpy(), atol=1e-5)


LAYERS = [
    (nn.Conv1d(4, 3, 3, padding=2, padding_mode="reflect"), (2, 4, 9)),
    (nn.Conv2d(4, 6, 3, padding="same", padding_mode="circular", groups=2), (2, 4, 5, 6)),
    (nn.ConvTranspose1d(4, 3, 3, 2, 1, 1), (2, 4, 5)),
    (nn.ConvTranspose2d(4, 2, 3, 2, groups=2), (2, 4, 4, 3)),
    (nn.MaxPool1d(3, 2, ceil_mode=True), (2, 4, 8)),
    (nn.AvgPool2d(2, divisor_override=5), (2, 4, 6, 6)),
    (nn.AdaptiveAvgPool1d(3), (2, 4, 7)),
    (nn.GroupNorm(2, 4), (2, 4, 7)),
    (nn.RMSNorm(5), (2, 4, 5)),
    (nn.BatchNorm1d(4), (2, 4, 5)),
    (nn.PReLU(4), (2, 4, 5)),
    (nn.SwiGLU(), (2, 6)),
    (nn.Residual(nn.Linear(4, 4)), (2, 4)),
    (nn.RNN(4, 3, nonlinearity="relu", batch_first=True), (2, 6, 4)),
    (nn.GRU(4, 3, 2, batch_first=True, bidirectional=True), (2, 6, 4)),
    *((getattr(nn, name)(), (3, 4)) for name in (
        "CELU", "ELU", "GELU", "GLU", "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh",
        "LeakyReLU", "LogSigmoid", "LogSoftmax", "Mish", "RReLU", "ReLU", "ReLU6", "SELU", "SiLU",
        "Sigmoid", "Softmax", "Softmin", "Softplus", "Softshrink", "Softsign", "Tanh",
        "Tanhshrink",
    )),
]  # fmt: skip


@pytest.mark.parametrize("dynamic", [False, True], ids=["fixed", "dynamic"])
@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=lambda v: type(v).__name__)
def test_layers(layer, shape, dynamic):
    layer.eval()
    x = RNG.normal(size=shape).astype("f4")
    model = export(layer, x, dynamic_batch=dynamic)
    for batch in (x, np.concatenate([x, x, x])) if dynamic else (x,):
        want = optree.tree_leaves(layer(batch))
        for g, w in zip(run(model, batch), want, strict=True):
            np.testing.assert_allclose(g, getattr(w, "numpy", lambda w=w: w)(), atol=1e-5)


def test_a_decoder_that_looks_at_an_encoder():
    layer = nn.TransformerDecoderLayer(8, 2, 16, batch_first=True, rotary=True)
    model = nn.TransformerDecoder(layer, 2, nn.LayerNorm(8)).eval()
    x, memory = RNG.normal(size=(2, 2, 5, 8)).astype("f4")
    hidden = np.triu(np.ones((5, 5), bool), 1)

    def f(x, memory):
        return model(x, memory, tgt_mask=hidden)

    check(f, x, memory)


def test_a_shared_weight_is_stored_once():
    model = nn.Sequential({"table": nn.Embedding(7, 4), "head": nn.Linear(4, 7, bias=False)})
    model[1].weight = model[0].weight
    made = export(model, np.array([[1, 2, 6]]))
    assert [t.name for t in made.graph.initializer if list(t.dims) == [7, 4]] == ["table.weight"]
    check(model, np.array([[1, 2, 6]]))


def test_what_autocast_made_narrow_is_so_in_the_file():
    layer = nn.Linear(4, 3)

    def f(x):
        with gg.autocast("float16"):
            return layer(x)

    (out,) = export(f, X).graph.output
    assert out.type.tensor_type.elem_type == onnx.TensorProto.FLOAT16
    np.testing.assert_allclose(run(export(f, X), X)[0], f(X).numpy(), atol=2e-3)


def test_weights_keep_their_names_and_are_stored_once():
    model = gpt()
    stored = {t.name: t for t in export(model, np.zeros((1, 4), int)).graph.initializer}
    names = {name for name, _ in model.named_parameters()}
    assert names - stored.keys() == {"positions.weight"}  # of which only four rows are used
    inside = sum(int(np.prod(t.dims)) for t in stored.values())
    assert inside < sum(p.size for p in model.parameters()) * 1.02


def test_what_is_not_used_is_left_out():
    model = export(lambda x: (np.exp(x), x * 2)[1], X)
    assert [n.op_type for n in model.graph.node] == ["Mul", "Identity"]


def test_names_of_inputs_and_outputs():
    model = export(lambda a, b: (a["w"] + b, a["v"]), {"w": X, "v": Y}, X)
    assert [i.name for i in model.graph.input] == ["a_v", "a_w", "b"]
    assert [o.name for o in model.graph.output] == ["output", "output_1"]
    model = export(np.exp, X, input_names=["x"], output_names=["y"])
    assert [i.name for i in model.graph.input] == ["x"]
    assert [o.name for o in model.graph.output] == ["y"]
    with pytest.raises(ValueError, match="2 input_names for 1"):
        export(np.exp, X, input_names=["x", "y"])


def test_from_cuda_to_a_file(cuda):
    model = mlp()
    want = model(X).numpy()
    got = run(export(model.to("cuda:0"), cuda.asarray(X)), X)[0]
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_an_operation_without_a_form_is_named():
    with pytest.raises(NotImplementedError, match="the operation solve has no form"):
        export(lambda x: gnp.linalg.solve(x @ x.T + np.eye(3, dtype="f4"), x), X)
    with pytest.raises(NotImplementedError, match=r"dropout .*model.eval\(\)"):
        export(mlp().train(), X)
    with pytest.raises(NotImplementedError, match=r"batch_norm .*model.eval\(\)"):
        export(cnn().train(), RNG.normal(size=(3, 1, 8, 8)).astype("f4"))


def test_a_function_of_another_library_is_named():
    torch = pytest.importorskip("torch")
    with pytest.raises(NotImplementedError, match="the operation from_torch has no form"):
        export(gg.interop.torch.from_torch(torch.tanh), X)


def test_random_numbers_are_no_constants():
    draw = np.random.default_rng(0)
    for f in (
        nn.RReLU(),
        nn.Sequential(nn.Linear(4, 3), nn.RReLU(generator=gg.random.Generator(0))),
        lambda x: x + gg.random.normal(size=4),
        lambda x: x + np.random.normal(size=4).astype("f4"),
    ):
        with pytest.raises(NotImplementedError, match=r"draws random numbers.*model\.eval\(\)"):
            export(f, draw.normal(size=(3, 4)).astype("f4"))
    export(nn.RReLU().eval(), X)


def test_an_operation_of_the_user_s_is_not_taken_for_ours():
    @gg.primitive
    def tanh(x):
        return x + 1

    with pytest.raises(NotImplementedError, match="the operation tanh has no form"):
        export(tanh, X)
    check(gnp.tanh, X)


def test_what_a_dynamic_batch_cannot_have():
    with pytest.raises(ValueError, match="one first length"):
        export(lambda a, b: a + b, X, Y[:1], dynamic_batch=True)
    with pytest.raises(ValueError, match="depends on the batch's length"):
        export(lambda x: x + np.arange(x.shape[0])[:, None].astype("f4"), X, dynamic_batch=True)
    with pytest.raises(ValueError, match=r"\(16,\) and \(25,\)"):
        export(lambda x: gnp.broadcast_to(x.sum(), x.shape[0] ** 2), X, dynamic_batch=True)
    with pytest.raises(ValueError, match="different operations"):
        export(lambda x: x if x.shape[0] == 4 else x + 1, X, dynamic_batch=True)


def test_a_function_is_recorded_not_differentiated():
    model = nn.Linear(4, 2)
    export(model, X)
    model(X).sum().backward()  # its tape is as it was
    assert model.weight.grad is not None
