"""The standard's dtypes: what two of them give together, on both devices, and DLPack."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import gpugrad as gg
import gpugrad.numpy as gnp

SIGNED = ["int8", "int16", "int32", "int64"]
UNSIGNED = ["uint8", "uint16", "uint32", "uint64"]
FLOATS = ["float32", "float64"]
COMPLEX = ["complex64", "complex128"]
DTYPES = ["bool", *SIGNED, *UNSIGNED, *FLOATS, *COMPLEX]


def wider(a: str, b: str) -> str | None:
    """What the standard's promotion tables give; None where they say nothing."""
    if a == b:
        return a
    for kind in (SIGNED, UNSIGNED, FLOATS, COMPLEX):
        if a in kind and b in kind:
            return kind[max(kind.index(a), kind.index(b))]
    if a in UNSIGNED and b in SIGNED:
        a, b = b, a
    if a in SIGNED and b in UNSIGNED:
        needed = UNSIGNED.index(b) + 1
        return SIGNED[max(SIGNED.index(a), needed)] if needed < len(SIGNED) else None
    if a in COMPLEX and b in FLOATS:
        a, b = b, a
    if a in FLOATS and b in COMPLEX:
        return COMPLEX[max(FLOATS.index(a), COMPLEX.index(b))]
    return None


TABLE = [(a, b, out) for a, b in itertools.product(DTYPES, repeat=2) if (out := wider(a, b))]

ARITHMETIC = ["add", "multiply", "subtract", "matmul", "where", "concat", "tensordot", "vecdot"]


def pairs(device):
    """All pairs on the CPU; on CUDA, where each one compiles kernels, some."""
    return TABLE if device.kind == "cpu" else TABLE[::6]


def apply(name, a, b):
    if name == "where":
        return gnp.where(gnp.asarray([True, False], device=a.device), a, b)
    if name == "concat":
        return gnp.concat([a, b])
    if name == "tensordot":
        return gnp.tensordot(a, b, axes=1)
    return getattr(gnp, name)(a, b)


@pytest.mark.parametrize("name", ARITHMETIC)
def test_promotion(device, name):
    numeric = name not in ("where", "concat")
    for a, b, out in pairs(device):
        if numeric and "bool" in (a, b):
            continue
        x, y = gnp.ones(2, dtype=a, device=device), gnp.ones(2, dtype=b, device=device)
        assert apply(name, x, y).dtype == out, (a, b)
        assert gnp.result_type(x, y) == gnp.result_type(a, y) == out


def test_comparisons_are_boolean(device):
    for a, b, _ in pairs(device):
        x, y = gnp.ones(2, dtype=a, device=device), gnp.ones(2, dtype=b, device=device)
        for f in (gnp.equal, gnp.not_equal):
            assert f(x, y).dtype == bool
        if not {a, b} & set(COMPLEX):
            assert gnp.less(x, y).dtype == gnp.greater_equal(x, y).dtype == bool


def test_python_numbers_give_way(device):
    for name in DTYPES[1:]:
        x = gnp.ones(2, dtype=name, device=device)
        assert (x + 1).dtype == (2 * x).dtype == name
        assert gnp.maximum(x, 1).dtype == name if name not in COMPLEX else True
        if name in FLOATS + COMPLEX:
            assert (x / 2.5).dtype == (x**2).dtype == gnp.where(x == 1, x, 0.5).dtype == name
        if name in COMPLEX:
            assert (x + 1j).dtype == name


@pytest.mark.parametrize("name", ["sum", "prod", "cumulative_sum", "cumulative_prod"])
def test_sums_are_wide_and_dtype_is_obeyed(device, name):
    f = getattr(gnp, name)
    for dtype in DTYPES[1:]:
        x = gnp.ones(3, dtype=dtype, device=device)
        wide = {"i": "int64", "u": "uint64"}.get(np.dtype(dtype).kind, dtype)
        assert f(x).dtype == wide
        for wanted in DTYPES[1:] if device.kind == "cpu" else ("int16", "float32"):
            if np.dtype(dtype).kind == "c" and np.dtype(wanted).kind != "c":
                continue
            assert f(x, dtype=getattr(gnp, wanted)).dtype == wanted
    full = gnp.full(300, 1, dtype=gnp.uint8, device=device)
    if name == "sum":
        assert int(f(full, dtype=gnp.uint8)) == 300 % 256


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_cast_moves_too(device, dtype):
    x = gnp.asarray([0.0, 1.0, 2.0], device=device)
    y = gnp.astype(x, getattr(gnp, dtype))
    assert (y.dtype, y.device) == (dtype, device)
    assert gnp.astype(y, y.dtype, copy=False) is y
    assert gnp.astype(y, y.dtype) is not y
    assert gnp.astype(x, y.dtype, device="cpu").device == gg.device("cpu")


