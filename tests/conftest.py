"""Gives tests a device: the CPU, and CUDA where there is any.

CUDA comes from a real GPU if CuPy can be imported and the driver shows one; else from the stand-in
`cuda_on_cpu`, which runs CuPy's own kernels on the CPU; else the tests that need it are skipped
and say why. `GPUGRAD_CUDA_ON_CPU` names the folder that holds the package `cuda_on_cpu`; without
it a folder `shared` beside the repository is tried. With `GPUGRAD_REQUIRE_CUDA=1` a missing CUDA
is an error instead of a skip.
"""

from __future__ import annotations

import os

# Set before NumPy is imported: the BLAS threads of xdist's workers would fight over the cores.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.pop("GPUGRAD_DEVICE", None)  # tests that want one say so

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType
from typing import Any

import hypothesis
import pytest

hypothesis.settings.register_profile(
    "dev",
    deadline=None,  # the first call of a kernel compiles it
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.register_profile(
    "ci", hypothesis.settings.get_profile("dev"), derandomize=True, print_blob=True
)
hypothesis.settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev")
)


_COUNT_GPUS = """
import ctypes, sys
driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
count = ctypes.c_int(0)
sys.exit(driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)) or count.value == 0)
"""


def _has_gpu() -> bool:
    """Ask the driver in another process: loaded into this one it would keep the stand-in out."""
    answer = subprocess.run([sys.executable, "-IS", "-c", _COUNT_GPUS], capture_output=True)
    return answer.returncode == 0


def _stand_in_folder() -> Path | None:
    beside = Path(__file__).resolve().parents[2] / "shared"
    folder = Path(os.environ.get("GPUGRAD_CUDA_ON_CPU") or beside)
    return folder if (folder / "cuda_on_cpu" / "__init__.py").is_file() else None


def _find_cuda() -> tuple[ModuleType | None, str | None]:
    """Give the stand-in, if it is what plays CUDA, and why there is no CUDA, if there is none."""
    running = sys.modules.get("cuda_on_cpu")  # python -m cuda_on_cpu -m pytest: with its options
    if running is not None:
        return running, None
    folder = _stand_in_folder()
    if importlib.util.find_spec("cupy") is None:
        hint = "" if folder is None else f" (pip install -r {folder}/cuda_on_cpu/requirements.txt)"
        return None, f"CuPy is not installed{hint}"
    if _has_gpu():
        return None, None
    if folder is None:
        return None, "no GPU, and no stand-in: GPUGRAD_CUDA_ON_CPU=folder that holds cuda_on_cpu"
    os.environ.setdefault("CUDA_ON_CPU_DEVICES", "2")  # so that mixing devices can be tested
    sys.path.insert(0, str(folder))
    # The stand-in builds itself with the system's compiler, which can fail in many ways.
    try:
        import cuda_on_cpu

        cuda_on_cpu.install()
        import cupy

        cupy.cuda.runtime.getDeviceCount()
    except Exception as error:
        return None, f"the stand-in cuda_on_cpu does not start: {type(error).__name__}: {error}"
    return cuda_on_cpu, None


STAND_IN, NO_CUDA = _find_cuda()

if NO_CUDA is not None and os.environ.get("GPUGRAD_REQUIRE_CUDA") == "1":
    raise pytest.UsageError(f"GPUGRAD_REQUIRE_CUDA=1, but {NO_CUDA}")

from gpugrad.device import Device, namespace  # noqa: E402 - after the stand-in
from gpugrad.device import device as find_device  # noqa: E402


def pytest_report_header() -> str:
    """Say which CUDA the tests run on, since a skip is easily overlooked."""
    if NO_CUDA is not None:
        return f"cuda: none, {NO_CUDA}"
    return "cuda: a GPU" if STAND_IN is None else f"cuda: the stand-in {STAND_IN.__file__}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs CUDA, so that `-m "not cuda"` leaves it out."""
    for item in items:
        if {"cuda", "counters"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("cuda")


_functions: set[str] = set()
_comparisons = 0


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Add up what the tests of the operations compared, from all workers."""
    global _comparisons
    if report.when == "teardown":
        noted = dict(report.user_properties)
        if "function" in noted:
            _functions.add(str(noted["function"]))
            _comparisons += int(str(noted["comparisons"]))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many functions were checked, and by how many comparisons."""
    if _functions:
        terminalreporter.write_line(
            f"{len(_functions)} functions checked by {_comparisons} comparisons of values, "
            "derivatives and batches"
        )


_needs_cuda = (pytest.mark.cuda, pytest.mark.skipif(NO_CUDA is not None, reason=str(NO_CUDA)))


# Module scope, since Hypothesis objects to fixtures of function scope, which it does not reset.
@pytest.fixture(scope="module", params=["cpu", pytest.param("cuda", marks=_needs_cuda)])
def device(request: pytest.FixtureRequest) -> Device:
    """Give each device in turn."""
    return find_device("cuda:0" if request.param == "cuda" else "cpu")


@pytest.fixture(scope="module")
def xp(device: Device) -> ModuleType:
    """Give the array module of the device: NumPy or CuPy."""
    return namespace(device)


@pytest.fixture(scope="session")
def cuda() -> Any:
    """Give CuPy, on a machine with CUDA."""
    if NO_CUDA is not None:
        pytest.skip(NO_CUDA)
    import cupy

    return cupy


@pytest.fixture(scope="session")
def counters() -> Callable[[], AbstractContextManager[Any]]:
    """Give `record`: `with counters() as r: ...`, then `r["launches"]`, `r["d2h"]`, ..."""
    if STAND_IN is None:
        pytest.skip(NO_CUDA or "a real GPU does not count copies and launches, the stand-in does")
    record: Callable[[], AbstractContextManager[Any]] = STAND_IN.record
    return record
