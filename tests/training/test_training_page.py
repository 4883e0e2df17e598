"""What docs/training.md shows runs."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "training.md"


def test_the_example(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = types.ModuleType("training_page")  # rebuildable notes the module's name
    monkeypatch.setitem(sys.modules, "training_page", module)
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    exec(block, vars(module))
    assert module.records[-1].held_out["held_out_loss"] < 0.3
    assert not module.model.training
