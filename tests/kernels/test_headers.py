"""What compiled code reads of NumPy's arrays is what they say themselves."""

from __future__ import annotations

import numpy as np
import pytest
from gpugrad.kernels.cpu import headers

FLOAT = np.dtype("f4")
NONE = range(0)


class Own(np.ndarray):
    """A class that might see its elements in another way."""


def lists():
    shapes = [(3, 4), (), (0, 2), (7,), (1, 2, 3, 4)]
    return [[np.zeros(s, "f4") for s in shapes] for _ in range(3)]


def test_addresses_and_sizes():
    arrays = lists()
    table, sizes = headers.read(arrays, FLOAT, NONE)
    want = [[a.__array_interface__["data"][0] for a in row] for row in arrays]
    assert table.tolist() == want
    assert sizes.tolist() == [a.size for a in arrays[0]]


def test_a_view_is_where_it_begins():
    base = np.zeros(10, "f4")
    table, sizes = headers.read([[base[3:7]]], FLOAT, NONE)
    assert table[0, 0] == base.__array_interface__["data"][0] + 12
    assert sizes.tolist() == [4]


@pytest.mark.parametrize(
    "odd",
    [
        np.zeros((4, 3), "f4").T,
        np.zeros((3, 8), "f4")[:, ::2],
        np.zeros((3, 4), "f8"),
        np.zeros((3, 4), ">f4"),
        np.zeros((4, 3), "f4"),
        np.zeros((3, 4, 1), "f4"),
        np.frombuffer(bytes(49), "i1")[1:].view("f4").reshape(3, 4),
        np.zeros((3, 4), "f4").view(Own),
        [[0.0] * 4] * 3,
        1.0,
    ],
    ids=str,
)
def test_others_are_not_read(odd):
    for k in range(3):
        arrays = lists()
        arrays[k][0] = odd
        assert headers.read(arrays, FLOAT, NONE) is None
    assert headers.read([*lists(), []], FLOAT, NONE) is None


def test_what_is_written_to_may_be():
    arrays = lists()
    arrays[1][4].flags.writeable = False
    assert headers.read(arrays, FLOAT, NONE) is None
    assert headers.read(arrays, FLOAT, range(1)) is None
    assert headers.read(arrays, FLOAT, range(1, 2)) is not None


def test_one_dtype_for_all():
    arrays = lists()
    arrays[1] = [a.astype("f8") for a in arrays[1]]
    assert headers.read(arrays, FLOAT, NONE) is None
    assert headers.read(arrays[1:2], np.dtype("f8"), NONE) is not None
