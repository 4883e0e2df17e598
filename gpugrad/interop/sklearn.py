"""Networks as scikit-learn's estimators: a classifier and a regressor."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from numbers import Integral
from typing import Any, Self

import numpy as np

from gpugrad.array import Array
from gpugrad.device import CPU, device
from gpugrad.interop.extra import need
from gpugrad.nn import cross_entropy
from gpugrad.nn.activations import gelu, relu, silu
from gpugrad.ops.elementwise import square, tanh
from gpugrad.ops.linear import linear_p
from gpugrad.ops.reductions import mean
from gpugrad.optim import AdamW
from gpugrad.transforms.reverse import value_and_grad

_base: Any = need("sklearn.base", "train")
_multiclass: Any = need("sklearn.utils.multiclass", "train")
_validation: Any = need("sklearn.utils.validation", "train")
_utils: Any = need("sklearn.utils", "train")

ACTIVATIONS = {"gelu": gelu, "relu": relu, "silu": silu, "tanh": tanh}

Weights = list[tuple[Any, Any]]


def _forward(weights: Weights, x: Any, activation: Any) -> Any:
    for w, b in weights[:-1]:
        x = activation(linear_p(x, w, b))
    return linear_p(x, *weights[-1])


class _Network(_base.BaseEstimator):  # type: ignore[misc]
    """What both share: a multilayer perceptron and its training by AdamW."""

    def __init__(
        self,
        hidden: Sequence[int] = (32,),
        *,
        activation: str = "relu",
        learning_rate: float = 0.01,
        weight_decay: float = 1e-4,
        batch_size: int = 64,
        max_iter: int = 100,
        tol: float = 1e-4,
        patience: int = 10,
        device: str = "cpu",
        random_state: Any = None,
    ) -> None:
        self.hidden = hidden
        self.activation = activation
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.tol = tol
        self.patience = patience
        self.device = device
        self.random_state = random_state

    def _train(self, x: Any, y: Any, outputs: int, loss: Any) -> Self:
        """Fit the weights to standardised inputs."""
        self._check_settings()
        draw = _utils.check_random_state(self.random_state)
        self.mean_ = x.mean(0)
        scale = x.std(0)
        self.scale_ = np.where(scale > 0, scale, 1.0)
        where = device(self.device)
        widths = (x.shape[1], *self.hidden, outputs)
        params = [
            Array(p, device=where, requires_grad=True)
            for n, m in pairwise(widths)
            for p in (draw.normal(0, np.sqrt(2 / max(n, 1)), (m, n)), np.zeros(m))
        ]
        optimizer = AdamW(params, lr=self.learning_rate, weight_decay=self.weight_decay)
        data = [Array(v).to(where) for v in ((x - self.mean_) / self.scale_, y)]
        step = value_and_grad(
            lambda flat, x, y: loss(_forward(_paired(flat), x, ACTIVATIONS[self.activation]), y)
        )
        self.loss_curve_: list[float] = []
        best, waited = np.inf, 0
        for _ in range(self.max_iter):
            order = draw.permutation(len(x))
            total: Any = 0.0
            for start in range(0, len(x), self.batch_size):
                rows = Array(order[start : start + self.batch_size]).to(where)
                value, grads = step([p.detach() for p in params], data[0][rows], data[1][rows])
                optimizer.step(grads)
                total = total + value * rows.shape[0]
            self.loss_curve_.append(float(total / len(x)))
            waited = 0 if self.loss_curve_[-1] < best - self.tol else waited + 1
            best = min(best, self.loss_curve_[-1])
            if waited >= self.patience:
                break
        self.n_iter_ = len(self.loss_curve_)
        # As NumPy's arrays, so that a fitted estimator is pickled and copied like any other.
        self.weights_ = _paired([p.detach().to(CPU).numpy().copy() for p in params])
        return self

    def _check_settings(self) -> None:
        name = type(self).__name__
        if self.activation not in ACTIVATIONS:
            raise ValueError(
                f"{name}: activation={self.activation!r} is none of {sorted(ACTIVATIONS)}"
            )
        for setting in ("batch_size", "max_iter", "patience"):
            if not _counts(getattr(self, setting)):
                raise ValueError(
                    f"{name}: {setting} is a whole number from 1 on, got {getattr(self, setting)!r}"
                )
        if isinstance(self.hidden, str) or not np.iterable(self.hidden):
            raise ValueError(f"{name}: hidden is a sequence of widths, got {self.hidden!r}")
        if not all(map(_counts, self.hidden)):
            raise ValueError(
                f"{name}: the widths of hidden are whole numbers from 1 on, got {self.hidden!r}"
            )

    def _outputs(self, x: Any) -> Any:
        _validation.check_is_fitted(self)
        x = _validation.validate_data(self, x, reset=False, dtype=np.float64)
        where = device(self.device)
        moved = [tuple(Array(p).to(where) for p in pair) for pair in self.weights_]
        x = Array((x - self.mean_) / self.scale_).to(where)
        return _forward(moved, x, ACTIVATIONS[self.activation]).to(CPU).numpy()


def _counts(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 1


def _paired(flat: Sequence[Any]) -> Weights:
    return list(zip(flat[::2], flat[1::2], strict=True))


class Classifier(_base.ClassifierMixin, _Network):  # type: ignore[misc]
    """A multilayer perceptron that classifies, trained by cross-entropy.

    Inputs are standardised inside, so it needs no scaler before it.

    Parameters
    ----------
    hidden : sequence of int
        The widths of the hidden layers.
    activation : {"relu", "gelu", "silu", "tanh"}
        What follows each of them.
    learning_rate, weight_decay : float
        AdamW's.
    batch_size : int
        Samples a step.
    max_iter : int
        How many times at most to go through the samples.
    tol, patience : float, int
        Stop when the loss has not become smaller by ``tol`` in so many rounds.
    device : str
        Where to train and predict.
    random_state : int, numpy.random.RandomState or None
        Draws first weights and orders: the same number gives the same network.

    Attributes
    ----------
    classes_ : array
        The labels, sorted.
    weights_ : list of (weight, bias)
        Of each layer, as NumPy's arrays.
    loss_curve_, n_iter_ : list of float, int
        The mean loss of each round, and their number.

    Examples
    --------
    >>> import gpugrad as gg
    >>> from sklearn.datasets import load_iris
    >>> x, y = load_iris(return_X_y=True)
    >>> gg.interop.sklearn.Classifier(random_state=0).fit(x, y).score(x, y) > 0.95
    True
    """

    classes_: Any

    def fit(self, X: Any, y: Any) -> Self:
        """Train on samples ``X`` (N, features) and labels ``y`` (N,)."""
        X, y = _validation.validate_data(self, X, y, dtype=np.float64)
        _multiclass.check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        return self._train(X, labels, len(self.classes_), cross_entropy)

    def predict_proba(self, X: Any) -> Any:
        """Each class's probability, (N, classes)."""
        scores = self._outputs(X)
        odds = np.exp(scores - scores.max(1, keepdims=True))
        return odds / odds.sum(1, keepdims=True)

    def predict(self, X: Any) -> Any:
        """The most probable label of each sample."""
        scores = self._outputs(X)
        return self.classes_[scores.argmax(1)]


