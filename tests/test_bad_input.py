"""What is wrong is said clearly, and afterwards the next step works."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gpugrad as gg
from gpugrad.device import to_device


@pytest.fixture
def array(device):
    """Make a raw array on the device; after the test, a step must still work."""

    def make(x):
        return to_device(np.asarray(x), device)

    yield make
    x = gg.Array(make([1.0, 2.0]), requires_grad=True)
    loss = (x * x).sum()
    loss.backward()
    assert x.grad.tolist() == [2, 4]
    assert gg.grad(lambda v: (v * v).sum())(make([1.0, 2.0])).tolist() == [2, 4]
    assert gg.Array(make([np.nan])).sum().shape == ()  # no check is left on


# ------------------------------------------------------------------ shapes, dtypes, functions


def test_shapes_that_do_not_fit(array, device):
    a, b = array(np.ones((2, 3))), array(np.ones((4, 5)))
    for f, name in [(lambda a: (a @ b).sum(), "matmul"), (lambda a: (a + b).sum(), "add")]:
        message = rf"{name}\(float64\(2, 3\) on {device}, float64\(4, 5\) on {device}\)"
        with pytest.raises(ValueError, match=message):
            gg.grad(f)(a)


def test_an_unknown_dtype(array):
    with pytest.raises(TypeError, match="float33"):
        gg.grad(lambda x: x.astype("float33").sum())(array([1.0]))


def test_the_gradient_of_an_integer(array):
    with pytest.raises(TypeError, match=r"argument 0 has dtype int64.*astype\(float\)"):
        gg.grad(lambda x: (x * x).sum())(array([1, 2]))
    with pytest.raises(TypeError, match="argument 1 has dtype bool"):
        gg.grad(lambda x, y: x.sum(), argnums=1)(array([1.0]), array([True]))
    with pytest.raises(TypeError, match=r"write 3\.0 for 3"):
        gg.grad(lambda x: x * x)(3)
    with pytest.raises(TypeError, match="argument 0 holds a str"):
        gg.grad(lambda x: x)("text")


def test_a_result_of_several_numbers(array):
    with pytest.raises(TypeError, match=r"must return one number, it returned shape \(2,\).*mean"):
        gg.grad(lambda x: x * x)(array([1.0, 2.0]))
    x = gg.Array(array([1.0, 2.0]), requires_grad=True)
    with pytest.raises(ValueError, match=r"needs a cotangent of that shape.*loss.mean"):
        (x * x).backward()


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda x: None, r"it returned None \(is a return missing\?\)"),
        (lambda x: "loss", "it returned a str"),
        (lambda x: [x.sum()], "it returned a list"),
        (lambda x: {"loss": x.sum()}, "it returned a dict"),
    ],
)
def test_a_function_that_returns_no_array(array, returned, message):
    for transform in (gg.grad, gg.value_and_grad, gg.elementwise_grad):
        with pytest.raises(TypeError, match=message):
            transform(returned)(array([1.0, 2.0]))


def test_a_function_without_a_return(array):
    for transform in (gg.vjp, lambda f, x: gg.jacrev(f)(x)):
        with pytest.raises(TypeError, match="must return one array, it returned None"):
            transform(lambda x: None, array([1.0, 2.0]))


def test_a_complex_result(array):
    with pytest.raises(TypeError, match=r"must return a real number.*holomorphic_grad"):
        gg.grad(lambda z: z.sum())(array([1j]))


def test_a_function_that_raises_leaves_the_tape_usable(array):
    with pytest.raises(ZeroDivisionError):
        gg.grad(lambda x: x / (1 // 0))(array(1.0))


# ------------------------------------------------------------------ NaN


def line_of(text):
    lines = Path(__file__).read_text().splitlines()
    (at,) = [i for i, line in enumerate(lines, 1) if line.endswith("# " + text)]
    return rf"test_bad_input\.py:{at} in "


def test_nan_in_the_forward_pass_names_operation_and_line(array, device):
    def loss(x):
        y = x - 2.0
        return np.log(y).sum()  # forward

    with gg.debug(nans=True), np.errstate(all="ignore"):
        message = rf"log\(float64\(2,\) on {device}\) gave NaN at .*{line_of('forward')}loss"
        with pytest.raises(gg.NonFiniteError, match=message):
            gg.grad(loss)(array([1.0, 4.0]))
        x = gg.Array(array([1.0, 4.0]), requires_grad=True)
        with pytest.raises(gg.NonFiniteError, match=message):
            loss(x)
    assert issubclass(gg.NonFiniteError, FloatingPointError)


def test_nan_in_the_backward_pass_names_operation_and_line(array):
    def loss(x):
        y = np.sqrt(x)  # backward
        return (y * 0.0).sum()

    with np.errstate(all="ignore"), gg.debug(nans=True):
        message = rf"sqrt for operand 0 is NaN; .* recorded at .*{line_of('backward')}loss"
        with pytest.raises(gg.NonFiniteError, match=message):
            gg.grad(loss)(array([0.0, 4.0]))
        x = gg.Array(array([0.0, 4.0]), requires_grad=True)
        y = loss(x)
        with pytest.raises(gg.NonFiniteError, match=message):
            y.backward()


def test_nan_that_was_there_is_not_blamed_on_anyone(array):
    with gg.debug(nans=True):
        g = gg.grad(lambda x: (x * 2.0).sum())(array([np.nan, 1.0]))
    assert g.tolist() == [2, 2]


def test_nans_are_let_through_when_not_looked_for(array):
    with np.errstate(all="ignore"):
        assert np.isnan(gg.grad(lambda x: (np.sqrt(x) * 0.0).sum())(array([0.0])).tolist()[0])


# ------------------------------------------------------------------ devices and memory


def run(code, **environment):
    env = {k: v for k, v in os.environ.items() if not k.startswith("CUDA_ON_CPU")}
    env |= environment
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120
    )
    return done.returncode, done.stdout, done.stderr


NO_CUDA = """
import numpy as np, gpugrad as gg
for ask in (lambda: gg.device("cuda"), lambda: gg.Array([1.0]).to("cuda"),
            lambda: gg.numpy.zeros(3, device="cuda:0"), lambda: gg.set_default_device("cuda")):
    try:
        ask()
    except gg.DeviceError as error:
        print(error)
    else:
        print("nothing raised")
