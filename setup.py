"""Packages only, the rest is in pyproject.toml: `kernels/` is installed as `gpugrad.kernels`."""

from setuptools import find_namespace_packages, find_packages, setup

# Found, not listed: a list would go stale with the next folder. kernels/cuda holds no Python.
kernels = find_namespace_packages(include=["kernels", "kernels.*"], exclude=["*.__pycache__"])

setup(
    packages=[*find_packages(include=["gpugrad", "gpugrad.*"]), *(f"gpugrad.{k}" for k in kernels)],
    package_dir={"gpugrad.kernels": "kernels"},
)
