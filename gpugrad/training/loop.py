"""Mini-batch gradient descent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import optree
from numpy.random import Generator

from gpugrad.array import Array
from gpugrad.numpy import zeros, zeros_like
from gpugrad.transforms.reverse import value_and_grad


class Epoch(NamedTuple):
    """Where training stands after an epoch. Nothing of it has been read from the device.

    Attributes
    ----------
    number : int
        How many epochs are done.
    parameters : pytree of Array
        The parameters now.
    loss : Array
        The mean loss over the epoch's samples, each as it was when its batch came up.
    """

    number: int
    parameters: Any
    loss: Array


def train(
    loss: Callable[[Any, Array, Array], Any],
    parameters: Any,
    x: Array,
    y: Array,
    *,
    epochs: int,
    batch_size: int,
    lr: float,
    momentum: float = 0.0,
    generator: Generator,
) -> Iterator[Epoch]:
    """Descend along the gradient of the mean loss of one batch after another.

    Within an epoch nothing is copied from the device, and to it only the order of the samples,
    once. The host therefore runs ahead of a GPU until someone reads what an epoch gave.

    Parameters
    ----------
    loss : callable
        ``loss(parameters, x, y)``: the mean over the samples of a batch.
    parameters : pytree of Array
        Where to start. They are not changed.
    x, y : Array
        The samples, along the first axis, on the parameters' device.
    epochs : int
        How often to go through all samples.
    batch_size : int
        Samples in a batch; the last of an epoch takes what is left.
    lr : float
        The learning rate: how far to go along the gradient.
    momentum : float
        How much of the step before is added to each step, as in PyTorch's SGD.
    generator : numpy.random.Generator
        Shuffles the samples before each epoch.

    Yields
    ------
    Epoch
        After each epoch.

    Examples
    --------
    >>> import numpy as np, gpugrad as gg
    >>> from gpugrad.training.loop import train
    >>> x = gg.Array(np.linspace(-1, 1, 20))
    >>> def loss(w, x, y):
    ...     return np.mean((w * x - y) ** 2)
    >>> run = train(loss, gg.Array(np.zeros(())), x, 3 * x, epochs=20, batch_size=8, lr=0.5,
    ...             generator=np.random.default_rng(0))
    >>> *_, last = run
    >>> round(last.parameters.item(), 3)
    3.0
    """
    slope = value_and_grad(loss)
    velocity = optree.tree_map(zeros_like, parameters)
    samples = x.shape[0]
    for number in range(1, epochs + 1):
        order = Array(generator.permutation(samples), device=x.device)
        total: Any = zeros((), device=x.device)
        for start in range(0, samples, batch_size):
            batch = order[start : start + batch_size]
            value, gradient = slope(parameters, x[batch], y[batch])
            total = total + value * batch.shape[0]
            velocity = optree.tree_map(lambda v, g: momentum * v + g, velocity, gradient)
            parameters = optree.tree_map(lambda p, v: p - lr * v, parameters, velocity)
        yield Epoch(number, parameters, total / samples)
