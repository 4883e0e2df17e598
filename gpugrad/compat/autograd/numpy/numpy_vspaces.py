"""The vector spaces of arrays."""

from gpugrad.compat.autograd.vector_space import ArrayVSpace, ComplexArrayVSpace, VSpace

__all__ = ["ArrayVSpace", "ComplexArrayVSpace", "VSpace"]
