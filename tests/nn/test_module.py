"""Modules are pytrees of their parameters, and have PyTorch's methods."""

from __future__ import annotations

import copy
import pickle
from collections import OrderedDict

import numpy as np
import optree
import pytest

import gpugrad as gg
from gpugrad import nn


class Net(nn.Module):
    def __init__(self, device=None):
        super().__init__()
        draw = gg.random.Generator(0)
        self.body = nn.Sequential(
            nn.Linear(3, 4, dtype="float64", device=device, generator=draw),
            nn.tanh,
            nn.Linear(4, 4, bias=False, dtype="float64", device=device, generator=draw),
        )
        self.heads = {"a": nn.Linear(4, 2, dtype="float64", device=device, generator=draw)}
        self.scale = nn.parameter(np.float64(2), device=device)
        self.calls = nn.Buffer(gg.Array(np.zeros((), int), device=device))
        self.width = 4

    def forward(self, x):
        self.calls.value = self.calls.value + 1
        return self.heads["a"](nn.Residual(self.body[1])(self.body(x))) * self.scale


NAMES = ["scale", "body.0.weight", "body.0.bias", "body.2.weight", "heads.a.weight", "heads.a.bias"]
X = np.linspace(-1, 1, 15).reshape(5, 3)


def loss(model, x):
    return (model(x) ** 2).mean()


def test_names_are_those_of_pytorch():
    model = Net()
    assert [n for n, _ in model.named_parameters()] == NAMES
    assert [n for n, _ in model.named_buffers()] == ["calls"]
    assert [n for n, _ in model.named_children()] == ["body", "heads.a"]
    assert [n for n, _ in model.body.named_modules()] == ["", "0", "1", "2"]
    assert list(model.state_dict()) == [*NAMES, "calls"]


def test_the_transform_and_the_tape_agree(device):
    model = Net(device)
    x = gg.Array(X, device=device)
    value, grads = gg.value_and_grad(loss)(model, x)
    assert type(grads) is Net
    assert not value.requires_grad
    before = model(x)
    loss(model, x).backward()
    for (name, p), g in zip(model.named_parameters(), grads.parameters(), strict=True):
        assert g.device == device
        np.testing.assert_array_equal(p.grad.numpy(), g.numpy(), err_msg=name)
    stepped = optree.tree_map(lambda p, g: p - 0.1 * g, model, grads)
    assert float(loss(stepped, x)) < float(value)
    np.testing.assert_array_equal(model(x).numpy(), before.numpy())  # the model is untouched


def test_a_transform_records_on_its_own_tape_only():
    model = Net()
    seen = []

    def f(model, x):
        seen.extend(model.parameters())
        return loss(model, x)

    gg.grad(f)(model, X)
    assert all(p._trace.level == 1 and not isinstance(p._value, gg.Array) for p in seen)


def test_buffers_written_under_a_transform_stay_written():
    model = Net()
    gg.grad(loss)(model, X)
    assert model.calls.value.item() == 1


def test_models_batch():
    models = [Net() for _ in range(3)]
    models[1].scale = nn.parameter(5.0)
    stack = optree.tree_map(lambda *ps: np.stack([p.numpy() for p in ps]), *models)
    outs = gg.vmap(lambda m, x: nn.Module.__call__(m, x), in_axes=(0, None))(stack, X)
    np.testing.assert_allclose(outs[1], models[1](X).numpy())


def test_state_goes_there_and_back(device):
    source, target = Net(), Net(device)
    changed = {n: v.numpy() + 1 for n, v in source.state_dict().items()}
    target.load_state_dict(changed)
    for name, value in target.state_dict().items():
        assert value.device == device
        np.testing.assert_array_equal(value.numpy(), changed[name])
    assert all(p.requires_grad for p in target.parameters())


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (lambda s: s.pop("scale"), KeyError, r"missing \['scale'\]"),
        (lambda s: s.update(other=1.0), KeyError, r"unexpected \['other'\]"),
        (lambda s: s.update(scale=np.ones(2)), ValueError, r"scale has shape \(\), got \(2,\)"),
        (lambda s: s.update(scale=1 + 2j), TypeError, "scale is of float64, got complex128"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(change, kind, message):
    model = Net()
    state = {n: v.numpy() + 1 for n, v in model.state_dict().items()}
    before = {n: v.numpy().copy() for n, v in model.state_dict().items()}
    change(state)
    with pytest.raises(kind, match=message):
        model.load_state_dict(state)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])


