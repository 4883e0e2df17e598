"""Where a graph's nodes come from: a function that is run, or what the base tape holds."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import optree

from gpugrad.core.abstract import shape_dtype
from gpugrad.core.box import Box
from gpugrad.core.errors import TapeError
from gpugrad.core.primitive import Primitive
from gpugrad.core.tape import BASE, Leaf, Tape, backward
from gpugrad.core.tape import Node as TapeNode
from gpugrad.core.trace import deeper
from gpugrad.cotangents import one_like
from gpugrad.device import device_of, namespace, on
from gpugrad.ops.cast import is_inexact
from gpugrad.ops.creation import raw_of
from gpugrad.transforms.kinds import check_differentiable, enter, one_output, select
from gpugrad.viz.model import SMALL, Edge, Graph, Kind, Node, Pull, Range
from gpugrad.viz.numbers import numbers
from gpugrad.viz.pull import pulls_of


class _Seen(NamedTuple):
    """A value as it was when it was met: arrays may be written to later."""

    key: Any
    shape: tuple[int, ...] | None
    dtype: np.dtype[Any] | None
    value: np.ndarray[Any, Any] | None
    range: Range | None = None
    raw: Any = None
    """Kept so that no other array gets this one's identity while the graph is built."""


class _Draft(NamedTuple):
    """A node before it is known which nodes lead to the output."""

    seen: _Seen
    kind: Kind
    label: str
    details: tuple[str, ...] = ()
    operands: tuple[tuple[int, Any], ...] = ()
    """(position, key of the operand's draft)"""
    pulls: tuple[int, ...] = ()
    """Operands that a gradient is sent to."""
    whole: Any = None
    """Of one output of several: the key of the operation."""


class _Recorder(Tape):
    """A tape that notes each operation with its operands and its value."""

    __slots__ = ("calls", "few")

    def __init__(self, level: int, few: int) -> None:
        super().__init__(level)
        self.few = few
        self.calls: list[tuple[Primitive, list[_Seen], dict[str, Any], list[_Seen]]] = []

    def apply(self, primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        operands = [self._see(a) for a in args]
        out = super().apply(primitive, args, params)
        outputs = out if primitive.multiple else (out,)
        self.calls.append((primitive, operands, params, [self._see(o) for o in outputs]))
        return out

    def _see(self, value: Any) -> _Seen:
        return see(value, self.few, self.node_of(value))


def see(value: Any, few: int, key: Any = None) -> _Seen:
    """Note a value's shape, and its elements if they are few, else their range."""
    raw = raw_of(value)
    seen = numbers(value, few)
    return _Seen(id(raw) if key is None else key, *seen, raw)


def graph_of_function(
    f: Callable[..., Any],
    args: tuple[Any, ...],
    argnums: int | Sequence[int] | None,
    names: Sequence[str] | None,
    few: int = SMALL,
    pulls: bool = False,
) -> Graph:
    """Run ``f`` under a tape that remembers, then the backward pass.

    Values of at most ``few`` elements are copied; ``pulls`` notes what each edge carries back.
    """
    which = range(len(args)) if argnums is None else select(argnums, len(args), "viz.graph")
    drafts: dict[Any, _Draft] = {}
    called: dict[Any, str] = {}
    with deeper() as level:
        tape = _Recorder(level, few)
        traced = []
        for n, (arg, name) in enumerate(zip(args, _argument_names(f, len(args), names))):
            leaves: list[Any]
            paths, leaves, tree = optree.tree_flatten_with_accessor(arg)
            if argnums is not None and n in which:
                check_differentiable(leaves, "viz.graph", n)
            for i, (path, leaf) in enumerate(zip(paths, leaves)):
                label = path.codify(name)
                if n in which and _has_gradient(leaf):
                    node = Leaf()
                    leaves[i] = enter(leaf, tape, node)
                    drafts[node] = _Draft(see(leaf, few, node), "input", label)
                elif hasattr(leaf, "shape"):
                    called[id(raw_of(leaf))] = label
            traced.append(optree.tree_unflatten(tree, leaves))
        out = f(*traced)
    root = tape.node_of(one_output(out, "viz.graph"))
    if root is None:
        raise TypeError(
            "viz.graph: no gradient leads from the function's result to its arguments"
            + ("" if argnums is None else f" number {argnums}")
        )
    for primitive, operands, params, outputs in tape.calls:
        for draft in _drafts(primitive, operands, params, outputs, drafts, called):
            drafts.setdefault(draft.seen.key, draft)
    return _finish(drafts, root, out, few, pulls)


def _has_gradient(leaf: Any) -> bool:
    known = hasattr(leaf, "shape") or isinstance(leaf, float | complex)
    return known and is_inexact(shape_dtype(leaf).dtype)


def _argument_names(
    f: Callable[..., Any], count: int, names: Sequence[str] | None
) -> Sequence[str]:
    if names is not None:
        if isinstance(names, str | Mapping) or len(names) != count:
            raise ValueError(
                f"viz.graph: names must be a list of {count} names, one an argument; got {names!r}"
            )
        return names
    try:
        parameters = list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):  # a ufunc, a builtin
        parameters = []
    found: list[str] = []
    for p in parameters:
        if p.kind is p.VAR_POSITIONAL:
            found += [f"{p.name}[{i}]" for i in range(count - len(found))]
        elif p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD):
            found.append(p.name)
    return [found[i] if i < len(found) else f"argument {i}" for i in range(count)]


