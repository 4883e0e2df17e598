"""Activations with their bias, dropout and bias gradient: one pass forward, one backward."""

from __future__ import annotations

import math
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np
from gpugrad.kernels import philox
from gpugrad.kernels.many import NARROW, contiguous, module, name_of
from gpugrad.kernels.operands import fit, floats
from gpugrad.kernels.source import C_NAMES, function, resident


class Identity(NamedTuple):
    """``z``: for dropout alone, or for a bias gradient alone."""


class Relu(NamedTuple):
    """``max(z, 0)``."""


class LeakyRelu(NamedTuple):
    """``z``, times a slope that is not negative where ``z`` is."""

    negative_slope: float = 0.01


class Sigmoid(NamedTuple):
    """``1 / (1 + exp(-z))``."""


class Tanh(NamedTuple):
    """The hyperbolic tangent."""


class Elu(NamedTuple):
    """``z``, or ``alpha (exp(z) - 1)`` below 0."""

    alpha: float = 1.0


class Selu(NamedTuple):
    """Elu with the scales that keep mean and variance (Klambauer et al. 2017)."""


class Gelu(NamedTuple):
    """``z`` times the normal distribution's probability below ``z``."""


class GeluTanh(NamedTuple):
    """Gelu with that probability approximated by tanh (Hendrycks and Gimpel 2016)."""


class Silu(NamedTuple):
    """``z sigmoid(z)``."""


class Mish(NamedTuple):
    """``z tanh(softplus(z))``."""


class HardSwish(NamedTuple):
    """``z`` times the line from 0 at -3 to 1 at 3."""


class Softplus(NamedTuple):
    """``log(1 + exp(beta z)) / beta``; ``z`` itself where ``beta z`` exceeds the threshold."""

    beta: float = 1.0
    threshold: float = 20.0


Activation = (
    Identity
    | Relu
    | LeakyRelu
    | Sigmoid
    | Tanh
    | Elu
    | Selu
    | Gelu
    | GeluTanh
    | Silu
    | Mish
    | HardSwish
    | Softplus
)

KEEPS_SIGNS = (Relu, LeakyRelu)
"""Those whose backward pass needs a bit an element: whether the output is above 0."""

KEEPS_OUTPUT = (Identity, Sigmoid, Tanh)
"""Those whose backward pass needs the output, which is alive anyway; the others need the input."""

PLAIN = (Identity, Relu, LeakyRelu, HardSwish)
"""Those without an exponential."""


def forward(
    act: Activation, x: Any, bias: Any = None, *, rate: float = 0.0, state: Any = None
) -> Any:
    """``dropout(act(x + bias))`` in one pass.

    Parameters
    ----------
    act : Activation
        What to apply, such as ``Gelu()`` or ``Elu(alpha=0.5)``.
    x : (..., C) array
        NumPy or CuPy array of float16, bfloat16, float32 or float64; the first two are computed in
        float32.
    bias : (C,) array, optional
        Of the dtype of ``x``.
    rate, state : float, (4,) array of uint32
        Set elements to 0 with that probability and divide the others by ``1 - rate``: element
        ``i`` in C order by word ``i`` of the stream `philox.stream` that ``state`` starts,
        the same ones on every device.

    Returns
    -------
    (..., C) array
        Of the dtype of ``x``.

    Notes
    -----
    Bytes it must move, for N elements of ``s`` bytes: ``2*N*s + C*s``. On CUDA it moves these, and
    the bias once for each slab of at least 32 rows, by loads and stores of 16 bytes.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.kernels.activation import Relu, forward
    >>> forward(Relu(), np.array([[1.0, -2.0]]), np.array([-0.5, 2.5]))
    array([[0.5, 0.5]])
    """
    _check("forward", x, bias, rate, state)
    return _run("forward", act, (x,), bias, rate, state, x.shape, x.shape)[0]


def forward_keeping(
    act: Activation, x: Any, bias: Any = None, *, rate: float = 0.0, state: Any = None
) -> tuple[Any, Any]:
    """`forward`, and what `backward` needs of it.

    The parameters are those of `forward`.

    Returns
    -------
    y : (..., C) array
        What `forward` returns.
    residual : array
        Of `KEEPS_SIGNS` the bits ``packbits(y > 0, bitorder="little")``, of `KEEPS_OUTPUT` ``y``,
        else ``x``.

    Notes
    -----
    Bytes it must move, for N elements of ``s`` bytes: ``2*N*s + C*s``, and ``N/8`` for the bits. On
    CUDA it moves these as `forward` does.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.kernels.activation import Relu, forward_keeping
    >>> forward_keeping(Relu(), np.array([[1.0, -2.0, 3.0]]))
    (array([[1., 0., 3.]]), array([5], dtype=uint8))
    """
    if not isinstance(act, KEEPS_SIGNS):
        y = forward(act, x, bias, rate=rate, state=state)
        return y, y if isinstance(act, KEEPS_OUTPUT) else x
    _check("forward_keeping", x, bias, rate, state)
    signs = module(x).empty(_bytes(x), np.uint8)
    y = _run("forward", act, (x,), bias, rate, state, x.shape, x.shape, signs=signs)[0]
    return y, signs


