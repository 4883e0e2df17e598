"""Elementwise functions at ±0, ±inf, NaN and about them: as NumPy, on the CPU and on CUDA."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import gpugrad.numpy as gnp

REAL = np.array(
    [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, -3.0, 1e-3, 1e30]
)
COMPLEX = np.array([complex(a, b) for a, b in itertools.product(REAL[:-1], repeat=2)])
INTEGERS = np.array([-5, -3, -1, 0, 1, 2, 3, 7])

UFUNCS = {n: f for n in gnp.__all__ if isinstance(f := getattr(np, n, None), np.ufunc)}
UNARY = [n for n, f in UFUNCS.items() if (f.nin, f.nout) == (1, 1)] + ["sinc", "real", "imag"]
BINARY = [n for n, f in UFUNCS.items() if (f.nin, f.nout) == (2, 1) and f.signature is None]
TOLERANCE = {"e": 1e-2, "f": 1e-5, "d": 1e-12, "F": 1e-5, "D": 1e-12}

BETTER = {"expm1", "log1p"}
"""NumPy's lose digits, or are NaN where the standard has infinities, for complex numbers."""

SIGNS = {"fmax", "fmin", "maximum", "minimum", "exp", "exp2", "sinc"}
"""Which of 0.0 and -0.0 they give, of zeros or of complex numbers, is nobody's business."""


def parts(x: np.ndarray) -> list[np.ndarray]:
    return [x.real, x.imag] if x.dtype.kind == "c" else [x]


def agree(ours: np.ndarray, theirs: np.ndarray, signs: bool) -> np.ndarray:
    """Where both are the same, zeros by their sign too.

    Beside a NaN the sign of a complex number's other part is not specified.
    """
    assert ours.dtype == theirs.dtype
    if theirs.dtype.kind not in "fc":
        return ours == theirs
    tolerance = TOLERANCE[theirs.dtype.char]
    unspecified = np.isnan(theirs) if theirs.dtype.kind == "c" else np.zeros(theirs.shape, bool)
    good = np.ones(theirs.shape, bool)
    for a, b in zip(parts(ours), parts(theirs), strict=True):
        a, b = (np.where(unspecified, np.abs(v), v) for v in (a, b))
        close = (a == b) | (np.abs(a - b) <= tolerance * np.maximum(np.abs(b), 1e-4))
        if signs:
            close &= (np.signbit(a) == np.signbit(b)) | ((b != 0) & (np.abs(b) < 1e-12))
        good &= np.where(np.isnan(b), np.isnan(a), close)
    return good


def check(name, device, *operands):
    try:
        want = getattr(np, name)(*operands)
    except TypeError:
        return 0  # NumPy does not take these
    out = getattr(gnp, name)(*[gnp.asarray(x, device=device) for x in operands])
    assert out.device == device
    with np.errstate(all="ignore"):
        good = agree(out.numpy(), np.asarray(want), name not in SIGNS)
    if bad := np.flatnonzero(~good).tolist():
        text = [f"{[x[i] for x in operands]}: {out.numpy()[i]}, NumPy {want[i]}" for i in bad[:5]]
        raise AssertionError(f"{name}: {len(bad)} differ: " + "; ".join(text))
    return len(good)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", UNARY)
def test_one_operand(device, name):
    with np.errstate(all="ignore"):
        count = sum(check(name, device, REAL.astype(t)) for t in "fd")
        if name not in BETTER:
            count += check(name, device, COMPLEX)
        if name != "reciprocal":  # of 0 it is undefined in integers
            count += sum(check(name, device, INTEGERS.astype(t)) for t in "bilBq")
    assert count


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", BINARY)
def test_two_operands(device, name):
    count = 0
    with np.errstate(all="ignore"):
        for t in "fd":
            a, b = (v.ravel() for v in np.meshgrid(REAL.astype(t), REAL.astype(t)))
            count += check(name, device, a, b)
        for t in "biB?":
            a, b = (v.ravel() for v in np.meshgrid(INTEGERS, INTEGERS))
            if name in ("power", "pow", "left_shift", "right_shift", "bitwise_left_shift"):
                b = abs(b)
            count += check(name, device, a.astype(t), b.astype(t))
    assert count


def test_the_standards_complex_expm1(device):
    inf, nan = np.inf, np.nan
    cases = {
        0j: 0j,
        complex(-0.0, 0): 0j,
        complex(inf, 0): complex(inf, 0),
        complex(inf, inf): complex(inf, nan),
        complex(inf, nan): complex(inf, nan),
        complex(-inf, inf): complex(-1, 0),
        complex(-inf, nan): complex(-1, 0),
        complex(nan, 0): complex(nan, 0),
        complex(nan, 1): complex(nan, nan),
        complex(1, inf): complex(nan, nan),
        1e-10j: 1e-10j,
    }
    with np.errstate(all="ignore"):
        out = gnp.expm1(gnp.asarray(list(cases), device=device)).numpy()
    want = np.array(list(cases.values()))
    np.testing.assert_allclose(np.abs(out.real), np.abs(want.real), atol=1e-15)
    np.testing.assert_allclose(np.abs(out.imag), np.abs(want.imag), atol=1e-15)


def test_minus_zero_keeps_its_sign_on_its_way(device):
    x = gnp.zeros(3, device=device)
    x[1] = -0.0
    made = {
        "full": gnp.full(2, -0.0, device=device),
        "full_like": gnp.full_like(x, -0.0),
        "asarray": gnp.asarray(-0.0, device=device),
        "asarray of a list": gnp.asarray([-0.0], device=device),
        "assigned": x[1],
        "complex": gnp.imag(gnp.full(2, complex(1, -0.0), device=device)),
    }
    for name, value in made.items():
        assert np.signbit(value.numpy()).all(), name
    assert not np.signbit(gnp.full(2, 0.0, device=device).numpy()).any()


def test_the_next_number_about_zero(device):
    tiny = np.float32(1e-45)
    a = np.array([0, -0.0, tiny, -tiny, tiny, 1e-40, -1e-40, 0], np.float32)
    b = np.array([1, -1, 0, 0, 1, -1, 1, tiny], np.float32)
    out = gnp.nextafter(gnp.asarray(a, device=device), gnp.asarray(b, device=device)).numpy()
    np.testing.assert_array_equal(out.view(np.int32), np.nextafter(a, b).view(np.int32))


def test_in_place_remainders(device):
    want, by = REAL[5:].copy(), np.full(10, -2.0)
    x = gnp.asarray(want.copy(), device=device)
    x %= gnp.asarray(by, device=device)
    np.testing.assert_array_equal(x.numpy(), want % by)
    x = gnp.asarray(want.copy(), device=device)
    x //= 0.001
    np.testing.assert_array_equal(x.numpy(), want // 0.001)
    m = gnp.asarray(np.eye(2) * 2, device=device)
    m @= gnp.asarray([[1.0, 2.0], [3.0, 4.0]], device=device)
    assert m.tolist() == [[2.0, 4.0], [6.0, 8.0]]
    with pytest.raises(ValueError, match=r"in place: a result of shape \(2,\)"):
        m @= gnp.asarray([1.0, 2.0], device=device)
    k = gnp.asarray([5, 7], device=device)
    with pytest.raises(TypeError, match=r"same_kind"):
        k %= 2.5
