"""Kernels that claim loads and stores of 16 bytes have them in their code."""

from __future__ import annotations

import re

import pytest
from gpugrad.kernels import average, optimizer, source

CLAIMS = {
    "average": [average.expression("average", d) for d in ("float32", "bfloat16", "float64")],
    "norm": [
        "norm_rows<float, 4, 256, 2, true, false>",
        "norm_rows_backward<__half, 8, 256, 1, true, false>",
        "channel_norm_backward<float, 4, true>",
    ],
    "optimizer": [optimizer.expression("Adam<{}, false>", "float32", 2)],
    "softmax": [
        "softmax<float, 4, 256, 4, false>",
        "softmax_backward<__half, 8, 256, 2, false>",
        "softmax<double, 2, 256, 4, true>",
        "cross_entropy_backward<float, long long, 4, 256>",
    ],
}
WIDE = r"(?:\.global)?(?:\.nc)?\.v(?:4\.[fub]32|2\.[fub]64)"


def code_of(name, expressions):
    """The PTX of each kernel."""
    from cupy._core.core import assemble_cupy_compiler_options
    from cupy_backends.cuda.libs import nvrtc

    program = nvrtc.createProgram(source.text(name), f"{name}.cu", (), ())
    try:
        for expression in expressions:
            nvrtc.addNameExpression(program, expression)
        options = assemble_cupy_compiler_options(source.OPTIONS)
        nvrtc.compileProgram(program, (*options, "-arch=compute_80"))
        text = nvrtc.getPTX(program)
        text = text.decode() if isinstance(text, bytes) else text
        names = [nvrtc.getLoweredName(program, e) for e in expressions]
    finally:
        nvrtc.destroyProgram(program)
    bodies = {}
    for expression, entry in zip(expressions, names):
        entry = entry.decode() if isinstance(entry, bytes) else entry
        begin = text.index(f".entry {entry}(")
        end = text.find(".entry", begin + 10)
        bodies[expression] = text[begin : end if end > 0 else None]
    return bodies


@pytest.mark.parametrize("name", CLAIMS)
def test_loads_and_stores_of_16_bytes(cuda, name):
    for expression, code in code_of(name, CLAIMS[name]).items():
        assert len(re.findall("ld" + WIDE, code)) >= 1, expression
        assert len(re.findall("st" + WIDE, code)) >= 1, expression


def test_narrow_kernels_have_none(cuda):
    (code,) = code_of("softmax", ["softmax<float, 1, 8, 2, false>"]).values()
    assert not re.search("(ld|st)" + WIDE, code)
