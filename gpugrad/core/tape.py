"""The tape: reverse-mode differentiation.

A node is one recorded operation: its parents, the residuals that its VJP rule names, and nothing
else. Nodes point only at their parents, so what the loss does not need is freed by reference
counting, and the graph is a DAG whose nodes reuse earlier outputs. The backward pass starts at
the loss and visits nodes in reverse creation order, each exactly once, when all the cotangents
that its output receives have been added up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Any

from gpugrad.core import debug
from gpugrad.core.box import BOX_TYPES, Box, box, constant, hold, lend, new
from gpugrad.core.errors import NonFiniteError, TapeError
from gpugrad.core.trace import Trace, autocasting, casting, check_level, modes, state
from gpugrad.core.under import device_under, strip_all
from gpugrad.device import HOST_TYPES, on

if TYPE_CHECKING:
    from gpugrad.core.primitive import Plan, Primitive

Pull = Callable[[Any, Any], Sequence[tuple[int, Any]]]
"""As `Plan.pull`: from the output's cotangent and the residuals to those of operands."""

_ids = count(0, -1)
"""Node names count down, so that the smallest is the newest and a heap gives it first."""


class Node:
    """A recorded operation, or a leaf (``plan`` is None) whose gradient is wanted."""

    __slots__ = ("held", "id", "parents", "plan", "saved", "where")

    id: int
    plan: Plan
    parents: tuple[Node | None, ...]
    saved: Any
    held: Any
    where: str


class Leaf(Node):
    """Where a gradient is wanted.

    ``owner`` refers weakly to the array whose ``.grad`` it is, None for a transform's argument;
    ``stale`` says that this owner was written to since.
    """

    __slots__ = ("owner", "stale")

    # Of the class, so that making one sets nothing but its name.
    plan = None  # type: ignore[assignment]
    parents = saved = ()

    def __init__(self, owner: Any = None) -> None:
        self.id = next(_ids)
        self.owner = owner
        if owner is not None:
            self.stale = False


