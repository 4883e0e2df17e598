"""A disk that is full, wherever in a run: it is told, and nothing that was there is harmed."""

from __future__ import annotations

import subprocess

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
    if done.returncode:  # test_a_full_disk of test_train_csv.py needs no rights
        pytest.skip(f"a small disk needs the right to mount one: {done.stderr.strip()}")
    yield folder, lambda size: mount(size, "remount").check_returncode()
    subprocess.run(["umount", folder], check=True)


def size_of(folder):
    return sum(-(-p.stat().st_size // 4096) * 4096 for p in folder.rglob("*") if p.is_file())


@pytest.mark.parametrize(
    ("part", "at", "whole"),
    [(0.1, "best.safetensors", 0), (0.5, ".safetensors", 1), (0.97, "curve.png", 3)],
)
def test_a_full_disk(part, at, whole, device, disk, tmp_path, capsys):
    folder, resize = disk
    x = np.random.default_rng(0).normal(size=(60, 2))
    (tmp_path / "t.csv").write_text("\n".join(["a,b,y", *(f"{a},{b},{a + b}" for a, b in x)]))
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
