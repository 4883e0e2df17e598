"""Each primitive's form in ONNX: one entry a primitive."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from gpugrad.kernels.activation import Elu, Gelu, GeluTanh, LeakyRelu, Relu, Selu, Sigmoid, Tanh
from gpugrad.ops.indexing import HOLE

if TYPE_CHECKING:
    from gpugrad.interop.onnx import Step

INT64 = np.dtype(np.int64)
BOOL = np.dtype(bool)


def _same(op: str) -> Callable[[Step], str]:
    """An operation of operands that ONNX wants in the dtype of the result."""

    def form(s: Step) -> str:
        return s.node(op, *[s.operand(i, s.out.dtype) for i in range(len(s.operands))])

    return form


def _compared(op: str) -> Callable[[Step], str]:
    """A comparison, in the dtype that NumPy compares in."""

    def form(s: Step) -> str:
        dtype = s.common_dtype()
        y = s.node("Equal" if op == "Different" else op, s.operand(0, dtype), s.operand(1, dtype))
        return s.node("Not", y) if op == "Different" else y

    return form


def _asked(op: str, dtype: Any = None) -> Callable[[Step], str]:
    """An operation whose result is boolean, of operands in their own dtype or in ``dtype``."""
    return lambda s: s.node(op, *[s.operand(i, dtype) for i in range(len(s.operands))])


def _bitwise(op: str) -> Callable[[Step], str]:
    """An operation on the bits of integers, or on booleans."""

    def form(s: Step) -> str:
        named = op if s.out.dtype == BOOL else f"Bitwise{op}"
        return s.node(named, *[s.operand(i, s.out.dtype) for i in range(len(s.operands))])

    return form


def _reduced(op: str) -> Callable[[Step], str]:
    def form(s: Step) -> str:
        x = s.operand(0, s.out.dtype)
        axes = s.params["axis"]
        if not axes:
            return s.node("Identity", x)
        return s.node(op, x, s.ints(axes), keepdims=int(s.params["keepdims"]))

    return form


def _counted(op: str) -> Callable[[Step], str]:
    """``any`` and ``all``: the largest or the smallest of 0 and 1."""

    def form(s: Step) -> str:
        x = s.cast(s.operand(0, BOOL), np.dtype(np.int32))
        axes = s.params["axis"]
        if axes:
            x = s.node(op, x, s.ints(axes), keepdims=int(s.params["keepdims"]))
        return s.cast(x, BOOL)

    return form


def _places(op: str) -> Callable[[Step], str]:
    return lambda s: s.node(op, s.operand(0), axis=s.params["axis"], keepdims=0)


def _reshape(s: Step) -> str:
    shape, other = s.params["shape"], s.other.params["shape"]
    varied = [i for i, (n, m) in enumerate(zip(shape, other, strict=True)) if n != m]
    if len(varied) == 1:
        target = s.ints([-1 if i in varied else n for i, n in enumerate(shape)])
    else:
        target = s.shape(shape, other)
    return s.node("Reshape", s.operand(0), target, allowzero=int(0 in shape and not varied))


def _broadcast_to(s: Step) -> str:
    x = s.operand(0, s.out.dtype)
    return s.node("Expand", x, s.shape(s.params["shape"], s.other.params["shape"]))


def _linear(s: Step) -> str:
    b = s.operands[2]
    bias = None if isinstance(b, int | float) else s.operand(2)
    if len(s.shape_of(0)) == 2:
        return s.node("Gemm", s.operand(0), s.operand(1), *([bias] if bias else []), transB=1)
    y = s.node("MatMul", s.operand(0), s.node("Transpose", s.operand(1), perm=[1, 0]))
    return s.node("Add", y, bias) if bias else y


def _activation(s: Step) -> str:
    act = s.params["act"]
    forms: dict[type, tuple[str, dict[str, Any]]] = {
        Relu: ("Relu", {}),
        Sigmoid: ("Sigmoid", {}),
        Tanh: ("Tanh", {}),
        Selu: ("Selu", {}),
        Gelu: ("Gelu", {}),
        GeluTanh: ("Gelu", {"approximate": "tanh"}),
        Elu: ("Elu", {"alpha": float(getattr(act, "alpha", 1))}),
        LeakyRelu: ("LeakyRelu", {"alpha": float(getattr(act, "negative_slope", 0))}),
    }
    op, attributes = forms[type(act)]
    return s.node(op, s.operand(0), **attributes)


def _norm_rows(s: Step) -> str:
    _, weight, bias = s.operands
    if isinstance(weight, int | float):
        scale = s.constant(np.ones(s.out.shape[-1:], s.out.dtype))
    else:
        scale = s.operand(1)
    more = [] if isinstance(bias, int | float) else [s.operand(2)]
    eps = float(s.params["eps"])
    return s.node("LayerNormalization", s.operand(0), scale, *more, axis=-1, epsilon=eps)


def _softmax(s: Step) -> str:
    return s.node("LogSoftmax" if s.params["log"] else "Softmax", s.operand(0), axis=-1)


def _around(pairs: Any) -> list[int]:
    """Padding as ONNX lists it: before each axis, then after each."""
    return [p[0] for p in pairs] + [p[1] for p in pairs]


def _conv(s: Step) -> str:
    how = s.params["how"]
    return s.node(
        "Conv",
        *[s.operand(i) for i in range(len(s.operands))],
        strides=list(how.stride),
        pads=_around(how.padding),
        dilations=list(how.dilation),
        group=how.groups,
    )


def _conv_input(s: Step) -> str:
    """The transposed convolution; padding that it has less of after an axis makes it longer."""
    how = s.params["how"]
    return s.node(
        "ConvTranspose",
        s.operand(0),
        s.operand(1),
        strides=list(how.stride),
        pads=_around([(p, p) for p, _ in how.padding]),
        output_padding=[before - after for before, after in how.padding],
        dilations=list(how.dilation),
        group=how.groups,
    )


def _ends(size: Any, how: Any) -> list[tuple[int, int]]:
    """Padding before and after by which there are as many windows as ``how`` says."""
    return [
        (p, max(0, (m - 1) * stride + d * (k - 1) + 1 - n - p))
        for n, m, k, stride, p, d in zip(size, *how[:5], strict=True)
    ]


def _max_pool(s: Step) -> list[str]:
    how = s.params["how"]
    size = s.operands[0].shape[-2:]
    y, at = s.nodes(
        "MaxPool",
        2,
        s.operand(0),
        kernel_shape=list(how.kernel),
        strides=list(how.stride),
        pads=_around(_ends(size, how)),
        dilations=list(how.dilation),
    )
    # ONNX counts places through all images.
    pixels = s.constant(np.asarray(size[0] * size[1], INT64))
    return [y, s.cast(s.node("Mod", at, pixels), s.outs[1].dtype)]


def _mean_pool(s: Step) -> str:
    how = s.params["how"]
    size = s.operands[0].shape[-2:]
    kernel, stride, pads = how.kernel, how.stride, [(p, p) for p in how.padding]
    even = not any(n % m for n, m in zip(size, how.out, strict=True))
    if how.adaptive and even:
        kernel = stride = tuple(n // m for n, m in zip(size, how.out, strict=True))
        pads = [(0, 0), (0, 0)]
    exact = all(
        (n + sum(p) - k) // step + 1 == m
        for n, m, k, step, p in zip(size, how.out, kernel, stride, pads, strict=True)
    )
    if len(s.out.shape) == 4 and exact and not how.divisor and (even or not how.adaptive):
        return s.node(
            "AveragePool",
            s.operand(0),
            kernel_shape=list(kernel),
            strides=list(stride),
            pads=_around(pads),
            count_include_pad=int(how.padded),
        )
    rows, columns = (_mean_matrix(n, a, how) for a, n in enumerate(size))
    if how.divisor:
        rows, columns = (rows != 0) / how.divisor, columns != 0
    left, right = (s.constant(m.astype(s.out.dtype)) for m in (rows, columns.T))
    return s.node("MatMul", s.node("MatMul", left, s.operand(0)), right)


def _mean_matrix(size: int, axis: int, how: Any) -> Any:
    """The mean over windows along one axis, as a matrix: a window's weights are products."""
    out = np.zeros((how.out[axis], size))
    for i in range(len(out)):
        if how.adaptive:
            start, stop = i * size // len(out), -(-(i + 1) * size // len(out))
            count = stop - start
        else:
            pad = how.padding[axis]
            start = i * how.stride[axis] - pad
            stop = min(start + how.kernel[axis], size + pad)
            count = stop - start
            start, stop = max(start, 0), min(stop, size)
            count = count if how.padded else stop - start
        out[i, start:stop] = 1 / count
    return out


