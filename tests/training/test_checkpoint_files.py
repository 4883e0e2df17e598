"""Checkpoints: nothing is lost, nothing damaged is believed, nothing that was there is harmed."""

from __future__ import annotations

import json
import math
import resource
import signal
import sys
from itertools import pairwise

import ml_dtypes
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

import gpugrad as gg
from gpugrad import nn
from gpugrad.training import CheckpointError, Checkpoints, read_state, rebuildable, write_state


@rebuildable
class Small(nn.Module):
    def __init__(self, width, dtype="float32", *, device=None, generator=None):
        super().__init__()
        self.inner = nn.Linear(3, width, device=device, dtype=dtype, generator=generator)
        self.seen = nn.Buffer(gg.numpy.zeros(2, device=device))

    def forward(self, x):
        return self.inner(x)


def same(a, b):
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(v, b[k]) for k, v in a.items())
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and (a == b or (a != a and b != b))


def everything():
    rng = np.random.default_rng(0)
    arrays = [
        rng.normal(size=(2, 3)).astype(t)
        for t in ("f2", "f4", "f8", ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, "c8", "c16", "?")
    ]
    return {
        "model": {"0.weight": rng.normal(size=(2, 3)).T, "scalar": np.array(1.5), "none": None},
        "optimizer": {"state": {0: {"step": np.array([7])}, 1: {}}, "betas": (0.9, 0.999)},
        "numbers": [1, True, -0.0, 0.1, math.inf, -math.inf, math.nan, 2**64 - 1, "ä\n"],
        "arrays": arrays,
        "empty": np.zeros((0, 3)),
        "$odd": {("a", 1): [], "$array": {}},
    }


def test_a_state_comes_back_bit_for_bit(tmp_path):
    state = everything()
    write_state(tmp_path / "s.safetensors", state)
    assert same(read_state(tmp_path / "s.safetensors"), state)
    assert [p.name for p in tmp_path.iterdir()] == ["s.safetensors"]
    first = (tmp_path / "s.safetensors").read_bytes()
    write_state(tmp_path / "s.safetensors", state)
    assert (tmp_path / "s.safetensors").read_bytes() == first


def test_others_read_the_weights_by_their_names(tmp_path):
    write_state(tmp_path / "s.safetensors", everything())
    with safe_open(tmp_path / "s.safetensors", framework="numpy") as file:
        assert {"0.weight", "/optimizer/state/0/step"} <= set(file.keys())
        assert same(file.get_tensor("0.weight"), everything()["model"]["0.weight"].copy("C"))
        number, digest, document = file.metadata()["gpugrad"].split(" ", 2)
        assert (number, len(digest)) == ("3", 64)
        assert "numbers" in json.dumps(json.loads(document))


@pytest.mark.parametrize("name", ["total", "optimizer/x", "extras"])
def test_no_weight_has_the_name_of_something_else(name, tmp_path):
    path = tmp_path / "s.safetensors"
    state = {
        "total": np.zeros(2),
        "model": {name: np.ones(2)},
        "optimizer": {"x": np.full(2, 3.0)},
        "extras": np.full(2, 4.0),
    }
    write_state(path, state)
    assert same(read_state(path), state)
    with safe_open(path, framework="numpy") as file:
        assert same(file.get_tensor(name), np.ones(2))


@pytest.mark.parametrize(
    ("state", "name"),
    [
        ({"model": {"/total": np.ones(2)}, "total": np.zeros(2)}, "/total"),
        ({"extras": {"a/b": np.ones(2), "a": {"b": np.zeros(2)}}}, "/extras/a/b"),
        ({"model": {0: np.ones(2), "0": np.zeros(2)}}, "0"),
    ],
)
def test_two_arrays_of_one_name_are_refused(state, name, tmp_path):
    with pytest.raises(ValueError, match=rf"two arrays would be '{name}' in the file: rename"):
        write_state(tmp_path / "s.safetensors", state)
    assert not list(tmp_path.iterdir())


def rewritten(path, entry):
    """Give a file another entry in its header, and nothing else."""
    with safe_open(path, framework="numpy") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        before = file.metadata()["gpugrad"]
    save_file(tensors, path, {"gpugrad": entry(before)})


