"""Schedules of the learning rate, with PyTorch's names.

A schedule sets ``lr`` of each parameter group; ``step()`` is called once an epoch, or once a
training step, after the optimizer's. Each but `ReduceLROnPlateau` is a formula of the number of
calls: resuming at any number gives the same rates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from gpugrad.optim.optimizer import Optimizer


class Schedule:
    """The base of schedules: the learning rate by the number of steps, and by the first one.

    A parameter group that comes later joins at the next `step`, where the others are then.

    Parameters
    ----------
    optimizer : Optimizer
        Whose learning rates are set, at once and at each `step`.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.last_epoch = 0
        self._set()

    def rate(self, t: int, initial: float) -> float:
        """The learning rate after ``t`` steps; each schedule defines it, or `rates`."""
        raise NotImplementedError(f"{type(self).__name__} defines no rate")

    def rates(self, t: int, initial: Sequence[float]) -> list[float]:
        """The learning rates of all groups after ``t`` steps."""
        return [self.rate(t, first) for first in initial]

    def get_last_lr(self) -> list[float]:
        """The groups' learning rates now."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def step(self) -> None:
        """Go on by one."""
        self.last_epoch += 1
        self._set()

    def _set(self) -> None:
        groups = self.optimizer.param_groups
        for group in groups:
            group.setdefault("initial_lr", group["lr"])
        initial = [group["initial_lr"] for group in groups]
        for group, lr in zip(groups, self.rates(self.last_epoch, initial), strict=True):
            group["lr"] = lr
        self._set_others(self.last_epoch)

    def _set_others(self, t: int) -> None:
        """Set what else of the groups changes with the steps."""

    def state_dict(self) -> dict[str, Any]:
        """Where it is."""
        return {"last_epoch": self.last_epoch}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go where another such schedule was."""
        self.last_epoch = int(state["last_epoch"])
        self._set()


def _each(what: str, optimizer: Optimizer, name: str, value: Any) -> list[Any]:
    """A setting for each parameter group, where one stands for all."""
    count = len(optimizer.param_groups)
    if not isinstance(value, list | tuple):
        return [value] * count
    if len(value) != count:
        raise ValueError(
            f"{what}: {len(value)} values of {name} for {count} parameter groups; give one for "
            "each, or one for all"
        )
    return list(value)


class LambdaLR(Schedule):
    """``lr_lambda(t)`` times the first learning rate.

    Parameters
    ----------
    optimizer : Optimizer
        Whose learning rates are set.
    lr_lambda : callable or list of callable
        One for all parameter groups, or one for each.

    Examples
    --------
    >>> import numpy as np, gpugrad as gg
    >>> optimizer = gg.optim.SGD([gg.Array(np.ones(2))], lr=0.8)
    >>> schedule = gg.optim.LambdaLR(optimizer, lambda t: 0.5**t)
    >>> schedule.step()
    >>> schedule.get_last_lr()
    [0.4]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
    ) -> None:
        self.lr_lambda = lr_lambda
        super().__init__(optimizer)

    def rates(self, t: int, initial: Sequence[float]) -> list[float]:
        factors = _each("LambdaLR", self.optimizer, "lr_lambda", self.lr_lambda)
        return [first * f(t) for first, f in zip(initial, factors, strict=True)]


class StepLR(Schedule):
    """Times ``gamma`` every ``step_size`` steps."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer)

    def rate(self, t: int, initial: float) -> float:
        return initial * self.gamma ** (t // self.step_size)


class MultiStepLR(Schedule):
    """Times ``gamma`` at each of the ``milestones``."""

    def __init__(self, optimizer: Optimizer, milestones: Sequence[int], gamma: float = 0.1) -> None:
        self.milestones = sorted(milestones)
        self.gamma = gamma
        super().__init__(optimizer)

    def rate(self, t: int, initial: float) -> float:
        return initial * self.gamma ** sum(t >= m for m in self.milestones)


class ExponentialLR(Schedule):
    """Times ``gamma`` at each step."""

    def __init__(self, optimizer: Optimizer, gamma: float) -> None:
        self.gamma = gamma
        super().__init__(optimizer)

    def rate(self, t: int, initial: float) -> float:
        return initial * self.gamma**t


class LinearLR(Schedule):
    """From ``start_factor`` to ``end_factor`` over ``total_iters`` steps: a warm-up."""

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
    ) -> None:
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = total_iters
        super().__init__(optimizer)

    def rate(self, t: int, initial: float) -> float:
        done = min(t / self.total_iters, 1)
        return initial * (self.start_factor + (self.end_factor - self.start_factor) * done)


