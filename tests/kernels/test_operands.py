"""Operands that do not go together are refused before a kernel reads beyond them."""

from __future__ import annotations

import numpy as np
import pytest
from gpugrad.kernels import (
    activation,
    attention,
    conv,
    fused,
    norm,
    optimizer,
    philox,
    pool,
    softmax,
)
from gpugrad.kernels.adafactor import adafactor
from gpugrad.kernels.average import average, average_samples
from gpugrad.kernels.conv import Geometry
from gpugrad.kernels.pool import Window

from gpugrad.device import CPU, DeviceError, to_device

PLAIN = Geometry()
HALVES = Window((2, 2), (2, 2), (2, 2))


class Some:
    """Arrays of a library and a dtype by their shapes."""

    def __init__(self, xp):
        self.xp = xp

    def __call__(self, *shape, dtype="f4"):
        return self.xp.ones(shape, dtype)


def norm_rows_back(s, rows, count=3):
    return norm.norm_rows_backward(s(3, 4), s(3, 4), None, s(rows), s(count))


def attend_back(s, g=(1, 2, 3, 5), out=(1, 2, 3, 5), lse=(1, 2, 3)):
    q, k, v = s(1, 2, 3, 4), s(1, 2, 6, 4), s(1, 2, 6, 5)
    return attention.backward(s(*g), q, k, v, None, s(*out), s(*lse), causal=False, scale=1.0)


def attend(s, k=(1, 2, 6, 4), v=(1, 2, 6, 5), mask=None, dtype="f4"):
    q, k, v = s(1, 2, 3, 4, dtype=dtype), s(*k, dtype=dtype), s(*v, dtype=dtype)
    return attention.forward(q, k, v, mask, causal=False, scale=1.0)


def loss_back(s, g=(5,), lse=(5,), labels=5, divisor=None, **options):
    labels = s(labels, dtype="i8")
    return softmax.cross_entropy_backward(s(*g), s(5, 3), labels, s(*lse), None, divisor, **options)


