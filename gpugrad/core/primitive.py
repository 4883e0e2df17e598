"""A primitive: a named operation with the rules by which interpreters apply it.

A rule names what it needs. The first parameter of a derivative rule is the cotangent (or the
tangent); each further parameter name says which residual it wants:

========== ==============================================================
``y``      the output (``y_like``: only its shape and dtype)
operand    that input's value, by the primitive's own name for it
``x_like`` shape and dtype of operand ``x``, without its values
``x_fit``  the same, or None where the output has that shape and dtype
``needs``  which operands want a cotangent (rules for all operands at once)
derived    a residual computed from these, such as a mask (``derived=``)
``kept``   what a `Keeping` primitive's implementation handed out besides its output
parameter  a static parameter of the call, such as ``axis``
========== ==============================================================

So ``lambda g, y: g - g * (y * y)`` is the derivative of tanh, and the tape keeps ``y``
and nothing else.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from copy import copy
from functools import partial
from typing import Any

import numpy as np

from gpugrad.core import debug
from gpugrad.core.abstract import fit, shape_dtype
from gpugrad.core.box import BOX_TYPES, Box, any_box, constant
from gpugrad.core.errors import explain
from gpugrad.core.loose import Loose, refuse_lists, settled
from gpugrad.core.trace import autocasting, leaked, state
from gpugrad.device import HOST_TYPES, common_device, namespace, on

Rule = Callable[..., Any]

LINEAR = "linear"
"""As a JVP rule: the primitive is linear in this operand, so the tangent takes its place."""


class Plan:
    """What the tape does for one primitive and one choice of tracked operands.

    ``residuals(values, params)`` takes from (operands…, output) and the parameters what the rules
    want: first the values at the positions ``keep``, then what is made of them; ``variadic`` says
    where all values of a starred operand are residuals (position among the residuals, first
    operand). ``pull(g, saved)`` gives the cotangents of the operands, as (operand, cotangent), from
    the output's. Both are compiled for the plan: every recorded node runs them.

    ``rules`` holds (operand, rule, positions among the residuals); where ``joint`` is set, its one
    entry is the rule for all operands. ``even`` is the plan for operands that have the output's
    shape and dtype, where rules have a shorter form for these (their attribute ``even``).
    """

    __slots__ = (
        "_alone",
        "even",
        "joint",
        "keep",
        "primitive",
        "pull",
        "residuals",
        "rules",
        "tracked",
        "variadic",
    )

    pull: Callable[[Any, Sequence[Any]], Sequence[tuple[int, Any]]]
    residuals: Callable[[Sequence[Any], dict[str, Any]], tuple[Any, ...]]

    def __init__(
        self, primitive: Primitive, tracked: tuple[int, ...], count: int, even: bool = False
    ) -> None:
        self._alone: Plan | None = None
        self.primitive = primitive
        self.tracked = tracked
        self.joint = primitive.joint_vjp
        keep: list[int] = []
        made: list[str | Rule] = []
        variadic: list[tuple[int, int]] = []

        def slot(name: str) -> tuple[bool, int]:
            """Whether it is kept, and where among those that are or are not."""
            source = primitive.source(name, count, tracked)
            if isinstance(source, int):
                if source not in keep:
                    keep.append(source)
                return True, keep.index(source)
            if "*" + name in primitive.operands:
                variadic.append((len(made), primitive.operands.index("*" + name)))
            made.append(source)
            return False, len(made) - 1

        wanted = {}
        for i in tracked if self.joint is None else (0,):
            rule = self.joint or primitive.vjp_of(i)
            if even:
                rule = getattr(rule, "even", rule)
            if rule is not None:
                wanted[i] = (rule, [slot(name) for name in residual_names(rule)])
        self.rules = tuple(
            [
                (i, rule, tuple([at if kept else len(keep) + at for kept, at in slots]))
                for i, (rule, slots) in wanted.items()
            ]
        )
        self.keep = tuple(keep)
        self.variadic = tuple((len(keep) + at, first) for at, first in variadic)
        self.residuals = _taking(keep, made)
        self.pull = _pulling(self.rules, self.joint is not None)
        shorter = not even and any(hasattr(rule, "even") for _, rule, _ in self.rules)
        self.even = Plan(primitive, tracked, count, even=True) if shorter else None

    def alone(self) -> Plan:
        """The plan of an operation that returned a tuple of one output: its cotangent is bare."""
        if self._alone is None:
            pull = self.pull
            self._alone = copy(self)
            self._alone.pull = lambda g, saved: pull((g,), saved)
        return self._alone

    def suits(self, values: Sequence[Any], y: Any) -> bool:
        """Whether the tracked operands have the shape and dtype of the output ``y``."""
        try:
            shape, dtype = y.shape, y.dtype
            for i in self.tracked:
                v = values[i]
                if v.shape != shape or v.dtype is not dtype:
                    return False
        except AttributeError:  # a Python number
            return False
        return True


def _taking(keep: Sequence[int], made: Sequence[str | Rule]) -> Callable[..., tuple[Any, ...]]:
    """`Plan.residuals`, such as ``lambda values, params: (values[0], params['axis'])``."""
    rules = {f"f{n}": source for n, source in enumerate(made)}
    items = [f"values[{i}]" for i in keep] + [
        f"params[{source!r}]" if isinstance(source, str) else f"{name}(values, params)"
        for name, source in rules.items()
    ]
    return _compiled("values, params", items, rules)


def _pulling(rules: Sequence[tuple[int, Rule, Sequence[int]]], joint: bool) -> Callable[..., Any]:
    """`Plan.pull`, such as ``lambda g, saved: ((0, f0(g, saved[1])), (1, f1(g, saved[0])))``.

    A rule's attribute ``chained`` goes on from the first operand's cotangent, where there is one.
    """
    items, names = [], {}
    for i, rule, at in rules:
        first, shorter = "g", getattr(rule, "chained", None)
        if shorter is not None and "f0" in names:
            slots = dict(zip(residual_names(rule), at))
            first, rule, at = "c0", shorter, [slots[name] for name in residual_names(shorter)]
        call = f"f{i}({', '.join([first, *[f'saved[{j}]' for j in at]])})"
        items.append(f"*enumerate({call})" if joint else f"({i}, (c{i} := {call}))")
        names[f"f{i}"] = rule
    return _compiled("g, saved", items, names)


def _compiled(parameters: str, items: Sequence[str], names: dict[str, Any]) -> Callable[..., Any]:
    """The function of ``parameters`` that returns the tuple of these expressions."""
    made: Callable[..., Any] = eval(
        f"lambda {parameters}: ({''.join(i + ', ' for i in items)})", names
    )
    return made


class _Signature:
    """``__signature__`` of a primitive: its operands, by position, and its parameters."""

    def __get__(self, primitive: Primitive | None, kind: type) -> inspect.Signature:
        if primitive is None:  # the class has its constructor's
            raise AttributeError("__signature__")
        operand = inspect.Parameter
        parameters = [
            operand("operands", operand.VAR_POSITIONAL)
            if name.startswith("*")
            else operand(name, operand.POSITIONAL_ONLY)
            for name in primitive.operands
        ]
        return inspect.Signature([*parameters, operand("params", operand.VAR_KEYWORD)])


class Primitive:
    """A named operation and its rules.

    Parameters
    ----------
    name
        What errors and pictures call it.
    impl
        The name of a function that NumPy and CuPy share, or a callable ``impl(xp, *values,
        **params)`` on raw arrays, where ``xp`` is the module ``numpy`` or ``cupy``.
    operands
        Names of the array operands, in order; one name with a star for any number of them.
    shape
        ``shape(*operands, **params)`` from and to ``ShapeDtype``.
    vjp, jvp
        One rule an operand: a tuple, a single rule for a single operand, or None where there is
        no derivative. A JVP entry may be ``LINEAR``.
    joint_vjp, joint_jvp
        One rule for all operands: the VJP returns a cotangent (or None) for each, the JVP takes
        the tuple of tangents, None where there is none.
    batch
        ``batch(primitive, size, batched, values, params)``: the operation over a leading axis of
        ``size`` on the operands that ``batched`` marks; the result has that axis first.
    derived
        Residuals that are computed, by name, from the other names (not differentiated).
    multiple
        Whether the operation returns a tuple.
    host
        What ``impl`` comes to for NumPy's own arrays and numbers, ``host(*values, **params)``.
    """

    __slots__ = (
        "_cuda",
        "_host",
        "_impl",
        "_plain",
        "_plans",
        "batch",
        "derived",
        "joint_jvp",
        "joint_vjp",
        "jvp",
        "multiple",
        "name",
        "operands",
        "shape",
        "vjp",
    )

    __signature__ = _Signature()

    def __init__(
        self,
        name: str,
        impl: str | Callable[..., Any],
        operands: str = "x",
        *,
        shape: Callable[..., Any],
        vjp: Rule | tuple[Rule | None, ...] | None = None,
        jvp: Rule | str | tuple[Rule | str | None, ...] | None = None,
        joint_vjp: Rule | None = None,
        joint_jvp: Rule | None = None,
        batch: Callable[..., Any] | None = None,
        derived: dict[str, Rule] | None = None,
        multiple: bool = False,
        host: Callable[..., Any] | None = None,
    ) -> None:
        self.name = name
        self.operands = tuple(operands.split())
        self.shape = shape
        self.vjp = vjp if isinstance(vjp, tuple) else (vjp,)
        self.jvp = jvp if isinstance(jvp, tuple) else (jvp,)
        self.joint_vjp = joint_vjp
        self.joint_jvp = joint_jvp
        self.batch = batch
        self.derived = derived or {}
        self.multiple = multiple
        self._impl = impl
        self._host = host or self._bind(np)
        self._cuda: Callable[..., Any] | None = None
        self._plans: dict[int, Plan | None] = {}
        self._plain = type(self).evaluate is Primitive.evaluate
        registry[name] = self

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"

    def __call__(self, *args: Any, **params: Any) -> Any:
        return self.bind(args, params)

    def bind(self, args: Sequence[Any], params: dict[str, Any]) -> Any:
        """Apply to operands and parameters that are packed already, which saves a call's price."""
        if autocasting and state.casting is not None:
            args = tuple(state.casting(self, args))
        for a in args:
            if type(a) not in HOST_TYPES:
                break
        else:
            if self._plain:  # what evaluate would do, spelled out: programs do much on raw arrays
                try:
                    y = self._host(*args, **params) if params else self._host(*args)
                except Exception as error:
                    raise explain(self, args, error) from error
                if debug.nans:
                    debug.check_finite(self, args, y)
                return y
        top = None
        boxed = False
        for a in args:
            if type(a) in BOX_TYPES:
                boxed = True
                trace = a._trace
                if trace is top or trace is None:
                    continue
                if top is None or trace.level > top.level:
                    top = trace
        if top is not None:
            if top.level > state.depth:
                raise leaked(self)
            try:
                return top.apply(self, args, params)
            except Loose:
                return self.bind(settled(args), params)
        try:
            if not boxed:
                return self.evaluate(args, params)
            y = self.evaluate([a._value if isinstance(a, Box) else a for a in args], params)
        except Loose:
            return self.bind(settled(args), params)
        return tuple([constant(o) for o in y]) if self.multiple else constant(y)

    def evaluate(self, values: Sequence[Any], params: dict[str, Any]) -> Any:
        """Compute on the device where ``values`` are; on boxes, apply their interpreter."""
        for v in values:
            if type(v) not in HOST_TYPES:
                return self._evaluate_elsewhere(values, params)
        try:
            y = self._host(*values, **params) if params else self._host(*values)
        except Exception as error:
            raise explain(self, values, error) from error
        if debug.nans:
            debug.check_finite(self, values, y)
        return y

    record = evaluate
    """What a tape runs in place of ``evaluate``; an operation with a forward rule overrides it."""

    def _evaluate_elsewhere(self, values: Sequence[Any], params: dict[str, Any]) -> Any:
        refuse_lists(values)
        if any_box(values):
            return self(*values, **params)
        where = common_device(values, self.name)
        if where.kind == "cpu":
            run = self._bind(np)
        else:
            if self._cuda is None:
                self._cuda = self._bind(namespace(where))
            run = self._cuda
        try:
            with on(where):
                y = run(*values, **params)
        except Exception as error:
            raise explain(self, values, error) from error
        if debug.nans:
            debug.check_finite(self, values, y)
        return y

    def _bind(self, xp: Any) -> Callable[..., Any]:
        impl = self._impl
        if not isinstance(impl, str):
            return partial(impl, xp)
        bound: Callable[..., Any] = getattr(xp, impl)
        return bound

    @property
    def differentiable(self) -> bool:
        """Whether it has a derivative with respect to some operand."""
        return self.joint_vjp is not None or any(r is not None for r in self.vjp)

    def vjp_of(self, operand: int) -> Rule | None:
        """The VJP rule for an operand by position."""
        return self.vjp[operand]

    def jvp_of(self, operand: int) -> Rule | str | None:
        """The JVP rule for an operand by position."""
        return self.jvp[operand]

    def plan(self, tracked: int, count: int) -> Plan | None:
        """What to do for the operands in the bit mask ``tracked``; None: there is no gradient."""
        key = tracked | 1 << count  # the highest bit tells the count
        if key not in self._plans:
            at = tuple(i for i in range(count) if tracked >> i & 1)
            none = self.joint_vjp is None and all(self.vjp_of(i) is None for i in at)
            self._plans[key] = None if none else Plan(self, at, count)
        return self._plans[key]

    def source(self, name: str, count: int, tracked: tuple[int, ...]) -> int | str | Rule:
        """Where a rule's parameter comes from.

        A position among (operands…, output), the name of a static parameter, or a function of
        (that list, the parameters).
        """
        if name == "y":
            return count
        if name == "y_like":
            return lambda values, params: shape_dtype(values[count])
        if name == "needs":
            needs = tuple(i in tracked for i in range(count))
            return lambda values, params: needs
        if name in self.derived:
            rule = self.derived[name]
            sources = [self.source(n, count, tracked) for n in parameter_names(rule)]
            return lambda values, params: rule(*[fetch(s, values, params) for s in sources])
        for i, operand in enumerate(self.operands):
            if operand.startswith("*"):
                if name == operand[1:]:
                    return lambda values, params: tuple(values[i:count])
                if name == operand[1:] + "_like":
                    return lambda values, params: tuple([shape_dtype(v) for v in values[i:count]])
            if name == operand:
                return i
            if name == operand + "_like":
                return lambda values, params: shape_dtype(values[i])
            if name == operand + "_fit":
                return lambda values, params: fit(values[i], values[count])
        return name


