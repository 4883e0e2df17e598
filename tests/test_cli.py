"""The command line: wrong values in one line, Ctrl-C, and what each command prints."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time

import pytest

from gpugrad.cli import main

DIGITS = ["train", "digits"]


def command(*arguments, **options):
    """Start the command as a shell would."""
    return subprocess.Popen([sys.executable, "-m", "gpugrad.cli", *arguments], text=True, **options)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Missing command: allowed are sample, doctor, graph, train"),
        (["trian"], "No such command 'trian'.*allowed are sample, doctor, graph, train"),
        (["train"], "Missing command: allowed are digits"),
        (["train", "mnist"], "No such command 'mnist': allowed are digits"),
        ([*DIGITS, "--epochs", "0"], "--epochs': allowed are whole numbers from 1 up, got '0'"),
        ([*DIGITS, "--epochs", "1.5"], "--epochs': allowed are whole numbers from 1 up, got '1.5'"),
        ([*DIGITS, "--epochs"], "--epochs' requires an argument"),
        ([*DIGITS, "--batch-size", "-4"], "--batch-size': allowed are .* from 1 up, got '-4'"),
        ([*DIGITS, "--batch-size", "all"], "--batch-size': allowed are .* from 1 up, got 'all'"),
        ([*DIGITS, "--lr", "0"], "--lr': allowed are numbers above 0, such as 0.05, got '0'"),
        ([*DIGITS, "--lr", "nan"], "--lr': allowed are numbers above 0, .* got 'nan'"),
        ([*DIGITS, "--lr", "inf"], "--lr': allowed are numbers above 0, .* got 'inf'"),
        ([*DIGITS, "--lr", "fast"], "--lr': allowed are numbers above 0, .* got 'fast'"),
        ([*DIGITS, "--seed", "-1"], "--seed': allowed are whole numbers from 0 up, got '-1'"),
        ([*DIGITS, "--device", "gpu"], "unknown device 'gpu': allowed are 'cpu', 'cuda' and"),
        ([*DIGITS, "--device", "cuda:99"], "there is no device 'cuda:99'"),
        (
            [*DIGITS, "--steps", "3"],
            "No such option.* .?--steps.*allowed are --model, --device,",
        ),
        ([*DIGITS, "more"], r"unexpected extra argument.* \(more\)"),
        ([*DIGITS, "--model", "foo"], "'--model': allowed are mlp, cnn, got 'foo'"),
        (["train", "csv", "t.csv"], "Missing option '--target'"),
        (["train", "csv", "--target", "y"], "Missing argument 'FILE'"),
        (
            ["train", "csv", "t.csv", "--target", "y", "--task", "both"],
            "'--task': allowed are classification, regression, got 'both'",
        ),
        (["sample"], "Missing argument 'RUN'"),
        (["graph", "--out", "graph.jpg"], "allowed are names that end in .svg, .png or .html, got"),
    ],
)
def test_wrong_usage(arguments, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(rf"gpugrad.*: .*{said}.*\n", err), err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [DIGITS, ["graph"]])
def test_out_that_cannot_be_written(arguments, capsys, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    name = str(tmp_path / "file" / "below.svg")
    assert main([*arguments, "--out", name]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"gpugrad.*'--out': allowed is a folder that can be written to, .*\n", err)
    assert "file" in err


def test_wrong_usage_in_a_shell():
    process = command(*DIGITS, "--epochs", "0", stdout=-1, stderr=-1)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert out == ""
    assert err.count("\n") == 1
    assert "whole numbers from 1 up, got '0'" in err


def test_no_cuda(tmp_path):
    # The process has no stand-in, and is shown no GPU.
    hide = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    process = command(*DIGITS, "--device", "cuda", stdout=-1, stderr=-1, cwd=tmp_path, env=hide)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert out == ""
    assert err.count("\n") == 1
    assert "there is no device 'cuda': " in err


def test_the_environment_chooses_a_device_too(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("GPUGRAD_DEVICE", "tpu")
    assert main([*DIGITS, "--out", str(tmp_path)]) == 2
    assert "GPUGRAD_DEVICE" in capsys.readouterr().err


def test_help_is_quick_and_names_everything():
    heavy = ("rich.progress", "matplotlib", "sklearn", "cupy", "numba", "safetensors")
    code = (
        "import sys; from gpugrad.cli import main; main(['train', 'digits', '--help']); "
        f"print([m for m in {heavy} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr == "[]\n"
    for option in ("--device", "--epochs", "--batch-size", "--lr", "--seed", "--out"):
        assert option in done.stdout


def test_help_gives_what_holds_otherwise(capsys, monkeypatch):
    from gpugrad.training import digits, table, text

    monkeypatch.setenv("COLUMNS", "200")
    mlp, cnn = digits.SETTINGS["mlp"], digits.SETTINGS["cnn"]
    usual = {
        "digits": {n: f"{v}, cnn {getattr(cnn, n)}" for n, v in mlp._asdict().items()},
        "csv": {
            "epochs": table.EPOCHS,
            "batch_size": table.BATCH_SIZE,
            "lr": table.LR,
            "patience": table.PATIENCE,
        },
        "text": text.USUAL._asdict() | {"dropout": f"{text.USUAL.dropout:g}"},
    }
    for name, values in usual.items():
        assert main(["train", name, "--help"]) == 0
        said = capsys.readouterr().out
        for option, value in values.items():
            option = option.replace("_", "-")
            assert re.search(rf"--{option} .*\[default: \({value}\)\]", said), option


def test_version(capsys):
    import gpugrad as gg

    assert main(["--version"]) == 0
    assert capsys.readouterr() == (f"gpugrad {gg.__version__}\n", "")


def test_train_digits(device, capsys, tmp_path):
    out = tmp_path / "new" / "folder"
    arguments = ["--device", str(device), "--epochs", "2", "--batch-size", "100", "--lr", "0.1"]
    assert main([*DIGITS, *arguments, "--seed", "3", "--out", str(out)]) == 0
    said, err = capsys.readouterr()
    assert err == ""
    epochs, (result, files) = said.splitlines()[:-2], said.splitlines()[-2:]
    number = r"[\d.,]+"
    for n, line in enumerate(epochs, 1):
        assert re.fullmatch(
            rf"epoch +{n}/2  loss {number}  held out loss {number}  accuracy {number}%  "
            rf"{number} samples/s  {device}",
            line,
        )
    assert len(epochs) == 2
    assert re.fullmatch(rf"{number}% of the held-out digits .* 2 epochs in .* on {device}", result)
    names = {"metrics.jsonl", "checkpoints", "best.safetensors", "model.safetensors"}
    names |= {"curve.png", "misclassified.png"}
    assert {p.name for p in out.iterdir()} == names
    assert all(name in files for name in (str(out), *names))


def test_a_run_goes_on(capsys, tmp_path):
    def weights(name):
        return (tmp_path / name / "model.safetensors").read_bytes()

    command = [*DIGITS, "--device", "cpu", "--batch-size", "200"]
    assert main([*command, "--epochs", "4", "--out", str(tmp_path / "whole")]) == 0
    assert main([*command, "--epochs", "1", "--out", str(tmp_path / "parts")]) == 0
    assert weights("whole") != weights("parts")
    capsys.readouterr()
    resumed = [*command, "--epochs", "4", "--out", str(tmp_path / "parts"), "--resume"]
    assert main(resumed) == 0
    assert [line[:9] for line in capsys.readouterr().out.splitlines()[:-2]] == [
        f"epoch {n}/4" for n in (2, 3, 4)
    ]
    assert weights("whole") == weights("parts")
    (tmp_path / "parts" / "checkpoints" / "step-00000032.safetensors").write_bytes(b"torn")
    assert main(resumed) == 0
    assert weights("whole") == weights("parts")
    assert "passed over: " in capsys.readouterr().err
    assert main([*resumed, "--seed", "1"]) == 1
    err = capsys.readouterr().err
    assert re.fullmatch(r"gpugrad: .*of a run with other settings, seed=0, not 1: use .*\n", err)
    assert main([*resumed, "--model", "cnn"]) == 1
    assert weights("whole") == weights("parts")


def test_the_best_device_is_the_default(capsys, tmp_path):
    import gpugrad as gg

    assert main([*DIGITS, "--epochs", "1", "--out", str(tmp_path)]) == 0
    assert f"on {gg.best_device()}" in capsys.readouterr().out


def test_learning_rate_that_is_too_large(capsys, tmp_path):
    assert main([*DIGITS, "--device", "cpu", "--lr", "1e300", "--out", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert re.fullmatch(
        r"gpugrad.* the learning rate 1e\+300 is too large; try a smaller --lr\n", err
    )


def test_without_scikit_learn(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    assert main([*DIGITS, "--out", str(tmp_path)]) == 1
    err = capsys.readouterr().err
    assert re.fullmatch(r'gpugrad: .*pip install "gpugrad\[train\]"\n', err)


def until(stream, wanted, seconds=60):
    """Read a terminal until it shows something."""
    shown = ""
    end = time.monotonic() + seconds
    while wanted not in shown:
        assert time.monotonic() < end, shown
        if select.select([stream], [], [], 1)[0]:
            shown += os.read(stream, 4096).decode(errors="replace")
    return shown


def test_ctrl_c(tmp_path):
    process = command(
        *DIGITS, "--device", "cpu", "--epochs", "100000", stdout=-1, stderr=-1, cwd=tmp_path
    )
    assert process.stdout.readline().startswith("epoch")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "gpugrad: stopped by Ctrl-C: runs/digits has all of it, --resume goes on\n"
    names = {p.name for p in (tmp_path / "runs" / "digits").iterdir()}
    assert names == {"metrics.jsonl", "checkpoints", "best.safetensors"}


def test_nobody_reads_on(tmp_path):
    process = command(
        *DIGITS, "--device", "cpu", "--epochs", "100000", stdout=-1, stderr=-1, cwd=tmp_path
    )
    assert process.stdout.readline().startswith("epoch")
    process.stdout.close()  # as `| head -1` does
    said = process.stderr.read()
    assert process.wait(timeout=60) == 1
    assert said == "gpugrad: stopped, as nobody reads what it prints\n"
    assert list((tmp_path / "runs" / "digits" / "checkpoints").iterdir())


@pytest.mark.parametrize("columns", [60, 80, 160])
def test_live_display_on_a_terminal(columns, tmp_path):
    ours, theirs = pty.openpty()
    env = os.environ | {"TERM": "xterm", "COLUMNS": str(columns)}
    process = command(
        *DIGITS, "--device", "cpu", "--epochs", "100000",
        stdin=theirs, stdout=theirs, stderr=theirs, cwd=tmp_path, env=env,
    )  # fmt: skip
    os.close(theirs)
    shown = until(ours, "samples/s" if columns > 100 else "held out")
    # Where there is little room the count and the bar stay, and the figures' end goes.
    plain = re.sub(r"\x1b\[[\d;?]*\w", "", shown)
    assert re.search(r"epoch +\d+/100000 ━{10} loss [\d.]+  held out", plain)
    if columns > 100:
        assert re.search(r" accuracy .*% .* samples/s  cpu", shown)
    assert "\x1b[?25l" in shown  # the cursor is hidden
    process.send_signal(signal.SIGINT)
    rest = until(ours, "stopped by Ctrl-C")
    assert "\x1b[?25h" in rest  # and comes back
    assert process.wait(timeout=60) == 130
    os.close(ours)


def test_doctor(capsys):
    import gpugrad as gg

    assert main(["doctor"]) == 0
    said = capsys.readouterr().out
    assert f"gpugrad {gg.__version__}, Python 3." in said
    assert "scikit-learn 1." in said
    for device in gg.devices():
        assert re.search(rf"^{device}: gradients are right; .* free of ", said, re.MULTILINE)
    assert ("no cuda: " in said) == (not gg.cuda_available())


def test_doctor_warms_up(monkeypatch, capsys):
    from gpugrad.kernels import report, scatter

    import gpugrad as gg
    from gpugrad import warm

    seen = []
    monkeypatch.setattr(warm, "FAMILIES", {"some": lambda draw: seen.append(draw(2, 3).shape)})
    monkeypatch.setattr(report, "KERNELS", {"scatter": scatter.VARIANTS[:1]})
    assert main(["doctor", "--warm"]) == 0
    said = capsys.readouterr().out
    for device in gg.devices():
        assert re.search(rf"^{device}: some compiled in \d+\.\d s$", said, re.MULTILINE)
    assert seen == [(2, 3)] * len(gg.devices()) * len(warm.DTYPES)
    assert ("the other kernels compiled" in said) == gg.cuda_available()


def test_doctor_finds_a_wrong_gradient(monkeypatch, capsys):
    from gpugrad import doctor

    monkeypatch.setattr(doctor, "grad", lambda f: lambda w, x: 2 * w)
    assert main(["doctor"]) == 1
    assert re.search("cpu: a gradient is .*, not ", capsys.readouterr().out)


@pytest.mark.parametrize("name", ["graph.svg", "graph.png", "graph.html"])
def test_graph(name, capsys, tmp_path):
    assert main(["graph", "--out", str(tmp_path / name)]) == 0
    written = list(dict.fromkeys([name, "graph.html"]))
    assert capsys.readouterr().out.splitlines() == [str(tmp_path / n) for n in written]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(written)
    starts = {".svg": b"<svg", ".png": b"PNG", ".html": b"<!doctype html>"}
    for path in tmp_path.iterdir():
        assert starts[path.suffix] in path.read_bytes()[:200]