def _index(s: Step) -> str:
    """Slices first, then integers and arrays, then the order that NumPy gives the axes."""
    x = s.operand(0)
    shape = s.operands[0].shape
    spec = list(s.params["spec"])
    named = sum(k is not None and k is not ... for k in spec)
    rest = [slice(None)] * (len(shape) - named)
    at = next((i for i, k in enumerate(spec) if k is ...), len(spec))
    spec[at : at + 1] = rest
    keys = [k for k in spec if k is not None]
    x = _sliced(s, x, keys, shape)
    axes: list[Any] = list(range(len(keys)))
    for a in [a for a, k in enumerate(keys) if isinstance(k, int)]:
        x = s.node("Gather", x, s.constant(np.asarray(keys[a], INT64)), axis=axes.index(a))
        axes.remove(a)
    holes = [a for a, k in enumerate(keys) if k is HOLE]
    block: list[Any] = []
    if holes:
        x, axes, block = _gathered(s, x, axes, holes)
    order = _order(spec, axes, block)
    kept = [a for a in order if a is not None]
    if kept != axes:
        x = s.node("Transpose", x, perm=[axes.index(a) for a in kept])
    new = [i for i, a in enumerate(order) if a is None]
    return s.node("Unsqueeze", x, s.ints(new)) if new else s.node("Identity", x)