def fetch(source: int | str | Rule, values: Sequence[Any], params: dict[str, Any]) -> Any:
    """What `Primitive.source` points to, of one call."""
    if isinstance(source, int):
        return values[source]
    return params[source] if isinstance(source, str) else source(values, params)


class Keeping(Primitive):
    """A primitive whose implementation returns ``(output, kept)``.

    What is kept are intermediates that the VJP would else compute again, such as a row's maximum
    and sum: its rules ask for ``kept``, and get None where an enclosing interpreter did the work.
    """

    __slots__ = ()

    def evaluate(self, values: Sequence[Any], params: dict[str, Any]) -> Any:
        out = super().evaluate(values, params)
        return out if self._by_another(out) else out[0]

    def record(self, values: Sequence[Any], params: dict[str, Any]) -> Any:
        out = Primitive.evaluate(self, values, params)
        y, params["kept"] = (out, None) if self._by_another(out) else out
        return y

    def _by_another(self, out: Any) -> bool:
        """Whether an enclosing interpreter did the work: it returns the output alone, boxed."""
        return isinstance(out[0] if self.multiple else out, Box)


registry: dict[str, Primitive] = {}
"""Every primitive by name."""


def parameter_names(rule: Rule) -> tuple[str, ...]:
    """The names of a rule's parameters; ``names`` on a wrapped rule overrides its signature."""
    names: tuple[str, ...] | None = getattr(rule, "names", None)
    return names if names is not None else tuple(inspect.signature(rule).parameters)


def residual_names(rule: Rule) -> tuple[str, ...]:
    """What a derivative rule wants besides the cotangent or tangent."""
    return parameter_names(rule)[1:]
