"""SIGKILL at random points: every run that is started again ends with the same bits.

`GPUGRAD_KILLS` is how many of them on each device; `GPUGRAD_KILLS=50 pytest tests/training/\
test_kills.py` is the whole of it.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from small_run import bits

from gpugrad.training import Checkpoints, read_state

KILLS = int(os.environ.get("GPUGRAD_KILLS", 8))

PROGRAM = Path(__file__).with_name("small_run.py")
EPOCHS = "20"


def start(device, folder, *within):
    paths = [str(PROGRAM.parents[2])]
    stand_in = sys.modules.get("cuda_on_cpu")
    if stand_in is not None:
        paths.append(str(Path(stand_in.__file__).parents[1]))
    env = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.Popen(
        [sys.executable, PROGRAM, str(device), folder, EPOCHS, *within],
        text=True, stdout=-1, env=env,
    )  # fmt: skip


def end(folder):
    """All that a run leaves, but for the times and the older checkpoints."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    files = [folder / "best.safetensors", folder / "model.safetensors"]
    files.append(Checkpoints(folder / "checkpoints").paths()[-1])
    found = {p.name: bits(read_state(p)) for p in files}
    return found | {"metrics.jsonl": [bits(json.loads(line)) for line in lines]}


def differing(folder, expected):
    """The files in which a run's end is not the expected one."""
    found = end(folder)
    return [
        name for name in expected.keys() | found.keys() if found.get(name) != expected.get(name)
    ]


def finish(device, folder):
    """Run to the end; gives how long the training took."""
    process = start(device, folder)
    process.stdout.readline()
    begun = time.perf_counter()
    said, _ = process.communicate(timeout=120)
    assert (process.returncode, said) == (0, "finished\n")
    return time.perf_counter() - begun


def test_killed_at_random_points(device, tmp_path):
    usual = finish(device, tmp_path / "whole")
    expected = end(tmp_path / "whole")
    draw = random.Random(7)
    runs, kills, from_steps = [tmp_path / "0"], 0, []
    while kills < KILLS:
        process = start(device, runs[-1])
        from_steps.append(int(process.stdout.readline().split()[1]))
        # A moment later: in a step, in writing a checkpoint, in the end.
        time.sleep(draw.uniform(0, 0.4) * usual)
        process.kill()
        said, _ = process.communicate(timeout=60)
        kills += not said
        if said:  # it was through before
            runs.append(tmp_path / str(len(runs)))
    finish(device, runs[-1])
    print(f"{device}: {kills} kills, {len(runs)} runs, went on from steps {from_steps}")
    assert max(from_steps) > 0
    assert [differing(folder, expected) for folder in runs] == [[]] * len(runs)
    assert not list(tmp_path.rglob(".*"))  # nothing half-written stays


def test_killed_within_a_write(tmp_path):
    for number in (2, 8):
        process = start("cpu", tmp_path, str(number))
        process.stdout.readline()
        assert process.stdout.readline() == "writing\n"
        process.kill()
        process.communicate(timeout=60)
        assert len(list(tmp_path.rglob(".*"))) == 1  # the half
        whole = [p for p in tmp_path.rglob("*.safetensors") if not p.name.startswith(".")]
        assert all(read_state(p)["step"] > 0 for p in whole)
        assert whole
    finish("cpu", tmp_path)
    assert not list(tmp_path.rglob(".*"))


COMMAND = "import sys; from gpugrad.cli import main; sys.exit(main(sys.argv[1:]))"
KILLED = """
import os, signal
from gpugrad.training import Trainer
take = Trainer.take_step
def take_or_die(self, batch):
    if self.step == 100:
        os.kill(os.getpid(), signal.SIGKILL)
    return take(self, batch)
Trainer.take_step = take_or_die
"""


def test_a_killed_command_goes_on(tmp_path):
    def command(out, *more, code=COMMAND):
        given = ["train", "digits", "--device", "cpu", "--epochs", "5", "--batch-size", "20"]
        paths = {"PYTHONPATH": str(PROGRAM.parents[2])}
        return subprocess.Popen(
            [sys.executable, "-c", code, *given, "--out", tmp_path / out, *more],
            text=True, stdout=-1, env=os.environ | paths,
        )  # fmt: skip

    def left(out):
        found = {p.name: p.read_bytes() for p in (tmp_path / out).iterdir() if p.is_file()}
        lines = found.pop("metrics.jsonl").splitlines()
        del found["best.safetensors"]  # says how long it took
        return found, [bits(json.loads(line)) for line in lines]

    assert command("whole").wait(timeout=120) == 0
    process = command("parts", code=KILLED + COMMAND)
    assert "epoch 1/" in process.stdout.readline()
    assert process.wait(timeout=120) == -signal.SIGKILL
    process = command("parts", "--resume")
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert re.match(r"epoch [2-5]/5 ", said)
    assert left("parts") == left("whole")
