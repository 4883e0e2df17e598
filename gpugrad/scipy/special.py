"""``scipy.special``, differentiable: SciPy's functions on the CPU, CuPy's on CUDA.

Orders of Bessel functions and of `polygamma`, and the exponent of `zeta`, have no derivative in
SciPy's terms: asking for one is an error that names them. The parameters of the incomplete gamma
and beta functions and of `stdtr` have first and second derivatives, by power series, and no third
ones.

Examples
--------
>>> import gpugrad as gg, numpy as np
>>> from gpugrad.scipy.special import gammaln
>>> gg.elementwise_grad(gammaln)(np.array([1.0, 2.0])).round(6)
array([-0.577216,  0.422784])
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, NoReturn

from gpugrad.ops.bessel import (
    i0,
    i0e,
    i1,
    i1e,
    iv,
    ive,
    j0,
    j1,
    jn,
    jv,
    k0,
    k0e,
    k1,
    k1e,
    kn,
    kv,
    kve,
    y0,
    y1,
    yn,
    yv,
)
from gpugrad.ops.elementwise import cbrt, exp2, expm1, log1p, sinc
from gpugrad.ops.entropy import (
    entr,
    expit,
    kl_div,
    log_expit,
    log_softmax,
    logit,
    logsumexp,
    rel_entr,
    softmax,
    xlog1py,
    xlogy,
)
from gpugrad.ops.erf import (
    dawsn,
    erf,
    erfc,
    erfcinv,
    erfcx,
    erfi,
    erfinv,
    exp1,
    expi,
    expn,
    log_ndtr,
    ndtr,
    ndtri,
)
from gpugrad.ops.gamma import (
    beta,
    betainc,
    betaln,
    digamma,
    gamma,
    gammainc,
    gammaincc,
    gammaln,
    gammasgn,
    loggamma,
    multigammaln,
    poch,
    polygamma,
    psi,
    rgamma,
    stdtr,
)
from gpugrad.ops.gamma import zeta as _hurwitz

__all__ = [
    "beta",
    "betainc",
    "betaln",
    "cbrt",
    "dawsn",
    "digamma",
    "entr",
    "erf",
    "erfc",
    "erfcinv",
    "erfcx",
    "erfi",
    "erfinv",
    "exp1",
    "exp2",
    "expi",
    "expit",
    "expm1",
    "expn",
    "gamma",
    "gammainc",
    "gammaincc",
    "gammaln",
    "gammasgn",
    "i0",
    "i0e",
    "i1",
    "i1e",
    "iv",
    "ive",
    "j0",
    "j1",
    "jn",
    "jv",
    "k0",
    "k0e",
    "k1",
    "k1e",
    "kl_div",
    "kn",
    "kv",
    "kve",
    "log1p",
    "log_expit",
    "log_ndtr",
    "log_softmax",
    "loggamma",
    "logit",
    "logsumexp",
    "multigammaln",
    "ndtr",
    "ndtri",
    "poch",
    "polygamma",
    "psi",
    "rel_entr",
    "rgamma",
    "sinc",
    "softmax",
    "stdtr",
    "xlog1py",
    "xlogy",
    "y0",
    "y1",
    "yn",
    "yv",
    "zeta",
]


def __getattr__(name: str) -> NoReturn:
    known = not name.startswith("_") and hasattr(import_module("scipy.special"), name)
    more = ": SciPy has it, but gpugrad has no rule for it" if known else ""
    raise AttributeError(f"gpugrad.scipy.special has no {name!r}{more}")


def zeta(x: Any, q: Any = 1) -> Any:
    """Riemann's zeta function, or Hurwitz's with ``q``; differentiable in ``q``."""
    return _hurwitz(x, q)
