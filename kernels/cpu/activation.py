"""Activations forward and backward, each loop with bias and dropout. See kernels/activation.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from gpugrad.kernels import activation as kinds
from gpugrad.kernels.cpu import shared
from gpugrad.kernels.cpu.apart import gain, get, put
from gpugrad.kernels.cpu.bits import bit, bit_of, pack_64, pack_above, word
from gpugrad.kernels.cpu.elementary import (
    exp,
    expm1,
    gelu_slope,
    log1p,
    magnitude,
    normal_cdf,
    select,
    sigmoid,
    tanh,
)
from gpugrad.kernels.cpu.philox import fill
from numba import types
from numba.extending import overload

_OPTIONS: Any = {"fastmath": {"contract"}, "error_model": "numpy"}
_loop = shared.loop(cache=True, **_OPTIONS)

# ------------------------------------------------------------------------------ the functions

Scalar = Callable[..., Any]
VALUE: dict[type, Callable[[Any], Scalar]] = {}
PULL: dict[type, Callable[[Any], Scalar]] = {}


def value(act: Any, z: Any) -> Any:
    """The activation of one number."""
    raise TypeError("value is for functions that Numba compiles")


def pull(act: Any, g: Any, r: Any) -> Any:
    """The cotangent of ``z`` from that of its value; ``r`` is that value, or ``z`` or its sign."""
    raise TypeError("pull is for functions that Numba compiles")


@overload(value, jit_options=_OPTIONS, strict=False)
def _(act: Any, z: Any) -> Any:
    return VALUE[act.instance_class](_REAL[z])


@overload(pull, jit_options=_OPTIONS, strict=False)
def _(act: Any, g: Any, r: Any) -> Any:
    return PULL[act.instance_class](_REAL[r])


_REAL = {types.float32: np.float32, types.float64: np.float64}


def _value_of(kind: type) -> Callable[[Any], Any]:
    return lambda make: VALUE.setdefault(kind, make)


def _pull_of(kind: type) -> Callable[[Any], Any]:
    return lambda make: PULL.setdefault(kind, make)


@numba.njit(**_OPTIONS)
def _rising(slope: Any) -> Any:
    """A slope that is not negative; see ``cuda/activation.cuh``."""
    return select(slope < 0, slope - slope, slope)


@_value_of(kinds.Identity)
def _(real: Any) -> Scalar:
    return lambda act, z: z


@_pull_of(kinds.Identity)
def _(real: Any) -> Scalar:
    return lambda act, g, r: g


@_value_of(kinds.Relu)
def _(real: Any) -> Scalar:
    zero = real(0)
    return lambda act, z: select(z < zero, zero, z)


@_pull_of(kinds.Relu)
def _(real: Any) -> Scalar:
    zero = real(0)
    return lambda act, g, r: select(r > zero, g, zero)


@_value_of(kinds.LeakyRelu)
def _(real: Any) -> Scalar:
    zero = real(0)
    return lambda act, z: select(z > zero, z, z * real(act.negative_slope))


@_pull_of(kinds.LeakyRelu)
def _(real: Any) -> Scalar:
    zero = real(0)
    return lambda act, g, r: select(r > zero, g, g * real(act.negative_slope))


@_value_of(kinds.Sigmoid)
def _(real: Any) -> Scalar:
    return lambda act, z: sigmoid(z)


@_pull_of(kinds.Sigmoid)
def _(real: Any) -> Scalar:
    one = real(1)
    return lambda act, g, r: g * _rising(r * (one - r))


@_value_of(kinds.Tanh)
def _(real: Any) -> Scalar:
    return lambda act, z: tanh(z)


@_pull_of(kinds.Tanh)
def _(real: Any) -> Scalar:
    one = real(1)
    return lambda act, g, r: g * _rising(one - r * r)


@_value_of(kinds.Elu)
def _(real: Any) -> Scalar:
    zero = real(0)
    return lambda act, z: select(z > zero, z, real(act.alpha) * expm1(z))


@_pull_of(kinds.Elu)
def _(real: Any) -> Scalar:
    zero = real(0)
    return lambda act, g, r: select(r > zero, g, g * (real(act.alpha) * exp(r)))


SELU_SCALE, SELU_LOW = 1.0507009873554805, 1.7580993408473766


@_value_of(kinds.Selu)
def _(real: Any) -> Scalar:
    zero, scale, low = real(0), real(SELU_SCALE), real(SELU_LOW)
    return lambda act, z: select(z > zero, scale * z, low * expm1(z))


@_pull_of(kinds.Selu)
def _(real: Any) -> Scalar:
    zero, scale, low = real(0), real(SELU_SCALE), real(SELU_LOW)
    return lambda act, g, r: g * select(r > zero, scale, low * exp(r))


@numba.njit(**_OPTIONS)
def _clamp(z: Any, limit: Any) -> Any:
    """Within where an activation's slope is neither 0 nor 1."""
    return select(z > limit, limit, select(z < -limit, -limit, z))


