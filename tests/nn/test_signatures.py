"""Names, order and defaults of arguments are PyTorch's; what differs is listed here.

An argument that PyTorch has at another place, because of ones that we leave out, is taken by name
only: no call that PyTorch takes means something else here.
"""

from __future__ import annotations

import inspect
import re

import pytest

from gpugrad import amp, nn, optim

torch = pytest.importorskip("torch")

SPEED = {"foreach", "fused", "capturable", "differentiable", "inplace"}  # how, not what
OLD = {"size_average", "reduce", "min_value", "max_value"}  # others have replaced them
EVERYWHERE = {*SPEED, *OLD, "_stacklevel", "last_epoch"}  # a schedule's state is loaded instead

LEFT_OUT = {
    "Adam": {"decoupled_weight_decay"},  # it is AdamW
    "Embedding": {
        "max_norm", "norm_type", "scale_grad_by_freq", "sparse", "_weight", "_freeze",
    },
    "embedding": {"max_norm", "norm_type", "scale_grad_by_freq", "sparse"},
    "ConvTranspose1d": {"padding_mode"},  # zeros are the only one there, too
    "ConvTranspose2d": {"padding_mode"},
    "GradScaler": {"device"},  # where the loss is
    "MultiheadAttention": {"add_bias_kv", "add_zero_attn"},
    "TransformerEncoder": {"enable_nested_tensor", "mask_check"},
    "GRU": {"proj_size"},
    "LSTM": {"proj_size"},
    "RNN": {"proj_size"},
    "huber_loss": {"weight"},
    "l1_loss": {"weight"},
    "mse_loss": {"weight"},
}  # fmt: skip
ADDED = {"generator", "rotary", "key", "dropout_key"}
DEFAULTS = {  # (theirs, ours)
    "dtype": (None, "float32"),  # PyTorch's None is its default dtype, which is that
    "dim": (None, -1),  # PyTorch's None warns, and guesses
    "activation": (torch.nn.functional.relu, "relu"),
    "is_causal": (None, False),  # None looks at the mask to find a faster way
    "tgt_is_causal": (None, False),
}


def of_doc(f):
    """The signature that the documentation of a function written in C++ begins with."""
    written = re.search(r"(\w+\(.*?\)) -> ", f.__doc__, re.S)[1].replace("Tensor ", "")
    room = {}
    exec(f"def {written}: ...", room)
    (made,) = (made for made in room.values() if inspect.isfunction(made))
    return inspect.signature(made)


def theirs_of(name, f):
    if name in ("RNN", "GRU", "LSTM"):  # which pass on what they are given
        found = dict(inspect.signature(torch.nn.RNNBase).parameters)
        del found["mode"]
        found = list(found.items())
        if name == "RNN":
            act = inspect.Parameter("nonlinearity", inspect.Parameter.KEYWORD_ONLY, default="tanh")
            found.insert(3, ("nonlinearity", act))
        return dict(found)
    if name.startswith(("max_pool", "adaptive_max_pool")):
        f = getattr(torch.nn.functional, f"{name}_with_indices")
    try:
        return dict(inspect.signature(f).parameters)
    except ValueError:
        return dict(of_doc(f).parameters)


ROOMS = [
    (nn, [torch.nn, torch.nn.functional]),
    (nn.init, [torch.nn.init]),
    (optim, [torch.optim, torch.optim.lr_scheduler, torch.nn.utils]),
    (amp, [torch.amp]),
]
OTHERWISE = {
    **dict.fromkeys(
        ("LogSigmoid", "Sigmoid", "Softmax2d", "Softsign", "Tanh", "Tanhshrink"),
        "PyTorch takes anything",
    ),
    "Buffer": "a holder, no array",
    "ModuleList": "None and () are both empty",
    "Parameter": "takes the same, and is a function",
    "ParameterList": "None and () are both empty",
    "Module": "takes nothing",
    "Sequential": "takes what it is given",
    "Identity": "both take anything",
    "Optimizer": "a base",
    "autocast": "the device is where the arrays are, so the dtype comes first",
}


def pairs():
    for room, peers in ROOMS:
        for name in getattr(room, "__all__", dir(room)):
            ours = getattr(room, name)
            theirs = next((getattr(p, name) for p in peers if hasattr(p, name)), None)
            plain = not name.startswith("_") and callable(ours) and callable(theirs)
            if plain and name not in OTHERWISE:
                yield pytest.param(name, ours, theirs, id=f"{room.__name__[8:]}.{name}")
    for name in ("MultiheadAttention", *RECURRENT, *STACKS):
        f, g = getattr(nn, name).forward, getattr(torch.nn, name).forward
        yield pytest.param(f"{name}.forward", f, g, id=f"{name}.forward")


RECURRENT = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNCell"]
STACKS = [f"Transformer{part}{kind}" for part in ("Encoder", "Decoder") for kind in ("", "Layer")]


@pytest.mark.parametrize(("name", "ours", "theirs"), list(pairs()))
def test_as_torch(name, ours, theirs):
    mine = inspect.signature(ours).parameters
    want = theirs_of(name, theirs)
    places = list(want)
    for at, (argument, p) in enumerate(mine.items()):
        if p.kind is p.VAR_KEYWORD or argument in ADDED:
            assert p.kind in (p.VAR_KEYWORD, p.KEYWORD_ONLY) or argument in want, argument
            continue
        if argument not in want:
            pytest.fail(f"PyTorch has no {argument}")
        if p.kind is not p.KEYWORD_ONLY:
            assert places.index(argument) == at, f"{argument} stands elsewhere"
        other = want[argument].default
        assert p.default == other or DEFAULTS.get(argument) == (other, p.default), argument
    missing = want.keys() - mine.keys() - EVERYWHERE
    assert missing == LEFT_OUT.get(name, set())


def test_many_were_compared():
    assert len(list(pairs())) > 130


ACTIVATIONS_LEFT_OUT = {
    "MultiheadAttention",  # is compared above
}


def test_every_activation_is_there():
    room = torch.nn.modules.activation
    assert {n for n in room.__all__ if not hasattr(nn, n)} <= ACTIVATIONS_LEFT_OUT


def test_every_function_of_pytorch_s_is_in_functional():
    ours = {n for n in nn.__all__ if n[0].islower() and hasattr(torch.nn.functional, n)}
    assert set(nn.functional.__all__) == ours - {"init"}
    assert all(getattr(nn.functional, n) is getattr(nn, n) for n in ours - {"init"})


@pytest.mark.parametrize(
    "name", ["register_buffer", "add_module", "get_submodule", "cuda", "cpu", "half", "double"]
)
def test_methods_of_modules_as_torch(name):
    mine = inspect.signature(getattr(nn.Module, name)).parameters
    theirs = inspect.signature(getattr(torch.nn.Module, name)).parameters
    assert [(p.name, p.default) for p in mine.values()] == [
        (p.name, p.default) for p in theirs.values()
    ]
