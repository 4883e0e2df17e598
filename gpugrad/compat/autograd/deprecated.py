"""What programs for early versions of autograd use: methods of primitives, and a check."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any


def _warn(old: str, new: str) -> None:
    warnings.warn(f"{old} is deprecated: use {new}", DeprecationWarning, stacklevel=3)


def add_methods(fun: Any) -> None:
    """Give a primitive the methods ``defvjp``, ``defgrad`` and ``defvjp_is_zero``."""
    makers: dict[int, Callable[..., Any] | None] = {}

    def set_rules(new: dict[int, Callable[..., Any] | None]) -> None:
        from gpugrad.compat.autograd.core import defvjp

        makers.update(new)
        defvjp(fun, *makers.values(), argnums=list(makers))

    def old_defvjp(rule: Callable[..., Any], argnum: int = 0) -> None:
        from gpugrad.compat.autograd.core import vspace

        _warn(f"{fun.__name__}.defvjp", "defvjp(f, lambda ans, *args: lambda g: ...)")

        def maker(ans: Any, *args: Any, **kwargs: Any) -> Callable[[Any], Any]:
            return lambda g: rule(g, ans, vspace(args[argnum]), vspace(g), *args, **kwargs)

        set_rules({argnum: maker})

    def old_defgrad(maker: Callable[..., Any], argnum: int = 0) -> None:
        _warn(f"{fun.__name__}.defgrad", "defvjp")
        set_rules({argnum: maker})

    def old_defvjp_is_zero(argnums: Iterable[int] = (0,)) -> None:
        _warn(f"{fun.__name__}.defvjp_is_zero", "defvjp with None")
        set_rules(dict.fromkeys(argnums))

    fun.defvjp, fun.defgrad, fun.defvjp_is_zero = old_defvjp, old_defgrad, old_defvjp_is_zero


def quick_grad_check(
    fun: Callable[..., Any],
    arg0: Any,
    extra_args: Sequence[Any] = (),
    kwargs: dict[str, Any] | None = None,
    **unused: Any,
) -> None:
    """Check the gradient by the first argument; `check_grads` checks more."""
    from gpugrad.compat.autograd.test_util import check_grads

    _warn("quick_grad_check", "check_grads")
    check_grads(lambda x: fun(x, *extra_args, **(kwargs or {})), modes=["rev"], order=1)(arg0)
