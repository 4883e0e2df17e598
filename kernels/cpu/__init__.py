"""The CPU's kernels, compiled by Numba."""
