"""Devices: names, the default, discovery where much is broken, copies, memory figures, errors."""

from __future__ import annotations

import copy
import importlib.util
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from gpugrad.device import (
    CPU,
    HOST_TYPES,
    Device,
    DeviceError,
    OutOfMemoryError,
    best_device,
    common_device,
    cuda_available,
    default_device,
    device_of,
    devices,
    is_cuda,
    memory,
    namespace,
    on,
    out_of_memory,
    set_default_device,
    synchronize,
    to_device,
    why_no_cuda,
)
from gpugrad.device import device as find

ROOT = Path(__file__).resolve().parents[1]


def python(code: str, *path: Path, **env: str) -> str:
    """Run code in a fresh interpreter that has seen neither CuPy nor the stand-in."""
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHONPATH", "GPUGRAD"))}
    keep["PYTHONPATH"] = os.pathsep.join(map(str, [*path, ROOT]))
    done = subprocess.run(
        [sys.executable, "-c", code], env=keep | env, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def two(cuda):
    if cuda.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("only one CUDA device")
    return find("cuda:0"), find("cuda:1")


@pytest.fixture(autouse=True)
def _no_default_left_behind():
    yield
    set_default_device(None)


# ------------------------------------------------------------------------------ names


def test_a_device_prints_compares_and_hashes(device):
    assert find(str(device)) == device
    assert repr(device) == f"device({str(device)!r})"
    assert {device: 1}[Device(device.kind, device.index)] == 1
    assert device != str(device)
    assert find(device) is device
    assert pickle.loads(pickle.dumps(device)) == copy.deepcopy(device) == device
    with pytest.raises(AttributeError):
        device.index = 1


def test_the_names_of_devices(cuda):
    assert (find("cpu").kind, find("cpu").index) == ("cpu", 0)
    assert str(find("cuda")) == str(find("cuda:0")) == "cuda:0"
    assert find(None) == default_device()
    assert find(cuda.cuda.Device(0)) == find("cuda:0")


@pytest.mark.parametrize(
    "name", ["gpu", "", "cuda:", "cuda:x", "cuda:-1", "cuda:²", "cpu:1", "CUDA"]
)
def test_an_unknown_name_is_refused_with_the_allowed_ones(name):
    with pytest.raises(DeviceError) as error:
        find(name)
    assert str(error.value) == (
        f"unknown device {name!r}: allowed are 'cpu', 'cuda' and 'cuda:N', for instance 'cuda:1'"
    )


def test_something_else_than_a_name_is_refused():
    with pytest.raises(TypeError, match=r"not by 3 of type int: allowed are 'cpu', 'cuda' and"):
        find(3)


def test_a_device_built_by_hand_is_checked(cuda):
    with pytest.raises(DeviceError, match="no device of kind 'tpu' and index 0: allowed are"):
        Device("tpu", 0)
    with pytest.raises(DeviceError, match="no device of kind 'cpu' and index 1"):
        Device("cpu", 1)
    with pytest.raises(DeviceError, match="no device 'cuda:99'"), Device("cuda", 99):
        pass
    assert default_device() == CPU


def test_an_index_out_of_range_says_how_many_there_are(cuda):
    count = cuda.cuda.runtime.getDeviceCount()
    with pytest.raises(DeviceError) as error:
        find(f"cuda:{count}")
    assert f"no device 'cuda:{count}': this machine has {count} CUDA device" in str(error.value)
    assert str(error.value).endswith(f"'cuda:{count - 1}'")


# ------------------------------------------------------------------------------ the default device


def test_the_innermost_block_is_the_default(device):
    with find("cpu"):
        with device as inner:
            assert inner is device
            assert default_device() is device
            assert find(None) is device
        assert default_device() is CPU
    assert default_device() is CPU


def test_a_block_ends_with_an_error_too(device):
    def fail():
        with device:
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        fail()
    assert default_device() is CPU


def test_a_block_holds_for_its_thread_and_the_process_default_for_all(cuda):
    seen = []

    def look():
        seen.append(str(default_device()))

    def look_elsewhere():
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()

    with find("cuda"):
        look_elsewhere()
    set_default_device("cuda")
    look_elsewhere()
    with find("cpu"):
        assert default_device() is CPU
        look_elsewhere()
    set_default_device(None)
    look_elsewhere()
    assert seen == ["cpu", "cuda:0", "cuda:0", "cpu"]


def test_a_block_is_cupys_current_device_too(cuda, two):
    with two[1]:
        assert device_of(cuda.zeros(3)) == two[1]
        assert find("cuda") == two[1]
        with two[0]:
            assert device_of(cuda.zeros(3)) == two[0]
        assert device_of(cuda.zeros(3)) == two[1]
    assert device_of(cuda.zeros(3)) == two[0]


def test_cuda_without_a_number_is_the_default_or_cupys_current_one(cuda, two):
    with cuda.cuda.Device(1):
        assert find("cuda") == two[1]
    set_default_device("cuda:1")
    assert find("cuda") == two[1]


def test_the_environment_names_the_default():
    show = "from gpugrad.device import default_device; print(default_device())"
    assert python(show) == "cpu"
    assert python(show, GPUGRAD_DEVICE="") == "cpu"
    assert python(show, GPUGRAD_DEVICE=" cpu ") == "cpu"
    catch = f"""
import gpugrad.device as d
from gpugrad.device import DeviceError
try:
    {show}
except DeviceError as error:
    print(error)
"""
    assert python(catch, GPUGRAD_DEVICE="gpu") == (
        "the environment variable GPUGRAD_DEVICE='gpu' is of no use: unknown device 'gpu': "
        "allowed are 'cpu', 'cuda' and 'cuda:N', for instance 'cuda:1'"
    )
    hidden = "import sys; sys.modules['cupy'] = None\n" + catch
    assert python(hidden, GPUGRAD_DEVICE="cuda").startswith(
        "the environment variable GPUGRAD_DEVICE='cuda' is of no use: "
        "there is no device 'cuda:0': CuPy is not installed"
    )


def test_the_environment_may_name_cuda(tmp_path):
    fake_cupy(tmp_path)
    show = "from gpugrad.device import default_device; print(default_device())"
    assert python(show, tmp_path, GPUGRAD_DEVICE="cuda") == "cuda:0"


# ------------------------------------------------------------------------------ discovery


def test_importing_imports_neither_cupy_nor_numba():
    show = """
import sys
import numpy as np
from gpugrad.device import common_device, default_device, device, device_of, is_cuda, memory
x = np.ones(3)
common_device([x, 1.0, np.float32(2)], "add"), device_of(x), is_cuda(x), default_device()
with device("cpu"):
    memory()
print(sorted({"cupy", "cupy_backends", "numba", "torch", "jax"} & set(sys.modules)))
"""
    assert python(show) == "[]"


LOOK = """
from gpugrad.device import *
print(devices(), cuda_available(), best_device())
print(why_no_cuda())
try:
    device("cuda")
except DeviceError as error:
    print(error)
try:
    device("cuda:1")
except DeviceError as error:
    print(error)
"""


def test_discovery_without_cupy():
    found, why, error, indexed = python("import sys; sys.modules['cupy'] = None" + LOOK).split("\n")
    assert found == "[device('cpu')] False cpu"
    assert why == (
        'CuPy is not installed: pip install "gpugrad[cuda12]" for a CUDA 12 driver, '
        'or "gpugrad[cuda13]" for CUDA 13 (nvidia-smi shows which)'
    )
    assert error == f"there is no device 'cuda': {why}"
    assert indexed == f"there is no device 'cuda:1': {why}"


@pytest.mark.skipif(importlib.util.find_spec("cupy") is None, reason="CuPy is not installed")
def test_discovery_with_cupy_but_no_gpu():
    # With no driver there is no GPU whatever this says; with one it hides them all.
    found, why, *_ = python(LOOK, CUDA_VISIBLE_DEVICES="").split("\n")
    assert found == "[device('cpu')] False cpu"
    assert "this machine has no NVIDIA driver" in why or "the NVIDIA driver shows no GPU" in why


def fake_cupy(folder: Path, first: str = "", **answers: str) -> None:
    """Write a package that answers the questions of discovery as a broken machine would."""
    answer = {"driver": "12090", "count": "1", "nvrtc": "(12, 9)"} | answers
    (folder / "cupy").mkdir()
    (folder / "cupy" / "__init__.py").write_text(f"""
{first}
from types import SimpleNamespace as Names
class Failure(RuntimeError):
    status = 100
def fail(error): raise error
runtime = Names(driverGetVersion=lambda: {answer["driver"]}, getDeviceCount=lambda: {answer["count"]}, getDevice=lambda: 0)
cuda = Names(runtime=runtime, nvrtc=Names(getVersion=lambda: {answer["nvrtc"]}), Device=Names)
""")  # noqa: E501


BROKEN = {
    "import fails": (
        {"first": "raise ImportError('\\n=====\\nlibcudart.so.12 is missing\\nand more')"},
        "CuPy is installed but cannot be imported (ImportError: libcudart.so.12 is missing): "
        "pip install",
    ),
    "no driver": (
        {"driver": "0"},
        "CuPy is installed, but this machine has no NVIDIA driver: install one",
    ),
    "broken driver": (
        {"count": "fail(OSError('unknown error'))"},
        "CuPy is installed, but the NVIDIA driver does not answer (OSError: unknown error)",
    ),
    "no GPU": ({"count": "0"}, "the NVIDIA driver shows no GPU"),
    "no device": (
        {"count": "fail(Failure('cudaErrorNoDevice'))"},
        "the NVIDIA driver shows no GPU",
    ),
    "no compiler": (
        {"nvrtc": "fail(RuntimeError('no libnvrtc'))"},
        "CuPy finds a GPU but not CUDA's compiler NVRTC (RuntimeError: no libnvrtc): pip install",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_discovery_on_broken_machines(what, tmp_path):
    answers, expected = BROKEN[what]
    fake_cupy(tmp_path, **answers)
    found, why, error, _ = python(LOOK, tmp_path).split("\n")
    assert found == "[device('cpu')] False cpu"
    assert why.startswith(expected)
    assert error == f"there is no device 'cuda': {why}"


def test_hidden_gpus_are_named_as_such(tmp_path):
    fake_cupy(tmp_path, count="0")
    assert "CUDA_VISIBLE_DEVICES='7' chooses which" in python(
        LOOK, tmp_path, CUDA_VISIBLE_DEVICES="7"
    )


def test_discovery_with_one_gpu(tmp_path):
    fake_cupy(tmp_path)
    assert python(LOOK, tmp_path).split("\n") == [
        "[device('cpu'), device('cuda:0')] True cuda:0",
        "None",
        "there is no device 'cuda:1': this machine has 1 CUDA device, 'cuda:0'",
    ]


def test_discovery_here(cuda):
    assert cuda_available()
    assert why_no_cuda() is None
    assert best_device() == find("cuda:0")
    assert devices() == [CPU, *(Device("cuda", i) for i in range(len(devices()) - 1))]


# ------------------------------------------------------------------------------ where arrays live


def test_the_types_on_the_host():
    scalars = [True, 1, 1.0, 1j, None, np.float32(1), np.int8(1), np.bool_(1), np.complex64(1)]
    for value in [*scalars, np.longlong(1), ml_dtypes.bfloat16(1), np.ones(3), np.float64(1)]:
        assert type(value) in HOST_TYPES, type(value)
        assert device_of(value) is CPU
        assert not is_cuda(value)


class Stretched(np.ndarray):
    pass


def test_subclasses_are_placed_too(cuda):
    mapped = np.ones(3).view(Stretched)
    assert device_of(mapped) is CPU
    assert common_device([mapped, np.float64(2)], "add") is CPU

    class Own(cuda.ndarray):
        pass

    own = cuda.ones(3).view(Own)
    assert is_cuda(own)
    assert device_of(own) == find("cuda:0")


def test_an_array_knows_its_device(device, xp):
    for array in (xp.ones((2, 3)), xp.ones(()), xp.ones(0), xp.ones((4, 4))[::2, 1]):
        assert device_of(array) == device
        assert is_cuda(array) == (device.kind == "cuda")
    assert namespace(device) is xp


@pytest.mark.parametrize("value", [[1.0], "text", {}], ids=repr)
def test_what_is_no_array_has_no_device(value):
    with pytest.raises(TypeError, match=r"expected a numpy.ndarray, a cupy.ndarray or a number, g"):
        device_of(value)


def test_scalars_go_with_any_device(device, xp):
    x = xp.ones(3)
    scalars = [2, 2.5, 1j, True, None, np.float32(2), ml_dtypes.bfloat16(2)]
    assert common_device([*scalars, x, *scalars, x], "add") == device
    assert common_device(scalars, "add") is CPU


def test_cpu_and_cuda_do_not_mix(cuda):
    x, y = np.ones((2, 3)), cuda.ones(3, "f")
    with pytest.raises(DeviceError) as error:
        common_device([2.0, x, y], "add")
    assert str(error.value) == (
        "add: one operand is on cpu (shape (2,3), float64) and another on cuda:0 (shape (3,), "
        "float32). Nothing is copied between devices unasked: move one of them first, by "
        "gpugrad.numpy.asarray(x, device='cuda:0'), or by x.to('cuda:0') where x is a "
        "gpugrad.Array. gpugrad.numpy makes new arrays on the cpu here; after "
        "gpugrad.set_default_device('cuda:0') or in `with gpugrad.device('cuda:0'):` it makes "
        "them there"
    )
    with find("cuda"), pytest.raises(DeviceError, match=r"where x is a gpugrad.Array$"):
        common_device([x, y], "add")
    with pytest.raises(DeviceError, match=r"^matmul: one operand is on cuda:0 .* another on cpu "):
        common_device([y, np.array(2.0)], "matmul")
    assert common_device([y, y], "add") == find("cuda:0")


def test_two_gpus_do_not_mix(cuda, two):
    x = cuda.ones(3)
    with two[1]:
        y = cuda.ones(3)
    with pytest.raises(
        DeviceError, match=r"on cuda:0 .* on cuda:1 .* x.to\('cuda:1'\) where x is a gpugrad.Array$"
    ):
        common_device([x, y], "add")
    assert common_device([x, to_device(y, two[0])], "add") == two[0]


# ------------------------------------------------------------------------------ copies


@pytest.mark.parametrize("dtype", ["?", "i1", "u4", "f2", "f4", "f8", "c8", "c16", "bfloat16"])
def test_a_copy_there_and_back(device, dtype):
    x = np.arange(12).reshape(3, 4).astype(dtype)[:, ::2]
    there = to_device(x, device)
    assert device_of(there) == device
    back = to_device(there, CPU)
    assert type(back) is np.ndarray
    assert back.dtype == x.dtype
    np.testing.assert_array_equal(back, x)


def test_what_is_there_already_is_not_copied(device, xp):
    x = xp.ones(3)
    assert to_device(x, device) is x


def test_scalars_without_a_device_stay_what_they_are(device):
    for value in (2, 2.5, True, 1j, None):
        assert to_device(value, device) is value
    moved = to_device(np.float32(3), device)
    assert device_of(moved) == device
    assert moved.dtype == "f4"
    assert moved.shape == ()


def test_a_copy_between_gpus(cuda, two):
    for x in (cuda.arange(6.0).reshape(2, 3), cuda.arange(6.0).reshape(2, 3).T[1:], cuda.ones(())):
        y = to_device(x, two[1])
        assert device_of(y) == two[1]
        np.testing.assert_array_equal(y.get(), x.get())
        z = to_device(y, two[0])
        assert device_of(z) == two[0]
        assert to_device(y, CPU).shape == x.shape
    assert cuda.cuda.runtime.getDevice() == 0


def test_copies_cross_the_bus_once_and_only_when_asked(cuda, counters, two):
    x = np.ones(1000, "f")
    with counters() as r:
        y = to_device(x, two[0])
    assert (r["h2d"], r["h2d_bytes"], r["d2h"]) == (1, 4000, 0)
    with counters() as r:
        y = to_device(y, two[1])
        to_device(y, two[1])
        common_device([y, 2.0, np.float32(3)], "add")
    assert (r["h2d"], r["d2h"], r["syncs"], r["launches"]) == (0, 0, 0, 0)
    assert r["d2d_bytes"] == 4000
    with counters() as r:
        to_device(y, CPU)
    assert (r["d2h"], r["d2h_bytes"]) == (1, 4000)


def test_copies_use_the_current_stream_and_pool(cuda):
    pool = cuda.cuda.MemoryPool()
    stream = cuda.cuda.Stream(non_blocking=True)
    with cuda.cuda.using_allocator(pool.malloc), stream:
        y = to_device(np.ones(1000), find("cuda:0"))
        assert pool.used_bytes() == memory("cuda:0").used >= 8000
        assert cuda.cuda.get_current_stream() == stream
    np.testing.assert_array_equal(y.get(), np.ones(1000))


@pytest.mark.parametrize("dtype", ["U3", "O", "M8[s]", "g"])
def test_cuda_says_which_types_it_holds(cuda, dtype):
    with pytest.raises(TypeError) as error:
        to_device(np.zeros(2, dtype), find("cuda:0"))
    assert str(error.value).startswith(
        f"cuda:0 cannot hold dtype {np.dtype(dtype)}, only bool, int"
    )
    assert "convert it with astype, or keep the array on the cpu" in str(error.value)


def test_on_changes_the_device_only_for_its_block(cuda, two):
    with on(CPU), on(two[0]):
        assert cuda.cuda.runtime.getDevice() == 0
        with on(two[1]):
            assert cuda.cuda.runtime.getDevice() == 1
            with on(two[1]):
                assert cuda.cuda.runtime.getDevice() == 1
            assert cuda.cuda.runtime.getDevice() == 1
        assert cuda.cuda.runtime.getDevice() == 0


# ------------------------------------------------------------------------------ memory


def test_memory_of_the_host():
    # in a process of its own: what other tests left behind is freed at any time
    program = """
import numpy as np
from gpugrad import memory
before = memory("cpu")
block = np.ones(16 << 20, "u1")
after = memory()
assert 12 << 20 < after.used - before.used < 24 << 20, (before, after)
assert after.pool == after.used
assert 0 < after.free < after.total
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_memory_of_the_host_where_there_is_no_proc(monkeypatch):
    def absent(*args, **kwargs):
        raise FileNotFoundError(args[0])

    monkeypatch.setattr("builtins.open", absent)
    assert 0 < memory("cpu").used < memory("cpu").total


def test_memory_of_cuda(cuda):
    pool = cuda.cuda.MemoryPool()
    with cuda.cuda.using_allocator(pool.malloc):
        x = cuda.zeros(1 << 20, "u1")
        full = memory("cuda:0")
        del x
        empty = memory("cuda:0")
    assert full.used == 1 << 20
    assert empty.used == 0
    assert empty.pool == full.pool >= 1 << 20
    assert 0 < full.free < full.total
    assert str(empty).startswith("0 bytes in use, 1.0 MiB held by the pool, ")


def test_memory_where_the_user_set_no_pool(cuda):
    with cuda.cuda.using_allocator(None):
        figures = memory("cuda:0")
    assert figures.used == figures.pool == figures.total - figures.free


def test_memory_is_told_by_device(cuda, two):
    pool = cuda.cuda.MemoryPool()
    with cuda.cuda.using_allocator(pool.malloc), two[1]:
        x = cuda.zeros(4096, "u1")
        assert memory().used == memory("cuda:1").used == x.nbytes
        assert memory("cuda:0").used == 0


def test_synchronize_waits_for_one_device(device, request):
    synchronize(device)
    if device.kind == "cuda":
        record = request.getfixturevalue("counters")
        with record() as r:
            synchronize(device)
        assert r["syncs"] == 1


def test_out_of_memory_on_cuda_says_what_and_goes_on(cuda):
    room = find("cuda:0")
    pool = cuda.cuda.MemoryPool()
    pool.set_limit(size=1 << 20)
    with cuda.cuda.using_allocator(pool.malloc):
        with pytest.raises(OutOfMemoryError) as error:
            to_device(np.zeros(1 << 21, "u1"), room)
        text = str(error.value)
        assert text.startswith("moving an array of shape (2097152,), uint8 ran out of memory on cu")
        assert "2,097,152 bytes" in text
        assert "cuda:0: 0 bytes in use, " in text
        assert "Try a smaller batch" in text
        assert isinstance(error.value, MemoryError)
        assert to_device(np.ones(3), room).sum() == 3


def test_out_of_memory_names_who_holds_the_most():
    try:
        np.empty(1 << 60, "u1")
    except MemoryError as error:
        held = [("exp", 10), ("matmul", 3 << 20), *((f"op{i}", 100 + i) for i in range(9))]
        text = str(out_of_memory(error, "tanh", CPU, held))
    assert text.startswith(
        "tanh ran out of memory on cpu: Unable to allocate 1.00 EiB for an array"
    )
    assert (
        "Held for the backward pass, largest first: matmul (3.0 MiB), op8 (108 bytes), "
        "op7 (107 bytes), op6 (106 bytes), op5 (105 bytes).\n" in text
    )
