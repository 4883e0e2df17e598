"""What the CUDA kernels take of a multiprocessor: ``python -m gpugrad.kernels.report``.

Compiles every kernel to machine code for each architecture and prints its registers, spills, local
memory, and occupancy: the part of a multiprocessor's threads that can be resident, in blocks of
256. It needs CuPy with NVRTC, and no GPU.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from gpugrad.kernels import (
    activation,
    attention,
    average,
    conv,
    norm,
    optimizer,
    philox,
    pool,
    scan,
    scatter,
    segment,
    softmax,
    source,
)

ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120")

LIMITS = {
    "sm_75": (1024, 64 << 10),
    "sm_80": (2048, 164 << 10),
    "sm_86": (1536, 100 << 10),
    "sm_89": (1536, 100 << 10),
    "sm_90": (2048, 228 << 10),
    "sm_100": (2048, 228 << 10),
    "sm_120": (1536, 100 << 10),
}
"""Threads and bytes of shared memory of a multiprocessor; all have 65536 registers."""

KERNELS = {
    "attention": attention.VARIANTS,
    "activation": activation.VARIANTS,
    "average": average.VARIANTS,
    "conv": conv.VARIANTS,
    "norm": norm.VARIANTS,
    "optimizer": optimizer.VARIANTS,
    "philox": philox.VARIANTS,
    "pool": pool.VARIANTS,
    "scan": scan.VARIANTS,
    "scatter": scatter.VARIANTS,
    "segment": segment.VARIANTS,
    "softmax": softmax.VARIANTS,
}
"""The name of each file in ``cuda/``, with the kernels to instantiate from it."""


class Usage(NamedTuple):
    """One kernel on one architecture; in bytes for each thread, ``shared`` for each block."""

    kernel: str
    arch: str
    registers: int
    stack: int
    spill_stores: int
    spill_loads: int
    shared: int = 0

    @property
    def occupancy(self) -> float:
        """The part of a multiprocessor's threads that can be resident, in blocks of 256."""
        threads, memory = LIMITS[self.arch]
        warp = -(-32 * self.registers // 256) * 256  # registers are given out so
        blocks = min(threads // 256, 65536 // warp // 8)
        if self.shared:
            blocks = min(blocks, memory // (self.shared + 1024))  # of which the system has 1 KiB
        return blocks * 256 / threads


def usage(name: str, expressions: Sequence[str], arch: str) -> Iterator[Usage]:
    """Compile kernels from ``cuda/<name>.cu`` and read what ptxas says of them."""
    from cupy._core.core import assemble_cupy_compiler_options
    from cupy_backends.cuda.libs import nvrtc

    options = assemble_cupy_compiler_options(source.OPTIONS)
    program = nvrtc.createProgram(source.text(name), f"{name}.cu", (), ())
    try:
        for expression in expressions:
            nvrtc.addNameExpression(program, expression)
        try:
            nvrtc.compileProgram(program, (*options, f"-arch={arch}", "--ptxas-options=-v"))
        except nvrtc.NVRTCError as error:
            raise RuntimeError(f"{name}.cu, {arch}: {nvrtc.getProgramLog(program)}") from error
        log = nvrtc.getProgramLog(program)
        mangled = [nvrtc.getLoweredName(program, expression) for expression in expressions]
    finally:
        nvrtc.destroyProgram(program)
    for expression, entry in zip(expressions, mangled, strict=True):
        found = re.search(
            rf"entry function '{re.escape(entry)}'"
            r".*?(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads"
            r".*?Used (\d+) registers(?:[^\n]*? (\d+) bytes smem)?",
            log,
            re.DOTALL,
        )
        if found is None:
            raise RuntimeError(f"{name}.cu, {arch}: ptxas said nothing of {expression}:\n{log}")
        stack, stores, loads, registers, shared = (int(n or 0) for n in found.groups())
        yield Usage(expression, arch, registers, stack, stores, loads, shared)


def report(archs: Sequence[str] = ARCHITECTURES) -> list[Usage]:
    """The usage of every kernel on each architecture."""
    jobs = [(name, kernels, arch) for name, kernels in KERNELS.items() for arch in archs]
    with ThreadPoolExecutor() as pool:
        return [u for found in pool.map(lambda job: list(usage(*job)), jobs) for u in found]


def main() -> int:
    """Print the table; the exit code is 1 if a kernel spills or uses local memory."""
    rows = report()
    width = max(len(u.kernel) for u in rows)
    print(f"{'kernel':{width}}  arch    registers  spilled  local memory  occupancy")
    for u in rows:
        spilled = u.spill_stores + u.spill_loads
        taken = f"{u.registers:9}  {spilled:7}  {u.stack:12}  {u.occupancy:9.0%}"
        print(f"{u.kernel:{width}}  {u.arch:6}  {taken}")
    return int(any(u.stack or u.spill_stores or u.spill_loads for u in rows))


if __name__ == "__main__":
    sys.exit(main())
