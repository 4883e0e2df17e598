"""Files that appear whole or not at all."""

from __future__ import annotations

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


def test_what_a_killed_process_left_is_removed(tmp_path):
    with replacing(tmp_path / "a.b.json") as unfinished:
        unfinished.write_text("{}")
        name = unfinished.name
    theirs = {".hidden", ".b.json", ".7", "a.7.json"}
    for each in [name, *theirs]:
        (tmp_path / each).write_text("")
    sweep(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == theirs | {"a.b.json"}
