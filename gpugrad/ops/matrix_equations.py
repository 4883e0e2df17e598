"""Square roots of matrices, Sylvester's equation and banded systems, as ``scipy.linalg`` has them.

SciPy's own on the CPU. CuPy has none of the three: on CUDA the root is an iteration, and the
equations are written out as one dense system.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import Any

import numpy as np

from gpugrad.core.abstract import shape_dtype
from gpugrad.core.loose import beside
from gpugrad.core.primitive import Primitive
from gpugrad.device import scipy_for
from gpugrad.ops.broadcast import broadcast_to, sum_p
from gpugrad.ops.cast import cast
from gpugrad.ops.complex import is_complex
from gpugrad.ops.creation import counting
from gpugrad.ops.elementwise import where
from gpugrad.ops.join import stack
from gpugrad.ops.matrices import LinAlgError, alike, inexact, matrices, stacked
from gpugrad.ops.shape import expand_dims, roll_p, squeeze

# ------------------------------------------------------------------ Sylvester's equation


def _sylvester(xp: Any, a: Any, b: Any, q: Any) -> Any:
    if xp is not np:
        m, n = q.shape[-2:]
        # The rows of x one after another: (a ⊗ 1 + 1 ⊗ b^T) x = q.
        left = a[..., :, None, :, None] * xp.eye(n, dtype=a.dtype)[:, None, :]
        right = xp.swapaxes(b, -2, -1)[..., None, :, None, :]
        right = right * xp.eye(m, dtype=b.dtype)[:, None, :, None]
        system = (left + right).reshape(*q.shape[:-2], m * n, m * n)
        return xp.linalg.solve(system, q.reshape(*q.shape[:-2], m * n, 1)).reshape(q.shape)
    run = scipy_for(xp, "linalg").solve_sylvester
    out = np.empty_like(q)
    for at in np.ndindex(q.shape[:-2]):
        out[at] = run(a[at], b[at], q[at])
    return out


def _sylvester_vjp(g: Any, a: Any, b: Any, y: Any) -> Any:
    s = sylvester_p(a.mT, b.mT, g)
    return -(s @ y.mT), -(y.mT @ s), s


def _sylvester_jvp(ts: Sequence[Any], a: Any, b: Any, y: Any) -> Any:
    ta, tb, tq = ts
    moved = (tq, None if ta is None else -(ta @ y), None if tb is None else -(y @ tb))
    first, *rest = [p for p in moved if p is not None]
    for part in rest:
        first = first + part
    return sylvester_p(a, b, first)


sylvester_p: Primitive = Primitive(
    "solve_sylvester",
    _sylvester,
    "a b q",
    shape=lambda a, b, q: q,
    joint_vjp=_sylvester_vjp,
    joint_jvp=_sylvester_jvp,
    batch=stacked,
)


def solve_sylvester(a: Any, b: Any, q: Any) -> Any:
    """The solution ``x`` of ``a @ x + x @ b = q``.

    On CUDA it is one dense system of as many unknowns as ``q`` has elements, which takes memory of
    the square of that.

    Parameters
    ----------
    a : array of shape (..., M, M)
    b : array of shape (..., N, N)
    q : array of shape (..., M, N)

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.scipy.linalg import solve_sylvester
    >>> solve_sylvester(np.eye(2), np.eye(1), np.array([[2.0], [4.0]]))
    array([[1.],
           [2.]])
    """
    a, b = beside(a, b)
    a, q = beside(a, q)
    a, b = (matrices(x, "solve_sylvester", square=True) for x in (a, b))
    a, q = alike(a, matrices(q, "solve_sylvester"))
    a, b = alike(a, b)
    a, q = alike(a, q)
    like = shape_dtype(q).shape
    if (a.shape[-1], b.shape[-1]) != like[-2:]:
        raise LinAlgError(f"solve_sylvester: shapes {a.shape} and {b.shape} do not go with {like}")
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2], like[:-2])
    return sylvester_p(*[broadcast_to(x, (*lead, *x.shape[-2:])) for x in (a, b, q)])


# ------------------------------------------------------------------ the square root

_STEPS = 24
"""Of the iteration: more than any matrix takes whose root single or double precision can hold."""


def _sqrtm(xp: Any, x: Any) -> Any:
    if xp is not np:
        return _iterated(xp, x)
    run = scipy_for(xp, "linalg").sqrtm
    out = np.empty_like(x)
    for at in np.ndindex(x.shape[:-2]):
        root = run(x[at])
        if np.iscomplexobj(root) and not np.iscomplexobj(x):
            raise LinAlgError("the root of this real matrix is complex")
        out[at] = root
    return out


def _iterated(xp: Any, x: Any) -> Any:
    """The product form of Denman and Beavers' iteration, scaled by determinants.

    Cheng, Higham, Kenney & Laub 2001, "Approximating the logarithm of a matrix to specified
    accuracy", equation 4.2. Nothing waits to see whether it is done.
    """
    n = x.shape[-1]
    unit = xp.eye(n, dtype=x.dtype)
    root, m = x, x
    for step in range(_STEPS):
        inverse = xp.linalg.inv(m)
        scale = 1.0
        if step < _STEPS // 2:
            _, size = xp.linalg.slogdet(m)
            scale = xp.exp(-size.real / (2 * n))[..., None, None].astype(x.real.dtype)
        square = scale * scale
        root = scale * root @ (unit + inverse / square) / 2
        m = (unit + (square * m + inverse / square) / 2) / 2
    return root


sqrtm_p: Primitive = Primitive(
    "sqrtm",
    _sqrtm,
    shape=lambda x: x,
    vjp=lambda g, y: sylvester_p(y.mT, y.mT, g),
    jvp=lambda t, y: sylvester_p(y, y, t),
    batch=stacked,
)
"""The root Y: Y dY + dY Y = dA, whose transpose is the same equation of the transposed root."""


def sqrtm(A: Any) -> Any:
    """The principal square root of each square matrix.

    On the CPU by SciPy, which takes the Schur form; where the root of a real matrix is complex, so
    is the result. On CUDA by Denman and Beavers' iteration: there nothing waits to find that out,
    and such a matrix gives NaN. Its root is that of ``astype(complex)``.

    Examples
    --------
    >>> import gpugrad as gg, numpy as np
    >>> from gpugrad.scipy.linalg import sqrtm
    >>> gg.grad(lambda a: gg.numpy.trace(sqrtm(a)))(np.diag([1.0, 4.0]))
    array([[0.5 , 0.  ],
           [0.  , 0.25]])
    """
    A = matrices(A, "sqrtm", square=True)
    try:
        return sqrtm_p(A)
    except LinAlgError:
        if is_complex(A):
            raise
        return sqrtm_p(cast(A, np.result_type(shape_dtype(A).dtype, np.complex64)))


# ------------------------------------------------------------------ banded systems


def _banded(xp: Any, ab: Any, b: Any, *, low: int, up: int) -> Any:
    if xp is not np:
        n = ab.shape[-1]
        dense = xp.zeros((*ab.shape[:-2], n, n), ab.dtype)
        for d in range(-up, low + 1):
            at = xp.arange(max(0, -d), min(n, n - d))  # columns
            dense[..., at + d, at] = ab[..., up + d, max(0, -d) : min(n, n - d)]
        return xp.linalg.solve(dense, b)
    run = scipy_for(xp, "linalg").solve_banded
    out = np.empty_like(b)
    for at in np.ndindex(b.shape[:-2]):
        out[at] = run((low, up), ab[at], b[at])
    return out


def _moved(x: Any, by: int, axis: int) -> Any:
    return roll_p(x, shift=(by,), axis=(axis,))


def _turned(ab: Any, low: int, up: int) -> Any:
    """The diagonals of the transposed matrix: each one moved along by its distance."""
    at = shape_dtype(ab).ndim - 2
    rows = [_moved(ab[..., up + d, :], d, at) for d in range(low, -up - 1, -1)]
    return stack(rows, axis=-2)


def _inside(x: Any, low: int, up: int) -> Any:
    """Which elements of the diagonals are in the matrix: that of row j + d and column j."""
    columns = counting([x], shape_dtype(x).shape[-1])
    rows = counting([x], low + up + 1)[:, None] - up + columns
    return (rows >= 0) & (rows < shape_dtype(x).shape[-1])


def _banded_vjp(g: Any, ab: Any, y: Any, low: int, up: int) -> Any:
    s = banded_p(_turned(ab, low, up), g, low=up, up=low)
    rows, last = range(-up, low + 1), shape_dtype(y).ndim - 1
    products = [sum_p(-_moved(s, -d, last - 1) * y, axis=(last,), keepdims=False) for d in rows]
    return where(_inside(ab, low, up), stack(products, axis=-2), 0), s


def _banded_jvp(ts: Sequence[Any], ab: Any, y: Any, low: int, up: int) -> Any:
    tab, tb = ts
    if tab is None:
        return banded_p(ab, tb, low=low, up=up)
    tab = where(_inside(ab, low, up), tab, 0)
    last = shape_dtype(y).ndim - 1
    for d in range(-up, low + 1):
        part = _moved(tab[..., up + d, :, None] * y, d, last - 1)
        tb = -part if tb is None else tb - part
    return banded_p(ab, tb, low=low, up=up)


banded_p: Primitive = Primitive(
    "solve_banded",
    _banded,
    "ab b",
    shape=lambda ab, b, **params: b,
    joint_vjp=_banded_vjp,
    joint_jvp=_banded_jvp,
    batch=stacked,
)


def solve_banded(
    l_and_u: tuple[int, int],
    ab: Any,
    b: Any,
    overwrite_ab: bool = False,
    overwrite_b: bool = False,
    check_finite: bool = True,
) -> Any:
    """The solution of a system whose matrix has few diagonals, the rows of ``ab``.

    Parameters
    ----------
    l_and_u : pair of int
        How many diagonals lie below and above the main one.
    ab : array of shape (..., L + U + 1, M)
        ``ab[U + i - j, j]`` is the matrix's element in row ``i`` and column ``j``. Corners that lie
        outside of it are not read.
    b : array of shape (M,) or (..., M, K)
        One vector, or matrices.
    overwrite_ab, overwrite_b, check_finite : bool
        As in SciPy; nothing is overwritten or checked here.

    Examples
    --------
    >>> import numpy as np
    >>> from gpugrad.scipy.linalg import solve_banded
    >>> solve_banded((0, 1), np.array([[9.0, 1.0], [2.0, 1.0]]), np.array([3.0, 1.0]))
    array([1., 1.])
    """
    low, up = (index(k) for k in l_and_u)
    ab, b = beside(ab, b)
    ab, b = alike(matrices(ab, "solve_banded"), inexact(b, "solve_banded"))
    vector = b.ndim == 1
    if vector:
        b = expand_dims(b, -1)
    if ab.shape[-2] != low + up + 1 or b.shape[-2] != ab.shape[-1]:
        raise ValueError(
            f"solve_banded: {low} and {up} diagonals of shape {ab.shape} do not go with a right-"
            f"hand side of {b.shape}"
        )
    lead = np.broadcast_shapes(ab.shape[:-2], b.shape[:-2])
    y = banded_p(*[broadcast_to(x, (*lead, *x.shape[-2:])) for x in (ab, b)], low=low, up=up)
    return squeeze(y, -1) if vector else y
