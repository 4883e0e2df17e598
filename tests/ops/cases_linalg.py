"""The operations of linear algebra.

What depends on the phase of an eigenvector or singular vector has no derivative, so the functions
here are of what does not: projections, and products of a pair.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.linalg
from op_case import Sample, case
from op_draw import Draw, Maker, nonzero, real

import gpugrad.numpy as gnp
import gpugrad.scipy.linalg as gsl

LINALG: list[str] = []
"""The names of these cases."""


def some(shape: tuple[int, ...], complexes: bool) -> Maker:
    def make(rng: np.random.Generator) -> Any:
        x = rng.uniform(-1, 1, shape)
        return x + 1j * rng.uniform(-1, 1, shape) if complexes else x

    return make


def apart(shape: tuple[int, ...], complexes: bool) -> Maker:
    """Matrices whose eigenvalues and singular values are far from each other and from 0."""

    def make(rng: np.random.Generator) -> Any:
        steps = np.eye(*shape[-2:]) * (2.0 + 2.5 * np.arange(shape[-1]))
        return 0.5 * some(shape, complexes)(rng) + steps

    return make


Make = Callable[[tuple[int, ...], bool], Maker]


def square(make: Make = apart, complexes: bool = False, **params: Any) -> Callable[[Draw], Sample]:
    def sample(d: Draw) -> Sample:
        n = d.integer(1, 3)
        return [make((*d.shape(0, 1), n, n), complexes)], params

    return sample


def tall(
    complexes: bool = False, wide: bool = False, make: Make = apart, **params: Any
) -> Callable[[Draw], Sample]:
    def sample(d: Draw) -> Sample:
        n = d.integer(1, 2)
        m = n + d.integer(1, 2)
        return [make((*d.shape(0, 1), *((n, m) if wide else (m, n))), complexes)], params

    return sample


def system(complexes: bool = False, extra: int = 0) -> Callable[[Draw], Sample]:
    """A matrix of ``extra`` more rows than columns and a right-hand side, as broadcasts with it."""

    def sample(d: Draw) -> Sample:
        n = d.integer(1, 3)
        m = n + extra
        kind = d.integer(0, 4)
        left = () if kind < 3 else (2,) if kind == 3 else (2, 1)
        right = (m,) if kind == 0 else (m, 2) if kind in (1, 4) else (2, m, 2)
        return [apart((*left, m, n), complexes), some(right, complexes)], {}

    return sample


def linalg_case(
    name: str, sample: Callable[[Draw], Sample], f: Callable[..., Any], **options: Any
) -> None:
    """A function of ``xp``, a namespace that has ``linalg``, and the operands."""
    name = "linalg." + name
    LINALG.append(name)
    case(
        name,
        sample,
        lambda *xs, **params: f(gnp, *xs, **params),
        lambda *xs, **params: f(np, *xs, **params),
        **{"low": False, **options},
    )


def scipy_case(
    name: str, sample: Callable[[Draw], Sample], f: Callable[..., Any], **options: Any
) -> None:
    """A function of a namespace like ``scipy.linalg``, and the operands."""
    name = "scipy.linalg." + name
    LINALG.append(name)
    case(
        name,
        sample,
        lambda *xs, **params: f(gsl, *xs, **params),
        lambda *xs, **params: f(scipy.linalg, *xs, **params),
        **{"low": False, **options},
    )


def adjoint(xp: Any, x: Any) -> Any:
    return xp.conj(xp.matrix_transpose(x))


def positive(xp: Any, x: Any) -> Any:
    """A Hermitian matrix, far from singular as ``x`` is."""
    return x @ adjoint(xp, x)


def pairs(u: Any, vh: Any, k: int) -> Any:
    """The sum of the first ``k`` columns times rows, which tells the pairs apart."""
    return sum((1.0 + i) * (u[..., :, i : i + 1] @ vh[..., i : i + 1, :]) for i in range(k))


def paired(xp: Any, y: Any) -> Any:
    u, s, vh = y
    k = s.shape[-1]
    rest = u[..., k:] @ adjoint(xp, u[..., k:]), adjoint(xp, vh[..., k:, :]) @ vh[..., k:, :]
    return [s, pairs(u, vh, k), *rest]


def complete(xp: Any, y: Any) -> Any:
    q, r = y
    n = r.shape[-1]
    return [q[..., :n], q[..., n:] @ adjoint(xp, q[..., n:]), r]


def both(name: str, sample: Any, f: Callable[..., Any], **options: Any) -> None:
    linalg_case(name, sample(), f, **options)
    linalg_case(name + " complex", sample(complexes=True), f, **options)


both("solve", system, lambda xp, a, b: xp.linalg.solve(a, b))
both("inv", square, lambda xp, x: xp.linalg.inv(x))
both("det", square, lambda xp, x: xp.linalg.det(x))


def _flat(shape: tuple[int, ...], complexes: bool = False) -> Maker:
    """Singular matrices: the last row is the sum of the others."""

    def make(rng: np.random.Generator) -> Any:
        x = some(shape, complexes)(rng)
        x[..., -1, :] = x[..., :-1, :].sum(-2)
        return x

    return make


both(
    "det singular",
    lambda complexes=False: square(_flat, complexes),
    lambda xp, x: xp.linalg.det(x),
)
both("slogdet", square, lambda xp, x: xp.linalg.slogdet(x))
both(
    "cholesky",
    square,
    lambda xp, x: [
        xp.linalg.cholesky(positive(xp, x)),
        xp.linalg.cholesky(positive(xp, x), upper=True),
    ],
)
both("qr", tall, lambda xp, x: xp.linalg.qr(x))
both("qr square", square, lambda xp, x: xp.linalg.qr(x, "complete"))
both(
    "qr wide",
    lambda complexes=False: tall(complexes, wide=True),
    lambda xp, x: [*xp.linalg.qr(x, mode="complete"), xp.linalg.qr(x, mode="r")],
)
both("qr complete", tall, lambda xp, x: complete(xp, xp.linalg.qr(x, mode="complete")))
linalg_case("qr r", tall(), lambda xp, x: xp.linalg.qr(x, mode="r"))


def _eigh(xp: Any, x: Any) -> Any:
    w, v = xp.linalg.eigh(positive(xp, x))
    return [w, pairs(v, adjoint(xp, v), w.shape[-1])]


both("eigh", square, _eigh)
both("eigvalsh", square, lambda xp, x: xp.linalg.eigvalsh(positive(xp, x), "U"))


def sums(xp: Any, w: Any) -> Any:
    """Of powers, which are smooth where LAPACK changes the order of the eigenvalues."""
    return xp.stack([xp.sum(w**n, axis=-1) for n in (1, 2, 3)])


def _eig(xp: Any, x: Any) -> Any:
    w, v = xp.linalg.eig(x)
    w, v = w + 0j, v + 0j
    return [sums(xp, w), (xp.abs(v) ** 2) @ w[..., None]]


both("eig", square, _eig)
both("eigvals", square, lambda xp, x: sums(xp, xp.linalg.eigvals(x) + 0j))
both("svd", tall, lambda xp, x: paired(xp, xp.linalg.svd(x, full_matrices=False)))
both("svd square", square, lambda xp, x: paired(xp, xp.linalg.svd(x)))
both(
    "svd full",
    lambda complexes=False: tall(complexes, wide=True),
    lambda xp, x: paired(xp, xp.linalg.svd(x)),
)
linalg_case("svd full tall", tall(), lambda xp, x: paired(xp, xp.linalg.svd(x)))
linalg_case(
    "svd hermitian",
    square(),
    lambda xp, x: paired(xp, xp.linalg.svd(positive(xp, x), hermitian=True)),
)
both("svdvals", tall, lambda xp, x: xp.linalg.svdvals(x))
both("pinv", tall, lambda xp, x: xp.linalg.pinv(x))
linalg_case("pinv wide", tall(wide=True), lambda xp, x: xp.linalg.pinv(x))


def _rank_one(xp: Any, x: Any) -> Any:
    return xp.linalg.pinv(x[..., :1] * x[..., :1, :], rcond=1e-6)


linalg_case("pinv of rank 1", square(), _rank_one)


def _lstsq(xp: Any, a: Any, b: Any) -> Any:
    if xp is gnp:
        x, residuals, _, s = gnp.linalg.lstsq(a, b)
        return [x, residuals, s]
    a = np.broadcast_to(a, (*b.shape[:-2], *a.shape[-2:])) if b.ndim > a.ndim else a
    if b.ndim > 1:
        b = np.broadcast_to(b, (*a.shape[:-2], *b.shape[-2:]))
    column = b[:, None] if b.ndim == 1 else b
    x = np.linalg.pinv(a) @ column
    off = column - a @ x if a.shape[-2] > a.shape[-1] else np.zeros((*a.shape[:-2], 1, 0), x.dtype)
    residuals = np.sum(np.abs(off) ** 2, axis=-2)
    return [x[..., 0] if b.ndim == 1 else x, residuals, np.linalg.svdvals(a)]


both("lstsq", lambda complexes=False: system(complexes, extra=1), _lstsq)
linalg_case("lstsq wide", system(extra=0), _lstsq)


def high_and_low(shape: tuple[int, ...], complexes: bool) -> Maker:
    """Matrices with singular values near 3 and near 0.5, in turns."""

    def make(rng: np.random.Generator) -> Any:
        steps = np.eye(*shape[-2:]) * np.where(np.arange(shape[-1]) % 2, 0.5, 3.0)
        return 0.1 * some(shape, complexes)(rng) + steps

    return make


def _cut(xp: Any, x: Any) -> Any:
    return xp.linalg.pinv(x, rcond=0.5)


def _least_cut(xp: Any, x: Any) -> Any:
    b = xp.ones_like(x)
    return xp.linalg.lstsq(x, b, rcond=0.5)[0] if xp is gnp else _cut(xp, x) @ b


for _name, _f in (("pinv", _cut), ("lstsq", _least_cut)):
    both(f"{_name} cut", lambda complexes=False: square(high_and_low, complexes), _f)
    linalg_case(f"{_name} cut tall", tall(make=high_and_low), _f)
    linalg_case(f"{_name} cut wide", tall(wide=True, make=high_and_low), _f)
both("matrix_power", square, lambda xp, x: [xp.linalg.matrix_power(x, n) for n in (-2, 0, 3)])
scipy_case("expm", square(), lambda xp, x: xp.expm(x / 2))
scipy_case("expm complex", square(complexes=True), lambda xp, x: xp.expm(x / 2))


def _with_root(shape: tuple[int, ...], complexes: bool = False) -> Maker:
    """Matrices with eigenvalues in the right half-plane, and no symmetry."""

    def make(rng: np.random.Generator) -> np.ndarray:
        x = rng.uniform(-0.5, 0.5, shape)
        x = x + 1j * rng.uniform(-0.5, 0.5, shape) if complexes else x
        return x + 2 * np.eye(shape[-1])

    return make


def _each(f: Callable[..., Any], *stacks: np.ndarray) -> np.ndarray:
    """A function of SciPy's that takes single matrices, of stacks of them."""
    lead = np.broadcast_shapes(*[s.shape[:-2] for s in stacks])
    stacks = tuple(np.broadcast_to(s, (*lead, *s.shape[-2:])) for s in stacks)
    found = [f(*[s[at] for s in stacks]) for at in np.ndindex(lead)]
    return np.stack(found).reshape(*lead, *found[0].shape)


