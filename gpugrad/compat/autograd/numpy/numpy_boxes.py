"""The class of the arrays that are being differentiated."""

from gpugrad.array import Array as ArrayBox

__all__ = ["ArrayBox"]
