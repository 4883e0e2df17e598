"""Losses as modules, with PyTorch's names, arguments and defaults."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from gpugrad.array import Array
from gpugrad.nn import distances
from gpugrad.nn.ctc import ctc_loss
from gpugrad.nn.losses import cross_entropy
from gpugrad.nn.module import Buffer, Module


class _Loss(Module):
    """A function and what it is always given: arrays, which move with the module, and settings."""

    _function: ClassVar[Callable[..., Any]]

    def __init__(self, settings: dict[str, Any], **arrays: Any) -> None:
        super().__init__()
        self._names = (*arrays, *settings)
        for name, value in arrays.items():
            setattr(self, name, None if value is None else Buffer(Array(value)))
        for name, value in settings.items():
            setattr(self, name, value)

    def forward(self, *args: Any, **named: Any) -> Any:
        given = {name: getattr(self, name) for name in self._names}
        given = {n: v.value if isinstance(v, Buffer) else v for n, v in given.items()}
        return type(self)._function(*args, **named, **given)

    def extra_repr(self) -> str:
        settings = {name: getattr(self, name) for name in self._names}
        return ", ".join(
            f"{name}={f'array{v.value.shape}' if isinstance(v, Buffer) else repr(v)}"
            for name, v in settings.items()
            if v is not None
        )


class CrossEntropyLoss(_Loss):
    """`cross_entropy` of logits and classes.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad import nn
    >>> loss = nn.CrossEntropyLoss(label_smoothing=0.1)
    >>> round(float(loss(np.zeros((2, 10)), np.array([3, 7]))), 6)
    2.302585
    """

    _function = staticmethod(cross_entropy)

    def __init__(
        self,
        weight: Any = None,
        *,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        settings = {
            "ignore_index": ignore_index,
            "reduction": reduction,
            "label_smoothing": label_smoothing,
        }
        super().__init__(settings, weight=weight)


class NLLLoss(_Loss):
    """`nll_loss` of log probabilities and classes."""

    _function = staticmethod(distances.nll_loss)

    def __init__(
        self, weight: Any = None, *, ignore_index: int = -100, reduction: str = "mean"
    ) -> None:
        super().__init__({"ignore_index": ignore_index, "reduction": reduction}, weight=weight)


class MSELoss(_Loss):
    """`mse_loss` of a prediction and a target."""

    _function = staticmethod(distances.mse_loss)

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__({"reduction": reduction})


class L1Loss(_Loss):
    """`l1_loss` of a prediction and a target."""

    _function = staticmethod(distances.l1_loss)

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__({"reduction": reduction})


class HuberLoss(_Loss):
    """`huber_loss` of a prediction and a target."""

    _function = staticmethod(distances.huber_loss)

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__({"reduction": reduction, "delta": delta})


class SmoothL1Loss(_Loss):
    """`smooth_l1_loss` of a prediction and a target."""

    _function = staticmethod(distances.smooth_l1_loss)

    def __init__(self, *, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__({"reduction": reduction, "beta": beta})


class BCELoss(_Loss):
    """`binary_cross_entropy` of probabilities."""

    _function = staticmethod(distances.binary_cross_entropy)

    def __init__(self, weight: Any = None, *, reduction: str = "mean") -> None:
        super().__init__({"reduction": reduction}, weight=weight)


class BCEWithLogitsLoss(_Loss):
    """`binary_cross_entropy_with_logits` of logits and probabilities."""

    _function = staticmethod(distances.binary_cross_entropy_with_logits)

    def __init__(
        self, weight: Any = None, *, reduction: str = "mean", pos_weight: Any = None
    ) -> None:
        super().__init__({"reduction": reduction}, weight=weight, pos_weight=pos_weight)


class KLDivLoss(_Loss):
    """`kl_div` of log probabilities and probabilities."""

    _function = staticmethod(distances.kl_div)

    def __init__(self, *, reduction: str = "mean", log_target: bool = False) -> None:
        super().__init__({"reduction": reduction, "log_target": log_target})


class CosineEmbeddingLoss(_Loss):
    """`cosine_embedding_loss` of pairs, and whether they are alike."""

    _function = staticmethod(distances.cosine_embedding_loss)

    def __init__(self, margin: float = 0.0, *, reduction: str = "mean") -> None:
        super().__init__({"margin": margin, "reduction": reduction})


class TripletMarginLoss(_Loss):
    """`triplet_margin_loss` of anchors, what is alike and what is not."""

    _function = staticmethod(distances.triplet_margin_loss)

    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-6,
        swap: bool = False,
        *,
        reduction: str = "mean",
    ) -> None:
        settings = {"margin": margin, "p": p, "eps": eps, "swap": swap, "reduction": reduction}
        super().__init__(settings)


class CTCLoss(_Loss):
    """`ctc_loss` of log probabilities, targets and the lengths of both."""

    _function = staticmethod(ctc_loss)

    def __init__(
        self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False
    ) -> None:
        settings = {"blank": blank, "reduction": reduction, "zero_infinity": zero_infinity}
        super().__init__(settings)