def _sqrtm(xp: Any, x: Any) -> Any:
    return xp.sqrtm(x) if xp is gsl else _each(scipy.linalg.sqrtm, x)


scipy_case("sqrtm", square(_with_root), _sqrtm)
scipy_case("sqrtm complex", square(_with_root, complexes=True), _sqrtm)


def _sylvester(xp: Any, a: Any, b: Any, q: Any) -> Any:
    return (xp.solve_sylvester if xp is gsl else partial(_each, xp.solve_sylvester))(a, b, q)


def _three(complexes: bool) -> Callable[[Draw], Sample]:
    def sample(d: Draw) -> Sample:
        m, n = d.integer(1, 3), d.integer(1, 2)
        a, b, q = [s[-1:] for s in d.broadcastable(3)]
        size = np.broadcast_shapes(a, b, q)
        make = _with_root
        return [
            make((*a, m, m), complexes),
            make((*b, n, n), complexes),
            apart((*size, m, n), complexes),
        ], {}

    return sample


scipy_case("solve_sylvester", _three(complexes=False), _sylvester)
scipy_case("solve_sylvester complex", _three(complexes=True), _sylvester)


def _bands(xp: Any, ab: Any, b: Any, low: int, up: int) -> Any:
    run = partial(xp.solve_banded, (low, up))
    if xp is gsl or (ab.ndim == 2 and b.ndim < 3):
        return run(ab, b)
    return _each(run, ab, b)


