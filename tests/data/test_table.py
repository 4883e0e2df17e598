"""Tables: what is broken is named by its line and column, or left out and counted."""

from __future__ import annotations

import datetime
import re

import numpy as np
import pytest

from gpugrad.data import DataError, describe, numbers_of, read_table, wrong_cells


def table(tmp_path, text, **options):
    path = tmp_path / "t.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_table(path, **options)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_cells(delimiter, end, tmp_path):
    lines = ["a, b ,c", '1,"x, y; z\t|",', "", "2.5e3, u ,w"]
    text = end.join(line.replace(",", delimiter) for line in lines)
    found = table(tmp_path, text)
    assert found.names == ("a", "b", "c")
    inner = "x, y; z\t|".replace(",", delimiter)
    assert found.rows == [["1", inner, ""], ["2.5e3", "u", "w"]]
    assert found.lines == [2, 4]
    assert found.column("c") == ["", "w"]


def test_a_row_of_several_lines_is_at_its_first(tmp_path):
    text = 'a,"b\n"\n"1\n2",3\n\n4,5\n"6\n\n7"\n8,9\n'
    found = table(tmp_path, text, broken="skip")
    assert found.rows[0] == ["1\n2", "3"]
    assert found.lines == [3, 6, 10]
    assert found.skipped == {7: "1 cell for 2 columns"}
    with pytest.raises(DataError, match=r"t.csv, line 7: 1 cell for 2 columns"):
        table(tmp_path, text)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (40, r"a quote that opens in this row is not closed \(unexpected end of data in line 42\)"),
        (40_000, r"a quote that opens in this row is not closed \(field larger than field limit"),
    ],
)
def test_a_quote_that_is_not_closed(lines, said, tmp_path):
    with pytest.raises(DataError, match=rf"t.csv, line 3: {said}"):
        table(tmp_path, 'a,b\n1,2\n3,"4\n' + (lines - 1) * "5,6\n")
    with pytest.raises(DataError, match=r"line 3: a quote that opens .*'\"' in line 4\)"):
        table(tmp_path, 'a,b\n1,2\n3,"4\n5,"6"\n')


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", r"t.csv is empty: a line of names and lines of cells is needed"),
        ("a,b\n", r"t.csv has names of columns, and no usable line after them"),
        ("a,b\n1,2\n3\n4,5\n", r"t.csv, line 3: 1 cell for 2 columns"),
        ("a,b\n1,2,3\n", r"t.csv, line 2: 3 cells for 2 columns"),
        ("a,a\n1,2\n", r"t.csv, line 1: two columns are named 'a'"),
        ("a,\n1,2\n", r"t.csv, line 1: column 2 has no name"),
        ('a,b\n1,"2\n', r"t.csv, line 2: unexpected end of data"),
        ('a,b\n1,"2"3"\n', r"t.csv, line 2: .*: are quotes within a cell in quotes written twice"),
        ('a,"b\n1,2\n', r"t.csv, line 1: a quote that opens in this row is not closed"),
        ("\n\na,b\n", r"t.csv, line 1 is empty: the names of the columns are needed"),
        ("a\n1".encode("utf-16"), r"byte 0 \(line 1\) is 0xff; convert it, as by iconv -f utf-16 "),
        (b"a,b\n1,2\n3,\xff\n", r"t.csv is not text in UTF-8: byte 10 \(line 3\) is 0xff"),
    ],
)
def test_broken_files(text, said, tmp_path):
    with pytest.raises(DataError, match=said):
        table(tmp_path, text)


@pytest.mark.parametrize("inside", ["\u2028", "\x85", "\x0b", "\x1c"])
def test_a_line_ends_where_lines_of_files_do(inside, tmp_path):
    found = table(tmp_path, f"a,b\n1,x{inside}y\n2,z\n")
    assert found.column("b") == [f"x{inside}y", "z"]
    assert found.lines == [2, 3]


@pytest.mark.parametrize("cell", ["0,5", "-1,25", "1,250,000.75", "3,0e5"])
def test_numbers_with_commas_are_named(cell, tmp_path):
    found = table(tmp_path, f'a;b\n1;x\n{cell};x\n{cell};"1,2,c"\n')
    said = rf"t.csv, line 3, column 'a': '{re.escape(cell)}' has a comma, as most of the column: "
    with pytest.raises(DataError, match=said):
        describe(found, "a")
    assert describe(found, "b").texts == ("1,2,c", "x")


