"""Arrays as sets. What is selected is gathered, so that values keep their gradient."""

from __future__ import annotations

from typing import Any, NamedTuple

from gpugrad.core.abstract import shape_dtype
from gpugrad.device import device_of, namespace, on
from gpugrad.ops.concrete import concrete, like_operands
from gpugrad.ops.elementwise import equal, logical_and, logical_not, minimum
from gpugrad.ops.indexing import getitem, take
from gpugrad.ops.join import concatenate
from gpugrad.ops.operands import as_array, as_arrays
from gpugrad.ops.shape import ravel
from gpugrad.ops.sorting import searchsorted_p, sort


class UniqueAll(NamedTuple):
    """What `unique_all` gives."""

    values: Any
    indices: Any
    inverse_indices: Any
    counts: Any


class UniqueCounts(NamedTuple):
    """What `unique_counts` gives."""

    values: Any
    counts: Any


class UniqueInverse(NamedTuple):
    """What `unique_inverse` gives."""

    values: Any
    inverse_indices: Any


def _unique(x: Any, axis: int | None, equal_nan: bool) -> tuple[Any, Any, Any, Any]:
    """Values, first positions, positions among the values, counts."""
    x = as_array(x)
    raw = concrete(x, "unique")
    with on(device_of(raw)):
        xp = namespace(device_of(raw))
        _, first, inverse, counts = xp.unique(raw, True, True, True, axis, equal_nan=equal_nan)
    values = take(ravel(x) if axis is None else x, first, 0 if axis is None else axis)
    inverse = inverse.reshape(raw.shape if axis is None else -1)
    return (values, *(like_operands(v, [x]) for v in (first, inverse, counts)))


def unique(
    x: Any,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    *,
    equal_nan: bool = True,
    sorted: bool = True,
) -> Any:
    """The sorted elements of ``x``, each once (along ``axis``: its slices).

    The gradient of a value goes to the first place where it stands. Under ``vmap`` it is an
    error: each example would have a length of its own.
    """
    values, first, inverse, counts = _unique(x, axis, equal_nan)
    more = [(return_index, first), (return_inverse, inverse), (return_counts, counts)]
    out = (values, *(v for wanted, v in more if wanted))
    return out[0] if len(out) == 1 else out


def unique_all(x: Any, /) -> UniqueAll:
    """Values, first positions, positions among the values and counts; each NaN is of its own."""
    return UniqueAll(*_unique(x, None, False))


def unique_counts(x: Any, /) -> UniqueCounts:
    """Each element once, and how often it stands there."""
    values, _, _, counts = _unique(x, None, False)
    return UniqueCounts(values, counts)


def unique_inverse(x: Any, /) -> UniqueInverse:
    """Each element once, and which of them stands at each place of ``x``."""
    values, _, inverse, _ = _unique(x, None, False)
    return UniqueInverse(values, inverse)


def unique_values(x: Any, /) -> Any:
    """Each element once, sorted."""
    return _unique(x, None, False)[0]


def isin(
    element: Any,
    test_elements: Any,
    assume_unique: bool = False,
    invert: bool = False,
    *,
    kind: str | None = None,
) -> Any:
    """Whether each element is among ``test_elements``."""
    x, among = as_arrays(element, test_elements)
    among = sort(ravel(among))
    n = shape_dtype(among).size
    if not n:
        found = logical_and(equal(x, x), False)
    else:
        at = minimum(searchsorted_p(among, x, side="left"), n - 1)
        found = equal(take(among, at, 0), x)
    return logical_not(found) if invert else found


def intersect1d(a: Any, b: Any, assume_unique: bool = False, return_indices: bool = False) -> Any:
    """The sorted elements that both have, each once; the gradient goes to the first operand."""
    a, b = (ravel(v) for v in as_arrays(a, b))
    raw_a, raw_b = concrete(a, "intersect1d"), concrete(b, "intersect1d")
    with on(device_of(raw_a)):
        xp = namespace(device_of(raw_a))
        _, at_a, at_b = xp.intersect1d(raw_a, raw_b, assume_unique, return_indices=True)
    values = take(a, at_a, 0)
    if not return_indices:
        return values
    return values, like_operands(at_a, [a, b]), like_operands(at_b, [a, b])


def union1d(a: Any, b: Any) -> Any:
    """The sorted elements of both, each once."""
    a, b = as_arrays(a, b)
    return unique(concatenate([ravel(a), ravel(b)]))


def setdiff1d(a: Any, b: Any, assume_unique: bool = False) -> Any:
    """The elements of ``a`` that ``b`` has not, sorted and each once unless ``assume_unique``."""
    a, b = as_arrays(a, b)
    a = ravel(a) if assume_unique else unique(a)
    return getitem(a, isin(a, b, invert=True))


def setxor1d(a: Any, b: Any, assume_unique: bool = False) -> Any:
    """The sorted elements that one of both has."""
    a, b = as_arrays(a, b)
    values, counts = unique(concatenate([unique(a), unique(b)]), return_counts=True)
    return getitem(values, counts == 1)