def test_what_did_not_match_is_told():
    model = Net()
    assert model.load_state_dict(model.state_dict()) == ([], [])
    state = {"scale": np.array(3.0), "other": np.ones(2)}
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert (sorted([*missing, "scale"]), unexpected) == (sorted([*NAMES, "calls"]), ["other"])
    assert model.scale.item() == 3


class Shifted(nn.Module):
    def __init__(self, device):
        super().__init__()
        self.places = gg.numpy.arange(3, device=device)
        self.seen = [gg.numpy.ones(3, bool, device=device)]
        self.linear = nn.Linear(3, 2, device=device)

    def forward(self, x):
        return self.linear((x + self.places) * self.seen[0])


def test_an_array_of_integers_is_a_setting(device):
    model = Shifted(device)
    x = gg.numpy.ones((2, 3), "float32", device=device)
    names = ["linear.weight", "linear.bias"]
    assert [n for n, _ in model.named_parameters()] == list(model.state_dict()) == names
    grads = gg.grad(lambda m, x: m(x).sum())(model, x)
    gg.optim.SGD(model.parameters(), 0.1).step(grads)
    stepped = optree.tree_map(lambda p, g: p - g, model, grads)
    assert stepped.places is model.places
    assert "parameters=8" in repr(model)
    assert nn.summary(model, x).parameters == 8
    assert model.to("cpu").places.device.kind == "cpu"


def test_models_are_copied_and_pickled(device):
    model = Net(device)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert all(p.requires_grad for p in other.parameters())
        np.testing.assert_array_equal(
            other(gg.Array(X, device=device)).numpy(), model(gg.Array(X, device=device)).numpy()
        )
        other.scale.requires_grad = False
        assert model.scale.requires_grad


def test_moving_and_casting(device):
    model = Net().to(device, dtype="float32")
    assert {(p.device, str(p.dtype)) for p in model.parameters()} == {(device, "float32")}
    assert model.calls.value.dtype == int
    for dtype in ("float16", np.float64, np.dtype("float32")):  # alone, as PyTorch takes it
        assert {p.dtype for p in model.to(dtype).parameters()} == {np.dtype(dtype)}
    assert model.calls.value.device == device


class Tied(nn.Module):
    """A language model whose last layer is its table, as GPT-2's."""

    def __init__(self, device=None):
        super().__init__()
        draw = {"generator": gg.random.Generator(0), "dtype": "float64", "device": device}
        self.table = nn.Embedding(7, 4, **draw)
        self.body = nn.Sequential(nn.Linear(4, 4, **draw), nn.tanh)
        self.head = nn.Linear(4, 7, bias=False, **draw)
        self.head.weight = self.table.weight
        self.scales = [nn.parameter(np.full(7, 0.5), device=device)]
        self.scales.append(self.scales[0])

    def forward(self, x):
        y = self.head(self.body(self.table(x)))
        return y * self.scales[0] * self.scales[1]


def tied_loss(model, x):
    return (model(x) ** 2).mean()


def test_shared_parameters_are_one_leaf(device):
    model, x = Tied(device), gg.Array(np.array([1, 2, 2, 6]), device=device)
    assert [n for n, _ in model.named_parameters()] == [
        "scales.0", "table.weight", "body.0.weight", "body.0.bias",
    ]  # fmt: skip
    assert len(optree.tree_leaves(model)) == 4
    tied_loss(model, x).backward()
    grads = gg.grad(tied_loss)(model, x)
    assert grads.head.weight is grads.table.weight
    assert grads.scales[0] is grads.scales[1]
    for p, g in zip(model.parameters(), grads.parameters(), strict=True):
        np.testing.assert_allclose(g.numpy(), p.grad.numpy(), rtol=1e-12)


def test_shared_parameters_stay_shared_through_steps(device):
    x = gg.Array(np.array([1, 2, 2, 6]), device=device)
    model = Tied(device)
    optimizer = gg.optim.SGD(model.parameters(), lr=0.1)
    stepped = Tied(device)
    for _ in range(3):
        optimizer.step(gg.grad(tied_loss)(model, x))
        slopes = gg.grad(tied_loss)(stepped, x)
        stepped = optree.tree_map(lambda p, g: p - 0.1 * g, stepped, slopes)
    assert stepped.head.weight is stepped.table.weight
    assert model.head.weight is model.table.weight
    for p, q in zip(model.parameters(), stepped.parameters(), strict=True):
        np.testing.assert_allclose(p.numpy(), q.numpy(), rtol=1e-12)


