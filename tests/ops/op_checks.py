"""What must hold for a function, its derivatives, its batching and its shape rule.

Derivatives are compared with central differences of NumPy's own function on the host, along
random directions: ``pair`` is the real bilinear form for which a VJP is the transpose of a JVP,
complex operands included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from op_cases import Case
from op_draw import Draw, Maker

import gpugrad as gg
from gpugrad.device import CPU, Device, to_device
from gpugrad.ops.cast import is_inexact

STEP = 2e-3
NARROW = {"f": np.float32, "c": np.complex64}
HALF = {"f": np.float16, "c": np.complex64}


def flat(y: Any) -> list[Any]:
    return list(y) if isinstance(y, list | tuple) else [y]


def host(y: Any) -> list[np.ndarray]:
    return [np.asarray(to_device(v._value if isinstance(v, gg.Array) else v, CPU)) for v in flat(y)]


def pair(us: Sequence[Any], vs: Sequence[Any]) -> float:
    return float(sum(np.sum(np.real(u * v)) for u, v in zip(us, vs, strict=True)))


def size_of(us: Sequence[Any], vs: Sequence[Any]) -> float:
    return float(sum(np.sum(np.abs(u * v)) for u, v in zip(us, vs, strict=True)))


def like(rng: np.random.Generator, arrays: Iterable[Any]) -> list[np.ndarray]:
    """Random directions of the shapes and dtypes of ``arrays``."""
    out = []
    for a in arrays:
        v = rng.uniform(-1, 1, np.shape(a))
        if np.asarray(a).dtype.kind == "c":
            v = v + 1j * rng.uniform(-1, 1, np.shape(a))
        out.append(np.asarray(v, np.asarray(a).dtype))
    return out


def central(f: Callable[[float], list[np.ndarray]]) -> list[np.ndarray]:
    """The derivative at 0, of fourth order in the step."""
    near = [a - b for a, b in zip(f(STEP), f(-STEP), strict=True)]
    far = [a - b for a, b in zip(f(2 * STEP), f(-2 * STEP), strict=True)]
    return [(8 * n - w) / (12 * STEP) for n, w in zip(near, far, strict=True)]


class Point:
    """One case at drawn operands: its function of what can be differentiated, on a device."""

    def __init__(self, case: Case, draw: Draw, rng: np.random.Generator, device: Device) -> None:
        self.case = case
        self.rng = rng
        self.device = device
        self.makers: list[Maker]
        self.makers, self.params = case.sample(draw)
        self.operands = [np.asarray(make(rng)) for make in self.makers]
        self.at = [i for i, x in enumerate(self.operands) if is_inexact(x.dtype)]
        self.inputs = [self.operands[i] for i in self.at]
        self.value = [np.asarray(y) for y in flat(case.ref(*self.operands, **self.params))]
        self.smooth = case.smooth and bool(self.at) and all(is_inexact(y.dtype) for y in self.value)

    def put(self, arrays: Iterable[Any]) -> list[Any]:
        return [to_device(np.asarray(a), self.device) for a in arrays]

    def whole(self, xs: Sequence[Any]) -> list[Any]:
        """All operands, with ``xs`` in the places of those that can be differentiated."""
        full = list(self.put(self.operands))
        for i, x in zip(self.at, xs, strict=True):
            full[i] = x
        return full

    def run(self, *operands: Any) -> tuple[Any, ...]:
        return tuple(flat(self.case.f(*operands, **self.params)))

    def f(self, *xs: Any) -> tuple[Any, ...]:
        return self.run(*self.whole(xs))

    def reference(self, xs: Sequence[Any]) -> list[np.ndarray]:
        full = list(self.operands)
        for i, x in zip(self.at, xs, strict=True):
            full[i] = x
        return [np.asarray(y) for y in flat(self.case.ref(*full, **self.params))]


def moved(xs: Sequence[Any], vs: Sequence[Any], t: float) -> list[Any]:
    return [x + t * v for x, v in zip(xs, vs, strict=True)]


done = 0
"""How many arrays have been compared: the test run prints it."""


def close(got: Sequence[Any], want: Sequence[Any], rtol: float, what: str) -> None:
    global done
    assert len(got) == len(want), what
    for g, w in zip(got, want, strict=True):
        done += 1
        assert g.shape == w.shape, f"{what}: shape {g.shape} instead of {w.shape}"
        scale = np.max(np.abs(w[np.isfinite(w)]), initial=1e-3)
        np.testing.assert_allclose(g, w, rtol=rtol, atol=rtol * scale, err_msg=what)


def check_value(p: Point) -> None:
    got = p.run(*[gg.Array(x) for x in p.put(p.operands)])
    assert all(isinstance(y, gg.Array) and y.device == p.device for y in got)
    close(host(got), p.value, 1e-12, "value")


def check_first(p: Point) -> None:
    """JVP and VJP against central differences of NumPy's function."""
    vs = like(p.rng, p.inputs)
    us = like(p.rng, p.value)
    want = central(lambda t: p.reference(moved(p.inputs, vs, t)))
    xs = p.put(p.inputs)
    y, t = gg.jvp(p.f, xs, p.put(vs))
    close(host(y), p.value, 1e-12, "value under jvp")
    close(host(t), want, 1e-6, "jvp")
    y, pull = gg.vjp(p.f, *xs)
    close(host(y), p.value, 1e-12, "value under vjp")
    gs = host(pull(tuple(p.put(us))))
    for x, g in zip(p.inputs, gs, strict=True):
        assert (g.shape, g.dtype) == (x.shape, x.dtype), "vjp"
    assert abs(pair(gs, vs) - pair(us, want)) <= 1e-6 * (size_of(us, want) + 1e-3), "vjp"


