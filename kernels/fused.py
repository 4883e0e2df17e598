"""Elementwise programs: a list of scalar operations as one kernel, CUDA C++ or Numba.

What `gpugrad.fuse` makes of a Python function. A program's text is made here from one table with a
spelling of each operation in either language.
"""

from __future__ import annotations

import hashlib
import importlib.util
import math
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from gpugrad.kernels.source import cache_folder

from gpugrad.device import common_device


class Node(NamedTuple):
    """One operation: its name and the numbers of the nodes it takes; or a number."""

    name: str
    args: tuple[int, ...] = ()
    value: float | bool = 0.0


class Program(NamedTuple):
    """Nodes in the order of computation, the first ``inputs`` of them the arguments."""

    inputs: int
    nodes: tuple[Node, ...]
    outputs: tuple[int, ...]


# Each operation in CUDA C++ and in Python as Numba compiles it. {0}, {1}, ... are its arguments;
# names without them are functions of all arguments.
_BOTH = {
    "add": "{0} + {1}",
    "subtract": "{0} - {1}",
    "multiply": "{0} * {1}",
    "divide": "{0} / {1}",
    "negative": "-{0}",
    "positive": "{0}",
    "square": "{0} * {0}",
    "equal": "{0} == {1}",
    "not_equal": "{0} != {1}",
    "less": "{0} < {1}",
    "less_equal": "{0} <= {1}",
    "greater": "{0} > {1}",
    "greater_equal": "{0} >= {1}",
    "logical_and": "{0} & {1}",
    "logical_or": "{0} | {1}",
    "logical_xor": "{0} ^ {1}",
    "bitwise_and": "{0} & {1}",
    "bitwise_or": "{0} | {1}",
    "isnan": "{0} != {0}",
    "deg2rad": "{0} * T(0.017453292519943295)",
    "rad2deg": "{0} * T(57.29577951308232)",
    "stop_gradient": "{0}",
    "conj": "{0}",
    "real": "{0}",
}

_SAME: tuple[str, ...] = (
    "exp",
    "expm1",
    "log",
    "log1p",
    "sin",
    "cos",
    "tanh",
    "erf",
    "sqrt",
    "floor",
    "ceil",
)
_SAME += ("trunc", "sinh", "cosh", "tan")

CUDA: dict[str, str] = {
    **_BOTH,
    **{name: f"{name}({{0}})" for name in _SAME},
    "arctan": "atan({0})",
    "arcsin": "asin({0})",
    "arccos": "acos({0})",
    "arctan2": "atan2({0}, {1})",
    "hypot": "hypot({0}, {1})",
    "exp2": "exp2({0})",
    "log2": "log2({0})",
    "log10": "log10({0})",
    "cbrt": "cbrt({0})",
    "arcsinh": "asinh({0})",
    "arccosh": "acosh({0})",
    "arctanh": "atanh({0})",
    "logaddexp": (
        "({0} == {1} ? {0} + T(0.6931471805599453) "
        ": ({0} > {1} ? {0} : {1}) + log1p(exp(-abs({0} - {1}))))"
    ),
    "fmod": "fmod({0}, {1})",
    "mod": (  # of the divisor's sign; C's fmod has the dividend's
        "(fmod({0}, {1}) == T(0) ? copysign(T(0), {1}) "
        ": fmod({0}, {1}) + ((fmod({0}, {1}) < T(0)) != ({1} < T(0)) ? {1} : T(0)))"
    ),
    "floor_divide": (
        "({1} == T(0) ? {0} / {1} : rint(({0} - fmod({0}, {1})) / {1}) "
        "- T(fmod({0}, {1}) != T(0) && (fmod({0}, {1}) < T(0)) != ({1} < T(0))))"
    ),
    "copysign": "copysign({0}, {1})",
    "sinc": "({0} == T(0) ? T(1) : sinpi({0}) / (T(3.141592653589793) * {0}))",
    "rint": "rint({0})",
    "reciprocal": "T(1) / {0}",
    "absolute": "abs({0})",
    "fabs": "abs({0})",
    "fmax": "fmax({0}, {1})",
    "fmin": "fmin({0}, {1})",
    "sign": "({0} > T(0) ? T(1) : {0} < T(0) ? T(-1) : {0} == T(0) ? T(0) : {0})",
    "power": "pow({0}, {1})",
    "ndtr": "normcdf({0})",
    "maximum": "({0} > {1} || {0} != {0} ? {0} : {1})",
    "minimum": "({0} < {1} || {0} != {0} ? {0} : {1})",
    "relu": "({0} < T(0) ? T(0) : {0})",
    "where": "({0} ? {1} : {2})",
    "gate": "({1} ? {0} : T(0))",
    "logical_not": "!{0}",
    "isfinite": "isfinite({0})",
    "isinf": "isinf({0})",
    "number": "T({0})",
}

