"""Operations and their local derivatives as a person writes them.

A derivative is written in the rule's own names: the operands (``x``, or ``a`` and ``b``) and the
output ``y``. What is not here is described by its name, and by its numbers where it has some.
"""

from __future__ import annotations

from typing import NamedTuple

from gpugrad.viz.picture import MINUS


class Written(NamedTuple):
    """An operation's formula and its derivative by each operand."""

    formula: str
    derivatives: tuple[str, ...]


_TABLE = {
    "add": Written("a + b", ("1", "1")),
    "subtract": Written("a - b", ("1", "-1")),
    "multiply": Written("a · b", ("b", "a")),
    "divide": Written("a / b", ("1 / b", "-a / b²")),
    "power": Written("a ^ b", ("b · a ^ (b - 1)", "y · ln(a)")),
    "negative": Written("-x", ("-1",)),
    "reciprocal": Written("1 / x", ("-y²",)),
    "square": Written("x²", ("2 · x",)),
    "sqrt": Written("√(x)", ("1 / (2 · y)",)),
    "cbrt": Written("∛(x)", ("1 / (3 · y²)",)),
    "exp": Written("exp(x)", ("y",)),
    "expm1": Written("exp(x) - 1", ("y + 1",)),
    "log": Written("ln(x)", ("1 / x",)),
    "log1p": Written("ln(1 + x)", ("1 / (1 + x)",)),
    "sin": Written("sin(x)", ("cos(x)",)),
    "cos": Written("cos(x)", ("-sin(x)",)),
    "tan": Written("tan(x)", ("1 + y²",)),
    "sinh": Written("sinh(x)", ("cosh(x)",)),
    "cosh": Written("cosh(x)", ("sinh(x)",)),
    "tanh": Written("tanh(x)", ("1 - y²",)),
    "arcsin": Written("arcsin(x)", ("1 / √(1 - x²)",)),
    "arccos": Written("arccos(x)", ("-1 / √(1 - x²)",)),
    "arctan": Written("arctan(x)", ("1 / (1 + x²)",)),
    "absolute": Written("|x|", ("sign(x)",)),
    "relu": Written("max(x, 0)", ("(x > 0)",)),
    "expit": Written("expit(x)", ("y · (1 - y)",)),
    "maximum": Written("max(a, b)", ("(a > b)", "(b > a)")),
    "minimum": Written("min(a, b)", ("(a < b)", "(b < a)")),
    "matmul": Written("a @ b", ("bᵀ", "aᵀ")),
    "dot": Written("a @ b", ("bᵀ", "aᵀ")),
    "sum": Written("the sum of x", ("1",)),
    "mean": Written("the mean of x", ("1/n",)),
    "logsumexp": Written("ln of the sum of exp(x)", ("softmax(x)",)),
}

WRITTEN = {
    name: Written(
        formula.replace("-", MINUS), tuple([text.replace("-", MINUS) for text in derivatives])
    )
    for name, (formula, derivatives) in _TABLE.items()
}
"""The table, with the sign for minus that people write."""
