"""HIPS autograd's names over gpugrad.

A program written for HIPS autograd runs with its imports changed, on NumPy and on CuPy arrays:

>>> import gpugrad.compat.autograd.numpy as np
>>> from gpugrad.compat.autograd import grad
>>> grad(lambda x: np.sum(np.tanh(x)))(np.zeros(2))
array([1., 1.])

Containers are Python's own with arrays that are being differentiated inside, not boxes of their
own, so ``tuple``, ``list`` and ``dict`` of `gpugrad.compat.autograd.builtins` are the built-in
ones.
"""

from gpugrad.compat.autograd.builtins import dict, isinstance, list, tuple, type
from gpugrad.compat.autograd.core import primitive
from gpugrad.compat.autograd.differential_operators import (
    checkpoint,
    deriv,
    elementwise_grad,
    grad,
    grad_and_aux,
    grad_named,
    hessian,
    hessian_tensor_product,
    hessian_vector_product,
    holomorphic_grad,
    jacobian,
    make_ggnvp,
    make_hvp,
    make_jvp,
    make_jvp_reversemode,
    make_vjp,
    multigrad_dict,
    tensor_jacobian_product,
    value_and_grad,
    vector_jacobian_product,
)

__all__ = [
    "checkpoint",
    "deriv",
    "dict",
    "elementwise_grad",
    "grad",
    "grad_and_aux",
    "grad_named",
    "hessian",
    "hessian_tensor_product",
    "hessian_vector_product",
    "holomorphic_grad",
    "isinstance",
    "jacobian",
    "list",
    "make_ggnvp",
    "make_hvp",
    "make_jvp",
    "make_jvp_reversemode",
    "make_vjp",
    "multigrad_dict",
    "primitive",
    "tensor_jacobian_product",
    "tuple",
    "type",
    "value_and_grad",
    "vector_jacobian_product",
]