def check_transposes(p: Point) -> None:
    """A VJP is linear in its cotangent: its own transpose is the JVP, and the other way round."""
    vs, us = like(p.rng, p.inputs), like(p.rng, p.value)
    xs, push, pull = p.put(p.inputs), p.put(vs), p.put(us)

    def pulled(*us: Any) -> Any:
        return gg.vjp(p.f, *xs)[1](us)

    def pushed(*vs: Any) -> Any:
        return gg.jvp(p.f, xs, vs)[1]

    back, forth = host(pulled(*pull)), host(pushed(*push))
    close(host(gg.vjp(pulled, *pull)[1](tuple(push))), forth, 1e-9, "transpose of the vjp")
    close(host(gg.vjp(pushed, *push)[1](tuple(pull))), back, 1e-9, "transpose of the jvp")
    close(host(gg.jvp(pulled, pull, pull)[1]), back, 1e-9, "vjp along a cotangent")
    close(host(gg.jvp(pushed, push, push)[1]), forth, 1e-9, "jvp along a tangent")


def check_second(p: Point, every: bool) -> None:
    """Second derivatives by way of both modes, against central differences of the gradient."""
    vs, ws = like(p.rng, p.inputs), like(p.rng, p.inputs)
    us = tuple(p.put(like(p.rng, p.value)))
    push_v = p.put(vs)

    def gradient(*xs: Any) -> Any:
        return gg.vjp(p.f, *xs)[1](us)

    def slope(t: float) -> list[np.ndarray]:
        return host(gradient(*p.put(moved(p.inputs, ws, t))))

    want = central(slope)
    bound = 1e-6 * (size_of(want, vs) + 1e-3)
    xs = p.put(p.inputs)
    found = {
        "jvp of vjp": pair(host(gg.jvp(gradient, xs, p.put(ws))[1]), vs),
        "vjp of vjp": pair(host(gg.vjp(gradient, *xs)[1](tuple(push_v))), ws),
    }
    if every:

        def along(*xs: Any) -> Any:
            return gg.jvp(p.f, list(xs), push_v)[1]

        found["jvp of jvp"] = pair(host(gg.jvp(along, xs, p.put(ws))[1]), host(list(us)))
        found["vjp of jvp"] = pair(host(gg.vjp(along, *xs)[1](us)), ws)
    for what, value in found.items():
        assert abs(value - pair(want, vs)) <= bound, f"{what}: {value}, not {pair(want, vs)}"


