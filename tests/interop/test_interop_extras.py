"""Without a library: its module says what to install, and the others work."""

from __future__ import annotations

import sys
from importlib import import_module

import numpy as np
import pytest

import gpugrad as gg


@pytest.mark.parametrize(
    ("library", "call"),
    [
        ("torch", lambda: gg.interop.torch.from_torch(abs)),
        ("torch", lambda: gg.interop.torch.as_function(abs)(1.0)),
        ("jax", lambda: gg.interop.jax.from_jax(abs)),
        ("onnx", lambda: gg.interop.onnx.export(np.exp, np.ones(2))),
    ],
)
def test_the_extra_is_named(library, call, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ModuleNotFoundError, match=rf'pip install "gpugrad\[{library}\]"'):
        call()


@pytest.mark.parametrize(("library", "extra"), [("einops", "einops"), ("sklearn", "train")])
def test_a_module_that_is_nothing_without_its_library(library, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules, f"gpugrad.interop.{library}", raising=False)
    with pytest.raises(ModuleNotFoundError, match=rf'pip install "gpugrad\[{extra}\]"'):
        import_module(f"gpugrad.interop.{library}")


def test_an_unknown_module_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"gpugrad\.interop"):
        _ = gg.interop.tensorflow