@_value_of(kinds.Gelu)
def _(real: Any) -> Scalar:
    return lambda act, z: z * normal_cdf(z)


@_pull_of(kinds.Gelu)
def _(real: Any) -> Scalar:
    return lambda act, g, r: g * gelu_slope(r)


GELU_RATE, GELU_CUBE = 1.5957691216057308, 0.044715  # twice sqrt(2 / pi)


@_value_of(kinds.GeluTanh)
def _(real: Any) -> Scalar:
    rate, cube = real(GELU_RATE), real(GELU_CUBE)
    return lambda act, z: z * sigmoid(rate * (z + cube * (z * z * z)))


@_pull_of(kinds.GeluTanh)
def _(real: Any) -> Scalar:
    limit, zero, one = real(40), real(0), real(1)
    rate, cube, slope = real(GELU_RATE), real(GELU_CUBE), real(3 * GELU_CUBE)

    def pulled(act: Any, g: Any, r: Any) -> Any:
        z = _clamp(r, limit)
        # The sigmoid, and its slope without the difference from 1, which times z would be felt.
        e = exp(-magnitude(rate * (z + cube * (z * z * z))))
        d = one / (one + e)
        s = select(z < zero, e * d, d)
        return g * (s + z * (e * d * d) * (rate * (one + slope * (z * z))))

    return pulled


@_value_of(kinds.Silu)
def _(real: Any) -> Scalar:
    return lambda act, z: z * sigmoid(z)


@_pull_of(kinds.Silu)
def _(real: Any) -> Scalar:
    zero, one = real(0), real(1)

    def pulled(act: Any, g: Any, r: Any) -> Any:
        e = exp(-magnitude(r))
        d = one / (one + e)
        s, rest = select(r < zero, e * d, d), select(r < zero, d, e * d)  # neither by a difference
        return g * (s * (one + r * rest))

    return pulled


@_value_of(kinds.Mish)
def _(real: Any) -> Scalar:
    zero, one, two = real(0), real(1), real(2)

    def of(act: Any, z: Any) -> Any:
        e = exp(-magnitude(z))
        n = select(z < zero, e * (e + two), one + two * e)
        return z * (n / (n + select(z < zero, two, two * e * e)))

    return of


@_pull_of(kinds.Mish)
def _(real: Any) -> Scalar:
    zero, one, two = real(0), real(1), real(2)

    def pulled(act: Any, g: Any, r: Any) -> Any:
        e = exp(-magnitude(r))
        n = select(r < zero, e * (e + two), one + two * e)
        m = select(r < zero, two, two * e * e)
        w, rest = n / (n + m), m / (n + m)  # tanh(softplus(z)) and 1 less it
        s = select(r < zero, e, one) / (one + e)
        return g * (w + r * s * (rest * (one + w)))

    return pulled


@_value_of(kinds.HardSwish)
def _(real: Any) -> Scalar:
    zero, three, six = real(0), real(3), real(6)

    def of(act: Any, z: Any) -> Any:
        return select(z <= -three, zero, select(z >= three, z, z * (z + three) / six))

    return of


