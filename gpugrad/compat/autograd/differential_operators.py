"""HIPS autograd's transforms, each of a function and the position of its argument."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

import gpugrad as gg
import gpugrad.numpy as gnp
from gpugrad.compat.autograd import core
from gpugrad.compat.autograd.vector_space import vspace
from gpugrad.compat.autograd.wrap_util import unary_to_nary
from gpugrad.core.abstract import shape_dtype
from gpugrad.transforms.reverse import value_and_grad_at

checkpoint = gg.checkpoint

make_vjp = unary_to_nary(core.make_vjp)
make_jvp = unary_to_nary(core.make_jvp)


def _value_and_grad(fun: Callable[[Any], Any], x: Any) -> tuple[Any, Any]:
    if not core.holds_registered(x):
        ans, gradient = value_and_grad_at(fun, (x,), {})
        if not isinstance(ans, np.floating):  # what a sum is
            vspace(ans)  # a number that has derivatives
        return ans, gradient
    vjp, ans = core.make_vjp(fun, x)
    vs = vspace(ans)
    if vs.size != 1:
        raise TypeError("grad and value_and_grad apply to functions whose value is one real number")
    return ans, vjp(vs.ones())


@unary_to_nary
def value_and_grad(fun: Callable[[Any], Any], x: Any) -> Any:
    """The value of ``fun``, one real number, and its gradient with respect to one argument."""
    return _value_and_grad(fun, x)


@unary_to_nary
def grad(fun: Callable[[Any], Any], x: Any) -> Any:
    """
    Returns a function which computes the gradient of ``fun`` with respect to one argument.

    Parameters
    ----------
    fun
        A function whose value is one real number.
    argnum
        Position of the argument, or a tuple or list of positions.

    Returns
    -------
    callable
        Takes the arguments of ``fun``; its result has the type of the argument.

    Examples
    --------
    >>> import gpugrad.compat.autograd.numpy as np
    >>> from gpugrad.compat.autograd import grad
    >>> grad(lambda p: np.sum(p["w"] ** 2) * p["b"])({"w": np.array([1.0, 2.0]), "b": 3.0})
    {'w': array([ 6., 12.]), 'b': 5.0}
    """
    return _value_and_grad(fun, x)[1]


@unary_to_nary
def elementwise_grad(fun: Callable[[Any], Any], x: Any) -> Any:
    """The sum of each column of the Jacobian: the derivative of an elementwise function."""
    vjp, ans = core.make_vjp(fun, x)
    vs = vspace(ans)
    if vs.iscomplex:
        raise TypeError("elementwise_grad applies to functions with real values.")
    return vjp(vs.ones())


@unary_to_nary
def deriv(fun: Callable[[Any], Any], x: Any) -> Any:
    """The derivative along ones, by forward mode."""
    return core.make_jvp(fun, x)(vspace(x).ones())[1]


@unary_to_nary
def holomorphic_grad(fun: Callable[[Any], Any], x: Any) -> Any:
    """The complex derivative of a holomorphic function of a complex argument."""
    if not vspace(x).iscomplex:
        warnings.warn("Input to holomorphic_grad is not complex", stacklevel=4)
    return gg.grad(lambda z: gnp.real(fun(z)))(x)


@unary_to_nary
def jacobian(fun: Callable[[Any], Any], x: Any) -> Any:
    """The Jacobian: an array of the output's shape followed by the argument's."""
    return gg.jacobian(fun)(x)


@unary_to_nary
def hessian(fun: Callable[[Any], Any], x: Any) -> Any:
    """The Hessian: behind the shape of the output, the argument's shape twice."""
    return gg.hessian(fun)(x)


@unary_to_nary
def make_hvp(fun: Callable[[Any], Any], x: Any) -> Any:
    """Hessian-vector products at a point: ``make_hvp(fun)(x)`` is the product and the gradient."""
    return core.make_vjp(grad(fun), x)


def hessian_tensor_product(fun: Callable[..., Any], argnum: int = 0) -> Callable[..., Any]:
    """A function of the arguments of ``fun`` and a tensor: the Hessian times that tensor."""
    return gg.hvp(fun, argnum)


hessian_vector_product = hessian_tensor_product


def tensor_jacobian_product(fun: Callable[..., Any], argnum: int = 0) -> Callable[..., Any]:
    """A function of the arguments of ``fun`` and a tensor: that tensor times the Jacobian."""

    def product(*args: Any, **kwargs: Any) -> Any:
        *inputs, tensor = args
        return gnp.tensordot(tensor, fun(*inputs, **kwargs), len(shape_dtype(tensor).shape))

    return jacobian(product, argnum)  # type: ignore[no-any-return]


vector_jacobian_product = tensor_jacobian_product


@unary_to_nary
def make_jvp_reversemode(fun: Callable[[Any], Any], x: Any) -> Any:
    """Jacobian-vector products at a point, by reverse mode of the VJP, which is linear."""
    vjp, y = core.make_vjp(fun, x)
    return core.make_vjp(vjp, vspace(y).zeros())[0]


def _half_square(x: Any) -> Any:
    return gnp.sum(x**2, axis=-1) / 2


def make_ggnvp(
    f: Callable[..., Any], g: Callable[[Any], Any] = _half_square, f_argnum: int = 0
) -> Callable[..., Any]:
    """Products with the generalised Gauss-Newton matrix of ``g`` after ``f`` at a point."""

    @unary_to_nary
    def make(f: Callable[[Any], Any], x: Any) -> Any:
        f_vjp, y = core.make_vjp(f, x)
        f_jvp = core.make_vjp(f_vjp, vspace(y).zeros())[0]
        g_hvp = core.make_vjp(grad(g), y)[0]
        return lambda v: f_vjp(g_hvp(f_jvp(v)))

    return make(f, f_argnum)  # type: ignore[no-any-return]


@unary_to_nary
def grad_and_aux(fun: Callable[[Any], Any], x: Any) -> Any:
    """The gradient of the first output, and the second output as it is."""
    return gg.grad(fun, has_aux=True)(x)


def grad_named(fun: Callable[..., Any], argname: str) -> Callable[..., Any]:
    """The gradient with respect to the positional argument of that name."""
    names = list(inspect.signature(fun).parameters)
    return grad(fun, names.index(argname))  # type: ignore[no-any-return]


def multigrad_dict(fun: Callable[..., Any]) -> Callable[..., dict[str, Any]]:
    """The gradients with respect to all arguments, by their names.

    Examples
    --------
    >>> from gpugrad.compat.autograd import multigrad_dict
    >>> multigrad_dict(lambda x, y=3.0: x * y)(2.0)
    {'x': 3.0, 'y': 2.0}
    """
    signature = inspect.signature(fun)

    def gradients(*args: Any, **kwargs: Any) -> dict[str, Any]:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()

        def of_values(values: dict[str, Any]) -> Any:
            bound.arguments.update(values)
            return fun(*bound.args, **bound.kwargs)

        given = dict(bound.arguments)
        found = grad(of_values)(given)
        return {name: found[name] for name in given}

    return gradients
