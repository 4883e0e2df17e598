"""A gradient through your own Python kernel (numba.cuda).

The kernel is a recurrence, y[t] = decay * y[t - 1] + x[t], one thread for each column: a loop over
time that array code cannot write as one operation.
"""

import cupy as cp
from numba import cuda

import gpugrad as gg
import gpugrad.numpy as gnp


@cuda.jit
def recur(x, decay, y):
    """Walk down one column."""
    column = cuda.grid(1)
    if column < x.shape[1]:
        state = 0.0
        for t in range(x.shape[0]):
            state = decay[0] * state + x[t, column]
            y[t, column] = state


@gg.primitive
def leaky_sum(x, decay):
    """The recurrence over axis 0 of x, of shape (time, columns); decay is of shape (1,)."""
    y = cp.empty_like(x)
    # Numba has streams of its own and, handed an array of another library, waits for that one's.
    # On CuPy's current stream the launch is in order with everything else, so nothing need wait.
    stream = cuda.external_stream(cp.cuda.get_current_stream().ptr)
    arrays = [cuda.as_cuda_array(a, sync=False) for a in (x, decay, y)]
    recur[(x.shape[1] + 127) // 128, 128, stream](*arrays)
    return y


def pull(g, decay):
    """The cotangent of x: the same recurrence, from the end of time to its beginning."""
    return gnp.flip(leaky_sum(gnp.flip(g, 0), decay), 0)


# y[t] depends on decay by y[t - 1] directly, and what y[t] counts for in all is pull(g)[t].
# Written with the primitive itself and gpugrad.numpy, the VJPs can be differentiated again.
gg.defvjp(
    leaky_sum,
    lambda ans, x, decay: lambda g: pull(g, decay),
    lambda ans, x, decay: lambda g: gnp.sum(pull(g, decay)[1:] * ans[:-1], keepdims=True)[0],
)


def loss(decay, x, y):
    """How far the recurrence is from what was observed."""
    return ((leaky_sum(x, decay) - y) ** 2).mean()


def main():
    """Find the decay that made the data."""
    x = cp.random.default_rng(0).standard_normal((50, 20))
    y = leaky_sum(x, cp.asarray([0.8]))
    decay = cp.asarray([0.3])
    for _ in range(100):
        decay -= 0.02 * gg.grad(loss)(decay, x, y)
    print(f"decay {float(decay[0]):.3f}, made with 0.8")


if __name__ == "__main__":
    main()
