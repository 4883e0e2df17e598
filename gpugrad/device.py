"""Devices: which there are, which one is meant, where an array lives, and how full it is.

This is the only module of gpugrad that imports CuPy, and it does so when CUDA is first asked for
or a CuPy array arrives, never before. Streams and memory pools are CuPy's business: nothing here
sets one, and nothing waits for the device unless its name says so (`synchronize`) or the host
needs the values (`to_device` towards the CPU).
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import os
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import ModuleType, TracebackType
from typing import Any, Final, Literal, NamedTuple

# 5 ms, and it registers bfloat16 and the float8 family with NumPy.
import ml_dtypes
import numpy as np

__all__ = [
    "CPU",
    "CUDA_TYPES",
    "HOST_TYPES",
    "Device",
    "DeviceError",
    "MemoryInfo",
    "OutOfMemoryError",
    "best_device",
    "common_device",
    "cuda_available",
    "default_device",
    "device",
    "device_of",
    "devices",
    "is_cuda",
    "memory",
    "namespace",
    "on",
    "out_of_memory",
    "set_default_device",
    "synchronize",
    "to_device",
    "why_no_cuda",
]

_NUMPY_SCALARS = {
    kind
    for kind in (*np.sctypeDict.values(), *vars(ml_dtypes).values())
    if isinstance(kind, type) and issubclass(kind, np.generic)
}
_PYTHON_SCALARS = {bool, int, float, complex, type(None)}

HOST_TYPES: Final[set[type]] = {np.ndarray, *_PYTHON_SCALARS, *_NUMPY_SCALARS}
"""Types whose values live in host memory. One set lookup, `type(v) in HOST_TYPES`, keeps CuPy out
of the path of NumPy code; subclasses are not in it and take the slower `device_of`."""

CUDA_TYPES: Final[set[type]] = set()
"""Types seen to be CuPy's array or a subclass of it: filled as they arrive."""

_ALLOWED = "allowed are 'cpu', 'cuda' and 'cuda:N', for instance 'cuda:1'"


class DeviceError(RuntimeError):
    """A device that does not exist, cannot be used, or does not fit the other operands."""


class OutOfMemoryError(MemoryError):
    """A device has too little memory left; the message says what was asked and what is held."""


# ------------------------------------------------------------------------------ what a device is


@dataclass(frozen=True, slots=True)
class Device:
    """A device that holds arrays and computes with them; made by `gpugrad.device`.

    As a context manager it is the default device of the calling thread, and for CUDA CuPy's
    current device too, so that plain CuPy code in the block lands on it.

    Parameters
    ----------
    kind : {"cpu", "cuda"}
        What sort of device it is.
    index : int
        Which one of its kind; always 0 for the CPU.

    Examples
    --------
    >>> from gpugrad.device import default_device, device
    >>> device("cpu")
    device('cpu')
    >>> with device("cpu") as d:
    ...     default_device() == d
    True
    """

    kind: Literal["cpu", "cuda"]
    index: int = 0

    def __post_init__(self) -> None:
        """Refuse what `gpugrad.device` would never make."""
        if (
            self.kind not in ("cpu", "cuda")
            or self.index < 0
            or (self.kind == "cpu" and self.index)
        ):
            raise DeviceError(
                f"there is no device of kind {self.kind!r} and index {self.index!r}: {_ALLOWED}"
            )

    def __str__(self) -> str:
        """Give the spelling that `gpugrad.device` understands."""
        return "cpu" if self.kind == "cpu" else f"cuda:{self.index}"

    def __repr__(self) -> str:
        """Give the call that makes this device."""
        return f"device({str(self)!r})"

    def __enter__(self) -> Device:
        """Make this the default device of the calling thread."""
        here = device(self)  # one built by hand may not exist
        made_current = contextlib.ExitStack()
        if here.kind == "cuda":
            made_current.enter_context(_cupy().cuda.Device(here.index))
        _thread.entered.append((here, made_current))
        return here

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Go back to the default device from before the block."""
        _, made_current = _thread.entered.pop()
        made_current.close()


CPU: Final = Device("cpu", 0)

_cuda_devices: dict[int, Device] = {}


def _cuda(index: int) -> Device:
    """Give the one object for `cuda:index`, so that comparing by identity mostly suffices."""
    found = _cuda_devices.get(index)
    # setdefault, since two threads may come here together.
    return found or _cuda_devices.setdefault(index, Device("cuda", index))


class _Thread(threading.local):
    """The devices whose `with` blocks the calling thread is in, innermost last."""

    def __init__(self) -> None:
        self.entered: list[tuple[Device, contextlib.ExitStack]] = []


_thread = _Thread()
_process_default: Device | None = None


def device(spec: str | Device | None = None) -> Device:
    """Give the device that a name means.

    Parameters
    ----------
    spec : str, Device or None
        `"cpu"`; `"cuda:1"`; `"cuda"`, which is the default device if that is a CUDA device, else
        CuPy's current one (the first, unless you changed it); None, the default device. A
        `cupy.cuda.Device` is understood too.

    Returns
    -------
    Device
        A device that exists on this machine.

    Raises
    ------
    DeviceError
        If the name is unknown, there is no CUDA, or the index is out of range.

    Examples
    --------
    >>> from gpugrad.device import device
    >>> device("cpu")
    device('cpu')
    >>> device("gpu")
    Traceback (most recent call last):
        ...
    gpugrad.device.DeviceError: unknown device 'gpu': allowed are 'cpu', 'cuda' and 'cuda:N', \
