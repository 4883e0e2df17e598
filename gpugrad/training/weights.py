"""Weights on disk, in safetensors files that PyTorch, JAX and the rest read too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optree

from gpugrad.array import Array
from gpugrad.training.files import replacing


def save_weights(parameters: Any, path: str | Path) -> None:
    """Write the arrays of a pytree, each under its place in it (``"0.weight"``).

    The file appears whole or not at all.

    Parameters
    ----------
    parameters : pytree of Array
        Nested lists, tuples and dicts.
    path : str or Path
        The file, which is replaced if it is there.

    Examples
    --------
    >>> import numpy as np, gpugrad as gg
    >>> from gpugrad.training.weights import load_weights, save_weights
    >>> layers = [{"weight": gg.Array(np.ones((2, 3)))}]
    >>> save_weights(layers, "model.safetensors")
    >>> load_weights("model.safetensors", layers)[0]["weight"].shape
    (2, 3)
    """
    from safetensors.numpy import save

    names, arrays, _ = _named(parameters)
    # The format knows one memory layout, C's, and safetensors would write any other's bytes as is.
    host = [a.numpy().copy(order="C") for a in arrays]
    with replacing(Path(path)) as unfinished:
        unfinished.write_bytes(save(dict(zip(names, host, strict=True))))


def load_weights(path: str | Path, like: Any) -> Any:
    """Read weights into the structure, dtypes and devices of ``like``.

    Parameters
    ----------
    path : str or Path
        What `save_weights` wrote.
    like : pytree of Array
        Parameters of the model that the weights are for.

    Returns
    -------
    pytree of Array
        New parameters.

    Raises
    ------
    ValueError
        If the file's names or shapes are not those of ``like``.
    """
    from safetensors.numpy import load_file

    names, arrays, structure = _named(like)
    found = load_file(path)
    if set(found) != set(names):
        raise ValueError(f"{path} holds {sorted(found)}, expected {sorted(names)}")
    for name, a in zip(names, arrays, strict=True):
        if found[name].shape != a.shape:
            raise ValueError(f"{path}: {name} has shape {found[name].shape}, expected {a.shape}")
    new = [Array(found[n], a.dtype, device=a.device) for n, a in zip(names, arrays, strict=True)]
    return optree.tree_unflatten(structure, new)


def _named(parameters: Any) -> tuple[list[str], list[Array], Any]:
    paths, arrays, structure = optree.tree_flatten_with_path(parameters)
    return [".".join(map(str, path)) for path in paths], arrays, structure
