"""Every case: each file ``cases_*.py`` here adds a family's."""

from __future__ import annotations

import importlib
from pathlib import Path

from op_case import CASES, Case

__all__ = ["CASES", "Case"]

for _file in sorted(Path(__file__).parent.glob("cases_*.py")):
    importlib.import_module(_file.stem)
