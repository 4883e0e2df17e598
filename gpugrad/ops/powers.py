"""Powers, exponentials and chained products of matrices."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from string import ascii_letters
from typing import Any

import numpy as np

from gpugrad.core.abstract import shape_dtype
from gpugrad.core.loose import beside
from gpugrad.core.primitive import Primitive
from gpugrad.device import scipy_for
from gpugrad.ops.broadcast import broadcast_to
from gpugrad.ops.join import concatenate_p
from gpugrad.ops.matmul import einsum, matmul_p
from gpugrad.ops.matrices import identity, matrices, stacked
from gpugrad.ops.shape import normal_axis, roll_p
from gpugrad.ops.solve import inv


def matrix_power(a: Any, n: int) -> Any:
    """Each square matrix to the integer power ``n``: of the inverse for a negative one.

    By repeated squaring, so that derivatives of every order are those of products.
    """
    n = index(n)
    if shape_dtype(a).dtype.kind in "iub" and n >= 0:
        like = shape_dtype(a)
        if like.ndim < 2 or like.shape[-1] != like.shape[-2]:
            matrices(a, "matrix_power", square=True)
    else:
        a = matrices(a, "matrix_power", square=True)
    like = shape_dtype(a)
    if n == 0:
        return broadcast_to(identity(a, like.shape[-1]), like.shape) + a * 0
    if n < 0:
        a, n = inv(a), -n
    out = None
    while n:
        if n % 2:
            out = a if out is None else matmul_p(out, a)
        n //= 2
        if n:
            a = matmul_p(a, a)
    return out


# ------------------------------------------------------------------ the exponential


def _expm(xp: Any, x: Any) -> Any:
    run = scipy_for(xp, "linalg").expm
    if xp is np:
        return run(x)
    out = xp.empty(x.shape, x.dtype)  # CuPy's takes one matrix
    for at in np.ndindex(x.shape[:-2]):
        out[at] = run(x[at])
    return out


def _expm_along(x: Any, t: Any) -> Any:
    """The derivative of ``exp(A)`` along ``E``: the upper right block of ``exp([[A, E], [0, A]])``.

    The block matrix is exponentiated as one (Al-Mohy & Higham 2009, "Computing the Frechet
    derivative of the matrix exponential", theorem 2.1), which holds for derivatives of every
    order.
    """
    n, last = x.shape[-1], x.ndim - 1
    top = concatenate_p(x, t, axis=last)
    bottom = concatenate_p(x * 0, x, axis=last)
    return expm_p(concatenate_p(top, bottom, axis=last - 1))[..., :n, n:]


expm_p: Primitive = Primitive(
    "expm",
    _expm,
    shape=lambda x: x,
    vjp=lambda g, x: _expm_along(x.mT, g),
    jvp=lambda t, x: _expm_along(x, t),
    batch=stacked,
)


def expm(a: Any) -> Any:
    """The matrix exponential of each square matrix.

    SciPy's algorithm (Al-Mohy & Higham 2009, "A new scaling and squaring algorithm for the matrix
    exponential") on the CPU, CuPy's (Higham 2005) on CUDA, where each matrix waits for its norm.

    Examples
    --------
    >>> import gpugrad as gg, numpy as np
    >>> from gpugrad.scipy.linalg import expm
    >>> turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    >>> round(float(gg.grad(lambda t: expm(t * turn)[0, 0])(np.pi / 2)), 12)
    -1.0
    """
    return expm_p(matrices(a, "expm", square=True))


# ------------------------------------------------------------------ products


def multi_dot(arrays: Sequence[Any]) -> Any:
    """The product of several matrices, in the order that takes the fewest operations.

    The first and the last may be vectors: a row, a column.
    """
    if len(arrays) < 2:
        raise ValueError(f"multi_dot: two arrays or more are needed, got {len(arrays)}")
    shapes = [shape_dtype(a).shape for a in arrays]
    ends = (0, len(arrays) - 1)
    if any(len(s) != 2 and not (len(s) == 1 and i in ends) for i, s in enumerate(shapes)):
        raise np.linalg.LinAlgError(
            f"multi_dot: matrices are needed, vectors at the ends only; got shapes {shapes}"
        )
    terms = [ascii_letters[i : i + 2] for i in range(len(arrays))]
    if len(shapes[0]) == 1:
        terms[0] = terms[0][1:]
    if len(shapes[-1]) == 1:
        terms[-1] = terms[-1][:1]
    out = "".join(c for c in terms[0] + terms[-1] if "".join(terms).count(c) == 1)
    return einsum(f"{','.join(terms)}->{out}", *arrays, optimize="dp")


def cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    """The cross product of the vectors of three elements along ``axis``.

    ``x1[1] * x2[2] - x1[2] * x2[1]`` and so on round; other axes broadcast.
    """
    x1, x2 = beside(x1, x2)
    left, right = shape_dtype(x1).shape, shape_dtype(x2).shape
    at = normal_axis(axis, len(left)), normal_axis(axis, len(right))
    if (left[at[0]], right[at[1]]) != (3, 3):
        raise ValueError(f"cross: axis {axis} of shapes {left} and {right} is not of length 3")

    def turned(x: Any, where: int, by: int) -> Any:
        return roll_p(x, shift=(by,), axis=(where,))

    return turned(x1, at[0], -1) * turned(x2, at[1], -2) - turned(x1, at[0], -2) * turned(
        x2, at[1], -1
    )


def outer(x1: Any, x2: Any, /) -> Any:
    """Every product of an element of one vector with one of another."""
    x1, x2 = beside(x1, x2)
    left, right = shape_dtype(x1).shape, shape_dtype(x2).shape
    if len(left) != 1 or len(right) != 1:
        raise ValueError(f"outer needs two vectors, got shapes {left} and {right}")
    return x1[:, None] * x2[None, :]
