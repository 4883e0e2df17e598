"""A differentiable heat-equation solver: the initial state is recovered from the final one.

    python examples/heat_equation.py [--device cuda] [--picture heat_equation.png]

The two-dimensional heat equation with insulated borders is stepped explicitly. The gradient of
the misfit with respect to the initial state goes back through all the steps; `gg.checkpoint` keeps
one state for each block of them and computes the others again.
"""

import argparse

from numpy.random import default_rng

import gpugrad as gg
import gpugrad.numpy as np


def step(u, rate=0.2):
    """One explicit step of ``du/dt = Laplacian(u)``; stable for a rate below 1/4."""
    padded = np.pad(u, 1, mode="edge")
    around = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
    return u + rate * (around - 4 * u)


@gg.checkpoint
def ten_steps(u):
    """A block of steps, of which only the start is kept."""
    for _ in range(10):
        u = step(u)
    return u


def diffuse(u, blocks):
    """The state after ten steps for each block."""
    for _ in range(blocks):
        u = ten_steps(u)
    return u


def loss(u, observed, blocks, weight):
    """Misfit of the final state, and a penalty on differences between neighbours.

    The penalty is smooth at 0 and grows like the difference itself, which allows sharp edges
    (total variation: Rudin, Osher & Fatemi 1992).
    """
    misfit = diffuse(u, blocks) - observed
    down, right = u[1:, :-1] - u[:-1, :-1], u[:-1, 1:] - u[:-1, :-1]
    edges = np.sqrt(down * down + right * right + 1e-4)
    return np.sum(misfit * misfit) / 2 + weight * np.sum(edges)


def recover(observed, blocks, steps=400, rate=0.9, weight=1e-4):
    """The initial state, by Nesterov's accelerated gradient descent from the observed one."""
    step_gradient = gg.value_and_grad(loss)
    u = previous = observed
    losses = []
    for t in range(steps):
        ahead = u + t / (t + 3) * (u - previous)
        value, g = step_gradient(ahead, observed, blocks, weight)
        previous, u = u, np.clip(ahead - rate * g, 0, 1)
        losses.append(value)
    return u, [float(v) for v in losses]


def make_state(side, device):
    """A ring and a bar of heat."""
    axis = np.linspace(-1, 1, side)
    x, y = axis[None, :], axis[:, None]
    radius = np.sqrt((x + 0.25) ** 2 + (y + 0.1) ** 2)
    ring = (radius > 0.3) & (radius < 0.5)
    bar = (np.abs(x - 0.6) < 0.12) & (np.abs(y) < 0.6)
    return gg.Array((ring | bar).astype("float64")).to(device)


def draw(truth, observed, found, losses, path):
    """Draw the three states and the loss."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.2), layout="constrained")
    *cells, last = figure.subplots(1, 4)
    states = {"true start": truth, "observed end": observed, "recovered start": found}
    for axes, (title, state) in zip(cells, states.items()):
        axes.imshow(state.numpy(), cmap="inferno", vmin=0, vmax=1)
        axes.set_title(title)
        axes.set_axis_off()
    last.semilogy(losses)
    last.set(title="Loss", xlabel="step")
    last.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


def main(device="cpu", picture="heat_equation.png", side=48, blocks=3, steps=400):
    """Diffuse, recover, report and draw."""
    truth = make_state(side, device)
    noise = 0.002 * default_rng(0).normal(size=(side, side))
    observed = diffuse(truth, blocks) + gg.Array(noise).to(device)
    found, losses = recover(observed, blocks, steps)
    scale = np.sum(truth * truth)
    before, after = (float(np.sqrt(np.sum((u - truth) ** 2) / scale)) for u in (observed, found))
    print(f"relative error: {before:.2f} of the observed state, {after:.2f} of the recovered one")
    draw(truth, observed, found, losses, picture)
    print(f"drew {picture}")
    return before, after


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--picture", default="heat_equation.png")
    main(**vars(parser.parse_args()))
