"""The code of docs/interop.md runs, one section at a time."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "interop.md"
NEEDS = {
    "PyTorch": ("torch",),
    "JAX": ("jax",),
    "ONNX": ("onnx", "onnxruntime"),
    "SciPy": (),
    "scikit-learn": ("sklearn",),
    "einops": ("einops",),
}


def sections():
    parts = re.split(r"^## (.+)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_library_has_a_section():
    assert list(sections()) == list(NEEDS)


@pytest.mark.parametrize("name", NEEDS)
def test_the_code_runs(name, tmp_path, monkeypatch):
    for library in NEEDS[name]:
        pytest.importorskip(library, reason=f"{library} is not installed")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", sections()[name], re.DOTALL)
    assert blocks
    exec(compile("\n".join(blocks), f"interop.md, {name}", "exec"), {})
