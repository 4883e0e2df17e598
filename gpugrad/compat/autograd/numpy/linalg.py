"""The names of numpy.linalg, as in the namespace above."""

from __future__ import annotations

import sys
from typing import Any

import numpy.linalg as _np

import gpugrad.numpy as gnp
from gpugrad.compat.autograd.boxes import isbox
from gpugrad.compat.autograd.numpy import _names


def _from_triangle(a: Any, uplo: str) -> Any:
    """The Hermitian matrix of which ``a`` holds one triangle, to which the gradient then goes."""
    half = gnp.tril(a) if uplo.upper() == "L" else gnp.triu(a)
    strict = gnp.tril(a, -1) if uplo.upper() == "L" else gnp.triu(a, 1)
    return half + gnp.conj(gnp.matrix_transpose(strict))


def eigh(a: Any, UPLO: str = "L") -> Any:
    """NumPy's ``eigh``, whose gradient goes to the triangle that is read."""
    return gnp.linalg.eigh(_from_triangle(a, UPLO), UPLO) if isbox(a) else _eigh(a, UPLO)


def eigvalsh(a: Any, UPLO: str = "L") -> Any:
    """NumPy's ``eigvalsh``, whose gradient goes to the triangle that is read."""
    return gnp.linalg.eigvalsh(_from_triangle(a, UPLO), UPLO) if isbox(a) else _eigvalsh(a, UPLO)


def T(x: Any) -> Any:
    """The last two axes exchanged."""
    return gnp.matrix_transpose(x)


_dot = gnp.matmul

_eigh, _eigvalsh = _names.find(_np, "eigh"), _names.find(_np, "eigvalsh")

__all__ = [name for name in dir(_np) if not name.startswith("_")]


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = _names.find(_np, name)
    setattr(sys.modules[__name__], name, found)
    return found


def __dir__() -> list[str]:
    return sorted(vars(_np))