def test_complex_elements_become_real_by_the_method_alone(device):
    z = gnp.asarray([1.0 + 2.0j, 3.0j, 0.0], device=device)
    for dtype in ("float32", "int64"):
        with pytest.raises(TypeError, match=f"astype: {dtype} of complex128 would drop"):
            gnp.astype(z, getattr(gnp, dtype))
    with pytest.raises(TypeError, match=r"use real\(x\)"):
        gnp.astype(1 + 1j, gnp.float32)
    assert z.astype(gnp.float64).tolist() == np.astype(z, float).tolist() == [1, 0, 0]
    assert gnp.astype(z, gnp.bool).tolist() == z.astype(bool).tolist() == [True, True, False]


def test_copy_false_never_copies(device, xp):
    raw = xp.asarray([1.0, 2.0])
    x = gnp.asarray(raw, copy=False)
    assert x._value is raw
    assert gnp.asarray(x, device=device, dtype=float, copy=False)._value is raw
    with pytest.raises(ValueError, match=f"float32 on {device} from one of dtype float64"):
        gnp.asarray(raw, gnp.float32, copy=False)
    for given in ([1.0, 2.0], 1.0, [[x]]):
        kind = type(given).__name__
        with pytest.raises(ValueError, match=f"from a {kind} takes a copy: leave copy= out"):
            gnp.asarray(given, copy=False)
        with pytest.raises(ValueError, match="takes a copy"):
            gnp.array(given, copy=False)
        with pytest.raises(ValueError, match="takes a copy"):
            gg.Array(given, copy=False)


def test_copy_false_of_a_recorded_array(device, xp):
    def f(x, dtype):
        return gnp.asarray(x, dtype, copy=False).sum()

    x = xp.asarray([1.0, 2.0])
    assert gg.grad(f)(x, None).tolist() == [1, 1]
    with pytest.raises(ValueError, match=f"float32 on {device} from one of dtype float64"):
        gg.grad(f)(x, gnp.float32)
    with pytest.raises(ValueError, match="from a list takes a copy"):
        gg.grad(lambda x: gnp.asarray([x, x], copy=False).sum())(x)


def test_copy_false_on_another_device(cuda):
    with pytest.raises(ValueError, match="on cuda:0 from one of dtype float64 on cpu takes a copy"):
        gnp.asarray(np.ones(2), device="cuda", copy=False)


# ------------------------------------------------------------------------------ DLPack


def test_dlpack_copies_where_asked(device):
    x = gnp.asarray([1.0, 2.0], device=device)
    shared, copied = gnp.from_dlpack(x), gnp.from_dlpack(x, copy=True)
    never = gnp.from_dlpack(x, copy=False)
    x[0] = 5.0
    assert (shared[0], never[0], copied[0]) == (5.0, 5.0, 1.0)
    assert {a.device for a in (shared, copied, never)} == {device}


def test_dlpack_to_another_device(device, cuda):
    other = gg.device("cpu" if device.kind == "cuda" else "cuda:0")
    x = gnp.asarray([1.0, 2.0], device=device)
    y = gnp.from_dlpack(x, device=other)
    assert y.device == other
    assert y.tolist() == [1.0, 2.0]
    with pytest.raises(BufferError, match=rf"from {device} to {other} takes a copy"):
        gnp.from_dlpack(x, device=other, copy=False)


def test_dlpack_export(device):
    x = gnp.asarray([1.0, 2.0], device=device)
    kind, number = x.__dlpack_device__()
    assert (int(kind), number) == ((2, 0) if device.kind == "cuda" else (1, 0))
    for copy in (None, True, False):
        assert "dltensor" in repr(x.__dlpack__(copy=copy))
        assert "dltensor" in repr(x.__dlpack__(copy=copy, max_version=(1, 0)))
    assert "dltensor" in repr(x.__dlpack__(dl_device=(1, 0)))
    assert np.from_dlpack(gnp.asarray([1.0, 2.0], device="cpu")).tolist() == [1.0, 2.0]
    if device.kind == "cuda":
        with pytest.raises(BufferError, match="copy=False"):
            x.__dlpack__(dl_device=(1, 0), copy=False)
    with pytest.raises(BufferError, match=r"x.detach\(\)"):
        gg.Array(x, requires_grad=True).__dlpack__()


def test_counts_of_repeat_on_the_device(device):
    x = gnp.asarray([[1.0, 2.0, 3.0]] * 2, device=device)
    counts = gnp.asarray([2, 0, 1], device=device)
    assert gnp.repeat(x, counts, axis=1).tolist() == [[1.0, 1.0, 3.0]] * 2
    assert gnp.repeat(x, gnp.asarray([2], device=device), axis=0).shape == (4, 3)
    empty = gnp.asarray([], device=device)
    assert gnp.repeat(empty, gnp.asarray([], dtype=gnp.int8, device=device)).shape == (0,)


def test_numbers_of_python(device):
    x = gnp.asarray(3, device=device)
    assert [10, 20, 30, 40][x] == 40
    assert (int(x), float(x), complex(x), bool(x)) == (3, 3.0, 3 + 0j, True)
    with pytest.raises(TypeError, match=r"integer|float"):
        gnp.asarray(3.0, device=device).__index__()
    with pytest.raises(OverflowError):
        gnp.asarray(300, dtype=gnp.uint8)
