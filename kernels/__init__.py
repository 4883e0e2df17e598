"""Hand-written fused kernels: `cuda/*.cu` for CUDA and `cpu/*.py` for Numba."""
