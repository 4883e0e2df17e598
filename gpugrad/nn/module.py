"""What every layer and model is: a pytree of parameters with PyTorch's methods."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from gpugrad.array import Array
from gpugrad.core.abstract import ShapeDtype
from gpugrad.core.batching import Batch
from gpugrad.core.box import Box
from gpugrad.device import Device
from gpugrad.numpy.creation import zeros_like

_REGISTERED = "buffer of "
"""Before the attribute that holds what was registered as a buffer: its own name reads the array."""


class Buffer:
    """An array that belongs to a module and is not trained: a running mean, a table.

    Copies of a module that a transform makes share its buffers, so that what a layer writes here
    during a differentiated forward pass stays written.

    Parameters
    ----------
    value : array
        What it holds at first.
    persistent : bool
        Whether ``state_dict`` includes it.
    """

    __slots__ = ("persistent", "value")

    def __init__(self, value: Any, *, persistent: bool = True) -> None:
        self.value = value
        self.persistent = persistent

    def __repr__(self) -> str:
        return f"Buffer({self.value!r})"


class Unmatched(NamedTuple):
    """Names of `Module.load_state_dict` that only one side has."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module:
    """The base of layers and models.

    A subclass sets its parameters, buffers, layers and settings as attributes in ``__init__`` and
    computes in ``forward``. Floating-point arrays, modules, and lists, tuples and dicts of them are
    what it is made of; each other attribute is a setting, an array of integers too.

    A module is a pytree whose leaves are its parameters, so `gpugrad.grad` differentiates with
    respect to it and every transform takes it. It also has the methods that a PyTorch user
    expects; parameters have ``requires_grad``, so ``loss.backward()`` fills their ``.grad``. As a
    pytree its leaves are the detached parameters: a transform records on its own tape only. A
    parameter that stands in several places is one leaf, and is shared in every copy.

    Examples
    --------
    >>> import numpy as np, gpugrad as gg
    >>> from gpugrad import nn
    >>> class Scale(nn.Module):
    ...     def __init__(self, size):
    ...         super().__init__()
    ...         self.weight = nn.parameter(np.ones(size))
    ...
    ...     def forward(self, x):
    ...         return x * self.weight
    >>> model = Scale(2)
    >>> gg.grad(lambda model, x: model(x).sum())(model, np.array([3.0, 4.0])).weight
    Array([3., 4.], dtype=float64, device=cpu)
    >>> model(np.array([3.0, 4.0])).sum().backward()
    >>> model.weight.grad
    Array([3., 4.], dtype=float64, device=cpu)
    """

    training: bool

    _unnamed = ""
    """The attribute whose entries are named as if they were the module's own, as in a list."""

    def __init__(self) -> None:
        self.training = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        from gpugrad.nn.tree import register  # which asks what is a Module

        register(cls)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the output; each subclass defines it."""
        raise NotImplementedError(f"{type(self).__name__} defines no forward")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)

    # ------------------------------------------------------------------------ what it is made of

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly inside, with their names."""
        for path, part in self._made_of():
            if isinstance(part, Module):
                yield path, part

    def children(self) -> Iterator[Module]:
        """The modules directly inside."""
        return (child for _, child in self.named_children())

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """The module and all inside it, outermost first, each once."""
        return _once(self._named_modules(prefix))

    def _named_modules(self, prefix: str) -> Iterator[tuple[str, Module]]:
        yield prefix, self
        for name, child in self.named_children():
            yield from child._named_modules(_join(prefix, name))

    def modules(self) -> Iterator[Module]:
        """The module and all inside it."""
        return (module for _, module in self.named_modules())

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Array]]:
        """The arrays that are trained, with their dotted names, each once."""
        return _once(self._named(prefix, is_parameter))

    def parameters(self) -> Iterator[Array]:
        """The arrays that are trained."""
        return (p for _, p in self.named_parameters())

    def named_buffers(self, prefix: str = "") -> Iterator[tuple[str, Array]]:
        """The arrays that are not trained, with their dotted names."""
        found = self._named(prefix, lambda part: isinstance(part, Buffer))
        return ((name, buffer.value) for name, buffer in _once(found))

    def buffers(self) -> Iterator[Array]:
        """The arrays that are not trained."""
        return (value for _, value in self.named_buffers())

    def _named(self, prefix: str, wanted: Callable[[Any], bool]) -> Iterator[tuple[str, Any]]:
        """Parts by every name they have: what is shared comes up more than once."""
        for path, module in self._named_modules(prefix):
            for name, part in module._made_of():
                if wanted(part):
                    yield _join(path, name), part

    def _made_of(self) -> Iterator[tuple[str, Any]]:
        for name, value in vars(self).items():
            yield from _parts(self._named_as(name), value)

    def _named_as(self, attribute: str) -> str:
        return "" if attribute == self._unnamed else attribute.removeprefix(_REGISTERED)

    def get_submodule(self, target: str) -> Module:
        """The module inside of this dotted name; "" is this one.

        Raises
        ------
        AttributeError
            If there is none.

        Examples
        --------
        >>> from gpugrad import nn
        >>> nn.Sequential(nn.Linear(2, 3), nn.ReLU()).get_submodule("0")
        Linear(in_features=2, out_features=3, parameters=9)
        """
        found = dict(self._named_modules("")).get(target)
        if found is None:
            raise AttributeError(f"{type(self).__name__} has no module {target!r} inside")
        return found

    def add_module(self, name: str, module: Module | None) -> None:
        """Set the attribute ``name``: for names that are made when the program runs."""
        setattr(self, name, module)

    def register_buffer(self, name: str, tensor: Any, persistent: bool = True) -> None:
        """Hold an array that is not trained: ``self.name`` reads it, and writing replaces it.

        It is held as in a `Buffer`: copies that a transform makes share it, and what is written
        becomes a constant. Under `gpugrad.vmap` writing is an error.

        Parameters
        ----------
        name : str
            Of the attribute, and in `state_dict`.
        tensor : array or None
            The array; None keeps the name for one that comes later, and is in no `state_dict`.
        persistent : bool
            Whether ``state_dict`` includes it.

        Examples
        --------
        >>> import numpy as np
        >>> from gpugrad import nn
        >>> module = nn.Module()
        >>> module.register_buffer("mask", np.ones(2))
        >>> module.mask * 3
        Array([3., 3.], dtype=float64, device=cpu)
        >>> list(module.state_dict())
        ['mask']
        """
        if hasattr(self, name) and _REGISTERED + name not in vars(self):
            raise KeyError(f"{type(self).__name__} has an attribute {name!r} already")
        vars(self)[_REGISTERED + name] = Buffer(None, persistent=persistent)
        setattr(self, name, tensor)

    if not TYPE_CHECKING:  # else every attribute would be taken to exist

        def __getattr__(self, name: str) -> Any:
            held = vars(self).get(_REGISTERED + name)
            if held is None:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            return held.value

        def __setattr__(self, name: str, value: Any) -> None:
            held = vars(self).get(_REGISTERED + name)
            if held is None:
                object.__setattr__(self, name, value)
                return
            raw = _as_constant(name, value)
            if not isinstance(raw, ShapeDtype):  # under eval_shape nothing is known
                held.value = None if raw is None else Array(raw)

        def __delattr__(self, name: str) -> None:
            registered = _REGISTERED + name
            object.__delattr__(self, registered if registered in vars(self) else name)

    # ----------------------------------------------------------------------------------- state

    def state_dict(self) -> dict[str, Array]:
        """Parameters and persistent buffers by name, sharing the module's memory.

        What is shared stands under each of its names, as in PyTorch's.
        """
        parts = self._kept()
        return {n: p.value if isinstance(p, Buffer) else p.detach() for n, p in parts.items()}

    def _kept(self) -> dict[str, Any]:
        found = dict(self._named("", is_parameter))
        buffers = self._named("", lambda part: isinstance(part, Buffer))
        return {**found, **{name: b for name, b in buffers if b.persistent}}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> Unmatched:
        """Write arrays of ``state`` into the parameters and buffers of the same names.

        Parameters
        ----------
        state : mapping of str to array
            What `state_dict` gives, or PyTorch's, as arrays of any library on any device. Of a
            shared parameter one name is enough; if there are more, the last one counts.
        strict : bool
            Whether the names must be the same on both sides.

        Returns
        -------
        Unmatched
            The names that ``state`` has not, and those that it has too many.

        Raises
        ------
        KeyError
            For names that are missing or unexpected. Nothing is written then.
        TypeError
            For complex numbers where real ones are. Nothing is written then.
        ValueError
            For a shape that is not the parameter's. Nothing is written then.
        """
        mine, parts = self.state_dict(), self._kept()
        named = {id(parts[name]) for name in parts.keys() & state.keys()}
        missing = sorted(name for name, part in parts.items() if id(part) not in named)
        unexpected = sorted(state.keys() - mine.keys())
        if strict and (missing or unexpected):
            raise KeyError(
                f"{type(self).__name__}.load_state_dict: missing {missing}, unexpected "
                f"{unexpected}; strict=False loads what both have"
            )
        ready = {}
        for name, old in mine.items():
            if name not in state:
                continue
            given = Array(state[name])
            if given.dtype.kind == "c" != old.dtype.kind:
                raise TypeError(
                    f"{type(self).__name__}.load_state_dict: {name} is of {old.dtype}, got "
                    f"{given.dtype}, whose imaginary part would be lost"
                )
            new = Array(given, old.dtype, device=old.device, copy=True)
            if new.shape != old.shape:
                raise ValueError(
                    f"{type(self).__name__}.load_state_dict: {name} has shape {old.shape}, got "
                    f"{new.shape}"
                )
            ready[id(parts[name])] = new
        self._renew(lambda part, value: ready.get(id(part), value))
        return Unmatched(missing, unexpected)

    def _renew(self, change: Callable[[Any, Array], Array]) -> Self:
        """Put ``change(part, value)`` in each parameter and buffer, which stay the same objects."""
        for _, part in list(_once(self._named("", _is_array_or_buffer))):
            if isinstance(part, Buffer):
                part.value = change(part, part.value)
            else:
                part._replace(change(part, part.detach()))
        return self

    def to(self, device: Any = None, dtype: Any = None) -> Self:
        """Move parameters and buffers, and cast those of floating-point type; returns itself.

        Gradients are forgotten. An optimizer that has taken steps keeps its states where they are,
        so it is made after this.

        Parameters
        ----------
        device : str or Device, optional
            Where to; or, as in PyTorch, the dtype.
        dtype : dtype, optional
            Of floating point.
        """
        if dtype is None and _is_dtype(device):
            device, dtype = None, device

        def change(_: Any, a: Array) -> Array:
            a = a if device is None else a.to(device)
            return a.astype(dtype) if dtype is not None and a.dtype.kind in "fV" else a

        return self._renew(change)

    def cpu(self) -> Self:
        """Move to the CPU, as `to` does; returns itself."""
        return self.to("cpu")

    def cuda(self, device: int | str | Device | None = None) -> Self:
        """Move to CUDA, to the device of that number if one is given; returns itself."""
        if device is None:
            return self.to("cuda")
        return self.to(f"cuda:{device}" if isinstance(device, int) else device)

    def half(self) -> Self:
        """Cast to float16, as `to` does; returns itself."""
        return self.to(dtype="float16")

    def float(self) -> Self:
        """Cast to float32, as `to` does; returns itself."""
        return self.to(dtype="float32")

    def double(self) -> Self:
        """Cast to float64, as `to` does; returns itself."""
        return self.to(dtype="float64")

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Say whether ``backward`` shall reach the parameters; returns itself."""
        for p in self.parameters():
            p.requires_grad = requires_grad
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or set them to zeros."""
        forget(self.parameters(), set_to_none)

    def train(self, mode: bool = True) -> Self:
        """Set training mode (dropout drops, batch norm counts) here and inside; returns itself."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Set evaluation mode; returns itself."""
        return self.train(False)

    def apply(self, f: Callable[[Module], Any]) -> Self:
        """Call ``f`` on each module inside, innermost first, then on this one; returns itself."""
        for module in reversed(list(self.modules())):
            f(module)
        return self

    # ----------------------------------------------------------------------------------- to read

    def extra_repr(self) -> str:
        """The settings that ``repr`` shows between the brackets."""
        return ""

    def __repr__(self) -> str:
        count = sum(p.size for p in self.parameters())
        inside = [f"({name}): {child!r}" for name, child in self.named_children()]
        words = [w for w in (self.extra_repr(), f"parameters={count:,}" if count else "") if w]
        head = f"{type(self).__name__}({', '.join(words)})"
        if not inside:
            return head
        body = "\n".join(inside).replace("\n", "\n  ")
        return f"{head[:-1]}\n  {body}\n)"


