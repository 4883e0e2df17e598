"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from gpugrad.training.files import replacing, sweep


def test_an_interrupted_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("old")

    def write():
        with replacing(path) as unfinished:
            assert unfinished.suffix == ".txt"  # writers choose a format by it
            unfinished.write_text("ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path):
    theirs = {".notes.1234.txt", ".hidden", ".7", "a.7.json", ".gpugrad", ".gpugrad-notes.txt"}
    for name in theirs:
        (tmp_path / name).write_text("")
    write = (
        "import os, pathlib, sys\n"
        "from gpugrad.training.files import replacing\n"
        "with replacing(pathlib.Path(sys.argv[1])) as unfinished:\n"
        "    unfinished.write_text('{')\n"
        "    print(unfinished.name, flush=True)\n"
        "    input()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", write, tmp_path / "a.b.json"], stdin=-1, stdout=-1, text=True
    )
    with other, replacing(tmp_path / "a.b.json") as ours:
        name = other.stdout.readline().strip()
        ours.write_text("{}")
        sweep(tmp_path)  # both are being written
        assert {p.name for p in tmp_path.iterdir()} == theirs | {name, ours.name}
        other.kill()
        other.wait()
        sweep(tmp_path)
        assert {p.name for p in tmp_path.iterdir()} == theirs | {ours.name}
    assert {p.name for p in tmp_path.iterdir()} == theirs | {"a.b.json"}


def test_on_the_disk_before_and_after_the_name_changes(tmp_path, monkeypatch):
    # What a power cut leaves is what was synced: the file, then the folder with its new name.
    seen = []
    sync, rename = os.fsync, os.replace

    def syncing(handle):
        where = os.fstat(handle).st_ino
        seen.append("folder" if where == tmp_path.stat().st_ino else os.pread(handle, 99, 0))
        sync(handle)

    def renaming(source, target):
        seen.append("name")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", syncing)
    monkeypatch.setattr(os, "replace", renaming)
    with replacing(tmp_path / "a.txt") as unfinished:
        unfinished.write_text("all of it")
    assert seen == [b"all of it", "name", "folder"]