def _diagonals(d: Draw) -> Sample:
    low, up, n = d.integer(0, 2), d.integer(0, 2), d.integer(3, 4)
    lead = d.shape(0, 1)
    main = 4.0 * (np.arange(low + up + 1) == up)[:, None]

    def make(rng: np.random.Generator) -> np.ndarray:
        return main + rng.uniform(-1, 1, (*lead, low + up + 1, n))

    right = (*lead, n, 2) if lead or d.flag() else (n,)
    return [make, real(right)], {"low": low, "up": up}


scipy_case("solve_banded", _diagonals, _bands)


def _triangular(xp: Any, a: Any, b: Any) -> Any:
    return [
        xp.solve_triangular(a, b, lower=True),
        xp.solve_triangular(a, b, 1, unit_diagonal=True),
        xp.solve_triangular(a, b, "C"),
        xp.solve_triangular(a, b, "T", lower=True),
    ]


def _factor(xp: Any, x: Any) -> Any:
    """SciPy leaves what it finds in the other triangle."""
    if xp is gsl:
        return gsl.cho_factor(positive(gnp, x), lower=True)[0]
    return np.linalg.cholesky(positive(np, x))


def one_system(complexes: bool = False) -> Callable[[Draw], Sample]:
    def sample(d: Draw) -> Sample:
        n = d.integer(1, 3)
        return [
            apart((n, n), complexes),
            some(d.pick([(n,), (n, 2)]), complexes),
        ], {}

    return sample