CPU: dict[str, str] = {
    **_BOTH,
    **{name: f"{name}({{0}})" for name in ("exp", "expm1", "log", "log1p", "sin", "cos", "tanh")},
    **{f"{n}": f"np.{n}({{0}})" for n in ("sqrt", "floor", "ceil", "trunc", "sinh", "cosh", "tan")},
    **{n: f"np.{n}({{0}})" for n in ("arctan", "arcsin", "arccos", "exp2", "log2", "log10")},
    **{n: f"np.{n}({{0}})" for n in ("cbrt", "arcsinh", "arccosh", "arctanh")},
    **{n: f"np.{n}({{0}}, {{1}})" for n in ("arctan2", "hypot", "fmod", "mod")},
    "floor_divide": (
        "select({1} == T(0), {0} / {1}, nearest(({0} - np.fmod({0}, {1})) / {1}) "
        "- T(np.fmod({0}, {1}) != np.mod({0}, {1})))"
    ),
    "logaddexp": (
        "select({0} == {1}, {0} + T(0.6931471805599453), "
        "select({0} > {1}, {0}, {1}) + log1p(exp(-magnitude({0} - {1}))))"
    ),
    "copysign": "signed({0}, {1})",
    "sinc": (
        "select({0} == T(0), T(1), sin(T(3.141592653589793) * {0}) / (T(3.141592653589793) * {0}))"
    ),
    "fmax": "select(({0} >= {1}) | ({1} != {1}), {0}, {1})",
    "fmin": "select(({0} <= {1}) | ({1} != {1}), {0}, {1})",
    "rint": "nearest({0})",
    "erf": "erf({0})",
    "ndtr": "normal_cdf({0})",
    "reciprocal": "T(1) / {0}",
    "absolute": "magnitude({0})",
    "fabs": "magnitude({0})",
    "sign": "select({0} == T(0), T(0), select({0} != {0}, {0}, signed(T(1), {0})))",
    "power": "power({0}, {1})",
    "maximum": "select(({0} > {1}) | ({0} != {0}), {0}, {1})",
    "minimum": "select(({0} < {1}) | ({0} != {0}), {0}, {1})",
    "relu": "select({0} < T(0), T(0), {0})",
    "where": "select({0}, {1}, {2})",
    "gate": "select({1}, {0}, T(0))",
    "logical_not": "not {0}",
    "isfinite": "{0} - {0} == T(0)",
    "isinf": "magnitude({0}) == T(np.inf)",
    "number": "T({0})",
}

_CONNECTIVES = ("logical_and", "logical_or", "logical_xor", "bitwise_and", "bitwise_or")
_COMPARISONS = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
LOGICAL = frozenset(
    [*_CONNECTIVES, *_COMPARISONS, "logical_not", "isnan", "isfinite", "isinf"],
)
"""Operations whose result is true or false."""

_TRUTHS = {**dict.fromkeys(_CONNECTIVES, (0, 1)), "logical_not": (0,), "where": (0,), "gate": (1,)}
"""The arguments that are to be true or false, by position."""

# Powers that are products: of an exponent 0.5 C's pow differs at -0 and -infinity only by its sign.
_POWERS = {0.0: "T(1)", 1.0: "{0}", 2.0: "{0} * {0}", 3.0: "{0} * {0} * {0}", -1.0: "T(1) / {0}"}


