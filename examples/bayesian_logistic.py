"""Bayesian logistic regression: Newton's method and the Laplace approximation, by `gg.hessian`.

    python examples/bayesian_logistic.py [--device cuda] [--picture bayesian_logistic.png]

The posterior of the weights is approximated by a normal distribution: its mean is where the
negative log posterior is smallest, its covariance is the inverse of the Hessian there
(MacKay 1992, "The evidence framework applied to classification networks").
"""

import argparse

from numpy.random import default_rng

import gpugrad as gg
import gpugrad.numpy as np
from gpugrad.numpy.linalg import cholesky, inv, solve


def features(points):
    """A constant, the coordinates and their products: the boundary is a conic section."""
    a, b = points[:, 0], points[:, 1]
    return np.stack([np.ones_like(a), a, b, a * a, a * b, b * b], axis=1)


def negative_log_posterior(w, x, labels, prior):
    """Of weights with a normal prior of standard deviation ``prior``, up to a constant."""
    z = x @ w
    return np.sum(np.logaddexp(0, z) - labels * z) + np.sum(w * w) / (2 * prior**2)


def fit(points, labels, prior=3.0, steps=30):
    """Mean and covariance of the weights, by Newton's method."""
    x = features(points)
    slope, curvature = gg.grad(negative_log_posterior), gg.hessian(negative_log_posterior)
    w = np.zeros_like(x[0])
    for _ in range(steps):
        step = solve(curvature(w, x, labels, prior), slope(w, x, labels, prior))
        w = w - step
        if float(np.max(np.abs(step))) < 1e-9:
            break
    return w, inv(curvature(w, x, labels, prior))


def predict(points, mean, covariance, samples):
    """The probability of class 1, averaged over weights that the normal ``samples`` draw."""
    w = mean + samples @ cholesky(covariance).T
    return np.mean(1 / (1 + np.exp(-features(points) @ w.T)), axis=1)


def make_data(count, device):
    """Points in two classes: inside a tilted ellipse, with some noise, and outside."""
    rng = default_rng(0)
    points = rng.normal(size=(count, 2))
    a, b = points[:, 0], points[:, 1]
    inside = (a + b) ** 2 / 3 + (a - b) ** 2 < 1 + 0.3 * rng.normal(size=count)
    return gg.Array(points).to(device), gg.Array(inside.astype("float64")).to(device)


def draw(points, labels, mean, covariance, path):
    """Draw the data, the probability and the boundary."""
    from matplotlib.figure import Figure

    device = mean.device
    axis = np.linspace(-3.2, 3.2, 121, device=device)
    grid = np.stack([np.repeat(axis, 121), np.tile(axis, 121)], axis=1)
    samples = gg.Array(default_rng(1).normal(size=(200, 6))).to(device)
    p = predict(grid, mean, covariance, samples).numpy().reshape(121, 121).T
    figure = Figure(figsize=(5.6, 4.6), layout="constrained")
    axes = figure.subplots()
    ticks, shades = axis.numpy(), [i / 20 for i in range(21)]
    shown = axes.contourf(ticks, ticks, p, levels=shades, cmap="RdBu_r")
    axes.contour(ticks, ticks, p, levels=[0.1, 0.5, 0.9], colors="k", linewidths=[0.7, 1.5, 0.7])
    colours = ["tab:red" if c else "tab:blue" for c in labels.numpy()]
    axes.scatter(*points.numpy().T, c=colours, edgecolors="w", s=22, linewidths=0.6)
    axes.set(title="Probability of the inner class", xlabel="a", ylabel="b")
    axes.set(xlim=(-3.2, 3.2), ylim=(-3.2, 3.2))
    figure.colorbar(shown, ax=axes, ticks=[0, 0.25, 0.5, 0.75, 1])
    figure.savefig(path, dpi=120)


def main(device="cpu", picture="bayesian_logistic.png", count=200):
    """Fit, report and draw."""
    points, labels = make_data(count, device)
    mean, covariance = fit(points, labels)
    deviation = np.sqrt(np.diagonal(covariance))
    for name, m, s in zip(["1", "a", "b", "aa", "ab", "bb"], mean.numpy(), deviation.numpy()):
        print(f"  weight of {name:<3}{m:7.2f} ± {s:.2f}")
    draw(points, labels, mean, covariance, picture)
    print(f"drew {picture}")
    return mean, covariance


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--picture", default="bayesian_logistic.png")
    main(**vars(parser.parse_args()))
