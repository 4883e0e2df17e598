"""What is not compared with JAX by a case, and why."""

from __future__ import annotations

FOLDS = ("reduce", "accumulate")
SPECIAL = [
    *("rgamma", "digamma", "erfcinv", "log_expit", "erfi", "stdtr", "gammainc_by_a"),
    *("gammainc_by_aa", "betainc_by_aa", "betainc_by_ab"),
    *("betainc_by_a", "j0", "j1", "y0", "y1", "k0", "k1", "k0e", "k1e"),
    *("jv", "yv", "iv", "ive", "kv", "kve"),
]

LACKING = {
    # Functions and methods that JAX has not
    *("windows", "overlap", "sliding_window_view", "scaled_dot_product_attention", "class_loss"),
    *(f"{f}.{m}" for f in ("fmax", "fmin", "hypot", "divide", "copysign") for m in FOLDS),
    *(f"{f}.outer" for f in ("add", "subtract", "multiply", "maximum")),
    *(f"scipy.linalg.{n}" for n in ("sqrtm", "solve_sylvester", "solve_banded")),
    *(f"special.{n}" for n in SPECIAL),
    # Functions whose derivative JAX has not
    "linalg.eig",
    # References that are loops, or take lists, which JAX does not
    *("conv_transpose1d", "conv_transpose2d", "segment_sum", "segment_mean", "segment_max"),
    *("segment_min", "insert", "compress", "take", "nanquantile", "scipy.linalg.cho_solve"),
    *(f"{kind}_pool{n}d" for kind in ("max", "avg", "adaptive_avg") for n in (1, 2)),
    *(f"{f}.reduceat" for f in ("add", "multiply", "maximum")),
    # Functions with fewer parameters there
    *("softmax", "nn.softmax", "nn.log_softmax", "gradient"),
    # Results of other shapes there
    *("linalg.tensorsolve", "polydiv"),
}
"""Functions that are not compared by a case; some are in the other files of comparisons."""

UNLIKE = {"quantile", "poly of a matrix"}
"""Cases that JAX takes otherwise, of functions that have another case."""