for _name, _complexes in (("", False), (" complex", True)):
    scipy_case("solve_triangular" + _name, one_system(_complexes), _triangular)
    scipy_case(
        "cho_factor" + _name,
        square(complexes=_complexes),
        _factor,
    )
    scipy_case(
        "cho_solve" + _name,
        one_system(_complexes),
        lambda xp, a, b: [
            xp.cho_solve(xp.cho_factor(positive(gnp if xp is gsl else np, a), lower=side), b)
            for side in (True, False)
        ],
    )


def stacks(complexes: bool = False) -> Callable[[Draw], Sample]:
    def sample(d: Draw) -> Sample:
        n = d.integer(1, 3)
        return [
            apart((2, n, n), complexes),
            some(d.pick([(n,), (2, n, 2), (n, 1)]), complexes),
        ], {}

    return sample


def _solve_stacks(xp: Any, a: Any, b: Any) -> Any:
    """SciPy takes one matrix."""
    if xp is gsl:
        return [gsl.solve_triangular(a, b), gsl.solve_triangular(a, b, unit_diagonal=True)]
    unit = np.triu(a, 1) + np.eye(a.shape[-1], dtype=a.dtype)
    return [np.linalg.solve(np.triu(a), b), np.linalg.solve(unit, b)]


scipy_case("solve_triangular of stacks", stacks(), _solve_stacks)


# ------------------------------------------------------------------ norms


def vectors(complexes: bool = False, **params: Any) -> Callable[[Draw], Sample]:
    def sample(d: Draw) -> Sample:
        shape = d.shape(1, 2)
        return [far_from_ties(shape, complexes)], {
            "axis": d.pick([-1, 0]),
            "keepdims": d.flag(),
            **params,
        }

    return sample


def far_from_ties(shape: tuple[int, ...], complexes: bool) -> Maker:
    """Elements whose absolute values, and sums of rows and columns, are far from each other."""
    size = int(np.prod(shape))

    def make(rng: np.random.Generator) -> Any:
        # Each is more than all the smaller ones together.
        x = (0.5 * 2.2 ** rng.permutation(size) * rng.uniform(1, 1.01, size)).reshape(shape)
        turn = np.exp(1j * rng.uniform(0, 6, shape)) if complexes else rng.choice([-1, 1], shape)
        return x * turn

    return make


for _order in (None, 2, 1, 3, 0.5, -2, np.inf, -np.inf):
    linalg_case(
        f"norm vectors {_order}",
        vectors(ord=_order),
        lambda xp, x, **p: xp.linalg.norm(x, **p),
    )
linalg_case("norm vectors 0", vectors(ord=0), lambda xp, x, **p: xp.linalg.norm(x, **p))
for _order in (2, 3, np.inf):
    linalg_case(
        f"norm vectors {_order} complex",
        vectors(True, ord=_order),
        lambda xp, x, **p: xp.linalg.norm(x, **p),
    )


