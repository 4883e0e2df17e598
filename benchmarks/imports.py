"""What ``import gpugrad`` costs over ``import numpy``: medians over fresh interpreters, in turn.

python benchmarks/imports.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys

CODE = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"


def seconds(module: str) -> float:
    run = [sys.executable, "-c", CODE.format(module)]
    return float(subprocess.run(run, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    times = [(seconds("numpy"), seconds("gpugrad")) for _ in range(15)]
    numpy, gpugrad = (statistics.median(column) for column in zip(*times, strict=True))
    print(f"numpy {numpy:.3f} s, gpugrad {gpugrad:.3f} s: {gpugrad - numpy:.3f} s over numpy")


if __name__ == "__main__":
    main()
