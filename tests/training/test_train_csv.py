"""``gpugrad train csv``: what is asked is found out, and what cannot be used is named."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

import gpugrad as gg
from gpugrad.cli import main
from gpugrad.data import DataError, read_table
from gpugrad.training import read_state
from gpugrad.training.table import TableNetwork, loss, prepare, train_table

RNG = np.random.default_rng(0)
COUNT = 240
A, B = RNG.normal(1000, 50, COUNT), RNG.normal(0, 0.01, COUNT)
KIND = np.array(["red", "green", "blue"])[RNG.integers(0, 3, COUNT)]
SIZE = 3 * (A - 1000) / 50 + 2 * B / 0.01 + np.where(KIND == "red", 5, 0) + 100
CLASS = np.where(SIZE > 103, "large", np.where(SIZE < 99, "small", "medium"))


def text(**columns):
    names = list(columns)
    lines = [",".join(map(str, row)) for row in zip(*columns.values(), strict=True)]
    return "\n".join([",".join(names), *lines]) + "\n"


def written(tmp_path, content):
    path = tmp_path / "t.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.fixture(scope="module")
def quantity(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quantity")
    path = written(folder, text(a=A, b=B, kind=KIND, size=SIZE))
    result = train_table(path, "size", device=gg.device("cpu"), seed=0, out=folder / "out")
    return result, path, folder / "out"


def test_regression(quantity):
    result, _, out = quantity
    assert result.prepared.task == "regression"
    assert result.held_out["held_out_r2"] > 0.97
    names = {"metrics.jsonl", "checkpoints", "best.safetensors", "model.safetensors"}
    assert {p.name for p in out.iterdir()} == names | {"held_out.json", "curve.png"}
    assert json.loads((out / "held_out.json").read_text()) == {"rows": 48, **result.held_out}


def test_the_model_takes_the_tables_own_numbers(quantity):
    result, _, out = quantity
    model = gg.load(out / "model.safetensors")
    found = model(result.prepared.features).numpy()
    assert np.sqrt(np.mean((found - SIZE) ** 2)) < 0.2 * SIZE.std()
    config = read_state(out / "model.safetensors")["config"]
    assert config["columns"] == [("a", None), ("b", None), ("kind", ("blue", "green", "red"))]
    best = read_state(out / "best.safetensors")
    np.testing.assert_array_equal(best["model"]["layers.0.weight"], model.layers[0].weight.numpy())


def test_it_stops_when_nothing_gets_better(quantity):
    records = quantity[0].records
    losses = [r.held_out["validation_loss"] for r in records]
    assert len(losses) == min(200, int(np.argmin(losses)) + 1 + 20)


def test_classification(device, tmp_path):
    path = written(tmp_path, text(a=A, b=B, kind=KIND, what=CLASS))
    where = {"device": device, "out": tmp_path / "out"}
    result = train_table(path, "what", seed=0, epochs=15 if device.kind == "cpu" else 2, **where)
    assert result.prepared.task == "classification"
    assert result.prepared.classes == ("large", "medium", "small")
    assert result.held_out["held_out_accuracy"] > (0.8 if device.kind == "cpu" else 0.3)
    assert {r.device for r in result.records} == {str(device)}


def test_features_that_never_change_say_nothing():
    model = TableNetwork(2, None, device="cpu")
    x, y = np.stack([np.full(9, 7.0), np.arange(9.0)], axis=1), np.arange(9.0)
    model.normalise_by(x, y)
    assert np.isfinite(model(x).numpy()).all()
    # In units of the target's variance, so that a constant guess of the mean costs 1.
    with gg.no_grad():
        for p in list(model.layers)[-1].parameters():
            p *= 0
    assert loss(model, x, y).item() == pytest.approx(1)


@pytest.mark.parametrize(
    ("target", "task", "found"),
    [
        (np.arange(40) % 3, None, "classification"),
        (np.arange(40) % 2 + 1.0, None, "classification"),
        (np.arange(40), None, "regression"),
        (np.arange(40) % 3 / 2, None, "regression"),
        (np.arange(40) % 3, "regression", "regression"),
        (np.arange(40) % 3 / 2, "classification", "classification"),
    ],
)
def test_what_is_asked_is_decided_from_the_column(target, task, found, tmp_path):
    table = read_table(written(tmp_path, text(x=np.arange(40), y=target)))
    prepared = prepare(table, "y", task=task)
    assert prepared.task == found
    if found == "classification":
        names = np.array([f"{v:g}" for v in np.unique(target)])
        assert prepared.classes == tuple(names)
        np.testing.assert_array_equal(names[prepared.target].astype(float), target)
    else:
        np.testing.assert_array_equal(prepared.target, target)


def test_classes_are_in_the_order_of_their_numbers(tmp_path):
    table = read_table(written(tmp_path, text(x=np.arange(40), y=[10, 9, 2, 1] * 10)))
    assert prepare(table, "y").classes == ("1", "2", "9", "10")


@pytest.mark.parametrize(
    ("cells", "classes"),
    [
        (["1000001", "1000002", "2000000"], ("1000001", "1000002", "2000000")),
        (["123456789", "123456790"], ("123456789", "123456790")),
        (["9007199254740993", "9007199254740992"], ("9007199254740992", "9007199254740993")),
        (["1", "1.0", "1e0", "-0", "0"], ("0", "1")),
        (["0.1", "0.10000001", "1e-1"], ("0.1", "0.10000001")),
        (["12345678", "1e30"], ("12345678", "1" + 30 * "0")),
    ],
)
def test_each_number_is_a_class_of_its_own(cells, classes, tmp_path):
    table = read_table(written(tmp_path, text(x=np.arange(60), y=cells * (60 // len(cells)))))
    prepared = prepare(table, "y", task="classification")
    assert prepared.classes == classes
    assert [float(classes[n]) for n in prepared.target] == [float(c) for c in table.column("y")]


TEN = "".join(f"{n},{n % 2},{n * 1.5}\n" for n in range(10))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "t.csv is empty"),
        ("x,y,z\n", "t.csv has names of columns, and no usable line after them"),
        (f"x,y,z\n{TEN}1,2\n", "t.csv, line 12: 2 cells for 3 columns"),
        (f"x,w,z\n{TEN}", "t.csv has no column 'y': its columns are x, w, z"),
        (f"x,y,z\n{TEN}a,1,2\n", "t.csv, line 12, column 'x': 'a' is not a number; --skip-broken"),
        (f"x,y,z\n{TEN}1,,2\n1,1,\n", "line 12, column 'y': the cell is empty, and 1 more rows"),
        (f"x,y,z\n{TEN}1,1,nan\n", "t.csv, line 12, column 'z': the cell is empty|'nan' is not"),
        ("x,y,z\n1,2,3\n4,5,6\n", "t.csv has 2 usable rows, at least 10 are needed"),
        ("x,y\n" + "1,7\n" * 12, "column 'y' is '7' in all rows"),
        ("y\n" + "1\n2\n" * 12, "has no column besides 'y' to predict it from"),
        ("x,y\n" + "".join(f"1,n{n}\n" for n in range(12)), "has 12 classes in 12 rows, which"),
        ("x,y\n" + "1e308,1.5\n-1e308,2\n" * 6, "line 2, column 'x': '1e308' is too"),
        ("x,y\n" + "1,1e200\n2,-1e200\n" * 6, "line 2, column 'y': '1e200' is too large: numbers"),
        ("x;y;z\n" + "1;2,5;3\n" * 12, "line 2, column 'y': '2,5' has a comma, as most"),
        (b"x,y,z\n1,2,\xe4\n", r"t.csv is not text in UTF-8: byte 10 \(line 2\) is 0xe4"),
    ],
)
def test_bad_tables(content, said, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "model.safetensors").write_bytes(b"of an earlier run")
    path = written(tmp_path, content)
    assert main(["train", "csv", str(path), "--target", "y", "--out", str(out)]) == 1
    printed, err = capsys.readouterr()
    assert printed == ""
    assert re.fullmatch(rf"gpugrad: .*({said}).*\n", err), err
    assert [p.name for p in out.iterdir()] == ["model.safetensors"]
    assert (out / "model.safetensors").read_bytes() == b"of an earlier run"


def test_texts_for_regression(tmp_path):
    path = written(tmp_path, text(a=A, kind=KIND))
    with pytest.raises(DataError, match=r"line 2, column 'kind': '\w+' is not a number, which reg"):
        prepare(read_table(path), "kind", task="regression")


def test_broken_rows_are_left_out_and_counted(tmp_path, capsys):
    lines = text(a=A, b=B, kind=KIND, size=SIZE).splitlines()
    lines[5] = "1,2"
    lines[9] = "x,1,red,2"
    lines.append("1,2,,4")
    path = written(tmp_path, "\n".join(lines))
    command = ["train", "csv", str(path), "--target", "size", "--epochs", "1", "--skip-broken"]
    assert main([*command, "--device", "cpu", "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert said.startswith(
        "left out line 6: 2 cells for 4 columns\n"
        "left out line 10: column 'a': 'x' is not a number\n"
        "left out line 242: column 'kind': the cell is empty\n"
        "3 rows left out, 238 used\n"
        "regression of 'size' from numbers a, b; categories kind (3)\n"
    )
    assert "regression of 'size': held out loss" in said


def test_how_the_columns_were_understood(tmp_path, capsys):
    numbers = {f"n{n}": A for n in range(7)}
    path = written(tmp_path, text(**numbers, what=CLASS))
    command = ["train", "csv", str(path), "--target", "what", "--epochs", "1", "--device", "cpu"]
    assert main([*command, "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.startswith(
        "classification of 'what' (3 classes) from numbers n0, n1, n2, n3, n4 and 2 more\n"
    )


def test_errors_in_a_small_unit_are_shown(tmp_path, capsys):
    path = written(tmp_path, text(a=A, size=1e-9 * SIZE))
    command = ["train", "csv", str(path), "--target", "size", "--epochs", "1", "--device", "cpu"]
    assert main([*command, "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert re.search(r"validation rmse \d\.\d+e-09 ", said)
    assert ", after 1 epoch in " in said


def test_a_parquet_file(tmp_path, capsys):
    import pyarrow
    import pyarrow.parquet as pq

    columns = {"a": A, "kind": pyarrow.array(KIND).dictionary_encode(), "ok": A > 1000, "y": SIZE}
    pq.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    command = ["train", "csv", str(tmp_path / "t.parquet"), "--target", "y", "--epochs", "1"]
    assert main([*command, "--device", "cpu", "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert said.startswith("regression of 'y' from numbers a, ok; categories kind (3)\n")


def test_left_out_columns(tmp_path):
    path = written(tmp_path, text(id=[f"n{n}" for n in range(COUNT)], a=A, size=SIZE))
    table = read_table(path)
    with pytest.raises(DataError, match=r"column 'id' holds 240 different texts"):
        prepare(table, "size")
    assert prepare(table, "size", drop=["id"]).features.shape == (COUNT, 1)
    with pytest.raises(DataError, match="has no column 'ID': its columns are id, a, size"):
        prepare(table, "size", drop=["ID"])
    with pytest.raises(DataError, match="column 'size' is to be left out and to be predicted"):
        prepare(table, "size", drop=["id", "size"])
    path.write_text("a;b;y\n" + "".join(f"1,5;{n};{n / 2}\n" for n in range(12)))
    table = read_table(path)
    with pytest.raises(DataError, match="has a comma"):
        prepare(table, "y")
    assert prepare(table, "y", drop=["a"]).features.shape == (12, 1)


def test_resume_wants_the_same_data(tmp_path, capsys):
    path = written(tmp_path, text(a=A, size=SIZE))
    command = ["train", "csv", str(path), "--target", "size", "--device", "cpu"]
    command += ["--out", str(tmp_path / "out")]
    assert main([*command, "--epochs", "2"]) == 0
    assert main([*command, "--epochs", "3", "--resume"]) == 0
    assert "epoch 3/3" in capsys.readouterr().out
    before = sorted((p, p.read_bytes()) for p in (tmp_path / "out").rglob("*.safetensors"))
    path.write_text(text(a=A + 1, size=SIZE))
    assert main([*command, "--epochs", "4", "--resume"]) == 1
    err = capsys.readouterr().err
    assert "is of a run with other settings, data=" in err
    assert main(["train", "digits", *command[5:], "--resume"]) == 1
    err = capsys.readouterr().err
    assert "of a run with other settings, " in err
    assert "job='csv', not 'digits', " in err
    assert re.search(r", and \d more: use the same, or start anew in another folder\n", err)
    assert sorted((p, p.read_bytes()) for p in (tmp_path / "out").rglob("*.safetensors")) == before


@pytest.mark.parametrize("lost", ["missing", "damaged"])
def test_a_run_goes_on_though_its_best_weights_are_lost(lost, tmp_path, capsys):
    out = tmp_path / "out"
    path = written(tmp_path, text(a=A, size=SIZE))
    command = ["train", "csv", str(path), "--target", "size", "--device", "cpu"]
    command += ["--out", str(out), "--epochs", "3"]
    assert main(command) == 0
    best = out / "best.safetensors"
    best.unlink() if lost == "missing" else best.write_bytes(best.read_bytes()[:-9])
    capsys.readouterr()
    assert main([*command, "--resume"]) == 0
    printed, err = capsys.readouterr()
    assert "held out loss" in printed
    assert re.fullmatch(
        r"gpugrad: .*best\.safetensors.*: the model has the weights of the last epoch, not of the "
        r"best; without --resume both are made anew\n",
        err,
    )
    last = read_state(max(out.glob("checkpoints/*")))["model"]["layers.0.weight"]
    found = gg.load(out / "model.safetensors").layers[0].weight
    np.testing.assert_array_equal(found.numpy(), last)
