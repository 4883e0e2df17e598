"""The vector space that a value belongs to: zeros, a basis, sums, inner products.

That of arrays and containers is made of gpugrad's own operations; that of a user's type is a
subclass of `VSpace` which says them for that type.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np

import gpugrad.numpy as gnp
from gpugrad.core.abstract import shape_dtype
from gpugrad.core.under import NoArray
from gpugrad.device import CPU, HOST_TYPES, namespace, on, to_device
from gpugrad.ops.cast import is_inexact
from gpugrad.ops.complex import is_complex
from gpugrad.ops.creation import device_near, raw_of
from gpugrad.transforms.kinds import flatten, unflatten


class VSpace:
    """Base of the vector spaces of a user's own types.

    Notes
    -----
    A subclass defines ``zeros``, ``ones``, ``standard_basis``, ``randn`` and, where ``+`` and
    ``*`` do not do it, ``_add(x, y)``, ``_scalar_mul(x, a)``, ``_inner_prod(x, y)`` and
    ``_covector(x)``. ``register(type)`` says which values it is for.
    """

    mappings: ClassVar[dict[type, Callable[[Any], VSpace]]] = {}
    iscomplex = False
    size: Any

    def __init__(self, value: Any) -> None:
        pass

    def zeros(self) -> Any:
        """The zero."""
        raise self._missing("zeros")

    def ones(self) -> Any:
        """The sum of the basis."""
        raise self._missing("ones")

    def standard_basis(self) -> Iterator[Any]:
        """Each vector of the basis."""
        raise self._missing("standard_basis")

    def randn(self) -> Any:
        """A random vector."""
        raise self._missing("randn")

    def add(self, x: Any, y: Any) -> Any:
        """The sum."""
        return _operation("add")(self, x, y)

    def mut_add(self, x: Any, y: Any) -> Any:
        """The sum, for which ``x`` (None: zero) may be overwritten."""
        return self.add(self.zeros() if x is None else x, y)

    def scalar_mul(self, x: Any, a: Any) -> Any:
        """The product with a number."""
        return _operation("scalar_mul")(self, x, a)

    def inner_prod(self, x: Any, y: Any) -> Any:
        """The real inner product."""
        return _operation("inner_prod")(self, x, y)

    def covector(self, x: Any) -> Any:
        """The vector that stands for ``x`` among cotangents."""
        return _operation("covector")(self, x)

    def _add(self, x: Any, y: Any) -> Any:
        return x + y

    def _mut_add(self, x: Any, y: Any) -> Any:
        x += y
        return x

    def _scalar_mul(self, x: Any, a: Any) -> Any:
        return x * a

    def _inner_prod(self, x: Any, y: Any) -> Any:
        raise self._missing("_inner_prod")

    def _covector(self, x: Any) -> Any:
        return x

    def _missing(self, name: str) -> NotImplementedError:
        return NotImplementedError(f"{type(self).__name__} does not define {name}")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__}_{self.__dict__}"

    @classmethod
    def register(
        cls, value_type: type, vspace_maker: Callable[[Any], VSpace] | None = None
    ) -> None:
        """Use this space, or what ``vspace_maker(value)`` gives, for values of ``value_type``."""
        VSpace.mappings[value_type] = vspace_maker or cls


def _operation(name: str) -> Any:
    """The method of a user's space as a primitive, so that it can be differentiated."""
    if name not in _operations:
        _define_operations()
    return _operations[name]


_operations: dict[str, Any] = {}


