"""Files that appear whole or not at all."""

from __future__ import annotations

import pytest

from gpugrad.training.files import replacing


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