def _lines(program: Program, table: dict[str, str], literal: Callable[[Any], str]) -> list[str]:
    """The operations that the outputs need, as ``name = expression``; arguments are ``x0``, ...."""
    needed = set(program.outputs)
    for i in range(len(program.nodes) - 1, -1, -1):
        if i in needed:
            needed.update(program.nodes[i].args)
    out = []
    for i, node in enumerate(program.nodes[program.inputs :], program.inputs):
        if i not in needed:
            continue
        spelling = table.get(node.name)
        if node.name == "number":
            text = literal(node.value)
        elif node.name == "power" and program.nodes[node.args[1]].name == "number":
            given = _POWERS.get(float(program.nodes[node.args[1]].value), table["power"])
            text = given.format(*_arguments(program, node))
        elif spelling is None:
            raise TypeError(f"fuse has no scalar form of the operation {node.name}")
        else:
            text = spelling.format(*_arguments(program, node))
        out.append(f"{_name(program, i)} = {text}")
    return out


def _arguments(program: Program, node: Node) -> list[str]:
    """Their names, made numbers or truths where the operation takes those."""
    out = []
    for place, i in enumerate(node.args):
        name = _name(program, i)
        if place in _TRUTHS.get(node.name, ()):
            out.append(name if logical(program, i) else f"({name} != T(0))")
        else:
            out.append(f"T({name})" if logical(program, i) else name)
    return out


def logical(program: Any, i: int) -> bool:
    """Whether a node is true or false."""
    node = program.nodes[i]
    return node.name in LOGICAL or isinstance(node.value, bool)


def _name(program: Program, i: int) -> str:
    return f"x{i}" if i < program.inputs else f"t{i}"


def known(name: str) -> bool:
    """Whether there is a scalar form of an operation."""
    return name in CUDA and name in CPU


# ------------------------------------------------------------------------------ CUDA