REFUSED = {
    "loss: g": (lambda s: loss_back(s, g=(3,)), r"g float32\(3,\) .* expected float32\(5,\)"),
    "loss: one g": (lambda s: loss_back(s, g=(1,)), r"g float32\(1,\) .* float32\(5, 3\)"),
    "loss: lse": (lambda s: loss_back(s, lse=(4,)), r"lse float32\(4,\) .* float32\(5, 3\)"),
    "loss: labels": (lambda s: loss_back(s, labels=4), r"labels are \(5,\) integers"),
    "loss: divisor": (lambda s: loss_back(s, divisor=s(1)), r"divisor .* expected float32\(\)"),
    "loss: smoothing": (lambda s: loss_back(s, label_smoothing=1.5), "from 0 to 1, got 1.5"),
    "loss: reduction": (
        lambda s: softmax.cross_entropy(s(5, 3), s(5, dtype="i8"), reduction="avg"),
        r"reduction is one of \('none', 'sum', 'mean'\), got 'avg'",
    ),
    "loss forward: smoothing": (
        lambda s: softmax.cross_entropy(s(5, 3), s(5, dtype="i8"), label_smoothing=-0.5),
        "from 0 to 1, got -0.5",
    ),
    "rows: mean": (lambda s: norm_rows_back(s, 2), r"mean float32\(2,\) .* float32\(3,\)"),
    "rows: rstd": (lambda s: norm_rows_back(s, 3, 2), r"rstd float32\(2,\) .* float32\(3, 4\)"),
    "groups: mean": (
        lambda s: norm.group_norm_backward(s(2, 4, 5), s(2, 4, 5), 2, None, s(2), s(4)),
        r"mean float32\(2,\) .* expected float32\(4,\)",
    ),
    "groups: number": (
        lambda s: norm.group_norm_backward(s(2, 4, 5), s(2, 4, 5), 3, None, s(6), s(6)),
        "4 channels do not make 3 even groups",
    ),
    "channels: rstd": (
        lambda s: norm.batch_norm_backward(s(2, 4, 5), s(2, 4, 5), None, s(4), s(3)),
        r"rstd float32\(3,\) .* expected float32\(4,\)",
    ),
    "channels: mean": (
        lambda s: norm.batch_norm_backward(s(2, 4, 5), s(2, 4, 5), None, None, s(4)),
        "not None",
    ),
    "attention: v": (
        lambda s: attend(s, v=(1, 2, 2, 5)),
        r"v float32\(1, 2, 2, 5\) does not fit .* expected float32\(1, 2, 6, 5\)",
    ),
    "attention: k": (lambda s: attend(s, k=(1, 2, 6, 3)), r"k .* expected float32\(1, 2, 6, 4\)"),
    "attention: heads": (lambda s: attend(s, (1, 3, 6, 4), (1, 3, 6, 4)), "H / shared"),
    "attention: mask": (lambda s: attend(s, mask=s(1, 1, 2, 6)), r"mask .* float32\(1, 1, 3, 6\)"),
    "attention: g": (lambda s: attend_back(s, g=(1, 2, 3, 4)), r"g .* float32\(1, 2, 3, 5\)"),
    "attention: lse": (lambda s: attend_back(s, lse=(1, 2, 2)), r"lse .* float32\(1, 2, 3\)"),
    "conv: channels": (
        lambda s: conv.forward(s(1, 3, 5, 5), s(4, 2, 2, 2), None, PLAIN),
        r"w float32\(4, 2, 2, 2\) does not fit float32\(1, 3, 5, 5\): expected",
    ),
    "conv: stride": (
        lambda s: conv.forward(s(1, 2, 5, 5), s(4, 2, 2, 2), None, Geometry((0, 1))),
        "stride, dilation and groups are at least 1",
    ),
    "conv: groups": (
        lambda s: conv.forward(s(1, 3, 5, 5), s(4, 1, 2, 2), None, Geometry(groups=2)),
        r"3 channels of x \(1, 3, 5, 5\) do not make 2 groups",
    ),
    "conv: bias": (
        lambda s: conv.forward(s(1, 2, 5, 5), s(4, 2, 2, 2), s(3), PLAIN),
        r"bias float32\(3,\) .* expected float32\(4,\)",
    ),
    "conv: kernel": (
        lambda s: conv.forward(s(1, 2, 5, 5), s(4, 2, 9, 2), None, PLAIN),
        r"a kernel of \(9, 2\) is larger than the image of \(5, 5\)",
    ),
    "conv input: g": (
        lambda s: conv.input_gradient(s(1, 4, 5, 4), s(4, 2, 2, 2), (5, 5), PLAIN),
        r"g float32\(1, 4, 5, 4\) .* expected float32\(1, 4, 4, 4\)",
    ),
    "conv weight: g": (
        lambda s: conv.weight_gradient(s(2, 4, 4, 4), s(1, 2, 5, 5), (2, 2), PLAIN),
        r"g float32\(2, 4, 4, 4\) .* expected float32\(1, 4, 4, 4\)",
    ),
    "pool: places": (
        lambda s: pool.put(s(1, 2, 2), s(1, 2, 1, dtype="i4"), (4, 4), HALVES),
        r"places int32\(1, 2, 1\) does not fit",
    ),
    "pool: g": (
        lambda s: pool.put(s(1, 2, 1), s(1, 2, 1, dtype="i4"), (4, 4), HALVES),
        r"float32\(1, 2, 1\) does not fit \(2, 2\) windows",
    ),
    "pool: stride": (
        lambda s: pool.mean(s(4, 4), Window((2, 2), (2, 2), (0, 2))),
        "kernel, stride and dilation are at least 1",
    ),
    "pool: axes": (lambda s: pool.largest(s(4), HALVES), r"expected \(\.\.\., H, W\)"),
    "random: apart": (lambda s: philox.bits(s(8, dtype="u4")[::2], (3,)), "four uint32 side"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_operands_that_do_not_go_together(name, xp):
    call, match = REFUSED[name]
    with pytest.raises(ValueError, match=match):
        call(Some(xp))


def test_a_summary_lies_side_by_side(xp):
    whole = xp.full(8, 9.0)
    for run, given in ((average, [[xp.ones(3)]]), (average_samples, [xp.ones((2, 3))])):
        with pytest.raises(ValueError, match="side by side; got a view with the strides"):
            run(given, summary=whole[2:6:2])
        run(given, summary=whole[2:4])
    assert whole.tolist() == [9, 9, 3**0.5, 0, 9, 9, 9, 9]


def test_options_of_a_step_have_one_element(xp):
    w, step = [xp.ones(3)], xp.zeros(1, "i8")
    for option in ("lr", "unscale", "skip"):
        for value in (xp.ones(2), xp.ones(0)):
            with pytest.raises(ValueError, match=f"sgd: {option} is a number or an array of one"):
                optimizer.sgd(w, w, None, step, **{option: value})
    with pytest.raises(ValueError, match=r"a summary is a \(2,\) array, got \(1,\)"):
        optimizer.sgd(w, w, None, step, summary=xp.ones(1), limit=1.0)
    assert w[0].tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    "call",
    [
        lambda s: attend(s, dtype="i4"),
        lambda s: pool.mean(s(4, 4, dtype="i4"), HALVES),
        lambda s: conv.forward(s(1, 1, 2, 2, dtype="i4"), s(1, 1, 1, 1, dtype="i4"), None, PLAIN),
    ],
)
def test_kernels_for_floats_refuse_integers(call, xp):
    with pytest.raises(TypeError, match=r"is for floats .* not int32"):
        call(Some(xp))


def test_places_outside_of_the_image_get_nothing(device, xp):
    places = xp.array([[[0, 10**6], [-1, 15]]], "i4")
    got = pool.put(xp.ones((1, 2, 2), "f4"), places, (4, 4), HALVES)
    want = np.zeros((1, 4, 4))
    want[0, 0, 0] = want[0, 3, 3] = 1
    np.testing.assert_array_equal(to_device(got, CPU), want)


def test_labels_that_are_no_columns_leave_the_gradient_of_the_softmax(device, xp):
    x, g = xp.zeros((4, 2)), xp.ones(4)
    labels, lse = xp.array([0, 7, -3, 10**9]), xp.full(4, np.log(2.0))
    got = to_device(softmax.cross_entropy_backward(g, x, labels, lse), CPU)
    np.testing.assert_allclose(got, [[-0.5, 0.5], [0.5, 0.5], [0.5, 0.5], [0.5, 0.5]])
    weight = xp.array([2.0, 3.0])
    got = to_device(softmax.cross_entropy_backward(g, x, labels, lse, weight), CPU)
    np.testing.assert_allclose(got, [[-1, 1], [0.5, 0.5], [0.5, 0.5], [0.5, 0.5]])


TWO_PLACES = {
    "activation": lambda a, b: activation.forward(activation.Relu(), a(2, 3), b(3)),
    "softmax": lambda a, b: softmax.softmax_backward(a(2, 3), b(2, 3)),
    "cross-entropy": lambda a, b: softmax.cross_entropy(a(2, 3), b(2, dtype="i8")),
    "norm": lambda a, b: norm.norm_rows(a(2, 3), b(3)),
    "conv": lambda a, b: conv.forward(a(1, 1, 2, 2), b(1, 1, 1, 1), None, PLAIN),
    "pool": lambda a, b: pool.put(a(1, 2, 2), b(1, 2, 2, dtype="i4"), (4, 4), HALVES),
    "attention": lambda a, b: attention.forward(
        a(1, 1, 2, 2), b(1, 1, 2, 2), a(1, 1, 2, 2), None, causal=True, scale=1.0
    ),
    "average": lambda a, b: average([[a(3)], [b(3)]]),
    "average out": lambda a, b: average([[a(3)], [a(3)]], [b(3)]),
    "average summary": lambda a, b: average([[a(3)], [a(3)]], summary=b(2)),
    "average samples": lambda a, b: average_samples([a(3, 2)], [b(2)]),
    "sgd": lambda a, b: optimizer.sgd([a(3)], [b(3)], None, a(1, dtype="i8")),
    "sgd step": lambda a, b: optimizer.sgd([a(3)], [a(3)], None, b(1, dtype="i8")),
    "adafactor": lambda a, b: adafactor([a(3)], [a(3)], [None], [None], [b(3)], a(1, dtype="i8")),
    "fuse": lambda a, b: fused.run(
        fused.Program(2, (*[fused.Node("input")] * 2, fused.Node("add", (0, 1))), (2,)),
        [a(3), b(3)],
    ),
}


@pytest.mark.parametrize("name", TWO_PLACES)
def test_kernels_name_both_devices(name, cuda):
    for order in ((np, cuda), (cuda, np)):
        with pytest.raises(DeviceError, match=r"one operand is on c.* and another on c"):
            TWO_PLACES[name](*map(Some, order))