@pytest.mark.parametrize(
    ("entry", "written", "by"),
    [
        (lambda now: "4 of another structure", 4, "newer"),
        (lambda now: now.replace("3 ", "13 ", 1), 13, "newer"),
        (lambda now: now.replace("3 ", "2 ", 1), 2, "older"),
        # The number stood in the JSON: alone at first, then behind the digest.
        (lambda now: '{"format": 1, "state": {"step": 1}}', 1, "older"),
        (lambda now: "0" * 64 + '{"format": 1, "state": {"step": 1}}', 1, "older"),
    ],
)
def test_another_format_is_named(entry, written, by, tmp_path):
    checkpoints = Checkpoints(tmp_path)
    paths = [checkpoints.save(step, {"step": step, "w": np.ones(3)}) for step in (1, 2)]
    rewritten(paths[1], entry)
    said = rf"step-00000002.* has format {written}, and this gpugrad reads format 3: use the {by} "
    with pytest.raises(CheckpointError, match=said):
        read_state(paths[1])
    # It is whole: going on from the one before would remove it in the end.
    with pytest.raises(CheckpointError, match=said):
        checkpoints.newest()
    with pytest.raises(CheckpointError, match=said):
        gg.load(paths[1], nn.Linear(2, 2))


def test_a_value_that_no_file_can_hold(tmp_path):
    with pytest.raises(TypeError, match="extras/ema is function: <function"):
        write_state(tmp_path / "s.safetensors", {"extras": {"ema": everything}})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("at", [0, 4, 9, 200, -1, -40])
def test_any_changed_byte_is_refused(at, tmp_path):
    path = tmp_path / "s.safetensors"
    write_state(path, everything())
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"s.safetensors .*: use another checkpoint"):
        read_state(path)


@pytest.mark.parametrize("part", [0, 0.3, 0.99])
def test_a_half_written_file_is_refused(part, tmp_path):
    path = tmp_path / "s.safetensors"
    write_state(path, everything())
    data = path.read_bytes()
    path.write_bytes(data[: int(part * len(data))])
    with pytest.raises(CheckpointError, match="half-written or no safetensors file"):
        read_state(path)


def test_files_of_others_are_refused(tmp_path):
    save_file({"w": np.ones(2)}, tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match="none that gpugrad wrote: "):
        read_state(tmp_path / "w.safetensors")
    with pytest.raises(FileNotFoundError):
        read_state(tmp_path / "absent.safetensors")


# ------------------------------------------------------------------------------ models


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_a_model_comes_back(dtype, device, tmp_path):
    model = Small(4, dtype, device=device)
    model.seen.value += 3
    gg.save(model, tmp_path / "m.safetensors", config={"classes": ["a", "b"]})
    before = gg.random.default_generator.state_dict()
    again = gg.load(tmp_path / "m.safetensors", device=device)
    assert gg.random.default_generator.state_dict() == before
    assert type(again) is Small
    assert not again.training
    for name, value in model.state_dict().items():
        got = again.state_dict()[name]
        assert got.device == device
        assert same(got.numpy(), value.numpy())
    assert read_state(tmp_path / "m.safetensors")["config"] == {"classes": ["a", "b"]}
    assert all(p.requires_grad for p in again.parameters())


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_a_model_comes_back_in_another_element_type(dtype, device, tmp_path):
    path = tmp_path / "m.safetensors"
    model = Small(4, device=device).to(dtype=dtype)
    model.inner.bias._replace(model.inner.bias.detach().astype("float32"))
    gg.save(model, path)
    again = gg.load(path, device=device)  # as it was
    for name, value in model.state_dict().items():
        assert same(again.state_dict()[name].numpy(), value.numpy())
    assert again.inner.weight.dtype == dtype
    # As the given one is, also if it was made with another dtype.
    for given in (Small(4), Small(4, "float64")):
        want = given.inner.weight.dtype
        assert gg.load(path, given) is given
        assert given.inner.weight.dtype == want
        expected = model.inner.weight.numpy().astype(want)
        np.testing.assert_array_equal(given.inner.weight.numpy(), expected)


