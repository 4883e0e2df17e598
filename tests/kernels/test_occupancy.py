"""How many threads a multiprocessor can hold of a kernel."""

from __future__ import annotations

import pytest
from gpugrad.kernels import report, source


@pytest.mark.parametrize(
    ("arch", "registers", "shared", "part"),
    [
        ("sm_80", 32, 0, 1),
        ("sm_80", 33, 0, 0.75),  # 40 are given out
        ("sm_80", 64, 0, 0.5),
        ("sm_80", 255, 0, 0.125),
        ("sm_80", 32, 47 << 10, 0.375),  # three blocks of 48 KiB in 164
        ("sm_75", 64, 0, 1),
        ("sm_120", 128, 33000, 1 / 3),
    ],
)
def test_occupancy(arch, registers, shared, part):
    usage = report.Usage("scale<float>", arch, registers, 0, 0, 0, shared)
    assert usage.occupancy == pytest.approx(part)


def test_shared_memory_is_read_from_ptxas(cuda, monkeypatch):
    text = """
    extern "C" __global__ void plain(int* x) { x[0] = 1; }
    extern "C" __global__ void turn(int* x) {
        __shared__ int t[256];
        t[threadIdx.x] = x[threadIdx.x];
        __syncthreads();
        x[threadIdx.x] = t[255 - threadIdx.x];
    }"""
    monkeypatch.setattr(source, "text", lambda name: text)
    assert [u.shared for u in report.usage("two", ["plain", "turn"], "sm_90")] == [0, 1024]
