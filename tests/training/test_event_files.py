"""Event files for TensorBoard: all figures at once, one curve a run, and errors of writing."""

from __future__ import annotations

import errno
import struct
import time

import pytest
from small_run import trainer

from gpugrad.cli import main
from gpugrad.training.tensorboard import EventFiles


def events(folder):
    """The events of all files, in their order."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for path in sorted(folder.glob("events.out.tfevents.*"), key=lambda p: p.stat().st_mtime_ns):
        data = path.read_bytes()
        while data:  # a length and its checksum, the event and its checksum
            (length,) = struct.unpack("Q", data[:8])
            found.append(Event.FromString(data[12 : 12 + length]))
            data = data[16 + length :]
    return found


def scalars(folder):
    found = {}
    for event in events(folder):
        for value in event.summary.value:
            found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found


def starts(folder):
    return [e.step for e in events(folder) if e.session_log.status]


def test_every_figure_at_its_step(tmp_path):
    seen = []

    def check(record):  # after the writer: what it wrote is there already
        seen.append(record)
        for name in ("loss", "held_out_loss", "samples_per_second"):
            expected = [(r.step, pytest.approx(r.figures()[name], rel=1e-6)) for r in seen]
            assert scalars(tmp_path)[name] == expected

    trainer("cpu", None, callbacks=[EventFiles(tmp_path), check]).fit()
    assert len(seen) == 6
    assert set(scalars(tmp_path)) == {"loss", "held_out_loss", "samples_per_second"}


def test_one_curve_a_run(tmp_path):
    command = ["train", "digits", "--device", "cpu", "--batch-size", "500", "--tensorboard"]
    command += ["--out", str(tmp_path)]
    assert main([*command, "--epochs", "3"]) == 0
    assert [step for step, _ in scalars(tmp_path)["accuracy"]] == [3, 6, 9]
    assert starts(tmp_path) == [3]
    # TensorBoard forgets what was noted from a start's step on.
    (tmp_path / "checkpoints" / "step-00000009.safetensors").unlink()
    assert main([*command, "--epochs", "4", "--resume"]) == 0
    assert [step for step, _ in scalars(tmp_path)["accuracy"]] == [3, 6, 9, 9, 12]
    assert starts(tmp_path) == [3, 9]
    assert main([*command, "--epochs", "1", "--seed", "1"]) == 0
    assert [step for step, _ in scalars(tmp_path)["accuracy"]] == [3]


def test_runs_within_a_second_have_a_file_each(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 1.75e9)  # a part of tensorboardX's names
    for _ in range(2):
        trainer("cpu", None, callbacks=[EventFiles(tmp_path, resumed=True)]).fit()
    assert len(list(tmp_path.glob("events.out.tfevents.*"))) == 2
    assert len(scalars(tmp_path)["loss"]) == 12


def test_a_full_disk_is_told(tmp_path, monkeypatch, capsys):
    from tensorboardX.event_file_writer import EventsWriter

    def full(self):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(EventsWriter, "flush", full)
    command = ["train", "digits", "--device", "cpu", "--epochs", "1", "--tensorboard"]
    assert main([*command, "--out", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    name = tmp_path / "events.out.tfevents"
    assert said == f"gpugrad: No space left on device: could not write: {name}\n"
