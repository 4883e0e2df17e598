"""Flattening, fixed points, optimizers and recorded graphs."""

from gpugrad.compat.autograd.misc.flatten import flatten
from gpugrad.compat.autograd.misc.tracers import const_graph

__all__ = ["const_graph", "flatten"]