class CosineAnnealingLR(Schedule):
    """Half a cosine from the first learning rate to ``eta_min`` over ``T_max`` steps.

    ``eta_min + (initial - eta_min) (1 + cos(pi t / T_max)) / 2`` (Loshchilov & Hutter 2017).
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0) -> None:
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer)

    def rate(self, t: int, initial: float) -> float:
        return self.eta_min + _cosine(initial - self.eta_min, 0.0, t / self.T_max)


class OneCycleLR(Schedule):
    """Up from ``max_lr / div_factor`` to ``max_lr``, then down (Smith & Topin 2018).

    Parameters
    ----------
    optimizer : Optimizer
        Whose learning rates are set.
    max_lr : float or list of float
        The largest, of all parameter groups or of each.
    total_steps : int, optional
        How often `step` may be called; else ``epochs * steps_per_epoch``.
    epochs, steps_per_epoch : int, optional
        In place of ``total_steps``.
    pct_start : float
        The part of the steps that go up, from 0 to 1.
    anneal_strategy : {"cos", "linear"}
        The shape of the parts.
    cycle_momentum : bool
        Whether momentum (of Adam the first of the betas) goes the other way.
    base_momentum, max_momentum : float or list of float
        The least momentum, where the rate is largest, and the largest.
    div_factor, final_div_factor : float
        The first is ``max_lr / div_factor``, the last ``final_div_factor`` times smaller yet.
    three_phase : bool
        Whether it goes down to the first rate in as many steps as up, and only then to the last.

    Examples
    --------
    >>> import numpy as np, gpugrad as gg
    >>> optimizer = gg.optim.Adam([gg.Array(np.zeros(2), requires_grad=True)])
    >>> schedule = gg.optim.OneCycleLR(optimizer, max_lr=0.5, total_steps=4, pct_start=0.5)
    >>> for _ in range(2):
    ...     print(f"{schedule.get_last_lr()[0]:.3f}")
    ...     schedule.step()
    0.020
    0.500
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: Literal["cos", "linear"] = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.85,
        max_momentum: float | Sequence[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
    ) -> None:
        if anneal_strategy not in _SHAPES:
            raise ValueError(f"OneCycleLR: anneal_strategy={anneal_strategy!r} is no shape")
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError("OneCycleLR: give total_steps, or epochs and steps_per_epoch")
            total_steps = epochs * steps_per_epoch
        if total_steps <= 0:
            raise ValueError(f"OneCycleLR: total_steps is more than 0, got {total_steps}")
        if not 0 <= pct_start <= 1:
            raise ValueError(f"OneCycleLR: pct_start is from 0 to 1, got {pct_start}")
        groups = optimizer.param_groups
        if cycle_momentum and not all("betas" in g or "momentum" in g for g in groups):
            raise ValueError(
                f"OneCycleLR: {type(optimizer).__name__} has no momentum; give cycle_momentum=False"
            )
        self.max_lr = max_lr
        self.base_momentum, self.max_momentum = base_momentum, max_momentum
        self.div_factor, self.final_div_factor = div_factor, final_div_factor
        self.total_steps = total_steps
        self.between = _SHAPES[anneal_strategy]
        self.cycle_momentum = cycle_momentum
        top, end = pct_start * total_steps - 1, total_steps - 1
        # Each part: its last step, and whether rates are first, max or last at its start and end.
        if three_phase:
            self.parts = [(top, 0, 1), (2 * top, 1, 0), (end, 0, 2)]
        else:
            self.parts = [(top, 0, 1), (end, 1, 2)]
        super().__init__(optimizer)

    def _at(self, t: int) -> tuple[int, int, float]:
        """Where the part of step ``t`` starts and ends, and how much of it is done."""
        if t > self.total_steps:
            raise ValueError(f"OneCycleLR: step {t} of a schedule of {self.total_steps} steps")
        start = 0.0
        part, *later = self.parts
        while later and t > part[0]:
            start = part[0]
            part, *later = later
        end, a, b = part
        return a, b, (t - start) / (end - start) if end > start else 1.0

    def rates(self, t: int, initial: Sequence[float]) -> list[float]:
        a, b, done = self._at(t)
        rates = []
        for top in _each("OneCycleLR", self.optimizer, "max_lr", self.max_lr):
            first = top / self.div_factor
            places = first, top, first / self.final_div_factor
            rates.append(self.between(places[a], places[b], done))
        return rates

    def _set_others(self, t: int) -> None:
        if not self.cycle_momentum:
            return
        a, b, done = self._at(t)
        low = _each("OneCycleLR", self.optimizer, "base_momentum", self.base_momentum)
        high = _each("OneCycleLR", self.optimizer, "max_momentum", self.max_momentum)
        for group, *ends in zip(self.optimizer.param_groups, high, low, high, strict=True):
            momentum = self.between(ends[a], ends[b], done)
            if "betas" in group:
                group["betas"] = (momentum, *group["betas"][1:])
            else:
                group["momentum"] = momentum


