"""Order statistics, polynomials, interpolation and others agree with JAX, at ties too."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

import gpugrad as gg
import gpugrad.numpy as gnp
from gpugrad.device import CPU, to_device

jax = pytest.importorskip("jax")
jnp = jax.numpy

X = np.array([[1.0, -2.0, 0.5, 3.0], [0.25, 1.5, -0.75, 2.0]])
V = np.array([3.0, 1.0, -0.5, 2.0])
W = np.array([0.4, 1.25, 0.75, 2.0])
TIES = np.array([[2.0, 2.0, 1.0], [-1.0, 3.0, 3.0], [2.0, 2.0, 2.0]])
HOLED = np.array([[1.0, np.nan, 3.0], [0.5, 2.0, np.nan]])
ZEROS = np.array([2.0, 0.0, 3.0, 0.0])
POINTS = np.array([-1.0, 0.0, 0.75, 2.0])
Z = X + 1j * X[::-1]

CASES: dict[str, Any] = {
    "sort": (lambda m, x: m.sort(x, axis=0), X),
    "sort, ties": (lambda m, x: m.sort(x, axis=1), TIES),
    "sort complex": (lambda m, x: m.sort(x, axis=1), Z),
    "quantile": (lambda m, x: m.quantile(x, m.asarray(Q), axis=1), X),
    "quantile, ties": (lambda m, x: m.quantile(x, 0.4, axis=1), TIES),
    "quantile, its place": (lambda m, q: m.quantile(m.asarray(V), q), np.array([0.1, 0.45])),
    **{
        f"quantile {method}": (lambda m, x, how=method: m.quantile(x, 0.3, method=how), V)
        for method in ("lower", "higher", "midpoint", "nearest")
    },
    "percentile": (lambda m, x: m.percentile(x, 35.0, axis=0, keepdims=True), X),
    "median": (lambda m, x: m.median(x, axis=1), X),
    "median, ties": (lambda m, x: m.median(x), TIES),
    "nanmedian": (lambda m, x: m.nanmedian(x, axis=1), HOLED),
    "nanquantile": (lambda m, x: m.nanquantile(x, 0.3, axis=1), HOLED),
    **{
        name: (lambda m, x, f=name: getattr(m, f)(x, axis=1), HOLED)
        for name in ("nansum", "nanmean", "nanprod", "nanmax", "nanmin", "nanvar", "nanstd")
    },
    "nancumsum": (lambda m, x: m.nancumsum(x, axis=1), HOLED),
    "cumprod": (lambda m, x: m.cumprod(x), V),
    "cumprod with zeros": (lambda m, x: m.cumprod(x), ZEROS),
    "cumprod complex": (lambda m, x: m.cumprod(x, axis=1), Z),
    "ptp, ties": (lambda m, x: m.ptp(x, axis=1), TIES),
    "average": (lambda m, x: m.average(x, axis=1, weights=m.asarray(W)), X),
    "cov": (lambda m, x: m.cov(x), X),
    "cov complex": (lambda m, x: m.cov(x), Z),
    "corrcoef": (lambda m, x: m.corrcoef(x), X),
    "diff": (lambda m, x: m.diff(x, 2), X),
    "gradient": (lambda m, x: m.gradient(x, 0.5, axis=1), X),
    "trapezoid": (lambda m, x: m.trapezoid(m.asarray(X), x), POINTS),
    "unwrap": (lambda m, x: m.unwrap(x * 5), V),
    "interp": (lambda m, x: m.interp(x, m.asarray(POINTS), m.asarray(V)), W),
    "interp, its points": (lambda m, p: m.interp(m.asarray(W), p, m.asarray(V)), POINTS),
    "interp at the points": (lambda m, x: m.interp(x, m.asarray(POINTS), m.asarray(V)), POINTS),
    "polyval": (lambda m, p: m.polyval(p, m.asarray(W)), V),
    "polymul": (lambda m, p: m.polymul(p, m.asarray(W)), V),
    "polyder": (lambda m, p: m.polyder(p, 2), V),
    "polyint": (lambda m, p: m.polyint(p, 2), V),
    "vander": (lambda m, x: m.vander(x, 3), V),
    "cross": (lambda m, x: m.cross(x, m.asarray(W[:3])), TIES),
    "kron": (lambda m, x: m.kron(x, m.asarray(X)), TIES),
    "trace": (lambda m, x: m.trace(x, 1), X),
    "diagonal": (lambda m, x: m.diagonal(x, -1), X),
    "rot90": (lambda m, x: m.rot90(x, 3), X),
    "select": (lambda m, x: m.select([x > 1, x > 0], [x**2, -x], 2.0), X),
    "choose": (lambda m, x: m.choose(m.asarray([1, 0, 1, 1]), [x, 2 * x], mode="clip"), V),
    "histogram's weights": (lambda m, w: m.histogram(m.asarray(V), 3, weights=w)[0], W),
    "bincount": (lambda m, w: m.bincount(m.asarray([0, 2, 2, 1]), w, length=4), W),
    "linspace": (lambda m, x: m.linspace(x[0], x[1], 5), V),
    "logspace": (lambda m, x: m.logspace(x[0], x[1], 5), V),
    "geomspace": (lambda m, x: m.geomspace(x[0], x[1], 5), V),
    "angle": (lambda m, z: m.angle(z), Z),
    "nan_to_num": (lambda m, x: m.nan_to_num(x, nan=2.0), HOLED),
    "i0": (lambda m, x: m.i0(x), V),
    "sum of a mask's": (lambda m, x: m.sum(x, where=m.asarray(TIES) > 1), TIES),
    "max of a mask's": (lambda m, x: m.max(x, where=m.asarray(TIES) > 1, initial=0.0), TIES),
    "piecewise": (lambda m, x: m.piecewise(x, [x < 0, x > 1], [m.exp, m.sin, lambda t: t]), V),
    "insert": (lambda m, x: m.insert(x, 1, x[2]), V),
    "delete": (lambda m, x: m.delete(x, 1), V),
    "tril": (lambda m, x: m.tril(x, -1), TIES),
    "apply_along_axis": (lambda m, x: m.apply_along_axis(lambda r: m.cumsum(r) * r[0], 1, x), X),
}
Q = np.array([0.2, 0.9])


@functools.cache
def by_jax(name: str) -> tuple[Any, Any, Any]:
    """The value, a cotangent and what JAX pulls back; once for both devices, as JAX compiles."""
    f, x = CASES[name]
    with jax.enable_x64(True):
        value, pull = jax.vjp(lambda x: f(jnp, x), jnp.asarray(x))
        u = np.linspace(0.5, 1.5, value.size).reshape(value.shape)
        u = np.asarray(u * (1 - 0.5j) if value.dtype.kind == "c" else u, value.dtype)
        return np.asarray(value), u, np.asarray(pull(jnp.asarray(u))[0])


class Beside:
    """``gpugrad.numpy`` whose ``asarray`` puts constants where the operands are."""

    def __init__(self, device: Any) -> None:
        self.device = device

    def __getattr__(self, name: str) -> Any:
        return getattr(gnp, name)

    def asarray(self, x: Any) -> Any:
        return to_device(np.asarray(x), self.device)


@pytest.mark.parametrize("name", CASES)
def test_value_and_gradient(name, device):
    f, x = CASES[name]
    want, u, want_g = by_jax(name)
    with np.errstate(all="ignore"):
        got, pull = gg.vjp(lambda x: f(Beside(device), x), to_device(x, device))
        (got_g,) = pull(to_device(u, device))
    for a, b in ((got, want), (got_g, want_g)):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(to_device(a, CPU), b, rtol=1e-9, atol=1e-12)