def _define_operations() -> None:
    from gpugrad.compat.autograd.core import defjvp, defvjp, primitive

    def method(name: str) -> Any:
        def call(vs: Any, *args: Any) -> Any:
            return getattr(vs, "_" + name)(*args)

        call.__name__ = name
        _operations[name] = primitive(call)
        return _operations[name]

    add, scale = method("add"), method("scalar_mul")
    inner, covector = method("inner_prod"), method("covector")
    defvjp(add, None, lambda ans, vs, x, y: lambda g: g, lambda ans, vs, x, y: lambda g: g)
    defvjp(
        scale,
        None,
        lambda ans, vs, x, a: lambda g: vs.covector(vs.scalar_mul(vs.covector(g), a)),
        lambda ans, vs, x, a: lambda g: vs.inner_prod(g, vs.covector(x)),
    )
    defvjp(
        inner,
        None,
        lambda ans, vs, x, y: lambda g: vs.covector(vs.scalar_mul(y, g)),
        lambda ans, vs, x, y: lambda g: vs.covector(vs.scalar_mul(x, g)),
    )
    defvjp(covector, None, lambda ans, vs, x: lambda g: vs.covector(g))
    defjvp(add, None, lambda t, *rest: t, lambda t, *rest: t)
    defjvp(scale, None, "same", "same")
    defjvp(inner, None, "same", "same")
    defjvp(covector, None, "same")


def _number(x: Any) -> Any:
    """NumPy's array without axes as a number, which goes with arrays on any device."""
    return x[()]


class ArrayVSpace(VSpace):
    """Real arrays of one shape, dtype and device."""

    def __init__(self, value: Any) -> None:
        self.shape, self.dtype, _ = shape_dtype(value)
        self.device = CPU if type(value) in HOST_TYPES else device_near([value])

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return False
        mine, theirs = [(v.shape, v.dtype, v.shape and v.device) for v in (self, other)]
        return mine == theirs  # a number goes with arrays on any device

    __hash__ = None

    @property
    def size(self) -> int:
        """How many real numbers a vector has."""
        return int(np.prod(self.shape))

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def _filled(self, value: Any) -> Any:
        with on(self.device):
            return _number(namespace(self.device).full(self.shape, value, self.dtype))

    def zeros(self) -> Any:
        return self._filled(0)

    def ones(self) -> Any:
        return self._filled(1)

    def standard_basis(self) -> Iterator[Any]:
        for at in np.ndindex(*self.shape):
            yield from self._units(at)

    def _units(self, at: tuple[int, ...]) -> Iterator[Any]:
        yield self._unit(at, 1)

    def _unit(self, at: tuple[int, ...], value: complex) -> Any:
        with on(self.device):
            unit = namespace(self.device).zeros(self.shape, self.dtype)
            unit[at] = value
        return _number(unit)

    def randn(self) -> Any:
        return self._draw().astype(self.dtype)

    def _draw(self) -> Any:
        return _number(to_device(np.asarray(np.random.standard_normal(self.shape)), self.device))

    def add(self, x: Any, y: Any) -> Any:
        return x + y

    def scalar_mul(self, x: Any, a: Any) -> Any:
        return x * a

    def inner_prod(self, x: Any, y: Any) -> Any:
        return gnp.sum(gnp.multiply(x, y))

    def covector(self, x: Any) -> Any:
        return x


class ComplexArrayVSpace(ArrayVSpace):
    """Complex arrays of one shape, dtype and device, as a real vector space."""

    iscomplex = True

    @property
    def size(self) -> int:
        return 2 * int(np.prod(self.shape))

    def ones(self) -> Any:
        return self._filled(1 + 1j)

    def _units(self, at: tuple[int, ...]) -> Iterator[Any]:
        for part in (1, 1j):
            yield self._unit(at, part)

    def randn(self) -> Any:
        return (self._draw() + 1j * self._draw()).astype(self.dtype)

    def inner_prod(self, x: Any, y: Any) -> Any:
        return gnp.real(gnp.sum(gnp.multiply(gnp.conj(x), y)))

    def covector(self, x: Any) -> Any:
        return gnp.conj(x)


