"""gpugrad: gradients of NumPy and CuPy code, on the CPU and on NVIDIA GPUs.

>>> import numpy as np, gpugrad as gg
>>> gg.grad(lambda x: np.sum(np.tanh(x)))(np.zeros(2))
array([1., 1.])
"""

from importlib import import_module
from typing import Any

from gpugrad import amp, numpy
from gpugrad.amp import autocast
from gpugrad.array import Array
from gpugrad.core.abstract import ShapeDtype
from gpugrad.core.debug import debug
from gpugrad.core.errors import NonFiniteError, TapeError
from gpugrad.core.tape import no_grad
from gpugrad.core.trace import LeakedBoxError
from gpugrad.device import (
    Device,
    DeviceError,
    MemoryInfo,
    OutOfMemoryError,
    best_device,
    cuda_available,
    default_device,
    device,
    devices,
    memory,
    set_default_device,
    synchronize,
    why_no_cuda,
)
from gpugrad.heap import keep_freed
from gpugrad.numpy.creation import asarray, from_dlpack
from gpugrad.transforms.batch import per_sample_grad, vmap
from gpugrad.transforms.custom import checkpoint, custom_jvp, custom_vjp, stop_gradient
from gpugrad.transforms.extend import defjvp, defvjp, primitive
from gpugrad.transforms.forward import eval_shape, jvp, linearize, make_jvp
from gpugrad.transforms.fuse import fuse
from gpugrad.transforms.jacobians import (
    hessian,
    hessian_vector_product,
    hvp,
    jacfwd,
    jacobian,
    jacrev,
)
from gpugrad.transforms.reverse import (
    elementwise_grad,
    grad,
    holomorphic_grad,
    make_vjp,
    value_and_grad,
    vjp,
)

__version__ = "0.1.0"

keep_freed()

__all__ = [
    "Array",
    "Device",
    "DeviceError",
    "LeakedBoxError",
    "MemoryInfo",
    "NonFiniteError",
    "OutOfMemoryError",
    "ShapeDtype",
    "TapeError",
    "amp",
    "asarray",
    "autocast",
    "best_device",
    "checkpoint",
    "cuda_available",
    "custom_jvp",
    "custom_vjp",
    "data",
    "debug",
    "default_device",
    "defjvp",
    "defvjp",
    "device",
    "devices",
    "elementwise_grad",
    "eval_shape",
    "from_dlpack",
    "fuse",
    "grad",
    "hessian",
    "hessian_vector_product",
    "holomorphic_grad",
    "hvp",
    "interop",
    "jacfwd",
    "jacobian",
    "jacrev",
    "jvp",
    "linearize",
    "load",
    "make_jvp",
    "make_vjp",
    "memory",
    "nn",
    "no_grad",
    "numpy",
    "optim",
    "per_sample_grad",
    "primitive",
    "random",
    "save",
    "scipy",
    "set_default_device",
    "stop_gradient",
    "synchronize",
    "training",
    "value_and_grad",
    "viz",
    "vjp",
    "vmap",
    "why_no_cuda",
]


_ROOMS = ("data", "interop", "nn", "optim", "random", "scipy", "training", "viz")


_TRAINED = ("load", "save")


def __getattr__(name: str) -> Any:
    """Import a room such as ``gg.nn`` when it is first used: `import gpugrad` stays light."""
    if name in _ROOMS:
        return import_module(f"gpugrad.{name}")
    if name in _TRAINED:
        return getattr(import_module("gpugrad.training"), name)
    raise AttributeError(f"module 'gpugrad' has no attribute {name!r}")