def test_broken_lines_are_skipped_and_counted(tmp_path):
    found = table(tmp_path, "a,b\n1,2\n3\n4,5,6\n7,8\n", broken="skip")
    assert found.rows == [["1", "2"], ["7", "8"]]
    assert found.skipped == {3: "1 cell for 2 columns", 4: "3 cells for 2 columns"}


def test_numbers_and_texts(tmp_path):
    found = table(tmp_path, "n,t,m\n1,x,1\n2,y,2\n-3e1,x,a\n4,,inf\n5,z,5\n")
    columns = [describe(found, name) for name in found.names]
    assert [c.texts for c in columns] == [None, ("x", "y", "z"), None]
    wrong = wrong_cells(found, columns)
    assert [why.partition("t.csv, ")[2] for why in wrong.values()] == [
        "line 4, column 'm': 'a' is not a number",
        "line 5, column 't': the cell is empty",
    ]
    good = found.without(wrong)
    assert good.skipped == {
        4: "column 'm': 'a' is not a number", 5: "column 't': the cell is empty"
    }  # fmt: skip
    np.testing.assert_array_equal(
        numbers_of(good, columns), [[1, 1, 0, 0, 1], [2, 0, 1, 0, 2], [5, 0, 0, 1, 5]]
    )


def test_what_is_no_usable_number(tmp_path):
    found = table(
        tmp_path, "n,t\n1,1_0\n1e308,2_0\n-2e150,3_0\n1_000,4\ninf,5_0\n1e150,6_0\n7,7_0\n"
    )
    columns = [describe(found, name) for name in found.names]
    assert columns[0].texts is None
    assert columns[1].texts == ("1_0", "2_0", "3_0", "4", "5_0", "6_0", "7_0")
    wrong = wrong_cells(found, columns)
    large = "is too large: numbers go up to 1e+150, in another unit it may fit"
    assert [why.partition("t.csv, ")[2] for why in wrong.values()] == [
        f"line 3, column 'n': '1e308' {large}",
        f"line 4, column 'n': '-2e150' {large}",
        "line 5, column 'n': '1_000' is not a number",
        "line 6, column 'n': 'inf' is not a number",
    ]


def test_too_many_texts_are_no_categories(tmp_path):
    found = table(tmp_path, "id\n" + "".join(f"id{n}\n" for n in range(101)))
    with pytest.raises(DataError, match=r"'id' holds 101 different texts, such as 'id0'; more"):
        numbers_of(found, [describe(found, "id")])
    with pytest.raises(DataError, match=r"has no column 'ID': its columns are id"):
        describe(found, "ID")


def test_parquet(tmp_path):
    import pyarrow
    import pyarrow.parquet as pq

    columns = {"a": [1.5, None, 3.25], "b": ["x", "y", "x"], "c": [datetime.date(2000, 1, 1)] * 3}
    pq.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    found = read_table(tmp_path / "t.parquet")
    assert found.names == ("a", "b", "c")
    described = [describe(found, name) for name in "ab"]
    assert [c.texts for c in described] == [None, ("x", "y")]
    wrong = wrong_cells(found, described)
    assert list(wrong.values()) == [f"{tmp_path}/t.parquet, line 2, column 'a': the cell is empty"]
    np.testing.assert_array_equal(
        numbers_of(found.without(wrong), described), [[1.5, 1, 0], [3.25, 1, 0]]
    )
    (tmp_path / "t.parquet").rename(tmp_path / "t.data")
    assert read_table(tmp_path / "t.data").rows == found.rows  # known by how it begins
    pq.write_table(pyarrow.table({"a": [[1, 2], [3]]}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"line 1, column 'a': \[1, 2\] is neither a number nor"):
        describe(read_table(tmp_path / "t.parquet"), "a")
    pq.write_table(pyarrow.table({"a": pyarrow.array([], "f8")}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"t.parquet has no rows"):
        read_table(tmp_path / "t.parquet")
    (tmp_path / "t.parquet").write_bytes(b"a,b\n")
    with pytest.raises(DataError, match=r"t.parquet is no Parquet file: "):
        read_table(tmp_path / "t.parquet")