def test_a_model_of_no_recipe_needs_one_to_load_into(tmp_path):
    gg.save(nn.Linear(3, 2), tmp_path / "m.safetensors")
    with pytest.raises(CheckpointError, match=r"give a model, load\(path, model\)"):
        gg.load(tmp_path / "m.safetensors")
    gg.load(tmp_path / "m.safetensors", nn.Linear(3, 2))


def test_another_model_is_refused_and_not_changed(tmp_path):
    path = tmp_path / "m.safetensors"
    gg.save(Small(4), path)
    wrong = {
        r"holds Small\(width=4, dtype='float32'\), not Small\(width=5": Small(5),
        r"of another model: .*missing \['bias', 'weight'\]": nn.Linear(3, 4),
    }
    for said, model in wrong.items():
        before = {n: v.numpy().copy() for n, v in model.state_dict().items()}
        with pytest.raises(CheckpointError, match=said):
            gg.load(path, model)
        for name, value in model.state_dict().items():
            assert same(value.numpy(), before[name])
    gg.save(nn.Linear(3, 2), path)
    with pytest.raises(CheckpointError, match=r"has shape \(3,.*, got \(2,"):
        gg.load(path, nn.Linear(3, 3))


@pytest.mark.parametrize("name", ["os:system", "gpugrad.nn:Linear", "nowhere:Model"])
def test_a_file_names_nothing_but_what_is_marked(name, tmp_path):
    path = tmp_path / "m.safetensors"
    write_state(path, {"recipe": {"builder": name, "arguments": {}}, "config": {}, "model": {}})
    with pytest.raises(CheckpointError, match=f"{name.replace(':', '.')} is not known here"):
        gg.load(path)
    assert "nowhere" not in sys.modules


FORGED = {
    "an argument that does not exist": (
        {"builder": f"{__name__}:Small", "arguments": {"height": 3}},
        r"Small\(height=3\) cannot be made, as there is no argument 'height'",
    ),
    "an argument of another type": (
        {"builder": f"{__name__}:Small", "arguments": {"width": "three"}},
        "m.safetensors: ",
    ),
    "none of the arguments": ({"builder": f"{__name__}:Small", "arguments": {}}, "'width'"),
    "a module that does not exist": (
        {"builder": "gpugrad.nosuch:X", "arguments": {}},
        "gpugrad.nosuch.X is not known here: import the module that defines it",
    ),
    "no builder": ({"arguments": {}}, r"by a builder and its arguments, got \{'arguments'"),
    "no recipe": ("Small(3)", r"by a builder and its arguments, got 'Small\(3\)'"),
}


@pytest.mark.parametrize("what", FORGED)
def test_a_forged_recipe_is_refused(what, tmp_path):
    recipe, said = FORGED[what]
    path = tmp_path / "m.safetensors"
    write_state(path, {"recipe": recipe, "config": {}, "model": Small(3).state_dict()})
    with pytest.raises(CheckpointError, match=said):
        gg.load(path)


@pytest.mark.parametrize("state", [{}, {"model": 3}, {"model": {"inner.weight": "heavy"}}])
def test_a_file_without_weights_is_refused(state, tmp_path):
    path = tmp_path / "m.safetensors"
    write_state(path, {"recipe": Small(3).recipe, **state})
    for model in (None, Small(3)):
        with pytest.raises(CheckpointError, match=r"holds no model's weights: give a file that"):
            gg.load(path, model)


def test_a_folder_is_no_model(tmp_path):
    with pytest.raises(CheckpointError, match=r"is a folder: give a file in it, such as model\."):
        gg.load(tmp_path)


def test_a_forged_state_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "m.safetensors"
    for text in ('{"$array": "absent"}', "{", '{"$float": "much"}'):
        monkeypatch.setattr(json, "dumps", lambda *_, text=text, **__: text)
        write_state(path, {})
        with pytest.raises(CheckpointError, match="holds no state that can be read"):
            read_state(path)


@rebuildable
def layers(first, *widths, device=None, dtype="float32", **how):
    sizes = (first, *widths)
    given = {"device": device, "dtype": dtype}
    return nn.Sequential(*(nn.Linear(a, b, **how, **given) for a, b in pairwise(sizes)))


@rebuildable
class Layers(nn.Module):
    def __init__(self, first, /, device=None, *widths, **how):
        super().__init__()
        self.layers = layers(first, *widths, device=device, **how)


