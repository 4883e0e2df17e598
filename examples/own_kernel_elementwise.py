"""A gradient through your own elementwise kernel (CuPy's ElementwiseKernel).

The Huber loss in one pass over the residuals, and its derivative in one more. Written with
where(...) each would be several kernels. CuPy compiles one version for each dtype and launches it
on the current stream.
"""

import cupy as cp

import gpugrad as gg

huber_kernel = cp.ElementwiseKernel(
    "T r, T delta",
    "T y",
    "T a = abs(r); y = a < delta ? r * r / 2 : delta * (a - delta / 2)",
    "huber",
)
huber_slope = cp.ElementwiseKernel(
    "T g, T r, T delta", "T out", "out = g * min(max(r, -delta), delta)", "huber_slope"
)


# Keyword arguments are passed on as they are and not differentiated.
@gg.primitive
def huber(r, *, delta=1.0):
    """Quadratic near 0, linear beyond delta."""
    return huber_kernel(r, r.dtype.type(delta))


@gg.primitive
def huber_pull(g, r, *, delta):
    """The cotangent g of huber(r), times the slope."""
    return huber_slope(g, r, r.dtype.type(delta))


gg.defvjp(huber, lambda ans, r, *, delta=1.0: lambda g: huber_pull(g, r, delta=delta))

# huber_pull is linear in g, and in r its slope is 1 or 0. With these two lines second derivatives
# work as well: each VJP may be plain array code.
gg.defvjp(
    huber_pull,
    lambda ans, g, r, *, delta: lambda h: huber_pull(h, r, delta=delta),
    lambda ans, g, r, *, delta: lambda h: h * g * (abs(r) < delta),
)


def robust_loss(w, x, y):
    """Linear regression that outliers do not spoil."""
    return huber(x @ w - y, delta=0.5).mean()


def main():
    """Fit a line through points of which some are far off."""
    rng = cp.random.default_rng(0)
    x = rng.standard_normal((200, 2))
    y = x @ cp.asarray([2.0, -1.0])
    y[::20] += 50
    w = cp.zeros(2)
    for _ in range(400):
        w -= 0.5 * gg.grad(robust_loss)(w, x, y)
    print(f"w = {w}, made with [2, -1] and an outlier in 20 points")


if __name__ == "__main__":
    main()
