"""Convolution: numpy.convolve and correlate, SciPy's over all axes, and over pairs of axes."""

from __future__ import annotations

import autograd.scipy.signal
import numpy as np
import scipy.signal
from op_case import Sample, case
from op_draw import Draw, Maker, complexes, integers, real

import gpugrad.numpy as gnp
from gpugrad.ops.convolve import overlap_p, windows_p
from gpugrad.scipy import signal

MODES = ["full", "valid", "same"]


def _signals(*makers: Maker):
    def sample(d: Draw) -> Sample:
        sizes = [(d.integer(1, 4),) for _ in makers]
        return [make(s) for make, s in zip(makers, sizes, strict=True)], {"mode": d.pick(MODES)}

    return sample


for _name in ("convolve", "correlate"):
    case(_name, _signals(real, real))
    case(_name + " complex", _signals(complexes, complexes))
    case(_name + " real and complex", _signals(real, complexes))
    case(_name + " integers", _signals(integers, integers))


def _whole(d: Draw) -> Sample:
    rank = d.integer(1, 2)
    long = tuple(d.integer(2, 4) for _ in range(rank))
    short = tuple(d.integer(1, n) for n in long)
    pair = [real(long), real(short)]
    return pair[:: d.pick([1, -1])], {"mode": d.pick(MODES)}


for _name in ("convolve", "correlate", "fftconvolve"):
    case(
        "signal." + _name,
        _whole,
        getattr(signal, _name),
        getattr(scipy.signal, _name),
        # SciPy's own choice of a method is not linear to the last digits: direct and FFT differ.
    )


def _pairs(d: Draw) -> Sample:
    """Axes to multiply, to sum over and to convolve, in any order."""
    kinds = ["conv"] * d.integer(1, 2) + ["dot"] * d.integer(0, 1)
    spare = [d.integer(0, 1), d.integer(0, 1)]
    mode = d.pick(["full", "valid"])
    swapped = d.flag()
    long = [d.integer(2, 3) for _ in kinds]
    short = [n if k == "dot" else d.integer(1, n) for n, k in zip(long, kinds, strict=True)]
    shapes, axes = [], []
    for lengths, count in zip((short, long) if swapped else (long, short), spare, strict=True):
        order = d.order(len(kinds) + count)
        shape = [2] * len(order)
        for n, at in zip(lengths, order, strict=False):
            shape[at] = n
        shapes.append(real(tuple(shape)))
        axes.append(order)
    pick = [i for i, k in enumerate(kinds) if k == "conv"]
    dots = [i for i, k in enumerate(kinds) if k == "dot"]
    return shapes, {
        "axes": [[a[i] for i in pick] for a in axes],
        "dot_axes": [[a[i] for i in dots] for a in axes],
        "mode": mode,
    }


case("signal.convolve over axes", _pairs, signal.convolve, autograd.scipy.signal.convolve)


def _rolled(d: Draw) -> Sample:
    long = tuple(d.integer(2, 4) for _ in range(2))
    return [real((*d.shape(0, 1), *long))], {"size": tuple(d.integer(1, n) for n in long)}


def _window_ref(x, size):
    return np.lib.stride_tricks.sliding_window_view(x, size, axis=(-2, -1))


case("windows", _rolled, windows_p, _window_ref)


def _sliding(d: Draw) -> Sample:
    size, axis = d.pick([((2, 3), None), (2, 0), ((2,), (-1,)), ((2, 2), (1, 1)), ((2, 1), (1, 0))])
    return [real((3, 4))], {"window_shape": size, "axis": axis}


case(
    "sliding_window_view",
    _sliding,
    gnp.lib.stride_tricks.sliding_window_view,
    np.lib.stride_tricks.sliding_window_view,
)


def _overlap_ref(x, size):
    out = x.shape[-4:-2]
    y = np.zeros((*x.shape[:-4], *(n + m - 1 for n, m in zip(out, size, strict=True))), x.dtype)
    for i in np.ndindex(*out):
        cut = tuple(slice(a, a + m) for a, m in zip(i, size, strict=True))
        y[(..., *cut)] += x[(..., *i, slice(None), slice(None))]
    return y


def _cut(d: Draw) -> Sample:
    size = (d.integer(1, 3), d.integer(1, 3))
    shape = (*d.shape(0, 1), d.integer(1, 3), d.integer(1, 3), *size)
    return [real(shape)], {"size": size}


case("overlap", _cut, overlap_p, _overlap_ref)
