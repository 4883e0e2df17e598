"""Eager speed against HIPS autograd on its own kind of work.

    python benchmarks/hips.py [--json FILE] [--only WORD] [--rounds N]

Each program is written once for NumPy's names and run three times over: by HIPS autograd, by
gpugrad with its own names (``gpugrad.numpy``, ``gpugrad.grad``), and by gpugrad under HIPS
autograd's names. All run in one process, interleaved, and must agree. Ratios count, not seconds.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import autograd
import autograd.misc.fixed_points
import autograd.numpy
import autograd.scipy
import numpy as np
from interleave import interleave

import gpugrad
import gpugrad.compat.autograd
import gpugrad.compat.autograd.misc.fixed_points
import gpugrad.compat.autograd.numpy
import gpugrad.compat.autograd.scipy
import gpugrad.numpy
import gpugrad.scipy.signal
import gpugrad.scipy.special
import gpugrad.scipy.stats


class Names(NamedTuple):
    """What a program imports."""

    np: ModuleType
    grad: Callable[..., Any]
    norm: Any
    logsumexp: Callable[..., Any]
    convolve: Callable[..., Any]
    fixed_point: Callable[..., Any]


compat = gpugrad.compat.autograd
CONTENDERS = {
    "hips": Names(
        autograd.numpy,
        autograd.grad,
        autograd.scipy.stats.norm,
        autograd.scipy.special.logsumexp,
        autograd.scipy.signal.convolve,
        autograd.misc.fixed_points.fixed_point,
    ),
    "gpugrad": Names(
        gpugrad.numpy,
        gpugrad.grad,
        gpugrad.scipy.stats.norm,
        gpugrad.scipy.special.logsumexp,
        gpugrad.scipy.signal.convolve,
        compat.misc.fixed_points.fixed_point,
    ),
    "gpugrad by HIPS's names": Names(
        compat.numpy,
        compat.grad,
        compat.scipy.stats.norm,
        compat.scipy.special.logsumexp,
        compat.scipy.signal.convolve,
        compat.misc.fixed_points.fixed_point,
    ),
}

Program = tuple[Callable[..., Any], tuple[Any, ...]]


def elementwise_chain(a: Names, n: int, rng: Any) -> Program:
    np = a.np

    def f(x: Any) -> Any:
        for _ in range(5):
            x = np.sin(x) * np.exp(-(x**2)) + x / (1.0 + x**2)
        return np.sum(np.tanh(x))

    return f, (rng.standard_normal(n),)


def logistic_regression(a: Names, n: int, rng: Any) -> Program:
    np = a.np
    features = max(2, math.isqrt(n) // 2)
    x = rng.standard_normal((n // features, features))
    y = np.where(x[:, 0] > 0, 1.0, 0.0)

    def f(w: Any) -> Any:
        p = 0.5 * (np.tanh(np.dot(x, w) / 2) + 1)
        return -np.sum(np.log(p * y + (1 - p) * (1 - y))) + 0.1 * np.sum(w**2)

    return f, (0.1 * rng.standard_normal(features),)


def black_box_svi(a: Names, n: int, rng: Any) -> Program:
    """A Gaussian posterior's lower bound by draws, as in HIPS autograd's examples."""
    np = a.np
    d = max(2, n // 10)
    noise = rng.standard_normal((10, d))

    def f(params: Any) -> Any:
        mean, log_std = params[:d], params[d:]
        samples = noise * np.exp(log_std) + mean
        target = np.sum(a.norm.logpdf(samples, 0.5, 1.3), axis=-1)
        entropy = 0.5 * d * (1.0 + np.log(2 * np.pi)) + np.sum(log_std)
        return -(entropy + np.mean(target))

    return f, (0.1 * rng.standard_normal(2 * d),)


def mixture(a: Names, n: int, rng: Any) -> Program:
    """Log-likelihood of a mixture of three Gaussians, parameters in a dict."""
    np = a.np
    x = rng.standard_normal((n // 3 + 1, 1))

    def f(p: Any) -> Any:
        weights = p["logits"] - a.logsumexp(p["logits"])
        parts = weights + a.norm.logpdf(x, p["means"], np.exp(p["scales"]))
        return -np.sum(a.logsumexp(parts, axis=1))

    params = {key: 0.3 * rng.standard_normal(3) for key in ("logits", "means", "scales")}
    return f, (params,)


def rnn(a: Names, n: int, rng: Any) -> Program:
    np = a.np
    hidden = max(2, math.isqrt(n) // 2)
    inputs = rng.standard_normal((10, max(1, n // hidden), hidden))

    def f(params: Any) -> Any:
        w, u, b = params
        h = np.zeros((inputs.shape[1], hidden)) + b
        for x in inputs:
            h = np.tanh(np.dot(x, w) + np.dot(h, u) + b)
        return np.mean(h**2)

    scale = 1 / math.sqrt(hidden)
    shapes = ((hidden, hidden), (hidden, hidden), (hidden,))
    return f, ([scale * rng.standard_normal(shape) for shape in shapes],)


def fixed_point(a: Names, n: int, rng: Any) -> Program:
    """Square roots by Newton's iteration, differentiated at the fixed point."""
    np = a.np

    def newton(s: Any) -> Callable[[Any], Any]:
        return lambda x: 0.5 * (x + s / x)

    def distance(x: Any, y: Any) -> Any:
        return np.max(np.abs(x - y))

    start = np.ones(n)

    def f(s: Any) -> Any:
        return np.sum(a.fixed_point(newton, s, start, distance, 1e-8))

    return f, (1 + rng.random(n),)