class Tape(Trace):
    """Records what is applied to its boxes; each box's payload is its node."""

    __slots__ = ()

    def apply(self, primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        if modes and self.level <= state.quiet:
            return self._without_recording(primitive, args, params)
        values = []
        parents = []
        constants = None
        tracked = 0
        bit = 1
        kind: type[Box]
        for a in args:
            if type(a) in BOX_TYPES:
                trace = a._trace
                if trace is self:
                    kind = type(a)
                    values.append(a._value)
                    parents.append(a._payload)
                    tracked |= bit
                elif trace is None:
                    if constants is None:
                        constants = []
                    constants.append((len(values), a))
                    values.append(a._value)
                    parents.append(None)
                else:
                    check_level(trace, self, primitive)
                    values.append(a)
                    parents.append(None)
            else:
                values.append(a)
                parents.append(None)
            bit += bit
        y = primitive.record(values, params)
        plan = primitive._plans.get(tracked | bit) or primitive.plan(tracked, len(values))
        if plan is None:
            return tuple([constant(o) for o in y]) if primitive.multiple else constant(y)
        if plan.even is not None and plan.suits(values, y):
            plan = plan.even
        node = Node()
        node.id = next(_ids)
        node.plan = plan
        node.parents = tuple(parents)
        values.append(y)
        saved = plan.residuals(values, params)
        if constants is not None:
            node.held = [hold(a._value) for i, a in constants if i in plan.keep or plan.variadic]
        region = state.region if modes else None
        node.saved = saved if region is None else region.set_aside(self, saved)
        if debug.nans:
            node.where = debug.user_line()
        if primitive.multiple:
            if len(y) == 1:
                node.plan = plan.alone()
            return self._outputs(node, y)
        out = new(kind)
        out._value = y
        out._trace = self
        out._payload = node
        return out

    def leaf(self, value: Any) -> Any:
        """A box around an input whose gradient is wanted."""
        node = new(Leaf)  # spelled out, as every gradient begins here
        node.id = next(_ids)
        node.owner = None
        return box(value, self, node)

    def node_of(self, value: Any) -> Node | None:
        """The node behind ``value``; None where this tape has none."""
        return value._payload if isinstance(value, Box) and value._trace is self else None

    def _without_recording(
        self, primitive: Primitive, args: Sequence[Any], params: dict[str, Any]
    ) -> Any:
        y = primitive(*[a._value if _on(self, a) else a for a in args], **params)
        if getattr(y, "base", None) is not None:
            lend(y)
        return tuple([constant(o) for o in y]) if primitive.multiple else constant(y)

    def _outputs(self, node: Node, y: Sequence[Any]) -> tuple[Any, ...]:
        """A box for each output of an operation with several; a single one is the node's own."""
        if len(y) == 1:
            return (box(y[0], self, node),)
        return tuple([box(o, self, _output(node, i, len(y))) for i, o in enumerate(y)])

    def lift(self, node: Node, saved: Sequence[Any]) -> list[Any]:
        """Residuals as boxes of this tape again, so that what is done with them is recorded."""
        plan, n = node.plan, len(node.parents)
        out = list(saved)
        for j, i in enumerate(plan.keep):
            if i < n:
                if node.parents[i] is not None:
                    out[j] = box(saved[j], self, node.parents[i])
            elif plan.primitive.multiple:
                out[j] = self._outputs(node, saved[j])
            else:
                out[j] = box(saved[j], self, node)
        for j, first in plan.variadic:
            parents = node.parents[first:]
            out[j] = tuple([v if p is None else box(v, self, p) for v, p in zip(saved[j], parents)])
        return out


BASE = Tape(0)
"""The tape of arrays made with ``requires_grad=True``."""


def _on(trace: Trace, a: Any) -> bool:
    return isinstance(a, Box) and a._trace is trace


class _Pick:
    """The plan of a node that stands for one output of an operation with several."""

    __slots__ = ("after", "before", "index")
    keep = variadic = ()

    def __init__(self, index: int, count: int) -> None:
        self.index = index
        self.before = (None,) * index
        self.after = (None,) * (count - index - 1)

    def pull(self, g: Any, saved: Sequence[Any]) -> Sequence[tuple[int, Any]]:
        return ((0, (*self.before, g, *self.after)),)


_pick = cache(_Pick)


def _output(node: Node, index: int, count: int) -> Node:
    out = Node()
    out.id = next(_ids)
    out.plan = _pick(index, count)  # type: ignore[assignment]
    out.parents = (node,)
    out.saved = ()
    return out


@contextmanager
def no_grad() -> Iterator[None]:
    """Record nothing on the tapes that are open now.

    Transforms called inside still work: their tapes are opened later.

    Examples
    --------
    >>> import gpugrad as gg, numpy as np
    >>> w = gg.Array(np.ones(2), requires_grad=True)
    >>> with gg.no_grad():
    ...     w -= 0.5
    >>> w
    Array([0.5, 0.5], dtype=float64, device=cpu, requires_grad=True)
    """
    before = state.quiet
    state.quiet = state.depth
    modes.append(None)
    try:
        yield
    finally:
        modes.pop()
        state.quiet = before


def backward(
    roots: Sequence[Node | None],
    cotangents: Iterable[Any],
    *,
    retain_graph: bool = False,
    lift: Tape | None = None,
    watch: Callable[[Node, Any], None] | None = None,
    pulls: dict[int, Pull] | None = None,
) -> dict[Leaf, Any]:
    """Carry cotangents from ``roots`` back to the leaves.

    Parameters
    ----------
    roots
        The nodes to begin at; None for an output that nothing leads to.
    cotangents
        Those of their outputs.
    retain_graph
        Keep the residuals for another backward pass; else each node's are freed once used.
    lift
        The tape to record the backward pass on (``create_graph``); None records nothing here.
    watch
        Called with each node and the whole cotangent of its output.
    pulls
        What `pulls_between` found, where the cotangents of some leaves alone are wanted.

    Returns
    -------
    dict
        The cotangent of each leaf that one reached. No zero gradient is ever built: what nothing
        reaches is not in it.
    """
    if autocasting and state.casting is not None:
        with casting(None):  # a derivative keeps the dtypes of its function
            return backward(
                roots,
                cotangents,
                retain_graph=retain_graph,
                lift=lift,
                watch=watch,
                pulls=pulls,
            )
    pending: dict[int, tuple[Node, Any]] = {}
    owned: set[int] = set()  # cotangents whose buffer was allocated here: added to in place
    heap: list[int] = []
    parents = roots
    pulled: Iterable[tuple[int, Any]] = enumerate(cotangents)
    while True:
        for i, c in pulled:
            parent = parents[i]
            if c is None or parent is None:
                continue
            key = parent.id
            if key in pending:
                held = pending[key][1]
                if type(c) in HOST_TYPES and type(held) in HOST_TYPES:
                    if key in owned:
                        held += c
                        c = held
                    else:
                        c = held + c
                else:
                    with on(device_under(c)):
                        c = _add(held, c, key in owned)
                owned.add(key)
            elif parent.plan is not None:  # a leaf has nowhere to pass its cotangent on to
                heappush(heap, key)
            pending[key] = (parent, c)
        pulled, c = (), None  # what was added to another is free before the next rule allocates
        if not heap:
            break
        node, g = pending.pop(heappop(heap))
        pull = node.plan.pull if pulls is None else pulls[node.id]
        if watch is not None:
            watch(node, g)
        saved = node.saved
        if type(saved) is not tuple:
            saved = _restore(saved)
        if lift is not None:
            saved = lift.lift(node, saved)
        if type(g) in HOST_TYPES or (type(g) is tuple and HOST_TYPES.issuperset(map(type, g))):
            pulled = pull(g, saved)
        else:
            with on(device_under(g)):  # rules are plain CuPy arithmetic: on the array's device
                pulled = pull(g, saved)
        parents = node.parents
        if not retain_graph:
            node.saved = None
            node.parents = ()
            node.held = None
        if debug.nans:
            _check_cotangents(node, g, pulled)
    if watch is not None:
        for node, g in pending.values():
            watch(node, g)
    return dict(pending.values())  # type: ignore[arg-type]


def pulls_between(roots: Sequence[Node | None], leaves: Iterable[Leaf]) -> dict[int, Pull]:
    """By the numbers of nodes from ``roots`` to ``leaves``, the pull to what leads on to these."""
    seen: dict[int, Node] = {}
    stack = list(roots)
    while stack:
        node = stack.pop()
        if node is not None and node.id not in seen:
            seen[node.id] = node
            stack += node.parents
    lead = {leaf.id for leaf in leaves}
    pulls: dict[int, Pull] = dict.fromkeys(seen, _pull_nothing)
    for key in sorted(seen, reverse=True):  # parents first
        at = [i for i, p in enumerate(seen[key].parents) if p is not None and p.id in lead]
        if at:
            lead.add(key)
            pulls[key] = _pull_to(at, seen[key])
    return pulls


def _pull_nothing(g: Any, saved: Any) -> Sequence[tuple[int, Any]]:
    return ()


def _pull_to(at: Sequence[int], node: Node) -> Pull:
    """`Plan.pull` of a node without the cotangents of other operands than those ``at`` these."""
    plan = node.plan
    if len(at) == len(node.parents) - node.parents.count(None):
        return plan.pull
    if plan.joint is not None or plan.primitive.multiple:
        return lambda g, saved: [(i, c) for i, c in plan.pull(g, saved) if i in at]
    rules = [(i, rule, spots) for i, rule, spots in plan.rules if i in at]
    return lambda g, saved: [(i, rule(g, *[saved[j] for j in spots])) for i, rule, spots in rules]


def _add(held: Any, g: Any, owned: bool) -> Any:
    """The sum of two cotangents of one output, in the first one's buffer where that is ours."""
    if type(g) is tuple:  # several outputs, None for those that no cotangent has reached
        pairs = zip(held, g)
        return tuple([b if a is None else a if b is None else a + b for a, b in pairs])
    if owned and not isinstance(held, Box) and not isinstance(g, Box):
        held += g
        return held
    return held + g


def _restore(saved: Any) -> Any:
    if saved is None:
        raise TapeError(
            "This part of the graph was freed by an earlier backward pass. Pass "
            "retain_graph=True to the first backward to go through it again."
        )
    while type(saved) is not tuple:
        saved = saved.recompute()
    return saved


def _check_cotangents(node: Node, g: Any, pulled: Iterable[tuple[int, Any]]) -> None:
    if debug.has_nan(strip_all(g)):
        return
    for i, c in pulled:
        if c is not None and debug.has_nan(strip_all(c)):
            raise NonFiniteError(
                f"The gradient of {node.plan.primitive.name} for operand {i} is NaN; the "
                f"operation was recorded at {getattr(node, 'where', 'a line not noted')}"
            )