for instance 'cuda:1'
    """
    if spec is None:
        return default_device()
    if isinstance(spec, Device):
        if spec.kind == "cpu":
            return CPU
        index = spec.index
    elif isinstance(spec, str):
        if spec == "cpu":
            return CPU
        kind, colon, number = spec.partition(":")
        if kind != "cuda" or (colon and not (number.isascii() and number.isdigit())):
            raise DeviceError(f"unknown device {spec!r}: {_ALLOWED}")
        index = int(number) if colon else -1
    elif _is_cupy_device(spec):
        index = int(spec.id)
    else:
        raise TypeError(
            f"a device is named by a string or a gpugrad.Device, "
            f"not by {spec!r} of type {type(spec).__name__}: {_ALLOWED}"
        )
    count, why = _discover()
    if why is not None:
        name = "cuda" if index < 0 else f"cuda:{index}"
        raise DeviceError(f"there is no device {name!r}: {why}")
    if index < 0:
        default = default_device()
        return default if default.kind == "cuda" else _cuda(_cupy().cuda.runtime.getDevice())
    if index >= count:
        names = ", ".join(f"'cuda:{each}'" for each in range(count))
        raise DeviceError(
            f"there is no device 'cuda:{index}': this machine has {count} CUDA "
            f"device{'' if count == 1 else 's'}, {names}"
        )
    return _cuda(index)


def _is_cupy_device(spec: object) -> bool:
    cupy = sys.modules.get("cupy")
    return cupy is not None and isinstance(spec, cupy.cuda.Device)


# ------------------------------------------------------------------------------ the default device


def default_device() -> Device:
    """Give the device where new arrays are made when none is named.

    The innermost `with gpugrad.device(...)` block of the calling thread decides, then
    `set_default_device`, then the environment variable `GPUGRAD_DEVICE`, then it is the CPU.

    Returns
    -------
    Device
        The default device.

    Examples
    --------
    >>> from gpugrad.device import default_device, device
    >>> with device("cpu"):
    ...     default_device()
    device('cpu')
    """
    global _process_default
    entered = _thread.entered
    if entered:
        return entered[-1][0]
    if _process_default is None:
        _process_default = _from_environment()
    return _process_default


def _from_environment() -> Device:
    spec = os.environ.get("GPUGRAD_DEVICE", "").strip()
    if spec in ("", "cpu"):
        return CPU
    try:
        # "cuda" asks for the default device, which is being found out here.
        return device("cuda:0" if spec == "cuda" else spec)
    except DeviceError as error:
        raise DeviceError(
            f"the environment variable GPUGRAD_DEVICE={spec!r} is of no use: {error}"
        ) from None


def set_default_device(spec: str | Device | None) -> None:
    """Choose where new arrays are made when no device is named, in all threads.

    Parameters
    ----------
    spec : str, Device or None
        The device; None goes back to the environment variable `GPUGRAD_DEVICE`, or the CPU.

    Examples
    --------
    >>> from gpugrad.device import set_default_device
    >>> set_default_device("cpu")
    >>> set_default_device(None)
    """
    global _process_default
    _process_default = None if spec is None else device(spec)


# ------------------------------------------------------------------------------ discovery


_INSTALL = (
    'pip install "gpugrad[cuda12]" for a CUDA 12 driver, or "gpugrad[cuda13]" for CUDA 13 '
    "(nvidia-smi shows which)"
)
_NO_DEVICE = 100  # cudaErrorNoDevice; CuPy's runtime module has no names for errors


@functools.cache
def _discover() -> tuple[int, str | None]:
    """Count the CUDA devices, or say why there are none. Graphics cards do not come and go."""
    if sys.modules.get("cupy") is None and importlib.util.find_spec("cupy") is None:
        return 0, f"CuPy is not installed: {_INSTALL}"
    # A broken installation can fail with anything, and looking for devices must never fail.
    try:
        cupy = _cupy()
    except Exception as error:
        return 0, f"CuPy is installed but cannot be imported ({_brief(error)}): {_INSTALL}"
    try:
        if cupy.cuda.runtime.driverGetVersion() == 0:
            return 0, (
                "CuPy is installed, but this machine has no NVIDIA driver: install one, or in a "
                "container start it with its GPUs (docker run --gpus all)"
            )
        count = int(cupy.cuda.runtime.getDeviceCount())
    except Exception as error:
        if getattr(error, "status", None) == _NO_DEVICE:
            count = 0
        else:
            return 0, (
                f"CuPy is installed, but the NVIDIA driver does not answer ({_brief(error)}): "
                "see what nvidia-smi says; the driver may be too old for this CuPy"
            )
    if count == 0:
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
        return 0, "the NVIDIA driver shows no GPU" + (
            "" if hidden is None else f": CUDA_VISIBLE_DEVICES={hidden!r} chooses which are seen"
        )
    try:
        cupy.cuda.nvrtc.getVersion()
    except Exception as error:
        return 0, f"CuPy finds a GPU but not CUDA's compiler NVRTC ({_brief(error)}): {_INSTALL}"
    return count, None


def _brief(error: Exception) -> str:
    """Give an exception's type and first line: CuPy's import errors fill a screen."""
    lines = [line.strip(" =") for line in str(error).splitlines()]
    return ": ".join([type(error).__name__, *[line for line in lines if line][:1]])


def devices() -> list[Device]:
    """List the devices of this machine. Never fails, whatever is broken or missing.

    Returns
    -------
    list of Device
        The CPU, then each CUDA device.

    Examples
    --------
    >>> from gpugrad.device import devices
    >>> devices()[0]
    device('cpu')
    """
    return [CPU, *(_cuda(index) for index in range(_discover()[0]))]


def cuda_available() -> bool:
    """Tell whether there is a CUDA device that CuPy can use; never fails.

    Returns
    -------
    bool
        True if `device("cuda")` works.

    Examples
    --------
    >>> from gpugrad.device import cuda_available, why_no_cuda
    >>> cuda_available() == (why_no_cuda() is None)
    True
    """
    return _discover()[1] is None


def why_no_cuda() -> str | None:
    """Say why there is no CUDA device, and what to do about it.

    Returns
    -------
    str or None
        The reason in one line, or None where there is one.

    Examples
    --------
    >>> from gpugrad.device import why_no_cuda
    >>> reason = why_no_cuda()
    """
    return _discover()[1]


def best_device() -> Device:
    """Give the first CUDA device if there is one, else the CPU.

    Returns
    -------
    Device
        The device that a program should use when nobody chose one.

    Examples
    --------
    >>> from gpugrad.device import best_device, devices
    >>> best_device() in devices()
    True
    """
    return _cuda(0) if cuda_available() else CPU


# ------------------------------------------------------------------------------ arrays on devices


_cupy_module: Any = None

met_cupy: list[Callable[[Any], None]] = []
"""What to do with CuPy when its first array is seen."""


def _cupy() -> Any:
    """Import CuPy on first use: half a second that NumPy code should not pay."""
    global _cupy_module
    if _cupy_module is None:
        import cupy

        _cupy_module = cupy
    return _cupy_module


def is_cuda(raw: object) -> bool:
    """Tell whether a raw value is a CuPy array, without importing CuPy to find out.

    Parameters
    ----------
    raw : object
        Any value.

    Returns
    -------
    bool
        True for a `cupy.ndarray`.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.device import is_cuda
    >>> is_cuda(np.ones(3))
    False
    """
    kind = type(raw)
    if kind in HOST_TYPES:
        return False
    if kind in CUDA_TYPES:
        return True
    # Another thread may be half way through importing CuPy: then nobody has an array yet.
    cupy = sys.modules.get("cupy")
    if not isinstance(raw, getattr(cupy, "ndarray", ())):
        return False
    CUDA_TYPES.add(kind)
    for meet in met_cupy:
        meet(cupy)
    return True


def device_of(raw: Any) -> Device:
    """Give the device that holds a raw array or scalar.

    Parameters
    ----------
    raw : numpy.ndarray, cupy.ndarray or scalar
        The value; scalars of Python and NumPy count as on the CPU.

    Returns
    -------
    Device
        Where its memory is.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.device import device_of
    >>> device_of(np.ones(3))
    device('cpu')
    """
    kind = type(raw)
    if kind in HOST_TYPES:
        return CPU
    if kind in CUDA_TYPES or is_cuda(raw):
        return _cuda(raw.data.device_id)
    if isinstance(raw, np.ndarray | np.generic | bool | int | float | complex):
        return CPU
    raise TypeError(
        f"expected a numpy.ndarray, a cupy.ndarray or a number, got {type(raw).__name__}"
    )


def namespace(where: Device) -> ModuleType:
    """Give the module whose functions make arrays on a device.

    Parameters
    ----------
    where : Device
        The device.

    Returns
    -------
    module
        `numpy` or `cupy`.

    Examples
    --------
    >>> from gpugrad.device import device, namespace
    >>> namespace(device("cpu")).__name__
    'numpy'
    """
    return np if where.kind == "cpu" else _cupy()


def scipy_for(xp: Any, part: str) -> ModuleType:
    """Give SciPy's module ``part`` for the arrays of ``xp``: ``cupyx.scipy``'s for CuPy's.

    Parameters
    ----------
    xp : module
        `numpy` or `cupy`.
    part : str
        The name of the module, such as ``linalg``.

    Returns
    -------
    module
        `scipy.linalg` or `cupyx.scipy.linalg`.
    """
    return importlib.import_module(f"{'scipy' if xp is np else 'cupyx.scipy'}.{part}")


def common_device(values: Iterable[Any], what: str) -> Device:
    """Give the one device that the operands of an operation live on.

    Scalars (of Python, and NumPy's own such as `np.float32(2)`) go with any device; a
    `numpy.ndarray` of any rank lives on the CPU.

    Parameters
    ----------
    values : iterable
        The raw operands.
    what : str
        The operation's name, for the error.

    Returns
    -------
    Device
        Their device; the CPU if all are scalars.

    Raises
    ------
    DeviceError
        If arrays live on two devices.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.device import common_device
    >>> common_device([np.ones(3), 2.0], "add")
    device('cpu')
    """
    found: Device | None = None
    first: Any = None
    for value in values:
        kind = type(value)
        if kind is np.ndarray:
            here = CPU
        elif kind in HOST_TYPES:
            continue
        else:
            here = device_of(value)
            if here is CPU and not isinstance(value, np.ndarray):
                continue
        if found is None:
            found, first = here, value
        elif here is not found and here != found:
            raise DeviceError(
                f"{what}: one operand is on {found} ({_describe(first)}) and another on {here} "
                f"({_describe(value)}). Nothing is copied between devices unasked: "
                + _how_to_move(found, here)
            )
    return CPU if found is None else found


def _how_to_move(a: Device, b: Device) -> str:
    where = a if b == CPU else b
    hint = (
        f"move one of them first, by gpugrad.numpy.asarray(x, device='{where}'), or by "
        f"x.to('{where}') where x is a gpugrad.Array"
    )
    if CPU in (a, b) and default_device() == CPU:
        hint += (
            ". gpugrad.numpy makes new arrays on the cpu here; after gpugrad.set_default_device"
            f"('{where}') or in `with gpugrad.device('{where}'):` it makes them there"
        )
    return hint


def _describe(array: Any) -> str:
    shape = str(tuple(array.shape)).replace(" ", "")
    return f"shape {shape}, {array.dtype}"


def to_device(raw: Any, where: Device) -> Any:
    """Copy a raw array to a device; give it back as it is if it is there already.

    Parameters
    ----------
    raw : numpy.ndarray, cupy.ndarray or scalar
        The value. Python's scalars and None have no device and come back as they are; NumPy's
        become arrays of rank 0 on a CUDA device.
    where : Device
        The target.

    Returns
    -------
    numpy.ndarray, cupy.ndarray or scalar
        The value there. The copy is queued on CuPy's current streams; only one to the CPU waits.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.device import device, to_device
    >>> x = np.ones(3)
    >>> to_device(x, device("cpu")) is x
    True
    """
    if type(raw) in _PYTHON_SCALARS:
        return raw
    source = device_of(raw)
    if source == where:
        return raw
    if where.kind == "cpu":
        with on(source):
            return _cupy().asnumpy(raw)
    if source.kind == "cuda":
        return _between_gpus(raw, source, where)
    with on(where):
        try:
            if raw.ndim:
                return _cupy().asarray(raw)
            out = _cupy().empty((), raw.dtype)  # asarray would fill it, which loses -0.0's sign
            out.set(np.asarray(raw))
            return out
        except ValueError as error:
            raise TypeError(
                f"{where} cannot hold dtype {raw.dtype}, only bool, integers, float16, bfloat16, "
                "float32, float64, complex64 and complex128: convert it with astype, or keep the "
                "array on the cpu"
            ) from error
        except MemoryError as error:
            raise out_of_memory(error, f"moving an array of {_describe(raw)}", where) from error


def _between_gpus(raw: Any, source: Device, target: Device) -> Any:
    """Copy from one GPU to another, ordered between their streams by events, without waiting."""
    cuda = _cupy().cuda
    with on(source):
        raw = _cupy().ascontiguousarray(raw) if raw.ndim else raw
        sending = cuda.get_current_stream()
        written = cuda.Event(disable_timing=True)
        written.record(sending)
    with on(target):
        receiving = cuda.get_current_stream()
        receiving.wait_event(written)
        try:
            out = _cupy().array(raw)
        except MemoryError as error:
            raise out_of_memory(error, f"moving an array of {_describe(raw)}", target) from error
        copied = cuda.Event(disable_timing=True)
        copied.record(receiving)
    with on(source):
        # The source's pool may hand its memory on as soon as the caller lets go of it.
        sending.wait_event(copied)
    return out


_NOTHING = contextlib.nullcontext()


def on(where: Device) -> contextlib.AbstractContextManager[Any]:
    """Make a CUDA device CuPy's current one for a block, if it is not already.

    Parameters
    ----------
    where : Device
        The device; nothing happens for the CPU.

    Returns
    -------
    context manager
        Use it at once, in a `with` statement.

    Examples
    --------
    >>> from gpugrad.device import device, on
    >>> with on(device("cpu")):
    ...     pass
    """
    if where.kind == "cpu":
        return _NOTHING
    cuda = _cupy().cuda
    if cuda.runtime.getDevice() == where.index:
        return _NOTHING
    return cuda.Device(where.index)  # type: ignore[no-any-return]


# ------------------------------------------------------------------------------ memory


class MemoryInfo(NamedTuple):
    """Memory figures of a device, in bytes; `str` gives them for people.

    Attributes
    ----------
    used : int
        Held by live arrays (on the CPU: by this process).
    pool : int
        Held by CuPy's memory pool, live arrays included (on the CPU: the same as `used`).
    free : int
        What the device can still give, beyond what the pool holds.
    total : int
        What the device has.
    """

    used: int
    pool: int
    free: int
    total: int

    def __str__(self) -> str:
        """Give the figures in units that people read."""
        return (
            f"{_readable(self.used)} in use, {_readable(self.pool)} held by the pool, "
            f"{_readable(self.free)} free of {_readable(self.total)}"
        )


def _readable(size: float) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def memory(spec: str | Device | None = None) -> MemoryInfo:
    """Give the memory figures of a device.

    Parameters
    ----------
    spec : str, Device or None
        The device; None is the default device.

    Returns
    -------
    MemoryInfo
        `used`, `pool`, `free` and `total` in bytes; 0 where the system does not tell.

    Examples
    --------
    >>> from gpugrad.device import memory
    >>> memory("cpu").used > 0
    True
    """
    where = device(spec)
    if where.kind == "cpu":
        return _host_memory()
    cuda = _cupy().cuda
    with on(where):
        free, total = cuda.runtime.memGetInfo()
        # The pool is whatever the user set, which need not be CuPy's default one.
        pool: Any = getattr(cuda.get_allocator(), "__self__", None)
        if not hasattr(pool, "used_bytes"):  # no pool: every array is its own allocation
            return MemoryInfo(total - free, total - free, free, total)
        return MemoryInfo(pool.used_bytes(), pool.total_bytes(), free, total)


def _host_memory() -> MemoryInfo:
    """Ask Linux through /proc; elsewhere what POSIX tells, which has no current figure."""
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:
            used = int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        with open("/proc/meminfo", encoding="ascii") as meminfo:
            kib = {name: int(rest.split()[0]) for name, _, rest in map(_split_colon, meminfo)}
        return MemoryInfo(used, used, kib["MemAvailable"] * 1024, kib["MemTotal"] * 1024)
    except (OSError, ValueError, KeyError):
        return _host_memory_without_proc()


def _split_colon(line: str) -> tuple[str, str, str]:
    return line.partition(":")


def _host_memory_without_proc() -> MemoryInfo:
    used = 0
    with contextlib.suppress(ImportError):  # Windows has no resource
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        used = peak if sys.platform == "darwin" else peak * 1024
    total = host_total()
    return MemoryInfo(used, used, max(total - used, 0), total)


def host_total() -> int:
    """Bytes of memory that the machine has; 0 where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not POSIX
        return 0


def out_of_memory(
    error: Exception, what: str, where: Device, held: Iterable[tuple[str, int]] = ()
) -> OutOfMemoryError:
    """Turn NumPy's or CuPy's refusal into an error that says what to do. Raise it `from error`.

    Parameters
    ----------
    error : Exception
        What the allocation raised; CuPy's own error is a MemoryError too.
    what : str
        The operation that asked.
    where : Device
        The device that was asked.
    held : iterable of (str, int)
        Operations and the bytes that each holds, for instance as residuals on the tape.

    Returns
    -------
    OutOfMemoryError
        The error to raise.

    Examples
    --------
    >>> from gpugrad.device import CPU, out_of_memory
    >>> text = str(out_of_memory(MemoryError("no room"), "matmul", CPU, [("tanh", 4096)]))
    >>> "matmul" in text and "tanh (4.0 KiB)" in text
    True
    """
    asked = str(error).rstrip(".") or "the allocation failed"
    lines = [f"{what} ran out of memory on {where}: {asked}.", f"{where}: {memory(where)}."]
    largest = sorted(held, key=lambda entry: -entry[1])[:5]
    if largest:
        names = ", ".join(f"{name} ({_readable(size)})" for name, size in largest)
        lines.append(f"Held for the backward pass, largest first: {names}.")
    lines.append(
        "Try a smaller batch, gpugrad.checkpoint around the largest part, float32 instead of "
        "float64, or letting go of arrays and losses from earlier steps."
    )
    return OutOfMemoryError("\n".join(lines))


def synchronize(spec: str | Device | None = None) -> None:
    """Wait until a device has done all that was asked of it. For timing; results need no waiting.

    Parameters
    ----------
    spec : str, Device or None
        The device; None is the default device. The CPU has nothing to wait for.

    Examples
    --------
    >>> from gpugrad.device import synchronize
    >>> synchronize("cpu")
    """
    where = device(spec)
    if where.kind == "cuda":
        _cupy().cuda.Device(where.index).synchronize()
