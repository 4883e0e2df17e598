"""Mixed precision: `autocast`, the loss scale that goes with it, and TF32.

Products and convolutions run in float16 or bfloat16, where tensor cores are; sums, losses and
normalisation run in float32. Parameters stay float32, and so do their gradients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ContextDecorator
from typing import Any, Literal, Self

import numpy as np

from gpugrad.array import Array
from gpugrad.core.abstract import shape_dtype
from gpugrad.core.box import strip
from gpugrad.core.primitive import Primitive
from gpugrad.core.trace import Casting, casting, state
from gpugrad.device import best_device, namespace, on
from gpugrad.ops.cast import cast

__all__ = ["GradScaler", "allow_tf32", "autocast"]

NARROW = {
    "attention", "conv", "conv_bias", "conv_input", "conv_weight", "dot", "einsum", "linear",
    "matmul",
}  # fmt: skip
"""Operations that run in the narrow dtype."""

WIDE = {
    "batch_norm", "class_loss", "cosh", "cross_entropy", "cumprod", "cumsum", "erfinv", "exp",
    "expm1", "float_power", "group_norm", "log", "log10", "log1p", "log2", "logaddexp", "logsumexp",
    "mean", "mean_cross_entropy", "norm", "norm_rows", "power", "reciprocal", "sinh", "softmax",
    "square", "sum", "tan", "var",
}  # fmt: skip
"""Operations that run in float32: what overflows in float16, or adds up many numbers."""

_SHORT = ("float16", "bfloat16")
_FLOAT32 = np.dtype(np.float32)


class autocast(ContextDecorator):
    """Compute products in a narrow dtype inside, and what needs the range in float32.

    Operands are cast where they are used: matrix products, convolutions, linear layers and
    attention take float32 as ``dtype``; sums, losses, softmax, norms, powers, exponentials and
    logarithms take ``dtype`` as float32; all else takes what it is given. The casts are
    differentiated, so float32 parameters get float32 gradients. Float64 is left alone. A backward
    pass is not affected: it has the dtypes of its forward pass.

    Parameters
    ----------
    dtype : "float16" or "bfloat16"
        What products run in. Float16 wants a `GradScaler`; bfloat16 has the range of float32.
    enabled : bool
        False leaves everything as it is, also inside another `autocast`.

    Notes
    -----
    The names are in ``gpugrad.amp.NARROW`` and ``gpugrad.amp.WIDE``. On the CPU, which has no fast
    arithmetic for these dtypes, this is for trying out what a GPU will compute.

    A weight that is used many times, as an RNN's is at each moment, is cast each time, so that its
    gradients are added up in float32. (PyTorch keeps one cast, whose gradients add up in the
    narrow dtype: over 400 moments in bfloat16 that came out wrong by 12 %.)

    Examples
    --------
    >>> import gpugrad as gg, numpy as np
    >>> layer, x = gg.nn.Linear(3, 2), np.ones((4, 3), "float32")
    >>> with gg.autocast("float16"):
    ...     y = layer(x)
    ...     loss = gg.nn.mse_loss(y, np.zeros((4, 2), "float32"))
    >>> y.dtype, loss.dtype
    (dtype('float16'), dtype('float32'))
    >>> loss.backward()
    >>> layer.weight.grad.dtype
    dtype('float32')
    """

    def __init__(
        self, dtype: Literal["float16", "bfloat16"] = "float16", enabled: bool = True
    ) -> None:
        name = dtype if isinstance(dtype, str) else np.dtype(dtype).name
        if name not in _SHORT:
            raise ValueError(f"autocast: dtype is 'float16' or 'bfloat16', got {dtype!r}")
        self.dtype = name
        self._cast = _Cast(name) if enabled else None
        self._open: list[Any] = []

    def __enter__(self) -> Self:
        inside = casting(self._cast)
        inside.__enter__()
        self._open.append(inside)
        return self

    def __exit__(self, *error: Any) -> None:
        self._open.pop().__exit__(*error)


class _Cast:
    """What `autocast` does to the operands of one operation."""

    def __init__(self, name: str) -> None:
        if name == "bfloat16":
            import ml_dtypes

            self.narrow = np.dtype(ml_dtypes.bfloat16)
        else:
            self.narrow = np.dtype(np.float16)

    def __call__(self, primitive: Primitive, values: Sequence[Any]) -> Sequence[Any]:
        if primitive.name in NARROW:
            return [self.lower(v) for v in values]
        if primitive.name in WIDE:
            return [_lift(v) for v in values]
        return values

    def lower(self, value: Any) -> Any:
        if getattr(value, "dtype", None) == _FLOAT32 or _is_short(value):
            return cast(value, self.narrow)
        return value


def _is_short(value: Any) -> bool:
    dtype = getattr(value, "dtype", None)
    return dtype is not None and dtype.name in _SHORT


def _lift(value: Any) -> Any:
    return cast(value, _FLOAT32) if _is_short(value) else value


def _casting() -> Casting | None:
    return state.casting


def narrowed(*values: Any) -> tuple[Any, ...]:
    """Operands of a layer as the product inside it will take them."""
    cast = _casting()
    return tuple([cast.lower(v) for v in values]) if isinstance(cast, _Cast) else values


def widened(*values: Any) -> tuple[Any, ...]:
    """Operands of a loss, in float32 where `autocast` has made them narrow."""
    return tuple(map(_lift, values)) if isinstance(_casting(), _Cast) else values


class GradScaler:
    """A loss scale that keeps float16 gradients from vanishing, found while training.

    The loss is multiplied by the scale and the optimizer divides the gradients by it. A step whose
    gradients overflowed is left out and the scale falls; after ``growth_interval`` steps without
    it grows. All of this is decided on the device: nothing is waited for.

    Parameters
    ----------
    init_scale : float
        What it starts at.
    growth_factor, backoff_factor : float
        What it is multiplied by to grow, more than 1, and to fall, less than 1.
    growth_interval : int
        After how many steps in a row it grows.
    enabled : bool
        False makes `scale` return the loss and `step` an ordinary step, as bfloat16 wants it.

    Examples
    --------
    >>> import gpugrad as gg, numpy as np
    >>> model, x = gg.nn.Linear(3, 1), np.ones((4, 3), "float32")
    >>> optimizer = gg.optim.SGD(model.parameters(), lr=0.1)
    >>> scaler = gg.amp.GradScaler(init_scale=1024.0)
    >>> for _ in range(2):
    ...     optimizer.zero_grad()
    ...     with gg.autocast("float16"):
    ...         loss = (model(x) ** 2).mean()
    ...     scaler.scale(loss).backward()
    ...     scaler.step(optimizer)
    ...     scaler.update()
    >>> scaler.get_scale()
    1024.0
    """

    def __init__(
        self,
        *,
        init_scale: float = 65536.0,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        if growth_factor <= 1 or not 0 < backoff_factor < 1:
            raise ValueError(
                "GradScaler: growth_factor is more than 1 and backoff_factor between 0 and 1, got "
                f"{growth_factor} and {backoff_factor}"
            )
        self.growth_factor = growth_factor
        self.backoff_factor = backoff_factor
        self.growth_interval = growth_interval
        self.enabled = enabled
        # Where the first loss is: until then on the host.
        self._scale = Array(np.full(1, init_scale, np.float32))
        self._good_steps = Array(np.zeros(1, np.int32))
        self._overflows: list[Any] = []
        self._unscaled: set[int] = set()

    def scale(self, loss: Any) -> Any:
        """``loss`` times the scale."""
        if not self.enabled:
            return loss
        where = loss.device if isinstance(loss, Array) else self._scale.device
        if where != self._scale.device:
            self._scale, self._good_steps = self._scale.to(where), self._good_steps.to(where)
        return loss * self._scale.reshape(shape_dtype(loss).shape and (1,))

    def unscale_(self, optimizer: Any) -> None:
        """Divide the parameters' ``.grad`` by the scale before `step`, to look at or change them.

        To clip them, ``step(optimizer, max_norm=...)`` does it in the same launch.
        """
        if not self.enabled:
            return
        if id(optimizer) in self._unscaled:
            raise RuntimeError("GradScaler.unscale_: called twice since the last update")
        scale = self._scale.reshape(())
        for group in optimizer.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.grad = (p.grad / scale).astype(p.grad.dtype)
        self._unscaled.add(id(optimizer))

    def step(self, optimizer: Any, grads: Any = None, *, max_norm: float | None = None) -> None:
        """``optimizer.step`` with gradients of the scaled loss; left out where one overflowed.

        Parameters
        ----------
        optimizer : Optimizer
            Whose step it is.
        grads : pytree of arrays, optional
            The scaled gradients, instead of the parameters' ``.grad``.
        max_norm : float, optional
            Clip the gradients, divided by the scale, to this norm.
        """
        if not self.enabled:
            optimizer.step(grads, max_norm=max_norm)
            return
        # Divided by 1 where they are unscaled: the optimizer still looks whether they are finite.
        scale = 1.0 if id(optimizer) in self._unscaled else self._scale
        optimizer.step(grads, max_norm=max_norm, unscale=scale)
        self._overflows.append(optimizer.summary)

    def update(self) -> None:
        """Change the scale by what the steps since the last update found."""
        if not self.enabled:
            return
        if not self._overflows:
            raise RuntimeError("GradScaler.update: there was no step since the last update")
        where = self._scale.device
        xp = namespace(where)
        with on(where):
            lost = sum(s[1:] for s in self._overflows) != 0
            good = xp.where(lost, 0, strip(self._good_steps) + 1)
            grown = good >= self.growth_interval
            factor = xp.where(
                lost, self.backoff_factor, xp.where(grown, self.growth_factor, 1.0)
            ).astype(np.float32)
            scale = strip(self._scale)
            with np.errstate(over="ignore"):
                changed = scale * factor
            # Written in place: a captured graph reads the scale where it is. From infinity it
            # would never come back.
            scale[...] = xp.where(xp.isfinite(changed), changed, scale)
            strip(self._good_steps)[...] = xp.where(grown, 0, good)
        self._overflows = []
        self._unscaled = set()

    def get_scale(self) -> float:
        """The scale as a number, for which the host waits."""
        return float(self._scale.item()) if self.enabled else 1.0

    def state_dict(self) -> dict[str, Any]:
        """The scale and the number of good steps in a row, as arrays where they are."""
        return {"scale": self._scale.copy(), "good_steps": self._good_steps.copy()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where another was."""
        where = self._scale.device
        scale = Array(state["scale"], np.float32, device=where, copy=True)
        self._good_steps = Array(state["good_steps"], np.int32, device=where, copy=True).reshape(1)
        self._scale = scale.reshape(1)


def allow_tf32(allow: bool = True) -> None:
    """Let cuBLAS round float32 operands of matrix products to TF32, or no longer.

    TF32 has the range of float32 and 10 bits of mantissa; GPUs from compute capability 8.0 on
    multiply it several times as fast. Off by default, as in PyTorch. It concerns `matmul` and
    what is made of it in float32 on CUDA; float64 and the CPU compute as before. What it gains,
    and that results then differ in the fourth digit, only a GPU can show.

    Raises
    ------
    DeviceError
        Without CUDA.
    """
    if best_device().kind != "cuda":
        from gpugrad.device import DeviceError, why_no_cuda

        raise DeviceError(f"allow_tf32 is for CUDA, and there is none: {why_no_cuda()}")
    from cupy._core import _routines_linalg as linalg

    kind = linalg.COMPUTE_TYPE_TF32 if allow else linalg.COMPUTE_TYPE_DEFAULT
    linalg.set_compute_type(np.float32, kind)