def _sliced(s: Step, x: str, keys: list[Any], shape: Any) -> str:
    cut = [a for a, k in enumerate(keys) if isinstance(k, slice) and k != slice(None)]
    if not cut:
        return x
    far = np.iinfo(np.int64).max
    starts, stops, steps = [], [], []
    for a in cut:
        k = keys[a]
        step = 1 if k.step is None else k.step
        starts.append((0 if step > 0 else far) if k.start is None else k.start)
        stops.append((far if step > 0 else -far) if k.stop is None else k.stop)
        steps.append(step)
    return s.node("Slice", x, s.ints(starts), s.ints(stops), s.ints(cut), s.ints(steps))


def _gathered(s: Step, x: str, axes: list[Any], holes: list[int]) -> tuple[str, list[Any], Any]:
    """Take at index arrays: their axes stand in the place of the first, or first of all."""
    arrays = [s.operand(1 + i, INT64) for i in range(len(holes))]
    shapes = [s.shape_of(1 + i) for i in range(len(holes))]
    full = np.broadcast_shapes(*shapes)
    block = [("block", i) for i in range(len(full))]
    if len(holes) == 1:
        at = axes.index(holes[0])
        return s.node("Gather", x, arrays[0], axis=at), [*axes[:at], *block, *axes[at + 1 :]], block
    other = np.broadcast_shapes(*[s.shape_of(1 + i, s.other) for i in range(len(holes))])
    last = s.ints([len(full)])
    wide = [s.node("Expand", a, s.shape(full, other)) for a in arrays]
    where = s.node("Concat", *[s.node("Unsqueeze", a, last) for a in wide], axis=-1)
    free = [a for a in axes if a not in holes]
    x = s.node("Transpose", x, perm=[axes.index(a) for a in [*holes, *free]])
    return s.node("GatherND", x, where), [*block, *free], block