class Regressor(_base.RegressorMixin, _Network):  # type: ignore[misc]
    """A multilayer perceptron that predicts one number or several, trained by the squared error.

    Inputs and targets are standardised inside. The parameters are `Classifier`'s.

    Attributes
    ----------
    weights_ : list of (weight, bias)
        Of each layer, as NumPy's arrays.
    loss_curve_, n_iter_ : list of float, int
        The mean loss of each round, in units of the targets' variance, and their number.

    Examples
    --------
    >>> import gpugrad as gg
    >>> from sklearn.datasets import load_diabetes
    >>> x, y = load_diabetes(return_X_y=True)
    >>> gg.interop.sklearn.Regressor(random_state=0).fit(x, y).score(x, y) > 0.5
    True
    """

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any) -> Self:
        """Train on samples ``X`` (N, features) and targets ``y``, (N,) or (N, targets)."""
        X, y = _validation.validate_data(
            self, X, y, dtype=np.float64, multi_output=True, y_numeric=True
        )
        y = y.astype(np.float64)
        self._shape = y.shape[1:]
        self.target_mean_ = y.mean(0)
        scale = y.std(0)
        self.target_scale_ = np.where(scale > 0, scale, 1.0)
        y = ((y - self.target_mean_) / self.target_scale_).reshape(len(y), -1)
        return self._train(X, y, y.shape[1], lambda out, y: mean(square(out - y)))

    def predict(self, X: Any) -> Any:
        """The target of each sample, shaped as in `fit`."""
        y = self._outputs(X)
        return y.reshape(len(y), *self._shape) * self.target_scale_ + self.target_mean_
