"""The log-densities of scipy.stats, differentiable; each distribution is a module here."""

import sys

from gpugrad.scipy import stats as _ours

for _name in ("beta", "chi2", "dirichlet", "gamma", "multivariate_normal", "norm", "poisson", "t"):
    # import autograd.scipy.stats.norm as norm: found here, whatever kind of thing it is.
    globals()[_name] = sys.modules[f"{__name__}.{_name}"] = getattr(_ours, _name)