def _order(spec: list[Any], axes: list[Any], block: Any) -> list[Any]:
    """The axes of the result in NumPy's order; None is a new one."""
    taking = [i for i, k in enumerate(spec) if k is HOLE or isinstance(k, int)]
    apart = bool(block) and taking[-1] - taking[0] + 1 != len(taking)
    order: list[Any] = list(block) if apart else []
    source = 0
    for i, k in enumerate(spec):
        if k is None:
            order.append(None)
            continue
        if isinstance(k, slice):
            order.append(source)
        elif block and not apart and i == taking[0]:
            order += block
        source += 1
    return order


def _index_add(s: Step) -> str:
    """Rows added to zeros; repeated ones add up."""
    if s.params["spec"] != (HOLE,):
        raise NotImplementedError(
            "onnx.export: the operation index_add has a form in ONNX only where whole rows are "
            "added"
        )
    shape, other = s.params["shape"], s.other.params["shape"]
    if shape != other or len(s.shape_of(1)) != 1:
        raise NotImplementedError("onnx.export: index_add at rows that vary with the batch")
    zeros = s.constant(np.zeros(shape, s.out.dtype))
    at = s.node("Unsqueeze", s.operand(1, INT64), s.ints([1]))
    return s.node("ScatterND", zeros, at, s.operand(0), reduction="add")


def _sorted(which: int) -> Callable[[Step], str]:
    """The values or the places of all elements, sorted; of equal ones the first comes first."""

    def form(s: Step) -> str:
        axis = s.params["axis"]
        count = s.out.shape[axis]
        if count != s.other.out.shape[axis]:
            raise s.varies("it sorts along the batch")
        both = s.nodes("TopK", 2, s.operand(0), s.ints([count]), axis=axis, largest=0)
        return both[which]

    return form


def _split(s: Step) -> list[str]:
    axis = s.params["axis"]
    sizes = [o.shape[axis] for o in s.outs]
    if sizes != [o.shape[axis] for o in s.other.outs]:
        raise s.varies("it splits the batch")
    return s.nodes("Split", len(sizes), s.operand(0), s.ints(sizes), axis=axis)


def _pad(s: Step) -> str:
    value = s.params["value"]
    if np.ndim(value):
        raise NotImplementedError("onnx.export: pad with a value of its own for each axis")
    fill = s.constant(np.asarray(value, s.out.dtype))
    return s.node("Pad", s.operand(0), s.ints(_around(s.params["width"])), fill)


def _embedding(s: Step) -> str:
    return s.node("Gather", s.operand(0), s.operand(1, INT64), axis=0)


def _einsum(s: Step) -> str:
    a, b, out = s.params["spec"]
    x, y = s.operand(0, s.out.dtype), s.operand(1, s.out.dtype)
    return s.node("Einsum", x, y, equation=f"{a},{b}->{out}")


def _triangle(upper: int) -> Callable[[Step], str]:
    return lambda s: s.node(
        "Trilu", s.operand(0), s.constant(np.asarray(s.params["k"], INT64)), upper=upper
    )


def _where(s: Step) -> str:
    both = s.operand(1, s.out.dtype), s.operand(2, s.out.dtype)
    return s.node("Where", s.operand(0, BOOL), *both)


