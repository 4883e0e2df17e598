"""A nested state as a file: safetensors with JSON in the header, and nothing that runs.

A file holds dicts, lists, tuples, numbers, strings, and arrays as tensors. The weights stand under
the names that ``state_dict`` gives them, so PyTorch, JAX and the rest read them too. A SHA-256
digest of everything is in the header: what was cut short or changed is refused.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from gpugrad.array import Array
from gpugrad.core.box import Box
from gpugrad.training.files import replacing

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


class OtherFormatError(CheckpointError):
    """A whole checkpoint, for all we know, that another version of gpugrad reads."""


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

    Parameters
    ----------
    path : str or Path
        The file.

    Raises
    ------
    CheckpointError
        If the file is cut short, has been changed, is none of ours, or of another format.
    FileNotFoundError
        If it is not there.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.training import read_state, write_state
    >>> write_state("state.safetensors", {"step": 3, "total": np.ones(2)})
    >>> read_state("state.safetensors")
    {'step': 3, 'total': array([1., 1.])}
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
        raise OtherFormatError(
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