def ode_loop(a: Names, n: int, rng: Any) -> Program:
    """Twenty steps of the midpoint rule for a Lotka-Volterra system, n pairs at once."""
    np = a.np

    def slope(x: Any, y: Any, p: Any) -> Any:
        return x * (p[0] - p[1] * y), y * (p[2] * x - p[3])

    x0, y0 = 1 + rng.random(n // 2), 1 + rng.random(n // 2)

    def f(p: Any) -> Any:
        x, y = x0, y0
        for _ in range(20):
            dx, dy = slope(x, y, p)
            dx, dy = slope(x + 0.01 * dx, y + 0.01 * dy, p)
            x, y = x + 0.02 * dx, y + 0.02 * dy
        return np.sum((x - 1.0) ** 2 + (y - 1.0) ** 2)

    return f, (np.array([1.1, 0.4, 0.4, 1.2]),)


def indexing(a: Names, n: int, rng: Any) -> Program:
    """Neighbours by slices and single elements, and rows by a table of integers."""
    np = a.np
    table = rng.integers(0, n, 2 * n)

    def f(x: Any) -> Any:
        total = np.sum((x[1:] - x[:-1]) ** 2) + np.sum(x[table] ** 3)
        for i in range(min(n, 10)):
            total = total + x[i] * x[-i - 1]
        return total

    return f, (rng.standard_normal(n),)


def concatenate(a: Names, n: int, rng: Any) -> Program:
    np = a.np

    def f(x: Any) -> Any:
        for _ in range(5):
            half = x.shape[0] // 2
            x = np.concatenate([np.sin(x[half:]), x[:half] * 0.5])
        return np.sum(np.stack([x, x**2]) ** 2)

    return f, (rng.standard_normal(n),)


def einsum(a: Names, n: int, rng: Any) -> Program:
    np = a.np
    k = max(2, math.isqrt(n // 2))
    m = rng.standard_normal((k, k))

    def f(x: Any, y: Any) -> Any:
        z = np.einsum("ij,jk->ik", x, m)
        return np.sum(np.einsum("ij,ik->jk", z, y) ** 2) + np.einsum("ij,ij->", z, y)

    return f, (rng.standard_normal((k, k)), rng.standard_normal((k, k)))


def linear_algebra(a: Names, n: int, rng: Any) -> Program:
    """The log-likelihood of a Gaussian process: a kernel matrix, solve and slogdet."""
    np = a.np
    k = min(max(3, math.isqrt(n)), 600)
    x = np.array(np.linspace(0.0, 1.0, k))
    y = rng.standard_normal(k)
    distances, eye = (x[:, None] - x[None, :]) ** 2, np.eye(k)

    def f(p: Any) -> Any:
        cov = np.exp(p[0]) * np.exp(-distances * np.exp(p[1])) + np.exp(p[2]) * eye
        _sign, logdet = np.linalg.slogdet(cov)
        return 0.5 * np.dot(y, np.linalg.solve(cov, y)) + 0.5 * logdet

    return f, (np.array([0.1, 1.0, -1.0]),)


def fft(a: Names, n: int, rng: Any) -> Program:
    np = a.np
    n -= n % 2
    response = rng.standard_normal(n)

    def f(x: Any) -> Any:
        spectrum = np.fft.fft(x) * response
        return np.sum(np.abs(spectrum) ** 2) + np.sum(np.real(np.fft.ifft(spectrum)) ** 2)

    return f, (rng.standard_normal(n),)


def convolution(a: Names, n: int, rng: Any) -> Program:
    np = a.np
    taps = min(n, 9)
    signal = rng.standard_normal(n)

    def f(kernel: Any) -> Any:
        return np.sum(np.tanh(a.convolve(signal, kernel, mode="valid")) ** 2)

    return f, (rng.standard_normal(taps),)


def statistics_of_rows(a: Names, n: int, rng: Any) -> Program:
    """Standardised rows and a softmax: reductions over an axis, broadcast back."""
    np = a.np
    rows = max(2, math.isqrt(n))

    def f(x: Any) -> Any:
        z = (x - np.mean(x, axis=1, keepdims=True)) / np.std(x, axis=1, keepdims=True)
        top = np.max(z, axis=1, keepdims=True)
        p = np.exp(z - top) / np.sum(np.exp(z - top), axis=1, keepdims=True)
        return np.sum(p[:, 0] ** 2)

    return f, (rng.standard_normal((rows, max(2, n // rows))),)


PROGRAMS = [
    elementwise_chain,
    logistic_regression,
    black_box_svi,
    mixture,
    rnn,
    fixed_point,
    ode_loop,
    indexing,
    concatenate,
    einsum,
    linear_algebra,
    fft,
    convolution,
    statistics_of_rows,
]
SIZES = (10, 100, 900, 1_000_000)


def leaves(tree: Any) -> list[Any]:
    """The arrays of a gradient in a fixed order."""
    if isinstance(tree, dict):
        return [v for key in sorted(tree) for v in leaves(tree[key])]
    if isinstance(tree, list | tuple):
        return [v for part in tree for v in leaves(part)]
    return [np.asarray(tree)]


def raw(x: Any) -> Any:
    """Arrays as each library takes them: gpugrad's own `Array` would ask for one back."""
    return x.numpy() if isinstance(x, gpugrad.Array) else x


def compare(make: Callable[..., Program], n: int, rounds: int) -> dict[str, float]:
    """Microseconds of one gradient by each contender, which must agree."""
    calls, found = {}, {}
    for name, names in CONTENDERS.items():
        f, args = make(names, n, np.random.default_rng(0))
        run = names.grad(f, tuple(range(len(args))) if len(args) > 1 else 0)
        args = tuple(raw(a) for a in args)
        calls[name] = partial(run, *args)
        found[name] = leaves(calls[name]())
    for name in list(CONTENDERS)[1:]:
        for ours, theirs in zip(found[name], found["hips"], strict=True):
            if not np.allclose(ours, theirs, rtol=1e-6, atol=1e-8):
                sys.exit(f"{make.__name__}, {n} elements: {name} and hips disagree")
    spent = interleave(calls, rounds=rounds, inner=5 if n < 10_000 else 1)
    return {name: t * 1e6 for name, t in spent.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--only", default="", help="programs with this in their names")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES)
    options = parser.parse_args()
    figures: dict[str, dict[int, dict[str, float]]] = {}
    print("HIPS autograd's time over gpugrad's, in brackets under HIPS's names")
    print(f"{'':<22}" + "".join(f"{f'{n:,} elements':>22}" for n in options.sizes))
    for make in PROGRAMS:
        if options.only not in make.__name__:
            continue
        row = []
        for n in options.sizes:
            rounds = options.rounds if n < 10_000 else max(3, options.rounds // 8)
            spent = compare(make, n, rounds)
            figures.setdefault(make.__name__, {})[n] = spent
            ours, named = (spent["hips"] / spent[name] for name in list(CONTENDERS)[1:])
            row.append(f"{ours:13.2f} ({named:5.2f})")
        print(f"{make.__name__:<22}" + "".join(f"{cell:>22}" for cell in row), flush=True)
    for n in options.sizes:
        ratios = [by[n]["hips"] / by[n]["gpugrad"] for by in figures.values()]
        print(
            f"{n:>9,} elements: least {min(ratios):.2f}, geometric mean "
            f"{statistics.geometric_mean(ratios):.2f}"
        )
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
