"""The examples run, and the gradients through users' own kernels are right."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import gpugrad as gg
from gpugrad.device import to_device

FOLDER = Path(__file__).resolve().parents[1] / "examples"


def load(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where Numba finds it when it reads what it compiled from the disk
    spec.loader.exec_module(module)
    return module


def check_gradient(f, x, rtol=1e-6):
    """Compare with central differences in a few random directions."""
    rng, eps = np.random.default_rng(7), 1e-6
    g = gg.grad(f)(x)
    assert type(g) is type(x)
    for _ in range(4):
        d = type_like(rng.standard_normal(x.shape), x)
        slope = (float(f(x + eps * d)) - float(f(x - eps * d))) / (2 * eps)
        np.testing.assert_allclose(float((g * d).sum()), slope, rtol=rtol, atol=1e-8)


def type_like(raw, x):
    return to_device(np.asarray(raw, x.dtype), gg.device("cuda:0"))


def test_rawkernel(cuda):
    module = load("own_kernel_rawkernel")
    u = type_like(np.random.default_rng(0).standard_normal(300), cuda.zeros(1))
    want = u * (cuda.roll(u, -1) - cuda.roll(u, 1)) / 2
    np.testing.assert_allclose(module.advect(u).get(), want.get())
    check_gradient(module.energy_after_a_step, u)
    np.testing.assert_allclose(module.advect(u[::2]).get(), module.advect(u[::2].copy()).get())


def test_elementwise(cuda):
    module = load("own_kernel_elementwise")
    rng = np.random.default_rng(0)
    w, x, y = (type_like(rng.standard_normal(s), cuda.zeros(1)) for s in [(3,), (40, 3), (40,)])
    check_gradient(lambda w: module.robust_loss(w, x, y), w)
    v = type_like(rng.standard_normal(3), w)
    slope = gg.grad(lambda w: module.robust_loss(w, x, y))
    check_gradient(lambda w: (slope(w) * v).sum(), w, rtol=1e-5)  # second derivatives
    assert gg.grad(lambda r: module.huber(r).sum())(cuda.ones(3, "f4")).dtype == np.float32


def test_numba_cuda(cuda):
    pytest.importorskip("numba_cuda")
    module = load("own_kernel_numba_cuda")
    rng = np.random.default_rng(0)
    x, y = (type_like(rng.standard_normal((9, 5)), cuda.zeros(1)) for _ in "xy")
    decay = type_like([0.7], x)
    want = np.zeros((9, 5))
    for t in range(9):
        want[t] = 0.7 * want[t - 1] + x[t].get()
    np.testing.assert_allclose(module.leaky_sum(x, decay).get(), want)
    check_gradient(lambda d: module.loss(d, x, y), decay)
    check_gradient(lambda v: module.loss(decay, v, y), x)
    slope = gg.grad(module.loss)
    check_gradient(lambda d: slope(d, x, y)[0], decay)  # second derivatives


@pytest.mark.parametrize("name", ["rawkernel", "elementwise", "numba_cuda"])
def test_they_use_the_current_stream_and_wait_for_nothing(counters, cuda, name):
    if name == "numba_cuda":
        pytest.importorskip("numba_cuda")
    module = load(f"own_kernel_{name}")
    ones = cuda.ones((4, 2))
    f, args = {
        "rawkernel": lambda: (module.energy_after_a_step, (ones[:, 0],)),
        "elementwise": lambda: (module.robust_loss, (ones[0], ones, ones[:, 0])),
        "numba_cuda": lambda: (module.loss, (ones[0, :1], ones, ones)),
    }[name]()
    gg.grad(f)(*args)  # compiles
    with cuda.cuda.Stream(non_blocking=True), counters() as r:
        gg.grad(f)(*args)
    assert (r["d2h"], r["syncs"]) == (0, 0)


@pytest.mark.parametrize("name", ["rawkernel", "elementwise", "numba_cuda"])
def test_their_launches_are_captured_on_another_stream(cuda, name):
    """A launch on any other stream would be missing from the graph, or end the capture."""
    if name == "numba_cuda":
        pytest.importorskip("numba_cuda")
    module = load(f"own_kernel_{name}")
    x = cuda.ones(6)
    f = {
        "rawkernel": lambda x: module.energy_after_a_step(x),
        "elementwise": lambda x: module.huber(3 * x).sum(),
        "numba_cuda": lambda x: (module.leaky_sum(x[:, None], x[:1]) ** 2).sum(),
    }[name]
    gg.grad(f)(x)  # compiles
    stream = cuda.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture(cuda.cuda.runtime.streamCaptureModeRelaxed)
        g = gg.grad(f)(x)
        graph = stream.end_capture()
        for k in (0.25, 0.5):
            x[...] = k * cuda.arange(6)
            graph.launch(stream)
            stream.synchronize()
            np.testing.assert_allclose(g.get(), gg.grad(f)(x).get())
            assert (g != 0).any()


def test_njit():
    module = load("own_kernel_njit")
    rng = np.random.default_rng(0)
    lower, upper, rhs, g, v = rng.standard_normal((5, 7))
    main = 4 + rng.random(7)
    matrix = np.diag(main) + np.diag(lower[1:], -1) + np.diag(upper[:-1], 1)
    np.testing.assert_allclose(
        module.tridiagonal(lower, main, upper, rhs), np.linalg.solve(matrix, rhs)
    )

    def f(lower, main, upper, rhs):
        return (g * module.tridiagonal(lower, main, upper, rhs) ** 2).sum()

    def along(*xs):
        return sum((v * d).sum() for d in gg.grad(f, argnums=(0, 1, 2, 3))(*xs))

    xs, eps = (lower, main, upper, rhs), 1e-5
    for h in (f, along):
        for i, got in enumerate(gg.grad(h, argnums=(0, 1, 2, 3))(*xs)):
            d = rng.standard_normal(7)
            ahead, behind = (
                [x + s * eps * d * (j == i) for j, x in enumerate(xs)] for s in (1, -1)
            )
            np.testing.assert_allclose(got @ d, (h(*ahead) - h(*behind)) / (2 * eps), rtol=1e-6)


def test_the_page_on_kernels(cuda):
    pytest.importorskip("numba_cuda")
    text = (FOLDER.parent / "docs" / "own_kernels.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 5
    exec(compile("\n".join(blocks).replace("cache=True", ""), "own_kernels.md", "exec"), {})
    for name in re.findall(r"examples/(\w+)\.py", text):
        assert (FOLDER / f"{name}.py").is_file()


def names():
    return sorted(p.stem for p in FOLDER.glob("own_kernel_*.py"))


@pytest.mark.parametrize("name", names())
def test_main_runs(cuda, capsys, name):
    if name.endswith("numba_cuda"):
        pytest.importorskip("numba_cuda")
    load(name).main()
    out = capsys.readouterr().out
    expected = {
        "elementwise": "w = [ 2.",
        "njit": "conductivity 0.700",
        "numba_cuda": "decay 0.800",
        "rawkernel": "energy 32.0",
    }
    assert expected[name.removeprefix("own_kernel_")] in out
