"""What the CUDA kernels take of a multiprocessor: ``python -m gpugrad.kernels.report``.

Compiles every kernel to machine code for each architecture and prints its registers, spills and
local memory. It needs CuPy with NVRTC, and no GPU.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
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
    """One kernel on one architecture; all but ``registers`` in bytes for each thread."""

    kernel: str
    arch: str
    registers: int
    stack: int
    spill_stores: int
    spill_loads: int


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
            r".*?Used (\d+) registers",
            log,
            re.DOTALL,
        )
        if found is None:
            raise RuntimeError(f"{name}.cu, {arch}: ptxas said nothing of {expression}:\n{log}")
        stack, stores, loads, registers = map(int, found.groups())
        yield Usage(expression, arch, registers, stack, stores, loads)


def report(archs: Sequence[str] = ARCHITECTURES) -> list[Usage]:
    """The usage of every kernel on each architecture."""
    return [u for name, kernels in KERNELS.items() for a in archs for u in usage(name, kernels, a)]


def main() -> int:
    """Print the table; the exit code is 1 if a kernel spills or uses local memory."""
    rows = report()
    width = max(len(u.kernel) for u in rows)
    print(f"{'kernel':{width}}  arch    registers  spilled  local memory (bytes a thread)")
    for u in rows:
        spilled = u.spill_stores + u.spill_loads
        print(f"{u.kernel:{width}}  {u.arch:6}  {u.registers:9}  {spilled:7}  {u.stack:12}")
    return int(any(u.stack or u.spill_stores or u.spill_loads for u in rows))


if __name__ == "__main__":
    sys.exit(main())
