"""Fourier transforms: every function of numpy.fft, with its lengths, axes and normalisations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from op_case import Sample, case
from op_draw import Draw, complexes, real

import gpugrad.numpy as gnp

NORMS = [None, "backward", "ortho", "forward"]


def along(make: Callable, least: int = 1) -> Callable[[Draw], Sample]:
    def sample(d: Draw) -> Sample:
        shape = d.shape(1, 2, least)
        params = {"n": d.pick([None, 1, 2, 3, 4]), "axis": d.axis(len(shape))}
        return [make(shape)], {**params, "norm": d.pick(NORMS)}

    return sample


def over(make: Callable, least: int = 1) -> Callable[[Draw], Sample]:
    def sample(d: Draw) -> Sample:
        shape = d.shape(2, 3, least)
        axes = d.order(len(shape))[: d.integer(1, len(shape))]
        s = d.pick([None, tuple(d.integer(2, 4) for _ in axes)])
        return [make(shape)], {"s": s, "axes": axes, "norm": d.pick(NORMS)}

    return sample


def two(make: Callable, least: int = 1) -> Callable[[Draw], Sample]:
    return lambda d: ([make(d.shape(2, 2, least))], {"norm": d.pick(NORMS)})


def fft_case(name: str, sample: Callable, kind: str = "") -> None:
    plain = getattr(np.fft, name)
    case(f"fft.{name}{kind}", sample, getattr(gnp.fft, name), plain)


for _name in ("fft", "ifft"):
    fft_case(_name, along(complexes))
    fft_case(_name, along(real), " of real")
    fft_case(_name + "n", over(complexes))
    fft_case(_name + "n", over(real), " of real")
    fft_case(_name + "2", two(complexes))
for _name in ("rfft", "ihfft"):
    fft_case(_name, along(real))
for _name in ("irfft", "hfft"):
    fft_case(_name, along(complexes, 2))
    fft_case(_name, along(real, 2), " of real")
fft_case("rfftn", over(real))
fft_case("rfft2", two(real))
fft_case("irfftn", over(complexes, 2))
fft_case("irfft2", two(complexes, 2))


def shifted(d: Draw) -> Sample:
    shape = d.shape(1)
    return [real(shape)], {"axes": d.pick([None, d.axis(len(shape)), (0, len(shape) - 1)])}


for _name in ("fftshift", "ifftshift"):
    fft_case(_name, shifted)
