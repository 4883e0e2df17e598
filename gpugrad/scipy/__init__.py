"""SciPy's names over arrays on any device, differentiable: a module for each of SciPy's."""
