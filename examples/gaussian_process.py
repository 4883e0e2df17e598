"""A Gaussian process whose kernel's parameters are learnt through `cholesky`.

    python examples/gaussian_process.py [--device cuda] [--picture gaussian_process.png]

The negative log marginal likelihood (Rasmussen & Williams 2006, algorithm 2.1) is minimised over
the logarithms of the length scale, the amplitude and the noise.
"""

import argparse

from numpy.random import default_rng

import gpugrad as gg
import gpugrad.numpy as np
from gpugrad.numpy.linalg import cholesky
from gpugrad.scipy.linalg import solve_triangular


def kernel(a, b, log_length, log_amplitude):
    """Squared exponential: ``amplitude² exp(-(a - b)² / (2 length²))``."""
    distance = (a[:, None] - b[None, :]) / np.exp(log_length)
    return np.exp(2 * log_amplitude - distance * distance / 2)


def factor(parameters, x):
    """The Cholesky factor of the covariance of noisy observations at ``x``."""
    log_length, log_amplitude, log_noise = parameters
    noise = np.exp(2 * log_noise) * np.eye(len(x), device=x.device)
    return cholesky(kernel(x, x, log_length, log_amplitude) + noise)


def negative_log_likelihood(parameters, x, y):
    """``(yᵀ K⁻¹ y + log det K + n log 2π) / 2``."""
    lower = factor(parameters, x)
    white = solve_triangular(lower, y, lower=True)
    return (
        np.sum(white * white) / 2
        + np.sum(np.log(np.diagonal(lower)))
        + len(x) * np.log(2 * np.pi) / 2
    )


def fit(x, y, steps=150, rate=0.05):
    """The learnt parameters and the losses on the way, by Adam."""
    step_gradient = gg.value_and_grad(negative_log_likelihood)
    parameters = np.zeros(3, device=x.device)
    momentum, square = np.zeros_like(parameters), np.zeros_like(parameters)
    losses = []
    for t in range(1, steps + 1):
        loss, g = step_gradient(parameters, x, y)
        momentum = 0.9 * momentum + 0.1 * g
        square = 0.99 * square + 0.01 * g * g
        rescaled = momentum / (1 - 0.9**t) / (np.sqrt(square / (1 - 0.99**t)) + 1e-8)
        parameters = parameters - rate * rescaled
        losses.append(loss)
    return parameters, [float(loss) for loss in losses]


def predict(parameters, x, y, at):
    """Mean and standard deviation of the function at the points ``at``."""
    lower = factor(parameters, x)
    across = kernel(x, at, parameters[0], parameters[1])
    white = solve_triangular(lower, y, lower=True)
    shadow = solve_triangular(lower, across, lower=True)
    variance = np.exp(2 * parameters[1]) - np.sum(shadow * shadow, axis=0)
    return shadow.T @ white, np.sqrt(np.maximum(variance, 0))


def make_data(count, device):
    """Noisy observations of a function, with a gap in the middle."""
    rng = default_rng(0)
    x = rng.uniform(-4, 4, size=count)
    x = np.sort(np.where(np.abs(x - 0.8) < 0.8, x - 3.2, x))
    y = np.sin(1.5 * x) + 0.3 * x + 0.15 * rng.normal(size=count)
    return gg.Array(x).to(device), gg.Array(y).to(device)


def draw(x, y, parameters, losses, path):
    """Draw the prediction with two standard deviations, and the loss."""
    from matplotlib.figure import Figure

    at = np.linspace(-5, 5, 200, device=x.device)
    mean, deviation = (v.numpy() for v in predict(parameters, x, y, at))
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[2, 1])
    left.fill_between(at.numpy(), mean - 2 * deviation, mean + 2 * deviation, alpha=0.25)
    left.plot(at.numpy(), mean, label="mean ± 2 standard deviations")
    left.plot(x.numpy(), y.numpy(), "k.", ms=5, label="observed")
    length, amplitude, noise = np.exp(parameters).numpy()
    left.set(title=f"length {length:.2f}, amplitude {amplitude:.2f}, noise {noise:.2f}", xlabel="x")
    left.legend(loc="upper left")
    right.plot(losses)
    right.set(title="Negative log likelihood", xlabel="step")
    figure.savefig(path, dpi=120)


def main(device="cpu", picture="gaussian_process.png", count=60, steps=150):
    """Learn, report and draw."""
    x, y = make_data(count, device)
    parameters, losses = fit(x, y, steps)
    length, amplitude, noise = np.exp(parameters).numpy()
    print(f"negative log likelihood {losses[0]:.2f} -> {losses[-1]:.2f}")
    print(f"length {length:.3f}, amplitude {amplitude:.3f}, noise {noise:.3f} (made with 0.15)")
    draw(x, y, parameters, losses, picture)
    print(f"drew {picture}")
    return parameters, losses


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--picture", default="gaussian_process.png")
    main(**vars(parser.parse_args()))
