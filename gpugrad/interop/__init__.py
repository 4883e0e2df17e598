"""Other libraries: PyTorch, JAX, ONNX, SciPy's optimizers, scikit-learn's estimators, einops.

Each is a module of its own, ``gg.interop.torch`` and so on, and imports its library when it is
used.
"""

from importlib import import_module
from types import ModuleType

__all__ = ["einops", "jax", "onnx", "scipy", "sklearn", "torch"]


def __getattr__(name: str) -> ModuleType:
    if name in __all__:
        return import_module(f"gpugrad.interop.{name}")
    raise AttributeError(f"module 'gpugrad.interop' has no attribute {name!r}")
