"""ONNX: a traced inference function as a file that other programs run."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable, Iterator, Sequence
from os import PathLike
from typing import Any

import numpy as np
import optree

from gpugrad.core.abstract import shape_dtype
from gpugrad.core.box import Box, strip
from gpugrad.core.tape import no_grad
from gpugrad.core.trace import deeper
from gpugrad.device import CPU, device_of, namespace, on, to_device
from gpugrad.interop.extra import need
from gpugrad.interop.onnx_ops import FORMS, HINTS
from gpugrad.interop.onnx_trace import Call, Recorder, Value, is_own
from gpugrad.nn.checkpoint import Replay
from gpugrad.nn.module import Module
from gpugrad.ops.creation import raw_of
from gpugrad.transforms.kinds import flatten, unflatten

OPSET, IR_VERSION = 20, 9
"""The first with Gelu and layer normalisation, which runtimes since the end of 2023 read."""


def export(
    f: Callable[..., Any],
    *examples: Any,
    path: str | PathLike[str] | None = None,
    dynamic_batch: bool = False,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
) -> Any:
    """Write what ``f`` computes as an ONNX model.

    ``f`` runs on the examples, and every operation that depends on them becomes nodes of the
    graph; all else, such as weights, is stored in it. Python's own control flow is that of this
    run.

    Parameters
    ----------
    f : callable or nn.Module
        An inference function of arrays and pytrees of arrays; a module in evaluation mode.
    *examples : array or pytree of arrays
        What to call it with, on the CPU or CUDA. Their shapes and dtypes are the model's inputs'.
    path : path, optional
        The file to write.
    dynamic_batch : bool
        Whether the first axis of all inputs, one length now, may have any length when the model
        runs. ``f`` is then run on batches of two other lengths, to see what depends on it.
    input_names, output_names : sequence of str, optional
        By default the names of the function's parameters, and ``output``, ``output_1``, ...

    Returns
    -------
    onnx.ModelProto
        In operator set 20.

    Raises
    ------
    ModuleNotFoundError
        Without the package onnx.
    NotImplementedError
        For an operation without a form in ONNX here, which is named, and for a function that draws
        random numbers of `gpugrad.random` or ``numpy.random``.
    ValueError
        With ``dynamic_batch`` if the batch's length enters the computation otherwise than as one.

    Notes
    -----
    Parameters of a module keep their names in ``state_dict``.
    """
    onnx = need("onnx", "onnx")
    f_names = {} if not isinstance(f, Module) else _weight_names(f)
    leaves, labels, tree = _inputs(f, examples)
    at = [i for i, leaf in enumerate(leaves) if hasattr(leaf, "shape")]
    if input_names is not None and len(input_names) != len(at):
        raise ValueError(f"onnx.export: {len(input_names)} input_names for {len(at)} arrays")
    names = list(input_names or [labels[i] for i in at])
    raw = [strip(leaves[i]) for i in at]

    def run(arrays: Sequence[Any]) -> tuple[Recorder, list[Value], list[Any]]:
        full = list(leaves)
        with no_grad(), np.errstate(all="ignore"), deeper() as level:
            trace = Recorder(level)
            boxes = [trace.enter(a) for a in arrays]
            for i, b in zip(at, boxes, strict=True):
                full[i] = b
            out = flatten(f(*unflatten(tree, full)))[0]
        outs = [o._payload if isinstance(o, Box) and o._trace is trace else raw_of(o) for o in out]
        return trace, [b._payload for b in boxes], outs

    replay, numpy_before = Replay(f if isinstance(f, Module) else None), _numpy_random()
    if dynamic_batch:
        count = _batch(names, raw)
        first, second = (run([_grown(a, count + more) for a in raw]) for more in (1, 2))
    else:
        first = second = run(raw)
    graph = _Graph(onnx, f_names, first[1], second[1], names)
    for step in _paired(graph, first[0].calls, second[0].calls):
        graph.add(step)
    if replay.drawn() or _numpy_random() != numpy_before:
        raise NotImplementedError(
            f"onnx.export: {_name(f)} draws random numbers, and the graph would have those of this "
            "run for ever: call model.eval() first, or give them as an input"
        )
    model = graph.finish(first[2], second[2], output_names, _name(f))
    if path is not None:
        onnx.save(model, path)
    return model


def _numpy_random() -> bytes:
    return pickle.dumps(np.random.get_state(legacy=False))


def _name(f: Any) -> str:
    return str(getattr(f, "__name__", type(f).__name__))


def _weight_names(model: Module) -> dict[int, str]:
    # A shared one has the first of its names.
    state = reversed(model.state_dict().items())
    return {id(raw_of(value)): name for name, value in state}


def _inputs(f: Any, examples: tuple[Any, ...]) -> tuple[list[Any], list[str], Any]:
    """The examples' leaves, a name for each, and their structure."""
    call = f.forward if isinstance(f, Module) else f
    try:
        found = inspect.signature(call).bind(*examples).arguments
        parameters = [
            name if value is not examples else f"{name}{i}"
            for name, value in found.items()
            for i in range(len(value) if value is examples else 1)
        ]
    except (TypeError, ValueError):  # a ufunc, a builtin
        parameters = []
    if len(parameters) != len(examples):
        parameters = [f"input{i}" for i in range(len(examples))]
    leaves: list[Any]
    given: Any = examples
    paths, leaves, tree = optree.tree_flatten_with_path(given)
    labels = ["_".join([parameters[p[0]], *map(str, p[1:])]) for p in paths]
    return leaves, labels, tree


