"""Checkpoints and models on disk: safetensors with JSON in the header, and nothing that runs.

A file holds a nested state: dicts, lists, tuples, numbers, strings, and arrays as tensors. The
weights stand under the names that ``state_dict`` gives them, so PyTorch, JAX and the rest read
them too. A SHA-256 digest of everything is in the header: what was cut short or changed is
refused.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from gpugrad.array import Array
from gpugrad.core.box import Box
from gpugrad.device import Device
from gpugrad.nn.module import Module
from gpugrad.training.files import names_to_disk, naming, replacing, sweep
from gpugrad.training.recipe import build, recipe_of, told

__all__ = ["CheckpointError", "Checkpoints", "Found", "load", "read_state", "save", "write_state"]

# Of the header's entry: this number, a blank, a SHA-256 digest, a blank, JSON. Later formats begin
# with their number and a blank too; 1 did not. Whatever changes what is read or how raises it.
_FORMAT = 3

# The element types that the format knows; others are written as bytes.
_NATIVE = {
    np.dtype(t)
    for t in (
        bool, np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64,
        np.float16, np.float32, np.float64, ml_dtypes.bfloat16,
    )
}  # fmt: skip


class CheckpointError(ValueError):
    """A file that is no whole checkpoint, or one of another model."""


class _OtherFormatError(CheckpointError):
    """A whole checkpoint, for all we know, that another version of gpugrad reads."""


# ------------------------------------------------------------------------------ one file


def write_state(path: str | Path, state: Mapping[str, Any]) -> None:
    """Write a nested state; the file appears whole or not at all, and is on the disk then.

    Parameters
    ----------
    path : str or Path
        The file, which is replaced if it is there.
    state : mapping
        Dicts, lists and tuples of numbers, strings, None and arrays. Arrays under the key
        ``"model"`` keep their plain names in the file; those of others are paths from the root,
        such as ``/optimizer/state/0/exp_avg``.

    Raises
    ------
    TypeError
        For a value that is none of these; it is named.
    ValueError
        If two arrays would have one name.
    OSError
        If it cannot be written: a full disk, a missing folder.
    """
    path = Path(path)
    data = _encode(state)
    with replacing(path) as unfinished:
        unfinished.write_bytes(data)


def read_state(path: str | Path) -> dict[str, Any]:
    """Read what `write_state` wrote; arrays come as NumPy arrays.

    Raises
    ------
    CheckpointError
        If the file is cut short, has been changed, is none of ours, or of another format.
    FileNotFoundError
        If it is not there.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder: give a file in it, such as model.safetensors")
    with path.open("rb"):  # the errors of opening are Python's
        pass
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, KeyError, AttributeError, OSError) as error:
        raise CheckpointError(
            f"{path} is half-written or no safetensors file ({error}): use another checkpoint"
        ) from error
    if "gpugrad" not in header:
        raise CheckpointError(
            f"{path} is a safetensors file, but none that gpugrad wrote: "
            "safetensors.numpy.load_file and model.load_state_dict read its weights"
        )
    number, _, rest = header["gpugrad"].partition(" ")
    written = int(number) if number.isdecimal() else 1
    if written != _FORMAT:
        raise _OtherFormatError(
            f"{path} has format {written}, and this gpugrad reads format {_FORMAT}: use the "
            f"{'newer' if written > _FORMAT else 'older'} gpugrad that wrote it, or another "
            "checkpoint"
        )
    digest, _, text = rest.partition(" ")
    if _digest(text, tensors) != digest:
        raise CheckpointError(
            f"{path} has been changed since it was written, its checksum is another: "
            "use another checkpoint"
        )
    try:
        state: dict[str, Any] = _unpack(json.loads(text), tensors)
    except (ValueError, KeyError, TypeError) as error:  # gpugrad does not write such
        raise CheckpointError(
            f"{path} holds no state that can be read ({error!r}): use another checkpoint"
        ) from error
    return state


def _encode(state: Mapping[str, Any]) -> bytes:
    from safetensors.numpy import save as serialise

    tensors: dict[str, Any] = {}
    document = json.dumps(_pack(dict(state), "", tensors), allow_nan=False)
    # One entry, since several stand in any order: the same state gives the same bytes.
    entry = f"{_FORMAT} {_digest(document, tensors)} {document}"
    data: bytes = serialise(tensors, {"gpugrad": entry})
    return data