@_pull_of(kinds.HardSwish)
def _(real: Any) -> Scalar:
    zero, three, half = real(0), real(3), real(0.5)

    def pulled(act: Any, g: Any, r: Any) -> Any:
        return select(r <= -three, zero, select(r >= three, g, g * (r / three + half)))

    return pulled


@_value_of(kinds.Softplus)
def _(real: Any) -> Scalar:
    zero = real(0)

    def of(act: Any, z: Any) -> Any:
        beta = real(act.beta)
        u = z * beta
        y = (select(u > zero, u, zero) + log1p(exp(-magnitude(u)))) / beta
        return select(u > real(act.threshold), z, y)

    return of


@_pull_of(kinds.Softplus)
def _(real: Any) -> Scalar:
    def pulled(act: Any, g: Any, r: Any) -> Any:
        u = r * real(act.beta)
        return select(u > real(act.threshold), g, g * sigmoid(u))

    return pulled


# ------------------------------------------------------------------------------ the loops

# A part is a number of rows of ``width`` (``deep`` of them) by a number of columns (``wide``);
# the last row may be short. ``state`` is None without
# dropout; ``drop`` is (threshold, rate).


@numba.njit(**_OPTIONS)
def _tile(part: Any, shape: Any) -> Any:
    """The rows and columns of a part."""
    size, width, wide, deep = shape
    tiles = (width + wide - 1) // wide
    block, tile = part // tiles, part % tiles
    rows = (size + width - 1) // width
    first = tile * wide
    return block, block * deep, min((block + 1) * deep, rows), first, min(first + wide, width)


