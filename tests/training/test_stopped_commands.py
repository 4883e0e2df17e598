"""The commands that train, stopped by a signal: each saves, says so, and goes on bit for bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

import gpugrad as gg
from gpugrad.cli import main
from gpugrad.data.digits import Digits, load_digits
from gpugrad.training import Trainer, digits, read_state

COMMANDS = {
    "mlp": ["digits", "--epochs", "3", "--batch-size", "20"],
    "cnn": ["digits", "--model", "cnn", "--epochs", "3", "--batch-size", "20"],
    "csv": ["csv", "t.csv", "--target", "y", "--epochs", "3", "--batch-size", "10"],
    "text": [
        "text", "t.txt", "--steps", "45", "--batch-size", "2", "--context", "8", "--width", "8",
        "--layers", "1", "--heads", "2", "--dropout", "0.3",
    ],
}  # fmt: skip


@pytest.fixture(params=COMMANDS)
def run(request, device, tmp_path, monkeypatch, capsys):
    """Give a function that runs a command to a step, or to its end: exit code, errors."""
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).normal(size=(60, 2))
    lines = [f"{a},{b},{a + 2 * b}" for a, b in x]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,y", *lines]))
    (tmp_path / "t.txt").write_text("one, two, three; " * 40)
    few = Digits(*(type(p)(p.images[:60], p.labels[:60]) for p in load_digits(0)))
    monkeypatch.setattr(digits, "load_digits", lambda seed: few)
    monkeypatch.setattr(digits, "WARPED", 1)
    take = Trainer.take_step

    def command(out, *more, stop_at=None, by=signal.SIGINT):
        gg.random.seed(len(list(tmp_path.iterdir())))  # has no part in it

        def step(self, batch):
            if self.step + 1 == stop_at:
                os.kill(os.getpid(), by)
            return take(self, batch)  # to its end

        monkeypatch.setattr(Trainer, "take_step", step)
        given = ["--device", str(device), "--out", out, *more]
        code = main(["train", *COMMANDS[request.param], *given])
        return code, capsys.readouterr().err

    return command


def left(folder):
    """What a run leaves, but for the times and the default generator's place."""
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    best = read_state(folder / "best.safetensors")["model"]
    return {
        "metrics": [line | {"samples_per_second": None} for line in lines],
        "model": (folder / "model.safetensors").read_bytes(),
        "best": {name: a.tobytes() for name, a in best.items()},
        "files": {p.name for p in folder.iterdir()},
    }


def test_stopped_and_resumed(run, tmp_path):
    assert run("whole") == (0, "")
    expected = left(tmp_path / "whole")
    said = "gpugrad: stopped by Ctrl-C: parts has all of it, --resume goes on\n"
    assert run("parts", stop_at=2) == (130, said)
    assert [p.name for p in (tmp_path / "parts" / "checkpoints").iterdir()] == [
        "step-00000002.safetensors"
    ]
    said = "gpugrad: stopped by SIGTERM: parts has all of it, --resume goes on\n"
    assert run("parts", "--resume", stop_at=5, by=signal.SIGTERM) == (143, said)
    assert run("parts", "--resume") == (0, "")
    assert left(tmp_path / "parts") == expected
    # The same seed is the same run, another is another.
    assert run("again") == (0, "")
    assert left(tmp_path / "again") == expected
    assert run("other", "--seed", "1") == (0, "")
    assert left(tmp_path / "other")["model"] != expected["model"]


LOADED = """
import sys, gpugrad as gg
for path in sys.argv[1:]:
    print(type(gg.load(path, device="cpu")).__name__)
"""


def test_stopped_early_and_loaded_by_another_process(run, tmp_path, monkeypatch):
    same = dict.fromkeys(("held_out_loss", "accuracy", "validation_loss"), 1.0)
    monkeypatch.setattr(Trainer, "_evaluated", lambda self: same)
    assert run("early", "--patience", "1") == (0, "")
    lines = (tmp_path / "early" / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 2  # the first is the best so far
    files = [tmp_path / "early" / name for name in ("model.safetensors", "best.safetensors")]
    done = subprocess.run([sys.executable, "-c", LOADED, *files], capture_output=True, text=True)
    assert done.stderr == ""
    first, second = done.stdout.split()
    assert first == second
    assert first in ("Sequential", "TableNetwork", "GPT")