class ContainerVSpace(VSpace):
    """Tuples, lists and dicts of vectors."""

    def __init__(self, value: Any) -> None:
        leaves, self.tree = flatten(value)
        self.parts = [vspace(v) for v in leaves]

    @property
    def size(self) -> int:
        """How many real numbers a vector has."""
        return sum(part.size for part in self.parts)

    def _map(self, f: Callable[..., Any], *values: Any) -> Any:
        columns = [self.tree.flatten_up_to(v) for v in values]
        return unflatten(self.tree, [f(part, *row) for part, *row in zip(self.parts, *columns)])

    def zeros(self) -> Any:
        return self._map(lambda part: part.zeros())

    def ones(self) -> Any:
        return self._map(lambda part: part.ones())

    def randn(self) -> Any:
        return self._map(lambda part: part.randn())

    def standard_basis(self) -> Iterator[Any]:
        for i, part in enumerate(self.parts):
            for unit in part.standard_basis():
                leaves = [p.zeros() for p in self.parts]
                leaves[i] = unit
                yield unflatten(self.tree, leaves)

    def add(self, x: Any, y: Any) -> Any:
        return self._map(lambda part, a, b: part.add(a, b), x, y)

    def scalar_mul(self, x: Any, a: Any) -> Any:
        return self._map(lambda part, b: part.scalar_mul(b, a), x)

    def inner_prod(self, x: Any, y: Any) -> Any:
        xs, ys = self.tree.flatten_up_to(x), self.tree.flatten_up_to(y)
        return sum(part.inner_prod(a, b) for part, a, b in zip(self.parts, xs, ys))

    def covector(self, x: Any) -> Any:
        return self._map(lambda part, a: part.covector(a), x)


def vspace(value: Any) -> VSpace:
    """The vector space of a value.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.compat.autograd.extend import vspace
    >>> vspace({"w": np.ones(3), "b": 0.0}).zeros()
    {'w': array([0., 0., 0.]), 'b': np.float64(0.0)}
    """
    raw = raw_of(value)
    maker = VSpace.mappings.get(type(raw))
    if maker is not None:
        return maker(raw)
    if type(raw) is np.ndarray and raw.dtype.kind == "f":  # what follows, in short
        return ArrayVSpace(value)
    if isinstance(raw, tuple | list | dict):
        return ContainerVSpace(value)
    if not is_number(raw):
        raise TypeError(
            f"there is no vector space for a value of {_kind(raw)}: vectors are floating-point or "
            "complex arrays and numbers, containers of them, and types with a registered VSpace"
        )
    return (ComplexArrayVSpace if is_complex(raw) else ArrayVSpace)(value)


def is_number(raw: Any) -> bool:
    """Whether a raw value is a floating-point or complex array or number."""
    if hasattr(raw, "dtype"):
        return is_inexact(raw.dtype)
    return isinstance(raw, float | complex)


def _kind(raw: Any) -> str:
    return f"type {type(raw).__name__}" + (f", {raw.dtype}" if hasattr(raw, "dtype") else "")


class SparseObject:
    """A cotangent given as what is to be added: ``mut_add(x)`` adds it to ``x``."""

    __slots__ = ("mut_add", "vs")

    def __init__(self, vs: VSpace, mut_add: Callable[[Any], Any]) -> None:
        self.vs = vs
        self.mut_add = mut_add


VSpace.register(SparseObject, lambda x: x.vs)


class Opaque(NoArray):
    """A cotangent of a user's type on its way back, with the sum that its space defines."""

    __slots__ = ("vector",)

    def __init__(self, vector: Any) -> None:
        self.vector = vector

    def __add__(self, other: Opaque) -> Opaque:
        return Opaque(vspace(self.vector).add(self.vector, other.vector))

    @staticmethod
    def close(vector: Any) -> Any:
        """A vector as the tape carries it."""
        return Opaque(vector) if type(raw_of(vector)) in VSpace.mappings else vector

    @staticmethod
    def open(vector: Any) -> Any:
        """The vector that the tape carried."""
        return vector.vector if isinstance(vector, Opaque) else vector
