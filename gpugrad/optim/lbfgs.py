"""L-BFGS."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

from gpugrad.array import Array
from gpugrad.core.box import strip
from gpugrad.device import namespace, on
from gpugrad.kernels.many import wide
from gpugrad.optim.optimizer import Optimizer


class _Point(NamedTuple):
    """Where a line search looked: a step's length, and loss, gradient and slope there."""

    t: float
    loss: float
    grad: Any
    slope: float


@dataclass
class _Memory:
    """What one step leaves to the next; vectors are flat, over all parameters."""

    n_iter: int = 0
    func_evals: int = 0
    d: Any = None
    t: float = 0.0
    scale: Any = 1.0
    prev_grad: Any = None
    prev_loss: float = 0.0
    dirs: list[Any] = field(default_factory=list)
    steps: list[Any] = field(default_factory=list)
    ro: list[Any] = field(default_factory=list)


class LBFGS(Optimizer):
    """L-BFGS (Liu & Nocedal 1989), for a few parameters and a loss without noise.

    ``step(closure)`` makes up to ``max_iter`` iterations and calls ``closure`` for each, or for
    each point that the line search looks at. All parameters are of one dtype on one device.

    Parameters
    ----------
    params : iterable of Array
        What to train; one group.
    lr : float
        The length of a step, or the first that the line search tries.
    max_iter, max_eval : int
        The most iterations and calls of ``closure`` in one step; ``max_iter * 5 // 4`` calls by
        default.
    tolerance_grad, tolerance_change : float
        End where no gradient's element is larger, or the loss and the parameters change by less.
    history_size : int
        How many pairs of differences it remembers, each of twice the parameters' size.
    line_search_fn : "strong_wolfe", optional
        Search each direction for a point that fulfils the strong Wolfe conditions (Nocedal &
        Wright 2006, chapter 3); otherwise each step has length ``lr``.

    Notes
    -----
    The loss and three numbers of each iteration are read on the host: they decide what is next.

    Examples
    --------
    >>> import numpy as np, gpugrad as gg
    >>> w = gg.Array(np.zeros(2), requires_grad=True)
    >>> optimizer = gg.optim.LBFGS([w], line_search_fn="strong_wolfe")
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = ((w - np.array([1.0, 2.0])) ** 2).sum()
    ...     loss.backward()
    ...     return loss
    >>> first = optimizer.step(closure)
    >>> w.detach().round(6)
    Array([1., 2.], dtype=float64, device=cpu)
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: Literal["strong_wolfe"] | None = None,
    ) -> None:
        if line_search_fn not in (None, "strong_wolfe"):
            raise ValueError(
                f"LBFGS: line_search_fn={line_search_fn!r} is neither 'strong_wolfe' nor None"
            )
        super().__init__(
            params,
            {
                "lr": lr,
                "max_iter": max_iter,
                "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
                "tolerance_grad": tolerance_grad,
                "tolerance_change": tolerance_change,
                "history_size": history_size,
                "line_search_fn": line_search_fn,
            },
        )
        self._memory = _Memory()

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Take the one group of parameters."""
        if self.param_groups:
            raise ValueError("LBFGS: there is one group, whose parameters are one flat vector")
        super().add_param_group(group)
        kinds = sorted({f"{p.dtype} on {p.device}" for p in self._parameters()})
        if len(kinds) > 1:
            raise ValueError(
                f"LBFGS: all parameters are of one dtype on one device, got {', '.join(kinds)}"
            )

    def step(self, closure: Callable[[], Any]) -> Any:  # type: ignore[override]
        """Iterate.

        Parameters
        ----------
        closure : callable
            Forgets the gradients, computes the loss, calls its ``backward`` and returns it.

        Returns
        -------
        Array
            The loss before.
        """
        if not callable(closure):
            raise TypeError(
                f"LBFGS.step: a closure that computes the loss and its gradients, got {closure!r}"
            )
        first = closure()
        with on(self._parameters()[0].device):
            self._iterate(closure, _value(first))
        return first

    def _iterate(self, closure: Callable[[], Any], loss: float) -> None:
        (group,) = self.param_groups
        m = self._memory
        m.func_evals += 1
        grad, evaluations = self._flat_grad(), 1
        if _largest(grad) <= group["tolerance_grad"]:
            return
        lr = float(np.asarray(strip(group["lr"])))
        change = group["tolerance_change"]
        for n in range(1, group["max_iter"] + 1):
            m.n_iter += 1
            self._turn(grad)
            m.prev_grad, m.prev_loss = grad, loss
            m.t = lr * min(1.0, 1 / float(abs(grad).sum())) if m.n_iter == 1 else lr
            slope = float(grad.dot(m.d))
            if slope > -change:
                break
            last = n == group["max_iter"]
            if group["line_search_fn"] is not None:
                start = _Point(0.0, loss, grad, slope)
                most = group["max_eval"] - evaluations
                found, calls = self._search(closure, start, change, most)
                m.t, loss, grad = found.t, found.loss, found.grad
                self._move(m.t)
            else:
                self._move(m.t)
                calls = 0 if last else 1
                if not last:
                    loss, grad = _value(closure()), self._flat_grad()
            evaluations += calls
            m.func_evals += calls
            if (
                last
                or evaluations >= group["max_eval"]
                or _largest(grad) <= group["tolerance_grad"]
                or _largest(m.d) * abs(m.t) <= change
                or abs(loss - m.prev_loss) < change
            ):
                break

    def _turn(self, grad: Any) -> None:
        """The direction from the differences of the last steps (the two-loop recursion)."""
        m = self._memory
        if m.n_iter == 1:
            m.d = -grad
            return
        y, s = grad - m.prev_grad, m.d * m.t
        ys = y.dot(s)
        if float(ys) > 1e-10:
            if len(m.dirs) == self.param_groups[0]["history_size"]:
                for kept in (m.dirs, m.steps, m.ro):
                    del kept[0]
            m.dirs.append(y)
            m.steps.append(s)
            m.ro.append(1 / ys)
            m.scale = ys / y.dot(y)
        pairs = list(zip(m.dirs, m.steps, m.ro, strict=True))
        q, weights = -grad, []
        for y, s, ro in reversed(pairs):
            weights.append(s.dot(q) * ro)
            q -= weights[-1] * y
        q *= m.scale
        for (y, s, ro), weight in zip(pairs, reversed(weights), strict=True):
            q += (weight - y.dot(q) * ro) * s
        m.d = q

    def _search(
        self, closure: Callable[[], Any], start: _Point, change: float, most: int
    ) -> tuple[_Point, int]:
        m = self._memory
        before = [strip(p.detach()).copy() for p in self._parameters()]
        calls = 0

        def look(t: float) -> _Point:
            nonlocal calls
            calls += 1
            self._move(t)
            loss = _value(closure())
            grad = self._flat_grad()
            for p, old in zip(self._parameters(), before, strict=True):
                strip(p.detach())[...] = old
                p._written()
            return _Point(t, loss, grad, float(grad.dot(m.d)))

        found = _strong_wolfe(look, start, m.t, _largest(m.d), change, most)
        return found, calls

    def _flat_grad(self) -> Any:
        params = self._parameters()
        xp = namespace(params[0].device)
        dtype = wide(params[0].dtype)
        parts = [
            xp.zeros(p.size, dtype)
            if p.grad is None
            else xp.asarray(strip(p.grad.detach()), dtype).ravel()
            for p in params
        ]
        return xp.concatenate(parts)

    def _move(self, t: float) -> None:
        at = 0
        for p in self._parameters():
            raw = strip(p.detach())
            raw += t * self._memory.d[at : at + p.size].reshape(p.shape)
            p._written()
            at += p.size

    def state_dict(self) -> dict[str, Any]:
        """Settings, and what the next step goes on from, as arrays under the first parameter."""
        m = self._memory
        saved = super().state_dict()
        if m.d is None:
            return saved
        with on(self._parameters()[0].device):
            xp = namespace(self._parameters()[0].device)

            def rows(kept: list[Any]) -> Any:
                return xp.stack(kept) if kept else xp.empty((0, m.d.size), m.d.dtype)

            state = {
                "n_iter": np.array(m.n_iter),
                "func_evals": np.array(m.func_evals),
                "d": m.d,
                "t": np.array(m.t),
                "H_diag": xp.asarray(m.scale, m.d.dtype),
                "prev_flat_grad": m.prev_grad,
                "prev_loss": np.array(m.prev_loss),
                "old_dirs": rows(m.dirs),
                "old_stps": rows(m.steps),
            }
            saved["state"] = {0: {name: Array(value) for name, value in state.items()}}
        return saved

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Continue where another was.

        Raises
        ------
        ValueError
            If it is of other parameters; nothing has been changed then.
        """
        found = saved["state"].get(0)
        memory = _Memory()
        if found is not None:
            p = self._parameters()[0]
            size, dtype = sum(q.size for q in self._parameters()), wide(p.dtype)

            def there(name: str) -> Any:
                return strip(Array(found[name], dtype, device=p.device, copy=True))

            def number(name: str) -> Any:
                return np.asarray(Array(found[name]).numpy()).item()

            if np.shape(found["d"]) != (size,):
                raise ValueError(
                    f"load_state_dict: a direction of shape {np.shape(found['d'])} for parameters "
                    f"of {size} elements"
                )
            with on(p.device):
                dirs, steps = list(there("old_dirs")), list(there("old_stps"))
                memory = _Memory(
                    n_iter=number("n_iter"),
                    func_evals=number("func_evals"),
                    d=there("d"),
                    t=number("t"),
                    scale=there("H_diag"),
                    prev_grad=there("prev_flat_grad"),
                    prev_loss=number("prev_loss"),
                    dirs=dirs,
                    steps=steps,
                    ro=[1 / y.dot(s) for y, s in zip(dirs, steps, strict=True)],
                )
        super().load_state_dict({**saved, "state": {}})
        self._memory = memory


def _value(loss: Any) -> float:
    return float(loss.item() if isinstance(loss, Array) else loss)


def _largest(vector: Any) -> float:
    return float(abs(vector).max()) if vector.size else 0.0


def _strong_wolfe(
    look: Callable[[float], _Point],
    start: _Point,
    t: float,
    longest: float,
    change: float,
    most: int,
    c1: float = 1e-4,
    c2: float = 0.9,
) -> _Point:
    """A point with enough descent, and little slope left; else the best in ``most`` more looks."""

    def high(p: _Point) -> bool:
        return p.loss > start.loss + c1 * p.t * start.slope

    def flat(p: _Point) -> bool:
        return abs(p.slope) <= -c2 * start.slope

    # Longer and longer steps, until one is good or a good one lies between the last two.
    before, new, count = start, look(t), 0
    ends = [start, new]
    while count < most:
        if high(new) or (count > 1 and new.loss >= before.loss):
            ends = [before, new]
            break
        if flat(new):
            return new
        if new.slope >= 0:
            ends = [before, new]
            break
        bounds = new.t + 0.01 * (new.t - before.t), 10 * new.t
        before, new = new, look(_cubic(before, new, *bounds))
        count += 1
        ends = [start, new]

    # Smaller and smaller brackets around it.
    low = 0 if ends[0].loss <= ends[1].loss else 1
    stuck = False
    while count < most and abs(ends[1].t - ends[0].t) * longest >= change:
        left, right = sorted((ends[0].t, ends[1].t))
        t = _cubic(ends[0], ends[1], left, right)
        margin = 0.1 * (right - left)
        if min(right - t, t - left) >= margin:
            stuck = False
        elif stuck or not left < t < right:  # twice close to an end, or at it: well inside
            t = right - margin if abs(t - right) < abs(t - left) else left + margin
            stuck = False
        else:
            stuck = True
        new = look(t)
        count += 1
        if high(new) or new.loss >= ends[low].loss:
            ends[1 - low] = new
            low = 0 if ends[0].loss <= ends[1].loss else 1
            continue
        if flat(new):
            return new
        if new.slope * (ends[1 - low].t - ends[low].t) >= 0:
            ends[1 - low] = ends[low]
        ends[low] = new
    return ends[low]


def _cubic(a: _Point, b: _Point, least: float, most: float) -> float:
    """Where the cubic through both points, with their slopes, is least within these bounds."""
    d = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t)
    square = d * d - a.slope * b.slope
    if not square >= 0:
        return (least + most) / 2
    root = math.sqrt(square)
    if a.t <= b.t:
        t = b.t - (b.t - a.t) * ((b.slope + root - d) / (b.slope - a.slope + 2 * root))
    else:
        t = a.t - (a.t - b.t) * ((a.slope + root - d) / (a.slope - b.slope + 2 * root))
    return min(max(t, least), most)