def test_shared_parameters_agree_with_pytorch():
    torch = pytest.importorskip("torch")
    model = Tied()
    theirs = torch.nn.ModuleDict(
        {"table": torch.nn.Embedding(7, 4), "head": torch.nn.Linear(4, 7, bias=False)}
    ).double()
    theirs["head"].weight = theirs["table"].weight
    ours = nn.Sequential({"table": model.table, "head": model.head})
    assert sorted(ours.state_dict()) == sorted(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    assert ours[0].weight is ours[1].weight
    x = np.array([1, 2, 2, 6])
    theirs["head"](theirs["table"](torch.tensor(x))).square().sum().backward()
    g = gg.grad(lambda m: (m(x) ** 2).sum())(ours)
    np.testing.assert_allclose(g[0].weight.numpy(), theirs["table"].weight.grad.numpy())


def test_one_name_of_a_shared_parameter_is_enough_to_load_it():
    model, other = Tied(), Tied()
    state = {n: v.numpy() + 1 for n, v in model.state_dict().items()}
    del state["head.weight"], state["scales.0"]  # as files leave out what they have already
    other.load_state_dict(state)
    np.testing.assert_array_equal(other.head.weight.numpy(), state["table.weight"])
    del state["table.weight"]
    with pytest.raises(KeyError, match=r"missing \['head.weight', 'table.weight'\]"):
        other.load_state_dict(state)


def test_shared_layers_and_surgery():
    layer = nn.Linear(2, 2, dtype="float64")
    model = nn.Sequential(layer, nn.tanh, layer)
    g = gg.grad(lambda m, x: m(x).sum())(model, np.ones((3, 2)))
    assert g[0].weight is g[2].weight
    assert len(list(g.parameters())) == 2
    plain = optree.tree_map(
        lambda part: nn.Identity() if isinstance(part, nn.Linear) else part,
        Net(),
        is_leaf=lambda part: isinstance(part, nn.Linear),
    )
    assert isinstance(plain.body[0], nn.Identity)


def test_shared_parameters_stay_shared_when_cast():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    model.to(dtype="float64")
    assert model[1].weight is model[0].weight


def test_layers_by_name():
    model = nn.Sequential({"first": nn.Linear(2, 3), "act": nn.relu, "last": nn.Linear(3, 1)})
    names = ["first.weight", "first.bias", "last.weight", "last.bias"]
    assert list(model.state_dict()) == names
    grads = gg.grad(lambda m, x: m(x).sum())(model, np.ones((4, 2), "f4"))
    assert [n for n, _ in grads.named_parameters()] == names
    assert list(model[1:].state_dict()) == names[2:]
    assert model[-1] is model.layers["last"]


def test_parts_in_other_containers_are_detached_too():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = OrderedDict(b=nn.parameter(np.ones(2)), a=nn.parameter(np.ones(2)))

    leaves = optree.tree_leaves(Named())
    assert len(leaves) == 2
    assert not any(leaf.requires_grad for leaf in leaves)


def test_modes_and_gradients():
    model = Net()
    model.eval()
    assert not any(m.training for m in model.modules())
    assert model.train().body[0].training
    model.requires_grad_(False)
    assert not loss(model, X).requires_grad
    model.requires_grad_()
    loss(model, X).backward()
    model.zero_grad(set_to_none=False)
    assert not any(p.grad.numpy().any() for p in model.parameters())
    model.zero_grad()
    assert all(p.grad is None for p in model.parameters())


def test_repr_shows_shapes_and_counts():
    assert repr(nn.Sequential(nn.Linear(3, 4), nn.relu)) == (
        "Sequential(parameters=16\n"
        "  (0): Linear(in_features=3, out_features=4, parameters=16)\n"
        "  (1): Lambda(relu)\n)"
    )


def test_requires_grad_can_be_set():
    x = gg.Array(2.0)
    x.requires_grad = True
    (x * x).backward()
    assert float(x.grad) == 4
    with pytest.raises(TypeError, match="int64"):
        gg.Array(2).requires_grad = True
    with pytest.raises(TypeError, match="detach"):
        (x * x).requires_grad = True
    x.requires_grad = False
    assert not (x * x).requires_grad


def test_flatten_joins_the_axes():
    assert nn.Flatten()(np.ones((2, 3, 4))).shape == (2, 12)
    assert nn.Flatten(0, 1)(np.ones((2, 3, 4))).shape == (6, 4)


class Centred(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", np.zeros(2))
        self.register_buffer("seen", np.zeros((), int), persistent=False)
        self.register_buffer("nothing", None)
        self.weight = nn.Parameter(np.ones(2))

    def forward(self, x):
        if self.training:
            self.mean = 0.5 * self.mean + 0.5 * x.mean(0)
            self.seen = self.seen + 1
        return (x - self.mean) * self.weight


def test_registered_buffers_are_arrays(device):
    model = Centred().to(device)
    x = gg.Array(np.full((3, 2), 4.0), device=device, requires_grad=True)
    model(x).sum().backward()
    gg.grad(lambda m, x: m(x).sum())(model, x.detach())
    assert not model.mean.requires_grad
    np.testing.assert_array_equal(model.mean.numpy(), 3)
    assert (model.seen.item(), model.nothing, model.mean.device) == (2, None, device)
    assert set(model.state_dict()) == {"mean", "weight"}
    assert {n for n, _ in model.named_buffers()} == {"mean", "seen"}
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        other.eval()(x)
        other.mean = np.zeros(2)
        np.testing.assert_array_equal(model.mean.numpy(), 3)
    with pytest.raises(ValueError, match=r"mean is a buffer, .* under vmap each example would"):
        gg.vmap(model)(gg.Array(np.ones((4, 3, 2)), device=device))
    np.testing.assert_array_equal(model.mean.numpy(), 3)
    with pytest.raises(AttributeError, match="'Centred' object has no attribute 'means'"):
        _ = model.means
    with pytest.raises(KeyError, match="'weight' already"):
        model.register_buffer("weight", np.ones(2))
    with pytest.raises(KeyError, match="'forward' already"):
        model.register_buffer("forward", np.ones(2))


def test_a_registered_buffer_may_be_empty_for_a_while():
    model = Centred()
    weights = [name for name, _ in model.named_parameters()]
    model.nothing = np.ones(3)  # and is no parameter then
    assert [name for name, _ in model.named_parameters()] == weights
    assert set(model.state_dict()) == {"mean", "nothing", "weight"}
    model.to(dtype="float32")
    assert model.nothing.dtype == np.float32
    model.nothing = None
    assert model.nothing is None
    model.to(dtype="float64").load_state_dict({"mean": np.ones(2), "weight": np.ones(2)})
    model.register_buffer("nothing", np.zeros(1))
    del model.nothing
    assert not hasattr(model, "nothing")
    assert set(model.state_dict()) == {"mean", "weight"}


def test_modules_by_name_and_lists_of_parameters_are_pytorch_s():
    torch = pytest.importorskip("torch")

    def build(room, array):
        whole = type("Whole", (room.Module,), {})()
        whole.add_module("heads", room.ModuleDict({"b": room.Linear(2, 1), "a": room.Linear(2, 2)}))
        whole.scales = room.ParameterList([array(3), array(2)])
        whole.heads["c"] = room.Linear(1, 1)
        whole.scales.append(array(1))
        return whole

    theirs = build(torch.nn, lambda n: torch.nn.Parameter(torch.ones(n)))
    mine = build(nn, lambda n: np.ones(n, "f4"))
    assert {n: p.shape for n, p in mine.named_parameters()} == {
        n: tuple(p.shape) for n, p in theirs.named_parameters()
    }
    mine.load_state_dict(theirs.state_dict())
    grads = gg.grad(lambda m: sum((p * p).sum() for p in m.parameters()))(mine)
    np.testing.assert_array_equal(grads.scales[2].numpy(), 2)
    assert list(grads.heads) == ["b", "a", "c"]
    assert mine.get_submodule("heads.a") is mine.heads["a"]
    assert "a" in mine.heads
    assert mine.heads.pop("a") is not None
    assert len(mine.heads) == 2
    with pytest.raises(AttributeError, match=r"no module 'heads\.a' inside"):
        mine.get_submodule("heads.a")


def test_moving_and_casting_by_name(device):
    model = nn.Linear(2, 2)
    assert model.double().weight.dtype == np.float64
    assert model.half().weight.dtype == np.float16
    assert model.float().weight.dtype == np.float32
    if device.kind == "cuda":
        assert model.cuda().weight.device == device
        assert model.cpu().cuda(0).weight.device == device
    assert model.cpu().weight.device.kind == "cpu"
