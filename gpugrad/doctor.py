"""``gpugrad doctor``: what there is to work with, and whether gradients come out right."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, distributions, version

import numpy as np

import gpugrad
from gpugrad.array import Array
from gpugrad.device import Device, devices, memory, why_no_cuda
from gpugrad.transforms.reverse import grad

_LIBRARIES = ("numpy", "scipy", "numba", "safetensors", "scikit-learn")


def examine() -> bool:
    """Print versions, devices and their memory; check a gradient on each device.

    Returns
    -------
    bool
        Whether every device computed the right gradient.
    """
    print(f"gpugrad {gpugrad.__version__}, Python {platform.python_version()}")
    print(", ".join(_version(name) for name in (*_LIBRARIES, _cupy_distribution())))
    healthy = True
    for device in devices():
        fault = check(device)
        print(f"{device}: {fault or 'gradients are right'}; {memory(device)}")
        healthy = healthy and fault is None
    reason = why_no_cuda()
    if reason is not None:
        print(f"no cuda: {reason}")
    return healthy


def warm_up() -> None:
    """Compile the kernels for each device, and print how long each family took."""
    from gpugrad.warm import warm

    for device in devices():
        for name, seconds in warm(device):
            print(f"{device}: {name} compiled in {seconds:.1f} s", flush=True)


def check(device: Device) -> str | None:
    """Compute a small gradient on a device; give what is wrong with it, or None.

    Examples
    --------
    >>> from gpugrad.device import CPU
    >>> from gpugrad.doctor import check
    >>> check(CPU)
    """
    x, w = np.linspace(-1, 1, 12).reshape(4, 3), np.array([0.3, -0.7, 0.2])
    expected = x.T @ (1 - np.tanh(x @ w) ** 2) / 4
    # A broken CUDA installation fails in many ways, and each is a finding.
    try:
        found = grad(lambda w, x: np.mean(np.tanh(x @ w)))(
            Array(w, device=device), Array(x, device=device)
        ).numpy()
    except Exception as error:
        return f"a gradient failed with {type(error).__name__}: {error}"
    return None if np.allclose(found, expected) else f"a gradient is {found}, not {expected}"


def _version(name: str) -> str:
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return f"{name} not installed"


def _cupy_distribution() -> str:
    """CuPy comes under a name for each CUDA version: cupy-cuda12x, cupy-cuda13x, or cupy."""
    names = (d.metadata["Name"] for d in distributions())
    return next((n for n in names if n == "cupy" or n.startswith("cupy-cuda")), "cupy")