def _batch(names: Sequence[str], arrays: Sequence[Any]) -> int:
    lengths = {n: a.shape[0] if a.ndim else None for n, a in zip(names, arrays, strict=True)}
    if len(set(lengths.values())) != 1 or not all(lengths.values()):
        raise ValueError(
            f"onnx.export: dynamic_batch needs inputs of one first length above 0, got {lengths}"
        )
    return int(arrays[0].shape[0])


def _grown(raw: Any, count: int) -> Any:
    where = device_of(raw)
    with on(where):
        return raw[namespace(where).arange(count) % raw.shape[0]]


def _paired(graph: _Graph, calls: list[Call], others: list[Call]) -> Iterator[Step]:
    """Each call with that of the run on another batch."""
    if [c.primitive for c in calls] != [c.primitive for c in others]:
        raise ValueError(
            "onnx.export: with batches of two lengths the function does different operations, so "
            "its graph has no dynamic_batch"
        )
    for call, other in zip(calls, others, strict=True):
        yield Step(graph, call, other)


_SHAPED = ("reshape", "broadcast_to")
"""Primitives whose shape may grow with the batch."""


class Step:
    """One operation on its way into the graph.

    ``other`` is the same operation in the run on another batch; without ``dynamic_batch`` it is
    the same run.
    """

    operands: list[Any]
    params: dict[str, Any]
    outs: list[Value]
    out: Value

    def __init__(self, graph: _Graph, call: Call, other: Call) -> None:
        self.graph = graph
        self.primitive = call.primitive
        self.name = call.primitive.name
        self.operands, self.params, self.outs = call.operands, call.params, call.outs
        self.out = call.out
        self.other = other
        if call.params != other.params and self.name not in _SHAPED:
            raise self.varies(f"{call.params} and {other.params}")

    def varies(self, why: str) -> ValueError:
        """The error of something that depends on the batch's length."""
        return ValueError(
            f"onnx.export: {self.name} depends on the batch's length ({why}), so the graph has no "
            "dynamic_batch"
        )

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Add a node; gives its output's name."""
        return self.nodes(op, 1, *inputs, **attributes)[0]

    def nodes(self, op: str, outputs: int, *inputs: str, **attributes: Any) -> list[str]:
        """Add a node with several outputs."""
        return self.graph.node(self.name, op, outputs, inputs, attributes)

    def operand(self, i: int, dtype: Any = None) -> str:
        """The name of an operand, in ``dtype``."""
        value, other = self.operands[i], self.other.operands[i]
        if isinstance(value, Value):
            name = self.graph.names[value]
            return name if dtype is None or dtype == value.dtype else self.cast(name, dtype)
        if value is other:
            return self.graph.constant(value, dtype)
        a, b = (to_device(np.asarray(v) if np.isscalar(v) else v, CPU) for v in (value, other))
        if a.shape == b.shape:
            if not np.array_equal(a, b, equal_nan=a.dtype.kind in "fc"):
                raise self.varies("a constant")
            return self.graph.constant(value, dtype)
        cut = tuple(slice(0, 1) if n != m else slice(None) for n, m in zip(a.shape, b.shape))
        if a.ndim != b.ndim or not (np.all(a == a[cut]) and np.all(b == a[cut])):
            raise self.varies("a constant")
        row = self.graph.constant(a[cut], dtype)
        return self.node("Expand", row, self.shape(a.shape, b.shape))

    def shape_of(self, i: int, call: Call | None = None) -> tuple[int, ...]:
        """The shape of an operand, in the other run on request."""
        value = (self if call is None else call).operands[i]
        return value.shape if isinstance(value, Value) else shape_dtype(value).shape

    def constant(self, array: Any) -> str:
        """The name of an array stored in the graph."""
        return self.graph.constant(array)

    def ints(self, numbers: Sequence[int]) -> str:
        """The same for integers."""
        return self.constant(np.asarray(numbers, np.int64))

    def cast(self, name: str, dtype: np.dtype[Any]) -> str:
        """Another dtype."""
        return self.node("Cast", name, to=self.graph.element_type(dtype))

    def common_dtype(self) -> np.dtype[Any]:
        """The dtype that NumPy compares the operands in: Python's numbers give way."""
        return np.result_type(*[v.dtype if hasattr(v, "dtype") else v for v in self.operands])

    def shape(self, shape: Sequence[int], other: Sequence[int]) -> str:
        """A shape as an array; what varies is computed from the batch's length."""
        if tuple(shape) == tuple(other):
            return self.ints(shape)
        one, two = self.graph.batches
        parts = []
        for n, m in zip(shape, other, strict=True):
            if n == m:
                parts.append(self.ints([n]))
            elif n % one == 0 and n // one * two == m:
                parts.append(self.node("Mul", self.graph.batch(), self.ints([n // one])))
            else:
                raise self.varies(f"shapes {tuple(shape)} and {tuple(other)}")
        return parts[0] if len(parts) == 1 else self.node("Concat", *parts, axis=0)


class _Graph:
    """The model as it grows."""

    def __init__(
        self,
        onnx: Any,
        weights: dict[int, str],
        inputs: list[Value],
        others: list[Value],
        names: Sequence[str],
    ) -> None:
        self.onnx = onnx
        self.weights = weights
        self.taken = set(names) | set(weights.values())
        if len(set(names)) != len(names):
            raise ValueError(f"onnx.export: the names of inputs must differ, got {list(names)}")
        self.names = dict(zip(inputs, names, strict=True))
        self.batches = (0, 0)
        if inputs and inputs[0] is not others[0]:
            self.batches = (inputs[0].shape[0], others[0].shape[0])
        self.inputs = [
            self._info(name, v.dtype, v.shape, o.shape)
            for name, v, o in zip(names, inputs, others, strict=True)
        ]
        self.stored: dict[Any, str] = {}
        self.alive: list[Any] = []  # what ids in `stored` refer to
        self.tensors: dict[str, Any] = {}
        self.steps: list[Any] = []
        self._batch = ""

    def _info(self, name: str, dtype: Any, shape: Any, other: Any) -> Any:
        dims = [
            n if n == m else "batch" if n == self.batches[0] else f"{name}_{i}"
            for i, (n, m) in enumerate(zip(shape, other, strict=True))
        ]
        return self.onnx.helper.make_tensor_value_info(name, self.element_type(dtype), dims)

    def element_type(self, dtype: Any) -> int:
        """ONNX's number of a dtype."""
        return int(self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def fresh(self, stem: str) -> str:
        """A name that is not taken."""
        name, n = stem, 0
        while name in self.taken:
            n += 1
            name = f"{stem}_{n}"
        self.taken.add(name)
        return name

    def constant(self, value: Any, dtype: Any = None) -> str:
        """The name of a constant, stored once."""
        array = np.asarray(to_device(value, CPU))
        if dtype is not None:
            array = array.astype(dtype, copy=False)
        key: Any = (array.dtype.str, array.shape, array.tobytes())
        if array.size > 64:
            key = (id(value), array.dtype.str)
            self.alive.append(value)
        if id(value) in self.weights and array.dtype == value.dtype:
            key = self.weights[id(value)]
        name = self.stored.get(key)
        if name is None:
            name = key if isinstance(key, str) else self.fresh("constant")
            self.stored[key] = name
            self.tensors[name] = self.onnx.numpy_helper.from_array(
                np.ascontiguousarray(array).reshape(array.shape), name
            )
        return name

    def node(
        self, stem: str, op: str, outputs: int, inputs: Sequence[str], attributes: dict[str, Any]
    ) -> list[str]:
        """Add a node; gives its outputs' names."""
        outs = [self.fresh(stem) for _ in range(outputs)]
        self.steps.append(self.onnx.helper.make_node(op, inputs, outs, outs[0], **attributes))
        return outs

    def batch(self) -> str:
        """The batch's length, an array of one element."""
        if not self._batch:
            first = self.inputs[0].name
            (self._batch,) = self.node("batch", "Shape", 1, [first], {"start": 0, "end": 1})
        return self._batch

    def add(self, step: Step) -> None:
        """Write the nodes of one operation."""
        form = FORMS.get(step.name) if is_own(step.primitive) else None
        if form is None:
            hint = HINTS.get(step.name)
            raise NotImplementedError(
                f"onnx.export: the operation {step.name} has no form in ONNX here"
                + (f"; {hint}" if hint else "")
            )
        made = form(step)
        for value, name in zip(step.outs, [made] if isinstance(made, str) else made, strict=True):
            self.names[value] = name

    def finish(
        self,
        outs: Sequence[Any],
        others: Sequence[Any],
        names: Sequence[str] | None,
        title: str,
    ) -> Any:
        """The model of the nodes that lead to ``outs``."""
        if names is None:
            names = [f"output_{i}" if i else "output" for i in range(len(outs))]
        elif len(names) != len(outs):
            raise ValueError(f"onnx.export: {len(names)} output_names for {len(outs)} outputs")
        results = []
        for out, other, name in zip(outs, others, names, strict=True):
            source = self.names[out] if isinstance(out, Value) else self.constant(out)
            name = self.fresh(name)
            self.steps.append(self.onnx.helper.make_node("Identity", [source], [name], name))
            shape, dtype, _ = shape_dtype(out)
            results.append(self._info(name, dtype, shape, shape_dtype(other).shape))
        needed = {r.name for r in results}
        kept = []
        for step in reversed(self.steps):
            if needed.intersection(step.output):
                needed.update(step.input)
                kept.append(step)
        tensors = [t for name, t in self.tensors.items() if name in needed]
        helper = self.onnx.helper
        graph = helper.make_graph(kept[::-1], title, self.inputs, results, tensors)
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="gpugrad",
        )
        self.onnx.checker.check_model(model)
        return model
