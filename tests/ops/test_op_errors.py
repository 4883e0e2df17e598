"""What a wrong argument is answered: what was given, what was expected."""

from __future__ import annotations

import numpy as np
import pytest

import gpugrad as gg
import gpugrad.numpy as gnp
from gpugrad.device import CPU, to_device


def ones(*shape):
    return np.ones(shape)


SHAPES = {
    "add": lambda a, b: a + b,
    "matmul": lambda a, b: a @ b,
    "where": lambda a, b: gnp.where(a > 0, a, b),
    "dot": gnp.dot,
    "maximum": gnp.maximum,
    "tensordot": lambda a, b: gnp.tensordot(a, b, 1),
    "concatenate": lambda a, b: gnp.concatenate([a, b], axis=1),
    "stack": lambda a, b: gnp.stack([a, b]),
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("how", ["alone", "grad", "vmap", "eval_shape"])
def test_shapes_that_do_not_fit_are_both_named(name, how, device):
    f = SHAPES[name]
    a, b = (gg.Array(to_device(ones(*s), device)) for s in ((2, 3), (4, 5)))
    both = r"\(2, ?3\).*\(4, ?5\)"
    run = {
        "alone": lambda: f(a, b),
        "grad": lambda: gg.grad(lambda a, b: gnp.sum(f(a, b)))(a, b),
        "vmap": lambda: gg.vmap(f)(gnp.stack([a, a]), gnp.stack([b, b])),
        "eval_shape": lambda: gg.eval_shape(f, a, b),
    }[how]
    if how == "vmap" and name not in ("tensordot", "stack"):
        both = r"\(2, ?(2, ?)?3\).*\(2, ?(4, ?)?5\)|" + both  # with the mapped axis
    with pytest.raises(ValueError, match=both):
        run()
    assert to_device(gg.grad(gnp.sum)(a)._value, CPU).tolist() == ones(2, 3).tolist()


X = ones(2, 3)

WRONG = {
    "axis of a sum": (lambda x: gnp.sum(x, axis=2), ValueError, "axis 2 is out of bounds"),
    "negative axis": (lambda x: gnp.max(x, axis=-3), ValueError, "axis -3 .* dimension 2"),
    "axis twice": (lambda x: gnp.mean(x, axis=(0, -2)), ValueError, "twice"),
    "axis of cumsum": (lambda x: gnp.cumsum(x, axis=5), ValueError, "axis 5"),
    "axis of argmax": (lambda x: gnp.argmax(x, axis=5), ValueError, "axis 5"),
    "axis of flip": (lambda x: gnp.flip(x, 2), ValueError, "axis 2"),
    "axis of stack": (lambda x: gnp.stack([x, x], 3), ValueError, "axis 3"),
    "axis of split": (lambda x: gnp.split(x, 1, axis=2), ValueError, "axis 2"),
    "axis of take": (lambda x: gnp.take(x, 0, axis=2), ValueError, "axis 2"),
    "axis that is no integer": (lambda x: gnp.sum(x, axis=1.5), TypeError, "float"),
    "reshape": (lambda x: gnp.reshape(x, (4, 2)), ValueError, r"\(2, 3\).*6 elements.*\(4, 2\)"),
    "reshape with -1": (lambda x: gnp.reshape(x, (-1, 4)), ValueError, r"\(2, 3\).*\(-1, 4\)"),
    "reshape with two -1": (lambda x: gnp.reshape(x, (-1, -1)), ValueError, r"\(-1, -1\)"),
    "reshape in another order": (lambda x: gnp.reshape(x, 6, order="K"), ValueError, "'K'"),
    "broadcast_to": (lambda x: gnp.broadcast_to(x, (3, 3)), ValueError, r"\(2, 3\).*\(3, 3\)"),
    "transpose": (lambda x: gnp.transpose(x, (0,)), ValueError, r"\(0,\).*dimension 2"),
    "squeeze": (lambda x: gnp.squeeze(x, 0), ValueError, r"axis 0 of shape \(2, 3\)"),
    "moveaxis": (lambda x: gnp.moveaxis(x, (0, 1), 0), ValueError, "2 axes for 1"),
    "split unevenly": (lambda x: gnp.split(x, 2, axis=1), ValueError, "length 3.* into 2"),
    "no sections": (lambda x: gnp.array_split(x, 0), ValueError, "0 sections"),
    "nothing to join": (lambda x: gnp.concatenate([]), ValueError, "at least one array"),
    "numbers to join": (lambda x: gnp.concatenate([1.0, 2.0]), ValueError, "rank above 0"),
    "pad mode": (lambda x: gnp.pad(x, 1, "mirror"), ValueError, "'mirror' is none of"),
    "negative pad": (lambda x: gnp.pad(x, -1), ValueError, "negative"),
    "meshgrid": (lambda x: gnp.meshgrid(x[0], indexing="yx"), ValueError, "'yx'"),
    "take mode": (lambda x: gnp.take(x, 0, mode="loop"), ValueError, "'loop'"),
    "index type": (lambda x: x[0.5], IndexError, "float"),
    "index of floats": (lambda x: x[gnp.asarray([0.5])], IndexError, "float64"),
    "index out of range": (lambda x: x[2], IndexError, "2 is out of bounds|out of bounds|out of"),
    "too many indices": (lambda x: x[0, 0, 0], IndexError, "too many"),
    "mask": (lambda x: x[[True, False, True]], IndexError, r"\(3,\).*\(2,\)"),
    "along axis": (lambda x: gnp.take_along_axis(x, [0], 1), ValueError, r"\(1,\).*\(2, 3\)"),
    "scalar product": (lambda x: gnp.matmul(x, 2.0), ValueError, r"\(2, 3\) and \(\)"),
    "tensordot axes": (lambda x: gnp.tensordot(x, x, 3), ValueError, r"3 axes.*\(2, 3\)"),
    "einsum terms": (lambda x: gnp.einsum("ij,jk->ik", x), ValueError, "2 terms for 1"),
    "einsum rank": (lambda x: gnp.einsum("ijk->i", x), ValueError, r"'ijk'.*\(2, 3\)"),
    "einsum lengths": (lambda x: gnp.einsum("ij,jk->ik", x, x), ValueError, "'j'.* 3 and 2"),
    "einsum output": (lambda x: gnp.einsum("ij->ijk", x), ValueError, "'k'"),
    "einsum repeated output": (lambda x: gnp.einsum("ij->ii", x), ValueError, "'i'"),
    "dtype": (lambda x: gnp.astype(x, "float33"), TypeError, "float33"),
    "dtype of zeros": (lambda x: gnp.zeros(2, "float33"), TypeError, "float33"),
    "strings": (lambda x: gnp.asarray(["a", "b"]), TypeError, "numbers"),
    "unknown function": (lambda x: gnp.nonsense, AttributeError, "has no 'nonsense'"),
}


@pytest.mark.parametrize(("f", "kind", "text"), WRONG.values(), ids=WRONG.keys())
def test_wrong_argument(f, kind, text):
    x = gg.Array(X)
    with pytest.raises(kind, match=text):
        f(x)
    with pytest.raises(kind, match=text):
        gg.grad(lambda x: gnp.sum(f(x)))(X)
    np.testing.assert_array_equal(gg.grad(gnp.sum)(X), ones(2, 3))  # the next step works


def test_a_mask_under_vmap():
    with pytest.raises(IndexError, match=r"cannot be traced.*where"):
        gg.vmap(lambda x: x[x > 0])(X)


def test_operands_on_two_devices(cuda):
    with pytest.raises(gg.DeviceError, match=r"cuda:0.*cpu|cpu.*cuda:0"):
        gg.Array(cuda.ones(2)) + gg.Array(np.ones(2))