def backward(
    act: Activation,
    g: Any,
    residual: Any,
    bias: Any = None,
    *,
    rate: float = 0.0,
    state: Any = None,
    sums: bool = False,
) -> tuple[Any, Any]:
    """The cotangent of ``x`` in `forward`, and on request that of the bias, in one pass.

    Parameters
    ----------
    act, rate, state
        As in `forward`.
    g : (..., C) array
        The cotangent of the output.
    residual : array
        The bits from `forward_keeping` for `KEEPS_SIGNS`, the output for `KEEPS_OUTPUT`, else
        ``x``.
    bias : (C,) array, optional
        As in `forward`; needed where ``x`` is the residual.
    sums : bool
        Whether to sum over the rows for the cotangent of the bias.

    Returns
    -------
    dx : (..., C) array
    dbias : (C,) array or None

    Notes
    -----
    Bytes it must move, for N elements of ``s`` bytes: ``3*N*s + 2*C*s``, of `KEEPS_SIGNS`
    ``2*N*s + N/8 + C*s``. On CUDA the sums of slabs of at least 32 rows are written and read once
    more (2 per cent in float32, of `KEEPS_SIGNS` 3), by a second launch. Sums are in float32 for
    float16 and bfloat16, in an order that the shape and the device decide.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.kernels.activation import Relu, backward, forward_keeping
    >>> y, residual = forward_keeping(Relu(), np.array([[0.5, -1.0], [-1.0, 0.1]]))
    >>> backward(Relu(), np.array([[1.0, 2.0], [3.0, 4.0]]), residual, sums=True)
    (array([[1., 0.],
           [0., 4.]]), array([1., 4.]))
    """
    by_signs = isinstance(act, KEEPS_SIGNS)
    kept = ((_bytes(g),), np.uint8) if by_signs else (g.shape, g.dtype)
    _check("backward", g, bias, rate, state, residual=(residual, *kept))
    if by_signs or isinstance(act, KEEPS_OUTPUT):
        bias = None
    if isinstance(act, Relu):
        state = None  # of what was dropped the bit is 0
    return _run("backward", act, (g, residual), bias, rate, state, g.shape, g.shape, sums)


def gated_forward(
    act: Activation, x: Any, bias: Any = None, *, rate: float = 0.0, state: Any = None
) -> Any:
    """``dropout(a act(b))`` in one pass, with ``a`` and ``b`` the halves of ``x + bias``.

    With `Sigmoid` it is GLU, with `Gelu` GEGLU, with `Silu` SwiGLU (Shazeer 2020).

    Parameters
    ----------
    act, rate, state
        As in `forward`.
    x : (..., 2 C) array
    bias : (2 C,) array, optional

    Returns
    -------
    (..., C) array

    Notes
    -----
    Bytes it must move, for N elements of the result of ``s`` bytes: ``3*N*s + 2*C*s``.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.kernels.activation import Relu, gated_forward
    >>> gated_forward(Relu(), np.array([[2.0, 3.0, 5.0, -7.0]]))
    array([[10.,  0.]])
    """
    _check("gated_forward", x, bias, rate, state)
    shape = (*x.shape[:-1], _half(x))
    return _run("gated_forward", act, (x,), bias, rate, state, shape, shape)[0]


def gated_backward(
    act: Activation,
    g: Any,
    x: Any,
    bias: Any = None,
    *,
    rate: float = 0.0,
    state: Any = None,
    sums: bool = False,
) -> tuple[Any, Any]:
    """The cotangent of ``x`` in `gated_forward`, and on request that of the bias, in one pass.

    The parameters are those of `backward`, with ``x`` for the residual.

    Notes
    -----
    Bytes it must move, for N elements of ``g`` of ``s`` bytes: ``5*N*s + 4*C*s``.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.kernels.activation import Relu, gated_backward
    >>> gated_backward(Relu(), np.ones((1, 1)), np.array([[2.0, 3.0]]))[0]
    array([[3., 2.]])
    """
    _check("gated_backward", x, bias, rate, state, g=(g, (*x.shape[:-1], _half(x)), x.dtype))
    return _run("gated_backward", act, (g, x), bias, rate, state, g.shape, x.shape, sums)


# ------------------------------------------------------------------------------ what fits


