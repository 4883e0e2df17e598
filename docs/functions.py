"""Write docs/functions.md: every function, its derivative rules, and where they were checked.

    python docs/functions.py [--check]

The page is made from the registry of primitives and from the cases of tests/ops, which are run
once on small operands to see which primitives a function is made of.
"""

from __future__ import annotations

import argparse
import ast
import functools
import importlib
import inspect
import linecache
import re
import sys
import textwrap
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "ops"))

import op_checks  # noqa: E402
from jax_lacks import LACKING  # noqa: E402
from op_cases import CASES, Case  # noqa: E402
from op_draw import by_seed  # noqa: E402

import gpugrad as gg  # noqa: E402
from gpugrad.core.primitive import LINEAR, Primitive, registry  # noqa: E402
from gpugrad.device import CPU  # noqa: E402
from gpugrad.numpy.absent import ABSENT, instead  # noqa: E402

PAGE = ROOT / "docs" / "functions.md"

SPACES = {
    "gpugrad.numpy": "",
    "gpugrad.numpy.linalg": "linalg.",
    "gpugrad.numpy.fft": "fft.",
    "gpugrad.numpy.lib.stride_tricks": "",
    "gpugrad.scipy.special": "special.",
    "gpugrad.scipy.linalg": "scipy.linalg.",
    "gpugrad.scipy.signal": "signal.",
    "gpugrad.scipy.integrate": "integrate.",
    "gpugrad.scipy.stats": "stats.",
    "gpugrad.nn": "nn.",
}
"""Each namespace, and what its functions are called in names of cases."""


# ------------------------------------------------------------------------------------- rules


def unwrapped(rule: Callable[..., Any]) -> Callable[..., Any]:
    """The rule as it was written: elementwise primitives wrap theirs to sum over broadcasts."""
    while True:
        inner = inspect.getclosurevars(rule).nonlocals.get("rule")
        if not callable(inner):
            return rule
        rule = inner


@functools.cache
def lambdas(path: str) -> list[ast.Lambda]:
    """Every lambda of a file."""
    tree = ast.parse("".join(linecache.getlines(path)))
    return [node for node in ast.walk(tree) if isinstance(node, ast.Lambda)]


def spelled(rule: Any) -> str:
    """The source of a rule that is a lambda, the name of one that is a function."""
    if rule is None:
        return "-"
    if rule == LINEAR:
        return "linear"
    if isinstance(rule, functools.partial):
        return f"{spelled(rule.func)} of {', '.join(map(str, rule.args))}"
    rule = unwrapped(rule)
    if rule.__name__ != "<lambda>":
        return f"`{rule.__name__.strip('_')}`"
    code = rule.__code__
    names = list(inspect.signature(rule).parameters)
    here = [
        node
        for node in lambdas(code.co_filename)
        if node.lineno == code.co_firstlineno and parameters(node) == names
    ]
    same = [node for node in here if compiled(node) == code.co_code]
    found = same or here
    return f"`{ast.unparse(found[0].body)}`" if found else "`a lambda`"


def parameters(node: ast.Lambda) -> list[str]:
    """The names of a lambda's parameters."""
    return [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]


def compiled(node: ast.Lambda) -> bytes:
    """The lambda's bytecode: it tells lambdas on one line apart."""
    outer = compile(ast.Expression(node), "", "eval")
    return next(c.co_code for c in outer.co_consts if inspect.iscode(c))


def rules(p: Primitive) -> tuple[str, str]:
    """The VJP and the JVP of a primitive, in words."""
    if not p.differentiable:
        return "constant", "constant"
    pull = spelled(p.joint_vjp) if p.joint_vjp else "<br>".join(map(spelled, p.vjp))
    if p.joint_jvp:
        return pull, spelled(p.joint_jvp)
    push = "<br>".join(map(spelled, p.jvp))
    return pull, "as the VJP" if push == pull else push


# ------------------------------------------------------------------------------------ checks


def reached(case: Case) -> set[str]:
    """The primitives that a case's function applies on the way forward."""
    seen: set[str] = set()
    call = Primitive.__call__

    def noted(self: Primitive, *args: Any, **params: Any) -> Any:
        seen.add(self.name)
        return call(self, *args, **params)

    p = op_checks.Point(case, *by_seed(0), CPU)
    Primitive.__call__ = noted  # type: ignore[method-assign]
    try:
        with np.errstate(all="ignore"):
            p.run(*[gg.Array(x) for x in p.operands])
    finally:
        Primitive.__call__ = call  # type: ignore[method-assign]
    return seen


@functools.cache
def named(pattern: str) -> dict[str, frozenset[str]]:
    """The functions that each test file names, in quotes or as an attribute of ours."""
    names = re.compile(r"""["']([A-Za-z_]\w*)[^"'\n]*["']|\b(?:gnp|linalg|special|nn)\.(\w+)""")
    return {
        str(f.relative_to(ROOT)): frozenset(a or b for a, b in names.findall(f.read_text("utf-8")))
        for f in sorted((ROOT / "tests").rglob(pattern))
    }