class SequentialLR(Schedule):
    """One schedule after another; each begins at 0 when its turn comes.

    Parameters
    ----------
    optimizer : Optimizer
        The one of all ``schedulers``.
    schedulers : sequence of Schedule
        The parts.
    milestones : sequence of int
        When the second, the third, ... begins.
    """

    def __init__(
        self, optimizer: Optimizer, schedulers: Sequence[Schedule], milestones: Sequence[int]
    ) -> None:
        if len(milestones) != len(schedulers) - 1:
            raise ValueError(
                f"SequentialLR: {len(schedulers)} schedules need {len(schedulers) - 1} "
                f"milestones, got {len(milestones)}"
            )
        self.schedulers = list(schedulers)
        self.milestones = list(milestones)
        super().__init__(optimizer)

    def _turn(self, t: int) -> tuple[Schedule, int]:
        """Whose turn it is, and how many steps that has done."""
        at = sum(t >= m for m in self.milestones)
        return self.schedulers[at], t - (self.milestones[at - 1] if at else 0)

    def rates(self, t: int, initial: Sequence[float]) -> list[float]:
        part, done = self._turn(t)
        return part.rates(done, initial)

    def _set_others(self, t: int) -> None:
        part, done = self._turn(t)
        part._set_others(done)


class ReduceLROnPlateau:
    """Times ``factor`` when a metric has not become better for more than ``patience`` steps.

    Parameters
    ----------
    optimizer : Optimizer
        Whose learning rates are set.
    mode : {"min", "max"}
        Which way the metric becomes better.
    factor : float
        What learning rates are multiplied by, less than 1.
    patience : int
        Steps without improvement that are accepted.
    threshold : float
        An improvement is by more than this.
    threshold_mode : {"rel", "abs"}
        Whether that is relative to the best.
    cooldown : int
        Steps after a change in which none are counted.
    min_lr : float or list of float
        Learning rates fall no further: those of all parameter groups, or of each.
    eps : float
        A change by no more than this is left out.

    Examples
    --------
    >>> import numpy as np, gpugrad as gg
    >>> optimizer = gg.optim.SGD([gg.Array(np.zeros(2), requires_grad=True)], lr=0.5)
    >>> schedule = gg.optim.ReduceLROnPlateau(optimizer, patience=1)
    >>> for loss in (2.0, 1.0, 1.0, 1.0):
    ...     schedule.step(loss)
    >>> optimizer.param_groups[0]["lr"]
    0.05
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: Literal["min", "max"] = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: Literal["rel", "abs"] = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0.0,
        eps: float = 1e-8,
    ) -> None:
        if factor >= 1:
            raise ValueError(f"ReduceLROnPlateau: factor is less than 1, got {factor}")
        if mode not in ("min", "max"):
            raise ValueError(f"ReduceLROnPlateau: mode={mode!r} is neither 'min' nor 'max'")
        if threshold_mode not in ("rel", "abs"):
            raise ValueError(
                f"ReduceLROnPlateau: threshold_mode={threshold_mode!r} is neither 'rel' nor 'abs'"
            )
        self.optimizer = optimizer
        self.mode = mode
        self.factor = factor
        self.patience = patience
        self.threshold = threshold
        self.threshold_mode = threshold_mode
        self.cooldown = cooldown
        self.min_lr = min_lr
        self.eps = eps
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = 0
        self.cooldown_counter = 0
        self._least()

    def step(self, metric: float) -> None:
        """Look at the metric, and lower the learning rates if it is time to."""
        metric = float(metric)
        if self._better(metric):
            self.best, self.num_bad_epochs = metric, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            for group, least in zip(self.optimizer.param_groups, self._least(), strict=True):
                lower = max(group["lr"] * self.factor, least)
                if group["lr"] - lower > self.eps:
                    group["lr"] = lower
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0

    def _least(self) -> list[float]:
        return _each("ReduceLROnPlateau", self.optimizer, "min_lr", self.min_lr)

    def _better(self, metric: float) -> bool:
        sign = -1 if self.mode == "min" else 1
        if self.threshold_mode == "rel":
            return sign * metric > sign * self.best * (1 + sign * self.threshold)
        return sign * metric > sign * self.best + self.threshold

    def get_last_lr(self) -> list[float]:
        """The groups' learning rates now."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """What it has seen."""
        names = ("best", "num_bad_epochs", "cooldown_counter")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what another has seen."""
        self.best = float(state["best"])
        self.num_bad_epochs = int(state["num_bad_epochs"])
        self.cooldown_counter = int(state["cooldown_counter"])


def _cosine(start: float, end: float, done: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * done)) / 2


def _linear(start: float, end: float, done: float) -> float:
    return start + (end - start) * done


_SHAPES = {"cos": _cosine, "linear": _linear}
