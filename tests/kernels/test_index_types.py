"""Places beyond 2**31 elements: what counts elements is 64 bits wide.

Of most kernels no array of that size can be worked through in a test. Their sources are looked at:
a place comes from the number of a block, which is widened at once, and from the kernel's sizes; the
few of 32 bits are named here, and no more.
"""

from __future__ import annotations

import re

import numpy as np
import pytest
from gpugrad.kernels import many, pool, report, scatter, segment, source
from gpugrad.kernels.cpu import optimizer

# Of a kernel's parameters those of 32 bits: flags, numbers of arrays, of chunks of 4096 elements
# or of a block's elements; columns of a row and elements of a channel, by which rows are numbered
# in 64 bits. NumPy refuses to make an int32 of more.
NARROW = {
    "average": {"chunks", "tensors", "lists", "samples", "add"},
    "clip_factors": {"chunks", "lists"},
    "windows": {"each"},
    "norm_rows": {"cols", "groups", "inner"},
    "norm_rows_backward": {"cols", "groups", "inner"},
    "channel_moments": {"channels", "inner", "planes", "pieces", "length"},
    "channel_sums": {"channels", "inner", "planes", "pieces", "length", "by_n", "by_c"},
    "channel_norm": {"channels", "inner", "planes", "pieces", "length", "parts"},
    "channel_norm_backward": {"channels", "inner", "planes", "pieces", "length", "parts"},
    "update": {"chunks", "tensors"},
    "adafactor": {"parts", "tensors"},
    "add_rows": {"each"},
    "cross_entropy": {"reduction"},
    "cross_entropy_backward": {"each"},
}

# Variables of 32 bits that are made from a block's number: chunks, tensors, channels and parts.
OF_BLOCKS = {"average": {"c"}, "optimizer": {"c"}, "norm": {"c"}}


def code(name):
    return re.sub(r"//.*", "", source.text(name))


@pytest.mark.parametrize("name", report.KERNELS)
def test_sizes_are_64_bits_wide(name):
    kernels = 0
    for head in re.findall(r"__global__(.*?)\{", code(name), re.DOTALL):
        kernel, given = re.search(r"(\w+)\s*\(((?:[^()]|\([^()]*\))*)\)\s*$", head).groups()
        assert set(re.findall(r"(?<!\w)int (\w+)", given)) == NARROW.get(kernel, set()), kernel
        kernels += 1
    assert kernels == len({k.partition("<")[0] for k in report.KERNELS[name]})


@pytest.mark.parametrize("name", report.KERNELS)
def test_places_are_64_bits_wide(name):
    text = code(name)
    assert set(re.findall(r"\bint (\w+) = [^;]*blockIdx", text)) == OF_BLOCKS.get(name, set())
    assert not re.search(r"\(int\)\s*\(?(int64\))?blockIdx\.x \*", text)


def test_rows_behind_two_billion_elements(cuda):
    """Of a table of which only these rows are ever touched."""
    free, _ = cuda.cuda.runtime.memGetInfo()
    if free < 5 << 30:
        pytest.skip(f"needs 5 GiB on the device, which has {free >> 20} MiB")
    high = (1 << 31) // 1023 + 5  # of an odd length: elements are counted, not packs of them
    table = cuda.empty((high + 1, 1023), "f2")
    values = cuda.arange(2046, dtype="f2").reshape(2, 1023)
    table[high - 1 :] = 1
    rows = cuda.asarray([high, high - 1])
    scatter.add_rows(table, rows, values)
    assert (segment.take(table, rows) == values + 1).all()


SIZES = ((1 << 31) + 5, 3, 0, 1 << 33)
"""Of arrays that no test allocates: what the kernels over many arrays are told of them."""


def test_tables_of_more_than_two_billion_elements():
    table = many.host_layout(np.array(SIZES))
    assert table.sizes.tolist() == list(SIZES)
    for t, size in enumerate(SIZES):
        for c in sorted({0, (size - 1) // many.CHUNK}) if size else ():
            number = int(table.first[t]) + c
            found = optimizer._part.py_func(number, table.sizes, table.first, table.owner)
            stop = min(size, (c + 1) * many.CHUNK)
            assert [int(n) for n in found] == [t, c * many.CHUNK, stop]
    assert table.chunks < 1 << 31


def test_chunks_of_more_than_two_billion_elements_on_cuda(cuda):
    """As average.cu and optimizer.cu find them."""
    table = many.host_layout(np.array(SIZES))
    code = (
        source.text("average")
        + """
    extern "C" __global__ void look(const int64* sizes, const int64* first, const int* owner,
                                    const int* chunks, int64* found) {
        const Chunks table = {sizes, first, owner};
        int t;
        int64 place[3];
        table.find(chunks[blockIdx.x], t, place[0], place[1], place[2]);
        if (threadIdx.x == 0)
            for (int k = 0; k < 3; k++) found[3 * blockIdx.x + k] = place[k];
    }"""
    )
    look = cuda.RawKernel(code, "look", options=source.OPTIONS)
    last = table.first[[0, 1, 3]] + [(SIZES[t] - 1) // many.CHUNK for t in (0, 1, 3)]
    found = cuda.zeros((3, 3), "i8")
    tables = [cuda.asarray(a) for a in table[:3]]
    look((3,), (256,), (*tables, cuda.asarray(last.astype("i4")), found))
    starts = [(n - 1) // many.CHUNK * many.CHUNK for n in (SIZES[0], SIZES[1], SIZES[3])]
    stops = [SIZES[0], SIZES[1], SIZES[3]]
    assert found[:, 0].tolist() == found[:, 2].tolist() == stops
    assert found[:, 1].tolist() == starts


def test_what_32_bits_do_not_hold_is_refused():
    x = np.broadcast_to(np.zeros(1, "f4"), (1 << 16, 1 << 15))
    with pytest.raises(ValueError, match="more places than int32 counts"):
        pool.largest(x, pool.Window((1, 1)))
