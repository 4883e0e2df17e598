"""Softmax and log-softmax of rows, and their cross-entropy with labels, forward and backward."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from gpugrad.kernels.many import dense, module, ticket, wide, widened
from gpugrad.kernels.operands import fit, floats
from gpugrad.kernels.source import C_NAMES, function, resident


def softmax(x: Any, *, log: bool = False) -> Any:
    """``exp(x) / sum(exp(x))`` of each row, or its logarithm, whatever the size of the elements.

    Parameters
    ----------
    x : (R, C) array of floats
        NumPy or CuPy array.
    log : bool
        The logarithm instead, which does not lose small probabilities.

    Returns
    -------
    (R, C) array
        Of the dtype of ``x``; computed in float32 for float16 and bfloat16.

    Notes
    -----
    One launch. Bytes it must move, for elements of ``s`` bytes: ``2*R*C*s``. It moves these where
    a row fits the registers of a block: up to 16384 columns whose rows begin at multiples of 16
    bytes, 8192 otherwise or in float64. Longer rows are read twice: ``3*R*C*s``.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.kernels.softmax import softmax
    >>> softmax(np.array([[1000.0, 1000.0], [0.0, -np.inf]]))
    array([[0.5, 0.5],
           [1. , 0. ]])
    """
    floats("softmax", x, 2)
    x = dense(x)
    if x.size == 0:
        return x.copy()
    if isinstance(x, np.ndarray):
        a = widened(x)
        y = np.empty_like(a)
        _on_rows("softmax", a.shape, 3, a, y, bool(log))
        return _as(y, x.dtype)
    y = module(x).empty_like(x)
    shape = form(x.shape[1], x.dtype.name, _aligned(x, y), 16)
    _launch("softmax", x.dtype.name, f"{shape}, {_flag(log)}", shape, x.shape, (x, y))
    return y


def softmax_backward(g: Any, y: Any, *, log: bool = False) -> Any:
    """The cotangent of `softmax`'s operand from its output ``y`` and that one's cotangent.

    Notes
    -----
    One launch. Bytes it must move: ``3*R*C*s``. It moves these for rows as in `softmax` (in
    float64 up to 4096 columns); longer ones are read twice: ``5*R*C*s``.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.kernels.softmax import softmax_backward
    >>> softmax_backward(np.array([[1.0, 0.0]]), np.array([[0.5, 0.5]]))
    array([[ 0.25, -0.25]])
    """
    floats("softmax_backward", y, 2)
    fit("softmax_backward", y, g=(g, y.shape, y.dtype))
    g, y = dense(g), dense(y)
    if y.size == 0:
        return y.copy()
    if isinstance(y, np.ndarray):
        a, b = widened(g), widened(y)
        dx = np.empty_like(b)
        _on_rows("softmax_backward", b.shape, 3 if log else 1.5, a, b, dx, bool(log))
        return _as(dx, y.dtype)
    dx = module(y).empty_like(y)
    shape = form(y.shape[1], y.dtype.name, _aligned(g, y, dx), 8 if y.itemsize == 8 else 16)
    _launch("softmax_backward", y.dtype.name, f"{shape}, {_flag(log)}", shape, y.shape, (g, y, dx))
    return dx


REDUCTIONS = ("none", "sum", "mean")
"""What becomes of the rows' losses, in the order of ``cuda/softmax.cu``."""


class CrossEntropy(NamedTuple):
    """What `cross_entropy` gives.

    Parameters
    ----------
    loss
        The mean or the sum, or each row's loss, in the dtype of the logits.
    lse
        The logarithm of each row's sum of exponentials, in the dtype of sums.
    divisor
        By what the sum was divided for the mean: the weights of the rows that count; else None.
    """

    loss: Any
    lse: Any
    divisor: Any


