"""Without a library: its module says what to install, and the others work."""

from __future__ import annotations

import sys

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


def test_an_unknown_module_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"gpugrad\.interop"):
        _ = gg.interop.tensorflow
