"""``scipy.integrate.odeint``, differentiable in the start, the times and the arguments.

On the CPU an equation is solved by SciPy's LSODA, which copes with stiff ones; on CUDA by an
adaptive Runge-Kutta method of order 5 in array code. Derivatives are solutions of equations too:
the gradient of the adjoint equation, backward in time from each output time to the one before
(Chen et al. 2018, "Neural ordinary differential equations"), a directional derivative of the
equation of sensitivities. So derivatives of every order exist, in every mode, and memory does not
grow with the number of steps. Each is as exact as ``rtol`` and ``atol`` make its own solution:
with the defaults, about 1e-7.

The adjoint equation needs the state again, which is solved backward from each output time. Where
the solution soon forgets its start, as that of a stiff equation does, going back is unstable:
give more output times, or differentiate forward (`gpugrad.jvp`), which is as stable as the
solution itself.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from gpugrad.core.abstract import ShapeDtype, shape_dtype
from gpugrad.core.box import Box, any_box, strip
from gpugrad.core.primitive import Primitive
from gpugrad.device import common_device, device_of, is_cuda, namespace, on, to_device
from gpugrad.ops.broadcast import unbroadcast
from gpugrad.ops.cast import cast, is_inexact
from gpugrad.ops.creation import raw_of, zeros_near
from gpugrad.ops.indexing import getitem
from gpugrad.ops.join import concatenate, stack
from gpugrad.ops.shape import moveaxis, ravel, reshape
from gpugrad.transforms.batch import vmap
from gpugrad.transforms.forward import jvp
from gpugrad.transforms.kinds import flatten, spread, unflatten
from gpugrad.transforms.reverse import vjp

__all__ = ["odeint"]


class _System(NamedTuple):
    """An equation ``dy/dt = slope(y, t, arguments)`` for a vector ``y``, and how to solve it."""

    slope: Callable[[Any, Any, Sequence[Any]], Any]
    rtol: float
    atol: float
    steps: int

    def of(self, slope: Callable[[Any, Any, Sequence[Any]], Any]) -> _System:
        return self._replace(slope=slope)


def odeint(
    func: Callable[..., Any],
    y0: Any,
    t: Any,
    args: tuple[Any, ...] = (),
    *,
    rtol: float | None = None,
    atol: float | None = None,
    mxstep: int = 0,
    tfirst: bool = False,
    **others: Any,
) -> Any:
    """Solve ``dy/dt = func(y, t, *args)`` from ``y0`` at ``t[0]``, and give ``y`` at each ``t``.

    Parameters
    ----------
    func
        Returns the slope: an array or a pytree like ``y0``, or for a vector ``y0`` a list of its
        elements. It is called with raw arrays, and with arrays that are being differentiated or
        mapped: arrays that gradients are wanted for are passed in ``args``, not closed over.
    y0
        The start: an array, a list of numbers, or a pytree of arrays.
    t
        The times, ascending or descending; the first one belongs to ``y0``. A list of numbers, or
        a NumPy array, may stand beside a ``y0`` on CUDA.
    args
        Further arguments of ``func``: arrays, or pytrees of arrays.
    rtol, atol
        Bounds for the relative and the absolute error of a step, by default 1.49e-8 as in SciPy.
    mxstep
        How many steps there may be from one time to the next; 0: 500 for LSODA, as in SciPy, and
        10,000 on CUDA.
    tfirst
        ``func`` takes the time first: ``func(t, y, *args)``.

    Returns
    -------
    array or pytree
        Like ``y0``, with a leading axis for the times.

    Raises
    ------
    RuntimeError
        If the solver gives up.

    Examples
    --------
    >>> import gpugrad as gg, numpy as np
    >>> from gpugrad.scipy.integrate import odeint
    >>> def decay(y, t, rate):
    ...     return -rate * y
    >>> def left(rate):
    ...     return odeint(decay, np.array([1.0]), np.array([0.0, 2.0]), (rate,))[-1, 0]
    >>> round(float(gg.grad(left)(0.5)), 6)  # -2 exp(-2 rate)
    -0.735759
    """
    if others:
        raise TypeError(
            f"odeint: {', '.join(others)}= is not supported in gpugrad: it takes rtol, atol, "
            "mxstep and tfirst. For SciPy's others call scipy.integrate.odeint, without derivatives"
        )
    loose: list[Any] = []  # what has no device of its own
    if isinstance(y0, list | tuple) and all(shape_dtype(v).shape == () for v in y0):
        y0 = _gathered(y0)
        loose = [y0]
    leaves, tree = flatten(y0)
    likes = [shape_dtype(v) for v in leaves]
    if any(v.dtype.kind == "c" for v in likes):
        raise TypeError("odeint: y0 is complex; solve for its real and imaginary parts instead")
    t = t if hasattr(t, "shape") else _gathered(t)
    inputs, shape = flatten(tuple(args))
    loose.append(t)
    held = [v for v in (*leaves, t, *inputs) if not (_on_host(v) and any(v is a for a in loose))]
    where = common_device([raw_of(v) for v in held if hasattr(raw_of(v), "dtype")], "odeint")
    dtype = np.result_type(*[v.dtype if is_inexact(v.dtype) else float for v in likes])
    vector = _vector(leaves, dtype, where)
    # Numbers that are being differentiated become arrays on the device.
    at = [i for i, v in enumerate(inputs) if hasattr(v, "dtype")]
    operands = [
        inputs[i] + zeros_near([vector], (), dtype)
        if shape_dtype(raw_of(inputs[i])).weak
        else inputs[i]
        for i in at
    ]

    def slope(y: Any, s: Any, operands: Sequence[Any]) -> Any:
        full = list(inputs)
        for i, v in zip(at, operands, strict=True):
            full[i] = v
        state = unflatten(tree, _parts(y, likes))
        rest = unflatten(shape, full)
        out = func(s, state, *rest) if tfirst else func(state, s, *rest)
        if isinstance(out, list | tuple) and hasattr(state, "shape"):
            out = _gathered(out)
        given, got = flatten(out)
        if got != tree or sum(shape_dtype(v).size for v in given) != shape_dtype(y).size:
            raise ValueError(
                f"odeint: func returned {[shape_dtype(v).shape for v in given]} for a state of "
                f"shapes {[v.shape for v in likes]}: the slope must look like y0"
            )
        return _vector(given, dtype, where)

    system = _System(
        slope,
        1.49012e-8 if rtol is None else float(rtol),
        1.49012e-8 if atol is None else float(atol),
        int(mxstep),
    )
    if not is_inexact(shape_dtype(t).dtype):
        t = cast(t, float)
    y = odeint_p(vector, _placed(t, where), *operands, system=system)
    parts = _parts(y, likes)
    return unflatten(tree, parts)


def _gathered(items: Any) -> Any:
    """A list of numbers and arrays as one array."""
    loose = [v for v in items if hasattr(v, "dtype")]
    return stack(list(items)) if loose else np.asarray(items, float)


def _on_host(value: Any) -> bool:
    return not isinstance(value, Box) and not is_cuda(value)


def _placed(value: Any, where: Any) -> Any:
    """A host array that has come from numbers, on the device of the others."""
    return to_device(value, where) if _on_host(value) else value


def _vector(leaves: Sequence[Any], dtype: Any, where: Any) -> Any:
    """All elements, one after another."""
    parts = [
        cast(ravel(_placed(v if hasattr(v, "dtype") else np.asarray(v), where)), dtype)
        for v in leaves
    ]
    return parts[0] if len(parts) == 1 else concatenate(parts)


def _parts(y: Any, likes: Sequence[ShapeDtype]) -> list[Any]:
    """The arrays that the last axis of ``y`` holds one after another."""
    lead = shape_dtype(y).shape[:-1]
    if len(likes) == 1:
        return [y if not lead and likes[0].ndim == 1 else reshape(y, (*lead, *likes[0].shape))]
    out, start = [], 0
    for like in likes:
        piece = getitem(y, (..., slice(start, start + like.size)))
        out.append(reshape(piece, (*lead, *like.shape)))
        start += like.size
    return out


class _Odeint(Primitive):
    """Solves the equation of the call; what ``func`` raises is raised as it is."""

    __slots__ = ()

    def evaluate(self, values: Sequence[Any], params: dict[str, Any]) -> Any:
        if any_box(values):
            return self(*values, **params)
        y0, t, *operands = values
        system: _System = params["system"]
        where = device_of(y0)

        def slope(y: Any, s: float) -> Any:
            out = strip(system.slope(y, s, operands))
            if isinstance(out, Box):
                raise TypeError(
                    "odeint: func closes over an array that is being differentiated or mapped: "
                    "pass it in args, odeint(func, y0, t, args=(x,))"
                )
            return out

        with on(where):
            if where.kind == "cpu":
                return _lsoda(slope, y0, t, system)
            from gpugrad.scipy.dormand_prince import solve

            floor = 20 * float(np.finfo(y0.dtype).eps)
            rtol, steps = max(system.rtol, floor), system.steps or 10_000
            return solve(
                namespace(where), slope, y0, t.tolist(), rtol, max(system.atol, floor * 1e-3), steps
            )

    record = evaluate


_NOTHING_TO_DO = "Nothing was done; the integration time was 0."


def _lsoda(slope: Callable[[Any, float], Any], y0: Any, t: Any, system: _System) -> Any:
    from scipy.integrate import ODEintWarning
    from scipy.integrate import odeint as theirs

    if not y0.size:
        return np.zeros((len(t), 0), y0.dtype)
    failed: list[BaseException] = []

    def guarded(y: Any, s: float) -> Any:
        try:
            return slope(y.astype(y0.dtype, copy=False), s)
        except BaseException as error:  # LSODA would go on
            failed.append(error)
            raise

    tolerances = {"rtol": system.rtol, "atol": system.atol, "mxstep": system.steps}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ODEintWarning)  # an error says it below
        out, about = theirs(guarded, y0, t, full_output=True, **tolerances)
    if failed:
        raise failed[0]
    # At one time, or at the same one again, there is nothing to do.
    if about["message"] not in ("Integration successful.", _NOTHING_TO_DO):
        raise RuntimeError(
            f"odeint stopped: {about['message']} Raise mxstep, loosen rtol and atol, or look at "
            "the slope that func gives"
        )
    return out.astype(y0.dtype, copy=False)


def _slopes(system: _System, y: Any, t: Any, operands: Sequence[Any]) -> list[Any]:
    """The slope at each output time."""
    count = shape_dtype(t).shape[0]
    return [system.slope(getitem(y, i), getitem(t, i), operands) for i in range(count)]


def _pull(g: Any, xs: Sequence[Any], y: Any, needs: Sequence[bool], system: _System) -> list[Any]:
    """Backward in time: ``dw/dt = -w df/dy`` for the cotangent, ``-w df/dx`` for arguments."""
    _, t, *operands = xs
    n = shape_dtype(y).shape[1]
    moving = [i for i, need in enumerate(needs[2:]) if need]
    likes = [shape_dtype(operands[i]) for i in moving]
    dtype = shape_dtype(y).dtype

    def slope(state: Any, s: Any, operands: Sequence[Any]) -> Any:
        w = getitem(state, slice(n, 2 * n))

        def of(y: Any, *chosen: Any) -> Any:
            full = list(operands)
            for i, v in zip(moving, chosen, strict=True):
                full[i] = v
            return system.slope(y, s, full)

        out, pull = vjp(of, getitem(state, slice(0, n)), *[operands[i] for i in moving])
        return concatenate([out, *[-cast(ravel(v), dtype) for v in pull(w)]])

    adjoint = system.of(slope)
    count = shape_dtype(t).shape[0]
    w = getitem(g, count - 1)
    rest = zeros_near([y], (sum(v.size for v in likes),), dtype)
    for i in range(count - 1, 0, -1):
        start = concatenate([getitem(y, i), w, rest])
        span = getitem(t, slice(i, i - 2 if i > 1 else None, -1))
        back = getitem(odeint_p(start, span, *operands, system=adjoint), 1)
        w, rest = getitem(back, slice(n, 2 * n)), getitem(back, slice(2 * n, None))
        if i > 1:
            w = w + getitem(g, i - 1)
    out: list[Any] = [w if count == 1 else w + getitem(g, 0), None]
    if needs[1]:
        slopes = _slopes(system, y, t, operands)
        times = [(s * getitem(g, i)).sum() for i, s in enumerate(slopes)]
        # A later start is the start moved back along the slope.
        times[0] = -(slopes[0] * w).sum() if count > 1 else times[0] * 0
        out[1] = cast(stack(times), shape_dtype(t).dtype)
    pieces = _parts(rest, likes) if likes else []
    pieces = [unbroadcast(reshape(p, v.shape), v) for p, v in zip(pieces, likes, strict=True)]
    return [*out, *spread(moving, pieces, len(operands))]


def _push(ts: Sequence[Any], xs: Sequence[Any], y: Any, system: _System) -> Any:
    """The sensitivities: ``ds/dt = (df/dy) s + (df/dx) dx`` beside the equation itself."""
    y0, t, *operands = xs
    ty, tt, *rest = ts
    n = shape_dtype(y).shape[1]
    moving = [i for i, v in enumerate(rest) if v is not None]
    given = len(operands)

    def slope(state: Any, s: Any, both: Sequence[Any]) -> Any:
        operands, tangents = both[:given], both[given:]

        def of(y: Any, *chosen: Any) -> Any:
            full = list(operands)
            for i, v in zip(moving, chosen, strict=True):
                full[i] = v
            return system.slope(y, s, full)

        y, v = getitem(state, slice(0, n)), getitem(state, slice(n, 2 * n))
        out, t = jvp(of, (y, *[operands[i] for i in moving]), (v, *tangents))
        return concatenate([out, t])

    start = zeros_near([y0], (n,), shape_dtype(y0).dtype) if ty is None else ty
    slopes = None if tt is None else _slopes(system, y, t, operands)
    if slopes is not None:
        start = start - slopes[0] * getitem(tt, 0)
    both = [*operands, *[rest[i] for i in moving]]
    out = odeint_p(concatenate([y0, start]), t, *both, system=system.of(slope))
    pushed = getitem(out, (slice(None), slice(n, 2 * n)))
    if slopes is not None:
        pushed = pushed + stack(slopes) * reshape(tt, (-1, 1))
    return cast(pushed, shape_dtype(y).dtype)


def _batch(
    primitive: Primitive, size: int, batched: Sequence[bool], values: Any, params: Any
) -> Any:
    """One equation for all examples, whose states stand one after another."""
    y0, t, *operands = values
    system: _System = params["system"]
    if batched[1]:  # each example has times of its own
        rows = [
            [getitem(v, i) if mine else v for v, mine in zip(values, batched, strict=True)]
            for i in range(size)
        ]
        return stack([primitive(*row, **params) for row in rows])
    if not batched[0]:
        y0 = stack([y0] * size)
    axes = tuple(0 if mine else None for mine in batched[2:])
    n = y0.shape[1]

    def slope(state: Any, s: Any, operands: Sequence[Any]) -> Any:
        def of(y: Any, *operands: Any) -> Any:
            return system.slope(y, s, operands)

        return ravel(vmap(of, (0, *axes))(reshape(state, (size, n)), *operands))

    out = primitive(ravel(y0), t, *operands, system=system.of(slope))
    return moveaxis(reshape(out, (shape_dtype(t).shape[0], size, n)), 0, 1)


odeint_p: Primitive = _Odeint(
    "odeint",
    lambda xp: None,
    "*xs",
    shape=lambda y0, t, *xs, system: ShapeDtype((*t.shape, *y0.shape), y0.dtype),
    joint_vjp=_pull,
    joint_jvp=_push,
    batch=_batch,
)