def _as_constant(name: str, value: Any) -> Any:
    """What a buffer holds of a value that a transform may follow."""
    while isinstance(value, Box):
        if isinstance(value._trace, Batch):
            raise ValueError(
                f"{name} is a buffer, which holds one array, and under vmap each example would "
                "write its own: return it instead"
            )
        value = value._value
    return value


def parameter(value: Any, dtype: Any = None, *, device: str | Device | None = None) -> Array:
    """An array that a module trains: a copy of ``value`` with ``requires_grad``."""
    return Array(value, dtype, device=device, copy=True, requires_grad=True)


def Parameter(data: Any, requires_grad: bool = True) -> Array:
    """`parameter`, as PyTorch's programs call it.

    Examples
    --------
    >>> from gpugrad import nn
    >>> nn.Parameter([1.0, 2.0])
    Array([1., 2.], dtype=float64, device=cpu, requires_grad=True)
    """
    return Array(data, copy=True, requires_grad=requires_grad)


def _join(path: str, name: object) -> str:
    return ".".join([part for part in (path, str(name)) if part])  # what wraps has no name


def forget(parameters: Iterable[Array], set_to_none: bool) -> None:
    """Take away gradients, or set those that there are to zeros."""
    for p in parameters:
        p.grad = None if set_to_none or p.grad is None else zeros_like(p.grad)


def _is_dtype(value: Any) -> bool:
    if isinstance(value, str):
        return value in ("float16", "bfloat16", "float32", "float64")
    return isinstance(value, type | np.dtype)


def is_parameter(part: Any) -> bool:
    """Whether it is an array that could be trained; one of integers is a setting."""
    return isinstance(part, Array) and part.dtype.kind in "fcV"


def _is_array_or_buffer(part: Any) -> bool:
    return isinstance(part, Box | Buffer)


def _parts(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """What of an attribute a module is made of, with dotted names."""
    if isinstance(value, Buffer):
        if value.value is not None:
            yield name, value
    elif isinstance(value, Box | Module):
        yield name, value
    elif isinstance(value, list | tuple):
        for i, part in enumerate(value):
            yield from _parts(_join(name, i), part)
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from _parts(_join(name, key), part)


def _once(named: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Each thing the first time it comes up: weights may be shared."""
    seen: set[int] = set()
    for name, part in named:
        if id(part) not in seen:
            seen.add(id(part))
            yield name, part
