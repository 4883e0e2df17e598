"""Files: mapped arrays, text, and records that may be broken."""

from __future__ import annotations

import re
import zipfile

import numpy as np
import pytest

import gpugrad as gg
from gpugrad.data import Arrays, DataError, Loader, Records, map_arrays, read_text
from gpugrad.random import Generator
from gpugrad.training import read_state, write_state

X = np.random.default_rng(0).normal(size=(20, 3))


def test_npy_is_mapped(tmp_path):
    np.save(tmp_path / "x.npy", X)
    found = map_arrays(tmp_path / "x.npy")["x"]
    assert isinstance(found, np.memmap)
    np.testing.assert_array_equal(found, X)


@pytest.mark.parametrize(
    "a",
    [X, np.asfortranarray(X), X.astype(">f4"), np.zeros((0, 3)), np.array(3), X > 0],
    ids=["C", "Fortran", "big-endian", "empty", "scalar", "bool"],
)
def test_npz_is_mapped(a, tmp_path):
    np.savez(tmp_path / "d.npz", first=np.arange(7), a=a)
    found = map_arrays(tmp_path / "d.npz")
    assert list(found) == ["first", "a"]
    assert isinstance(found["a"], np.memmap) == (a.size > 0)
    np.testing.assert_array_equal(found["a"], a)
    assert found["a"].dtype == a.dtype
    np.savez_compressed(tmp_path / "c.npz", a=a)
    np.testing.assert_array_equal(map_arrays(tmp_path / "c.npz")["a"], a)


def test_training_on_a_mapped_file(tmp_path, device):
    np.savez(tmp_path / "d.npz", x=X, y=np.arange(20))
    found = map_arrays(tmp_path / "d.npz")
    data = Arrays(found["x"], found["y"])
    for x, y in Loader(data, 6, device=device, generator=Generator(0)):
        np.testing.assert_array_equal(x.numpy(), X[y.numpy()])


@pytest.mark.parametrize("name", ["d.npz", "d.npy"])
@pytest.mark.parametrize("what", ["cut", "other", "objects", "empty"])
def test_files_that_are_no_arrays(name, what, tmp_path):
    path = tmp_path / name
    save = np.save if name.endswith("npy") else np.savez
    save(path, np.array([{}]) if what == "objects" else X)
    data = path.read_bytes()
    path.write_bytes({"cut": data[:-50], "other": b"a,b\n1,2\n", "empty": b""}.get(what, data))
    with pytest.raises(DataError, match=rf"{name} is no file of NumPy arrays that can be used: "):
        map_arrays(path)


@pytest.mark.filterwarnings("ignore::UserWarning")  # NumPy's, about headers of old versions
@pytest.mark.parametrize("save", [np.save, np.savez, np.savez_compressed])
def test_any_damaged_byte(save, tmp_path):
    # Compressed arrays are as they were or named; of mapped ones the numbers are not read.
    path = tmp_path / f"x.np{'y' if save is np.save else 'z'}"
    a = np.arange(6.0).reshape(2, 3)
    save(path, a) if save is np.save else save(path, x=a)
    data = path.read_bytes()
    checked = data if save is np.savez_compressed else data[: data.index(a.tobytes())]
    named = 0
    for at in range(len(checked)):
        for bit in (1, 128):
            path.write_bytes(data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :])
            try:
                found = map_arrays(path)
            except DataError as error:
                named += 1
                told = str(error).partition(f"{path} is no file of NumPy arrays that can be used: ")
                assert told[0] == ""
                assert len(told[2]) > 5
            else:
                assert list(found) == ["x"]
                assert save is np.save or np.array_equal(found["x"], a)
    assert named > len(checked)


def test_a_damaged_array_is_named(tmp_path):
    path = tmp_path / "d.npz"
    np.savez_compressed(path, first=np.arange(7), second=X)
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo("second.npy").header_offset
    data = path.read_bytes()
    for at in range(start + 60, start + 200):
        path.write_bytes(data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :])
        with pytest.raises(DataError, match=r"d\.npz is no file of .* used: second\.npy: \w+"):
            map_arrays(path)
    with pytest.raises(FileNotFoundError):
        map_arrays(tmp_path / "none.npz")


def test_text(tmp_path):
    path = tmp_path / "t.txt"
    path.write_bytes("\ufeffäö\n".encode())
    assert read_text(path, "a text") == "äö\n"
    path.write_bytes(b"good\nbad \xe4\n")
    with pytest.raises(DataError, match=r"t.txt is not text in UTF-8: byte 9 \(line 2\) is 0xe4"):
        read_text(path, "a text")
    path.write_bytes(b"")
    with pytest.raises(DataError, match=r"t.txt is empty: a text is needed"):
        read_text(path, "a text")