@pytest.mark.parametrize(
    "make",
    [
        lambda device: layers(3, 4, 5, 2, device=device),
        lambda device: layers(3, 2, bias=False, dtype=np.float64, device=device),
        lambda device: layers(3),
        lambda device: Layers(3, device, 4, 2, bias=False),
    ],
)
def test_any_arguments_are_noted(make, device, tmp_path):
    model = make(device)
    gg.save(model, tmp_path / "m.safetensors")
    again = gg.load(tmp_path / "m.safetensors", device=device)
    assert type(again) is type(model)
    assert again.recipe == model.recipe
    expected = {name: value.numpy() for name, value in model.state_dict().items()}
    assert same({name: value.numpy() for name, value in again.state_dict().items()}, expected)


def test_devices_and_generators_are_not_noted_among_others(tmp_path):
    @rebuildable
    def any_of(kind, **how):
        return nn.Linear(2, 2, **how)

    made = any_of([np.dtype("f4"), ("f8", np.float16)], generator=gg.random.Generator(0))
    assert made.recipe["arguments"] == {"kind": ["float32", ("f8", "float16")], "how": {}}


def test_functions_can_be_marked_and_subclasses_have_recipes_of_their_own(tmp_path):
    @rebuildable
    def pair(width, *, hidden: int = 2, generator=None):
        return nn.Sequential(nn.Linear(3, hidden), nn.Linear(hidden, width))

    gg.save(pair(np.int64(1).item(), hidden=7), tmp_path / "m.safetensors")
    assert gg.load(tmp_path / "m.safetensors")[0].out_features == 7

    class Larger(Small):
        pass

    gg.save(Larger(2), tmp_path / "m.safetensors")
    assert read_state(tmp_path / "m.safetensors")["recipe"] is None


# ------------------------------------------------------------------------------ a folder of them


def test_the_last_ones_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path / "c", keep=2)
    assert checkpoints.newest() is None
    for step in (9, 10, 100_000_000):  # in the order of the numbers, not of the names
        (tmp_path / "c").mkdir(exist_ok=True)
        (tmp_path / "c" / ".gpugrad-0123456789abcdef.safetensors").write_bytes(b"of a killed one")
        checkpoints.save(step, {"step": step})
    assert sorted(p.name for p in (tmp_path / "c").iterdir()) == [
        "step-00000010.safetensors",
        "step-100000000.safetensors",
    ]
    assert checkpoints.newest().state == {"step": 100_000_000}


def test_the_newest_good_one_is_used(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=3)
    paths = [checkpoints.save(step, {"step": step}) for step in (1, 2, 3)]
    paths[2].write_bytes(paths[2].read_bytes()[:-9])
    with pytest.warns(UserWarning, match="passed over: .*step-00000003.* half-written"):
        found = checkpoints.newest()
    assert (found.path, found.state) == (paths[1], {"step": 2})
    paths[0].write_bytes(b"")
    paths[1].write_bytes(b"x" * 100)
    with (
        pytest.warns(UserWarning, match="passed over"),
        pytest.raises(CheckpointError, match="none of the 3 checkpoints in"),
    ):
        checkpoints.newest()


@pytest.mark.parametrize("earlier", [False, True])
def test_a_full_disk_harms_nothing(earlier, tmp_path):
    # The system refuses to write past the limit, in the middle of the file.
    folder = tmp_path / "checkpoints"
    checkpoints = Checkpoints(folder, keep=2)
    for step in (1, 2):
        checkpoints.save(step, {"w": np.full(100, step)})
    if earlier:
        checkpoints.set_aside()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, before[1]))
    try:
        with pytest.raises(OSError, match=r"could not write: .*step-00000003"):
            checkpoints.save(3, {"w": np.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    kept = folder.with_name("checkpoints-earlier") if earlier else folder
    assert sorted(p.name for p in kept.iterdir()) == [
        "step-00000001.safetensors",
        "step-00000002.safetensors",
    ]
    assert same(Checkpoints(kept).newest().state, {"w": np.full(100, 2)})
    if earlier:
        assert checkpoints.newest() is None
        checkpoints.save(3, {"w": np.zeros(3)})
        assert not kept.exists()
