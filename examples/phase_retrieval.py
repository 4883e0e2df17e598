"""Phase retrieval: an image from the magnitudes of its Fourier transforms alone.

    python examples/phase_retrieval.py [--device cuda] [--picture phase_retrieval.png]

A detector measures intensities, so the phases are lost. Here the complex image is behind each of
a few known random masks in turn (coded diffraction: Candès, Li & Soltanolkotabi 2015), and gradient
descent through the complex FFT finds it again, up to one global phase.
"""

import argparse

from numpy.random import default_rng

import gpugrad as gg
import gpugrad.numpy as np


def magnitudes(image, masks):
    """What the detector sees behind each mask: ``|FFT(mask · image)|``."""
    return np.abs(np.fft.fft2(masks * image, norm="ortho"))


def loss(image, masks, measured):
    """Half the mean squared difference of magnitudes (amplitude flow)."""
    difference = magnitudes(image, masks) - measured
    return np.sum(difference * difference) / (2 * len(masks))


def recover(masks, measured, start, steps=200, rate=1.0):
    """Gradient descent with momentum from ``start``.

    The gradient of a real function of a complex array is conjugated to point uphill: the cotangent
    is the transpose of the derivative, as in HIPS autograd and JAX.
    """
    step_gradient = gg.value_and_grad(loss)
    image, velocity = start, np.zeros_like(start)
    losses = []
    for _ in range(steps):
        value, g = step_gradient(image, masks, measured)
        velocity = 0.9 * velocity - 0.1 * rate * np.conj(g)
        image = image + velocity
        losses.append(value)
    return image, [float(v) for v in losses]


def make_image(side, device):
    """Discs of different amplitude, with a phase that winds across the image."""
    axis = np.linspace(-1, 1, side)
    x, y = axis[None, :], axis[:, None]
    amplitude = 0.2 + 0.8 * ((x + 0.3) ** 2 + (y + 0.2) ** 2 < 0.25)
    amplitude = amplitude + 0.6 * ((x - 0.4) ** 2 + (y - 0.4) ** 2 < 0.1)
    return gg.Array(amplitude * np.exp(1j * np.pi * (x + 0.5 * np.sin(3 * y)))).to(device)


def make_masks(count, side, device):
    """Random phases, one mask an exposure."""
    angles = default_rng(0).uniform(0, 2 * np.pi, size=(count, side, side))
    return gg.Array(np.exp(1j * angles)).to(device)


def aligned(image, truth):
    """``image`` with the global phase that is nearest to ``truth``, and its relative error."""
    inner = np.sum(np.conj(image) * truth)
    turned = image * (inner / np.abs(inner))
    return turned, float(np.sqrt(np.sum(np.abs(turned - truth) ** 2) / np.sum(np.abs(truth) ** 2)))


def draw(truth, found, losses, path):
    """Draw amplitude and phase of the truth and of what was found, and the loss."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 4.6), layout="constrained")
    images, curve = figure.subfigures(1, 2, width_ratios=[1.05, 1])
    cells = images.subplots(2, 2)
    for row, (what, image) in enumerate([("true", truth.numpy()), ("recovered", found.numpy())]):
        cells[row, 0].imshow(abs(image), cmap="magma", vmin=0, vmax=1.7)
        cells[row, 0].set_title(f"{what} amplitude")
        cells[row, 1].imshow(np.angle(image), cmap="twilight", vmin=-np.pi, vmax=np.pi)
        cells[row, 1].set_title(f"{what} phase")
    for axes in cells.flat:
        axes.set_axis_off()
    axes = curve.subplots()
    axes.semilogy(losses)
    axes.set(title="Loss", xlabel="step")
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


def main(device="cpu", picture="phase_retrieval.png", side=64, steps=200):
    """Measure, recover, report and draw."""
    truth = make_image(side, device)
    masks = make_masks(6, side, device)
    start = np.ones_like(truth)
    found, losses = recover(masks, magnitudes(truth, masks), start, steps)
    found, error = aligned(found, truth)
    print(f"loss {losses[0]:.3g} -> {losses[-1]:.3g}, relative error of the image {error:.2g}")
    draw(truth, found, losses, picture)
    print(f"drew {picture}")
    return error, losses


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--picture", default="phase_retrieval.png")
    main(**vars(parser.parse_args()))