def _c_literal(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if math.isnan(value):
        return 'T(nan(""))'
    if math.isinf(value):
        return f"T({'-' if value < 0 else ''}CUDART_INF)"
    return f"T({value!r})"


def cuda_source(program: Program) -> str:
    """The body of an elementwise kernel: inputs a0, …, outputs y0, …, computing in ``T``."""
    lines = [f"const T x{i} = (T)a{i};" for i in range(program.inputs)]
    lines += [f"const auto {line};" for line in _lines(program, CUDA, _c_literal)]
    lines += [f"y{k} = {_name(program, o)};" for k, o in enumerate(program.outputs)]
    return "\n".join(lines)


@cache
def _cuda_kernel(program: Program, kinds: tuple[str, ...], wide: str, out: str) -> Any:
    """``kinds`` are the operands' types, ``out`` the results', ``wide`` what it computes in."""
    import cupy

    ins = ", ".join(f"{k} a{i}" for i, k in enumerate(kinds))
    outs = ", ".join(f"{out} y{k}" for k in range(len(program.outputs)))
    name = "fused_" + _digest(f"{program}")[:12]
    real = {"float32": "float", "float64": "double"}[wide]
    preamble = "#define CUDART_INF (__longlong_as_double(0x7ff0000000000000LL))"
    body = f"typedef {real} T;\n{cuda_source(program)}"
    return cupy.ElementwiseKernel(ins, outs, body, name, preamble=preamble)


def _cuda(program: Program, operands: Sequence[Any], dtype: Any, wide: Any) -> list[Any]:
    import cupy

    kinds = []
    arrays = []
    for a in operands:
        a = a if hasattr(a, "dtype") else wide.type(a)
        kinds.append(a.dtype.name)
        arrays.append(a)
    shape = np.broadcast_shapes(*[a.shape for a in arrays])
    out = [cupy.empty(shape, dtype) for _ in program.outputs]
    _cuda_kernel(program, tuple(kinds), wide.name, dtype.name)(*arrays, *out)
    return out


# ------------------------------------------------------------------------------ CPU

_HEADER = '''"""Made by gpugrad.fuse."""
import numpy as np
from gpugrad.kernels.cpu import shared
from gpugrad.kernels.cpu.apart import get, put
from gpugrad.kernels.cpu.elementary import (
    cos, erf, exp, expm1, log, log1p, magnitude, nearest, normal_cdf, power, select, signed, sin,
    tanh,
)

T = np.{real}


@shared.loop(cache=True, error_model="numpy", fastmath={{"contract"}})
def loop(start, stop, {args}):
{parts}    for i in range(stop - start):
'''


def _python_literal(value: Any) -> str:
    if isinstance(value, bool):
        return repr(value)
    if math.isfinite(value):
        return f"T({value!r})"
    return "T(np.nan)" if math.isnan(value) else f"T({'-' if value < 0 else ''}np.inf)"


def cpu_source(program: Program, scalars: tuple[bool, ...], real: str) -> str:
    """A module with ``loop(start, stop, *inputs, *outputs)``; ``scalars``: inputs of rank 0."""
    args = [f"a{i}" for i in range(program.inputs)]
    args += [f"y{k}" for k in range(len(program.outputs))]
    arrays = [a for k, a in enumerate(args) if k >= len(scalars) or not scalars[k]]
    parts = "".join(f"    {a} = {a}[start:stop]\n" for a in arrays)
    text = _HEADER.format(real=real, args=", ".join(args), parts=parts)
    lines = [f"x{i} = T(a{i})" if s else f"x{i} = get(a{i}, i)" for i, s in enumerate(scalars)]
    lines += _lines(program, CPU, _python_literal)
    lines += [f"put(y{k}, i, {_name(program, o)}, {k})" for k, o in enumerate(program.outputs)]
    return text + "".join(f"        {line}\n" for line in lines)


@cache
def _cpu_loop(program: Program, scalars: tuple[bool, ...], real: str) -> Any:
    """Compiled from a file, so that Numba keeps the machine code beside it for the next process."""
    source = cpu_source(program, scalars, real) + f"\n# with elementary functions {_version()}\n"
    name = f"fused_{_digest(source)[:16]}"
    path = cache_folder() / f"{name}.py"
    if not (path.is_file() and path.read_text() == source):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(f".{os.getpid()}")
            part.write_text(source)
        except OSError:  # no home to write to: for this process alone
            path = Path(tempfile.mkdtemp(prefix="gpugrad")) / path.name
            path.write_text(source)
        else:
            part.replace(path)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"fuse: {path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # by this name Numba's cache finds it again
    spec.loader.exec_module(module)
    return module.loop


@cache
def _version() -> str:
    """Of what the text calls, which Numba's cache does not look at."""
    return _digest((files("gpugrad.kernels") / "cpu" / "elementary.py").read_text())[:16]


def _cpu(program: Program, operands: Sequence[Any], dtype: Any, wide: Any) -> list[Any]:
    from gpugrad.kernels.cpu import threads

    arrays = [np.asarray(a, wide) for a in operands]
    shape = np.broadcast_shapes(*[a.shape for a in arrays])
    size = math.prod(shape)
    scalars = tuple([a.ndim == 0 for a in arrays])
    flat = [
        a[()] if s else np.ascontiguousarray(np.broadcast_to(a, shape)).reshape(-1)
        for a, s in zip(arrays, scalars, strict=True)
    ]
    outs = [np.empty(size, wide) for _ in program.outputs]
    loop = _cpu_loop(program, scalars, wide.name)
    threads.run(loop, size, size * 0.3 * len(program.nodes), *flat, *outs)
    return [y.reshape(shape).astype(dtype, copy=False) for y in outs]


# ------------------------------------------------------------------------------ both


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def run(program: Program, operands: Sequence[Any]) -> list[Any]:
    """The program's outputs for arrays that broadcast, on the device where they are.

    Parameters
    ----------
    program : Program
    operands : sequence of arrays or numbers
        Of real numbers. The result has their common dtype, float64 for integers; float16 and
        bfloat16 are computed in float32.

    Returns
    -------
    list of arrays
        Each of the shape to which the operands broadcast.

    Notes
    -----
    One launch. Bytes it must move: those of each operand and of each result, which is what it
    moves on CUDA; on the CPU an operand that is broadcast is first written out.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.kernels.fused import Node, Program, run
    >>> twice = Program(1, (Node("input"), Node("add", (0, 0))), (1,))
    >>> run(twice, [np.array([1.0, 2.0])])
    [array([2., 4.])]
    """
    dtype = result_dtype(operands)
    wide = np.dtype(np.float64 if dtype.itemsize == 8 else np.float32)
    on_host = common_device(operands, "fuse").kind == "cpu"
    return (_cpu if on_host else _cuda)(program, operands, dtype, wide)


def result_dtype(operands: Sequence[Any]) -> np.dtype[Any]:
    """What the operands compute in: numbers of Python's give way to arrays."""
    strong = [a.dtype for a in operands if hasattr(a, "dtype") and not getattr(a, "weak", False)]
    found = np.result_type(*strong) if strong else np.dtype(float)
    return np.dtype(float) if found.kind in "iub" else found
