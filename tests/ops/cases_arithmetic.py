"""The operations of arithmetic, reductions, shapes, indexing and products."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.special
from op_case import Sample, case, one, over_axes, over_axis, two, within
from op_draw import (
    Draw,
    Maker,
    between_integers,
    booleans,
    complexes,
    distinct,
    integers,
    nonzero,
    on_grid,
    real,
    some_zeros,
)

import gpugrad as gg
import gpugrad.numpy as gnp
from gpugrad.ops import elementwise
from gpugrad.ops.cast import cast
from gpugrad.ops.linear import linear_p
from gpugrad.ops.losses import cross_entropy_p, mean_cross_entropy_p

# ------------------------------------------------------------------------------ elementwise

for _name, _domain in {
    "positive": (-2, 2),
    "negative": (-2, 2),
    "reciprocal": (0.5, 2),
    "square": (-2, 2),
    "sqrt": (0.5, 2),
    "cbrt": (0.5, 2),
    "exp": (-2, 2),
    "exp2": (-2, 2),
    "expm1": (-2, 2),
    "log": (0.5, 3),
    "log2": (0.5, 3),
    "log10": (0.5, 3),
    "log1p": (-0.4, 2),
    "sin": (-3, 3),
    "cos": (-3, 3),
    "tan": (-1, 1),
    "arcsin": (-0.7, 0.7),
    "arccos": (-0.7, 0.7),
    "arctan": (-2, 2),
    "sinh": (-2, 2),
    "cosh": (-2, 2),
    "tanh": (-2, 2),
    "arcsinh": (-2, 2),
    "arccosh": (1.5, 3),
    "arctanh": (-0.7, 0.7),
    "deg2rad": (-90, 90),
    "rad2deg": (-2, 2),
    "sinc": (-2, 2),
    "nan_to_num": (-2, 2),
}.items():
    case(_name, one(real, *_domain))

for _name in ("absolute", "fabs", "sign", "signbit"):
    case(_name, one(nonzero))
for _name in ("floor", "ceil", "trunc", "rint", "isfinite", "isinf", "isnan", "logical_not"):
    case(_name, one(between_integers))
case(
    "round integers to tens",
    one(lambda shape: integers(shape, -99, 99)),
    lambda x: gnp.round(x, -1),
    lambda x: np.round(x, -1),
    low=False,
)
case(
    "round to tenths", one(real), lambda x: gnp.round(x * 0.01, 1), lambda x: np.round(x * 0.01, 1)
)
case("relu", one(nonzero), elementwise.relu, lambda x: np.maximum(x, 0))
case("copy", one(real), lambda x: x.copy(), np.copy)
case("stop_gradient", one(between_integers), lambda x: gg.stop_gradient(gnp.floor(x)), np.floor)
case(
    "softplus by logaddexp", one(real), lambda x: gnp.logaddexp(x, 0), lambda x: np.logaddexp(x, 0)
)

for _name in (
    *("exp", "log", "sin", "cos", "tan", "sinh", "cosh", "tanh", "sqrt", "square", "reciprocal"),
    *("absolute", "negative", "real", "imag", "conj", "log1p", "expm1", "log2", "log10", "exp2"),
    *("arctan", "arcsinh"),
):
    case(_name + " complex", one(complexes), cuda=_name not in ("log2", "log1p", "expm1", "exp2"))
case("sign complex", one(complexes), cuda=False)  # CuPy's is the real part's
for _name in ("arcsin", "arccos", "arctanh"):
    case(_name + " complex", one(complexes, 0.1, 0.6))
for _name in ("real", "imag", "conj"):
    case(_name + " of real", one(real))

for _name in ("add", "subtract", "multiply"):
    case(_name, two(real))
    case(_name + " complex", two(complexes))
    case(_name + " real and complex", two(real, complexes))
case("divide", two(real, nonzero))
case("divide complex", two(complexes))
for _name in ("power", "float_power"):
    case(_name, two(within(0.5, 2), real), low=_name == "power")
case("power complex", two(complexes))
case(
    "power negative base",
    one(nonzero),
    lambda x: x**3 + x**2 - x**-1,
    cuda=True,
    ref=lambda x: x**3 + x**2 - x**-1.0,
)
case("power of a number", one(real), lambda x: 2.0**x, ref=lambda x: 2.0**x)
case("mod", two(within(2.1, 2.8), within(1.02, 1.04)))
case("mod negative", two(within(-2.8, -2.1), within(1.02, 1.04)), low=False)
case("fmod", two(within(-2.8, -2.1), within(1.02, 1.04)))
case("floor_divide", two(within(2.1, 2.8), within(1.02, 1.04)))
for _name in ("logaddexp", "logaddexp2"):
    case(_name, two(real))
case("arctan2", two(nonzero))
case("hypot", two(nonzero))
case("copysign", two(nonzero))
case("heaviside", two(nonzero, real))
for _name in ("maximum", "minimum", "fmax", "fmin"):
    case(_name, two(lambda s: on_grid(s, 0), lambda s: on_grid(s, 0.5)))
for _name in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal"):
    case(_name, two(integers))
    case(_name + " float", two(real))
for _name in ("logical_and", "logical_or", "logical_xor"):
    case(_name, two(booleans))
for _name in ("bitwise_and", "bitwise_or", "bitwise_xor", "left_shift", "right_shift"):
    case(_name, two(integers))
case("invert", one(integers))
case("invert bool", one(booleans))
case("nextafter", two(real), low=False, smooth=False)


def _where(d: Draw) -> Sample:
    c, a, b = d.broadcastable(3)
    return [booleans(c), real(a), real(b)], {}


case("where", _where)
case(
    "where a number",
    lambda d: ([booleans(s := d.shape()), real(s)], {}),
    lambda c, x: gnp.where(c, x, 1.5),
    lambda c, x: np.where(c, x, 1.5),
)


def _clip(d: Draw) -> Sample:
    shape = d.shape()
    return [on_grid(shape, 0.5)], {"min": d.pick([None, -1]), "max": d.pick([0, 1, 2])}


case("clip", _clip)
case(
    "clip by arrays",
    lambda d: ([on_grid(s := d.shape(), 0.5), on_grid(s, 0), real(s, 8, 9)], {}),
    gnp.clip,
    np.clip,
)

# ------------------------------------------------------------------------------ casts


def _cast(dtype: Any) -> Callable[..., Any]:
    return lambda x: gnp.astype(x, dtype)


case(
    "astype complex", one(real), _cast(np.complex128), lambda x: x.astype(np.complex128), low=False
)
case(
    "astype real part",
    one(complexes),
    lambda x: cast(x, float),
    lambda x: x.real.astype(float),
    low=False,
)
case("astype int", one(between_integers), _cast(np.int64), lambda x: x.astype(np.int64))
case("astype from int", one(integers), _cast(float), lambda x: x.astype(float))

# ------------------------------------------------------------------------------ reductions


case("sum", over_axes(real))
case("sum complex", over_axes(complexes))
case("sum of booleans", over_axes(booleans))
case("mean", over_axes(real))
case("mean of integers", over_axes(integers))
case("max", over_axes(distinct))
case("min", over_axes(distinct))
case("prod", over_axes(nonzero))
case("prod with zeros", over_axes(some_zeros))
case("prod complex", over_axes(complexes))
case("prod of integers", over_axes(integers))
case("any", over_axes(booleans))
case("all", over_axes(booleans))
case("any of floats", over_axes(some_zeros))
case("count_nonzero", over_axes(some_zeros))
case("logsumexp", over_axes(real, 1), gnp.logsumexp, scipy.special.logsumexp, low=False)
case("cumsum", over_axis(real, keep=False))
case("argmax", over_axis(distinct))
case("argmin", over_axis(distinct))


def _spread_out(d: Draw) -> Sample:
    shape = (d.integer(2, 3), *d.shape(1))
    axis = d.pick([None, 0, (0, -1)])
    return [distinct(shape)], {"axis": axis, "keepdims": d.flag(), "ddof": d.integer(0, 1)}


case("var", _spread_out, low=False)
case("std", _spread_out, low=False)
case("var complex", lambda d: ([complexes((3, 2))], {"axis": d.pick([None, 0, -1])}), low=False)

# ------------------------------------------------------------------------------ products


def _matmul(make: Callable[..., Maker]) -> Callable[[Draw], Sample]:
    def sample(d: Draw) -> Sample:
        n, k, m = d.integer(1, 3), d.integer(1, 3), d.integer(1, 3)
        left, right = d.broadcastable(2)
        a = d.pick([(k,), (n, k), (*left[-2:], n, k)])
        b = d.pick([(k,), (k, m), (*right[-2:], k, m)])
        return [make(a), make(b)], {}

    return sample


case("matmul", _matmul(real))
case("matmul complex", _matmul(complexes))
case("matmul empty", lambda d: ([real((2, 0)), real((0, 3))], {}), gnp.matmul, np.matmul)


def _dot(d: Draw) -> Sample:
    k = d.integer(1, 3)
    a = d.pick([(), (k,), (2, k), (3, 2, k)])
    return [real(a), real(d.pick([(), (k,), (k, 2), (2, k, 3)]))], {}


case("dot", _dot)
case("inner", lambda d: ([real((*d.shape(high=2), 3)), real((*d.shape(high=2), 3))], {}))
case("outer", lambda d: ([real(d.shape(high=2)), real(d.shape(high=2))], {}))
case("vdot", lambda d: ([real((2, 3)), real((2, 3))], {}))
case("vdot complex", lambda d: ([complexes((3,)), complexes((3,))], {}))
case("vecdot", lambda d: ([real((*d.shape(high=1), 2, 3)), real((2, 3))], {}))
case("vecdot complex", lambda d: ([complexes((2, 3)), complexes((2, 1, 3))], {}))


def _tensordot(d: Draw) -> Sample:
    n = d.integer(0, 2)
    shared = [d.integer(1, 3) for _ in range(n)]
    a, b = d.shape(high=2), d.shape(high=2)
    if d.flag():
        return [real((*a, *shared)), real((*shared, *b))], {"axes": n}
    turn = d.order(n)
    left = (tuple(len(a) + i for i in turn), tuple(turn))
    return [real((*a, *shared)), real((*shared, *b))], {"axes": left}


case("tensordot", _tensordot)

EINSUMS = {
    "i->": [(3,)],
    "ij->ji": [(2, 3)],
    "ij->": [(2, 3)],
    "ii": [(3, 3)],
    "ii->i": [(3, 3)],
    "iij->j": [(2, 2, 3)],
    "iiji->ij": [(2, 2, 3, 2)],
    "ij,jk": [(2, 3), (3, 2)],
    "ij,jk->ki": [(2, 3), (3, 2)],
    "ba,cb->ac": [(3, 2), (2, 3)],
    "bij,bjk->bik": [(2, 2, 3), (2, 3, 2)],
    "bij,kj->ikb": [(2, 2, 3), (2, 3)],
    "ij,ij->": [(2, 3), (2, 3)],
    "ij,ij->ij": [(2, 3), (2, 3)],
    "i,j->ij": [(2,), (3,)],
    "i,j->ji": [(2,), (3,)],
    "i,j": [(2,), (3,)],
    "ij,k->i": [(2, 3), (2,)],
    "ii,i->i": [(3, 3), (3,)],
    "ii,jj->": [(3, 3), (2, 2)],
    "i,i,i->i": [(3,), (3,), (3,)],
    "ij,jk,kl->il": [(2, 3), (3, 2), (2, 3)],
    "ij,kj,il,lk->": [(2, 3), (3, 3), (2, 2), (2, 3)],
    "a,b,c->cab": [(2,), (3,), (2,)],
    "...ij,...jk->...ik": [(2, 2, 3), (3, 2)],
    "...i,...i->...": [(2, 1, 3), (3, 3)],
    "...i->i...": [(2, 3, 2)],
    "i...,j...->ij...": [(2, 3), (3, 3)],
    "...,...": [(2, 1), (3,)],
    "ij...->...": [(2, 3, 2)],
    ",ij->ij": [(), (2, 3)],
    "i,->i": [(3,), ()],
    "ij,jk->ik": [(2, 1), (3, 2)],
    "ij , jk -> ik": [(2, 3), (3, 2)],
    "bhqd,bhkd->bhqk": [(2, 1, 3, 2), (2, 1, 2, 2)],
}

for _text, _shapes in EINSUMS.items():
    case(
        f"einsum {_text}",
        lambda d, shapes=_shapes: ([real(s) for s in shapes], {}),
        functools.partial(gnp.einsum, _text),
        functools.partial(np.einsum, _text),
    )
case(
    "einsum complex",
    lambda d: ([complexes((2, 3)), complexes((3, 2))], {}),
    functools.partial(gnp.einsum, "ij,jk->ki"),
    functools.partial(np.einsum, "ij,jk->ki"),
)
case(
    "einsum by lists",
    lambda d: ([real((2, 3)), real((3, 2))], {}),
    lambda a, b: gnp.einsum(a, [0, 1], b, [1, 2], [2, 0]),
    lambda a, b: np.einsum(a, [0, 1], b, [1, 2], [2, 0]),
)

# ------------------------------------------------------------------------------ shape


def _reshape(d: Draw) -> Sample:
    shape = d.shape()
    size = int(np.prod(shape))
    new = d.pick([(-1,), (size,), (1, size), (size, 1, 1), (*shape[::-1],), (-1, *shape[:1])])
    return [real(shape)], {"shape": new}


case("reshape", _reshape, ref=lambda x, shape: np.reshape(x, shape))
case("ravel", one(real))


def _axes_case(low: int, params: Callable[[Draw, int], dict[str, Any]]) -> Callable[[Draw], Sample]:
    def sample(d: Draw) -> Sample:
        shape = d.shape(low)
        return [real(shape)], params(d, len(shape))

    return sample


def _turned(d: Draw, n: int) -> tuple[int, ...]:
    return tuple(a - n if d.flag() else a for a in d.order(n))


case("transpose", _axes_case(0, lambda d, n: {"axes": d.pick([None, _turned(d, n)])}))
case("permute_dims", _axes_case(0, lambda d, n: {"axes": _turned(d, n)}))
case("matrix_transpose", _axes_case(2, lambda d, n: {}))
case("swapaxes", _axes_case(1, lambda d, n: {"axis1": d.axis(n), "axis2": d.axis(n)}))
case("moveaxis", _axes_case(1, lambda d, n: {"source": d.axis(n), "destination": d.axis(n)}))
case(
    "moveaxis many",
    _axes_case(2, lambda d, n: {"source": _turned(d, n)[:2], "destination": _turned(d, n)[:2]}),
)
case("flip", _axes_case(0, lambda d, n: {"axis": d.axes(n)}))
case(
    "roll",
    _axes_case(1, lambda d, n: {"shift": d.integer(-4, 4), "axis": d.pick([None, d.axis(n)])}),
)
case("roll many", _axes_case(2, lambda d, n: {"shift": (1, -2), "axis": _turned(d, n)[:2]}))
case("expand_dims", _axes_case(0, lambda d, n: {"axis": d.pick([d.axis(n + 1), (0, -1), (1, 0)])}))
case("squeeze", lambda d: ([real((1, *d.shape(), 1))], {"axis": d.pick([None, 0, -1, (0, -1)])}))
case("tile", _axes_case(0, lambda d, n: {"reps": d.pick([2, (2,), (1, 2), (2, 1, 3), ()])}))
case(
    "repeat",
    _axes_case(1, lambda d, n: {"repeats": d.integer(1, 3), "axis": d.pick([None, d.axis(n)])}),
)
case(
    "repeat by counts", lambda d: ([real((3, *d.shape(high=1)))], {"repeats": [2, 0, 1], "axis": 0})
)


def _broadcast_to(d: Draw) -> Sample:
    shape = d.shape()
    old = tuple(n if d.flag() else 1 for n in shape)[d.integer(0, len(shape)) :]
    return [real(old)], {"shape": shape}


case("broadcast_to", _broadcast_to)
case("broadcast_arrays", two(real))


def _meshgrid(d: Draw) -> Sample:
    vectors = [real((d.integer(1, 3),)) for _ in range(d.integer(1, 3))]
    return vectors, {"indexing": d.pick(["xy", "ij"])}


case("meshgrid", _meshgrid)

# ------------------------------------------------------------------------------ joining


def _joined(d: Draw, same: bool) -> Sample:
    shape = d.shape(1)
    count = d.integer(1, 3)
    if same:
        return [real(shape) for _ in range(count)], {"axis": d.axis(len(shape) + 1)}
    axis = d.axis(len(shape))
    at = axis % len(shape)
    parts = [real((*shape[:at], d.integer(1, 3), *shape[at + 1 :])) for _ in range(count)]
    return parts, {"axis": axis}


def _of_list(name: str) -> dict[str, Any]:
    ours, theirs = getattr(gnp, name), getattr(np, name)
    return {"f": lambda *x, **p: ours(x, **p), "ref": lambda *x, **p: theirs(x, **p)}


case("concatenate", lambda d: _joined(d, False), **_of_list("concatenate"))
case(
    "concatenate flat",
    lambda d: ([real(d.shape()), real(d.shape())], {"axis": None}),
    **_of_list("concatenate"),
)
case(
    "concatenate mixed types",
    lambda d: ([real((2, 2)), complexes((1, 2)), integers((1, 2))], {}),
    **_of_list("concatenate"),
    low=False,
)
case("stack", lambda d: _joined(d, True), **_of_list("stack"))
for _name in ("hstack", "vstack", "dstack", "column_stack"):
    case(_name, lambda d: ([real(s := d.pick([(2,), (2, 3)])), real(s)], {}), **_of_list(_name))


def _split(d: Draw) -> Sample:
    shape = (*d.shape(high=1), 4, *d.shape(high=1))
    axis = d.axis(len(shape))
    cuts = d.pick([[1], [1, 1, 3], [0, 2], [2, 9], [-1]])
    return [real(shape)], {"indices_or_sections": cuts, "axis": axis}


def _split_by(ours: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, indices_or_sections, axis: ours(x, indices_or_sections, axis)


case("split", _split, _split_by(gnp.split))
case(
    "split evenly",
    lambda d: ([real((4, 2))], {"indices_or_sections": d.pick([1, 2, 4]), "axis": 0}),
    _split_by(gnp.split),
)
case(
    "split, one piece used",
    lambda d: ([real((4, 2))], {}),
    lambda x: gnp.split(x, 2)[1] * 3,
    lambda x: np.split(x, 2)[1] * 3,
)
case(
    "array_split",
    lambda d: ([real((d.integer(1, 5), 2))], {}),
    lambda x: gnp.array_split(x, 3),
    lambda x: np.array_split(x, 3),
)


def _pad(modes: list[str], make: Callable[..., Maker] = real) -> Callable[[Draw], Sample]:
    def sample(d: Draw) -> Sample:
        shape = d.shape(1, least=2)
        width = d.pick([1, (0, 2), [(d.integer(0, 1), d.integer(0, 4)) for _ in shape]])
        return [make(shape)], {"pad_width": width, "mode": d.pick(modes)}

    return sample


case("pad", _pad(["constant"]))
case("pad with a value", lambda d: ([real((2, 2))], {"pad_width": 1, "constant_values": 3.0}))
case(
    "pad with a value for each side",
    lambda d: ([real((2, 2))], {"pad_width": 1, "constant_values": ((1.0, 2.0), (3.0, 4.0))}),
)
for _name in ("edge", "linear_ramp", "mean", "reflect", "symmetric", "wrap"):
    case(f"pad {_name}", _pad([_name]))
for _name in ("maximum", "median", "minimum"):
    case(f"pad {_name}", _pad([_name], distinct))


def _pad_with(
    mode: str, make: Callable[..., Maker] = real, **options: Any
) -> Callable[[Draw], Sample]:
    def sample(d: Draw) -> Sample:
        widths = [(d.integer(0, 1), d.integer(0, 8)), (d.integer(0, 5), 1)]
        return [make((2, 3))], {"pad_width": widths, "mode": mode, **options}

    return sample


for _name in ("reflect", "symmetric"):
    case(f"pad {_name} odd", _pad_with(_name, reflect_type="odd"), low=False)
case("pad linear_ramp to values", _pad_with("linear_ramp", end_values=((1.0, 2.0), (3.0, 4.0))))
for _name in ("maximum", "mean", "median", "minimum"):
    case(f"pad {_name} of some", _pad_with(_name, distinct, stat_length=((1, 2), (2, 5))))

# ------------------------------------------------------------------------------ indexing

MASK = np.array([[True, False, True], [False, False, True], [True, True, False], [False] * 3])
ROWS = np.array([0, -1, 2, 0])
KEYS: dict[str, Any] = {
    "integer": 1,
    "negative": -1,
    "slices": (slice(1, None), slice(None, None, -1)),
    "step": slice(3, 0, -2),
    "out of range slice": slice(2, 99),
    "empty slice": slice(2, 2),
    "dots": (..., 1),
    "dots between": (0, ..., slice(1, 3)),
    "none": (None, slice(0, 2), None, 1, ..., None),
    "all integers": (1, 2, -3),
    "everything": (),
    "rows": ROWS,
    "list": [0, 0, 3],
    "table": np.array([[0, 1], [1, 1]]),
    "pair": (ROWS, ROWS[:, None] % 3),
    "apart": (ROWS, slice(None), ROWS),
    "apart by none": (slice(0, 1), ROWS % 3, None, ROWS),
    "integer and array apart": (0, slice(None), ROWS),
    "integer beside array": (slice(None), 1, ROWS),
    "array after dots": (..., ROWS),
    "array then slice": (ROWS, slice(1, None)),
    "mask": np.array([True, False, True, True]),
    "mask of two axes": MASK,
    "mask then array": (MASK, np.array([0, 4, 4, 0, 1])),
    "mask in the middle": (slice(None), np.array([True, False, True])),
    "mask of nothing": np.zeros(4, bool),
    "whole mask": np.arange(60).reshape(4, 3, 5) % 7 == 0,
    "scalar mask": np.array(True),
    "scalar mask after dots": (..., True, ROWS),
    "scalar mask between": (0, True, slice(1, None)),
    "array before dots": (slice(None), ROWS % 3, ..., ROWS),
    "no rows": np.array([], dtype=int),
    "one row by array": np.array(2),
    "small integers": np.array([1, 200 - 198], dtype=np.uint8),
    "numpy integer": np.int64(2),
}


def _beside(x: Any, key: Any) -> Any:
    """The index with its arrays on the device of ``x``."""
    if isinstance(key, tuple):
        return tuple(_beside(x, k) for k in key)
    return gnp.asarray(key, device=x.device) if isinstance(key, np.ndarray) else key


for _name, _key in KEYS.items():
    case(
        f"index {_name}",
        lambda d: ([real((4, 3, 5))], {}),
        lambda x, key=_key: x[_beside(x, key)],
        lambda x, key=_key: x[key],
    )

case(
    "index by operands",
    lambda d: ([real((3, *d.shape(high=1))), integers(d.shape(high=2), -3, 3)], {}),
    lambda x, i: x[i],
    lambda x, i: x[i],
)
case(
    "index by two operands, broadcast",
    lambda d: ([real((3, 2, 2)), integers((2, 1), -3, 3), integers((3,), 0, 2)], {}),
    lambda x, i, j: x[i, j],
    lambda x, i, j: x[i, j],
)
case(
    "index by operands apart",
    lambda d: ([real((3, 2, 3)), integers((2,), -3, 3), integers((2,), 0, 3)], {}),
    lambda x, i, j: x[i, :, j],
    lambda x, i, j: x[i, :, j],
)
case(
    "index after dots",
    lambda d: ([real((2, 1, 3)), integers(d.shape(high=2), -3, 3)], {}),
    lambda x, i: x[..., i],
    lambda x, i: x[..., i],
)
case(
    "index after a new axis",
    lambda d: ([real((3, 2)), integers(d.shape(high=2), -3, 3)], {}),
    lambda x, i: x[:, None, i % 2],
    lambda x, i: x[:, None, i % 2],
)
case(
    "index after an axis",
    lambda d: ([real((2, 3, 2)), integers(d.shape(high=2), -3, 3)], {}),
    lambda x, i: x[:, i],
    lambda x, i: x[:, i],
)
case(
    "iteration",
    lambda d: ([real((3, 2))], {}),
    lambda x: sum(row * k for k, row in enumerate(x)),
    lambda x: sum(row * k for k, row in enumerate(x)),
)


def _take(d: Draw) -> Sample:
    shape = d.shape(1)
    axis = d.pick([None, d.axis(len(shape))])
    n = int(np.prod(shape)) if axis is None else shape[axis]
    mode = d.pick(["raise", "wrap", "clip"])
    spread = n if mode == "raise" else 3 * n
    return [real(shape), integers(d.shape(high=2), -n if mode != "clip" else 0, spread)], {
        "axis": axis,
        "mode": mode,
    }


case("take", _take)


def _along(d: Draw) -> Sample:
    shape = d.shape(1)
    axis = d.axis(len(shape))
    at = axis % len(shape)
    picked = (*shape[:at], d.integer(1, 3), *shape[at + 1 :])
    return [real(shape), integers(picked, -shape[at], shape[at])], {"axis": axis}


case("take_along_axis", _along)

# ------------------------------------------------------------------------------ of networks


def _cross_entropy(logits: Any, labels: Any) -> Any:
    picked = np.take_along_axis(logits, labels[:, None], 1)[:, 0]
    return scipy.special.logsumexp(logits, 1) - picked


case(
    "cross_entropy",
    lambda d: ([real((n := d.integer(1, 3), 4)), integers((n,), 0, 4)], {}),
    lambda x, i: cross_entropy_p(x, i),
    _cross_entropy,
    low=False,
)
case(
    "mean_cross_entropy",
    lambda d: ([real((n := d.integer(1, 3), 4)), integers((n,), 0, 4)], {}),
    lambda x, i: mean_cross_entropy_p(x, i),
    lambda x, i: _cross_entropy(x, i).mean(),
    low=False,
)
case(
    "linear",
    lambda d: ([real((d.integer(1, 3), 2)), real((4, 2)), real((4,))], {}),
    lambda x, w, b: linear_p(x, w, b),
    lambda x, w, b: x @ w.T + b,
)
case(
    "linear axes",
    lambda d: ([real((*d.pick([(), (2, 3), (2, 1, 2)]), 2)), real((4, 2)), real((4,))], {}),
    lambda x, w, b: linear_p(x, w, b),
    lambda x, w, b: x @ w.T + b,
)
case(
    "linear without bias",
    lambda d: ([real((*d.pick([(3,), (2, 3)]), 2)), real((4, 2))], {}),
    lambda x, w: linear_p(x, w, 0.0),
    lambda x, w: x @ w.T,
)

# ------------------------------------------------------------------------------ several at once

case(
    "softmax",
    lambda d: ([real((2, 3))], {}),
    lambda x: gnp.exp(x - gnp.logsumexp(x, 1, keepdims=True)),
    lambda x: scipy.special.softmax(x, 1),
    low=False,
)
case(
    "attention",
    lambda d: ([real((2, 3)), real((3, 3)), real((3, 2))], {}),
    lambda q, k, v: gnp.tanh(q @ k.T / 2) @ v,
    lambda q, k, v: np.tanh(q @ k.T / 2) @ v,
)
case(
    "normalised",
    lambda d: ([distinct((3, 2))], {}),
    lambda x: (x - x.mean(0)) / gnp.sqrt(x.var(0) + 0.1),
    lambda x: (x - x.mean(0)) / np.sqrt(x.var(0) + 0.1),
    low=False,
)