def checked(name: str, cases: list[Case]) -> str:
    """Where a function was checked: by cases, against JAX, or in a test file of its own."""
    found = []
    smooth = False
    if cases:
        smooth = any(op_checks.Point(c, *by_seed(0), CPU).smooth for c in cases)
        what = "value, VJP, JVP, 2nd order, batch" if smooth else "value, batch"
        found.append(f"{what}: {'cpu, cuda' if any(c.cuda for c in cases) else 'cpu'}")
    by_case = bool(cases) and smooth and str(cases[0]).split()[0].rstrip(",") not in LACKING
    if by_case or any(name in held for held in named("test_*against_jax.py").values()):
        found.append("JAX")
    if not found:
        found += [f for f, held in named("test_*.py").items() if name in held][:1]
    return "; ".join(found) or "-"


def public(space: str) -> Iterator[tuple[str, Callable[..., Any]]]:
    """The functions that a namespace exports."""
    try:
        module = importlib.import_module(space)
    except ModuleNotFoundError:
        return
    for name in sorted(module.__all__, key=str.lower):
        f = getattr(module, name)
        if callable(f) and not isinstance(f, type):
            yield name, f


def absent() -> str:
    """NumPy's names that are not in ``gpugrad.numpy``, by what answers in their place."""
    by_answer: dict[str, list[str]] = defaultdict(list)
    for name in ABSENT:
        by_answer[instead(name) or ""].append(name)
    rows = [
        f"| {', '.join(f'`{n}`' for n in names)} | {answer.replace('|', '&#124;')} |"
        for answer, names in by_answer.items()
    ]
    head = "## NumPy's names that are not here\n\n| name | in its place |\n| --- | --- |\n"
    return head + "\n".join(rows)


def page() -> str:
    """The text of the page."""
    of_name: dict[str, list[Case]] = defaultdict(list)
    for case in CASES.values():
        of_name[str(case).split()[0]].append(case)
    made_of = {name: set[str]().union(*map(reached, cases)) for name, cases in of_name.items()}
    sections = []
    count = 0
    for space, prefix in SPACES.items():
        lines = []
        first: dict[int, str] = {}
        functions = sorted(public(space), key=lambda named: prefix + named[0] not in of_name)
        for name, f in functions:
            first.setdefault(id(f), name)
        for name, f in sorted(functions, key=lambda named: named[0].lower()):
            count += 1
            if first[id(f)] != name:
                lines.append(f"| `{name}` | is `{first[id(f)]}` | |")
                continue
            cases = of_name.get(prefix + name, [])
            parts = made_of.get(prefix + name, set()) or ({name} & set(registry))
            lines.append(
                f"| `{name}` | {', '.join(sorted(parts)) or '-'} | {checked(name, cases)} |"
            )
        if lines:
            head = f"## {space}\n\n| function | made of | checked |\n| --- | --- | --- |\n"
            sections.append(head + "\n".join(lines))
    rows = []
    for name in sorted(registry):
        p = registry[name]
        pull, push = (r.replace("|", "\\|") for r in rules(p))
        by = getattr(p.batch, "__name__", "-").strip("_")
        by = "a rule of its own" if by == "<lambda>" else by.replace("_", " ")
        rows.append(
            f"| {name} | {' '.join(p.operands).replace('*', '…')} | {pull} | {push} | {by} |"
        )
    intro = f"""\
        # Functions and their derivatives

        Made by `python docs/functions.py` from the registry of primitives and the tests' cases:
        {count} functions, {len(registry)} primitives. A function is made of the primitives in its
        second column, whose rules are in the last table; where none stands, it returns something
        that has no derivative (indices, booleans, metadata), calls a function that is listed, or
        only rearranges its arguments. "Value, VJP, JVP, 2nd order, batch" are checked in float64
        against finite differences of NumPy's or SciPy's own function at drawn shapes, axes and
        broadcasts, and in narrower types, by `tests/ops/test_primitives.py`. What holds at kinks
        and ties is in [conventions.md](conventions.md)."""
    table = (
        "## Primitives\n\nIn a rule, `g` is the cotangent (or tangent) and `y` the output; "
        "one line an operand.\n\n"
        "| primitive | operands | VJP | JVP | batching |\n| --- | --- | --- | --- | --- |\n"
    )
    return (
        "\n\n".join([textwrap.dedent(intro), *sections, absent(), table + "\n".join(rows)]) + "\n"
    )


def main() -> None:
    """Write the page, or compare it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="say whether the page is up to date")
    text = page()
    if parser.parse_args().check:
        if PAGE.read_text("utf-8") != text:
            sys.exit("docs/functions.md is out of date: run python docs/functions.py")
        return
    PAGE.write_text(text, "utf-8")
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
