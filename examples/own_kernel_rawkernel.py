"""A gradient through your own CUDA C++ kernel (CuPy's RawKernel).

The kernel computes the advection term u * du/dx of Burgers' equation on a periodic grid. A second
kernel is its adjoint, written by hand: it gathers what each u[i] got back, so it needs no atomics
and gives the same bits on every run. Both are launched on CuPy's current stream.
"""

import cupy as cp

import gpugrad as gg

SOURCE = """
extern "C" __global__ void advect(const double* u, double* y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = u[i] * (u[(i + 1) % n] - u[(i + n - 1) % n]) / 2;
}

// u[i] appears in three outputs: its own, its left neighbour's and its right neighbour's.
extern "C" __global__ void advect_adjoint(const double* u, const double* g, double* out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    int l = (i + n - 1) % n, r = (i + 1) % n;
    out[i] = (g[i] * (u[r] - u[l]) + g[l] * u[l] - g[r] * u[r]) / 2;
}
"""
module = cp.RawModule(code=SOURCE)


def launch(name, *inputs):
    """Run a kernel over the inputs, which it reads as contiguous float64, into a new array."""
    inputs = [cp.ascontiguousarray(x, dtype=cp.float64) for x in inputs]
    out = cp.empty_like(inputs[0])
    blocks = (out.size + 255) // 256
    module.get_function(name)((blocks,), (256,), (*inputs, out, cp.int32(out.size)))
    return out


# A primitive's function gets raw CuPy arrays, whatever encloses it, and gpugrad does not look in.
@gg.primitive
def advect(u):
    """U * du/dx, with the grid's spacing as the unit of length."""
    return launch("advect", u)


@gg.primitive
def advect_adjoint(u, g):
    """What the cotangent g of advect(u) means for u."""
    return launch("advect_adjoint", u, g)


# ans is the output, then come the arguments; the inner function takes the output's cotangent.
gg.defvjp(advect, lambda ans, u: lambda g: advect_adjoint(u, g))


def energy_after_a_step(u, dt=0.1):
    """A loss around the kernel, in plain array code."""
    u = u - dt * advect(u)
    return (u * u).sum()


def main():
    """Print a gradient that went through the kernel."""
    u = cp.sin(cp.linspace(0, 2 * cp.pi, 64, endpoint=False))
    energy, slope = gg.value_and_grad(energy_after_a_step)(u)
    print(f"energy {float(energy):.4f}, largest slope {float(abs(slope).max()):.4f}")


if __name__ == "__main__":
    main()
