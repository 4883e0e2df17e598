"""The CUDA sources beside this file, compiled at run time."""

from __future__ import annotations

import os
import re
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

C_NAMES = {
    "bool": "bool",
    "int8": "signed char",
    "int16": "short",
    "int32": "int",
    "int64": "long long",
    "uint8": "unsigned char",
    "uint16": "unsigned short",
    "uint32": "unsigned int",
    "uint64": "unsigned long long",
    "float16": "__half",
    "bfloat16": "__nv_bfloat16",
    "float32": "float",
    "float64": "double",
    "complex64": "float2",
    "complex128": "double2",
}
"""What CUDA C++ calls each dtype, by its name."""

OPTIONS = ("--std=c++17",)
"""How NVRTC is called, here and for the report."""


def text(name: str) -> str:
    """The source ``cuda/<name>.cu`` as it is installed, with its headers ``*.cuh`` put in.

    In place of an include path, since CuPy's cache on disk knows a kernel by its text.
    """
    folder = files("gpugrad.kernels") / "cuda"
    done: set[str] = set()

    def included(found: re.Match[str]) -> str:
        if found[1] in done:
            return ""
        done.add(found[1])
        return expand((folder / found[1]).read_text())

    def expand(code: str) -> str:
        return re.sub(r'^#include "(\w+\.cuh)"$', included, code, flags=re.MULTILINE)

    return expand((folder / f"{name}.cu").read_text())


def cache_folder() -> Path:
    """Where what took long to compile is kept for the next process."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gpugrad"


@cache
def function(name: str, expression: str) -> Any:
    """The kernel ``expression``, such as ``scale<float, 4>``, from ``cuda/<name>.cu``.

    Compiled when it is first launched on a device, once in a process; CuPy keeps the machine code
    on disk for the next one.
    """
    import cupy

    module = cupy.RawModule(code=text(name), options=OPTIONS, name_expressions=[expression])
    return module.get_function(expression)


@cache
def _resident(device: int, block: int) -> int:
    import cupy

    attributes = cupy.cuda.Device(device).attributes
    return int(
        attributes["MultiProcessorCount"] * (attributes["MaxThreadsPerMultiProcessor"] // block)
    )


def resident(block: int) -> int:
    """How many blocks of that size the current device's threads allow at once."""
    import cupy

    return _resident(cupy.cuda.runtime.getDevice(), block)


def grid(threads: int, block: int = 256) -> tuple[tuple[int], tuple[int]]:
    """Blocks and their size for a grid-stride loop over ``threads`` on the current device.

    As many blocks as can be resident at once, a few times over so that none waits for the
    slowest, or fewer where there is less to do.
    """
    most = 4 * resident(block)
    return (max(1, min(-(-threads // block), most)),), (block,)
