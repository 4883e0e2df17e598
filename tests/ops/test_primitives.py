"""Every primitive: its value, its derivatives to second order, its batching and its shape rule."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import ml_dtypes
import numpy as np
import op_checks as checks
import pytest
from hypothesis import given
from hypothesis import strategies as st
from op_cases import CASES, Case
from op_draw import by_hypothesis, by_seed, examples

import gpugrad as gg
import gpugrad.ops
from gpugrad.core.primitive import Primitive, registry
from gpugrad.device import CPU, Device

each_case = pytest.mark.parametrize("case", [c for c in CASES.values() if c.cuda], ids=str)


def points(case: Case, device: Device, count: int) -> Any:
    """Run a check at points that Hypothesis draws; few and small ones where launches are slow."""
    small = device.kind == "cuda"

    def run(check: Any) -> None:
        @examples(2 if small else count)
        @given(st.data())
        def drawn(data: st.DataObject) -> None:
            with np.errstate(all="ignore"):
                check(checks.Point(case, *by_hypothesis(data, small), device))

        drawn()

    return run


@each_case
def test_derivatives(case, device):
    @points(case, device, 6)
    def check(p):
        checks.check_value(p)
        if p.smooth:
            checks.check_first(p)
            checks.check_second(p, every=device.kind == "cpu")
            if device.kind == "cpu":
                checks.check_transposes(p)


@each_case
def test_batching(case, device):
    @points(case, device, 4)
    def check(p):
        every = checks.subsets(len(p.operands))
        checks.check_batching(p, every if device.kind == "cpu" else every[-1:])


@each_case
def test_shape_and_dtype(case, device):
    @points(case, device, 4)
    def check(p):
        checks.check_shape_rule(p, {})
        checks.check_shape_rule(p, checks.NARROW)
        if case.low:
            checks.check_shape_rule(p, checks.HALF)
            checks.check_narrow(p)
            if p.smooth:
                checks.check_gradient_dtype(p, checks.HALF)


@pytest.mark.parametrize("case", [c for c in CASES.values() if not c.cuda], ids=str)
def test_functions_that_cupy_lacks(case):
    @points(case, CPU, 6)
    def check(p):
        checks.check_value(p)
        checks.check_first(p)
        checks.check_second(p, every=True)
        checks.check_batching(p, [(0,)])


# ------------------------------------------------------------------------------ completeness

ELSEWHERE = {"to", "custom_vjp", "custom_jvp"}
"""Moving between devices has a test of its own; what a user defines is not of ``ops``."""

CONSTANT = {
    *("sign", "floor", "ceil", "trunc", "rint", "signbit", "isfinite", "isinf", "isnan"),
    *("logical_not", "logical_and", "logical_or", "logical_xor", "invert", "floor_divide"),
    *("equal", "not_equal", "less", "less_equal", "greater", "greater_equal"),
    *("bitwise_and", "bitwise_or", "bitwise_xor", "left_shift", "right_shift"),
    *("nextafter", "heaviside", "any", "all", "argmax", "argmin", "cast_away", "stop_gradient"),
    *("argsort", "argpartition", "searchsorted", "bincount", "gammasgn"),
    *("nearly_singular", "exponent", "gaps", "gcd", "lcm", "bitwise_count", "inverse_permutation"),
}
"""Piecewise constant, or cut on purpose: no gradient flows."""


def primitives() -> dict[str, Primitive]:
    """What gpugrad's own modules define, and not what other tests register."""
    names = [m.name for m in pkgutil.iter_modules(gpugrad.ops.__path__, "gpugrad.ops.")]
    modules = [importlib.import_module(n) for n in [*names, "gpugrad.array"]]
    modules.append(importlib.import_module("gpugrad.transforms.custom"))
    own = {id(v) for m in modules for v in vars(m).values() if isinstance(v, Primitive)}
    return {name: p for name, p in registry.items() if id(p) in own}


def test_every_primitive_is_reached_by_a_case(monkeypatch):
    seen = set()
    bind = Primitive.bind

    def noted(self: Primitive, args: Any, params: Any) -> Any:
        seen.add(self.name)
        return bind(self, args, params)

    monkeypatch.setattr(Primitive, "bind", noted)
    for case in CASES.values():
        for seed in range(2):
            p = checks.Point(case, *by_seed(seed), CPU)
            with np.errstate(all="ignore"):
                p.run(*[gg.Array(x) for x in p.operands])
                if p.smooth:
                    gg.vjp(p.f, *p.inputs)[1](tuple(p.value))
    assert set(primitives()) - seen - ELSEWHERE == set()


@pytest.mark.parametrize("name", sorted(primitives()))
def test_every_primitive_has_its_rules(name):
    p = registry[name]
    assert callable(p.shape)
    assert callable(p.batch)
    forward = p.joint_jvp is not None or any(r is not None for r in p.jvp)
    assert p.differentiable == forward == (name not in CONSTANT)
    if p.joint_vjp is None and p.joint_jvp is None:
        assert [r is None for r in p.vjp] == [r is None for r in p.jvp]


# ------------------------------------------------------------------------------ bfloat16

WIDENED = {"sinc", "linear"}
"""NumPy computes these in float32 from bfloat16."""


def _of_floats(case: Case) -> bool:
    p = checks.Point(case, *by_seed(3), CPU)
    return case.low and p.smooth and all(x.dtype.kind != "c" for x in p.operands)


@pytest.mark.parametrize(
    "name", [n for n, c in CASES.items() if _of_floats(c) and n not in WIDENED]
)
def test_bfloat16_gradients(name):
    p = checks.Point(CASES[name], *by_seed(3), CPU)
    with np.errstate(all="ignore"):
        checks.check_shape_rule(p, {"f": ml_dtypes.bfloat16})
        checks.check_gradient_dtype(p, {"f": ml_dtypes.bfloat16})
