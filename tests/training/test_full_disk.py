"""A disk that is full, wherever in a run: it is told, and nothing that was there is harmed."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import gpugrad as gg
from gpugrad.cli import main
from gpugrad.training import Checkpoints, read_state


@pytest.fixture
def disk(tmp_path):
    """Give a folder, and a function that sets how many bytes it holds."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(size, *options):
        said = ",".join([f"size={size}", *options])
        return subprocess.run(
            ["mount", "-t", "tmpfs", "-o", said, "tmpfs", folder], capture_output=True, text=True
        )

    done = mount(1 << 20)
    if done.returncode:  # the tests of files that may not grow need no rights
        pytest.skip(f"a small disk needs the right to mount one: {done.stderr.strip()}")
    yield folder, lambda size: mount(size, "remount").check_returncode()
    subprocess.run(["umount", folder], check=True)


def size_of(folder):
    return sum(-(-p.stat().st_size // 4096) * 4096 for p in folder.rglob("*") if p.is_file())


def write_table(folder):
    x = np.random.default_rng(0).normal(size=(60, 2))
    (folder / "t.csv").write_text("\n".join(["a,b,y", *(f"{a},{b},{a + b}" for a, b in x)]))
    return x


@pytest.mark.parametrize(
    ("part", "at", "whole"),
    [(0.1, "best.safetensors", 0), (0.5, ".safetensors", 1), (0.97, "curve.png", 3)],
)
def test_a_full_disk(part, at, whole, device, disk, tmp_path, capsys):
    folder, resize = disk
    x = write_table(tmp_path)
    command = ["train", "csv", str(tmp_path / "t.csv"), "--target", "y", "--device", str(device)]
    command += ["--epochs", "4", "--out"]
    assert main([*command, str(tmp_path / "whole")]) == 0
    expected = (tmp_path / "whole" / "model.safetensors").read_bytes()
    resize(int(part * size_of(tmp_path / "whole")))
    out = folder / "run"
    capsys.readouterr()
    for again in ([], ["--resume"]):
        assert main([*command, str(out), *again]) == 1
        said = capsys.readouterr().err
        assert said.startswith(f"gpugrad: No space left on device: could not write: {out}/")
        assert said.count("\n") == 1
        if not again:
            assert at in said
        # Whatever stands there is whole, and is what was written first.
        checkpoints = Checkpoints(out / "checkpoints").paths()
        for path in [*checkpoints, *out.glob("*.safetensors")]:
            assert read_state(path)["config"]["job"] == "csv"
        assert len(checkpoints) == whole
    assert not list(out.rglob(".*"))
    if whole:
        x = gg.Array(x, device=device)
        assert gg.load(out / "best.safetensors", device=device)(x).shape == (60,)
    resize(1 << 20)
    assert main([*command, str(out), "--resume"]) == 0
    assert (out / "model.safetensors").read_bytes() == expected


LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
from gpugrad.cli import main
sys.exit(main(sys.argv[1:]))
"""


def limited(command, folder):
    """What a command says that may write no file larger than most of its own are."""
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, *command], capture_output=True, text=True, cwd=folder
    )
    assert done.returncode == 1
    assert done.stderr.startswith("gpugrad: File too large: could not write: ")
    assert done.stderr.count("\n") == 1
    assert not list(folder.rglob(".*"))
    return done.stderr.rpartition(": ")[2].strip()


def test_a_run_whose_files_may_not_grow(tmp_path):
    write_table(tmp_path)
    command = ["train", "csv", str(tmp_path / "t.csv"), "--target", "y", "--device", "cpu"]
    command += ["--resume", "--out", str(tmp_path / "out"), "--epochs"]
    assert main([*command, "2"]) == 0
    before = {p: p.read_bytes() for p in (tmp_path / "out").rglob("*.safetensors")}
    limited([*command, "4"], tmp_path)
    assert {p: p.read_bytes() for p in (tmp_path / "out").rglob("*.safetensors")} == before
    assert main([*command, "4"]) == 0
    assert (tmp_path / "out" / "metrics.jsonl").read_text().count("\n") == 4


OUT = ["--device", "cpu", "--out", "out"]
GPT = ["--context", "8", "--width", "32", "--layers", "1", "--heads", "2", "--steps", "3"]


@pytest.mark.parametrize(
    ("command", "first"),
    [
        (["train", "digits", "--epochs", "1", *OUT], "out/best.safetensors"),
        (["train", "text", "t.txt", *GPT, *OUT], "out/best.safetensors"),
        (["graph", "--out", "out/graph.png"], "out/graph.png"),
        (["graph", "--out", "out/graph.html"], "out/graph.html"),
    ],
)
def test_a_command_whose_files_may_not_grow(command, first, tmp_path, monkeypatch):
    free, full = tmp_path / "free", tmp_path / "full"
    for folder in (free, full):
        folder.mkdir()
        (folder / "t.txt").write_text("one, two, three; " * 40)
    monkeypatch.chdir(free)
    assert main(command) == 0  # and what Numba compiles is on the disk
    assert (free / first).exists()
    assert limited(command, full) == first
    assert {p.name for p in (full / "out").iterdir()} <= {"metrics.jsonl"}
