"""The hand-written kernels against the same work composed of NumPy or CuPy calls, and PyTorch.

    python benchmarks/kernels.py [SECTION ...] [--device cuda] [--json FILE] [--png FILE]

Contenders of one piece of work run in one process, interleaved; medians count, and ratios more than
seconds. On a GPU each kernel's bandwidth is compared with that of a copy on the same device. A
family of kernels adds a section: a function of the array module that yields `Work`.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

# PyTorch's threads would spin on for a while after each call, on the cores of the others.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
from gpugrad.kernels import activation, philox
from interleave import interleave, report

import gpugrad as gg
from gpugrad import nn

try:
    import torch
except ImportError:
    torch = None


class Work(NamedTuple):
    """One piece of work: the contenders by name, and the bytes that it must move at least."""

    title: str
    contenders: dict[str, Callable[[], object]]
    bytes: int


Section = Callable[[Any], Iterator[Work]]
SECTIONS: dict[str, Section] = {}
"""A section for each family of kernels. Its argument is ``numpy`` or ``cupy``."""


def section(name: str) -> Callable[[Section], Section]:
    """Add a section."""
    return lambda f: SECTIONS.setdefault(name, f)


def normal(xp: Any, *shape: int, dtype: str = "f4", seed: int = 0) -> Any:
    return xp.asarray(np.random.default_rng(seed).normal(size=shape).astype(dtype))


def on_cpu_with_torch(xp: Any) -> bool:
    return xp is np and torch is not None


# ------------------------------------------------------------------------------ activations


@section("activation")
def activations(xp: Any) -> Iterator[Work]:
    """A million float32 in rows of 1024: backward passes with the bias gradient, and forward."""
    x, g = normal(xp, 1024, 1024), normal(xp, 1024, 1024, seed=1)
    b = normal(xp, 1024, seed=2)
    state = xp.asarray(philox.stream(1))
    size = x.nbytes

    def composed_gelu() -> Any:
        z = x + b
        t = xp.tanh(0.7978845608 * (z + 0.044715 * (z * z * z)))
        slope = 0.5 * (1 + t) + 0.5 * z * (1 - t * t) * (0.7978845608 * (1 + 0.134145 * (z * z)))
        dx = g * slope
        return dx, dx.sum(0)

    def composed_silu() -> Any:
        z = x + b
        s = 1 / (1 + xp.exp(-z))
        dx = g * (s * (1 + z * (1 - s)))
        return dx, dx.sum(0)

    def composed_relu() -> Any:
        dx = g * (x > 0)
        return dx, dx.sum(0)

    def composed_dropout() -> Any:
        return x * (xp.random.random(x.shape) >= 0.1) / 0.9

    library = xp.__name__
    for name, act, composed in (
        ("gelu (tanh)", activation.GeluTanh(), composed_gelu),
        ("silu", activation.Silu(), composed_silu),
        ("relu", activation.Relu(), composed_relu),
    ):
        yield Work(
            f"{name} backward with bias gradient",
            {
                "gpugrad": lambda act=act: activation.backward(act, g, x, b, sums=True),
                library: composed,
            },
            3 * size,
        )
    for approximate, act in (("tanh", activation.GeluTanh()), ("none", activation.Gelu())):
        peers = {"gpugrad": lambda act=act: activation.backward(act, g, x)}
        if on_cpu_with_torch(xp):
            pull = torch.ops.aten.gelu_backward
            given = (torch.tensor(g), torch.tensor(x))
            peers["torch"] = functools.partial(pull, *given, approximate=approximate)
        yield Work(f"gelu ({approximate}) backward", peers, 3 * size)
    peers = {
        "gpugrad": lambda: nn.gelu(x, bias=b),
        library: lambda: 0.5 * (x + b) * (1 + xp.tanh(0.7978845608 * (x + b))),
    }
    yield Work("gelu forward with bias", peers, 2 * size)
    peers = {
        "gpugrad": lambda: activation.forward(activation.Identity(), x, rate=0.1, state=state),
        library: composed_dropout,
    }
    if on_cpu_with_torch(xp):
        tx = torch.tensor(x)
        peers["torch"] = lambda: torch.nn.functional.dropout(tx, 0.1)
    yield Work("dropout", peers, 2 * size)


# ------------------------------------------------------------------------------ fuse


@section("fuse")
def fused(xp: Any) -> Iterator[Work]:
    """A density of a million float32, its value and its gradient for three arguments."""

    def density(x: Any, mean: Any, width: Any) -> Any:
        z = (x - mean) / width
        return np.exp(-0.5 * z * z) / width

    one = gg.fuse(density)
    xs = [normal(xp, 1 << 20, seed=k) for k in range(2)]
    xs.append(abs(normal(xp, 1 << 20, seed=2)) + 1)
    g = normal(xp, 1 << 20, seed=3)
    size = g.nbytes
    peers = {"gpugrad": lambda: one(*xs), xp.__name__: lambda: density(*xs)}
    yield Work("density, forward", peers, 4 * size)
    pulls = {"gpugrad": gg.vjp(one, *xs)[1], "operation by operation": gg.vjp(density, *xs)[1]}
    yield Work(
        "density, backward", {k: lambda pull=pull: pull(g) for k, pull in pulls.items()}, 7 * size
    )


# ------------------------------------------------------------------------------ the program


def bandwidth(xp: Any) -> float:
    """Bytes that a copy reads and writes in a second on this device."""
    x = xp.zeros(1 << 26, "u1")
    y = xp.empty_like(x)
    (spent,) = interleave({"copy": waiting(xp, lambda: xp.copyto(y, x))}, rounds=20).values()
    return 2 * x.nbytes / spent


def waiting(xp: Any, call: Callable[[], object]) -> Callable[[], object]:
    """The call together with its work on the device."""
    if xp is np:
        return call

    def both() -> None:
        call()
        xp.cuda.Stream.null.synchronize()

    return both


def measure(xp: Any, names: list[str]) -> dict[str, dict[str, float]]:
    copy = bandwidth(xp) if xp is not np else 0.0
    found: dict[str, dict[str, float]] = {}
    for name in names:
        for work in SECTIONS[name](xp):
            timed = {n: waiting(xp, call) for n, call in work.contenders.items()}
            medians = interleave(timed, rounds=30)
            ratios = report(f"{name}: {work.title}", medians)
            if copy:
                share = work.bytes / medians["gpugrad"] / copy
                print(f"  {share:.0%} of a copy's {copy / 1e9:.0f} GB/s")
                ratios["share of a copy's bandwidth"] = share
            found[f"{name}: {work.title}"] = {**ratios, "seconds": medians["gpugrad"]}
    return found


def draw(found: dict[str, dict[str, float]], path: Path) -> None:
    """Bars of how many times as long as gpugrad each contender takes."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    peers = sorted({n for row in found.values() for n in row} - {"gpugrad", "seconds"})
    peers = [p for p in peers if not p.startswith("share")]
    figure, axes = plt.subplots(figsize=(9, 1 + 0.45 * len(found)), layout="constrained")
    height = 0.8 / max(1, len(peers))
    for k, peer in enumerate(peers):
        places = [i + k * height for i, row in enumerate(found.values()) if peer in row]
        bars = axes.barh(places, [r[peer] for r in found.values() if peer in r], height, label=peer)
        axes.bar_label(bars, fmt="%.1f", padding=2, fontsize=7)
    axes.set_yticks([i + 0.4 - height / 2 for i in range(len(found))], list(found), fontsize=7)
    axes.invert_yaxis()
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlabel("times as long as gpugrad")
    axes.legend()
    figure.savefig(path, dpi=120)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--png", type=Path, metavar="FILE")
    args = parser.parse_args()
    unknown = set(args.sections) - set(SECTIONS)
    if unknown:
        parser.error(f"no section {', '.join(sorted(unknown))}: there are {', '.join(SECTIONS)}")
    xp: Any = np
    if args.device == "cuda":
        import cupy

        xp = cupy
    found = measure(xp, args.sections or list(SECTIONS))
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n")
    if args.png:
        draw(found, args.png)
    return 0


if __name__ == "__main__":
    sys.exit(main())
