"""Steps of optimizers over any number of tensors in one launch, with `torch.optim`'s rules.

Every function updates ``params`` and the states in place, and ``step``, an int64 array of one
element that counts the steps taken. Parameters and gradients are lists of arrays, NumPy or CuPy,
of the same shapes and dtypes; states begin as zeros, of the same shapes, in float32 for float16
and bfloat16. All take these by keyword too (`Common`):

``lr``
    The learning rate: a number, or an array of one element that is read where it is.
``maximize``
    Go up the gradient.
``unscale``
    The loss scale, by which the gradients are divided: a number or an array.
``summary``
    What `gpugrad.kernels.average.average` found out of these gradients: their norm, for ``limit``.
``limit``
    With ``summary``: gradients are scaled to at most this norm, all together, after ``unscale``,
    as by ``torch.nn.utils.clip_grad_norm_``: where the norm is not finite, they become NaN or 0.
    A number from 0 on, or None for no limit.
``skip``
    An array of one element: if it is not 0, nothing is changed and the step is not counted. With
    ``summary[1:]`` a step is left out if an element of its gradients is not finite, as it is with
    a loss scale.

On CUDA nothing is copied or waited for when the arrays are where they were at the last step, and
numbers given as arrays are read by the kernel, so that a captured graph follows them.

Bytes a step must move, for N elements of ``s`` bytes with S states of ``w``: ``N*(3*s + 2*S*w)``.
It moves these, and some 100 bytes for each 4096 elements. One launch for each dtype.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict, Unpack

import numpy as np
from gpugrad.kernels.many import (
    FLOATS,
    NARROW,
    PLAIN,
    addresses,
    blocks,
    by_dtype,
    dense,
    host_layout,
    layout,
    module,
    norm_limit,
    wide,
)
from gpugrad.kernels.operands import together, writable
from gpugrad.kernels.source import C_NAMES, function


class Common(TypedDict, total=False):
    """What every step takes; the module says what each means."""

    lr: Any
    maximize: bool
    unscale: Any
    summary: Any
    limit: float | None
    skip: Any


_INT64 = np.dtype(np.int64)


def check_step(name: str, step: Any) -> None:
    """Refuse a count of steps that is none, or that may not be written to."""
    if step.dtype != _INT64 or step.size != 1:
        raise ValueError(f"step is an int64 array of one element, got {step.dtype}{step.shape}")
    writable(name, step=[step])


def check_common(name: str, common: Common) -> None:
    """Refuse options that no step has, and those that are not what they must be."""
    for option, value in common.items():
        if option not in Common.__annotations__:
            raise TypeError(f"{name}() got an unexpected keyword argument {option!r}")
        if option in ("lr", "unscale", "skip") and getattr(value, "size", 1) != 1:
            raise ValueError(
                f"{name}: {option} is a number or an array of one element, got one of {value.shape}"  # type: ignore[attr-defined]
            )
    summary = common.get("summary")
    if summary is not None and summary.shape != (2,):
        raise ValueError(f"{name}: a summary is a (2,) array, got {summary.shape}")
    if norm_limit(name, common.get("limit")) >= 0 and summary is None:
        raise ValueError(f"{name}: clipping to a limit needs the summary with the gradients' norm")


def sgd(
    params: Sequence[Any],
    grads: Sequence[Any],
    momenta: Sequence[Any] | None,
    step: Any,
    *,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    **common: Unpack[Common],
) -> None:
    """Stochastic gradient descent; ``momenta`` is None without momentum. ``lr`` is 0.001.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.kernels.optimizer import sgd
    >>> w, step = np.array([1.0, 2.0]), np.zeros(1, np.int64)
    >>> sgd([w], [np.array([1.0, -1.0])], None, step, lr=0.5)
    >>> w, step
    (array([0.5, 2.5]), array([1]))
    """
    if (momenta is None) != (momentum == 0):
        raise ValueError("sgd: momentum needs momenta to keep it in, and these need momentum")
    if nesterov and (momentum <= 0 or dampening != 0):
        raise ValueError("sgd: nesterov needs momentum and no dampening")

    def host(scale: float, rate: float, step: int) -> tuple[float, ...]:
        if momenta is None:
            return scale, rate, weight_decay
        fresh = 1.0 if step == 1 else 1 - dampening
        ahead = (momentum, 1.0) if nesterov else (1.0, 0.0)
        return scale, rate, weight_decay, momentum, fresh, *ahead

    rule = ("momentum", "Sgd<{}, true>") if momentum else ("sgd", "Sgd<{}, false>")
    states = [] if momenta is None else [momenta]
    numbers = (momentum, dampening, weight_decay, float(nesterov))
    _update("sgd", rule, params, grads, states, step, numbers, host, 1e-3, common)


def adam(
    params: Sequence[Any],
    grads: Sequence[Any],
    exp_avgs: Sequence[Any],
    exp_avg_sqs: Sequence[Any],
    step: Any,
    max_exp_avg_sqs: Sequence[Any] | None = None,
    *,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled_weight_decay: bool = False,
    **common: Unpack[Common],
) -> None:
    """Adam; AMSGrad if ``max_exp_avg_sqs`` is given. ``lr`` is 0.001.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.kernels.optimizer import adam
    >>> w, m, v = np.array([1.0, 2.0]), np.zeros(2), np.zeros(2)
    >>> adam([w], [np.array([1.0, -3.0])], [m], [v], np.zeros(1, np.int64), lr=0.1)
    >>> w.round(6)
    array([0.9, 2.1])
    """

    def host(scale: float, rate: float, step: int) -> tuple[float, ...]:
        first, second = betas
        rate_now, root = rate / (1 - first**step), (1 - second**step) ** -0.5
        decay, shrink = (
            (0.0, 1 - rate * weight_decay) if decoupled_weight_decay else (weight_decay, 1.0)
        )
        return scale, rate_now, 1 - first, second, 1 - second, root, eps, decay, shrink

    states = [exp_avgs, exp_avg_sqs]
    rule = ("adam", "Adam<{}, false>")
    if max_exp_avg_sqs is not None:
        states.append(max_exp_avg_sqs)
        rule = ("amsgrad", "Adam<{}, true>")
    numbers = (*betas, eps, weight_decay, float(decoupled_weight_decay))
    _update("adam", rule, params, grads, states, step, numbers, host, 1e-3, common)


def adamw(
    params: Sequence[Any],
    grads: Sequence[Any],
    exp_avgs: Sequence[Any],
    exp_avg_sqs: Sequence[Any],
    step: Any,
    max_exp_avg_sqs: Sequence[Any] | None = None,
    *,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 1e-2,
    **common: Unpack[Common],
) -> None:
    """Adam with weight decay apart from the gradient. ``lr`` is 0.001.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.kernels.optimizer import adamw
    >>> w, m, v = np.array([1.0, 2.0]), np.zeros(2), np.zeros(2)
    >>> step = np.zeros(1, np.int64)
    >>> adamw([w], [np.array([1.0, -3.0])], [m], [v], step, lr=0.1, weight_decay=0.5)
    >>> w.round(6)
    array([0.85, 2.  ])
    """
    check_common("adamw", common)
    adam(
        params,
        grads,
        exp_avgs,
        exp_avg_sqs,
        step,
        max_exp_avg_sqs,
        betas=betas,
        eps=eps,
        weight_decay=weight_decay,
        decoupled_weight_decay=True,
        **common,
    )


def adagrad(
    params: Sequence[Any],
    grads: Sequence[Any],
    state_sums: Sequence[Any],
    step: Any,
    *,
    lr_decay: float = 0.0,
    weight_decay: float = 0.0,
    eps: float = 1e-10,
    **common: Unpack[Common],
) -> None:
    """Adagrad; ``state_sums`` begin as the initial accumulator. ``lr`` is 0.01.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.kernels.optimizer import adagrad
    >>> w, s = np.array([1.0, 2.0]), np.zeros(2)
    >>> adagrad([w], [np.array([1.0, -3.0])], [s], np.zeros(1, np.int64), lr=0.1)
    >>> w.round(6), s
    (array([0.9, 2.1]), array([1., 9.]))
    """

    def host(scale: float, rate: float, step: int) -> tuple[float, ...]:
        return scale, rate / (1 + (step - 1) * lr_decay), eps, weight_decay

    numbers = (lr_decay, eps, weight_decay)
    rule = ("adagrad", "Adagrad<{}>")
    _update("adagrad", rule, params, grads, [state_sums], step, numbers, host, 1e-2, common)


def rmsprop(
    params: Sequence[Any],
    grads: Sequence[Any],
    square_avgs: Sequence[Any],
    step: Any,
    grad_avgs: Sequence[Any] | None = None,
    momenta: Sequence[Any] | None = None,
    *,
    alpha: float = 0.99,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    momentum: float = 0.0,
    **common: Unpack[Common],
) -> None:
    """RMSprop; centred if ``grad_avgs`` is given. ``momenta`` is None without momentum.

    ``lr`` is 0.01.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.kernels.optimizer import rmsprop
    >>> w, v = np.array([1.0, 2.0]), np.zeros(2)
    >>> rmsprop([w], [np.array([1.0, -3.0])], [v], np.zeros(1, np.int64))
    >>> w.round(6)
    array([0.9, 2.1])
    """
    if (momenta is None) != (momentum == 0):
        raise ValueError("rmsprop: momentum needs momenta to keep it in, and these need momentum")

    def host(scale: float, rate: float, step: int) -> tuple[float, ...]:
        return scale, rate, alpha, 1 - alpha, eps, weight_decay, momentum

    states = [square_avgs, *[s for s in (grad_avgs, momenta) if s is not None]]
    centered, moved = grad_avgs is not None, momenta is not None
    rows = (3 if centered else 0, len(states) + 1 if moved else 0)
    flags = f"{str(centered).lower()}, {str(moved).lower()}"
    numbers = (alpha, eps, weight_decay, momentum)
    rule = ("rmsprop", "RmsProp<{}, " + flags + ">")
    _update("rmsprop", rule, params, grads, states, step, numbers, host, 1e-2, common, rows)


def lion(
    params: Sequence[Any],
    grads: Sequence[Any],
    exp_avgs: Sequence[Any],
    step: Any,
    *,
    betas: tuple[float, float] = (0.9, 0.99),
    weight_decay: float = 0.0,
    **common: Unpack[Common],
) -> None:
    """Lion: steps by the sign of an average, with weight decay apart. ``lr`` is 0.0001.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.kernels.optimizer import lion
    >>> w, m = np.array([1.0, 2.0]), np.zeros(2)
    >>> lion([w], [np.array([1.0, -3.0])], [m], np.zeros(1, np.int64), lr=0.1)
    >>> w.round(6)
    array([0.9, 2.1])
    """

    def host(scale: float, rate: float, step: int) -> tuple[float, ...]:
        (first, second), shrink = betas, 1 - rate * weight_decay
        return scale, rate, shrink, first, 1 - first, second, 1 - second

    numbers = (*betas, weight_decay)
    rule = ("lion", "Lion<{}>")
    _update("lion", rule, params, grads, [exp_avgs], step, numbers, host, 1e-4, common)


def _update(
    name: str,
    rule: tuple[str, str],
    params: Sequence[Any],
    grads: Sequence[Any],
    states: Sequence[Sequence[Any]],
    step: Any,
    numbers: tuple[float, ...],
    host: Any,
    rate: float,
    common: Common,
    rows: tuple[int, ...] = (),
) -> None:
    lists = [a if type(a) is list else list(a) for a in (params, grads, *states)]
    check_common(name, common)
    check_step(name, step)
    if lists[0]:
        together(name, [[lists[0][0], step]])
    found = _quick(lists)
    if found is not None:
        _loop(rule[0], *found, lists[0][0].dtype, step, host, rate, common, rows)
        return
    _check(name, lists)
    if not lists[0]:
        return
    together(name, lists)
    groups = by_dtype(lists[0], "an optimizer's step")
    count = step.copy() if len(groups) > 1 else step  # each launch counts it
    for n, at in enumerate(groups):
        last = n == len(groups) - 1
        mine = [[arrays[t] for t in at] for arrays in lists]
        whole = [[dense(a) for a in arrays] for arrays in mine]
        counter = step if last else count.copy()
        if isinstance(lists[0][0], np.ndarray):
            _host(rule[0], whole, counter, host, rate, common, rows)
        else:
            _cuda(rule[1], whole, counter, numbers, rate, common)
        for k, (arrays, copies) in enumerate(zip(mine, whole)):
            for a, c in zip(arrays, copies):
                if k != 1 and a is not c:
                    a[...] = c


def _quick(lists: list[list[Any]]) -> tuple[Any, Any] | None:
    """Tables for the common case on the CPU, looked at array by array in compiled code."""
    if not lists[0] or type(lists[0][0]) is not np.ndarray:
        return None
    dtype = lists[0][0].dtype
    if dtype not in PLAIN:
        return None
    from gpugrad.kernels.cpu import headers

    found: tuple[Any, Any] | None = headers.read(lists, dtype, range(1, 2))
    return found


def _check(name: str, lists: Sequence[Sequence[Any]]) -> None:
    params = lists[0]
    for k, arrays in enumerate(lists):
        what = ("the parameters", "the gradients")[k] if k < 2 else f"state {k - 1}"
        if len(arrays) != len(params):
            raise ValueError(f"{len(params)} parameters, but {len(arrays)} arrays are {what}")
        for t, (a, p) in enumerate(zip(arrays, params)):
            dtype = p.dtype if k < 2 else wide(p.dtype)
            if a.shape != p.shape or a.dtype != dtype:
                raise ValueError(
                    f"{what}, array {t}: {a.dtype}{a.shape} beside a parameter "
                    f"{p.dtype}{p.shape}; it must be {dtype}{p.shape}"
                )
    states = {f"state {k}": arrays for k, arrays in enumerate(lists[2:], 1)}
    writable(name, parameters=params, **states)


def _number(value: Any) -> float:
    return value if type(value) is float else float(np.asarray(value).reshape(()))


def _host(
    loop: str,
    lists: list[list[Any]],
    step: Any,
    host: Any,
    rate: float,
    common: Common,
    rows: tuple[int, ...],
) -> None:
    params = lists[0]
    a = wide(params[0].dtype)
    if a != params[0].dtype:
        lists = [[x.astype(a) for x in arrays] for arrays in lists[:2]] + lists[2:]
    sizes = np.array([p.size for p in params], np.int64)
    done = _loop(loop, addresses(lists), sizes, a, step, host, rate, common, rows)
    if done and lists[0] is not params:
        for p, wider in zip(params, lists[0]):
            p[...] = wider


def _loop(
    loop: str,
    table: Any,
    sizes: Any,
    a: Any,
    step: Any,
    host: Any,
    rate: float,
    common: Common,
    rows: tuple[int, ...],
) -> bool:
    """Take the step by a table of addresses of arrays of dtype ``a``, unless it is skipped."""
    from gpugrad.kernels.cpu import optimizer as loops
    from gpugrad.kernels.cpu import threads

    scale = scale_of(common)
    if scale is None:
        return False
    number = step.item() + 1
    numbers = np.array(host(scale, _number(common.get("lr", rate)), number), a)
    places = host_layout(sizes)
    # Seen: 0.03 ns for each byte that is read or written.
    work = 0.03 * a.itemsize * (2 * len(table) - 1) * places.total
    args = (table, *places[:3], numbers, *rows)
    threads.run(getattr(loops, loop), places.chunks, work, *args)
    step.fill(number)
    return True


def scale_of(common: Common) -> float | None:
    """By what gradients on the CPU are multiplied; None: the step is skipped."""
    skip, unscale, limit = common.get("skip"), common.get("unscale"), common.get("limit")
    if skip is not None and _number(skip):
        return None
    scale = 1.0 if unscale is None else 1 / _number(unscale)
    if limit is not None:
        clip = limit / (float(common["summary"][0]) * abs(scale) + 1e-6)
        scale *= 1.0 if clip >= 1 else clip
    return -scale if common.get("maximize") else scale


def on_device(common: Common, rate: float, dtype: Any, xp: Any) -> tuple[Any, ...]:
    """The kernels' arguments from the rate to the flag that skips."""
    a = wide(dtype)

    def there(name: str) -> Any:
        value = common.get(name)
        return np.uint64(0) if value is None else xp.asarray(value, a)

    # Numbers go by value: an array of one would take a launch to make.
    lr, unscale = common.get("lr", rate), common.get("unscale")
    fixed = isinstance(lr, int | float | np.number)
    sign = np.float64(-1 if common.get("maximize") else 1)
    divided = isinstance(unscale, int | float | np.number)
    if divided:
        with np.errstate(divide="ignore"):
            sign /= np.float64(unscale)
    return (
        np.float64(lr if fixed else 0),
        np.uint64(0) if fixed else xp.asarray(lr, a),
        sign,
        np.uint64(0) if divided else there("unscale"),
        there("summary"),
        np.float64(norm_limit("step", common.get("limit"))),
        there("skip"),
    )