def read(item):
    if item % 5 == 3:
        raise OSError("torn")
    return np.array([item, item]), np.array(item)


def test_broken_records_are_named(device):
    loader = Loader(Records(range(10, 20), read), 4, shuffle=False, device=device)
    with pytest.raises(DataError, match="record 3, 13: torn"):
        list(loader)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_broken_records_are_skipped_and_counted(batch_size, device):
    data = Records(range(10, 20), read, broken="skip")
    batches = list(Loader(data, batch_size, shuffle=False, device=device))
    found = np.concatenate([y.numpy() for _, y in batches])
    assert found.tolist() == [10, 11, 12, 14, 15, 16, 17, 19]
    assert data.skipped == {3: "13: torn", 8: "18: torn"}
    assert all(x.shape == (len(y), 2) for x, y in batches)
    with pytest.raises(DataError, match="there are no records"):
        Records([], read)


ODD = {
    "another shape": (
        lambda x, y: (x[:1], y),
        r"its shapes are \(1,\), \(\), record 0 has \(2,\), ",
    ),
    "one field more": (lambda x, y: (x, y, y), r"its shapes are \(2,\), \(\), \(\), record 0 has"),
    "one field less": (lambda x, y: x, r"its shapes are \(2,\), record 0 has \(2,\), \(\)"),
    "nothing": (lambda x, y: None, r"an array of numbers or a tuple of such, got None"),
    "a text": (lambda x, y: (x, "5"), r"an array of numbers or a tuple of such, got '5'"),
    "ragged": (lambda x, y: ([[1], [1, 2]], y), "inhomogeneous shape"),
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("asked", [[4, 3, 0], [1, 4, 2], [4]])
def test_a_record_unlike_the_first_is_broken(odd, asked, device):
    change, said = ODD[odd]

    def read(item):
        record = np.array([item, item]), item
        return change(*record) if item == 14 else record

    data = Records(range(10, 20), read, broken="skip")
    found = data.take(np.array(asked))
    rest = [10 + n for n in asked if n != 4]
    assert found[-1].tolist() == rest
    assert list(data.skipped) == [4]
    assert re.match(rf"14: .*{said}", data.skipped[4])
    with pytest.raises(DataError, match=rf"record 4, 14: .*{said}"):
        list(Loader(Records(range(10, 20), read), 3, device=device, generator=Generator(0)))


def test_records_are_compared_with_the_first_that_can_be_read():
    # Whichever is asked for first: a run that goes on leaves out the same ones.
    def read(item):
        if item == 0:
            raise OSError("torn")
        return np.zeros(3 if item in (2, 5) else 2)

    for asked in ([5, 4, 0, 2, 1], [2, 1, 5, 0, 4]):
        data = Records(range(6), read, broken="skip")
        assert data.take(np.array(asked))[0].shape == (2, 2)
        assert sorted(data.skipped) == [0, 2, 5]
        assert data.skipped[5] == "5: its shapes are (3,), record 1 has (2,)"


def test_records_that_are_read_once():
    items = iter([np.zeros(2)])
    with pytest.raises(DataError, match="record 0, 7: no record can be read a second time"):
        Records([7], lambda item: next(items)).take(np.array([0]))


def test_records_on_a_device(device):
    data = Records([1.0, 2.0], lambda x: gg.Array([x, x], device=device))
    (found,) = data.take(np.array([1, 0]))
    assert found.device == device
    assert found.tolist() == [[2, 2], [1, 1]]


def test_what_was_skipped_is_part_of_the_place(tmp_path):
    first = Records(range(10, 20), read, broken="skip")
    batches = iter(Loader(first, 5, shuffle=False, device="cpu", prefetch=0))
    next(batches)
    assert list(first.skipped) == [3]
    loader = Loader(first, 5, shuffle=False, device="cpu", prefetch=0)
    write_state(tmp_path / "s.safetensors", loader.state_dict())
    second = Records(range(10, 20), read, broken="skip")
    again = Loader(second, 5, shuffle=False, device="cpu")
    again.load_state_dict(read_state(tmp_path / "s.safetensors"))
    assert second.skipped == first.skipped
    list(again)
    assert second.skipped == {3: "13: torn", 8: "18: torn"}
