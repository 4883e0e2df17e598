"""Notes how much each test of the operations compared, for the summary of the run."""

from __future__ import annotations

from collections.abc import Iterator

import op_checks
import pytest


@pytest.fixture(autouse=True)
def _comparisons(request: pytest.FixtureRequest) -> Iterator[None]:
    before = op_checks.done
    yield
    callspec = getattr(request.node, "callspec", None)
    case = callspec and callspec.params.get("case")
    if case is not None:
        request.node.user_properties += [
            ("function", str(case).split()[0]),
            ("comparisons", op_checks.done - before),
        ]
