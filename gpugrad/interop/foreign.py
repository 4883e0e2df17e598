"""A function of another library as a function of ours that differentiates to any order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from gpugrad.core.abstract import shape_dtype
from gpugrad.core.batching import Batch
from gpugrad.core.box import Box, any_box
from gpugrad.core.primitive import Primitive
from gpugrad.ops.cast import cast, is_inexact
from gpugrad.ops.join import stack
from gpugrad.transforms.kinds import flatten, named, spread, unflatten, with_zeros
from gpugrad.transforms.reverse import transpose

Flat = Callable[..., Sequence[Any]]
"""Of arrays one by one to a list of arrays."""


def is_number(leaf: Any) -> bool:
    """Whether a leaf is handed over as an array: all else stays as it is."""
    return hasattr(leaf, "dtype") or isinstance(leaf, float | complex)


def as_number(what: str, f: Callable[..., Any], y: Any) -> Any:
    """A leaf of what ``f`` returns as an array, or an error that says what it is."""
    if hasattr(y, "dtype"):
        return y
    if isinstance(y, bool | int | float | complex):
        return np.asarray(y)
    raise TypeError(
        f"{what}: {getattr(f, '__name__', type(f).__name__)} returned a {type(y).__name__}; it "
        "returns arrays, numbers, or lists, tuples and dicts of them"
    )


class Library(NamedTuple):
    """How another library runs a flat function on raw arrays, and differentiates it."""

    name: str
    """What errors and pictures call such a function."""

    run: Callable[[Flat, Sequence[Any]], list[Any]]
    """``run(f, xs)``: what ``f`` returns."""

    record: Callable[[Flat, Sequence[Any]], tuple[list[Any], Any]]
    """``record(f, xs)``: that, and what the derivative needs of this one call."""

    pull: Callable[[Any, tuple[int, ...], Sequence[Any]], list[Any]]
    """``pull(held, at, gs)``: the cotangents of the inputs ``at`` from those of the outputs."""

    record_pull: Callable[[Any, tuple[int, ...], Sequence[Any]], tuple[list[Any], Any]]
    """The same, with what its own derivative needs: it is by the inputs and by ``gs``."""


class Call:
    """One call of a flat function, which no derivative runs again: it may draw random numbers."""

    def __init__(self, library: Library, f: Flat) -> None:
        self.library = library
        self.f = f
        self.wanted = False
        self.held: Any = None
        self.rows: dict[int, Call] = {}

    def run(self, xs: Sequence[Any]) -> list[Any]:
        """The outputs; if a derivative is ``wanted``, what it needs is held."""
        if not self.wanted:
            return self.library.run(self.f, xs)
        ys, self.held = self.library.record(self.f, xs)
        return ys

    def row(self, i: int, batched: Sequence[bool]) -> Call:
        """The call that one example of a batch is."""
        if i not in self.rows:
            self.rows[i] = self._row(i, batched)
            self.rows[i].wanted = self.wanted
        return self.rows[i]

    def _row(self, i: int, batched: Sequence[bool]) -> Call:
        return Call(self.library, self.f)


class Pull(Call):
    """A call's VJP to its inputs ``at``, as a call: of its ``count`` inputs and the cotangents."""

    def __init__(self, of: Call, at: tuple[int, ...], count: int) -> None:
        super().__init__(of.library, of.f)
        self.of = of
        self.at = at
        self.count = count

    def run(self, xs: Sequence[Any]) -> list[Any]:
        held, gs = self.of.held, xs[self.count :]
        if not self.wanted:
            return self.library.pull(held, self.at, gs)
        found, self.held = self.library.record_pull(held, self.at, gs)
        return found

    def _row(self, i: int, batched: Sequence[bool]) -> Call:
        inputs = batched[: self.count]
        of = self.of.row(i, inputs) if any(inputs) else self.of
        return Pull(of, self.at, self.count)


def adopt(f: Callable[..., Any], library: Library) -> Callable[..., Any]:
    """``f`` of another library on our arrays, with derivatives of every order."""

    def adopted(*args: Any, **kwargs: Any) -> Any:
        leaves, tree = flatten((args, kwargs))
        where = [i for i, leaf in enumerate(leaves) if is_number(leaf)]
        found: dict[str, Any] = {}

        def flat(*numbers: Any) -> Sequence[Any]:
            full = list(leaves)
            for i, x in zip(where, numbers, strict=True):
                full[i] = x
            given, named_ones = unflatten(tree, full)
            outs, found["tree"] = flatten(f(*given, **named_ones))
            return [as_number(library.name, f, y) for y in outs]

        outs = _apply(Call(library, flat), [leaves[i] for i in where])
        return unflatten(found["tree"], outs)

    return named(f, adopted, library.name)


def _apply(call: Call, xs: Sequence[Any]) -> Any:
    call.wanted = any(map(_followed, xs))
    return _primitive(call.library.name)(*xs, call=call)


def _followed(x: Any) -> bool:
    """Whether a derivative by ``x`` may be asked for."""
    while isinstance(x, Box):
        if x._trace is not None and not isinstance(x._trace, Batch):
            return True
        x = x._value
    return False


class _Foreign(Primitive):
    """Runs a call, the only place that does: under every transform its inputs arrive here raw."""

    __slots__ = ()

    def evaluate(self, values: Sequence[Any], params: dict[str, Any]) -> Any:
        return self(*values, **params) if any_box(values) else tuple(params["call"].run(values))

    record = evaluate


def _pull(gs: Any, xs: Any, y: Any, needs: Any, call: Call) -> list[Any]:
    at = [i for i, need in enumerate(needs) if need]
    return spread(at, _pulled(call, at, xs, with_zeros(gs, y)), len(xs))


def _push(ts: Any, xs: Any, y: Any, call: Call) -> list[Any]:
    """The JVP, as the transpose of the VJP."""
    at = [i for i, t in enumerate(ts) if t is not None]
    smooth = [k for k, o in enumerate(y) if is_inexact(shape_dtype(o).dtype)]

    def pull(*gs: Any) -> list[Any]:
        return _pulled(call, at, xs, with_zeros(spread(smooth, gs, len(y)), y))

    pushed = transpose(pull, [y[k] for k in smooth], [ts[i] for i in at])
    return spread(smooth, pushed, len(y))


def _pulled(call: Call, at: Sequence[int], xs: Sequence[Any], gs: Sequence[Any]) -> list[Any]:
    found = _apply(Pull(call, tuple(at), len(xs)), (*xs, *gs))
    likes = [shape_dtype(xs[i]) for i in at]
    return [g if x.weak else cast(g, x.dtype) for g, x in zip(found, likes, strict=True)]


def _batch(
    primitive: Primitive, size: int, batched: Sequence[bool], values: Any, params: Any
) -> Any:
    """Example by example: other libraries know nothing of our boxes."""
    rows = [
        primitive(
            *[v[i] if b else v for v, b in zip(values, batched, strict=True)],
            call=params["call"].row(i, batched),
        )
        for i in range(size)
    ]
    return tuple([stack(column) for column in zip(*rows, strict=True)])


def _no_shape(*likes: Any, call: Call) -> Any:
    raise TypeError(
        f"{call.library.name}: the shapes of what another library's function returns are known "
        "only when it runs, so not under eval_shape"
    )


@cache
def _primitive(name: str) -> _Foreign:
    return _Foreign(
        name,
        lambda xp: None,
        "*xs",
        shape=_no_shape,
        joint_vjp=_pull,
        joint_jvp=_push,
        batch=_batch,
        multiple=True,
    )
