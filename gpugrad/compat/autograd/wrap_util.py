"""From a transform of functions of one argument to one of functions of many."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any


def subvals(x: Iterable[Any], ivs: Iterable[tuple[int, Any]]) -> tuple[Any, ...]:
    """``x`` with other values at some positions."""
    out = list(x)
    for i, v in ivs:
        out[i] = v
    return tuple(out)


def get_name(f: Any) -> str:
    """The name of a function, or that it has none."""
    return getattr(f, "__name__", "[unknown name]")


def get_doc(f: Any) -> str:
    """The documentation of a function."""
    return getattr(f, "__doc__", None) or ""


def wraps(
    fun: Any, namestr: str = "{fun}", docstr: str = "{doc}", **kwargs: Any
) -> Callable[[Any], Any]:
    """Name and document a function after ``fun``, by templates."""

    def named(f: Any) -> Any:
        f.__name__ = namestr.format(fun=get_name(fun), **kwargs)
        f.__doc__ = docstr.format(fun=get_name(fun), doc=get_doc(fun), **kwargs)
        return f

    return named


_DOC = """\
    {op} of function {fun} with respect to argument number {argnum}. Takes the
    same arguments as {fun} and returns the {op}.
    """


def unary_to_nary(unary_operator: Callable[..., Any]) -> Callable[..., Any]:
    """Give a transform ``op(fun, x)`` the form ``op(fun, argnum=0)(*args, **kwargs)``.

    ``argnum`` is the position of the argument to differentiate by, or a tuple or list of them.

    Examples
    --------
    >>> from gpugrad.compat.autograd.wrap_util import unary_to_nary
    >>> @unary_to_nary
    ... def difference(fun, x):
    ...     return fun(x + 1) - fun(x)
    >>> difference(pow, 1)(2, 3)
    8
    """

    @functools.wraps(unary_operator)
    def nary_operator(fun: Any, argnum: Any = 0, *op_args: Any, **op_kwargs: Any) -> Any:
        if type(argnum) not in (int, tuple, list):
            raise TypeError(f"argnum is a position or a tuple or list of them, got {argnum!r}")

        def nary(*args: Any, **kwargs: Any) -> Any:
            if type(argnum) is int:
                x = args[argnum]
                at = argnum if argnum >= 0 else len(args) + argnum
                before, after = args[:at], args[at + 1 :]

                def unary(x: Any) -> Any:
                    return fun(*before, x, *after, **kwargs)
            else:
                x = tuple([args[i] for i in argnum])

                def unary(x: Any) -> Any:
                    return fun(*subvals(args, zip(argnum, x)), **kwargs)

            unary.__name__ = get_name(fun)
            return unary_operator(unary, x, *op_args, **op_kwargs)

        name = "{op}_of_{fun}_wrt_argnum_{argnum}"
        return wraps(fun, name, _DOC, op=get_name(unary_operator), argnum=argnum)(nary)

    del nary_operator.__wrapped__  # its signature is another
    return nary_operator
