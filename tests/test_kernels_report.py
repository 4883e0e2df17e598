"""The CUDA kernels compile for every architecture and stay in registers."""

from __future__ import annotations

import re

import ml_dtypes
import numpy as np
import pytest
from gpugrad.kernels import activation, fused, norm, report, softmax, source
from gpugrad.kernels.many import FLOATS

import gpugrad as gg
from gpugrad.device import to_device


def test_every_source_is_reported(pytestconfig):
    sources = {p.stem for p in (pytestconfig.rootpath / "kernels" / "cuda").glob("*.cu")}
    assert sources == set(report.KERNELS)


def test_every_kernel_is_reported_in_every_dtype():
    """As its first template argument; the kernels without one of these are named."""
    other = {
        **dict.fromkeys(["draw"], 5),  # kinds of random numbers
        **dict.fromkeys(["take"], 4),  # bytes that only move
        **dict.fromkeys(["sum_partials"], 4),  # what is summed, then the dtype
    }
    for name, variants in report.KERNELS.items():
        code = source.text(name)
        kernels = set(re.findall(r"__global__ void (?:__launch_bounds__\(.*?\)\s+)?(\w+)\(", code))
        assert kernels == {v.partition("<")[0] for v in variants}
        for kernel in kernels:
            listed = [v for v in variants if v.startswith(kernel + "<")]
            assert len(set(listed)) == len(listed)
            if kernel in other:
                assert len(listed) == other[kernel]
                continue
            at = 1 if kernel == "update" else 0  # the rule comes first
            kinds: dict[str, set[str]] = {}
            for v in listed:
                arguments = re.split(r", (?![^<]*>,)", v.partition("<")[2][:-1])
                rule = arguments[0].partition("<")[0] if at else ""
                kinds.setdefault(rule, set()).add(arguments[at])
            for found in kinds.values():
                assert found >= {source.C_NAMES[d] for d in FLOATS}, (kernel, found)


def test_each_architecture_has_a_part_and_the_oldest_has_all():
    kernels = [f"k{i}" for i in range(23)]
    whole, *parts = [report.part(kernels, arch) for arch in report.ARCHITECTURES]
    assert whole == kernels
    assert sorted(k for some in parts for k in some) == sorted(kernels)


PAIRS = {
    *activation.VARIANTS,
    *[k for k in norm.VARIANTS if k.startswith("norm_rows_backward")],
    *[k for k in softmax.VARIANTS if k.startswith("cross_entropy_backward")],
}


# Tiles of sums in registers, and gelu twice for each of 8 elements: a block or two is resident.
ALONE = re.compile(r"attend|pull_|gated_backward<(__half|__nv_bfloat16), 8, Gelu, true>")


@pytest.mark.parametrize("arch", report.ARCHITECTURES)
def test_no_spills_and_no_local_memory(cuda, arch):
    rows = report.report([arch], whole=False)
    assert rows
    for u in rows:
        pair = u.kernel in PAIRS  # two blocks of 256 threads are resident at least
        assert 0 < u.registers <= (255 if ALONE.match(u.kernel) else 128 if pair else 64), u
        assert u.occupancy > 0, u  # a block can be launched
        assert u.stack == u.spill_stores == u.spill_loads == 0, u


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_fused_functions_stay_in_registers(cuda, monkeypatch, dtype):
    """What CuPy makes of a function and of its derivative by `gpugrad.fuse`."""
    kernels = []

    def kept(*args):
        kernels.append(make(*args))
        return kernels[-1]

    def gaussian(x, mean, width):
        z = (x - mean) / width
        return 0.5 * z**2 + np.log(width) + np.where(z > 1, np.tanh(z), z * np.exp(-z))

    make = fused._cuda_kernel
    monkeypatch.setattr(fused, "_cuda_kernel", kept)
    x = to_device(
        np.ones((64, 32), ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype), gg.device("cuda")
    )
    y, pull = gg.vjp(gg.fuse(gaussian), x, x[0], x)
    pull(y)
    assert len(kernels) == 2
    headers = "#include <cupy/complex.cuh>\n#include <cupy/carray.cuh>\n"  # as CuPy puts there
    for kernel in kernels:
        for arch in report.ARCHITECTURES:
            text = headers + kernel.cached_code
            (u,) = report.compiled("fused", text, [kernel.name], arch)
            assert 0 < u.registers <= 64
            assert u.stack == u.spill_stores == u.spill_loads == 0, u


def test_a_stack_frame_is_seen(cuda, monkeypatch):
    text = """
    extern "C" __global__ void local(int* x, int i) {
        int t[64];
        for (int k = 0; k < 64; k++) t[k] = x[k];
        for (int k = 0; k < 64; k++) t[x[k] & 63] += k;
        x[0] = t[i];
    }"""
    monkeypatch.setattr(source, "text", lambda name: text)
    (u,) = report.usage("local", ["local"], "sm_80")
    assert u.stack == 256


def test_the_table(cuda, monkeypatch, capsys):
    row = report.Usage("scale<float>", "sm_80", 20, 8, 0, 4)
    monkeypatch.setattr(report, "report", lambda: [row])
    assert report.main() == 1
    assert "scale<float>  sm_80          20        4             8" in capsys.readouterr().out
    monkeypatch.setattr(report, "report", lambda: [row._replace(stack=0, spill_loads=0)])
    assert report.main() == 0


def test_what_does_not_compile_names_the_source(cuda, monkeypatch):
    monkeypatch.setattr(source, "text", lambda name: "nonsense")
    with pytest.raises(RuntimeError, match=r"broken.cu, sm_80: [\s\S]*nonsense"):
        list(report.usage("broken", [], "sm_80"))