print(gg.grad(lambda x: x * x)(3.0))
"""


def test_no_cuda_where_cuda_was_asked_for():
    code, out, err = run(NO_CUDA, CUDA_VISIBLE_DEVICES="")
    assert code == 0, err
    *errors, gradient = out.splitlines()
    assert gradient == "6.0"
    assert "nothing raised" not in out
    assert sum("cuda" in line for line in errors) >= 4


OUT_OF_MEMORY = """
import cuda_on_cpu; cuda_on_cpu.install()
import cupy as cp, numpy as np, gpugrad as gg
x = gg.Array(cp.full((1 << 20,), 0.5), requires_grad=True)

def run():
    y = x
    for _ in range(200):
        y = np.tanh(y)
        y = np.exp(y * 0.1)
    return y.sum()

def step():
    w = gg.Array(cp.ones(1 << 20), requires_grad=True)
    (w * 2.0).sum().backward()
    return w.grad[0].item()

step()
try:
    run().backward()
except gg.OutOfMemoryError as error:
    assert isinstance(error, MemoryError)
    print(error)
else:
    print("no error")
print("next step:", step())
"""

STAND_IN = sys.modules.get("cuda_on_cpu")  # tests/conftest.py has started it, if at all
needs_stand_in = pytest.mark.skipif(STAND_IN is None, reason="needs the stand-in's small device")


@needs_stand_in
@pytest.mark.parametrize("limit", ["device", "pool"])
def test_out_of_device_memory(limit):
    folder = str(Path(STAND_IN.__file__).parents[1])
    path = os.pathsep.join([folder, os.environ.get("PYTHONPATH", "")])
    if limit == "device":
        environment = {"CUDA_ON_CPU_MEMORY": str(256 << 20)}
    else:
        environment = {"CUPY_GPU_MEMORY_LIMIT": str(128 << 20)}
    code, out, err = run(OUT_OF_MEMORY, PYTHONPATH=path, **environment)
    assert code == 0, err
    assert "ran out of memory on cuda:0" in out
    assert "(float64(1048576,) on cuda:0" in out  # which operation, and on what
    assert "allocating 8,388,608 bytes" in out  # what was asked
    assert "in use" in out
    assert "Held for the backward pass, largest first: " in out  # what is held, and by what
    assert "tanh (" in out
    assert "exp (" in out
    assert "multiply (" not in out  # it holds a Python number
    assert "Try a smaller batch, gpugrad.checkpoint" in out  # what to try
    assert "next step: 2.0" in out


def test_out_of_memory_on_the_cpu():
    x = gg.Array(np.ones((1, 1)), requires_grad=True)
    with pytest.raises(gg.OutOfMemoryError, match="ran out of memory on cpu") as error:
        np.broadcast_to(x, (1 << 30, 1 << 20)) * 2.0
    assert "multiply" in str(error.value)
    (x * 2.0).backward()
    assert x.grad.item() == 2