def _digest(document: str, tensors: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(document.encode())
    for name in sorted(tensors):
        a = tensors[name]
        digest.update(f"{name} {a.dtype} {a.shape}".encode())
        digest.update(a.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _pack(value: Any, path: str, tensors: dict[str, Any]) -> Any:
    """What JSON can say; arrays go to ``tensors`` and leave their name."""
    if value is None or type(value) in (bool, int, str):
        return value
    if isinstance(value, np.generic) and value.dtype.kind in "biuf":
        value = value.item()
    if isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": str(value)}
    if isinstance(value, Mapping):
        plain = all(type(key) is str and not key.startswith("$") for key in value)
        if plain:
            return {k: _pack(v, f"{path}/{k}", tensors) for k, v in value.items()}
        items = [[_pack(k, path, {}), _pack(v, f"{path}/{k}", tensors)] for k, v in value.items()]
        return {"$items": items}
    if isinstance(value, list | tuple):
        parts = [_pack(v, f"{path}/{i}", tensors) for i, v in enumerate(value)]
        return parts if isinstance(value, list) else {"$tuple": parts}
    if isinstance(value, Box | np.ndarray) or hasattr(value, "__dlpack__"):
        return _pack_array(value, path, tensors)
    raise TypeError(
        f"a checkpoint holds numbers, strings, lists, dicts and arrays; {path[1:]} is "
        f"{type(value).__name__}: {value!r:.80}"
    )


def _pack_array(value: Any, path: str, tensors: dict[str, Any]) -> dict[str, Any]:
    host = np.asarray(Array(value).detach().numpy())
    # The format knows one memory layout, C's, and safetensors would write any other's bytes as is.
    host = np.ascontiguousarray(host).reshape(host.shape)
    # What is no weight begins with the slash, as no name of an attribute does.
    name = path.removeprefix("/model/")
    if name in tensors:
        raise ValueError(f"two arrays would be {name!r} in the file: rename one of them")
    if host.dtype in _NATIVE:
        tensors[name] = host
        return {"$array": name}
    tensors[name] = host.reshape(-1).view(np.uint8)
    return {"$array": name, "dtype": host.dtype.name, "shape": list(host.shape)}


def _unpack(value: Any, tensors: Mapping[str, Any]) -> Any:
    if isinstance(value, list):
        return [_unpack(v, tensors) for v in value]
    if not isinstance(value, dict):
        return value
    if "$array" in value:
        found = tensors[value["$array"]]
        return found.view(value["dtype"]).reshape(value["shape"]) if "dtype" in value else found
    if "$float" in value:
        return float(value["$float"])
    if "$tuple" in value:
        return tuple(_unpack(v, tensors) for v in value["$tuple"])
    if "$items" in value:
        return {_unpack(k, tensors): _unpack(v, tensors) for k, v in value["$items"]}
    return {k: _unpack(v, tensors) for k, v in value.items()}


# ------------------------------------------------------------------------------ models


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
    from gpugrad.device import device as find_device

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


# ------------------------------------------------------------------------------ a run's folder


class Found(NamedTuple):
    """A checkpoint that was read."""

    path: Path
    state: dict[str, Any]


class Checkpoints:
    """The checkpoints of a run: one file each, named by the step, the last few kept.

    Those of an earlier run are put in a folder beside, ``<folder>-earlier``, by `set_aside`, and
    removed when the new run has one of its own.

    Parameters
    ----------
    folder : str or Path
        Where they are; made when the first is saved.
    keep : int
        How many stay.

    Examples
    --------
    >>> from gpugrad.training import Checkpoints
    >>> checkpoints = Checkpoints("checkpoints", keep=2)
    >>> for step in (1, 2, 3):
    ...     _ = checkpoints.save(step, {"step": step})
    >>> [path.name for path in checkpoints.paths()]
    ['step-00000002.safetensors', 'step-00000003.safetensors']
    >>> checkpoints.newest().state
    {'step': 3}
    """

    def __init__(self, folder: str | Path, keep: int = 3) -> None:
        if keep < 1:
            raise ValueError(f"Checkpoints: keep is at least 1, got {keep}")
        self.folder = Path(folder)
        self.keep = keep
        self._earlier = self.folder.with_name(f"{self.folder.name}-earlier")

    def paths(self) -> list[Path]:
        """The files, oldest first."""
        return _paths(self.folder)

    def save(self, step: int, state: Mapping[str, Any]) -> Path:
        """Write one, then remove those that are too old, or set aside; gives its path."""
        if not self.folder.exists():
            self.folder.mkdir(parents=True)
            names_to_disk(self.folder.parent)
        path = self.folder / f"step-{step:08d}.safetensors"
        write_state(path, state)
        # Only now: while the disk is full nothing that was there goes away.
        for old in self.paths()[: -self.keep]:
            old.unlink(missing_ok=True)
        sweep(self.folder)
        self._forget_earlier()
        return path

    def newest(self) -> Found | None:
        """The newest that is whole; None if there is no file at all.

        Damaged ones are named in a warning and passed over.

        Raises
        ------
        CheckpointError
            If there are some, and none is whole; or if another version of gpugrad wrote the
            newest, since going on from an older one would remove it.
        """
        paths = self.paths()
        for path in reversed(paths):
            try:
                return Found(path, read_state(path))
            except _OtherFormatError:
                raise
            except CheckpointError as error:
                warnings.warn(f"passed over: {error}", stacklevel=2)
        if paths:
            raise CheckpointError(
                f"none of the {len(paths)} checkpoints in {self.folder} can be used"
            )
        return None

    def set_aside(self) -> None:
        """Begin a new run: those that are there are not gone on from, and stay until its first."""
        if self.paths():
            self._forget_earlier()
            with naming(self._earlier):
                self.folder.rename(self._earlier)  # all at once
            names_to_disk(self.folder.parent)

    def _forget_earlier(self) -> None:
        for path in _paths(self._earlier):
            path.unlink()
        sweep(self._earlier)
        with suppress(OSError):  # none is there, or something of the user's is in it
            self._earlier.rmdir()


def _paths(folder: Path) -> list[Path]:
    named = re.compile(r"step-\d{8,}\.safetensors")
    found = folder.glob("step-*.safetensors")
    return sorted((p for p in found if named.fullmatch(p.name)), key=_step)


def _step(path: Path) -> int:
    return int(path.stem.removeprefix("step-"))
