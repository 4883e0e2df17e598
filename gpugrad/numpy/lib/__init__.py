"""``numpy.lib``: of its rooms the one that has functions with derivatives."""

from gpugrad.numpy.lib import stride_tricks

__all__ = ["stride_tricks"]
