"""Models as files: their weights, and how they are made again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpugrad.device import Device
from gpugrad.device import device as find_device
from gpugrad.nn.module import Module
from gpugrad.training.recipe import build, recipe_of, told
from gpugrad.training.state_file import CheckpointError, read_state, write_state


def save(model: Module, path: str | Path, *, config: Mapping[str, Any] | None = None) -> None:
    """Write a model's weights, and how it was made if that is known; `load` gives it back.

    Parameters
    ----------
    model : Module
        The model; one marked with `gpugrad.training.rebuildable` can be loaded without making it
        first.
    path : str or Path
        The file, which is replaced if it is there. It is a safetensors file with the names of
        ``model.state_dict()``.
    config : mapping, optional
        More to keep with it: settings, names of classes. ``read_state(path)["config"]``.

    Examples
    --------
    >>> import numpy as np, gpugrad as gg
    >>> model = gg.nn.Linear(3, 2)
    >>> gg.save(model, "model.safetensors")
    >>> again = gg.load("model.safetensors", gg.nn.Linear(3, 2))
    >>> bool((again.weight == model.weight).all())
    True
    """
    state = {"recipe": recipe_of(model), "config": dict(config or {}), "model": model.state_dict()}
    write_state(path, state)


def load(
    path: str | Path, model: Module | None = None, *, device: str | Device | None = None
) -> Any:
    """A trained model, from what `save` or a training run wrote, in evaluation mode.

    Parameters
    ----------
    path : str or Path
        The file: a model, or any checkpoint.
    model : Module, optional
        Where to load the weights, which become of its element types; without it the model is made
        again, with those it was saved with, which works for models marked with
        `gpugrad.training.rebuildable`.
    device : str or Device, optional
        Where the model shall be; the default device, or where the given model is.

    Returns
    -------
    Module
        The model.

    Raises
    ------
    CheckpointError
        If the file is damaged or of another model; a given model has not been changed then.
    """
    state = read_state(path)
    if model is None:
        model = _made_again(state, path, device)
    elif device is not None:
        model.to(device)
    load_weights(model, state, path, cast=True)
    return model.eval()


def _made_again(state: Mapping[str, Any], path: str | Path, device: str | Device | None) -> Module:
    """The model by its recipe, with other weights of the same element types."""
    recipe, weights, where = _recipe_in(state, path), _weights_in(state, path), find_device(device)
    if recipe is None:
        raise CheckpointError(
            f"{path} does not say how its model is made, as it was not marked with "
            "gpugrad.training.rebuildable: give a model, load(path, model)"
        )
    try:
        model = build(recipe, where)
    # Whatever a builder raises for the arguments that a file gives.
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: {error}") from error
    kept = model._kept()
    dtypes = {id(kept[name]): value.dtype for name, value in weights.items() if name in kept}
    return model._renew(lambda part, value: value.astype(dtypes.get(id(part), value.dtype)))


def _recipe_in(state: Mapping[str, Any], path: str | Path) -> Mapping[str, Any] | None:
    found = state.get("recipe")
    if found is None:
        return None
    parts = (found.get("builder"), found.get("arguments")) if isinstance(found, Mapping) else ()
    if [str, dict] != [type(part) for part in parts]:
        raise CheckpointError(
            f"{path} says how its model is made by a builder and its arguments, got {found!r:.80}: "
            "use another checkpoint"
        )
    return dict(found)


def _weights_in(state: Mapping[str, Any], path: str | Path) -> Mapping[str, NDArray[Any]]:
    found = state.get("model")
    if not isinstance(found, Mapping) or not all(isinstance(w, np.ndarray) for w in found.values()):
        raise CheckpointError(
            f"{path} holds no model's weights: give a file that gpugrad.save or a Trainer wrote"
        )
    return found


def load_weights(
    model: Module, state: Mapping[str, Any], path: str | Path, *, cast: bool = False
) -> None:
    """Put the weights of a state that was read from ``path`` in a model.

    Those of other element types are refused, or with ``cast`` become of the model's.

    Raises
    ------
    CheckpointError
        If they are another model's: by how it was made, by names or shapes.
    """
    theirs, ours = _recipe_in(state, path), recipe_of(model)
    if theirs is not None and ours is not None and _but_for_dtype(theirs) != _but_for_dtype(ours):
        raise CheckpointError(f"{path} holds {told(theirs)}, not {told(ours)}")
    weights = _weights_in(state, path)
    for name, mine in model.state_dict().items():
        given = weights.get(name)
        if not cast and given is not None and given.dtype != mine.dtype:
            raise CheckpointError(
                f"{path} is of another model: {name} is {given.dtype}, expected {mine.dtype}"
            )
    try:
        model.load_state_dict(weights)
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"{path} is of another model: {error.args[0]}") from error


def _but_for_dtype(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What makes models of one kind; which element types they have their weights say."""
    arguments = {name: v for name, v in recipe["arguments"].items() if name != "dtype"}
    return {"builder": recipe["builder"], "arguments": arguments}
