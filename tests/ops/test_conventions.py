"""docs/conventions.md, line by line: the gradients it states are those of each library."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest

import gpugrad as gg
import gpugrad.numpy as gnp
from gpugrad.device import CPU, to_device
from gpugrad.ops.elementwise import relu

PAGE = Path(__file__).resolve().parents[2] / "docs" / "conventions.md"
NONE = "—"


class Line(NamedTuple):
    """A row of one of the page's tables."""

    expression: str
    at: str
    ours: str
    torch: str
    jax: str


def cells(row: str) -> Line:
    return Line(*[c.strip().strip("`") for c in row.strip().strip("|").split(" | ")])


LINES = [cells(row) for row in PAGE.read_text().splitlines() if row.startswith("| `")]
each_line = pytest.mark.parametrize("line", LINES, ids=lambda v: f"{v.expression} at {v.at}")


def numbers(text: str) -> np.ndarray[Any, Any]:
    return np.asarray(eval(text, {"np": np, "nan": np.nan, "inf": np.inf}))


def check(got: Any, text: str) -> None:
    want = numbers(text)
    assert got.dtype == (complex if want.dtype.kind == "c" else float)
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-15)


class Beside:
    """A namespace whose ``array`` makes what is on one device."""

    def __init__(self, namespace: Any, array: Callable[..., Any]) -> None:
        self.namespace = namespace
        self.array = array

    def __getattr__(self, name: str) -> Any:
        return getattr(self.namespace, name)


def function(expression: str, np_like: Any, relu: Any) -> Callable[[Any], Any]:
    code = compile(expression, "docs/conventions.md", "eval")
    return lambda x: eval(code, {"np": np_like, "nn": SimpleNamespace(relu=relu), "x": x})


def test_the_page_has_its_tables():
    assert len(LINES) > 50


@each_line
def test_gpugrad(line, device):
    here = Beside(gnp, lambda v: to_device(np.array(v), device))
    f = function(line.expression, here, relu)
    with np.errstate(all="ignore"):
        g = gg.grad(lambda x: gnp.sum(f(x)))(to_device(numbers(line.at), device))
    check(to_device(g, CPU), line.ours)


@each_line
def test_jax(line):
    if line.jax == NONE:
        return
    jax = pytest.importorskip("jax")
    with jax.enable_x64(True):
        f = function(line.expression, Beside(jax.numpy, jax.numpy.array), jax.nn.relu)
        g = jax.grad(lambda x: jax.numpy.sum(f(x)))(jax.numpy.array(numbers(line.at)))
    check(np.asarray(g), line.jax)


def in_torch() -> dict[str, Callable[[Any], Any]]:
    """PyTorch's spelling of each expression, where replacing ``np.`` is not enough."""
    import torch as t

    return {
        "np.max(x)": t.amax,
        "np.max(x, axis=0)": lambda x: t.max(x, 0).values,
        "np.ptp(x)": lambda x: t.amax(x) - t.amin(x),
        "np.sort(x) * np.array([1.0, 2.0, 4.0])": lambda x: t.sort(x).values * tensor([1, 2, 4.0]),
        "np.percentile(x, 40.0)": lambda x: t.quantile(x, 0.4),
        "np.fabs(x)": t.abs,
        "np.clip(x, 0.0, 1.0)": lambda x: t.clamp(x, 0.0, 1.0),
        "np.std(x)": lambda x: t.std(x, correction=0),
        "np.mod(x, 2.0)": lambda x: t.remainder(x, 2.0),
        "np.where(x > 0, np.sqrt(x), 0.0)": lambda x: t.where(x > 0, t.sqrt(x), 0.0),
        "np.cumprod(x)": lambda x: t.cumprod(x, 0),
        "np.nansum(x)": t.nansum,
    }


def tensor(values: Any) -> Any:
    import torch

    return torch.tensor(values, dtype=None if isinstance(values[0], int) else torch.float64)


@functools.cache
def torch_namespace() -> Any:
    torch = pytest.importorskip("torch")
    return Beside(torch, tensor)


@each_line
def test_pytorch(line):
    if line.torch == NONE:
        return
    np_like = torch_namespace()
    f = in_torch().get(line.expression)
    if f is None:
        f = function(re.sub(r"np\.inf\b", "float('inf')", line.expression), np_like, np_like.relu)
    x = np_like.namespace.tensor(numbers(line.at), requires_grad=True)
    f(x).sum().backward()
    check(x.grad.resolve_conj().numpy(), line.torch)
