"""Fitting an ordinary differential equation to noisy observations of its solution.

    python examples/ode_fit.py [--device cuda] [--picture ode_fit.png]

Prey and predators (Lotka 1920, Volterra 1926): `odeint` solves the equations, its gradient is the
slope of the misfit by the rates and by the numbers at the start, and SciPy's BFGS goes down it.
"""

import argparse

import scipy.optimize
from numpy.random import default_rng

import gpugrad as gg
import gpugrad.numpy as np
from gpugrad.scipy.integrate import odeint

TRUE = [1.1, 0.4, 0.1, 0.4, 10.0, 5.0]
"""Growth of the prey, their risk; growth and death of the predators; prey, predators at first."""


def change(state, t, rates):
    """How fast there get to be more of each."""
    prey, predators = state
    meetings = prey * predators
    return np.stack(
        [rates[0] * prey - rates[1] * meetings, rates[2] * meetings - rates[3] * predators]
    )


def solution(unknown, times):
    """Both numbers at ``times``; ``unknown`` are the logarithms of the rates and the start."""
    values = np.exp(unknown)
    return odeint(change, values[4:], times, (values[:4],), rtol=1e-5, atol=1e-5)


def loss(unknown, times, observed):
    """Mean squared difference of the logarithms, since the noise is relative."""
    difference = np.log(solution(unknown, times)) - np.log(observed)
    return np.mean(difference * difference)


def fit(times, observed, steps):
    """The logarithms found by BFGS, and the loss before and after each of its steps."""
    value_and_slope = gg.value_and_grad(loss)

    def on_device(unknown):
        value, slope = value_and_slope(gg.Array(unknown).to(times.device), times, observed)
        return float(value), slope.numpy()

    start = np.log(np.asarray([0.8, 0.3, 0.15, 0.6, 8.0, 6.0])).numpy()
    losses = [on_device(start)[0]]

    def note(intermediate_result):
        losses.append(intermediate_result.fun)

    found = scipy.optimize.minimize(
        on_device, start, jac=True, method="BFGS", callback=note, options={"maxiter": steps}
    )
    return gg.Array(found.x).to(times.device), losses


def make_data(count, device):
    """What was counted at times 0 to 20, with noise."""
    times = np.linspace(0, 20, count, device=device)
    exact = solution(np.log(np.asarray(TRUE)).to(device), times)
    noise = default_rng(0).normal(scale=0.1, size=exact.shape)
    return times, exact * np.exp(gg.Array(noise).to(device))


def draw(times, observed, unknown, losses, path):
    """Draw what was counted, the solution that was found, and the loss."""
    from matplotlib.figure import Figure

    fine = np.linspace(0, 20, 200, device=times.device)
    curves = solution(unknown, fine).numpy()
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[2, 1])
    for i, name in enumerate(["prey", "predators"]):
        left.plot(fine.numpy(), curves[:, i], color=f"C{i}", label=name)
        left.plot(times.numpy(), observed.numpy()[:, i], "o", color=f"C{i}", ms=4)
    left.set(title="Counted, and the solution that was found", xlabel="time")
    left.legend(loc="upper center", bbox_to_anchor=(0.27, 1))  # between the peaks
    right.semilogy(losses, marker=".")
    right.set(title="Loss", xlabel="step")
    right.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


def main(device="cpu", picture="ode_fit.png", count=25, steps=30):
    """Fit, report and draw."""
    times, observed = make_data(count, device)
    unknown, losses = fit(times, observed, steps)
    found = np.exp(unknown).numpy()
    print("  true " + " ".join(f"{v:7.3f}" for v in TRUE))
    print(" found " + " ".join(f"{v:7.3f}" for v in found))
    print(f"loss {losses[0]:.3g} -> {losses[-1]:.3g}")
    draw(times, observed, unknown, losses, picture)
    print(f"drew {picture}")
    return found, losses


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--picture", default="ode_fit.png")
    main(**vars(parser.parse_args()))
