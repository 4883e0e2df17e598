"""What optimizers share: parameter groups, state, and a step in one launch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import Any, ClassVar

import numpy as np
import optree

from gpugrad.array import Array
from gpugrad.core.box import strip
from gpugrad.device import device_of, namespace, on
from gpugrad.kernels.average import find_norm
from gpugrad.kernels.many import wide
from gpugrad.nn.module import forget
from gpugrad.ops.creation import raw_of

Group = dict[str, Any]


class Optimizer:
    """The base of optimizers, with the methods of PyTorch's.

    Gradients come from ``.grad`` of the parameters, filled by ``backward()``, or as the pytree
    that `gpugrad.grad` returned for the same parameters. The parameters change in place, all of a
    group by one kernel launch.

    Parameters
    ----------
    params : iterable of Array, or of dict
        The parameters, or groups of them with settings of their own: ``{"params": [...],
        "lr": 0.1}``.
    defaults : dict
        The settings of groups that do not name them.
    """

    _slots: ClassVar[tuple[str, ...]] = ()
    """The names of the states that every parameter has."""

    def __init__(self, params: Iterable[Any], defaults: Mapping[str, Any]) -> None:
        self.defaults = dict(defaults)
        self.param_groups: list[Group] = []
        self.state: dict[int, dict[str, Any]] = {}  # by the parameter's id
        self.summary: Any = None
        """Of the last step that clipped or divided, raw: the norm, and 1 if it was not finite."""
        given = list(params)
        if not given:
            raise ValueError(f"{type(self).__name__}: no parameters were given")
        for group in given if isinstance(given[0], dict) else [{"params": given}]:
            self.add_param_group(group)

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Train more parameters, with the settings of ``group`` or else the defaults.

        Raises
        ------
        TypeError
            For what is no array, or has no floating-point elements.
        ValueError
            For a parameter that is already trained, and settings that do not exist.
        """
        unknown = sorted(group.keys() - self.defaults.keys() - {"params", "initial_lr"})
        if unknown:
            raise ValueError(f"{type(self).__name__}: no settings {unknown} exist")
        self._check({**self.defaults, **group})
        params = group["params"]
        params = [params] if isinstance(params, Array) else list(params)
        known = {id(p) for g in self.param_groups for p in g["params"]}
        for p in params:
            if not isinstance(p, Array) or p.dtype.kind not in "fV":
                what = f"an Array of {p.dtype}" if isinstance(p, Array) else type(p).__name__
                raise TypeError(
                    f"{type(self).__name__}: parameters are Arrays of floating-point numbers, "
                    f"got {what}"
                )
            if id(p) in known:
                raise ValueError(f"{type(self).__name__}: a parameter is given twice")
            known.add(id(p))
        for p in params:
            if isinstance(p._value, np.generic):  # a scalar cannot change in place
                p._value = np.array(p._value)
        self.param_groups.append({**self.defaults, **group, "params": params})

    def _check(self, settings: Mapping[str, Any]) -> None:
        name = type(self).__name__
        for key in ("lr", "eps", "weight_decay", "momentum"):
            value: Any = settings.get(key, 0)
            if isinstance(value, Real):
                if not float(value) >= 0:
                    raise ValueError(f"{name}: {key} is not negative, got {value}")
            elif key != "eps" and getattr(value, "size", 0) != 1:  # Adafactor's eps is a pair
                raise TypeError(
                    f"{name}: {key} is a number or an array of one element, got {value!r}"
                )
        if any(not 0 <= beta < 1 for beta in settings.get("betas", ())):
            raise ValueError(f"{name}: betas are from 0 to less than 1, got {settings['betas']}")

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or set them to zeros."""
        forget(self._parameters(), set_to_none)

    def step(
        self, grads: Any = None, *, max_norm: float | None = None, unscale: Any = None
    ) -> None:
        """Change every parameter that has a gradient.

        Parameters
        ----------
        grads : pytree of arrays, optional
            The gradients, in the order of the parameters, instead of their ``.grad``: what
            ``gg.grad(loss)(model)`` gave for an optimizer of ``model.parameters()``.
        max_norm : float, optional
            Scale the gradients, all together, to at most this norm, inside the step, as
            `clip_grad_norm_` does: from 0 on, and a gradient that is not finite makes NaN.
        unscale : number or array of one element, optional
            The loss scale, by which gradients are divided. The step of a group is left out if one
            of its gradients is not finite; this is decided on the device.

        Raises
        ------
        ValueError
            If there are not as many gradients as parameters, or a shape, dtype or device differs;
            nothing has been changed then.
        """
        ready = [(group, *self._gradients(group, at)) for group, at in self._matched(grads)]
        common: dict[str, Any] = {}
        if max_norm is not None or unscale is not None:
            common = {"limit": max_norm, "unscale": strip(unscale)}
            common["summary"] = self.summary = _summary(
                [(p, g) for _, *both in ready for p, g in zip(*both)]
            )
            if unscale is not None:
                common["skip"] = self.summary[1:]
        for group, params, raw in ready:
            for cohort in self._cohorts(group, params):
                chosen = [params[i] for i in cohort]
                self._step_together(group, chosen, [raw[i] for i in cohort], common)

    def _matched(self, grads: Any) -> list[tuple[Group, list[Any]]]:
        """Each group with a gradient or None for each parameter."""
        groups = self.param_groups
        if grads is None:
            return [(g, [p.grad for p in g["params"]]) for g in groups]
        listed = getattr(grads, "parameters", None)
        flat = list(listed() if callable(listed) else optree.tree_leaves(grads))
        want = sum(len(g["params"]) for g in groups)
        if len(flat) != want:
            raise ValueError(
                f"{type(self).__name__}.step: {len(flat)} gradients for {want} parameters"
            )
        out = []
        for g in groups:
            out.append((g, flat[: len(g["params"])]))
            flat = flat[len(g["params"]) :]
        return out

    def _gradients(self, group: Group, grads: Sequence[Any]) -> tuple[list[Array], list[Any]]:
        """The parameters that have a gradient, and these, raw."""
        params, raw = [], []
        for p, g in zip(group["params"], grads, strict=True):
            if g is None:
                continue
            boxed = g if isinstance(g, Array) else Array(g)
            value = boxed._value if boxed._trace is None else strip(boxed.detach())
            own = raw_of(p)
            like = (value.shape, value.dtype, device_of(value))
            if like != (own.shape, own.dtype, device_of(own)):
                raise ValueError(
                    f"{type(self).__name__}.step: a gradient {boxed.dtype}{boxed.shape} on "
                    f"{boxed.device} for a parameter {p.dtype}{p.shape} on {p.device}"
                )
            params.append(p)
            # NumPy's arithmetic makes scalars of arrays without axes; a kernel wants an address.
            raw.append(np.asarray(value) if isinstance(value, np.generic) else value)
        return params, raw

    def _cohorts(self, group: Group, params: Sequence[Array]) -> list[list[int]]:
        """Positions of parameters that step together: their states share one counter."""
        self._begin(group, params)
        found: dict[int, list[int]] = {}
        for i, p in enumerate(params):
            found.setdefault(id(self.state[id(p)]["step"]), []).append(i)
        for cohort in found.values():
            step = self.state[id(params[cohort[0]])]["step"]
            states = [self.state[id(p)] for p in group["params"] if id(p) in self.state]
            if sum(s["step"] is step for s in states) > len(cohort):
                # Some that shared the counter have no gradient now: they do not count this step.
                with on(params[cohort[0]].device):
                    step = step.copy()
                for i in cohort:
                    self.state[id(params[i])]["step"] = step
        return list(found.values())

    def _begin(self, group: Group, params: Sequence[Array]) -> None:
        """Make the states of parameters that have none."""
        steps: dict[Any, Any] = {}
        for p in params:
            if id(p) in self.state:
                continue
            xp = namespace(p.device)
            kind = p.device, wide(p.dtype)
            with on(p.device):
                if kind not in steps:
                    steps[kind] = xp.zeros(1, np.int64)
                start = {n: self._start(group, n, xp, p) for n in self._states_of(group, p)}
            self.state[id(p)] = {"step": steps[kind], **start}

    def _start(self, group: Group, name: str, xp: Any, p: Array) -> Any:
        """What a state is before the first step."""
        return xp.zeros(p.shape, wide(p.dtype))

    def _states(self, group: Group) -> tuple[str, ...]:
        return self._slots

    def _states_of(self, group: Group, p: Array) -> tuple[str, ...]:
        """Those of the group's states that this parameter has; the kernel gets None for others."""
        return self._states(group)

    def _step_together(
        self, group: Group, params: list[Array], grads: list[Any], common: Mapping[str, Any]
    ) -> None:
        states = [self.state[id(p)] for p in params]
        columns = {n: [s.get(n) for s in states] for n in self._states(group)}
        raw = [raw_of(p) for p in params]
        shared = {"lr": strip(group["lr"]), "maximize": group["maximize"], **common}
        with on(params[0].device):
            self._kernel(group, raw, grads, columns, states[0]["step"], shared)
        for p in params:
            p._written()

    def _kernel(
        self,
        group: Group,
        params: list[Any],
        grads: list[Any],
        states: dict[str, list[Any]],
        step: Any,
        common: dict[str, Any],
    ) -> None:
        """Take the step on raw arrays of one device, in place."""
        raise NotImplementedError

    # ----------------------------------------------------------------------------------- state

    def state_dict(self) -> dict[str, Any]:
        """Settings and states, with parameters numbered in order, as PyTorch has them.

        Returns
        -------
        dict
            ``{"state": {number: {name: Array}}, "param_groups": [settings]}``. The arrays share
            the optimizer's memory.
        """
        numbers = {id(p): n for n, p in enumerate(self._parameters())}
        groups = [
            {**group, "params": [numbers[id(p)] for p in group["params"]]}
            for group in self.param_groups
        ]
        state = {
            n: {name: Array(value) for name, value in self.state[key].items()}
            for key, n in numbers.items()
            if key in self.state
        }
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Continue where another optimizer of such parameters was.

        Raises
        ------
        ValueError
            If the groups, the states or their shapes are not those of this optimizer; nothing has
            been changed then.
        """
        counts = [len(g["params"]) for g in self.param_groups]
        given = [len(g["params"]) for g in saved["param_groups"]]
        if counts != given:
            raise ValueError(f"load_state_dict: groups of {given} parameters, expected {counts}")
        state: dict[int, dict[str, Any]] = {}
        steps: dict[Any, Any] = {}
        groups = [
            {**group, **{k: v for k, v in old.items() if k != "params"}}
            for group, old in zip(self.param_groups, saved["param_groups"], strict=True)
        ]
        numbers = {id(p): n for n, p in enumerate(self._parameters())}
        for at, group in enumerate(groups):
            for p in group["params"]:
                found = saved["state"].get(numbers[id(p)])
                if found is not None:
                    state[id(p)] = self._loaded(group, p, found, (at, steps))
        self.param_groups, self.state = groups, state

    def _loaded(
        self, group: Group, p: Array, found: Mapping[str, Any], counters: tuple[int, dict[Any, Any]]
    ) -> dict[str, Any]:
        at, steps = counters
        names = {"step", *self._states_of(group, p)}
        if found.keys() != names:
            raise ValueError(f"load_state_dict: states {sorted(found)}, expected {sorted(names)}")
        out: dict[str, Any] = {}
        xp = namespace(p.device)
        with on(p.device):
            for name in self._states_of(group, p):
                want = self._start(group, name, xp, p)
                new = Array(found[name], want.dtype, device=p.device, copy=True)
                if new.shape != want.shape:
                    raise ValueError(
                        f"load_state_dict: {name} has shape {new.shape}, expected {want.shape}"
                    )
                out[name] = strip(new)
            count = int(np.asarray(Array(found["step"]).numpy()).reshape(()))
            key = at, p.device, wide(p.dtype), count
            if key not in steps:
                steps[key] = xp.full(1, count, np.int64)
        return {"step": steps[key], **out}

    def _parameters(self) -> list[Array]:
        return [p for group in self.param_groups for p in group["params"]]


def _summary(pairs: Sequence[tuple[Array, Any]]) -> Any:
    """The norm of all gradients together, and whether an element is not finite."""
    kinds = {(p.device, wide(p.dtype)) for p, _ in pairs}
    if len(kinds) != 1:
        named = ", ".join(sorted(f"{dtype} on {where}" for where, dtype in kinds)) or "none"
        raise ValueError(
            f"step: max_norm and unscale look at all gradients together, which must be summed in "
            f"one dtype on one device; they are {named}"
        )
    ((where, dtype),) = kinds
    grads = [g for _, g in pairs]
    with on(where):
        summary = namespace(where).zeros(2, dtype)
        find_norm(grads, summary)
    return summary