def planes(complexes: bool = False, **params: Any) -> Callable[[Draw], Sample]:
    def sample(d: Draw) -> Sample:
        shape = (2, 3) if d.flag() else (3, 2, 2)
        axis = d.pick([(0, 1), (-1, 0), (1, -2 + len(shape) - 2)])
        return [far_from_ties(shape, complexes)], {
            "axis": axis if len({a % len(shape) for a in axis}) == 2 else (0, 1),
            "keepdims": d.flag(),
            **params,
        }

    return sample


for _order in ("nuc", 2, -2):
    linalg_case(
        f"norm matrices {_order}",
        tall(ord=_order, axis=(-1, -2), keepdims=True),
        lambda xp, x, **p: xp.linalg.norm(x, **p),
    )
for _order in (None, "fro", 1, -1, np.inf, -np.inf):
    linalg_case(
        f"norm matrices {_order}",
        planes(ord=_order),
        lambda xp, x, **p: xp.linalg.norm(x, **p),
    )
linalg_case(
    "norm matrices complex",
    planes(True),
    lambda xp, x, **p: [xp.linalg.norm(x, ord=order, **p) for order in ("fro", 1)],
)
linalg_case("norm all", square(), lambda xp, x: xp.linalg.norm(x, keepdims=True))
linalg_case(
    "matrix_norm",
    square(),
    lambda xp, x: [xp.linalg.matrix_norm(x, ord="nuc"), xp.linalg.matrix_norm(x, keepdims=True)],
)
linalg_case(
    "vector_norm",
    square(lambda shape, complexes: nonzero(shape)),
    lambda xp, x: [
        xp.linalg.vector_norm(x, ord=3, axis=(-2, -1), keepdims=True),
        xp.linalg.vector_norm(x),
    ],
)
linalg_case(
    "cond",
    square(),
    lambda xp, x: [xp.linalg.cond(x, p) for p in (None, -2, "fro")],
)
linalg_case(
    "matrix_rank",
    square(),
    lambda xp, x: [xp.linalg.matrix_rank(x), xp.linalg.matrix_rank(x[..., :1] * x[..., :1, :])],
    smooth=False,
)

# ------------------------------------------------------------------ products


def chain(d: Draw) -> Sample:
    sides = [d.integer(1, 3) for _ in range(5)]
    shapes: list[tuple[int, ...]] = [(a, b) for a, b in pairwise(sides)]
    if d.flag():
        shapes[0] = shapes[0][1:]
    if d.flag():
        shapes[-1] = shapes[-1][:1]
    return [some(s, False) for s in shapes], {}


linalg_case("multi_dot", chain, lambda xp, *xs: xp.linalg.multi_dot(xs))


def threes(d: Draw) -> Sample:
    return [some((2, 3), False), some(d.pick([(3,), (2, 3), (1, 3)]), False)], {}


linalg_case("cross", threes, lambda xp, a, b: xp.linalg.cross(a, b))
linalg_case("vecdot", threes, lambda xp, a, b: xp.linalg.vecdot(a, b))
linalg_case(
    "matmul",
    lambda d: ([some((2, 2, 3), False), some((3, 2), False)], {}),
    lambda xp, a, b: xp.linalg.matmul(a, b),
)
linalg_case("outer", threes, lambda xp, a, b: xp.linalg.outer(a[0], b[..., 0].reshape(-1)))
linalg_case(
    "tensordot",
    lambda d: ([some((2, 3), False), some((3, 2, 1), False)], {}),
    lambda xp, a, b: [
        xp.linalg.tensordot(a, b, axes=1),
        xp.linalg.tensordot(a, b, axes=((0, 1), (1, 0))),
    ],
)
linalg_case(
    "tensorinv",
    lambda d: ([apart((6, 6), False)], {}),
    lambda xp, a: xp.linalg.tensorinv(a.reshape(2, 3, 6), ind=2),
)
linalg_case(
    "tensorsolve",
    lambda d: ([apart((6, 6), False), some((6,), False)], {}),
    lambda xp, a, b: [
        xp.linalg.tensorsolve(a.reshape(2, 3, 3, 2), b.reshape(2, 3)),
        xp.linalg.tensorsolve(a.reshape(3, 2, 2, 3), b.reshape(2, 3), axes=(1, 0)),
    ],
)
linalg_case("diagonal", tall(), lambda xp, x: xp.linalg.diagonal(x, offset=-1))
linalg_case("trace", tall(), lambda xp, x: [xp.linalg.trace(x), xp.linalg.trace(x, offset=1)])
linalg_case("matrix_transpose", tall(), lambda xp, x: xp.linalg.matrix_transpose(x))
