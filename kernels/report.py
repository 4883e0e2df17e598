"""What the CUDA kernels take of a multiprocessor: ``python -m gpugrad.kernels.report``.

Compiles every kernel to machine code for each architecture and prints its registers, spills, local
memory, occupancy (the part of a multiprocessor's threads that can be resident), and how many of
its instructions load and store 16 bytes. It needs CuPy with NVRTC, and no GPU; the last two need
``nvdisasm`` (``pip install nvidia-cuda-nvdisasm``, or the CUDA toolkit's). What was found is kept
in the user's cache by the sources' text, so that only what has changed is compiled again.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

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
    threads: int = 256
    """Of a block, by the kernel's launch bounds."""
    wide_loads: int | None = None
    """Instructions that load 16 bytes; None without a disassembler."""
    wide_stores: int | None = None

    @property
    def occupancy(self) -> float:
        """The part of a multiprocessor's threads that can be resident."""
        threads, memory = LIMITS[self.arch]
        warp = -(-32 * self.registers // 256) * 256  # registers are given out so
        warps = -(-self.threads // 32)
        blocks = min(threads // self.threads, 65536 // warp // warps)
        if self.shared:
            blocks = min(blocks, memory // (self.shared + 1024))  # of which the system has 1 KiB
        return blocks * self.threads / threads


LIKE_CUPY = ("-ftz=true", "--device-as-default-execution-space")
"""What CuPy adds to `source.OPTIONS`."""


@cache
def disassembler() -> str | None:
    """Where ``nvdisasm`` is."""
    try:
        files = importlib.metadata.files("nvidia-cuda-nvdisasm") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    found = [str(f.locate()) for f in files if f.stem == "nvdisasm"]
    return found[0] if found else shutil.which("nvdisasm")


def usage(name: str, expressions: Sequence[str], arch: str) -> list[Usage]:
    """What the kernels of ``cuda/<name>.cu`` take, as found before or compiled now."""
    return compiled(name, source.text(name), expressions, arch)


def compiled(name: str, text: str, expressions: Sequence[str], arch: str) -> list[Usage]:
    """What kernels in a text take."""
    from cupy_backends.cuda.libs import nvrtc

    tool = disassembler()
    key = [nvrtc.getVersion(), tool and Path(tool).stat().st_size, LIKE_CUPY, source.OPTIONS]
    key += [Path(__file__).read_text(), text, list(expressions), arch]
    digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()
    path = source.cache_folder() / f"report-{digest[:24]}.json"
    if path.is_file():
        return [Usage(*row) for row in json.loads(path.read_text())]
    rows = _compile(name, text, expressions, arch)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}")
        part.write_text(json.dumps(rows))
        part.replace(path)
    except OSError:  # no home to write to
        pass
    return rows


def _compile(name: str, text: str, expressions: Sequence[str], arch: str) -> list[Usage]:
    """Compile, and read what ptxas and the disassembler say."""
    from cupy._core.core import assemble_cupy_compiler_options
    from cupy_backends.cuda.libs import nvrtc

    options = assemble_cupy_compiler_options((*source.OPTIONS, *LIKE_CUPY))
    program = nvrtc.createProgram(text, f"{name}.cu", (), ())
    try:
        for expression in expressions:
            nvrtc.addNameExpression(program, expression)
        try:
            nvrtc.compileProgram(program, (*options, f"-arch={arch}", "--ptxas-options=-v"))
        except nvrtc.NVRTCError as error:
            raise RuntimeError(f"{name}.cu, {arch}: {nvrtc.getProgramLog(program)}") from error
        log, ptx = nvrtc.getProgramLog(program), _text(nvrtc.getPTX(program))
        mangled = [_text(nvrtc.getLoweredName(program, e)) for e in expressions]
        wide = _wide(nvrtc.getCUBIN(program))
    finally:
        nvrtc.destroyProgram(program)
    rows = []
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
        bound = re.search(rf"\.entry {re.escape(entry)}\([^{{]*?\.maxntid (\d+)", ptx)
        threads = int(bound[1]) if bound else 256
        taken = (registers, stack, stores, loads, shared, threads)
        rows.append(Usage(expression, arch, *taken, *wide.get(entry, (None, None))))
    return rows


def _text(found: Any) -> str:
    return found.decode() if isinstance(found, bytes) else found


def _wide(binary: bytes) -> dict[str, tuple[int, int]]:
    """For each kernel of a binary how many instructions load and store 16 bytes or more."""
    tool = disassembler()
    if tool is None:
        return {}
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(binary + b"\0")  # CuPy takes the last byte for the end of a string
        file.flush()
        run = subprocess.run(
            [tool, "--print-code", "--no-dataflow", file.name], capture_output=True, text=True
        )
    if run.returncode:
        raise RuntimeError(f"{tool}: {run.stderr}")
    out = {}
    for part in run.stdout.split("//--------------------- .text.")[1:]:
        # LD and ST: through a pointer that was itself loaded, so that any memory could be meant.
        found = re.findall(r"\b(LD|ST)G?\.E\S*\.(?:128|256)\b", part)
        out[part.split(None, 1)[0]] = (found.count("LD"), found.count("ST"))
    return out


def part(kernels: Sequence[str], arch: str) -> Sequence[str]:
    """All of the kernels for the oldest architecture.

    Of the others each has another part: together they have all once more, for a test that should
    not take the time of the whole table.
    """
    first, *rest = ARCHITECTURES
    return kernels if arch == first else kernels[rest.index(arch) :: len(rest)]


def report(archs: Sequence[str] = ARCHITECTURES, *, whole: bool = True) -> list[Usage]:
    """The usage of every kernel on each architecture, or of the `part` that stands for them."""
    jobs = [
        (name, kernels if whole else part(kernels, arch), arch)
        for name, kernels in KERNELS.items()
        for arch in archs
    ]
    with ThreadPoolExecutor() as pool:
        return [u for found in pool.map(lambda job: usage(*job), jobs) for u in found]


def main() -> int:
    """Print the table; the exit code is 1 if a kernel spills or uses local memory."""
    rows = report()
    width = max(len(u.kernel) for u in rows)
    head = "arch    registers  spilled  local memory  threads  occupancy  16-byte loads  stores"
    print(f"{'kernel':{width}}  {head}")
    for u in rows:
        spilled = u.spill_stores + u.spill_loads
        taken = f"{u.registers:9}  {spilled:7}  {u.stack:12}  {u.threads:7}  {u.occupancy:9.0%}"
        loads, stores = ("?" if n is None else n for n in (u.wide_loads, u.wide_stores))
        print(f"{u.kernel:{width}}  {u.arch:6}  {taken}  {loads:>13}  {stores:>6}")
    return int(any(u.stack or u.spill_stores or u.spill_loads for u in rows))


if __name__ == "__main__":
    sys.exit(main())
