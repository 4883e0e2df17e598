"""The 1,797 handwritten digits that scikit-learn brings along (Alpaydin and Kaynak 1998)."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SIDE = 8
"""Images are 8 by 8 pixels."""

CLASSES = 10

_WARP = 0.08  # the standard deviation of an affine map's entries


class Samples(NamedTuple):
    """Images and what they show, on the host.

    Attributes
    ----------
    images : array of float32
        One row of 64 pixels an image, from 0 (paper) to 1 (ink).
    labels : array of int64
        The digits, 0 to 9.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.int64]


class Digits(NamedTuple):
    """The digits to train on, and those held out to judge by."""

    train: Samples
    held_out: Samples


def load_digits(seed: int | np.random.Generator = 0, held_out: float = 0.2) -> Digits:
    """The digits, divided at random.

    Parameters
    ----------
    seed : int or numpy.random.Generator
        Decides which images are held out.
    held_out : float
        Which share of the images is, rounded up to a whole one.

    Raises
    ------
    ModuleNotFoundError
        Without scikit-learn; the message says what to install.

    Examples
    --------
    >>> from gpugrad.data.digits import load_digits
    >>> digits = load_digits(seed=0)
    >>> digits.train.images.shape, digits.held_out.images.shape
    ((1437, 64), (360, 64))
    """
    try:
        from sklearn import datasets
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "the digits come with scikit-learn, which is not installed: "
            'pip install "gpugrad[train]"'
        ) from error
    images, labels = datasets.load_digits(return_X_y=True)
    images = (images / images.max()).astype(np.float32)
    order = np.random.default_rng(seed).permutation(len(labels))
    out, rest = np.split(order, [math.ceil(held_out * len(labels))])
    return Digits(
        Samples(images[rest], labels[rest].astype(np.int64)),
        Samples(images[out], labels[out].astype(np.int64)),
    )


def warped(samples: Samples, copies: int, seed: int = 0) -> Samples:
    """The samples, and of each some copies that are turned, slanted, scaled and moved a little.

    Parameters
    ----------
    samples : Samples
        The images.
    copies : int
        How many of each.
    seed : int
        Decides how they are changed.

    Examples
    --------
    >>> from gpugrad.data.digits import load_digits, warped
    >>> len(warped(load_digits().train, 2).labels)
    4311
    """
    from scipy.ndimage import map_coordinates

    count = len(samples.labels) * copies
    # Each copy has an affine map close to the identity, about the image's middle.
    change = np.random.default_rng(seed).normal(0, _WARP, (count, 2, 3))
    change[:, :, 2] *= SIDE / 2
    middle = (SIDE - 1) / 2
    grid = np.indices((SIDE, SIDE)).reshape(2, -1) - middle
    places = grid + middle + change[:, :, :2] @ grid + change[:, :, 2:]
    images = np.tile(samples.images.reshape(-1, SIDE, SIDE), (copies, 1, 1))
    which = np.broadcast_to(np.arange(count)[:, None], (count, SIDE * SIDE))
    found = map_coordinates(images, [which, places[:, 0], places[:, 1]], order=1)
    return Samples(
        np.concatenate([samples.images, found.astype(np.float32)]),
        np.tile(samples.labels, 1 + copies),
    )
