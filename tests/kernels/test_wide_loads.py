"""Kernels that claim loads and stores of 16 bytes have them in their machine code."""

from __future__ import annotations

import re

import pytest
from gpugrad.kernels import report

LOAD_ONLY = re.compile(
    r"(attend|pull_queries|pull_keys|clip_factors|channel_moments|channel_sums|cross_entropy)<"
)
STORE_ONLY = re.compile(r"(windows|draw)<")


def packed(kernel: str) -> bool:
    """Whether a kernel is for packs: the first number among its parameters is their width."""
    width = re.search(r"\b\d+\b", kernel.partition("<")[2])
    return kernel.startswith("draw<") or (width is not None and int(width[0]) > 1)


@pytest.mark.parametrize("arch", report.ARCHITECTURES)
def test_loads_and_stores_of_16_bytes(cuda, arch):
    if report.disassembler() is None:
        pytest.skip("no nvdisasm: pip install nvidia-cuda-nvdisasm")
    rows = report.report([arch], whole=False)
    wide = [u for u in rows if packed(u.kernel)]
    assert len(wide) > 50
    assert not [u for u in wide if not STORE_ONLY.match(u.kernel) and not u.wide_loads]
    assert not [u for u in wide if not LOAD_ONLY.match(u.kernel) and not u.wide_stores]
    single = [u for u in rows if re.search(r"<(float|__half), 1[,>]", u.kernel)]
    assert single or arch != report.ARCHITECTURES[0]  # others have a part of the kernels
    assert not any(u.wide_loads or u.wide_stores for u in single)