def check_batching(p: Point, subsets: Sequence[tuple[int, ...]], size: int = 2) -> None:
    """Vmap over each subset of the operands equals a loop, of the function and of its VJP.

    The VJP is mapped over cotangents too, alone and together with each subset.
    """

    def f(*operands: Any) -> Any:
        return p.run(*[gg.asarray(x) for x in operands])

    def pulled(*operands: Any) -> Any:
        us, operands = operands[: len(p.value)], operands[len(p.value) :]

        def of_inputs(*xs: Any) -> Any:
            full = list(operands)
            for i, x in zip(p.at, xs, strict=True):
                full[i] = x
            return p.run(*full)

        return gg.vjp(of_inputs, *[operands[i] for i in p.at])[1](tuple(us))

    def compare(g: Any, makers: Sequence[Maker], chosen: Sequence[bool], what: str) -> None:
        rows = [
            [np.asarray(make(p.rng)) for _ in range(size)]
            if c
            else [np.asarray(make(p.rng))] * size
            for make, c in zip(makers, chosen, strict=True)
        ]
        stacked = p.put(np.stack(r) if c else r[0] for r, c in zip(rows, chosen, strict=True))
        got = host(gg.vmap(g, tuple(0 if c else None for c in chosen))(*stacked))
        each = [host(g(*p.put(r[k] for r in rows))) for k in range(size)]
        want = [np.stack(parts) for parts in zip(*each, strict=True)]
        close(got, want, 1e-11, f"{what}, mapped: {chosen}")

    cotangents = [lambda rng, y=y: like(rng, [y])[0] for y in p.value]
    for subset in subsets:
        chosen = [i in subset for i in range(len(p.makers))]
        compare(f, p.makers, chosen, "vmap")
        if p.smooth:
            for mapped in (True, False):
                both = [*[mapped] * len(p.value), *chosen]
                compare(pulled, [*cotangents, *p.makers], both, "vmap of vjp")
    if p.smooth:
        both = [*[True] * len(p.value), *[False] * len(p.makers)]
        compare(pulled, [*cotangents, *p.makers], both, "vmap of vjp")


def subsets(count: int) -> list[tuple[int, ...]]:
    """Every non-empty one of up to three operands; of more, each alone and all together."""
    sizes = range(1, count + 1) if count <= 3 else (1, count)
    return [c for n in sizes for c in combinations(range(count), n)]


def narrowed(p: Point, dtypes: dict[str, Any]) -> list[np.ndarray]:
    return [x.astype(dtypes.get(x.dtype.kind, x.dtype)) for x in p.operands]


def check_shape_rule(p: Point, dtypes: dict[str, Any]) -> None:
    operands = [gg.Array(x) for x in p.put(narrowed(p, dtypes))]
    got = gg.eval_shape(p.run, *operands)
    for rule, y in zip(got, p.run(*operands), strict=True):
        assert (rule.shape, rule.dtype) == (y.shape, y.dtype)


def check_narrow(p: Point) -> None:
    """In float32: NumPy's own result dtype, and value and gradient near those in float64."""
    low = narrowed(p, NARROW)
    got = p.run(*[gg.Array(x) for x in p.put(low)])
    want = flat(p.case.ref(*low, **p.params))
    assert [y.dtype for y in got] == [np.asarray(y).dtype for y in want]
    close(host(got), p.value, 1e-3, "float32")
    if not p.smooth:
        return
    us = like(p.rng, p.value)
    wide = host(gg.vjp(p.f, *p.put(p.inputs))[1](tuple(p.put(us))))
    xs = p.put(low[i] for i in p.at)
    y, pull = gg.vjp(p.f, *xs)
    gs = pull(tuple(p.put(u.astype(v.dtype) for u, v in zip(us, y, strict=True))))
    assert [g.dtype for g in gs] == [x.dtype for x in xs]
    close(host(gs), wide, 1e-3, "gradient in float32")


def check_gradient_dtype(p: Point, dtypes: dict[str, Any]) -> None:
    """A gradient has the dtype of its input, a tangent that of the output."""
    low = narrowed(p, dtypes)
    xs = p.put(low[i] for i in p.at)

    def f(*inputs: Any) -> Any:
        full = p.put(low)
        for i, x in zip(p.at, inputs, strict=True):
            full[i] = x
        return p.run(*full)

    y, pull = gg.vjp(f, *xs)
    gs = pull(tuple(p.put(np.ones(v.shape).astype(v.dtype) for v in y)))
    assert [g.dtype for g in gs] == [x.dtype for x in xs]
    y, ts = gg.jvp(f, xs, xs)
    assert [t.dtype for t in ts] == [v.dtype for v in y]