@numba.njit(**_OPTIONS)
def _mask(scales: Any, start: Any, count: Any, state: Any, drop: Any) -> Any:
    """Dropout's factors for elements from ``start`` on: 0 or ``1 / (1 - rate)``."""
    threshold, rate = drop
    words = np.empty(count + 8, np.uint32)
    first = start // 4
    shift = start - 4 * first
    fill(first, words[: (count + shift + 3) // 4 * 4], state)
    scale = scales.dtype.type(1.0 / (1.0 - rate))
    none = scales.dtype.type(0)
    for c in range(count):
        scales[c] = select(words[shift + c] >= threshold, scale, none)


@_loop
def forward(
    start: Any,
    stop: Any,
    act: Any,
    x: Any,
    bias: Any,
    y: Any,
    shape: Any,
    signs: Any,
    state: Any,
    drop: Any,
) -> None:
    """``y = dropout(act(x + bias))``, and the bits of ``y > 0`` unless ``signs`` is empty.

    A part is ``wide`` elements here, and the bias goes on as far behind the end of a row.
    """
    size, width, wide, _ = shape
    scales = np.empty(wide, x.dtype)
    for part in range(start, stop):
        first, last = part * wide, min((part + 1) * wide, size)
        done, ahead = first, first % width - first  # of an element's place: its column
        if len(signs) and state is None:  # what is packed is still in a register
            done = last - (last - first & 63)
            for i in range(first, done, 64):
                for j in range(i, i + 64):
                    put(y, j, value(act, get(x, j) + get(bias, j + ahead)), 0)
                pack_64(y, i, signs)
        xs, ys, b = x[done:last], y[done:last], bias[done + ahead : last + ahead]
        for c in range(len(xs)):
            ys[c] = value(act, xs[c] + b[c])
        if state is not None:
            _mask(scales, done, len(xs), state, drop)
            for c in range(len(xs)):
                ys[c] = select(scales[c] > 0, ys[c] * scales[c], scales[c])
        if len(signs):
            pack_above(y, done, last, signs)


@_loop
def backward(
    start: Any,
    stop: Any,
    act: Any,
    g: Any,
    residual: Any,
    bias: Any,
    dz: Any,
    shape: Any,
    partial: Any,
    state: Any,
    drop: Any,
) -> None:
    """``dz``, and its sums over the rows of each part where ``partial`` is that wide."""
    size, width, wide, _ = shape
    scales = np.empty(wide, g.dtype)
    sums = partial.shape[1] == width
    one = g.dtype.type(1)
    for part in range(start, stop):
        block, row, last, left, right = _tile(part, shape)
        b = bias[left:right]
        total = partial[block, left:right] if sums else partial[0]
        total[:] = 0
        for r in range(row, last):
            count = min(right, size - r * width) - left
            if count <= 0:
                break
            at = r * width + left
            if state is not None:
                _mask(scales, at, count, state, drop)
                keep = g.dtype.type(1.0 - drop[1])
                for c in range(count):
                    d = select(scales[c] > 0, get(g, at + c) * scales[c], scales[c])
                    put(dz, at + c, pull(act, d, _kept(act, get(residual, at + c), b[c], keep)), 0)
                if sums:
                    for c in range(count):
                        total[c] += dz[at + c]
            elif sums:
                for c in range(count):
                    z = _kept(act, get(residual, at + c), get(b, c), one)
                    d = pull(act, get(g, at + c), z)
                    put(dz, at + c, d, 0)
                    gain(total, c, d, 1)
            else:
                for c in range(count):
                    z = _kept(act, get(residual, at + c), get(b, c), one)
                    put(dz, at + c, pull(act, get(g, at + c), z), 0)


@numba.njit(**_OPTIONS)
def _off(dz: Any, count: Any) -> Any:
    """Room for sums, half a page off from ``dz``.

    A processor that compares the last 12 bits of addresses takes a load for one of what it has just
    stored elsewhere, and waits.
    """
    room = np.empty(count + 4096 // dz.itemsize, dz.dtype)
    first = (dz.ctypes.data + 2048 - room.ctypes.data) % 4096 // 64 * 64 // dz.itemsize
    return room[first : first + count]


@_loop
def backward_by_signs(
    start: Any,
    stop: Any,
    act: Any,
    g: Any,
    signs: Any,
    bias: Any,
    dz: Any,
    shape: Any,
    partial: Any,
    state: Any,
    drop: Any,
) -> None:
    """`backward` from the bits of ``y > 0``; without a state these are of dropout's mask too."""
    size, width, wide, _ = shape
    scales, total = np.empty(wide, g.dtype), _off(dz, wide)
    scale = g.dtype.type(1.0 / (1.0 - drop[1]))
    for part in range(start, stop):
        block, row, last, left, right = _tile(part, shape)
        total[:] = 0
        for r in range(row, last):
            at = r * width + left
            count = min(right - left, size - at)
            if count <= 0:
                break
            if state is not None:
                _mask(scales, at, count, state, drop)
            whole = count & ~31
            for c in range(0, whole, 32):
                above = word(signs, at + c)
                for j in range(32):
                    by = scale if state is None else get(scales, c + j)
                    _pull_by_sign(act, g, dz, at + c + j, by, bit(above, j), total, c + j)
            for c in range(whole, count):
                by = scale if state is None else get(scales, c)
                _pull_by_sign(act, g, dz, at + c, by, bit_of(signs, at + c), total, c)
        if partial.shape[1] == width:
            partial[block, left:right] = total[: right - left]


@numba.njit(**_OPTIONS)
def _pull_by_sign(
    act: Any, g: Any, dz: Any, i: Any, scale: Any, above: Any, total: Any, c: Any
) -> None:
    """Element ``i``, in column ``c``."""
    zero, one = g.dtype.type(0), g.dtype.type(1)
    d = pull(act, select(scale > zero, get(g, i) * scale, zero), select(above, one, zero))
    gain(total, c, d, 1)
    put(dz, i, d, 0)


def _kept(act: Any, r: Any, b: Any, keep: Any) -> Any:
    """The residual without dropout's scale or with the bias."""
    raise TypeError("for functions that Numba compiles")


@overload(_kept, jit_options=_OPTIONS, strict=False)
def _(act: Any, r: Any, b: Any, keep: Any) -> Any:
    if issubclass(act.instance_class, kinds.KEEPS_OUTPUT):
        return lambda act, r, b, keep: r * keep
    return lambda act, r, b, keep: r + b


@_loop
def gated_forward(
    start: Any,
    stop: Any,
    act: Any,
    x: Any,
    bias: Any,
    y: Any,
    shape: Any,
    partial: Any,
    state: Any,
    drop: Any,
) -> None:
    """``y = dropout(a act(b))`` of the halves of rows of ``x + bias``."""
    _, width, wide, _ = shape
    scales = np.empty(wide, x.dtype)
    for part in range(start, stop):
        _, row, last, left, right = _tile(part, shape)
        count = right - left
        ba, bb = bias[left:right], bias[width + left : width + right]
        for r in range(row, last):
            at, of = r * width + left, 2 * r * width + left
            a, b = x[of : of + count], x[of + width : of + width + count]
            ys = y[at : at + count]
            for c in range(count):
                ys[c] = (a[c] + ba[c]) * value(act, b[c] + bb[c])
            if state is not None:
                _mask(scales, at, count, state, drop)
                for c in range(count):
                    ys[c] = select(scales[c] > 0, ys[c] * scales[c], scales[c])


def _gate(act: Any, g: Any, z: Any, y: Any) -> Any:
    """`pull` from the input and the value, whichever it takes."""
    raise TypeError("for functions that Numba compiles")


@overload(_gate, jit_options=_OPTIONS, strict=False)
def _(act: Any, g: Any, z: Any, y: Any) -> Any:
    if issubclass(act.instance_class, kinds.KEEPS_OUTPUT):
        return lambda act, g, z, y: pull(act, g, y)
    return lambda act, g, z, y: pull(act, g, z)


@_loop
def gated_backward(
    start: Any,
    stop: Any,
    act: Any,
    g: Any,
    x: Any,
    bias: Any,
    dx: Any,
    shape: Any,
    partial: Any,
    state: Any,
    drop: Any,
) -> None:
    """``dx``, and its sums over the rows of each part where ``partial`` is that wide."""
    _, width, wide, _ = shape
    scales = np.ones(wide, x.dtype)
    cotangents = np.empty(wide, x.dtype)
    sums = partial.shape[1] == 2 * width
    for part in range(start, stop):
        block, row, last, left, right = _tile(part, shape)
        count = right - left
        ba, bb = bias[left:right], bias[width + left : width + right]
        if sums:
            partial[block, left:right] = 0
            partial[block, width + left : width + right] = 0
        for r in range(row, last):
            at, of = r * width + left, 2 * r * width + left
            gs = g[at : at + count]
            a, b = x[of : of + count], x[of + width : of + width + count]
            da, db = dx[of : of + count], dx[of + width : of + width + count]
            if state is not None:
                _mask(scales, at, count, state, drop)
                for c in range(count):
                    cotangents[c] = select(scales[c] > 0, gs[c] * scales[c], scales[c])
                gs = cotangents[:count]
            for c in range(count):
                z = b[c] + bb[c]
                y = value(act, z)
                da[c] = gs[c] * y
                db[c] = _gate(act, gs[c] * (a[c] + ba[c]), z, y)
            if sums:
                for h in range(2):
                    total = partial[block, h * width + left : h * width + right]
                    ds = dx[of + h * width : of + h * width + count]
                    for c in range(count):
                        total[c] += ds[c]


@numba.njit(cache=True, **_OPTIONS)
def finish(partial: Any, out: Any) -> None:
    """Add up the rows of sums, each of which may hold those of several rows of ``out``."""
    total = np.zeros(out.size, np.float64)
    for p in range(partial.shape[0]):
        for first in range(0, partial.shape[1], out.size):
            each = partial[p, first : first + out.size]
            for c in range(out.size):
                total[c] += each[c]
    for c in range(out.size):
        out[c] = total[c]
