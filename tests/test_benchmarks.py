"""The benchmark of the kernels runs, and writes down what it found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


def test_a_section_of_the_kernels(device, pytestconfig, tmp_path):
    program = pytestconfig.rootpath / "benchmarks" / "kernels.py"
    start, path = [sys.executable], [str(program.parent), *sys.path]
    if device.kind == "cuda" and (stand_in := sys.modules.get("cuda_on_cpu")):
        start += ["-m", "cuda_on_cpu"]
        path.insert(0, str(Path(stand_in.__file__).parents[1]))
    to = [tmp_path / "found.json", tmp_path / "found.png"]
    size = ["--elements", "65536", "--rounds", "2", "--json", to[0], "--png", to[1]]
    run = subprocess.run(
        [*start, program, "scan", "--device", device.kind, *size],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert to[1].read_bytes()[:4] == b"\x89PNG"
    found = json.loads(to[0].read_text())
    assert len(found) == 3
    library = "numpy" if device.kind == "cpu" else "cupy"
    for title, row in found.items():
        assert row["gpugrad"] == 1
        assert row[library] > 0, title
        assert row["bytes per second"] == pytest.approx(row["bytes"] / row["seconds"])
        if device.kind == "cuda":
            copied = row["copy's bytes per second"]
            share = row["share of a copy's bandwidth"]
            assert share == pytest.approx(row["bytes per second"] / copied)
    assert found["scan: running sums of rows"]["bytes"] == 2 * 4 * 65536


def test_too_few_elements_are_refused(pytestconfig):
    program = pytestconfig.rootpath / "benchmarks" / "kernels.py"
    run = subprocess.run(
        [sys.executable, program, "scan", "--elements", "5"], capture_output=True, text=True
    )
    assert run.returncode == 2
    assert "65536 or more" in run.stderr