_SAME = {
    "absolute": "Abs", "add": "Add", "arccos": "Acos", "arccosh": "Acosh", "arcsin": "Asin",
    "arcsinh": "Asinh", "arctan": "Atan", "arctanh": "Atanh",
    "ceil": "Ceil", "conj": "Identity",
    "copy": "Identity", "cos": "Cos", "cosh": "Cosh", "divide": "Div", "dot": "MatMul",
    "erf": "Erf", "exp": "Exp", "expit": "Sigmoid", "fabs": "Abs", "float_power": "Pow",
    "floor": "Floor", "log": "Log", "matmul": "MatMul", "maximum": "Max", "minimum": "Min",
    "mod": "Mod", "multiply": "Mul", "negative": "Neg", "positive": "Identity", "power": "Pow",
    "real": "Identity", "reciprocal": "Reciprocal", "relu": "Relu", "rint": "Round",
    "root": "Sqrt", "sign": "Sign", "sin": "Sin", "sinh": "Sinh", "sqrt": "Sqrt",
    "stop_gradient": "Identity", "subtract": "Sub", "tan": "Tan", "tanh": "Tanh",
    "to": "Identity",
}  # fmt: skip

FORMS: dict[str, Callable[[Step], Any]] = {
    **{name: _same(op) for name, op in _SAME.items()},
    "activation": _activation,
    "activation_of_output": _activation,
    "activation_of_signs": _activation,
    "all": _counted("ReduceMin"),
    "any": _counted("ReduceMax"),
    "argmax": _places("ArgMax"),
    "argmin": _places("ArgMin"),
    "argsort": _sorted(1),
    "bitwise_and": _bitwise("And"),
    "bitwise_or": _bitwise("Or"),
    "bitwise_xor": _bitwise("Xor"),
    "broadcast_to": _broadcast_to,
    "cast": lambda s: s.node("Identity", s.operand(0, s.out.dtype)),
    "cast_away": lambda s: s.node("Identity", s.operand(0, s.out.dtype)),
    "concatenate": lambda s: s.node(
        "Concat",
        *[s.operand(i, s.out.dtype) for i in range(len(s.operands))],
        axis=s.params["axis"],
    ),
    "conv": _conv,
    "conv_bias": _conv,
    "conv_input": _conv_input,
    "cumsum": lambda s: s.node(
        "CumSum", s.operand(0, s.out.dtype), s.constant(np.asarray(s.params["axis"], INT64))
    ),
    "einsum": _einsum,
    "embedding": _embedding,
    "fmod": lambda s: s.node("Mod", s.operand(0, s.out.dtype), s.operand(1, s.out.dtype), fmod=1),
    "equal": _compared("Equal"),
    "greater": _compared("Greater"),
    "greater_equal": _compared("GreaterOrEqual"),
    "index": _index,
    "index_add": _index_add,
    "invert": _bitwise("Not"),
    "isinf": _asked("IsInf"),
    "isnan": _asked("IsNaN"),
    "less": _compared("Less"),
    "less_equal": _compared("LessOrEqual"),
    "linear": _linear,
    "logical_and": _asked("And", BOOL),
    "logical_not": _asked("Not", BOOL),
    "logical_or": _asked("Or", BOOL),
    "logical_xor": _asked("Xor", BOOL),
    "max": _reduced("ReduceMax"),
    "max_pool": _max_pool,
    "mean": _reduced("ReduceMean"),
    "mean_pool": _mean_pool,
    "min": _reduced("ReduceMin"),
    "norm_rows": _norm_rows,
    "not_equal": _compared("Different"),
    "pad": _pad,
    "reshape": _reshape,
    "softmax": _softmax,
    "sort": _sorted(0),
    "split": _split,
    "sum": _reduced("ReduceSum"),
    "transpose": lambda s: s.node("Transpose", s.operand(0), perm=list(s.params["axes"])),
    "tril": _triangle(0),
    "triu": _triangle(1),
    "where": _where,
}
"""From a primitive's name to what writes its nodes and returns the names of its outputs."""

HINTS = {
    "batch_norm": "it is normalised by the batch's own moments: call model.eval() first",
    "dropout": "call model.eval() first",
}
