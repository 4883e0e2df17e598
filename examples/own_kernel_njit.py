"""A gradient through your own compiled CPU code (numba.njit).

The kernel solves a tridiagonal system by the Thomas algorithm, whose loops array code cannot write
as one operation. The gradient of a solution is another solution, of the transposed system, so one
kernel serves for both, and for derivatives of every order.
"""

import numba
import numpy as np

import gpugrad as gg
import gpugrad.numpy as gnp


@numba.njit(cache=True)
def eliminate(lower, main, upper, rhs):
    """Solve lower[i] x[i-1] + main[i] x[i] + upper[i] x[i+1] = rhs[i]."""
    n = len(rhs)
    c, x = np.empty(n), np.empty(n)
    c[0], x[0] = upper[0] / main[0], rhs[0] / main[0]
    for i in range(1, n):
        pivot = main[i] - lower[i] * c[i - 1]
        c[i] = upper[i] / pivot
        x[i] = (rhs[i] - lower[i] * x[i - 1]) / pivot
    for i in range(n - 2, -1, -1):
        x[i] -= c[i] * x[i + 1]
    return x


# A primitive's function gets raw NumPy arrays, whatever encloses it.
@gg.primitive
def tridiagonal(lower, main, upper, rhs):
    """The solution; lower[0] and upper[-1] are not used."""
    return eliminate(lower, main, upper, rhs)


def pull(g, lower, main, upper):
    """What the cotangent of the solution means for rhs: the transposed system's solution."""
    return tridiagonal(gnp.roll(upper, 1), main, gnp.roll(lower, -1), g)


def above(x):
    """x[i - 1], 0 at the start."""
    return gnp.pad(x[:-1], (1, 0))


def below(x):
    """x[i + 1], 0 at the end."""
    return gnp.pad(x[1:], (0, 1))


gg.defvjp(
    tridiagonal,
    lambda x, lower, main, upper, rhs: lambda g: -pull(g, lower, main, upper) * above(x),
    lambda x, lower, main, upper, rhs: lambda g: -pull(g, lower, main, upper) * x,
    lambda x, lower, main, upper, rhs: lambda g: -pull(g, lower, main, upper) * below(x),
    lambda x, lower, main, upper, rhs: lambda g: pull(g, lower, main, upper),
)


def cool(conductivity, heat, steps=5):
    """Implicit steps of the heat equation on a rod whose ends are kept at 0."""
    side = -conductivity * np.ones(len(heat))
    for _ in range(steps):
        heat = tridiagonal(side, 1 - 2 * side, side, heat)
    return heat


def loss(conductivity, heat, observed):
    """How far the rod is from what was observed."""
    return ((cool(conductivity, heat) - observed) ** 2).sum()


def main():
    """Find the conductivity by which a rod cooled."""
    heat = np.exp(-(np.linspace(-2, 2, 50) ** 2))
    observed = cool(0.7, heat)
    conductivity = 0.1
    for _ in range(20):  # Newton's method: the gradient, and the gradient's own
        slope = gg.grad(loss)(conductivity, heat, observed)
        curvature = gg.grad(gg.grad(loss))(conductivity, heat, observed)
        conductivity -= slope / abs(curvature)
    print(f"conductivity {conductivity:.3f}, made with 0.7")


if __name__ == "__main__":
    main()