def cross_entropy(
    logits: Any,
    labels: Any,
    weight: Any = None,
    *,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> CrossEntropy:
    """How badly rows of logits predict labels, read once and without their probabilities kept.

    Parameters
    ----------
    logits : (R, C) array of floats
        Scores before any softmax.
    labels : (R,) array of integers
        The true columns. Others are an `IndexError` on the CPU; on CUDA, where looking would wait
        for the device, they make the loss NaN.
    weight : (C,) array, optional
        Of each class, in the dtype of the logits.
    ignore_index : int
        Rows with this label count for nothing.
    label_smoothing : float
        The part, from 0 to 1, of each row's target that is shared evenly by all classes.
    reduction : {"mean", "sum", "none"}
        The mean is weighted by the labels' classes, as in PyTorch.

    Notes
    -----
    One launch. Bytes it must move, for elements of ``s`` bytes, labels of ``k`` and sums of ``w``:
    ``R*C*s + R*(k + w)``, without a reduction ``R*s`` more. On CUDA it moves these, 16 bytes for
    each block, and of a row that is longer than a warp's 32 loads the logit of its label again;
    with weights that of the label for each row, with smoothing too all of them, from the cache.
    On the CPU each row's loss is written and read too.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.kernels.softmax import cross_entropy
    >>> round(float(cross_entropy(np.zeros((2, 10)), np.array([3, 7])).loss), 6)  # log(10)
    2.302585
    """
    _check("cross_entropy", logits, labels, weight, label_smoothing)
    if reduction not in REDUCTIONS:
        raise ValueError(f"cross_entropy: reduction is one of {REDUCTIONS}, got {reduction!r}")
    logits, labels = dense(logits), dense(labels)
    weight = None if weight is None else dense(weight)
    a = wide(logits.dtype)
    xp = module(logits)
    rows = len(logits)
    lse = xp.empty(rows, a)
    if isinstance(logits, np.ndarray):
        check_range(labels, logits.shape[1], ignore_index)
        weights = np.empty(0, a) if weight is None else widened(weight)
        smooth, losses = float(label_smoothing), np.empty(rows, a)
        args = (widened(logits), labels, weights, int(ignore_index), smooth, losses, lse)
        _on_rows("cross_entropy", logits.shape, 2, *args)
        if reduction == "none":
            return CrossEntropy(_as(losses, logits.dtype), lse, None)
        total = losses.sum()
        if reduction == "sum":
            return CrossEntropy(_as(total, logits.dtype), lse, None)
        counted = labels != ignore_index
        total_weight = counted.sum() if weight is None else weights[labels[counted]].sum()
        divisor = np.asarray(total_weight, a)
        with np.errstate(all="ignore"):
            return CrossEntropy(_as(total / divisor, logits.dtype), lse, divisor)
    out = xp.empty(rows if reduction == "none" else (), logits.dtype)
    divisor = xp.empty((), a)
    if logits.size == 0:  # the sum of no losses, or the mean of none; no class at all
        lse[...] = np.nan
        out[...] = 0 if rows == 0 and reduction == "sum" else np.nan
        divisor[...] = 0
    else:
        shape = _online(form(logits.shape[1], logits.dtype.name, _aligned(logits), 1), a)
        kinds = f"{C_NAMES[labels.dtype.name]}, {shape.width}, {shape.threads}"
        given = (logits, labels, np.uint64(0) if weight is None else weight, out)
        how = np.int32(REDUCTIONS.index(reduction))
        more = (np.int64(ignore_index), np.float64(label_smoothing))
        partials = np.uint64(0)
        if reduction != "none":
            partials = xp.empty((_grid(shape, rows)[0], 2), np.float64)
        on_device: Any = (*given, how, partials, lse, divisor, ticket())
        _launch("cross_entropy", logits.dtype.name, kinds, shape, logits.shape, on_device, more)
    return CrossEntropy(out, lse, divisor if reduction == "mean" else None)


def cross_entropy_backward(
    g: Any,
    logits: Any,
    labels: Any,
    lse: Any,
    weight: Any = None,
    divisor: Any = None,
    *,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> Any:
    """The logits' gradient, from ``g`` for each row or one for all, over ``divisor`` if given.

    ``lse`` and ``divisor`` are what `cross_entropy` gave; the other parameters are its own.

    Notes
    -----
    One launch (two with both weights and smoothing, for the sum of the weights). Bytes it must
    move: ``2*R*C*s + R*(k + w)``, and ``R*s`` with a ``g`` for each row.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.kernels.softmax import cross_entropy, cross_entropy_backward
    >>> logits, labels = np.zeros((2, 2)), np.array([0, 1])
    >>> _, lse, divisor = cross_entropy(logits, labels)
    >>> cross_entropy_backward(np.array(1.0), logits, labels, lse, None, divisor)
    array([[-0.25,  0.25],
           [ 0.25, -0.25]])
    """
    name, a = "cross_entropy_backward", wide(logits.dtype)
    _check(name, logits, labels, weight, label_smoothing)
    each = logits.shape[:1] if g.ndim else ()
    fit(name, logits, g=(g, each, g.dtype), lse=(lse, logits.shape[:1], a))
    if divisor is not None:
        fit(name, logits, divisor=(divisor, (), a))
    logits, labels, lse = dense(logits), dense(labels), dense(lse)
    weight = None if weight is None else dense(weight)
    g = g.astype(logits.dtype, copy=False)
    if logits.size == 0:
        return logits.copy()
    if isinstance(logits, np.ndarray):
        up = widened(g).reshape(-1)
        with np.errstate(all="ignore"):
            up = up if divisor is None else up / divisor
        weights = np.empty(0, a) if weight is None else widened(weight)
        x = widened(logits)
        dx = np.empty_like(x)
        smooth = float(label_smoothing)
        args = (up, x, labels, weights, int(ignore_index), smooth, lse, dx)
        _on_rows("cross_entropy_backward", logits.shape, 2, *args)
        return _as(dx, logits.dtype)
    null = np.uint64(0)
    xp = module(logits)
    dx = xp.empty_like(logits)
    shape = _online(form(logits.shape[1], logits.dtype.name, _aligned(logits, dx), 1), a)
    whole = null
    if weight is not None and label_smoothing > 0:
        whole = weight.sum(dtype=a)
    on_device: Any = (
        dense(g),
        np.int32(g.ndim),
        null if divisor is None else divisor,
        logits,
        labels,
        null if weight is None else weight,
        lse,
        dx,
    )
    kinds = f"{C_NAMES[labels.dtype.name]}, {shape.width}, {shape.threads}"
    more = (np.int64(ignore_index), np.float64(label_smoothing), whole)
    _launch(
        "cross_entropy_backward", logits.dtype.name, kinds, shape, logits.shape, on_device, more
    )
    return dx


# ------------------------------------------------------------------------------ checks


def _check(name: str, logits: Any, labels: Any, weight: Any, smoothing: float) -> None:
    floats(name, logits, 2)
    rows = logits.shape[:1]
    if labels.dtype.kind not in "iu" or labels.shape != rows:
        raise ValueError(
            f"{name}: labels are {rows} integers for logits {logits.shape}, got "
            f"{labels.dtype}{labels.shape}"
        )
    if not 0 <= smoothing <= 1:
        raise ValueError(f"{name}: label_smoothing is from 0 to 1, got {smoothing}")
    classes = (weight, logits.shape[1:], logits.dtype)
    fit(name, logits, labels=(labels, rows, labels.dtype), weight=classes)


def check_range(labels: Any, classes: int, ignored: int | None = None) -> None:
    """See that labels on the host are from 0 to ``classes - 1``, or the one that is ignored.

    Raises
    ------
    IndexError
        For the first that is not, with its place.
    """
    bad = (labels < 0) | (labels >= classes)
    if bad.any():
        if ignored is not None:
            bad &= labels != ignored
        if bad.any():
            place = tuple(int(i) for i in np.argwhere(bad)[0])
            raise IndexError(
                f"the label {labels[place]} of sample {place[0] if len(place) == 1 else place} is "
                f"out of range: allowed are 0 to {classes - 1}"
            )


# ------------------------------------------------------------------------------ the CPU


def _as(y: Any, dtype: Any) -> Any:
    return y.astype(dtype, copy=False)


def _on_rows(loop: str, shape: tuple[int, ...], cost: float, *args: Any) -> None:
    """Run a loop over rows; ``cost`` is about how many passes of 0.1 ns an element it takes."""
    from gpugrad.kernels.cpu import softmax as loops
    from gpugrad.kernels.cpu import threads

    work = 0.1 * cost * shape[0] * (shape[1] + 20)
    threads.run(getattr(loops, loop), shape[0], work, *args)


# ------------------------------------------------------------------------------ CUDA


class Form(NamedTuple):
    """How a kernel works on rows: template arguments of ``cuda/rows.cuh``.

    Parameters
    ----------
    width
        Elements in a load.
    threads
        How many threads share a row.
    held
        How many loads of a row each thread holds; 0: it does not hold the row.
    """

    width: int
    threads: int
    held: int

    def __str__(self) -> str:
        return f"{self.width}, {self.threads}, {self.held}"


def form(cols: int, dtype: str, aligned: bool, most: int) -> Form:
    """The form for rows of ``cols``, of which a thread may hold ``most`` elements.

    Half as many where a load is of one element or elements are of 8 bytes.
    """
    itemsize = {"float64": 8, "float32": 4}.get(dtype, 2)
    width = 16 // itemsize
    if not aligned or cols % width:
        width = 1
    if itemsize == 8 or width == 1:
        most //= 2
    loads = -(-cols // width)
    most_held = max(1, most // width)
    for threads in (8, 32, 256, 1024):
        per_thread = -(-loads // threads)
        if per_thread <= (most_held if threads > 8 else min(2, most_held)):
            return Form(width, threads, 1 << (per_thread - 1).bit_length())
    return Form(width, 256, 0)


def _online(shape: Form, dtype: Any) -> Form:
    """The form of a kernel that holds nothing of a row."""
    return Form(1 if dtype == np.float64 else shape.width, min(shape.threads, 256), 0)


def _aligned(*arrays: Any) -> bool:
    return all(a.data.ptr % 16 == 0 for a in arrays)


def _flag(value: bool) -> str:
    return str(bool(value)).lower()


def _grid(shape: Form, rows: int) -> tuple[int, int]:
    """How many blocks there are, and threads in each."""
    block = max(shape.threads, 256)
    return max(1, min(-(-rows // (block // shape.threads)), 4 * resident(block))), block


def _launch(
    kernel: str,
    dtype: str,
    arguments: str,
    shape: Form,
    size: tuple[int, ...],
    args: tuple[Any, ...],
    more: tuple[Any, ...] = (),
) -> None:
    blocks, block = _grid(shape, size[0])
    run = function("softmax", f"{kernel}<{C_NAMES[dtype]}, {arguments}>")
    run((blocks,), (block,), (*args, np.int64(size[0]), np.int64(size[1]), *more))


def _variant(kernel: str, dtype: str, cols: int, most: int, log: bool = False) -> str:
    return f"{kernel}<{C_NAMES[dtype]}, {form(cols, dtype, True, most)}, {_flag(log)}>"


VARIANTS = [
    *[_variant("softmax", "float32", cols, 16) for cols in (10, 64, 4096, 1 << 20)],
    *[_variant("softmax_backward", "float32", cols, 16) for cols in (64, 4096, 1 << 20)],
    *[_variant("softmax", dtype, 16384, 16, True) for dtype in ("float32", "float16")],
    _variant("softmax_backward", "float32", 16384, 16, True),
    *[
        _variant(kernel, dtype, 4096, 8 if dtype == "float64" else 16, log)
        for kernel in ("softmax", "softmax_backward")
        for dtype in ("float16", "bfloat16", "float64")
        for log in (False, True)
    ],
    *[
        f"{kernel}<{C_NAMES[dtype]}, {C_NAMES[labels]}, {width}, 256>"
        for kernel in ("cross_entropy", "cross_entropy_backward")
        for dtype, width in (("float32", 4), ("float16", 8), ("bfloat16", 8), ("float64", 1))
        for labels in ("int32", "int64", "uint8")
    ],
]
"""The kernels that the report compiles."""
