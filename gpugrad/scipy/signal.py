"""``scipy.signal``'s convolutions, differentiable: SciPy's on the CPU, CuPy's on CUDA.

Examples
--------
>>> import gpugrad as gg, gpugrad.numpy as gnp, numpy as np
>>> from gpugrad.scipy.signal import convolve
>>> x, kernel = np.array([1.0, 2.0, 3.0]), np.array([1.0, -1.0])
>>> gg.grad(lambda k: gnp.sum(convolve(x, k, mode="valid") ** 2))(kernel)
array([10.,  6.])
"""

from __future__ import annotations

from typing import Any

from gpugrad.core.abstract import shape_dtype
from gpugrad.ops.complex import conj
from gpugrad.ops.convolve import convolve_axes
from gpugrad.ops.shape import flip

__all__ = ["convolve", "correlate", "fftconvolve"]


def convolve(
    in1: Any,
    in2: Any,
    axes: Any = None,
    dot_axes: Any = ((), ()),
    mode: str = "full",
    *,
    method: str = "auto",
) -> Any:
    """Convolve two arrays along pairs of axes.

    Parameters
    ----------
    in1, in2
        The arrays.
    axes
        Axes of ``in1`` and of ``in2`` that are convolved with each other; all by default. SciPy's
        third argument, ``mode``, is understood in this place too.
    dot_axes
        Axes of ``in1`` and of ``in2`` whose products are summed, as in HIPS autograd. Every
        element along the axes that are left is combined with every other.
    mode
        "full": the whole sum; "valid": what needs no zeros around the longer array; "same": the
        middle of "full", of the lengths of ``in1``.
    method
        "direct", "fft", or "auto" for the faster one. Used where all axes are convolved;
        otherwise windows are multiplied as matrices.

    Returns
    -------
    array
        The axes left of ``in1``, those of ``in2``, and the convolved axes.
    """
    if isinstance(axes, str):
        axes, mode = None, axes
    if axes is None:
        left, right = shape_dtype(in1).ndim, shape_dtype(in2).ndim
        if left != right:
            raise ValueError(
                f"convolve: arrays of {left} and {right} axes: say with axes= which belong together"
            )
        axes = (tuple(range(left)), tuple(range(right)))
    return convolve_axes(in1, in2, axes, dot_axes, mode, method)


def fftconvolve(in1: Any, in2: Any, mode: str = "full") -> Any:
    """`convolve` over all axes by Fourier transforms."""
    return convolve(in1, in2, mode=mode, method="fft")


def correlate(in1: Any, in2: Any, mode: str = "full", *, method: str = "auto") -> Any:
    """Cross-correlation over all axes: `convolve` with ``in2`` reversed and conjugated."""
    if mode == "valid" and shape_dtype(in2).size > shape_dtype(in1).size:
        return flip(conj(correlate(in2, in1, mode, method=method)))
    return convolve(in1, conj(flip(in2)), mode=mode, method=method)
