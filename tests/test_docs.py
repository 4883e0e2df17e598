"""Every example in a docstring runs, and every folder of the package is one that installs."""

from __future__ import annotations

import doctest
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def modules() -> list[str]:
    """Name the modules by their files, so that collecting imports nothing."""
    found = []
    for folder, name in (("gpugrad", "gpugrad"), ("kernels", "gpugrad.kernels")):
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            found.append(".".join((name, *parts)).removesuffix(".__init__"))
    return found


@pytest.mark.parametrize("name", modules())
def test_examples(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # an example may write files
    module = importlib.import_module(name)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    failed, _ = doctest.testmod(module, optionflags=flags)
    assert failed == 0, "the report is in the captured output"


def test_kernels_are_part_of_the_package():
    kernels = importlib.import_module("gpugrad.kernels")
    assert Path(kernels.__file__).is_file()


def test_the_readme_python_runs(cuda):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    names: dict[str, object] = {}
    exec("\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL)), names)
    assert names["value"] < 0.2
    assert isinstance(names["gradient"], cuda.ndarray)


def test_the_page_of_functions_is_up_to_date():
    run = [sys.executable, str(ROOT / "docs" / "functions.py"), "--check"]
    result = subprocess.run(run, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