def _cuda(
    rule: str,
    lists: list[list[Any]],
    step: Any,
    numbers: tuple[float, ...],
    rate: float,
    common: Common,
) -> None:
    dtype = lists[0][0].dtype
    table = layout(lists[0])
    kernel = function("optimizer", expression(rule, dtype.name, len(lists) - 2))
    kernel(
        *blocks(table.chunks),
        (
            addresses(lists),
            *table[:3],
            np.int32(table.chunks),
            np.int32(len(lists[0])),
            step,
            table.ticket,
            *on_device(common, rate, dtype, module(lists[0][0])),
            *[np.float64(n) for n in (*numbers, 0, 0, 0, 0, 0)[:5]],
        ),
    )


def expression(rule: str, dtype: str, states: int) -> str:
    """The kernel's name for a rule, such as ``Lion<{}>``, a dtype and how many states it has.

    Loads are of 16 bytes, of 8 for what is narrower than its states, for float64 with two states
    or more of 8 too, where the registers would not do.
    """
    a, width = ("double", 2 if states < 2 else 1) if dtype == "float64" else ("float", 4)
    if states == 0 and dtype in NARROW:
        width = 8
    return f"update<{rule.format(a)}, {C_NAMES[dtype]}, {width}>"


RULES = {
    "Sgd<{}, false>": 0,
    "Sgd<{}, true>": 1,
    "Adam<{}, false>": 2,
    "Adam<{}, true>": 3,
    "Adagrad<{}>": 1,
    "RmsProp<{}, false, false>": 1,
    "RmsProp<{}, true, true>": 3,
    "Lion<{}>": 1,
}

VARIANTS = [
    *[expression(rule, dtype, n) for rule, n in RULES.items() for dtype in FLOATS],
    *[f"adafactor<{C_NAMES[dtype]}>" for dtype in FLOATS],
]
"""The kernels that the report compiles."""