def _half(x: Any) -> int:
    if x.shape[-1] % 2:
        raise ValueError(
            f"a gated pair has two halves on its last axis: {x.shape[-1]} elements are odd"
        )
    return int(x.shape[-1]) // 2


def _bytes(x: Any) -> int:
    """Of a bit for each element."""
    return -(-int(x.size) // 8)


def _check(name: str, x: Any, bias: Any, rate: float, state: Any, **others: Any) -> None:
    if isinstance(x, np.ndarray):  # first of all: to wake helpers takes as long as what follows
        _on_host()[1].expect(_LEAST * x.size)
    floats(name, x)
    if not 0 <= rate < 1:
        raise ValueError(f"{name}: the rate of dropout is from 0 to below 1, got {rate}")
    if rate:
        philox.check(state)
    stream = (state if rate else None, (4,), np.uint32)
    fit(name, x, bias=(bias, x.shape[-1:], x.dtype), state=stream, **others)


def _run(
    name: str,
    act: Activation,
    arrays: tuple[Any, ...],
    bias: Any,
    rate: float,
    state: Any,
    shape: tuple[int, ...],
    into: tuple[int, ...],
    sums: bool = False,
    signs: Any = None,
) -> tuple[Any, Any]:
    """Launch on the arrays' device; ``shape`` is that of the smaller side of a gated pair.

    Dropout without a state only scales; ``signs`` takes the bits of the forward pass.
    """
    xp = module(arrays[0])
    dtype = arrays[0].dtype
    size, columns = math.prod(shape), shape[-1] if shape else 1
    step = 2 if name.startswith("gated") else 1
    out = xp.empty(into, dtype)
    if not out.size:
        return out, xp.zeros(into[-1], dtype) if sums else None
    launch = _host if xp is np else _cuda
    flat = [a.ravel() for a in arrays]
    bias = None if bias is None else contiguous(bias)
    found = launch(
        name, act, flat, bias, rate, state if rate else None, out, size, columns, step, sums, signs
    )
    return out, found


def threshold(rate: float) -> int:
    """The words below it are dropped."""
    return min(round(rate * 2**32), 2**32 - 1)


# ------------------------------------------------------------------------------ CPU

# Elements of a row at a time, and rows to a sum: what the second loop writes stays in the first
# cache, and the parts are the same whatever the number of threads.
_WIDE, _DEEP = 1024, 64

_LEAST = 0.2
"""Nanoseconds that an element takes of those activations for which it is little."""


@cache
def _on_host() -> tuple[Any, Any]:
    """The compiled loops and what runs them, without which CUDA does."""
    from gpugrad.kernels.cpu import activation, threads

    return activation, threads


def _host(
    name: str,
    act: Activation,
    arrays: list[Any],
    bias: Any,
    rate: float,
    state: Any,
    out: Any,
    size: int,
    columns: int,
    step: int,
    sums: bool,
    signs: Any,
) -> Any:
    loops, threads = _on_host()
    dtype = out.dtype
    if name_of(dtype) in NARROW:
        arrays = [a.astype(np.float32) if a.dtype == dtype else a for a in arrays]
        bias = None if bias is None else bias.astype(np.float32)
    wide = arrays[0].dtype
    flat = np.empty(out.size, wide) if wide != dtype else out.reshape(-1)
    # Narrow rows are taken several at once, and without a bias a row is as wide as one likes.
    if bias is None and not sums and step == 1:
        columns = min(size, _WIDE)
    forth = name == "forward"
    fold = 1 if forth or step == 2 else max(1, min(_WIDE // columns, size // columns))
    width = fold * columns
    long = width + _WIDE if forth and columns % _WIDE else width * step  # it takes a row's end so
    if bias is None:
        bias = np.zeros(long, wide)
    elif long > len(bias):
        bias = np.resize(bias, long)
    blocks, tiles = -(-size // (width * _DEEP)), -(-width // _WIDE)
    partial = np.empty((blocks, width * step) if sums else (1, 1), wide)
    loop, parts, also = getattr(loops, name), blocks * tiles, partial
    if forth:
        packs = signs is not None and wide == dtype
        parts, also = -(-size // _WIDE), signs if packs else np.empty(0, np.uint8)
    elif name == "backward" and isinstance(act, KEEPS_SIGNS):
        loop = loops.backward_by_signs
    threads.run(
        loop,
        parts,
        size * step * (_LEAST if isinstance(act, PLAIN) else 0.6) + (0 if state is None else size),
        act,
        *arrays,
        bias,
        flat,
        (size, width, _WIDE, _DEEP),
        also,
        state,
        _drop(rate),
    )
    if wide != dtype:
        out[...] = flat.reshape(out.shape)
        if signs is not None:  # of what was rounded
            signs[...] = np.packbits(out > 0, bitorder="little")
    if not sums:
        return None
    total = np.empty(columns * step, wide)
    loops.finish(partial, total)
    return total.astype(dtype, copy=False)


@lru_cache(maxsize=64)
def _drop(rate: float) -> tuple[np.uint32, float]:
    return np.uint32(threshold(rate)), float(rate)


# ------------------------------------------------------------------------------ CUDA

WARPS = 8  # of a block, as in cuda/activation.cu

_SHAPE = np.dtype([(n, "i8") for n in ("size", "width", "columns", "tiles", "rows")])
_PARAMETERS = np.dtype([("first", "f8"), ("second", "f8")])
_DROPOUT = np.dtype(
    {
        "names": ["state", "threshold", "rate", "scale"],
        "formats": ["u8", "u4", "f8", "f8"],
        "offsets": [0, 8, 16, 24],
        "itemsize": 32,
    }
)


class Plan(NamedTuple):
    """How an array is shared out to blocks: see cuda/activation.cu."""

    shape: Any
    blocks: int
    groups: int
    """Rows of partial sums for each column."""


@cache
def plan(size: int, columns: int, width: int, most: int, unit: int = 1) -> Plan:
    """For ``size`` elements in rows of ``columns``, ``width`` to a load, at most so many blocks.

    What is taken for a row is a multiple of ``unit`` and ``width``, powers of two.
    """
    fold = 1
    while fold * columns < 32 * width or fold * columns % max(unit, width):
        fold *= 2
    wide = fold * columns
    rows = -(-size // wide)
    tiles = -(-wide // (32 * width))
    least = 48 if width == 8 else 32  # rows: so that a slab's sums are little beside its elements
    slabs = max(1, min(-(-rows // least), most // tiles))
    deep = -(-rows // slabs)
    deep += -deep % WARPS
    slabs = -(-rows // deep)
    shape = np.array([(size, wide, columns, tiles, deep)], _SHAPE)[0]
    return Plan(shape, tiles * slabs, slabs * fold)


def _cuda(
    name: str,
    act: Activation,
    arrays: list[Any],
    bias: Any,
    rate: float,
    state: Any,
    out: Any,
    size: int,
    columns: int,
    step: int,
    sums: bool,
    signs: Any,
) -> Any:
    import cupy

    dtype = out.dtype
    width = 16 // dtype.itemsize
    pointers = [a.data.ptr for a in (*arrays, out)]
    if any(p % 16 for p in pointers) or (step == 2 and columns % width):
        width = 1
    if bias is None and not sums and step == 1:
        columns = 1
    p = plan(size, columns, width, 4 * resident(32 * WARPS), 1 if signs is None else 8)
    kernel = function(
        "activation", expression(name, type(act), dtype.name, width, state is not None)
    )
    drop = (0 if state is None else state.data.ptr, threshold(rate), rate, 1 / (1 - rate))
    args = [*arrays, bias, out, p.shape, _parameters(act), np.array([drop], _DROPOUT)[0]]
    partial = None
    if name == "forward":
        args.append(signs)
    if name.endswith("backward"):
        if sums:
            sum_dtype = np.float32 if dtype.name in NARROW else dtype
            partial = cupy.empty((p.groups, columns * step), sum_dtype)
        args.append(partial)
    kernel((p.blocks,), (32 * WARPS,), tuple([np.uint64(0) if a is None else a for a in args]))
    if partial is None:
        return None
    total = cupy.empty(columns * step, dtype)
    finish = function("activation", f"finish<{C_NAMES[dtype.name]}>")
    blocks = -(-total.size // 32)
    finish((blocks,), (1024,), (partial, total, np.int64(p.groups), np.int64(total.size)))
    return total


def _parameters(act: Activation) -> Any:
    values = (*act, 0.0, 0.0)[:2]
    return np.array([values], _PARAMETERS)[0]


def expression(name: str, act: type, dtype: str, width: int, drop: bool) -> str:
    """The kernel's name."""
    return f"{name}<{C_NAMES[dtype]}, {width}, {act.__name__}, {str(drop).lower()}>"


def _variants() -> list[str]:
    """Each kernel of each activation in every dtype; with dropout the one that takes most too."""
    out = []
    for dtype, width in (("float16", 8), ("bfloat16", 8), ("float32", 4), ("float64", 2)):
        for name in ("forward", "backward", "gated_forward", "gated_backward"):
            out += [expression(name, a, dtype, width, False) for a in Activation.__args__]
            out += [expression(name, a, dtype, width, True) for a in (Identity, Gelu)]
        out.append(f"finish<{C_NAMES[dtype]}>")
    return out


VARIANTS = _variants()
"""The kernels that the report compiles."""