def _drafts(
    primitive: Primitive,
    operands: Iterable[_Seen],
    params: dict[str, Any],
    outputs: list[_Seen],
    drafts: Mapping[Any, _Draft],
    called: Mapping[Any, str],
) -> Iterable[_Draft]:
    """The drafts of one recorded call: its constants, itself, its outputs if it has several."""
    label = getattr(params.get("call"), "name", primitive.name)
    details = []
    taken = []
    for i, seen in enumerate(operands):
        if seen.key not in drafts and seen.key not in called and seen.shape == ():
            details.append(f"{_operand_name(primitive, i)} = {seen.value}")
            continue
        if seen.key not in drafts:
            yield _Draft(seen, "constant", called.get(seen.key, "constant"))
        taken.append((i, seen.key))
    details += [f"{k} = {v}" for k, v in params.items() if _worth_showing(k, v)]
    first = outputs[0]
    if not isinstance(first.key, TapeNode) and first.shape == ():
        return  # a number without a gradient: what uses it shows it
    if len(outputs) == 1:
        pulls = _pulls(first.key)
        yield _Draft(first, "operation", label, tuple(details), tuple(taken), pulls)
        return
    whole = first.key.parents[0] if isinstance(first.key, TapeNode) else object()
    seen = _Seen(whole, None, None, None)
    yield _Draft(seen, "operation", label, tuple(details), tuple(taken), _pulls(whole))
    for i, seen in enumerate(outputs):
        pulls = _pulls(seen.key)
        yield _Draft(seen, "operation", f"{label}[{i}]", (), ((0, whole),), pulls, whole)


def _operand_name(primitive: Primitive, i: int) -> str:
    names = primitive.operands
    return names[i] if i < len(names) and not names[i].startswith("*") else f"operand {i}"


def _worth_showing(name: str, value: Any) -> bool:
    if name in ("keepdims", "shape"):
        return False
    return isinstance(value, int | float | str | np.dtype) or (
        isinstance(value, tuple) and all(isinstance(v, int) for v in value)
    )


def _pulls(key: Any) -> tuple[int, ...]:
    """The operands that the node's rules send a cotangent to."""
    if not isinstance(key, TapeNode) or key.plan is None:
        return ()
    if not hasattr(key.plan, "rules"):  # it picks one output of several
        return (0,)
    if key.plan.joint is not None:
        return tuple(i for i, parent in enumerate(key.parents) if parent is not None)
    return tuple(i for i, _, _ in key.plan.rules)


def graph_of_loss(
    loss: Any, names: Mapping[str, Any] | None, few: int = SMALL, pulls: bool = False
) -> Graph:
    """What the base tape holds of ``loss``; nothing of it is used up."""
    if loss._trace is not BASE:
        raise TapeError(
            "viz.graph: nothing behind this array requires a gradient. Make a parameter with "
            "gg.Array(x, requires_grad=True), or give viz.graph the function and its arguments."
        )
    if names is not None and not isinstance(names, Mapping):
        raise ValueError(
            f"viz.graph: names of an array's graph is a mapping of names to arrays, got {names!r}"
        )
    found = _ancestors(loss._payload)
    values = _held_values(found)
    values[loss._payload] = loss
    called = _names_by_node(names or {})
    drafts: dict[Any, _Draft] = {}
    for node in found:
        value = values.get(node)
        seen = _Seen(node, None, None, None) if value is None else see(value, few, node)
        if node.plan is None:
            label = called.get(node, f"parameter {sum(d.kind == 'input' for d in drafts.values())}")
            drafts[node] = _Draft(seen, "input", label)
            continue
        details = []
        operands: list[tuple[int, Any]] = []
        kept = _kept(node)
        for i, parent in enumerate(node.parents):
            if parent is not None:
                operands.append((i, parent))
            elif i in kept:
                constant = see(kept[i], few)
                if constant.shape == ():
                    name = _operand_name(node.plan.primitive, i)
                    details.append(f"{name} = {constant.value}")
                    continue
                drafts.setdefault(constant.key, _Draft(constant, "constant", "constant"))
                operands.append((i, constant.key))
        whole = None if hasattr(node.plan, "rules") else node.parents[0]
        drafts[node] = _Draft(
            seen, "operation", _label(node), tuple(details), tuple(operands), _pulls(node), whole
        )
    return _finish(drafts, loss._payload, loss, few, pulls)


def _label(node: TapeNode) -> str:
    plan: Any = node.plan
    if hasattr(plan, "primitive"):
        name: str = plan.primitive.name
        return name
    (whole,) = node.parents  # this node picks one output of several
    assert whole is not None
    return f"{whole.plan.primitive.name}[{plan.index}]"


