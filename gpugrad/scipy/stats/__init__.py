"""Distributions of ``scipy.stats``, differentiable in their arguments and parameters.

Each is a module of functions: ``norm.logpdf(x, loc, scale)``. Outside a distribution's support
the density is 0, and so is its gradient.

Examples
--------
>>> import gpugrad as gg
>>> from gpugrad.scipy.stats import norm
>>> print(gg.grad(norm.logpdf)(1.0, 0.0, 2.0))  # -(x - loc) / scale**2
-0.25
"""

from gpugrad.scipy.stats import beta, chi2, dirichlet, gamma, multivariate_normal, norm, poisson, t

__all__ = ["beta", "chi2", "dirichlet", "gamma", "multivariate_normal", "norm", "poisson", "t"]
