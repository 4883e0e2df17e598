"""The array API standard 2024.12: names, signatures, what the namespace says of itself."""

from __future__ import annotations

import inspect
import warnings

import array_api_strict
import numpy as np
import pytest

import gpugrad as gg
import gpugrad.numpy as gnp

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    array_api_strict.set_array_api_strict_flags(api_version="2024.12")

OWN = {
    *("ArrayAPIStrictFlags", "Device", "get_array_api_strict_flags", "__version__"),
    *("reset_array_api_strict_flags", "set_array_api_strict_flags"),
}
"""Names of that package's own."""

AFTER = {"broadcast_shapes", "isin"}
"""Names of the standard's next edition."""

ROOMS = {"main": (array_api_strict, gnp), "linalg": (array_api_strict.linalg, gnp.linalg)}
ROOMS["fft"] = (array_api_strict.fft, gnp.fft)
NAMES = [
    (room, name)
    for room, (standard, _) in ROOMS.items()
    for name in standard.__all__
    if name not in OWN | AFTER
]


def test_edition():
    assert gnp.__array_api_version__ == "2024.12"
    x = gnp.ones(2)
    for edition in (None, "2021.12", "2022.12", "2023.12", "2024.12"):
        assert x.__array_namespace__(api_version=edition) is gnp
    with pytest.raises(ValueError, match="1999"):
        x.__array_namespace__(api_version="1999")


@pytest.mark.parametrize(("room", "name"), NAMES)
def test_name_and_signature(room, name):
    standard, ours = (getattr(r, name) for r in ROOMS[room])
    if not inspect.isfunction(standard):
        assert (ours is None) == (standard is None)
        return
    mine = inspect.signature(ours).parameters
    positions = [p for p in mine.values() if p.kind not in (p.KEYWORD_ONLY, p.VAR_KEYWORD)]
    anything = any(p.kind == p.VAR_POSITIONAL for p in positions)
    for at, p in enumerate(inspect.signature(standard).parameters.values()):
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and not anything:
            assert len(positions) > at, f"{p.name} cannot be given by position"
        if p.kind == p.POSITIONAL_OR_KEYWORD:
            assert positions[at].name == p.name
            assert positions[at].kind == p.kind
        if p.kind == p.KEYWORD_ONLY:
            assert mine[p.name].kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)
        if p.kind == p.KEYWORD_ONLY and p.default is None:
            assert mine[p.name].default is None or p.name in ("device", "dtype", "correction")


STRICT = array_api_strict.asarray(1.0)
MEMBERS = [n for n in dir(STRICT) if not n.startswith("_") or n.startswith("__")]


@pytest.mark.parametrize("name", [n for n in MEMBERS if hasattr(object(), n) is False])
def test_member_of_the_array(name):
    own = {"__array__", "__buffer__", "__dict__", "__module__", "__weakref__", "__annotations__"}
    if name in own:
        return
    assert hasattr(gg.Array, name)


@pytest.mark.parametrize("name", ["e", "inf", "nan", "pi", "newaxis"])
def test_constant(name):
    np.testing.assert_equal(getattr(gnp, name), getattr(np, name))


def test_namespace_info(device):
    info = gnp.__array_namespace_info__()
    assert set(info.capabilities()) == {
        "boolean indexing",
        "data-dependent shapes",
        "max dimensions",
    }
    assert device in info.devices()
    with device:
        assert info.default_device() == device
        made = {
            "real floating": gnp.ones(1),
            "complex floating": gnp.asarray([1j]),
            "integral": gnp.asarray([1]),
            "indexing": gnp.argmax(gnp.ones(1)),
        }
        defaults = info.default_dtypes(device=device)
        assert {k: x.dtype for k, x in made.items()} == defaults
        assert {x.device for x in made.values()} == {device}
    every = info.dtypes(device=device)
    assert len(every) == 13
    assert list(info.dtypes(kind="numeric")) == [n for n in every if n != "bool"]
    assert set(info.dtypes(kind=("bool", "integral"))) == {
        n for n in every if "int" in n or n == "bool"
    }
    for name, dtype in every.items():
        assert gnp.zeros(2, dtype=dtype, device=device).dtype == getattr(gnp, name)
    with pytest.raises(ValueError, match="'letters' is none of 'bool'"):
        info.dtypes(kind="letters")


def test_limits_are_python_numbers():
    for x in (gnp.float32, gnp.complex64, gnp.ones(1, dtype=gnp.float32)):
        limits = gnp.finfo(x)
        assert limits.dtype == gnp.float32
        assert type(limits.bits) is int
        for name in ("eps", "max", "min", "smallest_normal"):
            assert type(getattr(limits, name)) is float
            assert getattr(limits, name) == getattr(np.finfo("f4"), name)
    assert gnp.finfo(gnp.float64).resolution == 1e-15  # NumPy's other attributes are there too
    assert gnp.iinfo(gnp.ones(1, dtype=gnp.int16)).max == 2**15 - 1