def _ancestors(root: TapeNode) -> list[TapeNode]:
    """The nodes that ``root`` was computed from, and itself, in order of creation."""
    found = {root: None}
    stack = [root]
    while stack:
        for parent in stack.pop().parents:
            if parent is not None and parent not in found:
                found[parent] = None
                stack.append(parent)
    return sorted(found, key=lambda node: -node.id)


def _kept(node: TapeNode) -> dict[int, Any]:
    """The residuals that are operands or the output, by position."""
    if not isinstance(node.saved, tuple):  # freed, or set aside by a checkpoint
        return {}
    return dict(zip(node.plan.keep, node.saved))


def _held_values(found: Iterable[TapeNode]) -> dict[TapeNode, Any]:
    values: dict[TapeNode, Any] = {}
    for node in found:
        if isinstance(node, Leaf) and node.plan is None:
            owner = None if node.owner is None else node.owner()
            if owner is not None and not node.stale:
                values[node] = owner
            continue
        kept = _kept(node)
        for i, parent in enumerate(node.parents):
            if parent is not None and i in kept:
                values.setdefault(parent, kept[i])
        out = kept.get(len(node.parents))
        if out is not None and not isinstance(out, tuple):
            values.setdefault(node, out)
    return values


def _names_by_node(names: Mapping[str, Any]) -> dict[Any, str]:
    called: dict[Any, str] = {}
    for name, tree in names.items():
        leaves: list[Any]
        paths, leaves, _ = optree.tree_flatten_with_accessor(tree)
        for path, leaf in zip(paths, leaves):
            if isinstance(leaf, Box) and leaf._trace is BASE:
                called[leaf._payload] = path.codify(name)
    return called


def _finish(
    drafts: dict[Any, _Draft], root: TapeNode, out: Any, few: int, with_pulls: bool
) -> Graph:
    """Keep what leads to the output, run the backward pass, and number the nodes."""
    drafts = _without_lone_picks(drafts, root)
    wanted = {root}
    stack = [root]
    while stack:
        for _, key in drafts[stack.pop()].operands:
            if key not in wanted:
                wanted.add(key)
                stack.append(key)
    gradients: dict[TapeNode, Any] = {}
    # The graph is kept whole: a loss may still be differentiated after its picture is drawn.
    backward([root], [one_like(out._value)], retain_graph=True, watch=gradients.__setitem__)
    ids: dict[Any, int] = {}
    nodes: list[Node] = []
    edges: list[Edge] = []
    pulls: dict[Edge, Pull] = {}
    for key, draft in drafts.items():
        if key not in wanted:
            continue
        me = ids[key] = len(ids)
        nodes.append(_node(me, draft, key is root, gradients.get(key), few))
        sent: Mapping[int, Pull] = {}
        if with_pulls and key in gradients:
            rule = _rule_of(key, draft)
            sent = pulls_of(rule, gradients[rule], few)
        for i, operand in draft.operands:
            flows = i in draft.pulls and key in gradients and operand in gradients
            edge = Edge(ids[operand], me, i, flows)
            edges.append(edge)
            if flows and i in sent:
                pulls[edge] = sent[i]
    return Graph(tuple(nodes), tuple(edges), pulls)


def _rule_of(key: TapeNode, draft: _Draft) -> TapeNode:
    """The node whose rules pull: of a merged output of several, the operation."""
    picks = key.plan is not None and not hasattr(key.plan, "rules")
    if picks and draft.whole is None and key.parents[0] is not None:
        return key.parents[0]
    return key


def _without_lone_picks(drafts: dict[Any, _Draft], root: TapeNode) -> dict[Any, _Draft]:
    """Draw an operation with several outputs as one node where only one of them is used."""
    used: dict[Any, set[Any]] = {}
    needed = {root} | {key for d in drafts.values() for _, key in d.operands}
    for key, draft in drafts.items():
        if draft.whole is not None and key in needed:
            used.setdefault(draft.whole, set()).add(key)
    merged = dict(drafts)
    for whole, picks in used.items():
        if len(picks) == 1:
            (pick,) = picks
            merged[pick] = drafts[whole]._replace(seen=drafts[pick].seen)
    return merged


def _node(me: int, draft: _Draft, is_output: bool, gradient: Any, few: int) -> Node:
    seen = draft.seen
    shape, dtype = seen.shape, seen.dtype
    shown = span = rms = None
    if isinstance(gradient, tuple):
        rms = max(_rms(raw_of(g)) for g in gradient if g is not None)
    elif gradient is not None:
        of = numbers(gradient, few)
        shape, dtype = (of.shape, of.dtype) if shape is None else (shape, dtype)
        shown, span, rms = of.values, of.range, _rms(raw_of(gradient))
    return Node(
        me,
        "output" if is_output else draft.kind,
        draft.label,
        draft.details,
        shape,
        dtype,
        seen.value,
        shown,
        rms,
        seen.range,
        span,
    )


def _rms(raw: Any) -> float:
    where = device_of(raw)
    xp = namespace(where)
    with on(where):
        size = xp.abs(xp.asarray(raw)).astype(np.float32)
        return float(xp.sqrt(xp.mean(size * size))) if size.size else 0.0
